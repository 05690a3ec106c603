"""A CommonRoad planning problem -> where the ego starts and what counts as arriving."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from scenarios.episode import Goal, Region
from scenarios.graph import LaneGraph
from scenarios.importers.centreline import arc_length
from scenarios.importers.commonroad_file import angle, number, parts, point, vertices
from scenarios.importers.places import lane_at, pose_on, project
from scenarios.importers.report import ImportReport
from scenarios.network import Lane, LaneType, RoadNetwork

__all__ = ["DESTINATION", "Start", "chosen_start", "read_goal", "read_start", "window"]

Floats = NDArray[np.float64]

DESTINATION = "goal"  # name of the destination that leads to the goal
FILLED = 0.9  # share of its bounding rectangle that a goal area must fill to be that rectangle


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the ego is at time 0."""

    step: int = 0  # time step of the file that is our time 0
    x: float
    y: float
    yaw: float
    speed: float


def read_start(problem: Any, shift: Floats, report: ImportReport) -> Start:
    """The initial state of a planning problem, moved by -`shift` (2,)."""
    state = problem.initial_state
    place, exact = point(state.position)
    speed, unsure = number(state.velocity)
    yaw, wide = angle(state.orientation)
    if not exact or unsure or wide:
        report.add("the ego's start is uncertain in the file: the middle of each interval is taken")
    step = int(number(state.time_step)[0])
    if step:
        report.add(f"the ego starts at time step {step}: that is time 0 here")
    return Start(step=step, x=float(place[0] - shift[0]), y=float(place[1] - shift[1]), yaw=yaw, speed=speed)


def chosen_start(network: RoadNetwork, report: ImportReport) -> Start:
    """A start for a file without planning problem: at the beginning of the longest lane by which one enters the map, at rest."""
    followers = {name for lane in network.lanes for name in lane.successors}
    drivable = [lane for lane in network.lanes if lane.type == LaneType.DRIVE]
    entries = [lane for lane in drivable if lane.id not in followers and lane.successors] or drivable or list(network.lanes)
    lane = max(entries, key=lambda entry: arc_length(entry.centre)[-1])
    s = min(10.0, float(arc_length(lane.centre)[-1]) / 2.0)
    x, y, yaw = pose_on(lane, s)
    report.add(f"no planning problem: the ego starts at rest on lanelet {lane.id} and has no goal but to last until the end")
    return Start(x=x, y=y, yaw=yaw, speed=0.0)


def window(problem: Any) -> tuple[int, int | None]:
    """First and last time step at which arriving at the first goal counts; None: no end."""
    value = getattr(problem.goal.state_list[0], "time_step", None)
    if value is None:
        return 0, None
    middle, half = number(value)
    return round(middle - half), round(middle + half)


def read_goal(
    problem: Any, network: RoadNetwork, shift: Floats, start: Start, dt: float, report: ImportReport
) -> tuple[Goal, tuple[tuple[str, float], ...]]:
    """The first goal state of a planning problem, and the places on lanes that lead to it (empty: no place is asked for)."""
    states = problem.goal.state_list
    if len(states) > 1:
        report.add(f"{len(states)} alternative goal states: only the first is kept")
    state = states[0]
    first, last = window(problem)
    earliest = max(first - start.step, 0) * dt
    latest = math.inf if last is None else (last - start.step) * dt
    if getattr(state, "position", None) is None:
        report.add("the goal names no place: the ego has to last until the end")
        if getattr(state, "velocity", None) is not None or getattr(state, "orientation", None) is not None:
            report.add("the goal's bounds on heading and speed without a place are not kept")
        return Goal(), ()
    lanelets = [str(id) for id in (problem.goal.lanelets_of_goal_position or {}).get(0, ())]
    lanes = [lane for lane in network.lanes if lane.id in lanelets]
    outline = shapely.MultiPoint(vertices(state.position) - shift).convex_hull
    area = _area(state.position, shift)
    rectangle = shapely.oriented_envelope(outline)
    filled = area / rectangle.area if rectangle.area > 0.0 else 0.0
    heading, speeds = _bounds(state)
    if lanes and filled < FILLED:
        if heading is not None or speeds is not None:
            report.add("the goal is a bent lanelet: reached on entering it; its bounds on heading and speed are not kept")
        return Goal(destination=DESTINATION, time_min=earliest, time_max=latest), tuple((lane.id, 0.0) for lane in lanes)
    if filled < FILLED:
        report.add(f"the goal area fills {filled:.0%} of its bounding rectangle, which is used instead")
    region = _region(rectangle, heading, speeds, start.yaw)
    ways = _ways(network, region, lanes, heading is not None, start, report)
    return Goal(destination=DESTINATION if ways else None, region=region, time_min=earliest, time_max=latest), ways


def _area(shape: Any, shift: Floats) -> float:
    """m^2 of a goal shape; a group counts its parts once."""
    polygons = []
    for part in parts(shape):
        if hasattr(part, "radius"):
            return math.pi * float(part.radius) ** 2
        polygons.append(shapely.make_valid(shapely.Polygon(vertices(part) - shift)))
    return float(shapely.union_all(polygons).area)


def _bounds(state: Any) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """(heading, tolerance) and (slowest, fastest), where the goal has them."""
    heading = speeds = None
    if getattr(state, "orientation", None) is not None:
        middle, half = angle(state.orientation)
        heading = (middle, min(half, math.pi))
    if getattr(state, "velocity", None) is not None:
        middle, half = number(state.velocity)
        speeds = (middle - half, middle + half)
    return heading, speeds


def _region(rectangle: Any, heading: tuple[float, float] | None, speeds: tuple[float, float] | None, yaw: float) -> Region:
    """A rectangle (polygon of 4 corners) as a region whose long side points as nearly as possible along the wanted heading."""
    ring = shapely.get_coordinates(rectangle)
    a, b = ring[1] - ring[0], ring[2] - ring[1]
    wanted = yaw if heading is None else heading[0]
    along, across = (a, b) if np.hypot(*a) >= np.hypot(*b) else (b, a)
    angle_along = math.atan2(along[1], along[0])
    if math.cos(angle_along - wanted) < 0.0:
        angle_along += math.pi
    middle = ring[:4].mean(axis=0)
    return Region(
        x=float(middle[0]),
        y=float(middle[1]),
        yaw=math.remainder(angle_along, 2.0 * math.pi),
        length=float(np.hypot(*along)),
        width=float(np.hypot(*across)),
        heading=wanted,
        heading_tolerance=math.pi if heading is None else heading[1],
        speed_min=-math.inf if speeds is None else speeds[0],
        speed_max=math.inf if speeds is None else speeds[1],
    )


def _ways(
    network: RoadNetwork, region: Region, lanes: list[Lane], directed: bool, start: Start, report: ImportReport
) -> tuple[tuple[str, float], ...]:
    """Where the route to a region ends: on the lanelets the file names, else on the lane under its centre.

    All that follows these lanes belongs to the destination as well: whoever is at the region too early has passed it, but is not lost.
    Empty if no lane leads there from the start; then progress is the straight line.
    """
    if lanes:
        ways = {lane.id: project(lane, region.x, region.y)[0] for lane in lanes}
    else:
        found = lane_at(network, region.x, region.y, region.heading if directed else None)
        ways = {} if found is None else {found[0]: found[1]}
    graph = LaneGraph(network)
    here = lane_at(network, start.x, start.y, start.yaw)
    lead = replace(network, destinations={DESTINATION: tuple(ways.items())})
    if not ways or here is None or here[0] not in LaneGraph(lead).to_go(DESTINATION):
        report.add("no lane leads from the start to the goal: progress towards it is measured as the crow flies")
        return ()
    for lane in tuple(ways):
        for follower, offset in graph.ahead(lane, math.inf):
            if offset > 0.0:
                ways.setdefault(follower, 0.0)
    return tuple(ways.items())
