"""Hybrid A*: the search for a drivable path from pose to pose among obstacles, after Dolgov, Thrun, Montemerlo & Diebel (2010).

"Path planning for autonomous vehicles in unknown semi-structured environments", Int. J. of Robotics Research 29. Poses are continuous, one
is kept for each cell of a grid over (x, y, heading). The heuristic is the longer of two distances: round obstacles, but for a point, and
through obstacles, but for a car (Reeds-Shepp). To the poses expanded a Reeds-Shepp curve is tried; the first ones that are free end the
search. The path found is then shortened by Reeds-Shepp curves between its own poses, the best of all such combinations.

Two things differ from the paper. The search runs from the goal backwards in time, because a bay is narrower than the way to it: the few
ways out are soon known, and a curve from the start soon meets them. And to be quick in numpy, the `beam` poses of least cost are expanded
at once, not one after another; the path may cost a little more for it.

Shapes: K poses expanded, P primitives, M poses along one. Poses are of the rear axle, world frame; curvature left positive.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.planners import reeds_shepp
from agents.planners.freespace import CELL, WRONG, Body, FreeSpace, against, distance_from, room

__all__ = ["Pose", "Search", "Segments", "search"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
WRONG_MAX = 5.0  # m against traffic in one go; 6 end an episode


class Pose(NamedTuple):
    """Of the rear axle."""

    x: float
    y: float
    yaw: float


class Segments(NamedTuple):
    """A path: arcs and lines one after another from a pose on."""

    start: Pose
    lengths: Floats  # (K,) m, negative: backwards
    bends: Floats  # (K,) 1/m
    expanded: int  # poses looked at until it was found


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched and what it costs. Costs in metres driven forwards."""

    headings: int = 72  # cells of heading
    arc: float = 0.9  # m, length of a primitive: leaves its cell
    steers: int = 3  # curvatures of primitives, straight among them
    reverse: float = 2.0  # of a metre backwards
    cusp: float = 5.0  # of a change of direction: seconds of standing
    steer: float = 0.4  # of a change of curvature by its largest value
    near: float = 4.0  # a metre that close that nothing is left of NEAR
    beam: int = 48  # poses expanded at once
    shots: int = 12  # of them to which curves are tried
    greed: float = 2.0  # weight of the heuristic
    patience: int = 4  # rounds that go on looking after the first path
    rounds: int = 600  # at most


NEAR = 0.4  # m beyond what has to be kept within which a pose costs more
SPACING = 0.25  # m between poses checked along curves
SHOT = 40.0  # m, longer curves are not tried
CUTS = 36  # places of a path between which shorter curves are tried


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
    if room(space, car, *(np.array([value]) for value in goal))[0] < 0.0:
        return None
    finder = _Finder(space, car, start, goal, radius, how)
    found = finder.run(gear)
    return None if found is None else _shortened(finder, found)


class _Finder:
    """One search under way."""

    def __init__(self, space: FreeSpace, car: Body, start: Pose, goal: Pose, radius: float, how: Search) -> None:
        self.space, self.car, self.start, self.goal, self.radius, self.how = space, car, start, goal, radius, how
        self.far = distance_from(space, car, np.array([start.x + car.middle * np.cos(start.yaw), start.y + car.middle * np.sin(start.yaw)]))
        levels = np.linspace(-1.0, 1.0, how.steers) / radius
        self.bends = np.tile(levels, 2)  # (P,)
        self.gears = np.repeat([1.0, -1.0], how.steers)
        self.parts = np.arange(1, 4) / 3.0 * how.arc  # (M,)

    def curve(self, x: Floats, y: Floats, yaw: Floats) -> tuple[reeds_shepp.Curve, Floats]:
        """The cheapest curve from the start to each pose, and its cost."""
        start = (np.array(value) for value in self.start)
        return reeds_shepp.best(*reeds_shepp.relative(*start, x, y, yaw), self.radius, reverse=self.how.reverse, cusp=self.how.cusp)

    def heuristic(self, x: Floats, y: Floats, yaw: Floats) -> Floats:
        """About what it costs to get to each pose, m; +inf where there is no way."""
        column = np.rint((x + self.car.middle * np.cos(yaw) - self.space.origin[0]) / CELL).astype(np.int64)
        row = np.rint((y + self.car.middle * np.sin(yaw) - self.space.origin[1]) / CELL).astype(np.int64)
        rows, columns = self.far.shape
        far = self.far[row.clip(0, rows - 1), column.clip(0, columns - 1)]
        return np.maximum(far, self.curve(x, y, yaw)[1])

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
        return (self.far.shape[0] + 1) * (self.far.shape[1] + 1) * self.how.headings

    def run(self, gear: int) -> list[tuple[float, float]] | None:
        """Segments (length, curvature) of a path."""
        how, tree, heap = self.how, _Tree(), []
        cheapest = np.full(self.cells, np.inf)
        x, y, yaw = (np.array([value]) for value in self.goal)
        zero = np.zeros(1)
        tree.add(x, y, yaw, zero, zero - 1.0, zero, zero, zero, self.keys(x, y, yaw).astype(float))
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
        left = room(self.space, self.car, x, y, yaw).min(-1)  # (K, P)
        wrong = against(self.space, self.car, x[..., -1], y[..., -1], yaw[..., -1]) & (self.gears > 0.0)
        run = np.where(wrong, here[:, AGAINST, None] + how.arc, 0.0)
        cost = here[:, COST, None] + self.price(left, wrong, self.gears) * how.arc
        cost = cost + how.cusp * (here[:, GEAR, None] * self.gears < 0.0)
        cost = cost + how.steer * np.abs(self.bends - here[:, BEND, None]) * self.radius
        ok = (left >= 0.0) & (run <= WRONG_MAX)
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

    def price(self, left: Floats, wrong: NDArray[np.bool_], gear: Floats) -> Floats:
        """Cost of a metre."""
        how = self.how
        close = np.clip((NEAR - left) / NEAR, 0.0, 1.0)
        return np.where(gear < 0.0, how.reverse, 1.0) + how.near * close * close + np.where(wrong, WRONG - 1.0, 0.0)

    def curves_cost(self, x: Floats, y: Floats, yaw: Floats, curve: reeds_shepp.Curve) -> Floats:
        """What curves from poses (N,) really cost, without cusps at their beginning; +inf: not free. All N are sampled alike."""
        long = reeds_shepp.length(curve.lengths)
        count = int(np.ceil(long.max() / SPACING)) + 1 if len(long) else 1
        s = np.minimum(np.arange(1, count + 1) * SPACING, long[:, None])
        step = np.diff(s, prepend=0.0)
        px, py, pyaw, k = reeds_shepp.poses_at(curve, s)
        cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
        px, py, pyaw = x[:, None] + px * cos - py * sin, y[:, None] + px * sin + py * cos, yaw[:, None] + pyaw
        left = room(self.space, self.car, px, py, pyaw)
        gear = np.sign(np.take_along_axis(curve.lengths, k, -1))
        wrong = against(self.space, self.car, px, py, pyaw) & (gear > 0.0)
        total = (self.price(left, wrong, gear) * step).sum(-1)
        bends = np.where(np.abs(curve.lengths) > 1e-6, curve.turns, 0)
        total = total + self.how.steer * np.abs(np.diff(bends, axis=-1, prepend=0)).sum(-1) + self.how.cusp * reeds_shepp.cusps(curve.lengths)
        free = ((left >= 0.0) | (step <= 0.0)).all(-1) & ((wrong * step).sum(-1) <= WRONG_MAX)
        cost: Floats = np.where(free, total, np.inf)
        return cost

    def _shots(self, tree: _Tree, nodes: Ints, gear: int) -> tuple[float, int, Floats, Floats] | None:
        """The cheapest free curve from the start to one of these poses: cost in all, pose, lengths, curvatures."""
        here = tree.rows[nodes]
        curve, cost = self.curve(here[:, X], here[:, Y], here[:, YAW])
        close = np.nonzero(cost < SHOT)[0]
        if not len(close):
            return None
        curve, here, nodes = reeds_shepp.Curve(curve.lengths[close], curve.turns[close], self.radius), here[close], nodes[close]
        total = here[:, COST] + self.curves_cost(*(np.full(len(close), value) for value in self.start), curve)
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


def _shortened(finder: _Finder, path: list[tuple[float, float]]) -> Segments:
    """The cheapest path of Reeds-Shepp curves between places of this one and of its own pieces, by dynamic programming."""
    pieces: list[tuple[float, float]] = []
    most = max(1.0, sum(abs(s) for s, _ in path) / (CUTS - len(path))) if len(path) < CUTS else np.inf
    for s, bend in path:
        parts = max(1, int(np.ceil(abs(s) / most))) if np.isfinite(most) else 1
        pieces += [(s / parts, bend)] * parts
    x, y, yaw = (np.array(column) for column in zip(*_joints(finder.start, pieces), strict=True))
    n = len(x)
    i, j = np.triu_indices(n, 1)
    to = reeds_shepp.relative(x[i], y[i], yaw[i], x[j], y[j], yaw[j])
    near = np.hypot(to[0], to[1]) < SHOT
    i, j, to = i[near], j[near], (to[0][near], to[1][near], to[2][near])
    curve, guess = reeds_shepp.best(*to, finder.radius, reverse=finder.how.reverse, cusp=finder.how.cusp)
    own = np.array([abs(s) * (finder.how.reverse if s < 0.0 else 1.0) for s, _ in pieces])
    along = np.concatenate([[0.0], np.cumsum(own)])
    turns = np.concatenate([[0.0], np.cumsum(_changes(finder, pieces))])
    worth = guess <= along[j] - along[i] + turns[j] - turns[i] + 2.0
    i, j = i[worth], j[worth]
    curve = reeds_shepp.Curve(curve.lengths[worth], curve.turns[worth], finder.radius)
    cost = finder.curves_cost(x[i], y[i], yaw[i], curve)
    single = np.zeros((2, n - 1, 5))
    single[..., 0] = np.array(pieces).T
    arcs = reeds_shepp.Curve(single[0], single[1] * finder.radius, finder.radius)
    own_cost = finder.curves_cost(x[:-1], y[:-1], yaw[:-1], arcs).tolist()
    steps: list[tuple[int, int, float, list[tuple[float, float]]]] = [(k, k + 1, own_cost[k], [pieces[k]]) for k in range(n - 1)]
    for e in np.nonzero(np.isfinite(cost))[0]:
        rows = zip(curve.lengths[e], curve.turns[e] / finder.radius, strict=True)
        steps.append((int(i[e]), int(j[e]), float(cost[e]), [(float(s), float(b)) for s, b in rows if abs(s) > 1e-6]))
    chosen = _cheapest(finder, steps, n)
    lengths, bends = (np.array(column) for column in zip(*_joined(chosen), strict=True))
    return Segments(finder.start, lengths, bends, finder.expanded)


def _changes(finder: _Finder, pieces: list[tuple[float, float]]) -> Floats:
    """What each piece costs for the change of direction and curvature at its beginning."""
    gear, bend, out = 0.0, 0.0, []
    for s, b in pieces:
        out.append(finder.how.cusp * (gear * s < 0.0) + finder.how.steer * abs(b - bend) * finder.radius)
        gear, bend = s, b
    return np.array(out)


def _cheapest(finder: _Finder, steps: list[tuple[int, int, float, list[tuple[float, float]]]], n: int) -> list[tuple[float, float]]:
    """The chain of steps from joint 0 to joint n - 1 that costs least, changes of direction and curvature at joints included."""
    how = finder.how
    arrive: list[dict[tuple[float, float], tuple[float, list[tuple[float, float]]]]] = [{} for _ in range(n)]
    arrive[0][(0.0, 0.0)] = (0.0, [])
    for a, b, cost, rows in sorted(steps, key=lambda step: step[:2]):
        if not rows:
            continue
        inside = how.steer * abs(rows[0][1]) * finder.radius  # counted from straight by `curves_cost`
        for (gear, bend), (before, path) in arrive[a].items():
            joint = how.cusp * (gear * rows[0][0] < 0.0) + how.steer * abs(rows[0][1] - bend) * finder.radius - inside
            state = (float(np.sign(rows[-1][0])), round(rows[-1][1], 6))
            total = before + cost + joint
            if state not in arrive[b] or total < arrive[b][state][0] - 1e-9:
                arrive[b][state] = (total, path + rows)
    return min(arrive[n - 1].values(), key=lambda entry: entry[0])[1]


def _joined(path: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Neighbours of the same direction and curvature as one."""
    out: list[tuple[float, float]] = []
    for s, bend in path:
        if out and out[-1][0] * s > 0.0 and abs(out[-1][1] - bend) < 1e-9:
            out[-1] = (out[-1][0] + s, bend)
        else:
            out.append((s, bend))
    return out


def _joints(start: Pose, pieces: list[tuple[float, float]]) -> list[Pose]:
    """The poses between pieces, from the start to the end."""
    poses = [start]
    for s, bend in pieces:
        x, y, yaw = poses[-1]
        half = 0.5 * s * bend
        chord = s * np.sinc(half / np.pi)
        poses.append(Pose(float(x + chord * np.cos(yaw + half)), float(y + chord * np.sin(yaw + half)), float(yaw + 2.0 * half)))
    return poses
