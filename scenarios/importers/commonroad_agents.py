"""CommonRoad obstacles -> recorded agents, static agents and boxes that block sight.

Shapes: T rows of a log, one per time step of the file.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from scenarios.episode import AgentSpec, Log, Role
from scenarios.importers.commonroad_file import angle, box, number, point, vertices
from scenarios.importers.report import ImportReport
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.network import Box

__all__ = ["Obstacles", "last_step", "read_obstacles", "top_speed"]

Floats = NDArray[np.float64]

KINDS = {
    "CAR": Kind.CAR,
    "TRUCK": Kind.TRUCK,
    "BUS": Kind.BUS,
    "MOTORCYCLE": Kind.MOTORCYCLE,
    "BICYCLE": Kind.BICYCLE,
    "PEDESTRIAN": Kind.PEDESTRIAN,
}
STAND_INS = {"PRIORITY_VEHICLE": Kind.CAR, "TAXI": Kind.CAR, "PARKED_VEHICLE": Kind.CAR, "TRAIN": Kind.BUS}  # others: a car
SMALLEST = 0.05  # m, least length and width of an agent


@dataclass
class Obstacles:
    """Everything that stands or moves."""

    agents: list[AgentSpec] = field(default_factory=list)
    occluders: list[Box] = field(default_factory=list)


def _states(obstacle: Any) -> dict[int, Any]:
    """{time step: state} of a dynamic obstacle, its initial state included."""
    trajectory = getattr(obstacle.prediction, "trajectory", None)
    later = [] if trajectory is None else trajectory.state_list
    states = [obstacle.initial_state, *later]
    return {int(s.time_step): s for s in states if not hasattr(s.time_step, "start")}


def last_step(scenario: Any) -> int:
    """The last time step at which anything is recorded."""
    return max((max(_states(o), default=0) for o in scenario.dynamic_obstacles), default=0)


def top_speed(scenario: Any) -> float:
    """The highest recorded speed (m/s)."""
    speeds = [_speed(s) for o in scenario.dynamic_obstacles for s in _states(o).values()]
    return max((speed for speed in speeds if speed is not None), default=0.0)


def read_obstacles(scenario: Any, shift: Floats, first: int, last: int, report: ImportReport) -> Obstacles:
    """All obstacles of a scenario, moved by -`shift` (2,); logs run over the time steps `first` to `last`."""
    found = Obstacles()
    notes: dict[str, list[str]] = defaultdict(list)
    for obstacle in scenario.dynamic_obstacles:
        agent = _dynamic(obstacle, scenario.dt, shift, first, last, notes)
        if agent is not None:
            found.agents.append(agent)
    for obstacle in scenario.static_obstacles:
        _static(obstacle, shift, found, notes)
    for obstacle in getattr(scenario, "environment_obstacle", None) or ():
        found.occluders.append(_box(vertices(obstacle.obstacle_shape) - shift, str(obstacle.obstacle_type.name).lower()))
        notes["environment obstacles become the smallest rectangle around them, which blocks sight"].append(str(obstacle.obstacle_id))
    phantoms = getattr(scenario, "phantom_obstacle", None) or ()
    notes["phantom obstacles (possible, unseen road users) are left out"] += [str(o.obstacle_id) for o in phantoms]
    for line, ids in notes.items():
        report.items(line, ids)
    return found


# ---------------------------------------------------------------- dynamic


def _dynamic(obstacle: Any, dt: float, shift: Floats, first: int, last: int, notes: dict[str, list[str]]) -> AgentSpec | None:
    id = str(obstacle.obstacle_id)
    states = {t: s for t, s in _states(obstacle).items() if first <= t <= last}
    if not states:
        notes["obstacles recorded only before the ego's start are left out"].append(id)
        return None
    if getattr(obstacle.prediction, "trajectory", None) is None:
        what = "no trajectory" if obstacle.prediction is None else "a set of possible places instead of a trajectory"
        notes[f"obstacles with {what}: only their first state is replayed"].append(id)
    length, width, centre, turned = _shape(obstacle, notes)
    rows = last - first + 1
    pose, valid = np.zeros((rows, 4)), np.zeros(rows, dtype=bool)  # x, y, yaw, speed
    guessed = np.zeros((rows, 2), dtype=bool)  # yaw, speed are not in the file
    for t, state in states.items():
        place, exact = point(state.position)
        if not exact:
            notes["obstacles with uncertain states: the middle of each interval is replayed"].append(id)
        yaw, speed = _yaw(state), _speed(state)
        guessed[t - first] = yaw is None, speed is None
        pose[t - first] = *(place - shift), yaw or 0.0, speed or 0.0
        valid[t - first] = True
    at = np.nonzero(valid)[0]
    if (np.diff(at) > 1).any():
        notes["obstacles with gaps in their recording are absent meanwhile"].append(id)
    _guess(pose, at, guessed, dt, id, notes)
    yaw_at = pose[at, 2]
    pose[at, 0] += centre[0] * np.cos(yaw_at) - centre[1] * np.sin(yaw_at)
    pose[at, 1] += centre[0] * np.sin(yaw_at) + centre[1] * np.cos(yaw_at)
    pose[at, 2] = yaw_at + turned
    nearest = at[np.clip(np.searchsorted(at, np.arange(rows), side="right") - 1, 0, len(at) - 1)]
    pose = pose[nearest]  # rows without a state repeat the one before
    start = int(at[0])
    kind = _kind(obstacle, notes)
    return AgentSpec(
        kind=kind,
        role=Role.LOG,
        id=id,
        length=length,
        width=width,
        wheelbase=_wheelbase(kind, length),
        x=float(pose[start, 0]),
        y=float(pose[start, 1]),
        yaw=float(pose[start, 2]),
        speed=float(pose[start, 3]),
        log=Log(x=pose[:, 0].copy(), y=pose[:, 1].copy(), yaw=pose[:, 2].copy(), speed=pose[:, 3].copy(), valid=valid),
    )


def _yaw(state: Any) -> float | None:
    value = getattr(state, "orientation", None)
    if value is not None:
        return angle(value)[0]
    if getattr(state, "velocity_y", None) is not None:
        return math.atan2(number(state.velocity_y)[0], number(state.velocity)[0])
    return None


def _speed(state: Any) -> float | None:
    """Along the heading; a state with two velocity components has them in world axes unless it has a heading as well."""
    value = getattr(state, "velocity", None)
    if value is None:
        return None
    if getattr(state, "orientation", None) is None and getattr(state, "velocity_y", None) is not None:
        return math.hypot(number(value)[0], number(state.velocity_y)[0])
    return number(value)[0]


def _guess(pose: Floats, at: NDArray[np.intp], guessed: NDArray[np.bool_], dt: float, id: str, notes: dict[str, list[str]]) -> None:
    """Fill headings and speeds that the file lacks from the movement, in place."""
    if not guessed[at].any():
        return
    notes["obstacles without headings or speeds: taken from their movement"].append(id)
    if len(at) > 1:
        velocity = np.gradient(pose[at, :2], at * dt, axis=0)  # (T, 2)
        speed, yaw = np.hypot(*velocity.T), np.arctan2(velocity[:, 1], velocity[:, 0])
        moving = np.nonzero(speed > 0.2)[0]
        if len(moving):  # who stands keeps the last heading
            yaw = yaw[moving[np.clip(np.searchsorted(moving, np.arange(len(at)), side="right") - 1, 0, len(moving) - 1)]]
        pose[at, 2] = np.where(guessed[at, 0], yaw, pose[at, 2])
        pose[at, 3] = np.where(guessed[at, 1], speed, pose[at, 3])


# ---------------------------------------------------------------- static, kinds and shapes


def _static(obstacle: Any, shift: Floats, found: Obstacles, notes: dict[str, list[str]]) -> None:
    id = str(obstacle.obstacle_id)
    place, exact = point(obstacle.initial_state.position)
    if not exact:
        notes["obstacles with uncertain states: the middle of each interval is replayed"].append(id)
    yaw = _yaw(obstacle.initial_state) or 0.0
    length, width, centre, turned = _shape(obstacle, notes)
    cos, sin = math.cos(yaw), math.sin(yaw)
    x = float(place[0] - shift[0] + centre[0] * cos - centre[1] * sin)
    y = float(place[1] - shift[1] + centre[0] * sin + centre[1] * cos)
    kind = _kind(obstacle, notes)
    found.agents.append(
        AgentSpec(
            kind=kind, role=Role.STATIC, id=id, length=length, width=width, wheelbase=_wheelbase(kind, length), x=x, y=y, yaw=yaw + turned
        )
    )


def _kind(obstacle: Any, notes: dict[str, list[str]]) -> Kind:
    name = str(obstacle.obstacle_type.name).upper()
    if name in KINDS:
        return KINDS[name]
    kind = STAND_INS.get(name, Kind.CAR)
    notes[f"obstacles of type {name.lower()} count as {kind.name.lower()}"].append(str(obstacle.obstacle_id))
    return kind


def _wheelbase(kind: Kind, length: float) -> float:
    spec = KIND_SPECS[kind]
    return length * spec.wheelbase / spec.length


def _shape(obstacle: Any, notes: dict[str, list[str]]) -> tuple[float, float, Floats, float]:
    """Length, width, centre (2,) and orientation of the obstacle's box in its own frame."""
    shape = obstacle.obstacle_shape
    exact = box(shape)
    if exact is not None:
        length, width, centre, orientation = exact
        return max(length, SMALLEST), max(width, SMALLEST), centre, orientation
    notes[f"obstacles of shape {_shape_name(shape)} become their bounding rectangle"].append(str(obstacle.obstacle_id))
    corners = vertices(shape)
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.maximum(high - low, SMALLEST)
    return float(size[0]), float(size[1]), (low + high) / 2.0, 0.0


def _shape_name(shape: Any) -> str:
    return "circle" if hasattr(shape, "radius") else "polygon" if hasattr(shape, "vertices") else "group or other"


def _box(outline: Floats, kind: str) -> Box:
    """The smallest rectangle around an outline (V, 2)."""
    ring = shapely.get_coordinates(shapely.oriented_envelope(shapely.MultiPoint(outline)))
    a, b = ring[1] - ring[0], ring[2] - ring[1]
    x, y = ring[:4].mean(axis=0)
    length, width = max(float(np.hypot(*a)), SMALLEST), max(float(np.hypot(*b)), SMALLEST)
    return Box(x=float(x), y=float(y), yaw=float(np.arctan2(a[1], a[0])), length=length, width=width, kind=kind)
