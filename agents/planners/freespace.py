"""Where a car can stand: distances to what is around and to the edge of the road, the car as discs, and the way round obstacles.

Shapes: H rows (y), W columns (x), U boxes, D discs, N poses. World frame, metres, radians; poses are those of the rear axle. numpy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

__all__ = ["CELL", "Body", "FreeSpace", "Surface", "against", "body", "distance_from", "make_free_space", "room"]

Floats = NDArray[np.float64]
STEP = 0.1  # m per pixel
REACH = 1.6  # m, distances to boxes beyond are not told: more than half a car's width and what has to be kept
AROUND = 20.0  # m around start and goal that is looked at
CELL = 0.5  # m, of the grid on which ways round obstacles are looked for
KEEP = 0.23  # m to keep from everything; 0.12 m of it is what the discs leave uncovered of the car, 0.07 m the raster
CORNER = 0.2  # m, radius of the discs in the corners
UNDRIVEN = -10.0  # m, outside of the map
WRONG = 3.0  # a metre against a one-way lane, in metres
HEADINGS = 16  # directions told apart by the raster of headings


class Surface(NamedTuple):
    """Rasters of one map, as in `envs.driving.types.Maps`."""

    origin: Floats  # (2,)
    step: float
    sdf: NDArray[np.float32]  # (H, W)
    headings: NDArray[np.int64]  # (H, W)


class FreeSpace(NamedTuple):
    """A part of the world. Pixel [row, column] has its centre at origin + STEP * (column, row)."""

    origin: Floats  # (2,) m
    clear: NDArray[np.float32]  # (H, W) m to the next box or edge, negative inside; at most REACH
    surface: Surface


class Body(NamedTuple):
    """A car as discs that cover it but for 12 cm near its corners, in the frame of its rear axle. (D,) each."""

    x: Floats
    y: Floats
    radius: Floats
    middle: float  # m from the rear axle to the middle


def body(length: float, width: float, wheelbase: float) -> Body:
    """Discs as wide as the car along its axis, at most 0.75 m apart, and a small one in each corner."""
    half, wide = 0.5 * length, 0.5 * width
    count = max(2, int(np.ceil((length - width) / 0.75)) + 1)
    axis = np.linspace(-half + wide, half - wide, count) if length > width else np.zeros(1)
    small = min(CORNER, 0.5 * wide)
    corner_x, corner_y = half - small, wide - small
    x = np.concatenate([axis, [corner_x, corner_x, -corner_x, -corner_x]])
    y = np.concatenate([np.zeros(len(axis)), [corner_y, -corner_y, corner_y, -corner_y]])
    radius = np.concatenate([np.full(len(axis), min(wide, half)), np.full(4, small)])
    return Body(x + 0.5 * wheelbase, y, radius, 0.5 * wheelbase)


def make_free_space(surface: Surface, boxes: Floats, places: Floats) -> FreeSpace:
    """The world around `places` (K, 2) with `boxes` (U, 5) of x, y, yaw, length, width in it."""
    size = np.array(surface.sdf.shape[::-1])
    far = surface.origin + surface.step * (size - 1)
    low = np.maximum(places.min(0) - AROUND, surface.origin)
    high = np.maximum(np.minimum(places.max(0) + AROUND, far), low + CELL)
    columns, rows = (np.arange(low[i], high[i], STEP) for i in (0, 1))
    clear = _resampled(surface, columns, rows) + KEEP  # the road's edge may be touched
    np.minimum(clear, REACH, out=clear)
    for x, y, yaw, length, width in boxes:
        reach = 0.5 * np.hypot(length, width) + REACH
        c0, c1 = np.searchsorted(columns, (x - reach, x + reach))
        r0, r1 = np.searchsorted(rows, (y - reach, y + reach))
        if c0 == c1 or r0 == r1:
            continue
        dx, dy = columns[None, c0:c1] - x, rows[r0:r1, None] - y
        cos, sin = np.cos(yaw), np.sin(yaw)
        ahead = np.abs(dx * cos + dy * sin) - 0.5 * length
        aside = np.abs(dy * cos - dx * sin) - 0.5 * width
        outside = np.hypot(np.maximum(ahead, 0.0), np.maximum(aside, 0.0)) + np.minimum(np.maximum(ahead, aside), 0.0)
        window = clear[r0:r1, c0:c1]
        np.minimum(window, outside, out=window)
    return FreeSpace(np.array([columns[0], rows[0]]), clear, surface)


def _resampled(surface: Surface, columns: Floats, rows: Floats) -> NDArray[np.float32]:
    """Signed distances at finer places, bilinear, (R, C)."""

    def at(values: Floats, origin: float, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        place = np.clip((values - origin) / surface.step, 0.0, count - 1.001)
        low = place.astype(np.int64)
        return low, (place - low).astype(np.float32)

    c, share = at(columns, surface.origin[0], surface.sdf.shape[1])
    r, rise = at(rows, surface.origin[1], surface.sdf.shape[0])
    wide = surface.sdf[:, c] + share * (surface.sdf[:, c + 1] - surface.sdf[:, c])
    fine: NDArray[np.float32] = wide[r] + rise[:, None] * (wide[r + 1] - wide[r])
    return fine


def _pixels(origin: Floats, step: float, shape: tuple[int, ...], x: Floats, y: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Index into the flat raster of the nearest pixel, and whether there is one."""
    column, row = np.rint((x - origin[0]) / step).astype(np.int64), np.rint((y - origin[1]) / step).astype(np.int64)
    there = (column >= 0) & (row >= 0) & (column < shape[1]) & (row < shape[0])
    return np.where(there, row * shape[1] + column, 0), there


def room(space: FreeSpace, car: Body, x: Floats, y: Floats, yaw: Floats) -> Floats:
    """Metres between the car at each pose (...) and what is next to it, beyond KEEP: it may stand there where this is not negative."""
    cos, sin = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
    dx, dy = x[..., None] + car.x * cos - car.y * sin, y[..., None] + car.x * sin + car.y * cos
    pixel, there = _pixels(space.origin, STEP, space.clear.shape, dx, dy)
    left: Floats = np.where(there, space.clear.reshape(-1)[pixel], UNDRIVEN) - car.radius
    least: Floats = left.min(-1) - KEEP
    return least


def against(space: FreeSpace, car: Body, x: Floats, y: Floats, yaw: Floats) -> NDArray[np.bool_]:
    """Whether a car going forwards at each pose would go against traffic, as `envs.driving.surface.against_traffic` judges its middle."""
    surface = space.surface
    mx, my = x + car.middle * np.cos(yaw), y + car.middle * np.sin(yaw)
    pixel, there = _pixels(surface.origin, surface.step, surface.headings.shape, mx, my)
    k = np.remainder(np.floor(yaw * (HEADINGS / (2.0 * np.pi)) + 0.5), HEADINGS).astype(np.int64)
    wrong: NDArray[np.bool_] = there & (((surface.headings.reshape(-1)[pixel] >> k) & 1) == 0)
    return wrong


def distance_from(space: FreeSpace, car: Body, start: Floats, *, backwards: bool = False) -> NDArray[np.float32]:
    """Metres from the start (2,) to each cell of the grid of CELL for the car's middle, round obstacles; +inf: there is no way.

    Dijkstra's algorithm over the 8 neighbours of free cells; steps against one-way lanes count WRONG times as far. Cell [row, column] has
    its centre at space.origin + CELL * (column, row). backwards: metres from each cell to the start instead.
    """
    stride = round(CELL / STEP)
    clear = space.clear[::stride, ::stride]
    rows, columns = clear.shape
    y, x = (np.arange(n) * CELL + space.origin[i] for n, i in ((rows, 1), (columns, 0)))
    gx, gy = np.meshgrid(x, y)
    free = clear >= car.radius.max()
    at = np.rint((start - space.origin) / CELL).astype(np.int64)[::-1].clip(0, [rows - 1, columns - 1])
    free[tuple(at)] = True
    index = np.arange(rows * columns).reshape(rows, columns)
    starts, ends, costs = [], [], []
    dot = Body(np.zeros(1), np.zeros(1), np.zeros(1), 0.0)
    for dr, dc in ((0, 1), (1, 0), (1, 1), (1, -1), (0, -1), (-1, 0), (-1, -1), (-1, 1)):
        here = (slice(max(0, -dr), rows - max(0, dr)), slice(max(0, -dc), columns - max(0, dc)))
        there = (slice(max(0, dr), rows - max(0, -dr)), slice(max(0, dc), columns - max(0, -dc)))
        both = free[here] & free[there]
        wrong = against(space, dot, gx[here][both], gy[here][both], np.full(int(both.sum()), np.arctan2(dr, dc)))
        starts.append(index[here][both])
        ends.append(index[there][both])
        costs.append(CELL * np.hypot(dr, dc) * np.where(wrong, WRONG, 1.0))
    edges = (np.concatenate(costs), (np.concatenate(starts), np.concatenate(ends)))
    if backwards:
        edges = (edges[0], edges[1][::-1])
    graph = sparse.csr_matrix(edges, shape=(rows * columns, rows * columns))
    far = csgraph.dijkstra(graph, indices=index[tuple(at)].reshape(1))
    metres: NDArray[np.float32] = far.reshape(rows, columns).astype(np.float32)
    return metres
