"""The road networks of a scenario: its road's distributions drawn `maps` times, built once each and shared."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import to_json

from scenarios.episode import AgentSpec
from scenarios.errors import ScenarioError
from scenarios.graph import LaneGraph
from scenarios.loader import Scenario, inside
from scenarios.network import RoadNetwork
from scenarios.roads.base import RoadError, RoadModel
from scenarios.schema import FileRoad
from scenarios.translate import problem_at

__all__ = ["Place", "generator", "map_count", "place", "recording", "road_of"]

_KEEP = 512  # networks; one is some 100 kB


@dataclass(frozen=True, kw_only=True)
class Place:
    """One variant of a road."""

    key: str  # equal keys, equal networks
    network: RoadNetwork
    graph: LaneGraph
    drawn: dict[str, bool | float | str]  # the road's parameters that were drawn, by path


_places: OrderedDict[tuple[str, int], Place] = OrderedDict()
_built: OrderedDict[str, Place] = OrderedDict()
_recorded: OrderedDict[tuple[str, str, str], tuple[Place, tuple[AgentSpec, ...], float]] = OrderedDict()
_lock = threading.Lock()


def generator(*parts: object) -> np.random.Generator:
    """A counter-based generator keyed by the hash of its arguments: independent streams without any shared state."""
    key = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))


def map_count(scenario: Scenario) -> int:
    """How many variants of the road there are: one if nothing about it is drawn."""
    probe: dict[str, bool | float | str] = {}
    scenario.model.road.resolve(generator("probe"), probe)
    return scenario.model.maps if probe else 1


def place(scenario: Scenario, index: int) -> Place:
    """Variant `index` of the scenario's road, built when first asked for. Raises ScenarioError where the road cannot be built."""
    road = scenario.model.road
    description = to_json(road.model_dump()).decode()
    cached = (f"{scenario.folder}|{scenario.digest}" if isinstance(road, FileRoad) else description, index)
    with _lock:
        if cached in _places:
            _places.move_to_end(cached)
            return _places[cached]
    drawn: dict[str, bool | float | str] = {}
    resolved = road.resolve(generator(description, index), drawn, "road")
    if isinstance(resolved, FileRoad):
        found = _from_file(scenario, resolved)
    else:
        key = hashlib.sha256(to_json(resolved.model_dump())).hexdigest()[:32]
        with _lock:
            known = _built.get(key)
        if known is None:
            try:
                network = resolved.build()
            except RoadError as error:
                raise ScenarioError(
                    [
                        problem_at(scenario.root, scenario.file, ("road", *fault.at), f"expected {fault.expected}", hint=fault.hint)
                        for fault in error.faults
                    ]
                ) from None
            except ValueError as error:
                values = ", ".join(
                    f"{path.removeprefix('road.')} = {value:.4g}" for path, value in drawn.items() if isinstance(value, float)
                )
                hint = f"drawn: {values}" if values else ""
                raise scenario.error(("road",), f"this road cannot be built: {error}", value="", hint=hint) from None
            known = Place(key=key, network=network, graph=LaneGraph(network), drawn=drawn)
        found = Place(key=key, network=known.network, graph=known.graph, drawn=drawn)
    with _lock:
        found = _places.setdefault(cached, found)
        _built.setdefault(found.key, found)
        _trim(_places)
        _trim(_built)
    return found


def road_of(scenario: Scenario, key: str) -> RoadModel:
    """The scenario's road with the values that were drawn for the network of this key. Raises ValueError if it has none such."""
    road = scenario.model.road
    for index in range(map_count(scenario)):
        if place(scenario, index).key == key:
            return road.resolve(generator(to_json(road.model_dump()).decode(), index))
    raise ValueError(f"scenario '{scenario.id}' has no road network {key!r}")


def _trim(cache: OrderedDict[Any, Any]) -> None:
    while len(cache) > _KEEP:
        cache.popitem(last=False)


def recording(scenario: Scenario, where: Place) -> tuple[Place, tuple[AgentSpec, ...], float]:
    """The place that recorded road users need (reactive ones bring the lanes of their paths), they, and the recording's tick in s.

    Raises ScenarioError if the sidecar cannot be used.
    """
    from scenarios.importers.recorded import recorded_agents
    from scenarios.serialize import load_recording

    recorded = scenario.model.recorded
    if recorded is None:
        raise ValueError(f"scenario '{scenario.id}' has no recording")
    cached = (where.key, scenario.digest, recorded.mode)
    with _lock:
        if cached in _recorded:
            _recorded.move_to_end(cached)
            return _recorded[cached]
    try:
        data = load_recording(inside(scenario.folder, recorded.file, ".npz"))
        network, agents = recorded_agents(where.network, data, recorded.mode)
    except (ValueError, OSError) as error:
        text = str(error) if str(error).startswith("expected") else f"this file holds no usable recording: {error}"
        raise scenario.error(("recorded", "file"), text) from None
    if network is not where.network:
        key = hashlib.sha256("|".join(cached).encode()).hexdigest()[:32]
        where = Place(key=key, network=network, graph=LaneGraph(network), drawn=where.drawn)
    found = (where, agents, data.dt)
    with _lock:
        found = _recorded.setdefault(cached, found)
        _trim(_recorded)
    return found


def _from_file(scenario: Scenario, road: FileRoad) -> Place:
    from scenarios.serialize import load_network

    try:
        path = inside(scenario.folder, road.file, ".npz")
    except ValueError as error:
        raise scenario.error(("road", "file"), str(error)) from None
    try:
        network = load_network(path)
    except (ValueError, OSError) as error:
        raise scenario.error(("road", "file"), f"this file holds no usable road network: {error}") from None
    key = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    return Place(key=key, network=network, graph=LaneGraph(network), drawn={})
