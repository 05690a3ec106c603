"""One drawn episode as a scenario in which nothing is left to chance, and scenarios as text.

    one = explicit(scenario, sample(scenario, 7), name="merge-7")    # everybody by name, with place, speed and driver
    path.write_text(text_of(one.model))                              # an ordinary scenario file
    sample(one, 7)                                                   # the same episode again, whatever the seed

The seed still matters where a policy or a camera draws: weather, noise of perception.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from scenarios.drivers import draw_driver
from scenarios.episode import Action, AgentSpec, Driver, Episode, Goal, Role, Script, Trigger
from scenarios.graph import LaneGraph
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.loader import Scenario, load_text
from scenarios.networks import map_count, place
from scenarios.roads.base import RoadModel
from scenarios.schema import EgoModel, FileRoad, ScenarioModel
from scenarios.traffic import layers

__all__ = ["ExplicitError", "explicit", "median_driver", "median_ego", "median_road", "text_of"]

_NAME = re.compile(r"[^A-Za-z0-9_-]")
_TRIGGERS = {Trigger.TIME: "time", Trigger.DISTANCE: "distance", Trigger.AHEAD: "ahead", Trigger.TTC: "ttc"}


class ExplicitError(ValueError):
    """An episode that a scenario file cannot spell out."""


def explicit(scenario: Scenario, episode: Episode, *, name: str, description: str = "") -> Scenario:
    """The scenario whose every episode is `episode`, which was drawn from `scenario`: road, ego and all others without distributions.

    name: of the new scenario, and so of its file. Places, speeds and drivers are those of the episode to the last bit; a parked car's
    heading may differ in the last one. Raises ExplicitError for roads and road users that come from a recording; ScenarioError.
    """
    if isinstance(scenario.model.road, FileRoad) or scenario.model.recorded is not None:
        raise ExplicitError(f"{scenario.id}: roads and road users of a recording lie in its own file and cannot be spelled out in another")
    where = next((p for p in (place(scenario, i) for i in range(map_count(scenario))) if p.key == episode.network_key), None)
    if where is None:
        raise ExplicitError(f"the episode of {episode.scenario!r} was not drawn from {scenario.id!r} as it is now: its road is another one")
    road = _with_values(scenario.model.road, where.drawn)
    names = _names(episode.agents)
    tree: dict[str, Any] = {
        "version": 1,
        "name": name,
        "description": description[:2000],
        "duration": episode.duration,
        "dt": episode.dt,
        "road": plain(road),
        "ego": _ego(episode.agents[0], episode.goal, where.graph),
        "actors": [_actor(agent, names[i], where.graph) for i, agent in enumerate(episode.agents) if i > 0],
    }
    return load_text(_text(tree), file=f"{name}.yaml", folder=None)


def text_of(model: ScenarioModel) -> str:
    """A scenario file that says what `model` says; what has its default is left out."""
    return _text(plain(model))


def plain(model: Any) -> dict[str, Any]:
    """A model as it would stand in a file: SI units, without what has its default."""
    tree: dict[str, Any] = _listed(model.model_dump(exclude_defaults=True))
    kind = getattr(model, "kind", None)
    if isinstance(model, RoadModel):
        return {"kind": kind, **tree}
    if isinstance(model, ScenarioModel):
        tree["road"] = plain(model.road)
    return tree


# ---------------------------------------------------------------- medians


class _Middle(np.random.Generator):
    """Every draw is the middle one: as each distribution takes one number and turns it round, its median comes out."""

    def __init__(self) -> None:
        super().__init__(np.random.Philox(0))

    def random(self, *args: Any, **options: Any) -> Any:
        """0.5."""
        return 0.5


def median_road(scenario: Scenario) -> RoadModel:
    """The road with the median of every parameter that is drawn."""
    return scenario.model.road.resolve(_Middle())


def median_ego(scenario: Scenario) -> EgoModel:
    """The ego likewise."""
    return scenario.model.ego.resolve(_Middle())


def median_driver(scenario: Scenario, kind: Kind) -> Driver:
    """The median driver of a kind in a scenario, but for what single sources of traffic say of theirs."""
    return draw_driver(_Middle(), kind, *layers(kind, scenario.model.drivers))


# ---------------------------------------------------------------- from an episode


def driver_tree(driver: Driver) -> dict[str, Any]:
    """As `drivers:` in a file, complete."""
    return {field.name: getattr(driver, field.name) for field in fields(driver)}


def _with_values(road: RoadModel, drawn: Mapping[str, bool | float | str]) -> RoadModel:
    """The road with the values that were drawn, by path ("road.ramp_length")."""

    def put(value: Any, path: str) -> Any:
        if path in drawn:
            return drawn[path]
        if hasattr(value, "model_copy"):
            return value.model_copy(update={name: put(getattr(value, name), f"{path}.{name}") for name in type(value).model_fields})
        if isinstance(value, list | tuple):
            return type(value)(put(item, f"{path}[{i}]") for i, item in enumerate(value))
        if isinstance(value, dict):
            return {key: put(item, f"{path}.{key}") for key, item in value.items()}
        return value

    found: RoadModel = put(road, "road")
    return found


def _names(agents: tuple[AgentSpec, ...]) -> list[str]:
    """Names that a file may use, each once."""
    taken: set[str] = set()
    names = []
    for slot, agent in enumerate(agents):
        name = _NAME.sub("_", agent.id)[:60] or f"agent_{slot}"
        name = name if name[0].isalpha() else f"a{name}"
        name = f"{name}_{slot}" if name in taken else name
        taken.add(name)
        names.append(name)
    return names


def _ego(agent: AgentSpec, goal: Goal, graph: LaneGraph) -> dict[str, Any]:
    return {
        "kind": agent.kind.name.lower(), **_spot(agent, graph, turned=True), "speed": agent.speed,
        **({"drivers": driver_tree(agent.driver)} if agent.driver else {}), "goal": _goal(goal),
    }  # fmt: skip


def _actor(agent: AgentSpec, name: str, graph: LaneGraph) -> dict[str, Any]:
    if agent.role not in (Role.IDM, Role.STATIC):
        raise ExplicitError(f"{agent.id!r} replays a recording, which lies in a file of its own")
    usual = KIND_SPECS[agent.kind]
    tree: dict[str, Any] = {"id": name, "kind": agent.kind.name.lower(), "role": agent.role.name.lower(), **_spot(agent, graph)}
    tree |= {side: value for side in ("length", "width") if (value := getattr(agent, side)) != getattr(usual, side)}
    if agent.enter_time > 0.0:
        tree["enter_time"] = agent.enter_time
    if agent.role is Role.STATIC:
        return tree
    tree["speed"] = agent.speed
    if agent.destination is not None:
        tree["destination"] = agent.destination
    if agent.driver is not None:
        tree["drivers"] = driver_tree(agent.driver)
    if agent.script is not None:
        tree["script"] = _script(agent.script)
    return tree


def _spot(agent: AgentSpec, graph: LaneGraph, *, turned: bool = False) -> dict[str, Any]:
    """Where somebody stands. turned: it may point elsewhere than its lane."""
    if agent.lane is None:
        return {"pose": {"x": agent.x, "y": agent.y, "heading": agent.yaw}}
    along = graph.pose(agent.lane, agent.s, agent.d)[2]
    heading = {"heading": agent.yaw} if turned and agent.yaw != along else {}
    return {"lane": agent.lane, "s": agent.s, **({"d": agent.d} if agent.d else {}), **heading}


def _script(script: Script) -> dict[str, Any]:
    tree: dict[str, Any] = {"when": {_TRIGGERS[script.trigger]: script.value}, "do": script.action.name.lower()}
    if script.action is Action.BRAKE:
        tree |= {"decel": script.magnitude, "until": script.until}
    elif script.action is Action.SPEED:
        tree["to"] = script.magnitude
    return {**tree, "reckless": script.reckless}


def _goal(goal: Goal) -> dict[str, Any]:
    tree: dict[str, Any] = {} if goal.destination is None else {"destination": goal.destination}
    if goal.region is not None:
        names = ("x", "y", "yaw", "length", "width", "heading", "heading_tolerance", "speed_min", "speed_max")
        tree["region"] = {name: value for name in names if math.isfinite(value := float(getattr(goal.region, name)))}
    if goal.time_min > 0.0:
        tree["time_min"] = goal.time_min
    if math.isfinite(goal.time_max):
        tree["time_max"] = goal.time_max
    return tree


# ---------------------------------------------------------------- text


def _listed(value: Any) -> Any:
    """Tuples as lists, and nothing that is None."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value


def _text(tree: Mapping[str, Any]) -> str:
    return "\n".join([*_block(tree), ""])


def _block(tree: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Block YAML where there is a mapping or a list of mappings inside, else one line in flow style."""
    for key, value in tree.items():
        if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
            yield f"{indent}{key}:"
            yield from _block(value, indent + "  ")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            yield f"{indent}{key}:"
            for item in value:
                lines = list(_block(item, indent + "    "))
                yield f"{indent}  - {lines[0].strip()}"
                yield from lines[1:]
        else:
            yield f"{indent}{key}: {_flow(value)}"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e9 else repr(value)
    if isinstance(value, int):
        return str(value)
    word = re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", str(value))
    return str(value) if word and str(value).lower() not in ("true", "false", "null", "yes", "no", "on", "off") else json.dumps(str(value))
