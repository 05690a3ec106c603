"""Distances along rays around each learner: to agents, static boxes and, on request, the edge of the road.

Shapes: B worlds, A agents, N learners (the first N of A), R rays, O static boxes. SI units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.driving.collision import direction
from envs.driving.surface import drivable_distance
from envs.driving.types import DrivingConfig, Maps, Setup, State

__all__ = ["lidar", "ray_to_box", "ray_to_edge"]

DIRECTION_MIN = 1e-9  # a direction's component below this counts as parallel to the side of a box
STEPS = 32  # of the march to the road's edge
STEP_MIN = 0.05  # m, least progress of the march per step


def lidar(
    state: State, setup: Setup, maps: Maps, config: DrivingConfig, *, rays: int = 64, reach: float = 50.0, road_edge: bool = False
) -> Tensor:
    """Distance in metres along each ray to the nearest thing, (B, N, R), at most `reach`.

    Rays start at the centre of the learner's box; ray k points 2 pi k / R to the left of its heading. Things are the boxes of the
    other agents on the road and the static boxes, exactly, and with `road_edge` the edge of the drivable surface (`ray_to_edge`).
    A ray that starts inside a thing measures 0. Raises ValueError unless rays >= 1 and reach > 0.
    """
    if rays < 1 or reach <= 0.0:
        raise ValueError(f"rays={rays}, reach={reach}: rays must be at least 1 and reach positive")
    n = config.learners
    fan = torch.arange(rays, device=state.x.device) * (2.0 * math.pi / rays)  # (R,)
    angle = state.yaw[:, :n, None] + fan  # (B, N, R)
    x, y, ux, uy = state.x[:, :n, None], state.y[:, :n, None], *direction(angle)
    slot = torch.arange(state.x.shape[1], device=state.x.device)
    other = state.valid[:, None, None] & (slot != slot[:n, None, None])  # (B, N, 1, A)
    boxes = (state.x, state.y, state.yaw, setup.length, setup.width)
    to_agent = ray_to_box(x, y, ux, uy, *(t[:, None, None] for t in boxes))  # (B, N, R, A)
    distance = torch.where(other, to_agent, torch.inf).amin(-1)
    still = maps.occluders[setup.map_id]  # (B, O, 5)
    to_wall = ray_to_box(x, y, ux, uy, *(t[:, None, None] for t in still.unbind(-1)))  # (B, N, R, O)
    solid = (still[..., 3] > 0.0)[:, None, None]
    distance = torch.minimum(distance, torch.where(solid, to_wall, torch.inf).amin(-1)).clamp(max=reach)
    if road_edge:
        distance = torch.minimum(distance, ray_to_edge(maps, setup.map_id, x.expand_as(ux), y.expand_as(uy), ux, uy, reach))
    return distance


def ray_to_box(x: Tensor, y: Tensor, ux: Tensor, uy: Tensor, bx: Tensor, by: Tensor, yaw: Tensor, length: Tensor, width: Tensor) -> Tensor:
    """Metres from (x, y) along the unit vector (ux, uy) to each box, (..., K); 0 from inside, +inf for a miss.

    Rays (...) broadcast, boxes (..., K) with them. Slab method (Kay & Kajiya, SIGGRAPH 1986), in the frame of the box.
    """
    cos, sin = direction(yaw)
    dx, dy = x.unsqueeze(-1) - bx, y.unsqueeze(-1) - by
    vx, vy = ux.unsqueeze(-1), uy.unsqueeze(-1)
    enter_l, leave_l = _slab(dx * cos + dy * sin, vx * cos + vy * sin, 0.5 * length)
    enter_w, leave_w = _slab(dy * cos - dx * sin, vy * cos - vx * sin, 0.5 * width)
    enter, leave = torch.maximum(enter_l, enter_w).clamp(min=0.0), torch.minimum(leave_l, leave_w)
    return torch.where(enter <= leave, enter, torch.inf)


def _slab(p: Tensor, v: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Where a ray at p with direction v is within [-half, half]: from, to. Parallel rays get times far beyond any reach."""
    v = torch.where(torch.abs(v) < DIRECTION_MIN, DIRECTION_MIN, v)
    one, two = (-half - p) / v, (half - p) / v
    return torch.minimum(one, two), torch.maximum(one, two)


def ray_to_edge(maps: Maps, map_id: Tensor, x: Tensor, y: Tensor, ux: Tensor, uy: Tensor, reach: float) -> Tensor:
    """Metres along each ray (B, ...) to the edge of the drivable surface, at most `reach`; 0 from off the road.

    Sphere tracing on the signed-distance raster (Hart, "Sphere tracing", The Visual Computer 1996) in a fixed number of steps, then
    one secant step through the last two samples, exact for straight edges. Grazing rays that have not arrived by then get the
    distance that is known to be free or, if they were approaching, where the last two samples say the edge is.
    """
    t = torch.zeros_like(ux)
    gap = drivable_distance(maps, map_id, x, y)
    before, gap_before = t, gap + 1.0
    for _ in range(STEPS):
        on = (gap > 0.0) & (t < reach)
        reached = t + gap.clamp(min=STEP_MIN)
        there = drivable_distance(maps, map_id, x + reached * ux, y + reached * uy)
        before, gap_before = torch.where(on, t, before), torch.where(on, gap, gap_before)
        t, gap = torch.where(on, reached, t), torch.where(on, there, gap)
    falling = gap_before - gap
    closing = falling > 1e-4
    edge = t + gap * (t - before) / torch.where(closing, falling, torch.ones_like(falling))
    return torch.where(closing, edge, t).clamp(0.0, reach)
