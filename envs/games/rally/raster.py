"""Pictures of matches, drawn by coverage: a pixel is mixed by the share of it that a shape covers, so that things move by parts of a pixel.

What does not move is drawn once an episode (`canvas`), then copied. Paddles and marks touch a few columns and rows only, the ball a patch:
a picture costs little more than its copy. Shapes: B worlds, C channels, H = W = size px.

Image frame: u right, v down, in pixels, (0, 0) the upper left corner of the upper left pixel.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from envs.games.rally.looks import Looks
from envs.games.rally.types import FRONT, HEIGHT, RADIUS, THICKNESS, RallyConfig, RallyState

__all__ = ["SIDE", "UPPER", "boxes", "canvas", "draw", "scale"]

SIDE = 1.05  # the picture reaches from x = -SIDE to SIDE,
UPPER = 1.17  # and down from y = UPPER by as much
WALL = 0.03  # thickness of walls
NET, RING = 0.012, 0.012  # half widths of the lines
MARKS = (0.95, 1.07)  # y of the points' marks
MARKS_X = (0.95, 0.12)  # |x| between which they are


def scale(size: int) -> float:
    """px a unit of length."""
    return size / (2.0 * SIDE)


def canvas(looks: Looks, size: int) -> Tensor:
    """(B, C, H, W) float32: the court without anything that moves."""
    px, device = scale(size), looks.court.device
    at = (torch.arange(size, device=device) + 0.5) / px
    x, y = at - SIDE, UPPER - at  # of the middles of columns and rows
    inside = _rows(-HEIGHT, HEIGHT, size, device)
    tilt = looks.shade[:, :1, None] * x + looks.shade[:, 1:, None] * y[:, None]  # (B, H, W)
    court = looks.court[:, :, None, None] + tilt[:, None]
    image = _mixed(looks.strip[:, :, None, None], court, inside[:, None])
    line = looks.line[:, :, None, None]
    walls = _rows(HEIGHT, HEIGHT + WALL, size, device) + _rows(-HEIGHT - WALL, -HEIGHT, size, device)
    image = _mixed(image, line, walls[:, None].expand(size, size))
    net = _interval((SIDE - NET) * px, (SIDE + NET) * px, size, device)
    image = _mixed(image, line, ((_dashes(looks.dash, y, px) * inside)[:, :, None] * net)[:, None])
    away = torch.sqrt(x * x + (y * y)[:, None])
    ring = ((RING - (away - looks.ring[:, None, None]).abs()) * px + 0.5).clamp(0.0, 1.0)
    return _mixed(image, line, torch.where(looks.ring[:, None, None] > 0.0, ring, 0.0)[:, None])


def draw(state: RallyState, looks: Looks, ground: Tensor, config: RallyConfig) -> Tensor:
    """(B, C, H, W) uint8: marks, paddles and ball on `ground`, which `canvas` has made of the same looks."""
    image = ground.clone()
    size, device = image.shape[-1], image.device
    px = scale(size)
    table, top, bottom = _tally(size, config.points, device)
    strip = _rows(*MARKS, size, device)[top:bottom]
    for player in (0, 1):
        shown = table[state.score[:, player].clamp(max=config.points)]  # (B, W)
        shown = shown if player == 0 else shown.flip(-1)
        part = image[:, :, top:bottom]
        part.copy_(_mixed(part, looks.mark[:, :, None, None], (strip[:, None] * shown[:, None])[:, None]))
        first, last = _columns(player, px)
        u = _interval(first, last, size, device)[math.floor(first) : math.ceil(last)]
        y = state.paddle[:, player, None]
        v = _interval((UPPER - y - config.paddle) * px, (UPPER - y + config.paddle) * px, size, device)  # (B, H)
        part = image[:, :, :, math.floor(first) : math.ceil(last)]
        part.copy_(_mixed(part, looks.paddle[:, player, :, None, None], (v[:, :, None] * u)[:, None]))
    return (_with_ball(image, state.ball, looks, px) + 0.5).to(torch.uint8)


def boxes(state: RallyState, config: RallyConfig, size: int) -> Tensor:
    """(B, 3, 4) px u0, v0, u1, v1 of the ball, the left and the right paddle."""
    px = scale(size)
    middle = torch.stack(((state.ball[:, 0] + SIDE) * px, (UPPER - state.ball[:, 1]) * px), -1)
    found = [torch.cat((middle - RADIUS * px, middle + RADIUS * px), -1)]
    for player in (0, 1):
        y = state.paddle[:, player]
        first, last = _columns(player, px)
        rows = torch.stack(((UPPER - y - config.paddle) * px, (UPPER - y + config.paddle) * px), -1)
        found.append(torch.stack((torch.full_like(y, first), rows[:, 0], torch.full_like(y, last), rows[:, 1]), -1))
    return torch.stack(found, 1)


def _with_ball(image: Tensor, ball: Tensor, looks: Looks, px: float) -> Tensor:
    """`image`, which is changed, with a patch around each ball (B, 2) mixed in."""
    size, radius = image.shape[-1], RADIUS * px
    side = math.ceil(2.0 * radius) + 2
    u, v = (ball[:, 0] + SIDE) * px, (UPPER - ball[:, 1]) * px
    first = [(middle - radius).floor().clamp(0, size - side) for middle in (u, v)]
    cells = torch.arange(side, device=image.device)
    columns, rows = (start[:, None] + cells for start in first)  # (B, side) left and upper edges of pixels
    du, dv = columns + 0.5 - u[:, None], rows + 0.5 - v[:, None]
    flat, tall = ((0.5 + radius - d.abs()).clamp(0.0, 1.0) for d in (du, dv))
    away = torch.sqrt(dv[:, :, None].square() + du[:, None].square())
    disc = (radius + 0.5 - away).clamp(0.0, 1.0)
    share = torch.where(looks.round[:, None, None], disc, tall[:, :, None] * flat[:, None]).flatten(1)[:, None]  # (B, 1, cells)
    index = (rows[:, :, None] * size + columns[:, None]).to(torch.int64).flatten(1)[:, None].expand(-1, image.shape[1], -1)
    pixels = image.flatten(2)
    before = pixels.gather(2, index)
    return pixels.scatter_(2, index, _mixed(before, looks.ball[:, :, None], share)).view_as(image)


def _mixed(under: Tensor, over: Tensor, share: Tensor) -> Tensor:
    return under + share * (over - under)


def _interval(low: Tensor | float, high: Tensor | float, size: int, device: torch.device) -> Tensor:
    """(..., size): the share of each pixel of a line that is between `low` and `high` (..., 1) px."""
    edge = torch.arange(size, device=device, dtype=torch.float32)
    return ((edge + 1.0).clamp(max=high) - edge.clamp(min=low)).clamp(0.0, 1.0)


def _rows(low: float, high: float, size: int, device: torch.device) -> Tensor:
    """(H,): the share of each row that is between two y."""
    return _interval((UPPER - high) * scale(size), (UPPER - low) * scale(size), size, device)


def _columns(player: int, px: float) -> tuple[float, float]:
    """First and last u of a paddle, px."""
    low = -FRONT - THICKNESS if player == 0 else FRONT
    return (low + SIDE) * px, (low + THICKNESS + SIDE) * px


def _dashes(dash: Tensor, y: Tensor, px: float) -> Tensor:
    """(B, H): how much of the net there is in each row; its dashes begin in the middle, to both sides."""
    length = dash[:, None].clamp(min=1e-3)
    phase = torch.remainder(y + 0.5 * length, 2.0 * length)  # a dash is where it is below `length`
    depth = torch.minimum(phase, length - phase)  # from its nearer end, inwards
    return torch.where(dash[:, None] > 0.0, (depth * px + 0.5).clamp(0.0, 1.0), 0.0)


@lru_cache(maxsize=16)
def _tally(size: int, points: int, device: torch.device) -> tuple[Tensor, int, int]:
    """(points + 1, W): the marks of the left player for each score, and the first and last row of marks."""
    px = scale(size)
    pitch = (MARKS_X[0] - MARKS_X[1]) / points
    shown = [torch.zeros(size, device=device)]
    for k in range(points):
        left = (SIDE - MARKS_X[0] + k * pitch) * px
        shown.append(shown[-1] + _interval(left, left + 0.6 * pitch * px, size, device))
    return torch.stack(shown), math.floor((UPPER - MARKS[1]) * px), math.ceil((UPPER - MARKS[0]) * px)
