"""What can only be checked against the road: do lanes and destinations exist, do places lie on them, can the goal be reached in time,
and do those who are drawn fit into an episode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from scenarios.distributions import Choice, bounds
from scenarios.errors import Problem, ScenarioError, did_you_mean
from scenarios.graph import LaneGraph
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.loader import Scenario, load
from scenarios.network import LaneType
from scenarios.networks import map_count, place, recording
from scenarios.schema import ActorModel, FileRoad, MixModel
from scenarios.translate import problem_at

__all__ = ["check", "crowded", "family", "problems_on"]

Path = tuple[str | int, ...]
Report = Callable[..., None]


def check(scenario: Scenario, *, seeds: int = 3) -> list[Problem]:
    """Everything `load` leaves out: all variants of the file, on all variants of their roads, and a few samples of each."""
    from scenarios.sampling import sample

    problems: list[Problem] = []
    for one in family(scenario):
        try:
            for index in range(map_count(one)):
                problems += problems_on(one, index)
            for seed in range(0 if problems else seeds):
                sample(one, seed)
        except ScenarioError as error:
            problems += error.problems
    return list(dict.fromkeys(problems))


def crowded(scenario: Scenario, *, seeds: int = 20) -> list[str]:
    """Warnings, one per variant whose episodes often (more than 1 of 10) draw more road users than `max_agents` holds.

    The surplus never shows up: first those who would enter last, so that traffic dries up while the episode still runs.
    """
    from scenarios.sampling import LEFT_OUT, sample

    told = []
    for one in family(scenario):
        surplus = [float(sample(one, seed).drawn.get(LEFT_OUT, 0.0)) for seed in range(seeds)]
        many = [number for number in surplus if number]
        if len(many) > 0.1 * seeds:
            told.append(
                f"{one.id}: {len(many)} of {seeds} trial episodes draw more road users than max_agents={one.model.max_agents} holds; "
                f"{sum(many) / len(many):.0f} of them on average never appear. Raise max_agents (at most 64), or lower rates or duration"
            )
    return told


def family(scenario: Scenario) -> list[Scenario]:
    """The scenario as the file stands and each of its variants; itself alone where it does not come from a file."""
    if scenario.folder is None:
        return [scenario]
    base = scenario.folder / scenario.file.rsplit("/", 1)[-1]
    return [load(base, variant) for variant in (None, *scenario.variants)]


def problems_on(scenario: Scenario, index: int) -> list[Problem]:
    """What is wrong with a scenario on variant `index` of its road."""
    problems: list[Problem] = []

    def report(path: Path, expected: str, *, value: str | None = None, hint: str = "") -> None:
        problems.append(problem_at(scenario.root, scenario.file, path, expected, value=value, hint=hint))

    try:
        where = place(scenario, index)
        if scenario.model.recorded is not None:
            where, _, _ = recording(scenario, where)
    except ScenarioError as error:
        return list(error.problems)
    _check_ego(scenario, where.graph, report)
    _check_traffic(scenario, where.graph, report)
    _check_actors(scenario, where.graph, report)
    if isinstance(scenario.model.road, FileRoad) and scenario.model.maps != 1 and "maps" in scenario.model.model_fields_set:
        report(("maps",), "expected no 'maps' beside a road from a file: there is only one")
    return problems


def _options(value: Any, path: Path) -> Iterator[tuple[str, Path]]:
    """The names that a field can take, each with its path."""
    if isinstance(value, Choice):
        yield from ((name, (*path, "choice", i)) for i, name in enumerate(value.values))
    elif value is not None:
        yield value, path


def _known_lanes(graph: LaneGraph, names: Iterable[tuple[str, Path]], report: Report, *, walkers: bool = False) -> list[tuple[str, Path]]:
    """Those of the names that are lanes on which one may start; the others are reported."""
    good = []
    for name, path in names:
        if name not in graph.lanes:
            usable = [lane.id for lane in graph.lanes.values() if (lane.type == LaneType.WALKWAY) == walkers]
            few = f"{', '.join(usable[:12])}{', …' if len(usable) > 12 else ''}"
            report(path, "expected a lane of this road", hint=did_you_mean(name, graph.lanes) or f"known: {few}")
        elif graph.lanes[name].type == LaneType.WALKWAY and not walkers:
            report(
                path,
                "expected a lane for vehicles; this is a walkway",
                hint="for walkers, say mix: {pedestrian: 1} (actors: kind: pedestrian)",
            )
        elif graph.lanes[name].type == LaneType.OVERTAKE:
            report(path, "expected a lane to start on; this one is only for overtaking", hint="start on the lane beside it")
        else:
            good.append((name, path))
    return good


def _check_destination(graph: LaneGraph, value: Any, path: Path, lanes: Iterable[str], report: Report) -> None:
    """Known, and reachable from every lane."""
    known = graph.network.destinations
    for name, at in _options(value, path):
        if name not in known:
            report(at, "expected a destination of this road", hint=did_you_mean(name, known) or "known: " + ", ".join(known))
            continue
        for lane in lanes:
            if lane not in graph.to_go(name):
                reachable = [other for other in known if lane in graph.to_go(other)]
                report(
                    at,
                    f"expected a destination that can be reached from lane '{lane}'",
                    hint="from there: " + (", ".join(reachable) or "none"),
                )


def _check_s(graph: LaneGraph, value: Any, lanes: Iterable[str], path: Path, report: Report) -> None:
    for lane in lanes:
        if bounds(value)[1] > graph.length[lane] + 1e-6:
            report(path, f"expected a place on lane '{lane}', which is {graph.length[lane]:.1f} m long")


def _check_ego(scenario: Scenario, graph: LaneGraph, report: Report) -> None:
    model, ego = scenario.model, scenario.model.ego
    kinds = [Kind[name.upper()] for name, _ in _options(ego.kind, ("ego", "kind"))]
    lanes = [lane for lane, _ in _known_lanes(graph, _options(ego.lane, ("ego", "lane")), report, walkers=kinds == [Kind.PEDESTRIAN])]
    _check_s(graph, ego.s, lanes, ("ego", "s"), report)
    fastest = min(KIND_SPECS[kind].speed_max for kind in kinds)
    if bounds(ego.speed)[1] > fastest:
        report(("ego", "speed"), f"expected at most {fastest:g} m/s for this kind")
    slowest = -min(KIND_SPECS[kind].reverse_max for kind in kinds)
    if bounds(ego.speed)[0] < slowest:
        report(("ego", "speed"), f"expected at least {slowest:g} m/s for this kind")
    goal = ego.goal
    _check_destination(graph, goal.destination, ("ego", "goal", "destination"), lanes, report)
    if bounds(goal.time_min)[0] > bounds(model.duration)[1]:
        report(("ego", "goal", "time_min"), f"expected a time within the duration of {bounds(model.duration)[1]:g} s")
    if goal.bay is not None:
        _check_bays(graph, _options(goal.bay.id, ("ego", "goal", "bay", "id")), report, extra=("any",), at=("ego", "goal", "bay"))
    _check_time(scenario, graph, lanes, report)


def _check_time(scenario: Scenario, graph: LaneGraph, lanes: list[str], report: Report) -> None:
    """Whether the ego can arrive before the end, even if it drives half as fast again as the road's highest limit."""
    model, ego = scenario.model, scenario.model.ego
    fastest = 1.5 * max(lane.speed_limit for lane in graph.lanes.values())
    for name, at in _options(ego.goal.destination, ("ego", "goal", "destination")):
        if name not in graph.network.destinations:
            continue
        distances = [graph.remaining(lane, bounds(ego.s)[0], name) for lane in lanes]
        far = max((d for d in distances if math.isfinite(d)), default=0.0)
        seconds = min(bounds(model.duration)[1], math.inf if ego.goal.time_max is None else bounds(ego.goal.time_max)[1])
        if far / fastest > seconds:
            report(
                at,
                f"expected a goal that can be reached in {seconds:g} s; it is {far:.0f} m away",
                hint=f"allow at least {far / fastest * 2.0:.0f} s",
            )


def _check_bays(graph: LaneGraph, names: Iterable[tuple[str, Path]], report: Report, *, extra: tuple[str, ...], at: Path) -> None:
    known = [bay.id for bay in graph.network.bays]
    if not known:
        report(at, "expected a road with parking bays; this one has none", value="")
        return
    for name, path in names:
        if name not in known and name not in extra:
            few = f"{', '.join((*extra, *known)[:10])}{', …' if len(known) > 10 else ''}"
            report(path, "expected a bay of this road", hint=did_you_mean(name, (*extra, *known)) or f"known: {few}")


def _walkers(mix: MixModel) -> bool:
    """Whether a mix has walkers and nobody else."""
    return mix.pedestrian > 0.0 and sum(mix.weights()) == mix.pedestrian


def _check_traffic(scenario: Scenario, graph: LaneGraph, report: Report) -> None:
    for index, source in enumerate(scenario.model.traffic):
        if source.bays is not None:
            names = [(name, ("traffic", index, "bays", "only", i)) for i, name in enumerate(source.bays.only or ())]
            _check_bays(graph, names, report, extra=(), at=("traffic", index, "bays"))
        for kind in ("flow", "fill"):
            part = getattr(source, kind)
            if part is None:
                continue
            path: Path = ("traffic", index, kind)
            named = [(name, (*path, "lanes", i)) for i, name in enumerate(part.lanes)]
            lanes = [lane for lane, _ in _known_lanes(graph, named, report, walkers=_walkers(part.mix or scenario.model.mix))]
            _check_destination(graph, part.destination, (*path, "destination"), lanes, report)
            if kind == "fill":
                _check_s(graph, part.begin, lanes, (*path, "begin"), report)
                if part.end is not None:
                    _check_s(graph, part.end, lanes, (*path, "end"), report)


def _check_actors(scenario: Scenario, graph: LaneGraph, report: Report) -> None:
    model = scenario.model
    seen: dict[str, int] = {"ego": -1}
    for index, actor in enumerate(model.actors):
        path: Path = ("actors", index)
        if actor.id in seen:
            report((*path, "id"), "expected an id of its own; another road user has this one")
        seen[actor.id] = index
        _check_actor(scenario, graph, actor, path, report)
    if 1 + len(model.actors) > model.max_agents:
        report(("max_agents",), f"expected room for the ego and {len(model.actors)} actors")


def _check_actor(scenario: Scenario, graph: LaneGraph, actor: ActorModel, path: Path, report: Report) -> None:
    kinds = [Kind[name.upper()] for name, _ in _options(actor.kind, (*path, "kind"))]
    walkers = kinds == [Kind.PEDESTRIAN]
    named = list(_options(actor.lane, (*path, "lane")))
    lanes = [lane for lane, _ in _known_lanes(graph, named, report, walkers=walkers)]
    if actor.s is not None:
        _check_s(graph, actor.s, lanes, (*path, "s"), report)
    if actor.ahead is not None:
        if scenario.model.ego.lane is None:
            report((*path, "ahead"), "expected an ego on a lane; this one stands at a pose", hint="give the actor a lane and s")
        if actor.lane is None:
            lanes = [lane for lane, _ in _options(scenario.model.ego.lane, path) if lane in graph.lanes]
    if actor.speed is not None and bounds(actor.speed)[1] > min(KIND_SPECS[kind].speed_max for kind in kinds):
        report((*path, "speed"), f"expected at most {min(KIND_SPECS[kind].speed_max for kind in kinds):g} m/s for this kind")
    if bounds(actor.enter_time)[0] >= bounds(scenario.model.duration)[1]:
        report((*path, "enter_time"), f"expected a time within the duration of {bounds(scenario.model.duration)[1]:g} s")
    if actor.role == "static":
        for key in ("script", "destination", "desired_speed", "drivers", "speed"):
            if getattr(actor, key) is not None:
                report((*path, key), f"expected no '{key}' for a static actor", value="", hint="delete it, or say role: idm")
        return
    _check_destination(graph, actor.destination, (*path, "destination"), lanes, report)
    if actor.script is not None and actor.s is not None:
        for action, _ in _options(actor.script.do, (*path, "script", "do")):
            side = {"change_left": "left", "change_right": "right"}.get(action)
            if side is not None and not any(getattr(graph.lanes[lane], side) for lane in _onward(graph, lanes)):
                report(
                    (*path, "script", "do"),
                    f"expected a lane on the {side} of where the actor drives",
                    hint=f"lane '{', '.join(lanes)}' has none there",
                )


def _onward(graph: LaneGraph, lanes: Iterable[str]) -> list[str]:
    """The lanes and what follows them within a kilometre."""
    return [other for lane in lanes for other, _ in graph.ahead(lane, 1000.0)]
