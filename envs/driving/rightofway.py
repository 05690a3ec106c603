"""Right of way: who must wait before a stretch that two lanes share.

Shapes: B worlds, A agents; pairs (B, A, A) read [b, i, j]: what agent i makes of agent j.
Lanes that cross or join are listed in `Maps.conflict`. Agent i, coming to such a stretch, gives way to j if j is in it, or has
priority and would be in it while i is (gap acceptance on predicted arrival times; cf. SUMO's right-of-way model, Krajzewicz et al. 2012).
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.collision import stored
from envs.driving.lanes import CHAIN, Chain, lane_field
from envs.driving.types import Maps, Setup, State

__all__ = ["yield_distance"]

MARGIN = 1.2  # s kept between one leaving the stretch and the other entering
HASTE = 1.0  # m/s^2, acceleration assumed when predicting the earliest arrival of others
PATIENCE = 80  # ticks after which somebody who stands still loses priority
SEEN_ROWS = 2  # of the lanes ahead of i, how many with conflicts are looked at
SEEN_COLUMNS = 3  # of the lanes ahead of j


def _arrival(distance: Tensor, speed: Tensor, accel: Tensor | float) -> Tensor:
    """Seconds to cover `distance` m from `speed` with constant `accel`; 0 if already there."""
    return (torch.sqrt(speed * speed + 2.0 * accel * distance.clamp(min=0.0)) - speed) / accel


def _with_conflicts(maps: Maps, setup: Setup, chain: Chain, wanted: int) -> list[tuple[Tensor, Tensor]]:
    """The first `wanted` lanes of the chain that have conflicts: (row in Maps.conflict or -1, metres to their start), each (B, A)."""
    rows = [torch.where(lane >= 0, lane_field(maps.conflict_id, setup.map_id, lane), -1) for lane in chain.lane]
    found = [(torch.full_like(rows[0], -1), torch.full_like(chain.base[0], torch.inf)) for _ in range(wanted)]
    count = torch.zeros_like(rows[0])
    for c in range(CHAIN):
        has = rows[c] >= 0
        for k in range(wanted):
            here = has & (count == k)
            found[k] = (torch.where(here, rows[c], found[k][0]), torch.where(here, chain.base[c], found[k][1]))
        count = count + has.to(count.dtype)
    return [(stored(row), stored(base)) for row, base in found]


def _turn(state: State, setup: Setup, maps: Maps, row: Tensor, base: Tensor) -> Tensor:
    """First come, first served: who comes first has the lower number, (B, A).

    Seconds to the first shared stretch of the lane; metres past it if negative.

    It depends on one agent alone. If it were for every pair the arrival at the stretch that the two share, four cars at a crossing
    could each find that the next one comes first, and wait for ever.
    """
    begins = maps.conflict[..., 0].amin(2)  # (M, X)
    to = base + begins[setup.map_id.unsqueeze(1), row.clamp(min=0)] - 0.5 * setup.length
    return stored(torch.where(to > 0.0, _arrival(to, state.speed.clamp(min=0.0), HASTE), to))


def yield_distance(state: State, setup: Setup, maps: Maps, chain: Chain, stop_ahead: Tensor, held: Tensor) -> Tensor:
    """Metres from each agent's front bumper to where it has to wait for others; +inf where the way is free. (B, A).

    stop_ahead (B, A): metres from the front bumper to the next painted line (+inf none): one waits there rather than at the
    shared stretch. held (B, A) bool: waits at a red light or has not started; others need not mind it unless it stands in the way.
    """
    x = maps.conflict.shape[1]
    table = maps.conflict.reshape(-1, 5)
    world = setup.map_id.view(-1, 1, 1)
    half_i, half_j = setup.length.unsqueeze(2) * 0.5, setup.length.unsqueeze(1) * 0.5
    v_i, v_j = state.speed.clamp(min=0.0).unsqueeze(2), state.speed.clamp(min=0.0).unsqueeze(1)
    pace = setup.accel.unsqueeze(2).clamp(min=0.5)
    index = torch.arange(state.x.shape[1], device=state.x.device)
    earlier = index.view(1, 1, -1) < index.view(1, -1, 1)  # j before i in the list: the last tie-break
    other = (index.view(1, 1, -1) != index.view(1, -1, 1)) & state.valid.unsqueeze(1) & state.valid.unsqueeze(2)
    asleep = (state.waited > PATIENCE).unsqueeze(1)
    rows, columns = _with_conflicts(maps, setup, chain, SEEN_ROWS), _with_conflicts(maps, setup, chain, SEEN_COLUMNS)
    stop_i = stop_ahead.unsqueeze(2)
    brake = 0.75 * setup.brake_max.unsqueeze(2)
    wait = torch.full_like(state.x, torch.inf)
    for row, base_i in rows:
        turn_i = _turn(state, setup, maps, row, base_i)
        for column, base_j in columns:
            turn_j = _turn(state, setup, maps, column, base_j)
            known = (row.unsqueeze(2) >= 0) & (column.unsqueeze(1) >= 0) & other
            at = (world * x + row.unsqueeze(2).clamp(min=0)) * x + column.unsqueeze(1).clamp(min=0)
            stretch = table[at]  # (B, A, A, 5)
            known = known & torch.isfinite(stretch[..., 0])
            i_base, j_base = torch.where(known, base_i.unsqueeze(2), 0.0), torch.where(known, base_j.unsqueeze(1), 0.0)
            enter, leave = torch.where(known, stretch[..., 0], 0.0), torch.where(known, stretch[..., 1], 0.0)
            i_in, i_out = i_base + enter - half_i, i_base + leave + half_i
            j_in, j_out = j_base + stretch[..., 2] - half_j, j_base + stretch[..., 3] + half_j
            before_i = i_in > 0.0
            pending = known & before_i & (j_out > 0.0)
            inside = j_in <= 0.0
            t_i_in, t_i_out = _arrival(i_in, v_i, pace), _arrival(i_out, v_i, pace)
            t_j_in, t_j_out = _arrival(j_in, v_j, HASTE), j_out / v_j.clamp(min=1.0)
            meet = (t_i_in < t_j_out + MARGIN) & (t_j_in < t_i_out + MARGIN)
            gives_way = stretch[..., 4]
            first = (turn_j.unsqueeze(1) < turn_i.unsqueeze(2)) | ((turn_j.unsqueeze(1) == turn_i.unsqueeze(2)) & earlier)
            must = (gives_way == 1.0) | ((gives_way == 2.0) & first)
            minds = inside | (must & meet & ~held.unsqueeze(1) & ~asleep)
            # wait at the painted line if there is one before the stretch, else just before the stretch
            room = torch.where((stop_i > -0.5) & (stop_i < i_in), stop_i, i_in - 1.0)
            can = v_i * v_i < 2.0 * brake * room.clamp(min=0.05)
            wait = torch.minimum(wait, torch.where(pending & minds & can, room, torch.inf).amin(2))
    return torch.where(setup.yields, wait, torch.inf)
