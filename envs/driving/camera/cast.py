"""Where prisms appear: exact 2.5-D ray casting with one vertical plane per image column.

The camera has no roll and its pitch is a shift of the horizon, so that all rays of a column lie in one vertical plane. An upright box meets
that plane in a rectangle (depth from `enter` to `leave`, height from `bottom` to `top`), which appears as an interval of rows. Column by
column a box costs one slab test (Kay & Kajiya, SIGGRAPH 1986) in the plane, and a pixel only two comparisons.

Shapes: N images, W columns, H rows, P prisms. Depth is measured along the optical axis. Pictures are (N, W, H) while they are made: what
belongs to a column is then loaded once for all of its rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.camera.config import CameraConfig
from envs.driving.camera.prisms import Lens, Prisms
from envs.driving.collision import stored

__all__ = ["Columns", "column_slope", "columns", "ground_spans", "nearest", "row_scale"]

PARALLEL = 1e-6  # a direction's component below this counts as parallel to a side
NUMBERS = 128.0  # prisms are numbered below this
FINEST = 1.0 / 320.0  # m; depths up to 409 m are whole numbers below NOTHING, to which float32 can add a fraction of 1 / NUMBERS exactly
NOTHING = 2.0**17


class Columns(NamedTuple):
    """What each column sees of each prism. Rows are image coordinates, which grow downwards."""

    enter: Tensor  # (N, P, W) m, depth of the near side
    lid: Tensor  # (N, P, W) m px: the ray of row v meets the plane of the top (from below: bottom) at depth lid / (v - horizon); 0: neither
    upper: Tensor  # (N, P, W) px, where it begins; +inf: not seen
    lower: Tensor  # (N, P, W) px, where it ends
    face: Tensor  # (N, P, W) 0..3, side first met


def column_slope(lens: Lens, config: CameraConfig) -> Tensor:
    """(N, W) metres to the left per metre of depth, through the middle of each column."""
    u = torch.arange(config.width, device=lens.cu.device, dtype=torch.float32) + 0.5
    return (lens.cu.unsqueeze(1) - u) / lens.focal.unsqueeze(1)


def row_scale(lens: Lens, config: CameraConfig) -> tuple[Tensor, Tensor]:
    """Rows below the horizon v - cv (N, H) px, and their inverse; never 0."""
    v = torch.arange(config.height, device=lens.cv.device, dtype=torch.float32) + 0.5
    below = v - lens.cv.unsqueeze(1)
    below = torch.where(torch.abs(below) < 1e-3, 1e-3, below)
    return below, 1.0 / below


def _slabs(
    x: Tensor, y: Tensor, cos: Tensor, sin: Tensor, half_l: Tensor, half_w: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Depths (N, P, W) at which columns enter and leave rectangles (N, P), whether lengthwise sides are met first, rays in their frames."""
    ox, oy = (-(x * cos + y * sin)).unsqueeze(2), (x * sin - y * cos).unsqueeze(2)  # the lens in the frame of the rectangle
    cos, sin, half_l, half_w = (value.unsqueeze(2) for value in (cos, sin, half_l, half_w))
    slope = slope.unsqueeze(1)
    dx, dy = cos + slope * sin, slope * cos - sin
    ix = 1.0 / torch.where(torch.abs(dx) < PARALLEL, PARALLEL, dx)
    iy = 1.0 / torch.where(torch.abs(dy) < PARALLEL, PARALLEL, dy)
    # the nearer side is the one against the direction
    mx, my, kx, ky = -ox * ix, -oy * iy, half_l * torch.abs(ix), half_w * torch.abs(iy)
    enter_x, enter_y = mx - kx, my - ky
    enter, leave = torch.maximum(enter_x, enter_y), torch.minimum(mx + kx, my + ky)
    return enter, leave, enter_x > enter_y, (ox, dx, oy, dy)


def columns(prisms: Prisms, lens: Lens, slope: Tensor, config: CameraConfig) -> Columns:
    """Every prism in every column. slope (N, W)."""
    p = prisms
    length, width = (torch.where(p.there, half, -1.0) for half in (p.half_length, p.half_width))
    enter, leave, endwise, (ox, dx, oy, dy) = _slabs(p.x, p.y, p.cos, p.sin, stored(length), stored(width), slope)
    hit = (enter < leave) & (enter > config.near)
    enter, leave = stored(torch.where(hit, enter, 1.0)), stored(torch.where(hit, leave, 0.5))
    hit = leave > enter
    # rounded outlines: an ellipse as wide and high as the side
    by_length, by_width = (stored(1.0 / half.clamp(min=1e-3)).unsqueeze(2) for half in (p.half_length, p.half_width))
    e = torch.where(endwise, (oy + enter * dy) * by_width, (ox + enter * dx) * by_length)
    bulge = 1.0 - p.round.unsqueeze(2) * (1.0 - torch.sqrt(torch.relu(1.0 - e * e)))
    middle, half = 0.5 * (p.top + p.bottom).unsqueeze(2), 0.5 * (p.top - p.bottom).unsqueeze(2) * bulge
    focal, cv, eye = (value.view(-1, 1, 1) for value in (lens.focal, lens.cv, lens.z))
    rise, drop = focal * (middle + half - eye), focal * (middle - half - eye)  # m px: row = cv - rise / depth
    ie, il = 1.0 / enter, 1.0 / leave
    lid = torch.where(rise < 0.0, -rise, torch.where(drop > 0.0, -drop, 0.0))
    upper = cv - torch.maximum(rise * ie, rise * il)
    lower = cv - torch.minimum(drop * ie, drop * il)
    face = torch.where(endwise, torch.where(dx > 0.0, 1.0, 0.0), torch.where(dy > 0.0, 3.0, 2.0))
    return Columns(
        enter=enter,
        lid=stored(lid),
        upper=stored(torch.where(hit, upper, torch.inf)),
        lower=stored(lower),
        face=stored(face),
    )


def nearest(seen: Columns, inverse: Tensor, config: CameraConfig) -> Tensor:
    """(N, W, H) float32: the prism nearest at each pixel, -1: none. inverse (N, H).

    A pixel's depth in steps of FINEST and the number of the prism as its fraction share one number, so that the nearest is a minimum;
    prisms less than a step apart are told by their number. Outside the rows of a prism NOTHING is added for each row beyond. Sums of
    relu's say all this in plain instructions; comparisons, maxima and bits of floats take compiled loops several times as long.
    """
    row = NOTHING * torch.arange(config.height, device=inverse.device, dtype=torch.float32)
    first, end = (torch.ceil(value - 0.5).clamp(-1.0, config.height + 1.0) for value in (seen.upper, seen.lower))
    number = torch.arange(seen.enter.shape[1], device=inverse.device, dtype=torch.float32).view(-1, 1) * (1.0 / NUMBERS)

    def of(value: Tensor) -> Tensor:  # (N, P, W) -> (N, W, P, 1)
        return stored(value).transpose(1, 2).unsqueeze(3)

    side = torch.floor(seen.enter * (1.0 / FINEST))
    lid = torch.floor(of(seen.lid) * stored(inverse * (1.0 / FINEST))[:, None, None, :])  # (N, W, P, H)
    outside = torch.relu(of(first * NOTHING) - row) + torch.relu(row - of((end - 1.0) * NOTHING))
    key = stored((of(side + number) + torch.relu(lid - of(side)) + outside).amin(2))
    return stored(torch.where(key < NOTHING, torch.frac(key) * NUMBERS, -1.0))


def ground_spans(box: Tensor, lens: Lens, slope: Tensor, config: CameraConfig) -> tuple[Tensor, Tensor]:
    """First and last row (N, K, W) in which rectangles (N, K, 6) on the ground appear; empty ones have first > last."""
    x, y, cos, sin, half_l, half_w = box.unbind(-1)
    enter, leave, _, _ = _slabs(x, y, cos, sin, half_l, half_w, slope)
    scale = (lens.focal * lens.z).view(-1, 1, 1)
    cv = lens.cv.view(-1, 1, 1)
    hit = (enter < leave) & (leave > config.near)
    first = torch.where(hit, cv + scale / leave.clamp(min=config.near), 1e9)
    last = torch.where(hit, cv + scale / enter.clamp(min=config.near), -1e9)
    return stored(first), stored(last)
