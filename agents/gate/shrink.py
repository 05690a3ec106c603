"""Make a failure small: fewer road users, usual parameters, milder magnitudes, round numbers; the failure stays.

The search for one failure, as a generator of trials (`agents.gate.ddmin.Search`); `agents.gate.trials` runs them. A trial holds if the
candidate fails in the same class and the reference passes. In this order:

1. Others are taken out: those that came nearest are tried one by one, two by two and a few together, then by delta debugging (`ddmin`).
2. Every parameter that is not the median of what the scenario draws is put there, all at once, then by delta debugging over the ones
   that are left: parameters of the road, start and driver of the ego, kind, driver, speed and offset of each other.
3. What still stands off is moved towards the median, to within a tenth of the way, first all of it together, then one by one; so are
   gaps in the ego's lane, towards those that the follower would keep.
4. Numbers are rounded to three digits, or four.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from agents.gate.ddmin import Search, ddmin
from scenarios import Scenario, ScenarioError, load_text, sample
from scenarios.episode import AgentSpec
from scenarios.explicit import driver_tree, median_driver, median_ego, median_road, text_of
from scenarios.kinds import Kind
from scenarios.placement import safe_gap
from scenarios.schema import ActorModel, DriversModel, ScenarioModel

__all__ = ["Shrunk", "shrink"]

ALONE, IN_PAIRS, MORE = 8, 6, (4, 8, 16)  # of those nearest: tried one by one, two by two, and so many together
ENOUGH = 2  # with more than that left, it is tried in usual circumstances too
QUARTERS = (0.25, 0.5, 0.75)
LEAST = 0.1  # of the way to the usual value: as near as that is near enough
DIGITS = (3, 4)
HEAVY = ("truck", "bus", "motorcycle")  # kinds for which an ordinary car is tried
EGO = ("s", "d", "heading", "pose", "speed", "drivers")
OTHERS = ("kind", "drivers", "speed", "d")


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """What a search found."""

    model: ScenarioModel
    unusual: tuple[str, ...]  # parameters that had to stay off their medians, in words


@dataclass(frozen=True)
class _Spot:
    """A parameter of a model: of the road, the ego or, by id, an actor; and its usual value."""

    place: str
    name: str
    usual: Any = None

    def get(self, model: ScenarioModel) -> Any:
        part = model.road if self.place == "road" else model.ego if self.place == "ego" else _actor(model, self.place)
        return getattr(part, self.name)

    def put(self, model: ScenarioModel, value: Any) -> ScenarioModel:
        if self.place == "road":
            return model.model_copy(update={"road": model.road.model_copy(update={self.name: value})})
        if self.place == "ego":
            return model.model_copy(update={"ego": model.ego.model_copy(update={self.name: value})})
        changes = {self.name: value} | ({"length": None, "width": None} if self.name == "kind" else {})
        actors = tuple(a.model_copy(update=changes) if a.id == self.place else a for a in model.actors)
        return model.model_copy(update={"actors": actors})


def shrink(original: Scenario, explicit: Scenario, seed: int, nearest: Sequence[str]) -> Search[ScenarioModel, Shrunk | None]:
    """The search for a small model that fails like `explicit`, one episode of `original` spelled out.

    nearest: ids of the actors, those first that came nearest to the ego. None if the episode does not even fail when spelled out.
    """
    fewer = yield from _fewer(explicit.model, nearest)
    if fewer is None:
        return None
    model = fewer
    if len(model.actors) > ENOUGH:  # where everything is usual, fewer may do
        plain = _usual(explicit.model, list(_unusual(explicit.model, original)))
        tries = [_only(plain, ids) for ids in _some(nearest) if 0 < len(ids) <= ENOUGH]
        first = yield tries
        model = model if first is None else tries[first]
    spots = list(_unusual(model, original))
    kept = yield from _mapped(ddmin(spots), model, spots)
    model = _usual(model, [spot for spot in spots if spot not in kept])
    numbers = (*_numbers(model, kept, explicit, seed), *_gaps(model, explicit, seed))
    for together in (numbers, *([spot] for spot in numbers if len(numbers) > 1)):
        model = yield from _towards(model, together)
    model = yield from _rounded(model)
    return Shrunk(model=model, unusual=tuple(_told(spot, model) for spot in kept))


def _only(model: ScenarioModel, ids: Sequence[str]) -> ScenarioModel:
    return model.model_copy(update={"actors": tuple(actor for actor in model.actors if actor.id in ids)})


def _some(nearest: Sequence[str]) -> list[tuple[str, ...]]:
    """Nobody, each of those nearest, each two of them, and then more and more."""
    singles, pairs = nearest[:ALONE], combinations(nearest[:IN_PAIRS], 2)
    return [(), *((one,) for one in singles), *pairs, *(tuple(nearest[:count]) for count in MORE if count < len(nearest))]


def _fewer(model: ScenarioModel, nearest: Sequence[str]) -> Search[ScenarioModel, ScenarioModel | None]:
    """With the others that it takes; None if it does not hold with all of them."""
    some = [*_some(nearest), tuple(nearest)]
    first = yield [_only(model, ids) for ids in some]
    if first is None:
        return None
    search = ddmin(some[first])
    try:
        wanted = next(search)
        while True:
            wanted = search.send((yield [_only(model, ids) for ids in wanted]))
    except StopIteration as end:
        return _only(model, end.value)


def _mapped(
    search: Search[tuple[_Spot, ...], tuple[_Spot, ...]], model: ScenarioModel, spots: Sequence[_Spot]
) -> Search[ScenarioModel, tuple[_Spot, ...]]:
    """A search over parameters that keep their values, as one over models in which the others have their usual ones."""
    try:
        wanted = next(search)
        while True:
            wanted = search.send((yield [_usual(model, [spot for spot in spots if spot not in kept]) for kept in wanted]))
    except StopIteration as end:
        found: tuple[_Spot, ...] = end.value
        return found


def _usual(model: ScenarioModel, spots: Sequence[_Spot]) -> ScenarioModel:
    for spot in spots:
        model = spot.put(model, spot.usual)
    return model


def _unusual(model: ScenarioModel, original: Scenario) -> Iterator[_Spot]:
    """Every parameter that is not the median of what `original` draws."""
    road, ego = median_road(original), median_ego(original)
    for name in type(model.road).model_fields:
        if getattr(model.road, name) != getattr(road, name):
            yield _Spot("road", name, getattr(road, name))
    drivers = _median(original, model.ego.kind)
    usual = {name: getattr(ego, name) for name in EGO} | {"drivers": drivers}
    if ego.lane != model.ego.lane:
        del usual["s"], usual["d"], usual["heading"]
    yield from (_Spot("ego", name, value) for name, value in usual.items() if getattr(model.ego, name) != value)
    for actor in model.actors:
        if actor.role == "static":
            continue
        mine = {"drivers": _median(original, actor.kind), "speed": None, "d": 0.0, "kind": "car" if actor.kind in HEAVY else actor.kind}
        yield from (_Spot(actor.id, name, mine[name]) for name in OTHERS if getattr(actor, name) != mine[name])


def _median(original: Scenario, kind: str) -> DriversModel:
    return DriversModel(**driver_tree(median_driver(original, Kind[kind.upper()])))


def _actor(model: ScenarioModel, name: str) -> ActorModel:
    return next(actor for actor in model.actors if actor.id == name)


# ---------------------------------------------------------------- magnitudes


def _numbers(model: ScenarioModel, kept: Sequence[_Spot], explicit: Scenario, seed: int) -> Iterator[_Spot]:
    """Those of the parameters that stayed that are numbers, with a number to move them to."""
    for spot in kept:
        usual = spot.usual
        if usual is None and spot.name == "speed":
            agent = _agent(spot.put(model, None), explicit, seed, spot.place)
            usual = None if agent is None else agent.speed
        if isinstance(usual, float) and isinstance(spot.get(model), float):
            yield _Spot(spot.place, spot.name, usual)


def _gaps(model: ScenarioModel, explicit: Scenario, seed: int) -> Iterator[_Spot]:
    """Places along the ego's lane of those that are nearer to it than the follower of the two would like."""
    ego = _agent(model, explicit, seed, "ego")
    for actor in model.actors:
        other = _agent(model, explicit, seed, actor.id)
        if ego is None or other is None or ego.lane is None or other.lane != ego.lane or other.enter_time > 0.0:
            continue
        ahead = other.s >= ego.s
        rear, front = (ego, other) if ahead else (other, ego)
        if rear.driver is None:
            continue
        wanted = safe_gap(rear.driver, rear.speed, front.speed) + 0.5 * (ego.length + other.length)
        if abs(other.s - ego.s) < wanted:
            yield _Spot(actor.id, "s", ego.s + (wanted if ahead else -wanted))


def _agent(model: ScenarioModel, explicit: Scenario, seed: int, name: str) -> AgentSpec | None:
    """The road user called so in the episode of a model; None where it cannot be laid out."""
    try:
        episode = sample(replace(explicit, model=model), seed)
    except ScenarioError:
        return None
    return next((agent for agent in episode.agents if agent.id == name), None)


def _towards(model: ScenarioModel, spots: Sequence[_Spot]) -> Search[ScenarioModel, ScenarioModel]:
    """The values of `spots` as near to the usual ones as they may be, all by the same share, to within `LEAST` of the way."""
    values = [spot.get(model) for spot in spots]

    def at(share: float) -> ScenarioModel:
        changed = model
        for spot, value in zip(spots, values, strict=True):
            changed = spot.put(changed, spot.usual + share * (value - spot.usual))
        return changed

    low, high = 0.0, 1.0  # holds at `high`
    while spots and high - low > LEAST:
        steps = [low + share * (high - low) for share in QUARTERS]
        first = yield [at(step) for step in steps]
        low, high = (steps[-1], high) if first is None else (steps[first - 1] if first else low, steps[first])
    return at(high) if high < 1.0 else model


def _rounded(model: ScenarioModel) -> Search[ScenarioModel, ScenarioModel]:
    """With numbers that people can read, where the failure allows it."""
    trials = []
    for digits in DIGITS:
        try:
            trials.append(load_text(text_of(_round(model, digits)), file=f"{model.name}.yaml").model)
        except ScenarioError:  # a rounded number left its bounds, or the road
            continue
    first = yield trials
    return model if first is None else trials[first]


def _round(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, list | tuple):
        return type(value)(_round(item, digits) for item in value)
    if hasattr(value, "model_copy"):
        names = [name for name in type(value).model_fields if name not in ("duration", "dt", "variants")]
        return value.model_copy(update={name: _round(getattr(value, name), digits) for name in names})
    return value


def _told(spot: _Spot, model: ScenarioModel) -> str:
    """'road ramp_length 123, usually 150'."""
    where = f"{spot.place} {spot.name}"
    if spot.name == "drivers" or spot.name == "pose":
        return f"{where} not the usual"
    usual = "as its driver likes" if spot.usual is None else _plain(spot.usual)
    return f"{where} {_plain(spot.get(model))}, usually {usual}"


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
