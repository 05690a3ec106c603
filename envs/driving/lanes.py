"""Where an agent is along its lane, and what lies ahead of it.

Shapes: B worlds, A agents (any trailing shape broadcasts), K preview points. Frenet coordinates: s along, d left of the centreline.
Everything is a gather from `Maps`; nothing searches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.types import Maps

__all__ = ["lane_field", "lane_point", "preview", "project", "route_field"]


def _column(map_id: Tensor, like: Tensor) -> Tensor:
    """map_id (B,) reshaped to broadcast against `like` (B, ...)."""
    return map_id.view(map_id.shape + (1,) * (like.dim() - 1))


def lane_field(table: Tensor, map_id: Tensor, lane: Tensor) -> Tensor:
    """table (M, L) looked up at lane (B, ...); lane -1 reads lane 0, so mask the result."""
    lanes = table.shape[1]
    return table.reshape(-1)[_column(map_id, lane) * lanes + lane.clamp(min=0)]


def route_field(table: Tensor, map_id: Tensor, goal: Tensor, lane: Tensor) -> Tensor:
    """table (M, G, L) looked up at (goal, lane), both (B, ...); lane -1 reads lane 0, so mask the result."""
    goals, lanes = table.shape[1], table.shape[2]
    return table.reshape(-1)[(_column(map_id, lane) * goals + goal) * lanes + lane.clamp(min=0)]


def _segment(maps: Maps, map_id: Tensor, lane: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Flat index of the point before s and the length (m) travelled past it. s outside the lane extrapolates the end segments."""
    step = lane_field(maps.lane_step, map_id, lane)
    last = lane_field(maps.lane_count, map_id, lane) - 2
    k = (s / step).floor().to(torch.int64)
    k = torch.minimum(k, last).clamp(min=0)
    index = _column(map_id, lane) * maps.points.shape[1] + lane_field(maps.lane_start, map_id, lane) + k
    return index, s - k * step


def lane_point(maps: Maps, map_id: Tensor, lane: Tensor, s: Tensor) -> Tensor:
    """Point of a lane's centreline at s.

    map_id (B,), lane and s (B, ...). Returns (B, ..., 5): x, y, cos, sin of heading, curvature. The heading and the curvature
    are those of the point before s; the position moves along the chord to the next point, so it is continuous. Beyond the
    ends the line is continued straight.
    """
    index, past = _segment(maps, map_id, lane, s)
    flat = maps.points.reshape(-1, 5)
    here, there = flat[index], flat[index + 1]
    step = lane_field(maps.lane_step, map_id, lane)
    share = (past / step).unsqueeze(-1)
    xy = here[..., :2] + share * (there[..., :2] - here[..., :2])
    blend = share.clamp(0.0, 1.0)
    return torch.cat([xy, here[..., 2:] + blend * (there[..., 2:] - here[..., 2:])], dim=-1)


def project(maps: Maps, map_id: Tensor, lane: Tensor, s_guess: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frenet coordinates of (x, y) on a lane, from a guess within a few metres: two Newton steps on the polyline.

    All (B, ...). Returns s, d (m, left positive) and the cos, sin of the lane's heading there.
    """
    s = s_guess
    for _ in range(2):
        p = lane_point(maps, map_id, lane, s)
        dx, dy = x - p[..., 0], y - p[..., 1]
        s = s + dx * p[..., 2] + dy * p[..., 3]
    p = lane_point(maps, map_id, lane, s)
    d = (y - p[..., 1]) * p[..., 2] - (x - p[..., 0]) * p[..., 3]
    return s, d, p[..., 2], p[..., 3]


def preview(maps: Maps, map_id: Tensor, goal: Tensor, lane: Tensor, s: Tensor, offsets: Tensor) -> Tensor:
    """Centreline points of the route ahead.

    map_id (B,), goal, lane, s (B, A), offsets (K,) m ahead, ascending. Follows `next_lane` over at most three lane ends; beyond
    that, or past the end of the map, the last lane is continued straight. Returns (B, A, K, 5): x, y, cos, sin, curvature.
    """
    lane_k = lane.unsqueeze(-1).expand(*lane.shape, offsets.shape[0])
    goal_k = goal.unsqueeze(-1).expand_as(lane_k)
    s_k = s.unsqueeze(-1) + offsets
    for _ in range(3):
        length = lane_field(maps.lane_length, map_id, lane_k)
        following = route_field(maps.next_lane, map_id, goal_k, lane_k)
        over = (s_k > length) & (following >= 0)
        s_k = torch.where(over, s_k - length, s_k)
        lane_k = torch.where(over, following, lane_k)
    return lane_point(maps, map_id, lane_k, s_k)
