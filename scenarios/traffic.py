"""The other road users of an episode: flows of arriving vehicles, lanes filled at the start, bays taken by parked cars.

Everything is drawn from one generator in the order of the file, so an episode depends on the scenario and the seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from scenarios.distributions import draw
from scenarios.draws import Source, called
from scenarios.drivers import draw_driver, draw_kind
from scenarios.episode import AgentSpec, Role
from scenarios.graph import LaneGraph
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.network import Bay, LaneType
from scenarios.placement import Board, entry_speed, safe_gap, spot_speed
from scenarios.quantities import resolve
from scenarios.schema import BaysModel, DriversModel, FillModel, FlowModel, ScenarioModel

__all__ = ["add_traffic", "limit_agents"]

CRUISE = 20.0  # m/s, pace at which distance counts as time when it is decided who matters to the ego
TRIES = 6  # places tried for one of a `count`
MIN_ARRIVAL = 1.0  # s between two arrivals on a lane, plus the time to clear one's own length
Draws = dict[str, bool | float | str]


def add_traffic(board: Board, model: ScenarioModel, duration: float, rng: Source, drawn: Draws, *, goal_bay: str | None) -> None:
    """Place all of `model.traffic` on the board; who finds no room is left out. Rates, counts and shares go to `drawn`."""
    for index, source in enumerate(model.traffic):
        path = f"traffic[{index}]"
        if source.flow is not None:
            _flow(board, source.flow, model, duration, rng, drawn, f"{path}.flow")
        elif source.fill is not None:
            _fill(board, source.fill, model, rng, drawn, f"{path}.fill")
        elif source.bays is not None:
            _bays(board, source.bays, rng, drawn, f"{path}.bays", goal_bay)


def limit_agents(agents: list[AgentSpec], fixed: int, most: int) -> list[AgentSpec]:
    """At most `most` agents: the first `fixed` always, of the others those that can matter to the ego (agents[0]) first.

    Someone matters sooner the nearer it is and the earlier it appears; later entrants compete with those already there.
    """
    ego = agents[0]

    def due(agent: AgentSpec) -> float:
        return agent.enter_time + math.hypot(agent.x - ego.x, agent.y - ego.y) / CRUISE

    kept = sorted(range(fixed, len(agents)), key=lambda i: (due(agents[i]), i))[: max(0, most - fixed)]
    return [*agents[:fixed], *(agents[i] for i in sorted(kept))]


def _exponential(rng: Source, mean: float) -> float:
    """From one uniform number, so that the stream does not depend on numpy's own method."""
    return -math.log1p(-called(rng, "gap").random()) * mean


def _flow(board: Board, flow: FlowModel, model: ScenarioModel, duration: float, rng: Source, drawn: Draws, path: str) -> None:
    rate = resolve(flow.rate, rng, drawn, f"{path}.rate")
    start = resolve(flow.start, rng, drawn, f"{path}.start")
    if rate <= 0.0:
        return
    for lane in flow.lanes:
        if start:
            _under_way(board, lane, rate, flow, model, called(rng, f"{path}.{lane}.start"))
        later, time = called(rng, f"{path}.{lane}.later"), 0.0
        while True:
            agent = _vehicle(board.graph, lane, flow, model, later)
            gap = MIN_ARRIVAL + agent.length / max(agent.speed, 1.0)
            # a shifted exponential keeps the mean 1 / rate and the least distance in time
            time += gap + _exponential(later, max(1.0 / rate - gap, 0.0))
            if time >= duration:
                break
            s = agent.length / 2.0 + 0.1
            x, y, yaw = board.graph.pose(lane, s)
            board.add(replace(agent, s=s, x=x, y=y, yaw=yaw, enter_time=time))


def _under_way(board: Board, entry: str, rate: float, flow: FlowModel, model: ScenarioModel, rng: Source) -> None:
    """Vehicles of a flow that are on the road at time 0: from the entry lane on, at distances that fit rate and speed."""
    position, behind = 0.0, None
    for _ in range(256):
        agent = _vehicle(board.graph, entry, flow, model, rng)
        least = agent.length / 2.0
        if behind is not None and behind.driver is not None:
            least += behind.length / 2.0 + safe_gap(behind.driver, behind.speed, agent.speed)
        position += least + _exponential(rng, max(max(agent.speed, 0.5) / rate - least, 0.0))
        spot = _along(board.graph, entry, position, agent.destination)
        if spot is None:
            return
        # nobody starts inside a junction: whose turn it is there depends on the time before
        placed = None if board.graph.lanes[spot[0]].type == LaneType.JUNCTION else _settle(board, agent, *spot)
        if placed is not None:
            board.add(placed)
        behind = placed or behind


def _along(graph: LaneGraph, lane: str, position: float, destination: str | None) -> tuple[str, float] | None:
    """The place `position` m along the way from the start of a lane; None behind its end.

    The way ends where a lane change would be needed: half of that lane is left for it.
    """
    for _ in range(64):
        length = graph.length[lane]
        needs_change = graph.needs_change(lane, destination)
        if position <= (length / 2.0 if needs_change else length):
            return lane, position
        following = None if needs_change else graph.next(lane, destination)
        if following is None:
            return None
        position, lane = position - length, following
    return None


def _settle(board: Board, agent: AgentSpec, lane: str, s: float) -> AgentSpec | None:
    """The agent at (lane, s), slower if the place or the others ask for it; None if there is no room."""
    graph = board.graph
    assert agent.driver is not None
    margin = 0.0 if graph.lanes[lane].successors else agent.length / 2.0
    if not agent.length / 2.0 <= s <= graph.length[lane] - margin:
        return None
    x, y, yaw = graph.pose(lane, s, agent.d)
    speed = min(agent.speed, spot_speed(graph, lane, s, agent.driver, agent.length, agent.destination))
    for share in (1.0, 0.8, 0.6):  # a little slower may fit where full speed does not
        trial = replace(agent, lane=lane, s=s, x=x, y=y, yaw=yaw, speed=speed * share)
        if board.fits(trial):
            return trial
    return None


def _fill(board: Board, fill: FillModel, model: ScenarioModel, rng: Source, drawn: Draws, path: str) -> None:
    names = ("count", "spacing", "density", "begin", "end", "parked")
    fixed = {name: resolve(getattr(fill, name), rng, drawn, f"{path}.{name}") for name in names}
    spacing = fixed["spacing"]
    if fixed["density"] is not None:
        spacing = 1.0 / fixed["density"] if fixed["density"] > 0.0 else math.inf
    for lane in fill.lanes:
        named, length = called(rng, f"{path}.{lane}"), board.graph.length[lane]
        begin, end = min(fixed["begin"], length), length if fixed["end"] is None else min(fixed["end"], length)
        for low, high in _stretches(begin, end, fixed["count"], spacing, called(named, "spacing")):
            agent = replace(_vehicle(board.graph, lane, fill, model, named), d=draw(fill.d, called(named, "d")))
            for _ in range(TRIES if high > low else 1):
                s = low + called(named, "s").random() * (high - low)
                placed = _park(board, agent, lane, s) if fixed["parked"] else _settle(board, agent, lane, s)
                if placed is not None:
                    board.add(placed)
                    break


def _park(board: Board, agent: AgentSpec, lane: str, s: float) -> AgentSpec | None:
    """The agent standing at (lane, s) for good; None if there is no room."""
    x, y, yaw = board.graph.pose(lane, s, agent.d)
    parked = replace(agent, role=Role.STATIC, lane=lane, s=s, x=x, y=y, yaw=yaw, speed=0.0, driver=None, destination=None)
    return parked if board.overlaps(parked) is None else None


def _stretches(begin: float, end: float, count: int | None, spacing: float | None, rng: Source) -> Iterator[tuple[float, float]]:
    """Where one vehicle each goes: `count` equal parts from begin to end, or points about every `spacing` m."""
    if count is not None:
        part = (end - begin) / max(count, 1)
        yield from ((begin + i * part, begin + (i + 1) * part) for i in range(count))
        return
    assert spacing is not None
    s = begin + rng.random() * spacing
    while s <= end:  # never with an infinite spacing
        yield s, s
        s += spacing * (0.8 + 0.4 * rng.random())  # evenly enough to be a spacing, uneven enough not to be a pattern


def _vehicle(graph: LaneGraph, lane: str, source: FlowModel | FillModel, model: ScenarioModel, rng: Source) -> AgentSpec:
    """A vehicle of a source with its driver, destination and speed drawn; not yet placed."""
    kind = draw_kind(rng, source.mix or model.mix)
    driver = draw_driver(called(rng, "driver"), kind, *layers(kind, model.drivers), source.drivers)
    destination = draw(source.destination, called(rng, "destination"))
    wanted = entry_speed(graph, lane, driver)
    speed = draw(source.speed, called(rng, "speed"))
    # under way people are a little slower than they would like
    speed = wanted * (0.9 + 0.1 * called(rng, "speed").random()) if speed is None else min(speed, KIND_SPECS[kind].speed_max)
    spec = KIND_SPECS[kind]
    return AgentSpec(
        kind=kind, role=Role.IDM, length=spec.length, width=spec.width, wheelbase=spec.wheelbase, lane=lane, speed=speed,
        destination=destination, driver=driver,
    )  # fmt: skip


def layers(kind: Kind, drivers: DriversModel) -> tuple[DriversModel, ...]:
    """The scenario's drivers apply to those who drive; walkers and cyclists keep their own ways unless their source says otherwise."""
    return () if kind in (Kind.PEDESTRIAN, Kind.BICYCLE) else (drivers,)


def _bays(board: Board, model: BaysModel, rng: Source, drawn: Draws, path: str, goal_bay: str | None) -> None:
    occupancy = resolve(model.occupancy, rng, drawn, f"{path}.occupancy")
    for bay in board.graph.network.bays:
        # the same draws for every bay, taken or not
        u, nudge, turn, reverse = (called(rng, f"{path}.{bay.id}.{what}").random() for what in ("taken", "nudge", "turn", "reverse"))
        if bay.id == goal_bay or (model.only is not None and bay.id not in model.only) or u >= occupancy:
            continue
        parked = _parked(bay, nudge, turn, reverse < 0.5)
        if board.overlaps(parked, 0.05) is None:
            board.add(parked)


def _parked(bay: Bay, nudge: float, turn: float, reverse: bool) -> AgentSpec:
    """A car in a bay, not quite straight, either way round."""
    spec = KIND_SPECS[Kind.CAR]
    along = (nudge - 0.5) * max(0.0, min(0.5, bay.length - spec.length))
    yaw = bay.yaw + (turn - 0.5) * 0.06 + (math.pi if reverse else 0.0)  # 0.06 rad: within 2 degrees
    yaw = math.atan2(math.sin(yaw), math.cos(yaw))
    return AgentSpec(
        kind=Kind.CAR, role=Role.STATIC, id=f"parked_{bay.id}", length=spec.length, width=spec.width, wheelbase=spec.wheelbase,
        x=bay.x + along * math.cos(bay.yaw), y=bay.y + along * math.sin(bay.yaw), yaw=yaw,
    )  # fmt: skip
