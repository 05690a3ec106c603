"""Where a learner is and what lies ahead of it, in its own frame: the basis of every observation.

Shapes: B worlds, N learners, C lanes ahead, R route points shown, P route points in all, X lanes with conflicts.
Ego frame: x forward, y left. "Route coordinates" are s, metres ahead of the ego along its route, and d, metres left of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.lanes import Chain, chain_ahead, chain_point, lane_field
from envs.driving.types import Maps

__all__ = [
    "LANE",
    "NEAR",
    "POSITION",
    "ROUTE_AHEAD",
    "SPEED",
    "Ahead",
    "Frame",
    "Points",
    "look_ahead",
    "pack",
    "route_points",
    "squash",
    "to_ego",
]

ROUTE_AHEAD = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 65.0, 80.0, 100.0)  # m, R = 10 points shown
ROUTE_BEHIND = (-40.0, -20.0, -10.0, 0.0)  # m, further points used only to place objects in route coordinates

POSITION = 50.0  # m, reference for positions: half the usual view range
SPEED = 20.0  # m/s, reference speed: between town (14) and motorway (36)
LANE = 3.5  # m, a usual lane width
NEAR = 20.0  # m, half scale of distances to stop lines and junctions
NEVER = 1e6  # stands for infinity, so that scaling stays finite


def squash(value: Tensor, half: float) -> Tensor:
    """value / (|value| + half): odd, monotonous, +-1 at infinity, +-1/2 at +-half."""
    value = value.clamp(-NEVER, NEVER)
    return value / (value.abs() + half)


def pack(names: tuple[str, ...], values: dict[str, Tensor]) -> Tensor:
    """Stack named features in the order of `names`, as a new last dimension."""
    return torch.stack([values[name] for name in names], dim=-1)


class Frame(NamedTuple):
    """The learners' own pose and speed: all (B, N)."""

    x: Tensor
    y: Tensor
    cos: Tensor
    sin: Tensor
    speed: Tensor


def to_ego(frame: Frame, dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a world vector (B, N, ...) into the ego frame."""
    extra = (1,) * (dx.dim() - frame.cos.dim())
    c, s = frame.cos.reshape(frame.cos.shape + extra), frame.sin.reshape(frame.sin.shape + extra)
    return c * dx + s * dy, c * dy - s * dx


class Ahead(NamedTuple):
    """The lanes that matter to each learner."""

    lanes: Tensor  # (B, N, 3) int64 left neighbour, own lane, right neighbour; -1: none
    goal: Tensor  # (B, N, 3) int64 destination index
    chain: Chain  # of (B, N, 3) tensors, each lane's own way ahead
    own: Chain  # of (B, N) tensors, the route
    yield_at: Tensor  # (B, N) m to the next area where the ego gives way, from the centre; +inf: none
    yield_kind: Tensor  # (B, N) 1 gives way, 2 first come, first served
    priority_at: Tensor  # (B, N) m to the next area where the others give way; +inf: none
    clear_at: Tensor  # (B, N) m until the box has left the areas it is in now; -inf: in none


def look_ahead(maps: Maps, map_id: Tensor, goal: Tensor, lane: Tensor, s: Tensor, length: Tensor) -> Ahead:
    """Lanes beside and ahead, and the conflict areas along the route. goal, lane, s, length: (B, N)."""
    left = torch.where(lane >= 0, lane_field(maps.lane_left, map_id, lane), -1)
    right = torch.where(lane >= 0, lane_field(maps.lane_right, map_id, lane), -1)
    lanes = torch.stack([left, lane, right], dim=-1)
    goals = goal.unsqueeze(-1).expand_as(lanes)
    lengths = lane_field(maps.lane_length, map_id, lanes)
    s_beside = s.unsqueeze(-1) * lengths / lengths[..., 1:2].clamp(min=0.1)  # neighbours run side by side over their whole length
    chain = chain_ahead(maps, map_id, goals, lanes, s_beside)
    own = Chain(tuple(part[..., 1] for part in chain.lane), tuple(part[..., 1] for part in chain.base))

    way = torch.stack(own.lane, dim=-1)  # (B, N, C)
    base = torch.stack(own.base, dim=-1)
    row = torch.where(way >= 0, lane_field(maps.conflict_id, map_id, way), -1)
    table = maps.conflict[map_id[:, None, None], row.clamp(min=0)]  # (B, N, C, X, 5)
    enter = torch.where(row.unsqueeze(-1) >= 0, base.unsqueeze(-1) + table[..., 0], torch.inf).flatten(2)  # (B, N, C * X)
    leave = torch.where(row.unsqueeze(-1) >= 0, base.unsqueeze(-1) + table[..., 1], -torch.inf).flatten(2)
    yields = table[..., 4].flatten(2)
    half = (length / 2).unsqueeze(-1)
    enter = torch.where(leave > -half, enter, torch.inf)  # areas already behind do not count
    give_way = torch.where(yields > 0.5, enter, torch.inf).amin(-1)
    mutual = torch.where(yields > 1.5, enter, torch.inf).amin(-1)
    inside = enter < half
    return Ahead(
        lanes=lanes,
        goal=goals,
        chain=chain,
        own=own,
        yield_at=give_way,
        yield_kind=torch.where(mutual <= give_way, 2.0, 1.0),
        priority_at=torch.where(yields > 0.5, torch.inf, enter).amin(-1),
        clear_at=torch.where(inside, leave, -torch.inf).amax(-1),
    )


class Points(NamedTuple):
    """The route as points."""

    s: Tensor  # (P,) m ahead of the ego
    x: Tensor  # (B, N, P) m, ego frame
    y: Tensor
    cos: Tensor  # (B, N, P) heading of the route relative to the ego's
    sin: Tensor
    ahead: Tensor  # (B, N, R, 4) the ones shown, scaled
    meet_x: Tensor  # (B, N) m, ego frame: where the ego must give way next
    meet_y: Tensor
    on_lane: Tensor  # (B, N) bool


def route_points(maps: Maps, map_id: Tensor, ahead: Ahead, frame: Frame) -> Points:
    """Points of the route from 40 m behind to 100 m ahead, and the next place to give way. Zero without a lane."""
    offsets = torch.tensor(ROUTE_BEHIND + ROUTE_AHEAD, dtype=frame.x.dtype, device=frame.x.device)
    meet = ahead.yield_at.clamp(max=NEVER).unsqueeze(-1)
    where = torch.cat([offsets.expand(*frame.x.shape, -1), meet], dim=-1)
    x, y, c, s = chain_point(maps, map_id, ahead.own, where)
    on_lane = ahead.lanes[..., 1:2] >= 0
    x, y = to_ego(frame, x - frame.x.unsqueeze(-1), y - frame.y.unsqueeze(-1))
    c, s = to_ego(frame, c, s)
    x, y, c, s = (torch.where(on_lane, part, 0.0) for part in (x, y, c, s))
    shown = torch.stack([x / POSITION, y / POSITION, c, s], dim=-1)[:, :, len(ROUTE_BEHIND) : -1]
    return Points(offsets, x[..., :-1], y[..., :-1], c[..., :-1], s[..., :-1], shown, x[..., -1], y[..., -1], on_lane.squeeze(-1))
