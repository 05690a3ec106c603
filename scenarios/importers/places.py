"""Where things are on a road network: the lane under a pose, the pose at a place on a lane, the way ahead.

Shapes: P points of a line.
"""

from __future__ import annotations

import math

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from scenarios.importers.centreline import arc_length
from scenarios.network import Lane, LaneType, RoadNetwork

__all__ = ["lane_at", "onward", "pose_on", "project"]

Floats = NDArray[np.float64]

FACING = math.radians(75.0)  # most a lane may deviate from the wanted heading
REACH = 5.0  # m, how far beside a lane something still belongs to it
PER_RADIAN = 3.0  # m, how much farther a lane may be that fits the heading one radian better
SETTLE = 15.0  # m over which somebody comes back to the middle of its lane


def project(lane: Lane, x: float, y: float) -> tuple[float, float]:
    """(s, distance) of the nearest point of a centreline."""
    line, place = shapely.LineString(lane.centre), shapely.Point(x, y)
    return float(shapely.line_locate_point(line, place)), float(shapely.distance(line, place))


def pose_on(lane: Lane, s: float) -> tuple[float, float, float]:
    """x, y, heading at s; beyond the ends the lane is continued straight."""
    along = arc_length(lane.centre)
    k = int(np.clip(np.searchsorted(along, s, side="right") - 1, 0, len(along) - 2))
    delta = (lane.centre[k + 1] - lane.centre[k]) / (along[k + 1] - along[k])
    x, y = lane.centre[k] + (s - along[k]) * delta
    return float(x), float(y), float(np.arctan2(delta[1], delta[0]))


def lane_at(network: RoadNetwork, x: float, y: float, heading: float | None) -> tuple[str, float] | None:
    """(lane, s) of the lane that fits a place best, among those that run about along `heading`; None: none within REACH."""
    best: tuple[float, str, float] | None = None
    for lane in network.lanes:
        if lane.type not in (LaneType.DRIVE, LaneType.JUNCTION):
            continue
        s, distance = project(lane, x, y)
        turn = 0.0 if heading is None else abs(math.remainder(pose_on(lane, s)[2] - heading, 2.0 * math.pi))
        cost = distance + PER_RADIAN * turn
        if distance <= REACH and turn <= FACING and (best is None or cost < best[0]):
            best = (cost, lane.id, s)
    return None if best is None else (best[1], best[2])


def onward(network: RoadNetwork, x: float, y: float, heading: float, length: float) -> Floats:
    """(P, 2) points ahead of a pose, over about `length` m: along its lane and those that turn least, then straight.

    The distance from the middle of the lane is worked off over SETTLE. Off the lanes: straight.
    """
    found = lane_at(network, x, y, heading)
    points: list[Floats] = []
    left = length
    if found is not None:
        lanes = {lane.id: lane for lane in network.lanes}
        lane, s = lanes[found[0]], found[1]
        px, py, direction = pose_on(lane, s)
        aside = (y - py) * math.cos(direction) - (x - px) * math.sin(direction)
        while left > 0.0:
            end = float(arc_length(lane.centre)[-1])
            for at in np.arange(s + 2.0, min(end, s + left), 2.0):
                px, py, direction = pose_on(lane, float(at))
                d = aside * max(0.0, 1.0 - (length - left + at - s) / SETTLE)
                points.append(np.array([px - d * math.sin(direction), py + d * math.cos(direction)]))
            left -= end - s
            ahead = [lanes[name] for name in lane.successors if name in lanes]
            if not ahead:
                break
            lane, s = min(ahead, key=lambda other: abs(_turn(other))), 0.0
        x, y, heading = (*points[-1], direction) if points else (x, y, heading)
    if left > 0.0:
        points.append(np.array([x + max(left, 2.0) * math.cos(heading), y + max(left, 2.0) * math.sin(heading)]))
    return np.array(points)


def _turn(lane: Lane) -> float:
    """rad, heading change from the start to the end of a lane."""
    delta = np.diff(lane.centre, axis=0)
    heading = np.unwrap(np.arctan2(delta[:, 1], delta[:, 0]))
    return float(heading[-1] - heading[0])
