"""Ways through the lane graph: for every destination and lane, how far it is and which lane comes next.

Shapes: G destinations (0: any exit), L lanes. Computed once per network.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenarios.network import Lane, LaneEnd, RoadNetwork

__all__ = ["CHANGE_COST", "Routes", "destination_index", "lane_lengths", "routes"]

CHANGE_COST = 1000.0  # m, detour that is worth one lane change less; more than any section is long, less than a round trip
SAME = 50.0  # m, routes closer than this are equal: parallel lanes of a bend differ by a few metres only


class Routes(NamedTuple):
    """Tables per destination. Lane -1 means none."""

    next_lane: NDArray[np.int64]  # (G, L) successor on the best route
    to_go: NDArray[np.float64]  # (G, L) m from the start of the lane; +inf: unreachable
    change: NDArray[np.int64]  # (G, L) +1 left, -1 right, 0 none: change needed before the lane ends


def destination_index(network: RoadNetwork, name: str | None) -> int:
    """Index of a destination in the tables: 0 for None (any exit), else 1 + its place. Raises KeyError that names the known ones."""
    if name is None:
        return 0
    if name not in network.destinations:
        raise KeyError(f"no destination {name!r}; known: {', '.join(network.destinations) or 'none'}")
    return 1 + list(network.destinations).index(name)


def lane_lengths(network: RoadNetwork) -> NDArray[np.float64]:
    """(L,) m along each centreline."""
    return np.array([np.hypot(*np.diff(lane.centre, axis=0).T).sum() for lane in network.lanes])


def routes(network: RoadNetwork) -> Routes:
    """Best routes to every destination.

    Dijkstra from the goals backwards over successors and permitted lane changes. A lane change costs CHANGE_COST when routes
    are compared but nothing in `to_go`, which counts metres: on a lane that must be left sideways it is what is left as seen
    from the neighbour, so that remaining distance = to_go - s at all times. Where changing now or later comes to the same,
    `change` asks for it now. If the network has no exits, index 0 is 0 m from everywhere.
    """
    lengths = lane_lengths(network)
    index = {lane.id: i for i, lane in enumerate(network.lanes)}
    exits = tuple((lane.id, np.inf) for lane in network.lanes if lane.end == LaneEnd.EXIT)
    tables = [_to(network.lanes, index, lengths, exits) if exits else _everywhere(network.lanes, index)]
    tables += [_to(network.lanes, index, lengths, goals) for goals in network.destinations.values()]
    return Routes(*(np.stack(parts) for parts in zip(*tables, strict=True)))


def _everywhere(lanes: tuple[Lane, ...], index: dict[str, int]) -> Routes:
    following = [index[lane.successors[0]] if lane.successors else -1 for lane in lanes]
    return Routes(np.array(following, dtype=np.int64), np.zeros(len(lanes)), np.zeros(len(lanes), dtype=np.int64))


def _to(lanes: tuple[Lane, ...], index: dict[str, int], lengths: NDArray[np.float64], goals: tuple[tuple[str, float], ...]) -> Routes:
    """Tables of one destination, each (L,)."""
    count = len(lanes)
    successors = [[index[name] for name in lane.successors] for lane in lanes]
    sides = [[(index[name], sign) for name, sign in ((lane.right, -1), (lane.left, 1)) if name is not None] for lane in lanes]
    before: list[list[int]] = [[] for _ in lanes]
    beside: list[list[int]] = [[] for _ in lanes]
    for i in range(count):
        for j in successors[i]:
            before[j].append(i)
        for j, _ in sides[i]:
            beside[j].append(i)

    cost = np.full(count, np.inf)  # (L,) m, including CHANGE_COST per change
    start: dict[int, float] = {}  # goal lane -> s of the goal
    for name, s in goals:
        start[index[name]] = min(float(s), float(lengths[index[name]]), start.get(index[name], np.inf))
    heap = [(s, i) for i, s in start.items()]
    order = []  # lanes, nearest first
    while heap:
        c, i = heappop(heap)
        if c >= cost[i]:
            continue
        cost[i] = c
        order.append(i)
        for j in before[i]:
            heappush(heap, (c + lengths[j], j))
        for j in beside[i]:
            heappush(heap, (c + lengths[j] - lengths[i] + CHANGE_COST, j))

    to_go = np.full(count, np.inf)
    next_lane = np.array([min(ways, key=lambda j: cost[j]) if ways else -1 for ways in successors], dtype=np.int64)
    change = np.zeros(count, dtype=np.int64)
    for i in order:
        if i in start:
            to_go[i] = start[i]
            continue
        stay = cost[next_lane[i]] + lengths[i] if next_lane[i] >= 0 else np.inf
        aside, sign, j = min(((cost[j] + lengths[i] - lengths[j] + CHANGE_COST, sign, j) for j, sign in sides[i]), default=(np.inf, 0, -1))
        if aside < np.inf and aside <= stay + SAME:
            change[i] = sign
            to_go[i] = to_go[j] + lengths[i] - lengths[j]  # parallel lanes end side by side
        else:
            to_go[i] = to_go[next_lane[i]] + lengths[i]
    return Routes(next_lane, to_go, change)
