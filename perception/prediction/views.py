"""What each track sees of the scene, in a frame of its own: origin at the track, x along its motion.

A network that looks at these alone cannot know where the scene lies nor how it is turned.

Shapes: B worlds, T tracks of each, N tracks that look, in all worlds, P past instants, M others nearby, J lane pieces of a world, L of
them nearby, Q points of a piece.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perception.prediction.history import History
from perception.types import Roads, Tracks

__all__ = ["INSTANT", "LANES", "OTHERS", "POINTS", "STATIC", "Frame", "Views", "frames", "lane_features", "views_of"]

OTHERS = 8  # M, nearest ones, the ego among them
LANES = 12  # L, nearest pieces
POINTS = 6  # Q kept of each piece
KINDS = 8  # car, truck, bus, motorcycle, bicycle, pedestrian, light, ego
INSTANT = 8  # features of one past instant
STATIC = 4 + KINDS  # features of somebody now: velocity, length, width, kind
FAR = 20.0  # m, positions are divided by it
FAST = 10.0  # m/s
LOOK = 2.0  # s ahead at which lane pieces are looked for, beside those here
SLOW = 0.5  # m/s, below which the frame follows the box, not the motion
NOWHERE = 1e6  # m, where the absent are
EGO_SIZE = (4.6, 1.85)  # m, length and width: a car's


class Frame(NamedTuple):
    """Frames of tracks within the ego frame; (N,)."""

    x: Tensor
    y: Tensor
    cos: Tensor
    sin: Tensor


class Views(NamedTuple):
    """Inputs of the network."""

    me: Tensor  # (N, P * INSTANT + STATIC)
    others: Tensor  # (N, M, P * INSTANT + STATIC), nearest first
    others_mask: Tensor  # (N, M) bool
    lanes: Tensor  # (N, L, Q * 4 + 5), nearest first
    lanes_mask: Tensor  # (N, L) bool
    velocity: Tensor  # (N, 2) m/s in the own frame


def frames(mean: Tensor, yaw: Tensor) -> Frame:
    """Frames along the velocity, or along the box for whoever is slow. mean (..., 4), yaw (...) as in Tracks; any leading shape."""
    x, y, vx, vy = mean.unbind(-1)
    speed = torch.sqrt(vx * vx + vy * vy)
    slow = speed < SLOW
    fast = speed.clamp(min=SLOW)
    return Frame(x, y, torch.where(slow, torch.cos(yaw), vx / fast), torch.where(slow, torch.sin(yaw), vy / fast))


def views_of(history: History, tracks: Tracks, roads: Roads, there: Tensor) -> tuple[Views, Frame]:
    """What some tracks see, and their frames.

    there: (N,) int64, rows of the flattened (B, T). `history` already holds `tracks` as its newest instant.
    """
    rows = tracks.kind.shape[1]
    world = there // rows
    mean = tracks.mean.flatten(0, 1)[there].contiguous()
    frame = frames(mean, tracks.yaw.flatten()[there])
    everyone, present = _everyone(history, tracks)
    apart = (everyone.x[..., -1][world] - frame.x.unsqueeze(1)) ** 2 + (everyone.y[..., -1][world] - frame.y.unsqueeze(1)) ** 2
    itself = (there % rows).unsqueeze(1) == torch.arange(rows + 1, device=there.device)
    near, index = _nearest(torch.where(present[world] & ~itself, apart, NOWHERE * NOWHERE), OTHERS)  # (N, M)
    flat = _Past(*(part.flatten(0, 1) for part in everyone))
    time = (history.stamp - history.stamp[:, -1:]).clamp(-5.0, 0.0)[world]  # (N, P)
    base = world * (rows + 1)
    others = _local(_picked(flat, base.unsqueeze(1) + index), frame, time)
    me = _local(_picked(flat, (base + there % rows).unsqueeze(1)), frame, time).squeeze(1)
    others_mask = near < NOWHERE
    lanes, lanes_mask = _lanes(roads, frame, mean, world)
    vx, vy = mean[:, 2], mean[:, 3]
    velocity = torch.stack([vx * frame.cos + vy * frame.sin, vy * frame.cos - vx * frame.sin], dim=-1)
    return Views(me, others * others_mask.unsqueeze(-1), others_mask, lanes, lanes_mask, velocity), frame


class _Past(NamedTuple):
    """Somebody's past and present in the ego frame; leading shapes vary."""

    x: Tensor  # (..., P)
    y: Tensor
    vx: Tensor
    vy: Tensor
    yaw: Tensor
    seen: Tensor  # (..., P) 1: seen then
    now: Tensor  # (..., STATIC) vx, vy, length, width, one of KINDS


def _everyone(history: History, tracks: Tracks) -> tuple[_Past, Tensor]:
    """All tracks and the ego, which comes last, (B, T + 1, ...), and (B, T + 1) bool who is there.

    The newest instant is what the tracker says, whether seen or not.
    """
    ego = history.ego.unbind(-1)  # five of (B, P)
    x, y, vx, vy, yaw = (
        torch.cat([past, own.unsqueeze(1)], 1)
        for past, own in zip((history.x, history.y, history.vx, history.vy, history.yaw), ego, strict=True)
    )
    seen = torch.cat([history.valid, history.ego_valid.unsqueeze(1)], 1).to(x.dtype)
    seen = torch.cat([seen[..., :-1], torch.ones_like(seen[..., -1:])], dim=-1)
    kind = torch.cat([tracks.kind, torch.full_like(tracks.kind[:, :1], KINDS - 1)], dim=1)
    one = (kind.unsqueeze(-1) == torch.arange(KINDS, device=kind.device)).to(x.dtype)
    size = torch.cat([tracks.size[..., :2], tracks.size.new_tensor(EGO_SIZE).expand(len(kind), 1, 2)], dim=1)
    velocity = torch.cat([tracks.mean[..., 2:], history.ego[:, -1:, 2:4]], dim=1)
    now = torch.cat([velocity, torch.nan_to_num(size, nan=0.0) / 5.0, one], dim=-1)
    return _Past(x, y, vx, vy, yaw, seen, now), torch.cat([tracks.mask, history.ego_valid[:, -1:]], dim=1)


def _picked(everyone: _Past, rows: Tensor) -> _Past:
    """Rows (N, M) of (B (T + 1), ...)."""
    return _Past(*(part[rows] for part in everyone))


def _local(them: _Past, frame: Frame, time: Tensor) -> Tensor:
    """(N, M) in the ego frame -> (N, M, P * INSTANT + STATIC) in each track's own frame, scaled; 0 where not seen."""
    fx, fy, cos, sin = (part[:, None, None] for part in frame)
    dx, dy = (them.x - fx) / FAR, (them.y - fy) / FAR
    c, s = torch.cos(them.yaw), torch.sin(them.yaw)
    features = [
        dx * cos + dy * sin,
        dy * cos - dx * sin,
        (them.vx * cos + them.vy * sin) / FAST,
        (them.vy * cos - them.vx * sin) / FAST,
        c * cos + s * sin,
        s * cos - c * sin,
        time[:, None].expand_as(c),
        them.seen,
    ]
    local = torch.stack(features, dim=-1) * them.seen.unsqueeze(-1)
    cos, sin, ux, uy = cos[..., 0], sin[..., 0], them.now[..., 0] / FAST, them.now[..., 1] / FAST
    return torch.cat([local.flatten(-2), torch.stack([ux * cos + uy * sin, uy * cos - ux * sin], dim=-1), them.now[..., 2:]], dim=-1)


def lane_features(points: Tensor, limit: Tensor, kind: Tensor) -> Tensor:
    """(..., Q, 4) points in the own frame, (...) limit, (...) kind -> (..., Q * 4 + 5)."""
    one = (kind.unsqueeze(-1) == torch.arange(4, device=kind.device)).to(points.dtype)
    scaled = torch.cat([points[..., :2] / FAR, points[..., 2:]], dim=-1).flatten(-2)
    return torch.cat([scaled, (limit / FAST).unsqueeze(-1), one], dim=-1)


def _lanes(roads: Roads, frame: Frame, mean: Tensor, world: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest lane pieces, (N, L, Q * 4 + 5) and (N, L) bool."""
    count = roads.points.shape[2]
    chosen = torch.linspace(0, count - 1, POINTS, device=roads.points.device).round().to(torch.int64)
    points = roads.points[:, :, chosen]  # (B, J, Q, 4)
    px, py = points[..., 0].contiguous()[world], points[..., 1].contiguous()[world]  # (N, J, Q)
    later_x, later_y = frame.x + LOOK * mean[:, 2], frame.y + LOOK * mean[:, 3]
    here = ((px - frame.x[:, None, None]) ** 2 + (py - frame.y[:, None, None]) ** 2).amin(-1)  # (N, J)
    there = ((px - later_x[:, None, None]) ** 2 + (py - later_y[:, None, None]) ** 2).amin(-1)
    apart = torch.where(roads.mask[world], torch.minimum(here, there), NOWHERE * NOWHERE)
    near, index = _nearest(apart, LANES)  # (N, L)
    x, y, c, s = points[world.unsqueeze(1), index].unbind(-1)  # (N, L, Q)
    fx, fy, cos, sin = (part[:, None, None] for part in frame)
    dx, dy = x - fx, y - fy
    local = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin, c * cos + s * sin, s * cos - c * sin], dim=-1)
    limit, kind = roads.limit[world].gather(1, index), roads.kind[world].gather(1, index)
    mask = near < NOWHERE
    return lane_features(local, limit, kind) * mask.unsqueeze(-1), mask


def _nearest(squared: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest of squared distances (N, X), padded where X is smaller: distances and indices (N, count)."""
    if squared.shape[1] < count:
        squared = torch.nn.functional.pad(squared, (0, count - squared.shape[1]), value=NOWHERE * NOWHERE)
        values, index = squared.topk(count, largest=False)
        return values.sqrt(), torch.where(values < NOWHERE * NOWHERE, index, 0)
    values, index = squared.topk(count, largest=False)
    return values.sqrt(), index
