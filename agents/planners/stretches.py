"""Stretches that the ego's lanes share with those of others, and when who is there.

Shapes: B worlds, W lanes of a chain, Y ways of others, X lanes with conflicts, M maps, P points of centrelines.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import Place
from envs.driving.lanes import Chain, lane_field
from envs.driving.lights import governing_light, must_stop_at
from envs.driving.types import Maps

__all__ = ["Shared", "arrival", "held_up", "place_lanes", "shared"]


class Shared(NamedTuple):
    """The stretches that each lane ahead of the ego shares with each lane of others' ways; (B, W, Y, W) where not said otherwise.

    Metres are from the front bumper to where the stretch begins, and from the rear one to where it ends, 0 where there is none.
    """

    known: Tensor  # bool: there is one
    enters: Tensor  # m until the ego comes in
    leaves: Tensor  # m until it is out
    other_enters: Tensor  # m until the other comes in
    other_leaves: Tensor
    code: Tensor  # 1: the ego gives way; 2: first come, first served
    mine: Tensor  # (B, W) int64, the ego's lanes
    theirs: Tensor  # (B, Y, W) int64
    row: Tensor  # (B, W) int64, in `Maps.conflict`, -1: none
    column: Tensor  # (B, Y, W) int64
    base: Tensor  # (B, W) m from the ego's middle to the start of each of its lanes
    begins: Tensor  # (B, X) m along each lane with conflicts to the first of them
    edge: Tensor  # (B,) m from the front bumper to the first stretch ahead, shared with whomever; +inf: none
    amid: Tensor  # (B,) bool: the ego is in such a stretch, shared with whomever


def shared(place: Place, chain: Chain, ways: Chain, half: Tensor, other_half: Tensor) -> Shared:
    """chain of (B, 1), ways of (B, Y); half (B,) and other_half (B, Y) m: half the vehicles' lengths."""
    maps, mid = place.maps, place.map_id
    mine, theirs = torch.cat(chain.lane, dim=1), torch.stack(ways.lane, dim=2)
    row = torch.where(mine >= 0, lane_field(maps.conflict_id, mid, mine), -1)
    column = torch.where(theirs >= 0, lane_field(maps.conflict_id, mid, theirs), -1)
    x = maps.conflict.shape[1]
    at = (mid.view(-1, 1, 1, 1) * x + row.clamp(min=0)[:, :, None, None]) * x + column.clamp(min=0).unsqueeze(1)
    enter, leave, other_enter, other_leave, code = maps.conflict.reshape(-1, 5)[at].unbind(-1)
    known = (row >= 0)[:, :, None, None] & (column >= 0).unsqueeze(1) & torch.isfinite(enter)
    base = torch.cat(chain.base, dim=1)
    base_i = torch.where(known, base[:, :, None, None], 0.0)
    base_j = torch.where(known, torch.stack(ways.base, dim=2).unsqueeze(1), 0.0)
    enter, leave = torch.where(known, enter, 0.0), torch.where(known, leave, 0.0)
    half_i, half_j = half.view(-1, 1, 1, 1), other_half[:, None, :, None]
    i_in, i_out = base_i + enter - half_i, base_i + leave + half_i
    first, last = maps.conflict[..., 0], maps.conflict[..., 1]  # (M, X, X), along the lanes of the first X
    begins = first.amin(2)[mid]  # (B, X)
    begin = begins.gather(1, row.clamp(min=0))
    to = torch.where((row >= 0) & torch.isfinite(base) & torch.isfinite(begin), base + begin - half.unsqueeze(1), torch.inf)
    rows = row.clamp(min=0).unsqueeze(2).expand(-1, -1, x)
    at_all = ((row >= 0) & torch.isfinite(base)).unsqueeze(2)
    here, there = (base.unsqueeze(2) + part[mid].gather(1, rows) for part in (first, last))  # (B, W, X)
    inside = at_all & (here - half.view(-1, 1, 1) <= 0.0) & (there + half.view(-1, 1, 1) > 0.0) & torch.isfinite(here)
    return Shared(
        known=known,
        enters=i_in,
        leaves=i_out,
        other_enters=base_j + other_enter - half_j,
        other_leaves=base_j + other_leave + half_j,
        code=code,
        mine=mine,
        theirs=theirs,
        row=row,
        column=column,
        base=base,
        begins=begins,
        edge=torch.where(to > 0.0, to, torch.inf).amin(1),
        amid=inside.any(1).any(1),
    )


def held_up(place: Place, ways: Chain, speed: Tensor, half: Tensor) -> Tensor:
    """Whether a light ahead on a way says stop, (B, Y) bool."""
    maps, mid = place.maps, place.map_id
    held = torch.zeros_like(speed, dtype=torch.bool)
    for c in range(2):
        lane = ways.lane[c]
        there = lane >= 0
        to_line = torch.where(there, torch.where(there, ways.base[c], 0.0) + lane_field(maps.stop_s, mid, lane) - half, torch.inf)
        ahead = torch.isfinite(to_line) & (to_line > -1.5)
        held = held | (ahead & must_stop_at(governing_light(maps, mid, place.lights, lane), to_line, speed))
    return held


def arrival(distance: Tensor, speed: Tensor, accel: float) -> Tensor:
    """Seconds to cover `distance` m from `speed` with constant `accel`; 0 if already there."""
    return (torch.sqrt(speed * speed + 2.0 * accel * distance.clamp(min=0.0)) - speed) / accel


def place_lanes(maps: Maps) -> Tensor:
    """The lane of every centreline point, (M, P) int64."""
    index = torch.arange(maps.lane_start.shape[1], device=maps.lane_start.device).expand_as(maps.lane_start)
    begins = torch.where(maps.lane_count > 0, maps.lane_start, 0)
    first = torch.zeros_like(maps.points[..., 0], dtype=torch.int64)
    first = first.scatter_reduce(1, begins, torch.where(maps.lane_count > 0, index, 0), "amax")
    return first.cummax(1).values
