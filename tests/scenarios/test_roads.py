"""Every road builder: lanes join smoothly, neighbours are parallel, limits are comfortable, and every destination can be reached."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
import shapely
from pydantic import ValidationError

from scenarios.network import Lane, LaneEnd, LaneType, LightState, RoadNetwork
from scenarios.quantities import Between
from scenarios.roads import ROADS

SQUARE = [{"id": "a", "points": [[0, 0], [50, 0], [100, 10]], "speed_limit": 10, "successors": ["b"]}]
SQUARE += [{"id": "b", "points": [[100, 10], [140, 20]], "speed_limit": "36 km/h"}]

# kind -> options and, per start lane, the destinations that its docstring promises
CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "straight": ({"lanes": 2}, ["main.0", "main.1"], ["through"]),
    "highway": ({"curvature": 0.001}, ["main.0", "main.2"], ["through"]),
    "merge": ({"curvature": -0.0005}, ["ramp.0", "in.0", "in.1"], ["through"]),
    "exit": ({}, ["in.0", "in.2"], ["exit", "through"]),
    "roundabout": ({}, ["south_in.0", "east_in.0", "north_in.0", "west_in.0"], ["south", "east", "north", "west"]),
    "junction": ({}, ["south_in.0"], ["east", "north", "west"]),
    "two_way": ({"curvature": 0.001}, ["in.0", "main.0"], ["through"]),
    "crossing": ({}, ["in.0"], ["through"]),
    "parking": ({}, ["entry.0"], ["exit"]),
    "loop": ({}, ["s0.0", "s0.1"], ["lap", "half"]),
    "custom": ({"lanes": []}, [], []),
}


def build(kind: str, **options: Any) -> RoadNetwork:
    return ROADS[kind](**options).resolve(np.random.default_rng(0)).build()


def headings(lane: Lane) -> np.ndarray:
    return np.arctan2(*np.diff(lane.centre, axis=0).T[::-1])


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(np.angle(np.exp(1j * (a - b))))


def check(network: RoadNetwork) -> None:
    """What must hold for any network."""
    lanes = {lane.id: lane for lane in network.lanes}
    assert len(lanes) == len(network.lanes)
    for lane in network.lanes:
        spacing = np.hypot(*np.diff(lane.centre, axis=0).T)
        turns = between(headings(lane)[1:], headings(lane)[:-1])
        assert spacing.min() > 1e-3
        assert spacing.max() <= 5.0
        assert turns.max(initial=0.0) < np.deg2rad(2.0), lane.id
        bent = np.minimum(np.concatenate([[0.0], turns]), np.concatenate([turns, [0.0]])) > 1e-6  # turns at both ends
        assert spacing[bent].max(initial=0.0) <= 2.0
        for after in (lanes[name] for name in lane.successors):
            assert np.hypot(*(after.centre[0] - lane.centre[-1])) < 0.01, (lane.id, after.id)
            assert between(headings(after)[:1], headings(lane)[-1:])[0] < np.deg2rad(2.0), (lane.id, after.id)
        assert (lane.end == LaneEnd.CONTINUE) == bool(lane.successors)
        for other_id, side in ((lane.left, 1.0), (lane.right, -1.0)):
            if other_id is None:
                continue
            other = lanes[other_id]
            assert len(other.centre) == len(lane.centre)
            ahead = np.stack([np.cos(headings(lane)), np.sin(headings(lane))], axis=-1)
            gap = (other.centre - lane.centre)[:-1]
            across = gap[:, 1] * ahead[:, 0] - gap[:, 0] * ahead[:, 1]
            np.testing.assert_allclose(side * across, (lane.width + other.width) / 2.0, atol=0.02)
            np.testing.assert_allclose((gap * ahead).sum(-1), 0.0, atol=0.1)
        if lane.type == LaneType.JUNCTION:  # no sharper than is comfortable at the limit
            bend = turns / np.minimum(spacing[1:], spacing[:-1])
            assert lane.speed_limit**2 * bend.max(initial=0.0) < 2.5 * 1.05
        if lane.stop is not None:
            assert 0.0 < lane.stop.s < spacing.sum()
    for places in network.destinations.values():
        assert places
        assert all(name in lanes for name, _ in places)


@pytest.mark.parametrize("kind", [kind for kind in ROADS if kind != "custom"])
def test_default_network_is_sound(kind: str) -> None:
    check(build(kind, **CASES[kind][0]))


@pytest.mark.parametrize("kind", [kind for kind in ROADS if kind != "custom"])
def test_any_allowed_sizes_give_a_sound_network_or_a_clear_refusal(kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    built, refusals = 0, []
    for _ in range(12):
        options: dict[str, Any] = {}
        for name, field in ROADS[kind].model_fields.items():
            bounds = [m for m in field.metadata if isinstance(m, Between) and np.isfinite(m.high)]
            if bounds and isinstance(field.default, int | float) and not isinstance(field.default, bool):
                low, high = bounds[-1].low, bounds[-1].high
                value = rng.uniform(low, high)
                options[name] = round(value) if field.annotation is int else value
        try:
            network = build(kind, **options)
        except ValueError as refusal:
            refusals.append(str(refusal))
            continue
        built += 1
        check(network)
    assert built >= 3
    assert all("=" in text for text in refusals)  # they name the values


@pytest.mark.parametrize("kind", [kind for kind in ROADS if kind != "custom"])
def test_documented_starts_reach_documented_destinations(kind: str) -> None:
    options, starts, destinations = CASES[kind]
    network = build(kind, **options)
    graph = nx.DiGraph([(lane.id, other) for lane in network.lanes for other in (*lane.successors, lane.left, lane.right) if other])
    graph.add_nodes_from(lane.id for lane in network.lanes)
    for start in starts:
        for name in destinations:
            assert any(nx.has_path(graph, start, goal) for goal, _ in network.destinations[name]), (start, name)


@pytest.mark.parametrize(
    "options", [{"shape": s, "lanes": n, "control": c} for s in ("cross", "tee") for n in (1, 2) for c in ("yield", "lights")]
)
def test_every_movement_of_a_junction_exists(options: dict[str, Any]) -> None:
    network = build("junction", **options)
    check(network)
    arms = ["south", "east", "west"] + (["north"] if options["shape"] == "cross" else [])
    movements = {tuple(lane.id.split(".")[0].split("_")) for lane in network.lanes if lane.type == LaneType.JUNCTION}
    assert movements == {(a, b) for a in arms for b in arms if a != b}


def state_at(network: RoadNetwork, arm: str, time: float) -> LightState:
    light = next(light for light in network.lights if light.id == arm)
    ends = np.cumsum([seconds for _, seconds in light.phases])
    return light.phases[int(np.searchsorted(ends, (time + light.offset) % ends[-1], side="right"))][0]


@pytest.mark.parametrize("phase", [0.0, 0.37])
def test_lights_never_let_crossing_traffic_go_together(phase: float) -> None:
    network = build("junction", control="lights", phase=phase, all_red=2.0)
    cycle = sum(seconds for _, seconds in network.lights[0].phases)
    times = np.arange(0.0, 2 * cycle, 0.05)
    go = (LightState.GREEN, LightState.YELLOW)
    major = np.array([state_at(network, "east", t) in go for t in times])
    minor = np.array([state_at(network, "south", t) in go for t in times])
    assert major.any()
    assert minor.any()
    assert not (major & minor).any()
    assert all(state_at(network, "east", t) == state_at(network, "west", t) for t in times)
    for first, second in ((major, minor), (minor, major)):  # all red between them
        for end in np.nonzero(first[:-1] & ~first[1:])[0]:
            following = np.nonzero(second[end:])[0]
            assert len(following) == 0 or following[0] * 0.05 >= 1.95
    for light in network.lights:
        assert dict(light.phases)[LightState.YELLOW] == 3.0


def test_junction_controls_differ_in_their_lines() -> None:
    stops = {
        c: {lane.id: lane.stop for lane in build("junction", control=c).lanes if lane.stop}
        for c in ("priority", "yield", "all_way", "lights", "uncontrolled")
    }
    assert set(stops["priority"]) == {"south_in.0", "north_in.0"}
    assert all(s.must_stop for s in stops["priority"].values())
    assert set(stops["yield"]) == {"south_in.0", "north_in.0"}
    assert not any(s.must_stop for s in stops["yield"].values())
    assert len(stops["all_way"]) == 4
    assert all(s.must_stop for s in stops["all_way"].values())
    assert {s.light for s in stops["lights"].values()} == {"south", "east", "north", "west"}
    assert stops["uncontrolled"] == {}


def test_roundabout_is_driven_counter_clockwise() -> None:
    network = build("roundabout", radius=22.0)
    for lane in network.lanes:
        if lane.id.startswith("ring"):
            np.testing.assert_allclose(np.hypot(*lane.centre.T), 22.0, atol=1e-6)
            middle, ahead = lane.centre[:-1], np.diff(lane.centre, axis=0)
            assert (middle[:, 0] * ahead[:, 1] - middle[:, 1] * ahead[:, 0] > 0).all()


def test_merge_lane_ends_blocked_beside_the_main_lane() -> None:
    network = build("merge")
    accel = network.lane("accel.0")
    assert accel.end == LaneEnd.BLOCKED
    assert accel.left == "main.0"
    assert not accel.successors


def test_parking_bays_lie_on_asphalt_and_apart() -> None:
    from scenarios.roads.geometry import rectangle

    network = build("parking", bays=6)
    boxes = [shapely.Polygon(rectangle(b.x, b.y, b.yaw, b.length, b.width)) for b in network.bays]
    lot = shapely.Polygon(network.areas[0])
    assert len(boxes) == 24
    assert all(lot.buffer(1e-6).contains(box) for box in boxes)
    assert all(a.intersection(b).area < 1e-9 for i, a in enumerate(boxes) for b in boxes[:i])
    aisles = [shapely.LineString(lane.centre).buffer(1.5) for lane in network.lanes]
    assert all(not aisle.intersects(box) for aisle in aisles for box in boxes)


@pytest.mark.parametrize("kind", ["junction", "roundabout", "crossing"])
def test_occluders_stand_off_the_road(kind: str) -> None:
    from scenarios.roads.geometry import rectangle

    network = build(kind)
    surface = shapely.union_all([shapely.LineString(lane.centre).buffer(lane.width / 2.0) for lane in network.lanes])
    assert network.occluders
    for box in network.occluders:
        assert not surface.intersects(shapely.Polygon(rectangle(box.x, box.y, box.yaw, box.length, box.width)))


def test_loop_closes_and_has_the_length_asked_for() -> None:
    network = build("loop", length=900.0)
    outer = [lane for lane in network.lanes if lane.id.endswith(".0")]
    assert sum(np.hypot(*np.diff(lane.centre, axis=0).T).sum() for lane in outer) == pytest.approx(900.0, abs=0.1)
    assert all(lane.end == LaneEnd.CONTINUE for lane in network.lanes)
    ring = shapely.Polygon(np.concatenate([lane.centre[:-1] for lane in outer]))
    assert ring.is_valid
    assert ring.exterior.is_ccw


def test_distributions_are_drawn_before_building() -> None:
    model = ROADS["merge"](ramp_length={"uniform": ["100 m", "200 m"]}, speed_limit="100 km/h")
    lengths = set()
    for seed in range(3):
        network = model.resolve(np.random.default_rng(seed)).build()
        ramp = network.lane("ramp.0")
        lengths.add(round(float(np.hypot(*np.diff(ramp.centre, axis=0).T).sum()), 3))
        assert network.lane("main.0").speed_limit == pytest.approx(100 / 3.6)
    assert len(lengths) == 3
    assert all(99.9 < length < 200.0 for length in lengths)


def test_custom_road_is_built_from_points() -> None:
    lanes = [SQUARE[0], {"id": "b", "points": [[100, 10], [110, 12.88]], "speed_limit": "36 km/h", "end": "blocked"}]
    network = build("custom", lanes=lanes)
    check(network)
    a, b = network.lanes
    assert a.end == LaneEnd.CONTINUE
    assert b.end == LaneEnd.BLOCKED
    assert b.speed_limit == pytest.approx(10.0)
    assert shapely.LineString(a.centre).distance(shapely.Point(50, 0)) < 0.01  # the curve passes through the points
    assert network.destinations == {}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"lanes": [*SQUARE, SQUARE[0]]}, "defined twice"),
        ({"lanes": [SQUARE[0]]}, "'b', which does not exist"),
        ({"lanes": SQUARE, "destinations": {"home": [{"lane": "c"}]}}, "'c', which does not exist"),
        ({"lanes": [SQUARE[1] | {"stop": {"s": 3, "light": "red"}}]}, "light 'red'"),
    ],
)
def test_custom_road_refuses_unknown_names(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ROADS["custom"](**change)


@pytest.mark.parametrize(
    ("points", "complaint"), [([[101, 10], [140, 20]], "starts 1.00 m from there"), ([[100, 10], [100, 40]], "at an angle of")]
)
def test_custom_road_refuses_lanes_that_do_not_join(points: list[list[float]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build("custom", lanes=[SQUARE[0], SQUARE[1] | {"points": points}])


def test_neighbours_of_a_custom_road_get_points_beside_each_other_in_bends_too() -> None:
    angle = np.linspace(0.0, 2.0, 9)
    arcs = {id: [[r * np.sin(a), r * (1.0 - np.cos(a)) + 60.0 - r] for a in angle] for id, r in (("a", 63.5), ("b", 60.0), ("c", 56.5))}
    beside = {"a": {"left": "b"}, "b": {"left": "c", "right": "a"}, "c": {"right": "b"}}
    network = build("custom", lanes=[{"id": id, "points": points, "speed_limit": 10, **beside[id]} for id, points in arcs.items()])
    assert len({len(lane.centre) for lane in network.lanes}) == 1
    outer, middle, inner = (lane.centre for lane in network.lanes)
    for one, other in ((outer, middle), (middle, inner)):
        np.testing.assert_allclose(np.hypot(*(one - other).T), 3.5, atol=0.02)
    ring = shapely.Point(0, 60).buffer(60.0, quad_segs=512).exterior
    quarter = len(middle) // 4  # the spline is natural: straight at its ends
    assert max(ring.distance(shapely.Point(point)) for point in middle[quarter:-quarter]) < 0.02
    assert np.hypot(*np.diff(outer, axis=0).T).max() <= 1.01
