"""Which agents a learner can see: in range, in the field of view, and not hidden.

Shapes: B worlds, A agents, N learners (the first N of A), O static boxes, T points looked at. World frame, SI units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.driving.collision import corners, direction, stored
from envs.driving.types import DrivingConfig, Maps, Setup, State
from scenarios.kinds import Kind

__all__ = ["sight_blocked", "sighted", "visible"]

TWO_PI = 2.0 * math.pi


def visible(state: State, setup: Setup, maps: Maps, config: DrivingConfig) -> Tensor:
    """Which agents each learner sees, (B, N, A) bool: those of which it sees anything at all, see `sighted`."""
    return sighted(state, setup, maps, config) > 0.0


def sighted(state: State, setup: Setup, maps: Maps, config: DrivingConfig) -> Tensor:
    """How much each learner sees of every agent, (B, N, A): the share of its centre and four corners, 0 to 1.

    0 for itself and for agents that are not on the road.

    A point is seen if it lies within `config.view_range` and `config.view_fov` of the centre of
    the learner's box and the straight line between the two meets neither the box of a third agent nor a static box. Walkers and
    bicycles hide nobody; nobody hides itself.
    """
    n, agents = config.learners, state.x.shape[1]
    centre = torch.stack([state.x, state.y], dim=-1).unsqueeze(2)  # (B, A, 1, 2)
    points = torch.cat([corners(state.x, state.y, state.yaw, setup.length, setup.width), centre], dim=2)  # (B, A, 5, 2)
    tx, ty = (stored(points[..., k]).unsqueeze(1) for k in (0, 1))  # (B, 1, A, 5)
    ex, ey, eyaw = (t[:, :n, None, None] for t in (state.x, state.y, state.yaw))  # (B, N, 1, 1)
    dx, dy = tx - ex, ty - ey  # (B, N, A, 5)
    distance = torch.sqrt(dx * dx + dy * dy)
    near = distance <= config.view_range
    if config.view_fov < TWO_PI:
        cos, sin = direction(eyaw)
        near &= dx * cos + dy * sin >= math.cos(0.5 * config.view_fov) * distance

    slot = torch.arange(agents, device=state.x.device)
    opaque = state.valid & (setup.kind != int(Kind.PEDESTRIAN)) & (setup.kind != int(Kind.BICYCLE))  # (B, A)
    third = (slot != slot[:n, None, None]) & (slot != slot[:, None])  # (N, A, A): the hider is neither the observer nor the seen
    hides = stored(opaque[:, None, None] & third).unsqueeze(3)  # (B, N, A, 1, A)
    boxes = (state.x, state.y, state.yaw, setup.length, setup.width)
    by_agent = (sight_blocked(ex, ey, tx, ty, *(t[:, None, None, None] for t in boxes)) & hides).any(-1)  # (B, N, A, 5)
    still = maps.occluders[setup.map_id]  # (B, O, 5)
    by_wall = sight_blocked(ex, ey, tx, ty, *(t[:, None, None, None] for t in still.unbind(-1))).any(-1)
    seen = (near & ~by_agent & ~by_wall).to(state.x.dtype).mean(-1)  # (B, N, A)
    return torch.where(state.valid.unsqueeze(1) & (slot != slot[:n, None]), seen, 0.0)


def sight_blocked(
    ex: Tensor, ey: Tensor, tx: Tensor, ty: Tensor, x: Tensor, y: Tensor, yaw: Tensor, length: Tensor, width: Tensor
) -> Tensor:
    """Whether the segment from (ex, ey) to (tx, ty) meets each box, (..., K) bool; a box without length or width meets nothing.

    Eyes and targets (...) broadcast with each other, boxes (..., K) with them. Separating axes of a segment and a box: the box's own
    two and the segment's normal (Ericson, "Real-time collision detection", 2005, section 5.3.3), free of division.
    """
    (cos, sin), half_l, half_w = direction(yaw), 0.5 * length, 0.5 * width  # (..., K)
    ax, ay = ex.unsqueeze(-1) - x, ey.unsqueeze(-1) - y
    e_along, e_across = stored(ax * cos + ay * sin), stored(ay * cos - ax * sin)  # the eye in the frame of the box
    hx, hy = stored(0.5 * (tx - ex)).unsqueeze(-1), stored(0.5 * (ty - ey)).unsqueeze(-1)  # half the segment
    h_along, h_across = hx * cos + hy * sin, hy * cos - hx * sin
    a, b = torch.abs(h_along), torch.abs(h_across)
    meets = (torch.abs(e_along + h_along) <= half_l + a) & (torch.abs(e_across + h_across) <= half_w + b)
    meets &= torch.abs(e_along * h_across - e_across * h_along) <= half_l * b + half_w * a
    return meets & (length > 0.0) & (width > 0.0)
