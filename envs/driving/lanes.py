"""Where an agent is along its lane, and what lies ahead of it.

Shapes: B worlds, A agents (any trailing shape broadcasts), C lanes of a chain, K preview points.
Frenet coordinates: s along, d left of the centreline. Everything is a gather from `Maps`; nothing searches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.collision import stored
from envs.driving.types import Maps

__all__ = ["CHAIN", "Chain", "chain_ahead", "chain_point", "lane_field", "lane_point", "preview", "project", "route_field"]

CHAIN = 4  # lanes looked ahead along the route, the present one included


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


def _point(maps: Maps, map_id: Tensor, lane: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x, y, cos, sin, curvature of a lane's centreline at s; see `lane_point`."""
    step = lane_field(maps.lane_step, map_id, lane)
    last = lane_field(maps.lane_count, map_id, lane) - 2
    k = torch.minimum((s / step).floor().to(torch.int64), last).clamp(min=0)
    at = stored(_column(map_id, lane) * maps.points.shape[1] + lane_field(maps.lane_start, map_id, lane) + k)
    share = stored(s / step - k)
    inside = share.clamp(0.0, 1.0)
    x, y, cos, sin, curvature = (
        column[at] + by * (column[at + 1] - column[at])
        for column, by in zip(maps.points.reshape(-1, 5).unbind(-1), (share, share, inside, inside, inside), strict=True)
    )
    return x, y, cos, sin, curvature


def lane_point(maps: Maps, map_id: Tensor, lane: Tensor, s: Tensor) -> Tensor:
    """Point of a lane's centreline at s.

    map_id (B,), lane and s (B, ...). Returns (B, ..., 5): x, y, cos, sin of heading, curvature, linear between the points of
    the centreline; beyond the ends the line is continued straight.
    """
    return torch.stack(_point(maps, map_id, lane, s), dim=-1)


def project(
    maps: Maps, map_id: Tensor, lane: Tensor, s_guess: Tensor, x: Tensor, y: Tensor, *, steps: int = 2
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frenet coordinates of (x, y) on a lane, from a guess: `steps` Newton steps on the polyline.

    Two steps suffice from a few metres off, none from a few centimetres (then s moves along the tangent at the guess). All
    (B, ...). Returns s, d (m, left positive) and the cos, sin of the lane's heading there.
    """
    s = s_guess
    for _ in range(steps):
        px, py, cos, sin, _ = _point(maps, map_id, lane, s)
        s = s + (x - px) * cos + (y - py) * sin
    px, py, cos, sin, _ = _point(maps, map_id, lane, s)
    dx, dy = x - px, y - py
    return s + dx * cos + dy * sin, dy * cos - dx * sin, cos, sin


class Chain(NamedTuple):
    """The lanes an agent will drive next along its route. Entries past the end repeat -1."""

    lane: tuple[Tensor, ...]  # C x (B, A) int64, [0] the present lane
    base: tuple[Tensor, ...]  # C x (B, A) m from the agent's reference point to the start of that lane (negative for [0]); +inf: none


def chain_ahead(maps: Maps, map_id: Tensor, goal: Tensor, lane: Tensor, s: Tensor) -> Chain:
    """Follow `next_lane` from (lane, s), all (B, A)."""
    lanes, bases = [stored(lane)], [stored(torch.where(lane >= 0, -s, torch.inf))]
    for _ in range(CHAIN - 1):
        here = lanes[-1]
        following = torch.where(here >= 0, route_field(maps.next_lane, map_id, goal, here), -1)
        bases.append(stored(torch.where(following >= 0, bases[-1] + lane_field(maps.lane_length, map_id, here), torch.inf)))
        lanes.append(stored(following))
    return Chain(tuple(lanes), tuple(bases))


def chain_point(maps: Maps, map_id: Tensor, chain: Chain, ahead: Tensor, fields: int = 4) -> tuple[Tensor, ...]:
    """Point of the route `ahead` metres further on; ahead (B, A, K). Past the end the last lane is continued straight.

    Returns x, y, cos, sin (and curvature with fields=5), each (B, A, K). Uses the nearest centreline point and its tangent:
    with points about 1 m apart the error is below 2 cm at 10 m radius.
    """
    points = maps.points.shape[1]
    # of each lane of the chain, (B, A, 1): its first point, the number of its last one, m between them, m to its start
    first = [stored(_column(map_id, lane) * points + lane_field(maps.lane_start, map_id, lane)).unsqueeze(-1) for lane in chain.lane]
    final = [stored((lane_field(maps.lane_count, map_id, lane) - 1).to(ahead.dtype)).unsqueeze(-1) for lane in chain.lane]
    steps = [stored(lane_field(maps.lane_step, map_id, lane)).unsqueeze(-1) for lane in chain.lane]
    bases = [base.unsqueeze(-1) for base in chain.base]
    start, last, step, base = first[0], final[0], steps[0], bases[0]
    for c in range(1, CHAIN):
        here = ahead >= bases[c]
        start, last = torch.where(here, first[c], start), torch.where(here, final[c], last)
        step, base = torch.where(here, steps[c], step), torch.where(here, bases[c], base)
    s = torch.where(chain.lane[0].unsqueeze(-1) >= 0, ahead - base, 0.0)
    k = torch.minimum((s / step + 0.5).floor(), last).clamp(min=0.0)
    index = start + k.to(torch.int64)
    x, y, *direction = (column[index] for column in maps.points.reshape(-1, 5).unbind(-1)[:fields])
    past = s - k * step
    return (x + past * direction[0], y + past * direction[1], *direction)


def preview(maps: Maps, map_id: Tensor, goal: Tensor, lane: Tensor, s: Tensor, offsets: Tensor) -> Tensor:
    """Centreline points of the route ahead.

    map_id (B,), goal, lane, s (B, A), offsets (K,) m ahead. Follows `next_lane` over at most three lane ends. Returns
    (B, A, K, 5): x, y, cos, sin, curvature.
    """
    chain = chain_ahead(maps, map_id, goal, lane, s)
    ahead = offsets.expand(*lane.shape, offsets.shape[0])
    return torch.stack(chain_point(maps, map_id, chain, ahead, fields=5), dim=-1)
