"""CommonRoad scenarios (https://commonroad.in.tum.de, formats 2018b and 2020a) -> our scenarios.

What becomes what: lanelets -> lanes; speed limits, stop, yield and priority signs, traffic lights with their cycles -> limits, stop
lines, priorities, lights; lanes that meet -> junctions with right of way; dynamic obstacles -> recorded agents, tick by tick; static
obstacles -> static agents; the first planning problem -> the ego's start and goal. The rest is listed in the report.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.episode import AgentSpec, Goal
from scenarios.importers.commonroad_agents import last_step, read_obstacles, top_speed
from scenarios.importers.commonroad_file import CommonRoadFile, read
from scenarios.importers.commonroad_goal import DESTINATION, Start, chosen_start, read_goal, read_start, window
from scenarios.importers.commonroad_roads import build_network
from scenarios.importers.places import lane_at, pose_on
from scenarios.importers.recorded import collisions_among, with_paths
from scenarios.importers.report import ImportReport
from scenarios.importers.types import EgoStart, Imported, ImportFileError
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.network import RoadNetwork
from scenarios.serialize import MAX_AGENTS, Recording

__all__ = ["import_commonroad", "shift_of"]

Floats = NDArray[np.float64]

CENTRED = 1000.0  # m; float32 holds coordinates up to here to 0.03 mm, so they are left as they are in the file
ALONE = 60.0  # s, duration without recording and goal


def import_commonroad(path: str | Path) -> Imported:
    """Read a CommonRoad XML file.

    Raises ImportFileError (a ValueError) for a file that cannot be imported, FileNotFoundError.
    """
    file = read(path)
    scenario, report = file.scenario, ImportReport()
    if not 0.01 <= scenario.dt <= 0.5:
        raise ImportFileError(f"{path}: time step {scenario.dt} s; expected 0.01 to 0.5 s")
    shift = shift_of(scenario)
    try:
        network = build_network(scenario, shift, top_speed(scenario), report)
    except ValueError as error:
        raise ImportFileError(f"{path}: {error}") from None
    problem = _problem(file, report)
    start = read_start(problem, shift, report) if problem is not None else chosen_start(network, report)
    last = _last(scenario, problem, start)
    obstacles = read_obstacles(scenario, shift, start.step, last, report)
    goal: Goal = Goal()
    ways: tuple[tuple[str, float], ...] = ()
    if problem is not None:
        goal, ways = read_goal(problem, network, shift, start, scenario.dt, report)
    late = start.step * float(scenario.dt)  # s, what the file's clock shows at our time 0
    lights = tuple(replace(light, offset=light.offset + late) for light in network.lights)
    network = replace(network, lights=lights, occluders=tuple(obstacles.occluders), destinations={DESTINATION: ways} if ways else {})
    recording = Recording(
        source=file.name,
        dt=float(scenario.dt),
        offset=(float(shift[0]), float(shift[1])),
        agents=_within_slots(obstacles.agents, start, report),
    )
    report.items("recorded agents that overlap in the file itself", [str(c) for c in collisions_among(recording.agents, recording.dt)])
    if recording.agents and (network.conflicts or any(lane.stop is not None for lane in network.lanes)):
        report.add("reactive agents follow their recorded paths and mind what is in their way, but no lights, signs or right of way")
    if shift.any():
        report.add(f"coordinates are moved by ({-shift[0]:g}, {-shift[1]:g}) m")
    return Imported(
        source=file.name,
        title=_title(file),
        duration=round((last - start.step) * float(scenario.dt), 9),
        network=with_paths(network, recording),
        recording=recording,
        ego=_ego(network, start, problem is not None, report),
        goal=goal,
        report=report,
    )


def shift_of(scenario: Any) -> Floats:
    """(2,) m to subtract from all coordinates: zero, or whole metres that bring the map's middle to the origin."""
    points = np.concatenate([lanelet.center_vertices[:, :2] for lanelet in scenario.lanelet_network.lanelets])
    if np.abs(points).max() <= CENTRED:
        return np.zeros(2)
    middle: Floats = np.round((points.min(axis=0) + points.max(axis=0)) / 2.0)
    return middle


def _problem(file: CommonRoadFile, report: ImportReport) -> Any | None:
    """The planning problem that is imported: the first."""
    problems = list(file.problems)
    report.items("several planning problems: only the first is kept; left out", [str(id) for id in problems[1:]])
    return file.problems[problems[0]] if problems else None


def _last(scenario: Any, problem: Any | None, start: Start) -> int:
    """The time step at which the episode ends: when the recording and the goal's time window have."""
    end = window(problem)[1] if problem is not None else None
    last = max(last_step(scenario), end or 0)
    return last if last > start.step else start.step + math.ceil(ALONE / scenario.dt)


def _within_slots(agents: list[AgentSpec], start: Start, report: ImportReport) -> tuple[AgentSpec, ...]:
    """At most as many agents as a world has slots beside the ego: those that come nearest to its start."""

    def nearest(agent: AgentSpec) -> float:
        if agent.log is None:
            return math.hypot(agent.x - start.x, agent.y - start.y)
        there = agent.log.valid
        return float(np.hypot(agent.log.x[there] - start.x, agent.log.y[there] - start.y).min())

    kept = sorted(agents, key=nearest)[: MAX_AGENTS - 1]
    ids = {agent.id for agent in kept}
    report.items(
        f"more than {MAX_AGENTS - 1} road users: those farthest from the ego are left out", [a.id for a in agents if a.id not in ids]
    )
    return tuple(agent for agent in agents if agent.id in ids)


def _ego(network: RoadNetwork, start: Start, given: bool, report: ImportReport) -> EgoStart:
    """The ego, on its lane if it is on one."""
    spec = KIND_SPECS[Kind.CAR]
    if given:
        report.add(f"the file does not say what the ego is: a car of {spec.length:g} x {spec.width:g} m, its start taken as its centre")
    found = lane_at(network, start.x, start.y, start.yaw)
    if found is None:
        report.add("the ego starts off the lanes")
        return EgoStart(x=start.x, y=start.y, yaw=start.yaw, speed=start.speed)
    lane, s = found
    x, y, heading = pose_on(network.lane(lane), s)
    d = (start.y - y) * math.cos(heading) - (start.x - x) * math.sin(heading)
    return EgoStart(x=start.x, y=start.y, yaw=start.yaw, speed=start.speed, lane=lane, s=s, d=d)


def _title(file: CommonRoadFile) -> str:
    """One line for people: where it comes from and whose it is."""
    parts = [f"CommonRoad {file.version} scenario {file.scenario.scenario_id}"]
    about = getattr(file.scenario, "file_information", file.scenario)  # from 2026.1 on
    for name in ("author", "affiliation", "source"):
        value = " ".join(str(getattr(about, name, None) or "").split())
        if value:
            parts.append(f"{name}: {value[:200]}")
    return "; ".join(parts)
