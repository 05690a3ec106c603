"""(scenario, seed) -> one concrete episode.

The generator is numpy's Philox keyed by the hash of the scenario's content and the seed: no global state, equal input, equal
episode. The order of the draws is: duration, road variant, ego, actors, traffic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scenarios.draws import NamedDraws, Source, called
from scenarios.drivers import draw_driver
from scenarios.episode import Action, AgentSpec, Episode, Goal, Region, Role, Script, Trigger
from scenarios.graph import LaneGraph
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.loader import Scenario
from scenarios.network import Bay
from scenarios.networks import Place, generator, map_count, place, recording
from scenarios.placement import Board, entry_speed, spot_speed
from scenarios.quantities import resolve
from scenarios.schema import ActorModel, BayGoalModel, EgoModel, GoalModel, ScriptModel
from scenarios.traffic import add_traffic, layers, limit_agents

__all__ = ["LEFT_OUT", "sample"]

ATTEMPTS = 20  # draws of ego and actors before giving up on finding room for all
BRAKE = 4.0  # m/s^2, scripted braking unless the file says otherwise: firm, half of what tyres can do
LEFT_OUT = "max_agents.left_out"  # in Episode.drawn: how many road users found no slot; absent if all did
Draws = dict[str, bool | float | str]


def sample(scenario: Scenario, seed: int, *, draws: Mapping[str, float] | None = None, used: dict[str, float] | None = None) -> Episode:
    """Draw one episode.

    Equal (scenario content, seed) give equal episodes in every process. Road networks are shared between episodes: equal
    `network_key`, same object. The ego is agents[0]; nobody's box overlaps another's at time 0, and gaps are comfortable.
    Where more are drawn than `max_agents`, the nearest and earliest are kept and `drawn[LEFT_OUT]` counts the others.
    draws: numbers in [0, 1) to take instead of the seed's, by name (`scenarios.draws`). used: gets all numbers of the episode by name.
    Raises ScenarioError where this draw cannot be laid out, ValueError for a seed below 0 or a number outside [0, 1).
    """
    if seed < 0:
        raise ValueError(f"seed={seed}: must be 0 or more")
    model = scenario.model
    rng = NamedDraws(generator(scenario.digest, seed), draws)
    if used is not None:
        rng.used = used
    drawn: Draws = {}
    duration = resolve(model.duration, rng, drawn, "duration")
    where = place(scenario, min(int(called(rng, "road").random() * map_count(scenario)), map_count(scenario) - 1))
    drawn |= where.drawn
    board, goal, goal_bay = _cast(scenario, where, rng, drawn)
    fixed = len(board.agents)
    dt = model.dt
    if model.recorded is not None:
        where, recorded, dt = recording(scenario, where)
        for agent in recorded:
            board.add(agent)
        fixed = len(board.agents)
    add_traffic(board, model, duration, rng, drawn, goal_bay=goal_bay)
    if fixed > 64:
        raise scenario.error(("actors",), f"expected at most 64 road users, the ego included; here are {fixed}", value="")
    agents = limit_agents(board.agents, fixed, model.max_agents)
    if len(agents) < len(board.agents):
        drawn[LEFT_OUT] = float(len(board.agents) - len(agents))
    return Episode(
        scenario=scenario.id,
        seed=seed,
        duration=duration,
        dt=dt,
        network=where.network,
        network_key=where.key,
        agents=tuple(_named(agents)),
        goal=goal,
        drawn=drawn,
    )


def _cast(scenario: Scenario, where: Place, rng: Source, drawn: Draws) -> tuple[Board, Goal, str | None]:
    """A board with the ego and the actors, drawn anew while they stand in each other's way; the goal, and its bay if it is one."""
    model, last = scenario.model, ""
    for _ in range(ATTEMPTS):
        draws: Draws = {}
        board = Board(where.graph)
        ego = model.ego.resolve(rng, draws, "ego")
        bay = _bay(scenario, where, ego.goal.bay, rng, draws)
        spec = _ego(scenario, where.graph, ego, rng)
        board.add(spec)
        last = ""
        for index, actor in enumerate(model.actors):
            resolved = actor.resolve(rng, draws, f"actors[{index}]")
            present = called(rng, f"actors[{index}].present").random() < resolved.chance
            placed = _actor(scenario, where.graph, resolved, index, spec, rng)
            if not present:
                continue
            other = board.overlaps(placed, 0.0) if placed.enter_time == 0.0 else None
            if other is not None:
                last = f"actor '{actor.id}' stands in '{other.id or other.kind.name.lower()}'"
                break
            board.add(placed)
        if not last:
            drawn |= draws
            return board, _goal(ego.goal, bay, spec), bay.id if bay is not None else None
    raise scenario.error(("actors",), f"found no room in {ATTEMPTS} draws: {last}", value="", hint="keep their places further apart")


def _ego(scenario: Scenario, graph: LaneGraph, ego: EgoModel, rng: Source) -> AgentSpec:
    kind = Kind[ego.kind.upper()]
    spec = KIND_SPECS[kind]
    driver = draw_driver(
        called(rng, "ego.driver"), kind, *layers(kind, scenario.model.drivers), ego.drivers, desired_speed=ego.desired_speed
    )
    common: dict[str, Any] = {
        "kind": kind, "role": Role.LEARNER, "id": "ego", "length": spec.length, "width": spec.width, "wheelbase": spec.wheelbase,
        "speed": min(ego.speed, spec.speed_max), "destination": ego.goal.destination, "driver": driver,
    }  # fmt: skip
    if ego.pose is not None:
        return AgentSpec(x=ego.pose.x, y=ego.pose.y, yaw=_wrap(ego.pose.heading), **common)
    assert ego.lane is not None
    _require_on_lane(scenario, graph, ego.lane, ego.s, ("ego", "s"))
    x, y, along = graph.pose(ego.lane, ego.s, ego.d)
    yaw = along if ego.heading is None else _wrap(ego.heading)
    return AgentSpec(lane=ego.lane, s=ego.s, d=ego.d, x=x, y=y, yaw=yaw, **common)


def _actor(scenario: Scenario, graph: LaneGraph, actor: ActorModel, index: int, ego: AgentSpec, rng: Source) -> AgentSpec:
    kind = Kind[actor.kind.upper()]
    spec = KIND_SPECS[kind]
    static = actor.role == "static"
    named = called(rng, f"actors[{index}].driver")
    driver = draw_driver(named, kind, *layers(kind, scenario.model.drivers), actor.drivers, desired_speed=actor.desired_speed)
    common: dict[str, Any] = {
        "kind": kind, "role": Role.STATIC if static else Role.IDM, "id": actor.id, "length": actor.length or spec.length,
        "width": actor.width or spec.width, "wheelbase": spec.wheelbase, "destination": actor.destination,
        "enter_time": actor.enter_time, "driver": None if static else driver, "script": _script(actor.script),
    }  # fmt: skip
    if actor.pose is not None:
        return AgentSpec(x=actor.pose.x, y=actor.pose.y, yaw=_wrap(actor.pose.heading), **common)
    if actor.s is not None:
        assert actor.lane is not None
        lane, s = actor.lane, actor.s
        _require_on_lane(scenario, graph, lane, s, ("actors", index, "s"))
    else:
        lane, s = _relative(scenario, graph, actor, index, ego)
    x, y, yaw = graph.pose(lane, s, actor.d)
    waits = actor.script is not None and actor.script.do == "go"
    if static or waits:
        speed = 0.0
    elif actor.speed is not None:
        speed = min(actor.speed, spec.speed_max)
    else:
        speed = min(entry_speed(graph, lane, driver), spot_speed(graph, lane, s, driver, common["length"], actor.destination))
    return AgentSpec(lane=lane, s=s, d=actor.d, x=x, y=y, yaw=yaw, speed=speed, **common)


def _relative(scenario: Scenario, graph: LaneGraph, actor: ActorModel, index: int, ego: AgentSpec) -> tuple[str, float]:
    """(lane, s) of an actor `ahead` of the ego: that far along the ego's way, then across to the actor's lane."""
    assert actor.ahead is not None
    at = ("actors", index, "ahead")
    if ego.lane is None:
        raise scenario.error(at, "expected an ego on a lane; this one stands at a pose", hint="give the actor a lane and s")
    lane, s = ego.lane, ego.s + actor.ahead
    while s > graph.length[lane]:
        following = graph.next(lane, ego.destination)
        if following is None:
            raise scenario.error(at, f"expected a place on the road; it ends {s - graph.length[lane]:.0f} m before")
        lane, s = following, s - graph.length[lane]
    while s < 0.0:
        earlier = graph.before[lane]
        if not earlier:
            raise scenario.error(at, f"expected a place on the road; it begins {-s:.0f} m further on")
        lane, s = earlier[0], s + graph.length[earlier[0]]
    if actor.lane is None or actor.lane == lane:
        return lane, s
    x, y, _ = graph.pose(lane, s)
    across, distance = graph.project(actor.lane, x, y)
    if distance > 30.0:
        raise scenario.error(at, f"expected a place beside the ego's way; lane '{actor.lane}' is {distance:.0f} m away there")
    return actor.lane, across


_TRIGGERS = {"time": Trigger.TIME, "distance": Trigger.DISTANCE, "ahead": Trigger.AHEAD, "ttc": Trigger.TTC}


def _script(script: ScriptModel | None) -> Script | None:
    if script is None:
        return None
    name, value = next((n, v) for n in _TRIGGERS if (v := getattr(script.when, n)) is not None)
    magnitude = {"brake": script.decel if script.decel is not None else BRAKE, "speed": script.to or 0.0}.get(script.do, 0.0)
    return Script(
        trigger=_TRIGGERS[name],
        value=value,
        action=Action[script.do.upper()],
        magnitude=magnitude,
        until=script.until or 0.0,
        reckless=script.reckless,
    )


def _bay(scenario: Scenario, where: Place, goal: BayGoalModel | None, rng: Source, drawn: Draws) -> Bay | None:
    """The bay meant by the goal, `any` drawn."""
    if goal is None:
        return None
    bays = {bay.id: bay for bay in where.network.bays}
    if goal.id != "any":
        if goal.id not in bays:
            raise scenario.error(("ego", "goal", "bay", "id"), f"expected a bay of this road; known: {', '.join(bays)}")
        return bays[goal.id]
    chosen = list(bays.values())[min(int(called(rng, "ego.goal.bay.id").random() * len(bays)), len(bays) - 1)]
    drawn["ego.goal.bay.id"] = chosen.id
    return chosen


def _goal(goal: GoalModel, bay: Bay | None, ego: AgentSpec) -> Goal:
    window: dict[str, Any] = {"time_min": goal.time_min, "time_max": math.inf if goal.time_max is None else goal.time_max}
    if goal.region is not None:
        r = goal.region
        heading = r.yaw if r.heading is None else r.heading
        low, high = (-math.inf if r.speed_min is None else r.speed_min), (math.inf if r.speed_max is None else r.speed_max)
        region = Region(
            x=r.x,
            y=r.y,
            yaw=r.yaw,
            length=r.length,
            width=r.width,
            heading=heading,
            heading_tolerance=r.heading_tolerance,
            speed_min=low,
            speed_max=high,
        )
        return Goal(destination=goal.destination, region=region, **window)
    if bay is not None and goal.bay is not None:
        slack = goal.bay.slack
        region = Region(
            x=bay.x, y=bay.y, yaw=bay.yaw, heading=bay.yaw, heading_tolerance=goal.bay.heading_tolerance,
            length=max(bay.length - ego.length, 0.0) + 2.0 * slack, width=max(bay.width - ego.width, 0.0) + 2.0 * slack,
            speed_min=-goal.bay.speed_max, speed_max=goal.bay.speed_max,
        )  # fmt: skip
        return Goal(destination=goal.destination, region=region, **window)
    return Goal(destination=goal.destination, **window)


def _require_on_lane(scenario: Scenario, graph: LaneGraph, lane: str, s: float, path: tuple[str | int, ...]) -> None:
    if s > graph.length[lane]:
        raise scenario.error(
            path,
            f"expected a place on lane '{lane}', which is {graph.length[lane]:.1f} m long in this variant of the road; drawn: {s:.1f} m",
        )


def _named(agents: list[AgentSpec]) -> list[AgentSpec]:
    """Agents with unique ids: nameless ones get their kind and slot."""
    return [agent if agent.id else replace(agent, id=f"{agent.kind.name.lower()}_{slot}") for slot, agent in enumerate(agents)]


def _wrap(angle: float) -> float:
    return math.atan2(math.sin(angle), math.cos(angle))
