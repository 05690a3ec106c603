"""The way to a goal round the obstacles of a room, as a global planner on the known map tells it: how far it is, and where it leads.

What each place of a raster is away from the goal (Dijkstra, "A note on two problems in connexion with graphs", 1959; it is A* for all
starts at once, so the base may be pushed off its way). All is a function of where obstacles and goal are; what was asked for lately is
kept, so that a map is searched once an episode.

Shapes: B worlds, M maps, O obstacles. Metres, world frame.
"""

from __future__ import annotations

from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from envs.robots.physics import Floats
from envs.robots.room import BASE, HALF, distance

__all__ = ["AHEAD", "CELL", "MAPS", "SIDE", "Maps", "between", "chart", "further", "left", "ways"]

CELL = 0.125  # m
SIDE = int(2 * HALF / CELL)  # cells of the raster
BLOCKED = 30.0  # m, what a cell that the base cannot be in is away from the goal
CLOSE, FADE = 1.5, 0.15  # a metre right beside something counts as 1 + CLOSE; m, by which that falls off
AHEAD, STEPS = 1.0, 8  # m: how much further along the way is told; and in how many steps it is gone there
DIRECT = 2.0 * CELL  # m from the goal, where the raster is too coarse to lead there
KEPT = 256  # maps, at least; twice as many as there are worlds, if these are more


def ways(places: Floats, goal: Floats) -> tuple[Floats, Floats]:
    """(SIDE, SIDE) m of way from the cells of a room, [row y, column x], to a goal (2,) round obstacles at places (O, 2), and m of room
    that the base has in them.
    """
    line = (np.arange(SIDE) + 0.5) * CELL - HALF
    x, y = np.meshgrid(line, line)
    gap = distance(np.stack([x.ravel(), y.ravel()], axis=1)[None], places[None])[0].reshape(SIDE, SIDE) - BASE
    free = gap > 0.03
    price = 1.0 + CLOSE * np.exp(-np.maximum(gap, 0.0) / FADE)  # close to things is further
    number = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    start, end, cost = [], [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1)):
        one = (slice(0, SIDE - dy), slice(max(-dx, 0), SIDE - max(dx, 0)))
        two = (slice(dy, SIDE), slice(max(dx, 0), SIDE - max(-dx, 0)))
        both = free[one] & free[two]
        start.append(number[one][both])
        end.append(number[two][both])
        cost.append((0.5 * CELL * np.hypot(dx, dy) * (price[one] + price[two]))[both])
    graph = sparse.csr_matrix((np.concatenate(cost), (np.concatenate(start), np.concatenate(end))), shape=(SIDE * SIDE, SIDE * SIDE))
    column, row = np.clip(((goal + HALF) / CELL).astype(np.int64), 0, SIDE - 1)
    far = csgraph.dijkstra(graph, directed=False, indices=number[row, column]).reshape(SIDE, SIDE)
    return np.minimum(np.where(np.isfinite(far), far, BLOCKED), BLOCKED), gap


def chart(places: Floats, goal: Floats) -> Floats:
    """(SIDE, SIDE, 3): `ways` that go on into what is blocked, as the way to the nearest place that is not, and their slope in x and y."""
    far, _ = ways(places, goal)
    off, nearest = ndimage.distance_transform_edt(far >= BLOCKED, return_indices=True)
    far = far[tuple(nearest)] + (1.0 + CLOSE) * CELL * off
    slope = [ndimage.uniform_filter(part, 3, mode="nearest") for part in np.gradient(far, CELL)]
    return np.stack([far, slope[1], slope[0]], axis=-1)


class Maps:
    """The charts of the maps that were asked for last, for lookups in many worlds at once. What is kept changes no answer.

    kept: how many at least; batches of more worlds keep two for each.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.kept, self.lock = kept, Lock()
        self.charts: Floats = np.empty((0, SIDE, SIDE, 3))
        self.rows: dict[bytes, int] = {}

    def __call__(self, places: Floats, goal: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Charts (M, SIDE, SIDE, 3), and which of them is of each world, (B,), by obstacles (B, O, 2) and goals (B, 2)."""
        keys = [told.tobytes() for told in np.concatenate([places.reshape(len(places), -1), goal], axis=1)]
        with self.lock:
            missing = {key: world for world, key in enumerate(keys) if key not in self.rows}
            if len(self.rows) + len(missing) > len(self.charts):
                self._renew(list(dict.fromkeys(key for key in keys if key in self.rows)), 2 * len(keys))
            for key, world in missing.items():
                self.charts[len(self.rows)] = chart(places[world], goal[world])
                self.rows[key] = len(self.rows)
            return self.charts, np.array([self.rows[key] for key in keys], dtype=np.int64)

    def _renew(self, keys: list[bytes], size: int) -> None:
        """Keep these alone, in memory of its own: who was given the old one may go on reading it."""
        charts: Floats = np.empty((max(self.kept, size), SIDE, SIDE, 3))
        charts[: len(keys)] = self.charts[[self.rows[key] for key in keys]]
        self.charts, self.rows = charts, {key: row for row, key in enumerate(keys)}


MAPS = Maps()


def left(places: Floats, goal: Floats, at: Floats) -> Floats:
    """(B,) m of way from places `at` (B, 2) to goals (B, 2) round obstacles at places (B, O, 2), close to things counting for more."""
    charts, which = MAPS(places, goal)
    return between(charts, at[:, 0], at[:, 1], which)[:, 0]


def further(places: Floats, goal: Floats, at: Floats) -> Floats:
    """(B, 2) the place that is AHEAD further along that way, or the goal if it is nearer: down the slope in small steps."""
    charts, which = MAPS(places, goal)
    at, step = at.copy(), AHEAD / STEPS
    for _ in range(STEPS):
        to = goal - at
        far = np.sqrt((to * to).sum(-1, keepdims=True))
        down = -between(charts, at[:, 0], at[:, 1], which)[:, 1:]
        way = np.where(far < DIRECT, to, down)
        at += np.minimum(step, far) * way / np.maximum(np.sqrt((way * way).sum(-1, keepdims=True)), 1e-9)
    return at


def between(rasters: Floats, x: Floats, y: Floats, which: NDArray[np.int64] | None = None) -> Floats:
    """(B, ..., *C) of rasters (M, SIDE, SIDE, *C) at places x, y (B, ...) m between the cells' middles; which (B,): by default its own."""
    column, row = np.clip((x + HALF) / CELL - 0.5, 0.0, SIDE - 1.001), np.clip((y + HALF) / CELL - 0.5, 0.0, SIDE - 1.001)
    i, j = row.astype(np.int64), column.astype(np.int64)
    which = np.arange(len(x)) if which is None else which
    flat = rasters.reshape(-1, *rasters.shape[3:])
    at = which.reshape(-1, *([1] * (x.ndim - 1))) * (SIDE * SIDE) + i * SIDE + j
    a, b = (part.reshape(*x.shape, *([1] * (rasters.ndim - 3))) for part in (row - i, column - j))
    low = flat[at] * (1.0 - b) + flat[at + 1] * b
    high = flat[at + SIDE] * (1.0 - b) + flat[at + SIDE + 1] * b
    return np.asarray(low * (1.0 - a) + high * a)
