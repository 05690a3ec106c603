"""What a place looks like from above: a `RoadNetwork` as polygons and lines, ready to be drawn by anything that can fill a polygon.

Used by the raster renderer (`envs.driving.draw`) and by the HTML player (`agents.playback`), so both show the same road.
World frame, metres; every outline is an (V, 2) float64 array, open (the last point is not the first again).
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenarios.episode import Goal
from scenarios.network import Lane, LaneType, Mark, RoadNetwork

__all__ = ["Goals", "Line", "Scenery", "Stop", "goals", "light_states_at", "oriented_box", "scenery"]

Points = NDArray[np.float64]  # (V, 2) m

STOP_LINE = 0.4  # m thick (German RMS: 0.5 m; US MUTCD: 0.3 to 0.6 m)
STRIPE = 0.5  # m, bars of a crosswalk and the gaps between them (German RMS: 0.5 m)
ARROW_EVERY = 60.0  # m between direction arrows on a lane, for the eye only
SAME_LINE = 0.3  # m; edges closer than this are one painted line


@dataclass(frozen=True, kw_only=True)
class Line:
    """A painted line or a kerb."""

    mark: Mark
    points: Points


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A stop line as the rectangle to fill. `light` is the index of the light that governs it, -1: none."""

    outline: Points  # (4, 2)
    light: int
    must_stop: bool


@dataclass(frozen=True, kw_only=True)
class Scenery:
    """Everything that stands still, in the order in which it is drawn: each on top of the one before."""

    walkways: tuple[Points, ...]
    surfaces: tuple[Points, ...]  # lanes and areas; they overlap, fill them all in one colour
    rims: tuple[Points, ...]  # lines along their sides, drawn below them as a kerb; open where a road ends
    bays: tuple[Points, ...]  # (4, 2) each
    arrows: tuple[Points, ...]  # direction of travel, painted on the lanes
    stripes: tuple[Points, ...]  # bars of the crosswalks, (4, 2) each
    lines: tuple[Line, ...]
    stops: tuple[Stop, ...]
    occluders: tuple[tuple[str, Points], ...]  # (kind, (4, 2) outline)
    lights: NDArray[np.float64]  # (GL, 3) x, y, heading
    bounds: tuple[float, float, float, float]  # x_min, y_min, x_max, y_max of the roads


@dataclass(frozen=True, kw_only=True)
class Goals:
    """Where the ego wants to go."""

    regions: tuple[Points, ...] = ()  # (4, 2) outlines
    finish: tuple[Points, ...] = ()  # (4, 2) white strips across the lane
    checks: tuple[Points, ...] = ()  # (4, 2) dark squares on them


def oriented_box(x: float, y: float, yaw: float, length: float, width: float) -> Points:
    """Corners (4, 2) of a box: front left, rear left, rear right, front right."""
    along = 0.5 * length * np.array([np.cos(yaw), np.sin(yaw)])
    left = 0.5 * width * np.array([-np.sin(yaw), np.cos(yaw)])
    return np.array([x, y]) + np.stack([along + left, left - along, -along - left, along - left])


def light_states_at(network: RoadNetwork, time: float) -> NDArray[np.int64]:
    """State (`LightState`) of every light at `time` s, (GL,). For pictures; the simulator has its own, on tensors."""
    states = []
    for light in network.lights:
        ends = np.cumsum([seconds for _, seconds in light.phases])
        phase = int(np.searchsorted(ends, (time + light.offset) % ends[-1], side="right"))
        states.append(int(light.phases[min(phase, len(light.phases) - 1)][0]))
    return np.array(states, dtype=np.int64)


def goals(network: RoadNetwork, goal: Goal) -> Goals:
    """The region of `goal`, or a chequered line at every place that counts as its destination."""
    region = goal.region
    if region is not None:
        return Goals(regions=(oriented_box(region.x, region.y, region.yaw, region.length, region.width),))
    finish, checks = [], []
    for lane_id, s in network.destinations.get(goal.destination or "", ()):
        lane = network.lane(lane_id)
        at, yaw, _ = _pose(lane, min(s, _pose(lane, 0.0)[2] - 0.6))
        finish.append(oriented_box(at[0], at[1], yaw, 1.0, lane.width - 0.3))
        side = (lane.width - 0.3) / 8.0
        forward, left = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
        for row, column in np.argwhere(np.indices((2, 8)).sum(0) % 2 == 0):
            x, y = at + 0.5 * (row - 0.5) * forward + side * (column - 3.5) * left
            checks.append(oriented_box(x, y, yaw, 0.5, side))
    return Goals(finish=tuple(finish), checks=tuple(checks))


_KNOWN: dict[int, tuple[weakref.ref[RoadNetwork], Scenery]] = {}


def scenery(network: RoadNetwork) -> Scenery:
    """The polygons and lines of `network`; computed once for each network object."""
    known = _KNOWN.get(id(network))
    if known is not None and known[0]() is network:
        return known[1]
    result = _build(network)
    key = id(network)
    _KNOWN[key] = (weakref.ref(network, lambda _: _KNOWN.pop(key, None)), result)
    return result


def _build(network: RoadNetwork) -> Scenery:
    # a lane for passing lies over the oncoming lane, a recorded path over anything: neither is a surface of its own
    roads = [lane for lane in network.lanes if lane.type in (LaneType.DRIVE, LaneType.JUNCTION)]
    walks = [lane for lane in network.lanes if lane.type == LaneType.WALKWAY]
    light_index = {light.id: i for i, light in enumerate(network.lights)}
    surfaces = tuple(np.asarray(a, dtype=np.float64) for a in network.areas) + tuple(_ribbon(lane) for lane in roads)
    everything = np.concatenate([*surfaces, *(_ribbon(lane) for lane in walks), np.zeros((0, 2))])
    low, high = (everything.min(0), everything.max(0)) if len(everything) else (np.zeros(2), np.ones(2))
    return Scenery(
        walkways=tuple(_ribbon(lane) for lane in walks),
        surfaces=surfaces,
        rims=tuple(np.concatenate([a, a[:1]]) for a in surfaces[: len(network.areas)])
        + tuple(_edge(lane, side * lane.width) for lane in roads for side in (0.5, -0.5)),
        bays=tuple(oriented_box(b.x, b.y, b.yaw, b.length, b.width) for b in network.bays),
        arrows=tuple(arrow for lane in roads if lane.type == LaneType.DRIVE for arrow in _arrows(lane)),
        stripes=tuple(bar for polygon in network.crosswalks for bar in _stripes(np.asarray(polygon, dtype=np.float64), walks)),
        lines=_lines(roads),
        stops=tuple(stop for lane in roads for stop in _stop(lane, light_index)),
        occluders=tuple((b.kind, oriented_box(b.x, b.y, b.yaw, b.length, b.width)) for b in network.occluders),
        lights=np.array([(light.x, light.y, light.heading) for light in network.lights], dtype=np.float64).reshape(-1, 3),
        bounds=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
    )


def _edge(lane: Lane, offset: float) -> Points:
    """The centreline moved `offset` m to the left, thinned out to what the eye can tell (1 cm)."""
    points = np.asarray(lane.centre, dtype=np.float64)
    step = np.diff(points, axis=0)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    step, points = step[length[:, 0] > 1e-9], points[np.r_[True, length[:, 0] > 1e-9]]
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.linalg.norm(step, axis=1, keepdims=True)
    before, after = np.r_[normal[:1], normal], np.r_[normal, normal[-1:]]
    mitre = (before + after) / np.maximum(1.0 + np.sum(before * after, axis=1, keepdims=True), 0.2)  # meets both offset segments
    return _thin(points + offset * mitre)


def _ribbon(lane: Lane) -> Points:
    """The lane's surface."""
    return np.concatenate([_edge(lane, 0.5 * lane.width), _edge(lane, -0.5 * lane.width)[::-1]])


def _thin(points: Points, tolerance: float = 0.01) -> Points:
    """Douglas-Peucker: drop points closer than `tolerance` m to the line through their kept neighbours."""
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        base, chord = points[first], points[last] - points[first]
        inner = points[first + 1 : last] - base
        share = np.clip(inner @ chord / max(float(chord @ chord), 1e-12), 0.0, 1.0)
        far = np.linalg.norm(inner - share[:, None] * chord, axis=1)
        worst = int(np.argmax(far))
        if far[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return points[keep]


def _lines(lanes: list[Lane]) -> tuple[Line, ...]:
    """Marks of both sides of every lane. A line that two lanes share is painted once, as the stronger of the two marks."""
    lines: list[Line] = []
    for lane in lanes:
        for mark, offset in ((lane.left_mark, 0.5 * lane.width), (lane.right_mark, -0.5 * lane.width)):
            if mark == Mark.NONE:
                continue
            line = Line(mark=mark, points=_edge(lane, offset))
            twin = next((i for i, other in enumerate(lines) if _same(line.points, other.points)), None)
            if twin is None:
                lines.append(line)
            elif mark > lines[twin].mark:
                lines[twin] = line
    return tuple(lines)


def _same(a: Points, b: Points) -> bool:
    """Whether two lines lie on each other, in either direction."""
    for other in (b, b[::-1]):
        if np.abs(a[0] - other[0]).max() < SAME_LINE and np.abs(a[-1] - other[-1]).max() < SAME_LINE:
            return bool(np.abs(_along(a, np.array([0.5]))[0] - _along(other, np.array([0.5]))[0]).max() < 2.0 * SAME_LINE)
    return False


def _along(points: Points, share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points at a share (0..1) of the line's length, (K, 2)."""
    s = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    return np.stack([np.interp(share * s[-1], s, points[:, i]) for i in (0, 1)], axis=1)


def _pose(lane: Lane, s: float) -> tuple[NDArray[np.float64], float, float]:
    """Position (2,), heading and the lane's length at s m along the centreline."""
    points = np.asarray(lane.centre, dtype=np.float64)
    total = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    near = _along(points, np.clip(np.array([s - 0.5, s + 0.5, s]) / total, 0.0, 1.0))
    direction = near[1] - near[0]
    return near[2], float(np.arctan2(direction[1], direction[0])), total


def _stop(lane: Lane, light_index: dict[str, int]) -> list[Stop]:
    if lane.stop is None:
        return []
    (x, y), yaw, _ = _pose(lane, lane.stop.s)
    outline = oriented_box(float(x), float(y), yaw, STOP_LINE, lane.width - 0.3)
    light = light_index.get(lane.stop.light, -1) if lane.stop.light is not None else -1
    return [Stop(outline=outline, light=light, must_stop=lane.stop.must_stop)]


_ARROW = np.array([[-1.5, 0.07], [0.3, 0.07], [0.3, 0.28], [1.5, 0.0], [0.3, -0.28], [0.3, -0.07], [-1.5, -0.07]])  # m, pointing along +x


def _arrows(lane: Lane) -> list[Points]:
    total = _pose(lane, 0.0)[2]
    arrows = []
    for s in np.arange(0.5 * ARROW_EVERY if total > ARROW_EVERY else 0.5 * total, total, ARROW_EVERY):
        at, yaw, _ = _pose(lane, float(s))
        if total > 12.0 and (lane.stop is None or abs(lane.stop.s - s) > 4.0):
            arrows.append(at + _ARROW @ np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]))
    return arrows


def _stripes(polygon: Points, walks: list[Lane]) -> list[Points]:
    """Bars of a crosswalk: across the way one walks, along the way one drives."""
    middle = polygon.mean(0)
    heading = _walking(polygon, middle, walks)
    axes = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])  # rows: along, across the walk
    local = (polygon - middle) @ axes.T
    low, high = local.min(0), local.max(0)
    bars = max(int((high[0] - low[0] + STRIPE) / (2 * STRIPE)), 1)
    start = 0.5 * (low[0] + high[0]) - (bars - 0.5) * STRIPE
    return [
        middle + np.array([[u, low[1]], [u + STRIPE, low[1]], [u + STRIPE, high[1]], [u, high[1]]]) @ axes
        for u in start + 2 * STRIPE * np.arange(bars)
    ]


def _walking(polygon: Points, middle: Points, walks: list[Lane]) -> float:
    """Heading of the nearest walkway; without one, of the polygon's longest side."""
    near = [(float(np.linalg.norm(np.asarray(lane.centre) - middle, axis=1).min()), lane) for lane in walks]
    if near:
        lane = min(near, key=lambda item: item[0])[1]
        points = np.asarray(lane.centre, dtype=np.float64)
        at = min(int(np.argmin(np.linalg.norm(points - middle, axis=1))), len(points) - 2)
        direction = points[at + 1] - points[at]
    else:
        sides = np.roll(polygon, -1, axis=0) - polygon
        direction = sides[int(np.argmax(np.linalg.norm(sides, axis=1)))]
    return float(np.arctan2(direction[1], direction[0]))
