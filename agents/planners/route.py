"""The way to the goal as reference paths, and Frenet coordinates on them.

The way itself is the shortest one over the lane graph, with permitted lane changes as edges: `envs.driving.routing` finds it by Dijkstra's
algorithm from the goal backwards, once per map, and keeps per lane what comes next, what is left to go and which change is needed. Here it
is only followed, by gathers, for the ego's lane and the two beside it.

Shapes: B worlds, R = 3 paths (left, own, right), P points, C lanes of a chain, Q queries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.planners.base import Ego, Place, Route
from envs.driving.lanes import CHAIN, Chain, chain_ahead, chain_point, lane_field, project, route_field
from envs.driving.traffic import CALM
from scenarios.network import LaneEnd, LaneType

__all__ = [
    "FIRST", "OWN", "POINTS", "STEP", "at", "columns", "lane_sequence", "make_route", "nearest",
    "own_chain", "places", "prepared", "read", "to_frenet", "to_path",
]  # fmt: skip

FIRST, STEP, POINTS = -20.0, 1.0, 176  # m, m: from 20 m behind to 155 m ahead, 4 s at 140 km/h
OWN = 1  # index of the path along the ego's own lane
COARSE = 8  # every so many points a query looks for the nearest one
MISSED = 2.0  # m along the path that a foot may be missed by
FAR = 1e4  # m
LATERAL = 2.5  # m/s^2 sideways that bends are taken with at most; nuPlan's bound of comfort is 4.9
CHANGES = 6  # lane changes that are counted
CURVATURE_MIN = 1e-4  # 1/m, straighter than any motorway


def own_chain(ego: Ego, place: Place) -> Chain:
    """The lanes ahead of the ego, (B, 1) each."""
    return chain_ahead(place.maps, place.map_id, ego.goal.unsqueeze(1), ego.lane.unsqueeze(1), ego.s.unsqueeze(1))


def make_route(ego: Ego, place: Place, *, over: bool = False) -> Route:
    """Reference paths of every ego. Without a lane: straight ahead at 10 m/s at most. over: lanes for overtaking, too."""
    maps, mid = place.maps, place.map_id
    own = ego.lane.unsqueeze(1)  # (B, 1)
    there = own >= 0
    sides = [torch.where(there, lane_field(table, mid, own), -1) for table in (maps.lane_left, maps.lane_right)]
    lane = torch.cat([sides[0], own, sides[1]], dim=1)  # (B, R)
    if not over:
        plain = lane_field(maps.lane_type, mid, lane) != int(LaneType.OVERTAKE)
        lane = torch.where(plain | (lane == own), lane, -1)
    goal = ego.goal.unsqueeze(1).expand_as(lane)
    share = lane_field(maps.lane_length, mid, lane) / lane_field(maps.lane_length, mid, own)
    x, y = ego.x.unsqueeze(1).expand(lane.shape), ego.y.unsqueeze(1).expand(lane.shape)
    s, d, _, _ = project(maps, mid, lane, ego.s.unsqueeze(1) * share, x, y)
    chain = chain_ahead(maps, mid, goal, lane, s)
    ahead = FIRST + STEP * torch.arange(POINTS, device=ego.x.device, dtype=ego.x.dtype)
    px, py, pc, ps, bend = chain_point(maps, mid, chain, ahead.expand(*lane.shape, POINTS), fields=5)
    c, sn = ego.cos.view(-1, 1, 1), ego.sin.view(-1, 1, 1)
    dx, dy = px - ego.x.view(-1, 1, 1), py - ego.y.view(-1, 1, 1)
    known = (lane >= 0).unsqueeze(-1)
    end, exit, need = _ends(place, chain, goal)
    zero = torch.zeros_like(dx)
    return Route(
        lane=lane,
        x=torch.where(known, dx * c + dy * sn, ahead + zero),
        y=torch.where(known, dy * c - dx * sn, 0.0),
        cos=torch.where(known, pc * c + ps * sn, 1.0),
        sin=torch.where(known, ps * c - pc * sn, 0.0),
        curvature=torch.where(known, bend, 0.0),
        limit=torch.where(known, _limits(place, chain, ahead, bend), 10.0),
        width=torch.where(lane >= 0, lane_field(maps.lane_width, mid, lane), 3.5),
        d=torch.where(lane >= 0, d, 0.0),
        end=torch.where(lane >= 0, end, torch.inf),
        exit=torch.where(lane >= 0, exit, torch.inf),
        need=torch.where(lane >= 0, need, 0),
        toll=torch.zeros_like(d),
    )


def _limits(place: Place, chain: Chain, ahead: Tensor, bend: Tensor) -> Tensor:
    """Speed at each point (B, R, P) m/s: posted, slow enough for the bend, and with CALM braking for what comes: v^2 = v'^2 + 2 b ds."""
    limit = lane_field(place.maps.lane_limit, place.map_id, chain.lane[0]).unsqueeze(-1).expand_as(bend)
    for c in range(1, CHAIN):
        posted = lane_field(place.maps.lane_limit, place.map_id, chain.lane[c]).unsqueeze(-1)
        limit = torch.where(ahead >= chain.base[c].unsqueeze(-1), posted, limit)
    return prepared(torch.minimum(limit, torch.sqrt(LATERAL / bend.abs().clamp(min=CURVATURE_MIN))), ahead)


def prepared(limit: Tensor, ahead: Tensor) -> Tensor:
    """Speeds (..., P) from which CALM braking leads to every one that comes, v^2 = v'^2 + 2 b ds; ahead (..., P) m, growing."""
    squared = limit * limit + 2.0 * CALM * ahead
    least = squared.flip(-1).cummin(-1).values.flip(-1)
    return torch.sqrt((least - 2.0 * CALM * ahead).clamp(min=0.0))


def _ends(place: Place, chain: Chain, goal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`Route.end`, `Route.exit` and `Route.need`."""
    maps, mid = place.maps, place.map_id
    end, need = torch.full_like(chain.base[0], torch.inf), torch.zeros_like(goal)
    exit = end
    for c in reversed(range(CHAIN)):
        lane = chain.lane[c]
        there = lane >= 0
        here = torch.where(there, chain.base[c], 0.0) + lane_field(maps.lane_length, mid, lane)
        change = torch.where(there, route_field(maps.change, mid, goal, lane), 0)
        exit = torch.where(there & (lane_field(maps.lane_end, mid, lane) == int(LaneEnd.EXIT)), here, exit)
        blocked = there & ((lane_field(maps.lane_end, mid, lane) == int(LaneEnd.BLOCKED)) | (change != 0))
        end, need = torch.where(blocked, here, end), torch.where(blocked, _changes(place, goal, lane), need)
    return end, exit, need


def _changes(place: Place, goal: Tensor, lane: Tensor) -> Tensor:
    """How many lanes one after another the goal asks to change from each lane (B, R), at most CHANGES, left positive; int64."""
    maps, mid = place.maps, place.map_id
    count = torch.zeros_like(lane)
    for _ in range(CHANGES):
        change = torch.where(lane >= 0, route_field(maps.change, mid, goal, lane), 0)
        count = count + change
        beside = torch.where(change > 0, lane_field(maps.lane_left, mid, lane), lane_field(maps.lane_right, mid, lane))
        lane = torch.where(change != 0, beside, -1)
    return count


def lane_sequence(place: Place, goal: Tensor, lane: Tensor, count: int) -> Tensor:
    """The shortest way over the lane graph as lanes one after another, lane changes included, (B, count) int64; -1 past the goal.

    goal, lane (B,) int64. Cost: metres, and `envs.driving.routing.CHANGE_COST` for every lane change.
    """
    maps, mid, lanes = place.maps, place.map_id, [lane]
    for _ in range(count - 1):
        here = lanes[-1]
        change = route_field(maps.change, mid, goal, here)
        beside = torch.where(change > 0, lane_field(maps.lane_left, mid, here), lane_field(maps.lane_right, mid, here))
        onward = torch.where(change != 0, beside, route_field(maps.next_lane, mid, goal, here))
        left = route_field(maps.to_go, mid, goal, here)
        arrives = (change == 0) & (left <= lane_field(maps.lane_length, mid, here))
        lanes.append(torch.where((here >= 0) & torch.isfinite(left) & ~arrives, onward, -1))
    return torch.stack(lanes, dim=1)


def at(s: Tensor, *tables: Tensor) -> tuple[Tensor, ...]:
    """Columns of the route (B, R, P) at stations s (B, R, ...) m, linear between points, constant beyond the ends; shaped as s."""
    return read(s, columns(*tables))


def columns(*tables: Tensor) -> Tensor:
    """F columns of the route (B, R, P), to be read often: their values and how much more the next point has, (2 F, B, R, P - 1)."""
    table = torch.stack(tables)
    return torch.cat([table[..., :-1], table[..., 1:] - table[..., :-1]])


def places(route: Route) -> Tensor:
    """`columns` of x, y, cos and sin: what `to_path` reads."""
    return columns(route.x, route.y, route.cos, route.sin)


def read(s: Tensor, table: Tensor) -> tuple[Tensor, ...]:
    """As `at`, of `columns`."""
    place = ((s - FIRST) / STEP).clamp(0.0, POINTS - 1.001).reshape(*s.shape[:2], -1)
    k = place.to(torch.int64)
    low, rise = table.gather(3, k.expand(len(table), *k.shape)).chunk(2)
    return (low + (place - k) * rise).view(-1, *s.shape).unbind(0)


def to_path(route: Route | Tensor, s: Tensor, d: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frenet to ego frame: x, y of the place and cos, sin of the path beside it. s, d (B, R, ...); all of that shape.

    route: or its `places`, for who asks often. d: m left of the path; None: on it.
    """
    x, y, c, sn = read(s, route if isinstance(route, Tensor) else places(route))
    past = s - s.clamp(FIRST, FIRST + STEP * (POINTS - 1.001))
    x, y = x + past * c, y + past * sn
    return (x, y, c, sn) if d is None else (x - d * sn, y + d * c, c, sn)


def nearest(route: Route, x: Tensor, y: Tensor) -> Tensor:
    """Station of the nearest of every COARSE-th point of each path, (B, R, Q) m. x, y (B, Q) m, ego frame."""
    px, py = route.x[:, :, ::COARSE].unsqueeze(2), route.y[:, :, ::COARSE].unsqueeze(2)  # (B, R, 1, P / COARSE)
    dx, dy = x[:, None, :, None] - px, y[:, None, :, None] - py
    return FIRST + STEP * COARSE * (dx * dx + dy * dy).argmin(-1).to(x.dtype)


def to_frenet(route: Route, x: Tensor, y: Tensor, guess: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ego frame to Frenet on each path: s, d and the cos, sin of the path there, each (B, R, Q). x, y (B, Q) m.

    From a guess of s (B, R, Q), `nearest` without one, two Newton steps; right for places within about 10 m of the path. Where they do not
    lead to a foot of the place, which then is far from the path or the guess was bad, d is FAR.
    """
    s = nearest(route, x, y) if guess is None else guess
    wide_x, wide_y = x.unsqueeze(1).expand_as(s), y.unsqueeze(1).expand_as(s)
    table = columns(route.x, route.y, route.cos, route.sin, route.curvature)
    for _ in range(2):
        s = _nearer(table, s, wide_x, wide_y)
    qx, qy, c, sn, _ = read(s, table)
    dx, dy = wide_x - qx, wide_y - qy
    past = dx * c + dy * sn
    before_first, after_last = (s <= FIRST + STEP) & (past < 0.0), (s >= FIRST + STEP * (POINTS - 2)) & (past > 0.0)
    foot = (past.abs() < MISSED) | before_first | after_last
    return s + past, torch.where(foot, dy * c - dx * sn, FAR), c, sn


def _nearer(table: Tensor, s: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """One Newton step towards the foot of (x, y), all (B, R, Q), at most COARSE points far. table: `columns` with the curvature."""
    qx, qy, c, sn, bend = read(s, table)
    dx, dy = x - qx, y - qy
    left = dy * c - dx * sn
    step = (dx * c + dy * sn) / (1.0 - bend * left).clamp(min=0.3)
    return (s + step.clamp(-STEP * COARSE, STEP * COARSE)).clamp(FIRST, FIRST + STEP * (POINTS - 1))
