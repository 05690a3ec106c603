"""One drawn episode as a scenario of its own: an ordinary file in which every number is fixed, the same whatever the seed.

The road keeps its kind with the values that were drawn; all road users become actors, with their places, times of entry, drivers and
scripts. Numbers are written so that they are read back to the last bit.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from scenarios.episode import Action, AgentSpec, Driver, Episode, Goal, Role, Script
from scenarios.files import write_atomic
from scenarios.kinds import KIND_SPECS
from scenarios.loader import Scenario, inside
from scenarios.networks import road_of
from scenarios.schema import DriversModel, FileRoad

__all__ = ["frozen_text", "write_frozen"]

WIDTH = 140  # of comments
DRIVER = tuple(DriversModel.model_fields)


def frozen_text(scenario: Scenario, episode: Episode, name: str, *, description: str = "", comments: tuple[str, ...] = ()) -> str:
    """The scenario file of an episode that `scenario` gave. comments: lines for its top.

    Loading and sampling it, with any seed, gives the same road, goal, duration and agents; only ids that a file may not have change.
    Raises ValueError for an episode of another scenario, or one with recorded road users, who are a file of their own.
    """
    if scenario.model.recorded is not None or any(agent.role == Role.LOG for agent in episode.agents):
        raise ValueError(f"{episode.scenario}: recorded road users cannot be written as actors")
    road = road_of(scenario, episode.network_key).model_dump(exclude_none=True)
    if isinstance(scenario.model.road, FileRoad):
        road["file"] = f"{name}.npz"
    lines = [line for comment in comments for line in textwrap.wrap(comment, WIDTH, initial_indent="# ", subsequent_indent="#   ")]
    lines += ["version: 1", f"name: {name}", f"description: {_flow(description)}"]
    lines += [f"duration: {_flow(episode.duration)}", f"dt: {_flow(episode.dt)}", "maps: 1", f"road: {_flow(road)}", "ego:"]
    lines += [f"  {key}: {_flow(value)}" for key, value in _ego(scenario, episode).items()]
    if len(episode.agents) > 1:
        names = _ids(episode.agents[1:])
        lines += ["actors:", *(f"  - {_flow(_actor(agent, id))}" for agent, id in zip(episode.agents[1:], names, strict=True))]
    return "\n".join([*lines, ""])


def write_frozen(scenario: Scenario, episode: Episode, path: Path, *, description: str = "", comments: tuple[str, ...] = ()) -> None:
    """Write `frozen_text` to `path`, and beside it a copy of the road network's sidecar if it has one. Raises ValueError, OSError."""
    text = frozen_text(scenario, episode, path.stem, description=description, comments=comments)
    if isinstance(scenario.model.road, FileRoad):
        write_atomic(path.with_suffix(".npz"), inside(scenario.folder, scenario.model.road.file, ".npz").read_bytes())
    write_atomic(path, text)


def _ego(scenario: Scenario, episode: Episode) -> dict[str, Any]:
    agent, ego = episode.agents[0], dict[str, Any](kind=episode.agents[0].kind.name.lower())
    ego |= _place(agent)
    if agent.lane is not None and scenario.model.ego.heading is not None:
        ego["heading"] = _heading(agent.yaw)
    ego |= {"speed": agent.speed, "drivers": _driver(agent.driver)}
    goal = _goal(episode.goal) | ({"destination": agent.destination} if agent.destination is not None else {})
    return ego | ({"goal": goal} if goal else {})


def _goal(goal: Goal) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if goal.region is not None:
        found["region"] = {key: value for key, value in vars(goal.region).items() if math.isfinite(value)}
        found["region"]["heading_tolerance"] = min(goal.region.heading_tolerance, math.pi)
    if goal.time_min > 0.0:
        found["time_min"] = goal.time_min
    if math.isfinite(goal.time_max):
        found["time_max"] = goal.time_max
    return found


def _actor(agent: AgentSpec, id: str) -> dict[str, Any]:
    spec, actor = KIND_SPECS[agent.kind], {"id": id, "kind": agent.kind.name.lower(), **_place(agent)}
    actor |= {name: getattr(agent, name) for name in ("length", "width") if getattr(agent, name) != getattr(spec, name)}
    if agent.role == Role.STATIC:
        return actor | {"role": "static"}
    actor["speed"] = agent.speed
    if agent.destination is not None:
        actor["destination"] = agent.destination
    if agent.enter_time > 0.0:
        actor["enter_time"] = agent.enter_time
    if agent.script is not None:
        actor["script"] = _script(agent.script)
    return actor | {"drivers": _driver(agent.driver)}


def _place(agent: AgentSpec) -> dict[str, Any]:
    if agent.lane is None:
        return {"pose": {"x": agent.x, "y": agent.y, "heading": _heading(agent.yaw)}}
    return {"lane": agent.lane, "s": agent.s} | ({"d": agent.d} if agent.d else {})


def _heading(yaw: float) -> float:
    """The number that sampling, which wraps headings, turns into `yaw` to the last bit."""
    near = [yaw]
    for _ in range(4):
        near = [math.nextafter(near[0], -math.inf), *near, math.nextafter(near[-1], math.inf)]
    return next((h for h in near if math.atan2(math.sin(h), math.cos(h)) == yaw), yaw)


def _driver(driver: Driver | None) -> dict[str, Any]:
    return {} if driver is None else {name: getattr(driver, name) for name in DRIVER}


def _script(script: Script) -> dict[str, Any]:
    found: dict[str, Any] = {"when": {script.trigger.name.lower(): script.value}, "do": script.action.name.lower()}
    if script.action == Action.BRAKE:
        found |= {"decel": script.magnitude, "until": script.until}
    if script.action == Action.SPEED:
        found["to"] = script.magnitude
    return found | ({"reckless": True} if script.reckless else {})


def _ids(agents: tuple[AgentSpec, ...]) -> list[str]:
    """Names that a file may have, each once."""
    found: list[str] = []
    for slot, agent in enumerate(agents, 1):
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", agent.id)[:56]
        plain = plain if re.match(r"[A-Za-z]", plain) and plain != "ego" else f"agent_{plain}"[:56]
        found.append(plain if plain not in found else f"{plain}_{slot}")
    return found


def _flow(value: Any) -> str:
    """A value in YAML's flow style; text is quoted as in JSON unless it is a plain word, numbers keep every bit."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, str):
        words = {"true", "false", "null"}
        plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*(\.[0-9]+)?", value) and value.lower() not in words
        return value if plain else json.dumps(value, ensure_ascii=False)
    return repr(float(value)) if isinstance(value, float) else str(int(value))
