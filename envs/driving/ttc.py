"""Time to collision of two oriented boxes that keep their velocities and headings, in closed form.

Swept separating-axis test: on each of the four side normals the projections of two boxes that translate at constant velocity overlap
during one interval of time, |p + v t| <= r, with p and v the distance and relative speed of the centres along the axis and r the
summed half extents. The boxes overlap while all four intervals do (convex sets are disjoint if and only if one of these axes
separates them), so contact begins at the latest of the four beginnings, if that is not after the earliest end. Exact: no time steps,
no boxes drawn out into longer ones.

Shapes: all arguments broadcast. SI units, world frame, angles in rad.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.collision import direction

__all__ = ["time_to_collision"]

SPEED_MIN = 1e-6  # m/s along an axis; slower than this nothing meets within any horizon of interest


def time_to_collision(
    x1: Tensor,
    y1: Tensor,
    yaw1: Tensor,
    length1: Tensor,
    width1: Tensor,
    vx1: Tensor,
    vy1: Tensor,
    x2: Tensor,
    y2: Tensor,
    yaw2: Tensor,
    length2: Tensor,
    width2: Tensor,
    vx2: Tensor,
    vy2: Tensor,
) -> Tensor:
    """Seconds until the closed boxes first touch, (...); 0 if they do now, +inf if they never will.

    Velocities in m/s; headings stay as they are. Never NaN for finite arguments.
    """
    dx, dy, vx, vy = x2 - x1, y2 - y1, vx2 - vx1, vy2 - vy1
    (cos1, sin1), (cos2, sin2) = direction(yaw1), direction(yaw2)
    half_l1, half_w1, half_l2, half_w2 = 0.5 * length1, 0.5 * width1, 0.5 * length2, 0.5 * width2
    c = torch.abs(cos1 * cos2 + sin1 * sin2)
    s = torch.abs(cos1 * sin2 - sin1 * cos2)
    begin, end = _interval(dx * cos1 + dy * sin1, vx * cos1 + vy * sin1, half_l1 + half_l2 * c + half_w2 * s)
    for p, v, r in (
        (dy * cos1 - dx * sin1, vy * cos1 - vx * sin1, half_w1 + half_l2 * s + half_w2 * c),
        (dx * cos2 + dy * sin2, vx * cos2 + vy * sin2, half_l2 + half_l1 * c + half_w1 * s),
        (dy * cos2 - dx * sin2, vy * cos2 - vx * sin2, half_w2 + half_l1 * s + half_w1 * c),
    ):
        first, last = _interval(p, v, r)
        begin, end = torch.maximum(begin, first), torch.minimum(end, last)
    begin = torch.clamp(begin, min=0.0)
    return torch.where(begin <= end, begin, torch.inf)


def _interval(p: Tensor, v: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """First and last t with |p + v t| <= r; finite for all finite arguments.

    At a standstill relative to each other: all times if they overlap, else times beyond any horizon.
    """
    pace = torch.where(torch.abs(v) < SPEED_MIN, SPEED_MIN, v)
    middle, half = -p / pace, r / torch.abs(pace)
    still = torch.abs(v) < SPEED_MIN
    inside = still & (torch.abs(p) <= r)
    outside = still & (torch.abs(p) > r)
    first = torch.where(inside, -torch.inf, torch.where(outside, torch.inf, middle - half))
    last = torch.where(inside, torch.inf, torch.where(outside, -torch.inf, middle + half))
    return first, last
