"""Hybrid A*: the search for a drivable path from pose to pose among obstacles, after Dolgov, Thrun, Montemerlo & Diebel (2010).

"Path planning for autonomous vehicles in unknown semi-structured environments", Int. J. of Robotics Research 29. Poses are continuous, one
is kept for each cell of a grid over (x, y, heading). The heuristic is the longer of two distances: round obstacles, but for a point, and
through obstacles, but for a car (Reeds-Shepp). To the poses expanded a Reeds-Shepp curve is tried; the first ones that are free end the
search. The path found is then shortened by Reeds-Shepp curves between its own poses, the best of all such combinations.

Two things differ from the paper. The search runs from the goal backwards in time, because a bay is narrower than the way to it: the few
ways out are soon known, and a curve from the start soon meets them. Where that does not soon lead to a path, out of a dead end say, the
search runs from the start. And to be quick in numpy, the `beam` poses of least cost are expanded
at once, not one after another; the path may cost a little more for it.

Shapes: K poses expanded, P primitives, M poses along one. Poses are of the rear axle, world frame; curvature left positive.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.planners import reeds_shepp
from agents.planners.freespace import CELL, Body, FreeSpace, distance_from, room
from agents.planners.motions import SHOT, Motions, Pose, Search, Segments
from agents.planners.shortening import against_traffic, shortened

__all__ = ["search"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# one after another until there is a path: from the goal backwards, from the start, with finer motions; changes of `Search`
TRIES: tuple[tuple[int, dict[str, Any]], ...] = (
    (1, {}),
    (-1, {}),
    (1, {"steers": 5}),
    (-1, {"steers": 5}),
    (1, {"steers": 9, "arc": 0.6, "headings": 144}),
)
SQUEEZE = 0.15  # m of the room to keep that is given up where the car already stands closer
WRONG_MAX = 5.0  # m against traffic in one go; 6 end an episode (`envs.driving.core.WRONG_WAY`)


class _Tree:
    """The poses found so far, in columns that grow."""

    def __init__(self) -> None:
        self.rows = np.zeros((4096, 9))
        self.count = 0

    def add(self, *columns: Floats) -> Ints:
        """Rows of x, y, yaw, cost so far, parent, gear, curvature, metres against traffic, cell; their indices."""
        new = np.stack(columns, axis=-1)
        while self.count + len(new) > len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        at = np.arange(self.count, self.count + len(new))
        self.rows[at] = new
        self.count += len(new)
        return at


X, Y, YAW, COST, PARENT, GEAR, BEND, AGAINST, CELL_OF = range(9)


def search(space: FreeSpace, car: Body, start: Pose, goal: Pose, radius: float, how: Search, *, gear: int = 0) -> Segments | None:
    """A path from start to goal whose arcs are no tighter than `radius` (m), or None if none was found.

    gear: direction in which the car moves now, 0: it stands. Deterministic.
    """
    there, here = (float(room(space, car, *(np.array([value]) for value in pose))[0]) for pose in (goal, start))
    if there < 0.0:
        return None
    squeeze = min(max(0.02 - here, 0.0), SQUEEZE)
    expanded = 0
    for sense, changes in TRIES:
        for allowed in (how.against, 0.0):
            motions = Motions(space, car, radius, replace(how, against=allowed, **changes), squeeze)
            finder = _Finder(replace(motions, sense=sense), *((start, goal) if sense > 0 else (goal, start)))
            found = finder.run(*((gear, 0) if sense > 0 else (0, -gear)))
            expanded += finder.expanded
            if found is None:
                break
            if sense < 0:
                found = [(-s, bend) for s, bend in reversed(found)]
            found = found or [(1e-3, 0.0)]  # there already: a millimetre, for a path of none has no direction
            path = shortened(motions, start, found, expanded)
            if against_traffic(motions, path) <= WRONG_MAX:
                return path
    return None


class _Finder:
    """One search under way."""

    def __init__(self, motions: Motions, start: Pose, goal: Pose) -> None:
        self.motions, self.start, self.goal, self.expanded = motions, start, goal, 0
        self.space, self.car, self.radius, self.how = motions.space, motions.car, motions.radius, motions.how
        middle = np.array([start.x + self.car.middle * np.cos(start.yaw), start.y + self.car.middle * np.sin(start.yaw)])
        self.far = distance_from(self.space, self.car, middle, backwards=motions.sense < 0)
        how, radius = self.how, self.radius
        levels = np.linspace(-1.0, 1.0, how.steers) / radius
        self.bends = np.tile(levels, 2)  # (P,)
        self.gears = np.repeat([1.0, -1.0], how.steers)
        self.parts = np.arange(1, 4) / 3.0 * how.arc  # (M,)

    def curve(self, x: Floats, y: Floats, yaw: Floats) -> tuple[reeds_shepp.Curve, Floats]:
        """The cheapest curve from the start to each pose, and its cost."""
        sx, sy, syaw = (np.array(value) for value in self.start)
        return self.motions.curves(sx, sy, syaw, x, y, yaw)

    def heuristic(self, x: Floats, y: Floats, yaw: Floats) -> Floats:
        """About what it costs to get to each pose, m; +inf where there is no way."""
        column = np.rint((x + self.car.middle * np.cos(yaw) - self.space.origin[0]) / CELL).astype(np.int64)
        row = np.rint((y + self.car.middle * np.sin(yaw) - self.space.origin[1]) / CELL).astype(np.int64)
        rows, columns = self.far.shape
        far = self.far[row.clip(0, rows - 1), column.clip(0, columns - 1)]
        longer: Floats = np.maximum(far, self.curve(x, y, yaw)[1])
        return longer

    def keys(self, x: Floats, y: Floats, yaw: Floats) -> Ints:
        """Cell of each pose."""
        columns, headings = self.far.shape[1] + 1, self.how.headings
        column, row = ((value - low) / CELL for value, low in ((x, self.space.origin[0]), (y, self.space.origin[1])))
        turn = np.remainder(np.rint(yaw * (headings / (2.0 * np.pi))), headings).astype(np.int64)
        cell: Ints = (row.astype(np.int64) * columns + column.astype(np.int64)) * headings + turn
        return cell.clip(0, self.cells - 1)

    @property
    def cells(self) -> int:
        """How many there are."""
        rows, columns = self.far.shape
        return int((rows + 1) * (columns + 1) * self.how.headings)

    def run(self, gear: int, after: int) -> list[tuple[float, float]] | None:
        """Segments (length, curvature) of a path. gear, after: directions of travel before its start and after its end, 0: it stands."""
        how, tree, heap = self.how, _Tree(), []
        cheapest = np.full(self.cells, np.inf)
        x, y, yaw = (np.array([value]) for value in self.goal)
        zero = np.zeros(1)
        tree.add(x, y, yaw, zero, zero - 1.0, zero + after, zero, zero, self.keys(x, y, yaw).astype(float))
        heap.append((0.0, 0))
        answer: tuple[float, int, Floats, Floats] | None = None
        waited = 0
        for _ in range(how.rounds):
            nodes = self._next(heap, tree, cheapest, np.inf if answer is None else answer[0])
            if not len(nodes):
                break
            better = self._shots(tree, nodes[: how.shots], gear)
            if better is not None and (answer is None or better[0] < answer[0]):
                answer = better
            if answer is not None:
                waited += 1
                if waited > how.patience:
                    break
            self._expand(tree, nodes, heap, cheapest)
        self.expanded = tree.count
        return None if answer is None else self._path(tree, *answer[1:])

    def _next(self, heap: list[tuple[float, int]], tree: _Tree, cheapest: Floats, limit: float) -> Ints:
        """The poses of least estimated cost whose cell has not been reached more cheaply since."""
        nodes: list[int] = []
        while heap and len(nodes) < self.how.beam:
            estimate, node = heapq.heappop(heap)
            if estimate >= limit:
                break
            row = tree.rows[node]
            if row[COST] <= cheapest[int(row[CELL_OF])]:
                nodes.append(node)
        return np.array(nodes, dtype=np.int64)

    def _expand(self, tree: _Tree, nodes: Ints, heap: list[tuple[float, int]], cheapest: Floats) -> None:
        """Every primitive that ends in one of these poses."""
        how, here = self.how, tree.rows[nodes]
        signed = -self.gears[:, None] * self.parts  # (P, M), back to where it began
        half = 0.5 * signed * self.bends[:, None]
        chord = signed * np.sinc(half / np.pi)
        yaw0 = here[:, YAW, None, None]
        x, y = here[:, X, None, None] + chord * np.cos(yaw0 + half), here[:, Y, None, None] + chord * np.sin(yaw0 + half)  # (K, P, M)
        yaw = yaw0 + 2.0 * half
        left = self.motions.room(x, y, yaw).min(-1)  # (K, P)
        wrong = self.motions.wrong(x[..., -1], y[..., -1], yaw[..., -1], self.gears)
        run = np.where(wrong, here[:, AGAINST, None] + how.arc, 0.0)
        cost = here[:, COST, None] + self.motions.price(left, wrong, self.gears) * how.arc
        cost = cost + how.cusp * (here[:, GEAR, None] * self.gears < 0.0)
        cost = cost + how.steer * np.abs(self.bends - here[:, BEND, None]) * self.radius
        ok = (left >= 0.0) & (run <= how.against)
        at = np.nonzero(ok)
        x, y, yaw, cost, run = x[at][:, -1], y[at][:, -1], yaw[at][:, -1], cost[at], run[at]
        key = self.keys(x, y, yaw)
        order = np.lexsort((cost, key))  # the cheapest of each cell first
        first = order[np.concatenate([[True], np.diff(key[order]) != 0])] if len(order) else order
        first = first[cost[first] < cheapest[key[first]] - 1e-9]
        if not len(first):
            return
        cheapest[key[first]] = cost[first]
        x, y, yaw, cost = x[first], y[first], yaw[first], cost[first]
        parent, primitive = nodes[at[0][first]].astype(float), at[1][first]
        cell = key[first].astype(float)
        new = tree.add(x, y, yaw, cost, parent, self.gears[primitive], self.bends[primitive], run[first], cell)
        estimate = cost + how.greed * self.heuristic(x, y, yaw)
        for value, node in zip(estimate.tolist(), new.tolist(), strict=True):
            if value < np.inf:
                heapq.heappush(heap, (value, node))

    def _shots(self, tree: _Tree, nodes: Ints, gear: int) -> tuple[float, int, Floats, Floats] | None:
        """The cheapest free curve from the start to one of these poses: cost in all, pose, lengths, curvatures."""
        here = tree.rows[nodes]
        curve, cost = self.curve(here[:, X], here[:, Y], here[:, YAW])
        close = np.nonzero(cost < SHOT)[0]
        if not len(close):
            return None
        curve, here, nodes = reeds_shepp.Curve(curve.lengths[close], curve.turns[close], self.radius), here[close], nodes[close]
        x, y, yaw = (np.full(len(close), value) for value in self.start)
        total: Floats = here[:, COST] + self.motions.cost(x, y, yaw, curve)
        there = np.abs(curve.lengths) > 1e-6
        first, last = (self._picked(curve.lengths, k) for k in (there.argmax(-1), 4 - there[:, ::-1].argmax(-1)))
        total = total + self.how.cusp * ((first * gear < 0.0) + 1.0 * (last * here[:, GEAR] < 0.0))
        k = int(total.argmin())
        if not np.isfinite(total[k]):
            return None
        return float(total[k]), int(nodes[k]), curve.lengths[k], curve.turns[k] / self.radius

    @staticmethod
    def _picked(lengths: Floats, k: Ints) -> Floats:
        picked: Floats = np.take_along_axis(lengths, k[:, None], -1)[:, 0]
        return picked

    def _path(self, tree: _Tree, node: int, lengths: Floats, bends: Floats) -> list[tuple[float, float]]:
        """The curve, then from that pose to the goal."""
        out = [(float(s), float(b)) for s, b in zip(lengths, bends, strict=True) if abs(s) > 1e-6]
        while tree.rows[node, PARENT] >= 0:
            row = tree.rows[node]
            out.append((float(row[GEAR] * self.how.arc), float(row[BEND])))
            node = int(row[PARENT])
        return out
