"""Routes against shortest paths of networkx, and against walking them."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from envs.driving.routing import CHANGE_COST, SAME, destination_index, lane_lengths, routes
from scenarios.network import Lane, LaneEnd, RoadNetwork
from scenarios.roads import ROADS

CASES = [(kind, {}) for kind in ROADS if kind != "custom"] + [("junction", {"lanes": 2}), ("exit", {"lanes": 4, "curvature": 0.001})]


def goals_of(network: RoadNetwork, name: str | None) -> tuple[tuple[str, float], ...]:
    return tuple((lane.id, np.inf) for lane in network.lanes if lane.end == LaneEnd.EXIT) if name is None else network.destinations[name]


def shortest(network: RoadNetwork, name: str | None) -> dict[str, float]:
    """Cost from the start of each lane, by networkx, with CHANGE_COST for each lane change."""
    length = {lane.id: float(value) for lane, value in zip(network.lanes, lane_lengths(network), strict=True)}
    graph = nx.DiGraph()
    for lane in network.lanes:
        for after in lane.successors:
            graph.add_edge(after, lane.id, weight=length[lane.id])
        for beside in (lane.left, lane.right):
            if beside is not None:
                graph.add_edge(beside, lane.id, weight=CHANGE_COST + length[lane.id] - length[beside])
    for lane_id, s in goals_of(network, name):
        graph.add_edge("goal", lane_id, weight=min(s, length[lane_id]))
    return nx.single_source_dijkstra_path_length(graph, "goal") if "goal" in graph else {}


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_routes_are_the_shortest(kind: str, options: dict[str, float]) -> None:
    network = ROADS[kind](**options).build()
    tables, lengths = routes(network), lane_lengths(network)
    ids = [lane.id for lane in network.lanes]
    names: list[str | None] = [*network.destinations]
    if any(lane.end == LaneEnd.EXIT for lane in network.lanes):
        names.append(None)
    for name in names:
        g = destination_index(network, name)
        best = shortest(network, name)
        goals: dict[int, float] = {}
        for lane_id, s in goals_of(network, name):
            goals[ids.index(lane_id)] = min(s, lengths[ids.index(lane_id)])
        for start, lane_id in enumerate(ids):
            assert np.isfinite(tables.to_go[g, start]) == (lane_id in best), (name, lane_id)
            if lane_id not in best:
                continue
            lane, metres, changes = start, 0.0, 0
            for _ in range(200):  # walk
                if lane in goals:
                    metres += goals[lane]
                    break
                sign = tables.change[g, lane]
                if sign:
                    beside = network.lanes[lane].left if sign > 0 else network.lanes[lane].right
                    assert beside is not None
                    metres += lengths[lane] - lengths[ids.index(beside)]
                    lane, changes = ids.index(beside), changes + 1
                else:
                    metres += lengths[lane]
                    assert ids[tables.next_lane[g, lane]] in network.lanes[lane].successors
                    lane = int(tables.next_lane[g, lane])
            else:
                pytest.fail(f"{lane_id}: the route to {name} does not arrive")
            assert tables.to_go[g, start] == pytest.approx(metres, abs=1e-6)
            assert metres + changes * CHANGE_COST <= best[lane_id] + SAME
            assert changes == round((best[lane_id] - metres) / CHANGE_COST)  # never a lane change too many


def lane(id: str, x0: float, x1: float, y: float = 0.0, **fields: object) -> Lane:
    return Lane(id=id, centre=np.array([[x0, y], [x1, y]]), speed_limit=10.0, **fields)  # type: ignore[arg-type]


def test_goal_inside_a_lane_counts_from_its_start() -> None:
    lanes = (lane("a", 0, 100, successors=("b",)), lane("b", 100, 200, end=LaneEnd.EXIT))
    network = RoadNetwork(lanes=lanes, destinations={"halfway": (("b", 50.0),)})
    tables = routes(network)
    assert tables.to_go.tolist() == [[200.0, 100.0], [150.0, 50.0]]
    assert tables.next_lane[1].tolist() == [1, -1]


def test_lane_change_before_the_end_of_a_blocked_lane() -> None:
    network = ROADS["merge"]().build()
    ids = [lane.id for lane in network.lanes]
    tables = routes(network)
    g = destination_index(network, "through")
    accel, ramp = ids.index("accel.0"), ids.index("ramp.0")
    assert tables.change[g, accel] == 1
    assert tables.change[g, ramp] == 0
    assert tables.to_go[g, accel] == pytest.approx(220.0 + 300.0)
    assert tables.to_go[g, ramp] == pytest.approx(160.0 + 520.0)
    assert (tables.change[g, [i for i, name in enumerate(ids) if name.startswith(("in", "main", "out"))]] == 0).all()


def test_exit_needs_changes_to_the_right_at_once() -> None:
    network = ROADS["exit"](lanes=3).build()
    ids = [lane.id for lane in network.lanes]
    tables = routes(network)
    g = destination_index(network, "exit")
    change = {name: int(tables.change[g, i]) for i, name in enumerate(ids)}
    assert change["in.2"] == change["in.1"] == -1
    assert change["in.0"] == 0
    assert change["main.2"] == change["main.1"] == change["main.0"] == -1
    assert change["decel.0"] == 0
    assert all(np.isinf(tables.to_go[g, ids.index(f"out.{i}")]) for i in range(3))


def test_overtaking_lane_leads_back() -> None:
    network = ROADS["two_way"]().build()
    ids = [lane.id for lane in network.lanes]
    tables = routes(network)
    for g in (0, 1):
        assert tables.change[g, ids.index("pass.0")] == -1
        assert tables.change[g, ids.index("main.0")] == 0
    assert np.isinf(tables.to_go[1, ids.index("oncoming.0")])


def test_loop_has_no_exits_and_one_lap() -> None:
    network = ROADS["loop"](lanes=1, length=600.0).build()
    tables = routes(network)
    assert (tables.to_go[0] == 0.0).all()
    assert (tables.change == 0).all()
    assert tables.to_go[1, 0] == pytest.approx(600.0, abs=0.1)
    assert tables.to_go[2, 6] == pytest.approx(600.0, abs=0.1)  # just past `half`: once round


def test_one_lane_change_is_preferred_to_two() -> None:
    # from b0, the goal is reached by changing once late on a long way, or twice on a short one
    lanes = (
        lane("a0", 0, 100, y=0.0, left="a1", successors=("long",)),
        lane("a1", 0, 100, y=3.5, right="a0", left="a2"),
        lane("a2", 0, 100, y=7.0, right="a1", successors=("short",)),
        lane("long", 100, 700, y=0.0, end=LaneEnd.EXIT),
        lane("short", 100, 200, y=7.0, end=LaneEnd.EXIT),
    )
    tables = routes(RoadNetwork(lanes=lanes))
    assert tables.change[0].tolist() == [0, 1, 0, 0, 0]
    assert tables.to_go[0, :3].tolist() == [700.0, 200.0, 200.0]
