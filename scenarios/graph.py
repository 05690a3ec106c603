"""Questions about a road network that placing vehicles asks: points of lanes, what follows what, how far it is to a destination.

Distances in m, s along lanes. This is preparation, once per episode; the driving core has its own compiled tables.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scenarios.network import Conflict, Lane, LaneEnd, RoadNetwork

__all__ = ["LaneGraph"]


class LaneGraph:
    """Look-ups over one network. Immutable once made, except for caches."""

    def __init__(self, network: RoadNetwork) -> None:
        self.network = network
        self.lanes: dict[str, Lane] = {lane.id: lane for lane in network.lanes}
        self._arc: dict[str, NDArray[np.float64]] = {}  # (P,) m, arc length at every centreline point
        self.length: dict[str, float] = {}
        self.before: dict[str, list[str]] = {lane.id: [] for lane in network.lanes}
        self.conflicts: dict[str, list[Conflict]] = {}
        self._to_go: dict[str | None, dict[str, float]] = {}
        for lane in network.lanes:
            steps = np.hypot(*np.diff(lane.centre, axis=0).T)
            arc = np.concatenate([[0.0], np.cumsum(steps)])
            self._arc[lane.id], self.length[lane.id] = arc, float(arc[-1])
            for follower in lane.successors:
                if follower in self.before:
                    self.before[follower].append(lane.id)
        for conflict in network.conflicts:
            self.conflicts.setdefault(conflict.lane, []).append(conflict)

    def pose(self, lane: str, s: float, d: float = 0.0) -> tuple[float, float, float]:
        """x, y, heading at (s, d); beyond the ends the lane is continued straight."""
        arc, centre = self._arc[lane], self.lanes[lane].centre
        k = min(max(int(np.searchsorted(arc, s, side="right")) - 1, 0), len(arc) - 2)
        (x0, y0), (x1, y1) = centre[k].tolist(), centre[k + 1].tolist()
        step = float(arc[k + 1] - arc[k])
        cos, sin = (x1 - x0) / step, (y1 - y0) / step
        along = s - float(arc[k])
        return x0 + along * cos - d * sin, y0 + along * sin + d * cos, math.atan2(sin, cos)

    def project(self, lane: str, x: float, y: float) -> tuple[float, float]:
        """(s, distance) of the point of the centreline nearest to (x, y)."""
        centre, arc = self.lanes[lane].centre, self._arc[lane]
        a, step = centre[:-1], np.diff(centre, axis=0)
        length = np.diff(arc)
        along = np.clip(((np.array([x, y]) - a) * step).sum(axis=1) / length, 0.0, length)  # (P-1,) m
        gap = np.hypot(*(a + step * (along / length)[:, None] - (x, y)).T)
        k = int(np.argmin(gap))
        return float(arc[k] + along[k]), float(gap[k])

    def sides(self, lane: str) -> list[str]:
        """Neighbours into which one may change."""
        return [side for side in (self.lanes[lane].left, self.lanes[lane].right) if side is not None]

    def to_go(self, destination: str | None) -> dict[str, float]:
        """Distance from the start of each lane to a destination (None: any exit); lanes that cannot reach it are missing.

        Dijkstra backwards over predecessors and neighbours; lane changes cost nothing.
        """
        if destination in self._to_go:
            return self._to_go[destination]
        targets: list[tuple[float, str]] = []
        if destination is None:
            targets = [(self.length[lane.id], lane.id) for lane in self.network.lanes if lane.end is LaneEnd.EXIT]
        else:
            targets = [(min(s, self.length[id]), id) for id, s in self.network.destinations[destination] if id in self.length]
        changes: dict[str, list[str]] = {id: [] for id in self.lanes}
        for id in self.lanes:
            for side in self.sides(id):
                changes.setdefault(side, []).append(id)
        best: dict[str, float] = {}
        heap = list(targets)
        heapq.heapify(heap)
        while heap:
            distance, id = heapq.heappop(heap)
            if id in best:
                continue
            best[id] = distance
            for earlier in self.before[id]:
                heapq.heappush(heap, (distance + self.length[earlier], earlier))
            for beside in changes[id]:
                heapq.heappush(heap, (distance, beside))
        self._to_go[destination] = best
        return best

    def remaining(self, lane: str, s: float, destination: str | None) -> float:
        """Distance from (lane, s) to a destination; inf: unreachable. On a loop the destination may lie behind s: then once round."""
        distance = self.to_go(destination).get(lane, math.inf) - s
        if distance >= 0.0:
            return distance
        ways = [self.length[lane] - s + self.to_go(destination).get(after, math.inf) for after in self.lanes[lane].successors]
        return min(ways, default=math.inf)

    def needs_change(self, lane: str, destination: str | None) -> bool:
        """Whether the way to a destination leaves this lane sideways before its end."""
        if destination is None or lane not in self.to_go(destination):
            return False
        arrives = any(id == lane for id, _ in self.network.destinations[destination])
        return not arrives and not any(id in self.to_go(destination) for id in self.lanes[lane].successors)

    def next(self, lane: str, destination: str | None) -> str | None:
        """The successor on the way to a destination; the first one where none leads there (or several exits do equally)."""
        following = [id for id in self.lanes[lane].successors if id in self.lanes]
        to_go = self.to_go(destination)
        return min(following, key=lambda id: to_go.get(id, math.inf), default=None)

    def ahead(self, lane: str, reach: float) -> Iterator[tuple[str, float]]:
        """(lane, offset) of everything that can be driven to within `reach` of the start of `lane`, itself included with offset 0."""
        yield from self._walk(lane, reach, forward=True)

    def behind(self, lane: str, reach: float) -> Iterator[tuple[str, float]]:
        """(lane, offset) of everything from which the start of `lane` can be reached; offsets of lane starts are negative."""
        yield from self._walk(lane, reach, forward=False)

    def _walk(self, lane: str, reach: float, *, forward: bool) -> Iterator[tuple[str, float]]:
        seen: set[str] = set()
        todo = [(0.0, lane)]
        while todo:
            distance, id = heapq.heappop(todo)
            if id in seen:
                continue
            seen.add(id)
            yield id, distance if forward else -distance
            near = self.lanes[id].successors if forward else self.before[id]
            for other in near:
                further = distance + self.length[id if forward else other]
                # backwards, `distance` is that of the lane's start; its end is what must be within reach
                if other in self.lanes and (further if forward else distance) <= reach:
                    heapq.heappush(todo, (further, other))
