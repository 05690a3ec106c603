"""The observation: every number against geometry done by hand, by numpy or by shapely, and laws that hold whatever the numbers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
import shapely.affinity
import torch

from envs.driving.bank import build_bank
from envs.driving.core import reset
from envs.driving.observation import (
    EGO_FEATURES,
    GOAL_FEATURES,
    LANE_FEATURES,
    LIMIT,
    OBJECT_FEATURES,
    ROUTE_AHEAD,
    RULE_FEATURES,
    Observation,
    flat_size,
    flatten,
    observe,
    shapes,
    space,
)
from envs.driving.types import DrivingConfig, Maps, Setup, State
from scenarios.episode import AgentSpec, Driver, Episode, Goal, Region, Role
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.network import Conflict, Lane, LaneEnd, LaneType, Light, LightState, RoadNetwork, StopLine
from scenarios.roads.junction import JunctionRoad
from scenarios.roads.merge import MergeRoad

NAMES = {"ego": EGO_FEATURES, "objects": OBJECT_FEATURES, "lanes": LANE_FEATURES, "rules": RULE_FEATURES, "goal": GOAL_FEATURES}
STRAIGHT = np.array([[0.0, 0.0], [200.0, 0.0]])


def agent(
    lane: str | None = None, s: float = 0.0, *, speed: float = 10.0, kind: Kind = Kind.CAR, role: Role = Role.IDM, **rest: Any
) -> AgentSpec:
    spec = KIND_SPECS[kind]
    size = {name: getattr(spec, name) for name in ("length", "width", "wheelbase")}
    return AgentSpec(kind=kind, role=role, lane=lane, s=s, speed=speed, driver=Driver(desired_speed=15.0), **(size | rest))


def two_lanes(**rest: Any) -> RoadNetwork:
    """a.0 along y = 0 and a.1 along y = 4, eastwards, 200 m."""
    left = STRAIGHT + np.array([0.0, 4.0])
    lanes = (
        Lane(id="a.0", centre=STRAIGHT, width=4.0, speed_limit=10.0, end=LaneEnd.EXIT, left="a.1"),
        Lane(id="a.1", centre=left, width=4.0, speed_limit=20.0, end=LaneEnd.EXIT, right="a.0"),
    )
    return RoadNetwork(lanes=lanes, **rest)


def world(
    network: RoadNetwork, agents: Sequence[AgentSpec], goal: Goal | None = None, **options: Any
) -> tuple[State, Setup, Maps, DrivingConfig]:
    ego, *others = agents
    config = DrivingConfig(**{"agents": 8, **options})
    episode = Episode(
        scenario="test",
        seed=0,
        duration=20.0,
        network=network,
        network_key="x",
        agents=(replace(ego, role=Role.LEARNER), *others),
        goal=goal or Goal(),
    )
    bank = build_bank([episode], config)
    return reset(bank.setup, config.learners), bank.setup, bank.maps, config


def named(obs: Observation, part: str, *index: int) -> dict[str, float]:
    """The features of one part of world 0, learner 0, by name."""
    return dict(zip(NAMES[part], getattr(obs, part)[(0, 0, *index)].tolist(), strict=True))


def test_names_and_shapes_agree() -> None:
    config = DrivingConfig(agents=8, nearest=5)
    obs = observe(*world(two_lanes(), [agent("a.0", 50.0)], nearest=5))
    assert {name: tuple(part.shape[2:]) for name, part in obs._asdict().items()} == shapes(config)
    assert flatten(obs).shape == (1, 1, flat_size(config))
    assert all(len(set(names)) == len(names) for names in NAMES.values())
    assert space(config).contains({name: part[0, 0].numpy() for name, part in obs._asdict().items()})


def test_an_object_in_the_ego_frame() -> None:
    """Ego at (50, 0) heading 30 degrees left at 10 m/s; a truck at (60, 8), heading east at 5 m/s."""
    ego = agent(x=50.0, y=0.0, yaw=np.pi / 6, speed=10.0)
    truck = agent(x=60.0, y=8.0, yaw=1e-9, speed=5.0, kind=Kind.TRUCK)
    got = named(observe(*world(two_lanes(), [ego, truck])), "objects", 0)
    turn = np.array([[np.cos(np.pi / 6), np.sin(np.pi / 6)], [-np.sin(np.pi / 6), np.cos(np.pi / 6)]])
    x, y = turn @ [10.0, 8.0] / 50.0
    vx, vy = (turn @ [5.0, 0.0] - [10.0, 0.0]) / 20.0
    wanted = {
        "present": 1,
        "x": x,
        "y": y,
        "vx": vx,
        "vy": vy,
        "cos": turn[0, 0],
        "sin": -turn[0, 1],
        "speed": 0.25,
        "length": 1.0,
        "truck": 1,
        "car": 0,
    }
    assert {name: got[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)


def test_nearest_objects_first_and_the_rest_of_the_rows_empty() -> None:
    rng = np.random.default_rng(3)
    others = [agent(x=x, y=y) for x, y in rng.uniform(-80, 80, (7, 2))]
    obs = observe(*world(two_lanes(), [agent(x=1e-6, y=0.0), *others], nearest=12))
    distance = np.sort([np.hypot(o.x, o.y) for o in others])
    distance = distance[distance <= 100.0]
    shown = obs.objects[0, 0, : len(distance), 1:3].numpy() * 50.0
    np.testing.assert_allclose(np.hypot(*shown.T), distance, atol=1e-3)
    assert obs.objects_mask[0, 0].tolist() == [1.0] * len(distance) + [0.0] * (12 - len(distance))
    assert not obs.objects[0, 0, len(distance) :].any()


def test_view_range_ends_what_is_shown() -> None:
    others = [agent("a.0", 100.0 + gap) for gap in (29.0, 31.0)]
    obs = observe(*world(two_lanes(), [agent("a.0", 100.0), *others], view_range=30.0))
    assert obs.objects_mask.sum() == 1


def test_visible_hides_what_stands_behind_a_truck_and_changes_nothing_else() -> None:
    agents = [agent("a.0", 50.0), agent("a.0", 70.0, kind=Kind.TRUCK), agent("a.0", 82.0), agent("a.1", 60.0)]
    truth = observe(*world(two_lanes(), agents, observation="truth"))
    seen = observe(*world(two_lanes(), agents, observation="visible"))
    assert truth.objects_mask.sum() == 3
    assert seen.objects_mask.sum() == 2
    assert torch.equal(seen.objects[0, 0, :2], truth.objects[0, 0, :2])
    for name in ("ego", "route", "rules", "goal"):
        assert torch.equal(getattr(seen, name), getattr(truth, name))


def test_route_points_lie_on_the_centreline_across_lanes() -> None:
    """A junction's left turn: shapely walks along the same lanes."""
    network = JunctionRoad(control="uncontrolled").resolve(np.random.default_rng(0)).build()
    ego = agent("south_in.0", 100.0, destination="west")
    state, setup, maps, config = world(network, [ego], Goal(destination="west"))
    line = shapely.LineString(np.concatenate([network.lane(name).centre for name in ("south_in.0", "south_west.0", "west_out.0")]))
    pose = state.x[0, 0].item(), state.y[0, 0].item(), state.yaw[0, 0].item()
    local = shapely.affinity.rotate(shapely.affinity.translate(line, -pose[0], -pose[1]), -pose[2], origin=(0, 0), use_radians=True)
    wanted = np.array([shapely.line_interpolate_point(local, 100.0 + ahead).coords[0] for ahead in ROUTE_AHEAD])
    route = observe(state, setup, maps, config).route[0, 0].numpy()
    np.testing.assert_allclose(route[:, :2] * 50.0, wanted, atol=0.1)
    np.testing.assert_allclose(np.hypot(route[:, 2], route[:, 3]), 1.0, atol=1e-3)


def test_lanes_beside_the_ego() -> None:
    """Ego in the right lane, 0.5 m left of its centre, pointing 0.1 rad left."""
    obs = observe(*world(two_lanes(), [agent("a.0", 50.0, x=50.0, y=0.5, yaw=0.1, d=0.5)]))
    left, own, right = (named(obs, "lanes", i) for i in range(3))
    assert (left["exists"], own["exists"], right["exists"]) == (1.0, 1.0, 0.0)
    assert [left["lateral"] * 3.5, own["lateral"] * 3.5] == pytest.approx([-3.5, 0.5], abs=1e-4)
    assert [left["limit"] * 20, own["limit"] * 20] == pytest.approx([20.0, 10.0])
    assert [own["heading_sin"], own["heading_cos"]] == pytest.approx([np.sin(0.1), np.cos(0.1)], abs=1e-5)
    assert not any(right.values())
    ego = named(obs, "ego")
    assert [ego["lateral"], ego["heading_sin"], ego["limit"]] == pytest.approx([own["lateral"], own["heading_sin"], own["limit"]])


def test_gaps_are_bumper_to_bumper_and_by_lane() -> None:
    others = [
        agent("a.0", 90.0, speed=4.0),  # ahead, own lane
        agent("a.0", 130.0, speed=1.0),  # farther ahead
        agent("a.1", 40.0, speed=16.0, kind=Kind.TRUCK),  # behind on the left
    ]
    obs = observe(*world(two_lanes(), [agent("a.0", 60.0), *others]))
    left, own = named(obs, "lanes", 0), named(obs, "lanes", 1)
    assert own["front_gap"] * 50 == pytest.approx(30.0 - 4.6, abs=1e-3)
    assert own["front_speed"] * 20 == pytest.approx(-6.0, abs=1e-4)
    assert own["rear_gap"] == left["front_gap"] == 2.0
    assert left["rear_gap"] * 50 == pytest.approx(20.0 - (4.6 + 10.0) / 2, abs=1e-3)
    assert left["rear_speed"] * 20 == pytest.approx(6.0, abs=1e-4)


def test_the_end_of_an_acceleration_lane_and_the_change_it_needs() -> None:
    network = MergeRoad().resolve(np.random.default_rng(0)).build()
    length = {name: shapely.length(shapely.LineString(network.lane(name).centre)) for name in ("ramp.0", "accel.0")}
    obs = observe(*world(network, [agent("ramp.0", 50.0)], Goal(destination="through")))
    own = named(obs, "lanes", 1)
    ends = length["ramp.0"] - 50.0 + length["accel.0"]
    assert own["change"] == 1.0
    assert own["blocked"] == pytest.approx(ends / (ends + 20.0), abs=1e-3)
    assert own["change_by"] == pytest.approx(ends / (ends + 50.0), abs=1e-3)
    obs = observe(*world(network, [agent("accel.0", 10.0)], Goal(destination="through")))
    left = named(obs, "lanes", 0)
    assert (left["exists"], left["change"], left["blocked"], left["reachable"]) == (1.0, 0.0, pytest.approx(1.0, abs=1e-4), 1.0)


def test_light_and_stop_line() -> None:
    """A line at 100 m governed by a light that is red from 5 s to 9 s of a 12 s cycle; the ego's front bumper is at 52.3 m."""
    phases = ((LightState.GREEN, 5.0), (LightState.RED, 4.0), (LightState.RED_YELLOW, 3.0))
    network = two_lanes(lights=(Light(id="l", x=105.0, y=-4.0, heading=0.0, phases=phases),))
    lane = replace(network.lanes[0], stop=StopLine(s=100.0, light="l"))
    state, setup, maps, config = world(replace(network, lanes=(lane, network.lanes[1])), [agent("a.0", 50.0)])
    for tick, shown in ((0, "light_green"), (49, "light_green"), (50, "light_red"), (95, "light_red_yellow"), (125, "light_green")):
        rules = named(observe(state._replace(step=torch.tensor([tick])), setup, maps, config), "rules")
        assert [name for name in RULE_FEATURES[:5] if rules[name]] == [shown]
    ahead = 100.0 - 50.0 - 2.3
    assert rules["line"] == pytest.approx(ahead / (ahead + 20.0), abs=1e-5)
    assert rules["must_stop"] == 0.0
    passed = observe(state._replace(s=state.s + 55.0), setup, maps, config)
    assert named(passed, "rules")["line"] > 0.99
    assert named(passed, "rules")["light_none"] == 1.0


def test_a_stop_sign_counts_until_it_has_been_obeyed() -> None:
    network = two_lanes()
    lane = replace(network.lanes[0], stop=StopLine(s=100.0, must_stop=True))
    state, setup, maps, config = world(replace(network, lanes=(lane, network.lanes[1])), [agent("a.0", 90.0)])
    assert named(observe(state, setup, maps, config), "rules")["must_stop"] == 1.0
    released = torch.zeros_like(state.released)  # lane 0 is a.0
    assert named(observe(state._replace(released=released), setup, maps, config), "rules")["must_stop"] == 0.0


@pytest.mark.parametrize(("yields", "mutual"), [(True, False), (False, False), (True, True)])
def test_conflict_areas_ahead(yields: bool, mutual: bool) -> None:
    """A lane crossing ours from 95 m to 105 m; the ego 4.6 m long at 60 m, then inside."""
    cross = Lane(id="b.0", centre=np.array([[100.0, -60.0], [100.0, 60.0]]), speed_limit=10.0, type=LaneType.JUNCTION, end=LaneEnd.EXIT)
    area = {"s_enter": 95.0, "s_exit": 105.0, "other_enter": 58.0, "other_exit": 62.0}
    back = {"s_enter": 58.0, "s_exit": 62.0, "other_enter": 95.0, "other_exit": 105.0}
    conflicts = (
        Conflict(lane="a.0", other="b.0", **area, yields=yields, mutual=mutual),
        Conflict(lane="b.0", other="a.0", **back, yields=mutual or not yields, mutual=mutual),
    )
    straight = Lane(id="a.0", centre=STRAIGHT, speed_limit=10.0, end=LaneEnd.EXIT)
    network = RoadNetwork(lanes=(straight, cross), conflicts=conflicts)
    crossing = agent("b.0", 30.0, speed=5.0)  # 30 m south of the place, northbound
    state, setup, maps, config = world(network, [agent("a.0", 60.0), crossing])
    obs = observe(state, setup, maps, config)
    rules = named(obs, "rules")
    ahead = 95.0 - 60.0 - 2.3
    assert rules["yield_in"] == pytest.approx(ahead / (ahead + 20.0) if yields else 1.0, abs=1e-4)
    assert rules["priority_in"] == pytest.approx(1.0 if yields else ahead / (ahead + 20.0), abs=1e-4)
    assert (rules["yield_mutual"], rules["inside"]) == (float(mutual), 0.0)
    assert [rules["yield_x"], rules["yield_y"]] == pytest.approx([35.0 / 50 if yields else 0.0, 0.0], abs=1e-4)
    other = named(obs, "objects", 0)
    assert other["route_s"] * 50 == pytest.approx(40.0, abs=1e-3)
    assert other["route_d"] == pytest.approx(-30.0 / 33.5, abs=1e-4)
    assert other["route_vd"] * 20 == pytest.approx(5.0, abs=1e-4)
    assert other["cross_time"] == pytest.approx(6.0 / 9.0, abs=1e-4)
    assert other["cross_s"] * 50 == pytest.approx(40.0, abs=1e-2)
    if yields:
        away = np.hypot(5.0, 30.0)
        assert other["meet"] == pytest.approx(away / (away + 20.0), abs=1e-4)
        assert other["meet_speed"] * 20 == pytest.approx(5.0 * 30.0 / away, abs=1e-3)
    within = named(observe(state._replace(s=state.s + 40.0, x=state.x + 40.0), setup, maps, config), "rules")
    assert within["inside"] == 1.0
    assert within["clear_in"] == pytest.approx((5.0 + 2.3) / (5.0 + 2.3 + 20.0), abs=1e-4)
    beyond = named(observe(state._replace(s=state.s + 50.0, x=state.x + 50.0), setup, maps, config), "rules")
    assert beyond["inside"] == 0.0
    assert min(beyond["yield_in"], beyond["priority_in"]) > 0.99


def test_a_region_as_goal() -> None:
    region = Region(x=60.0, y=7.0, yaw=np.pi / 2, length=5.0, width=2.5, heading=np.pi / 2, heading_tolerance=0.2, speed_max=0.5)
    obs = observe(*world(two_lanes(), [agent("a.0", 50.0)], Goal(region=region, time_min=5.0)))
    goal = named(obs, "goal")
    wanted = {
        "last": 0, "destination": 0, "region": 1, "x": 10 / 15, "y": 7 / 12, "x_far": 0.2, "y_far": 0.14,
        "heading_cos": 0, "heading_sin": 1,
        "axis_cos": 0, "axis_sin": 1, "length": 0.5, "width": 0.25, "speed_max": 0.025, "speed_min": -LIMIT,
        "heading_tolerance": 0.2 / np.pi, "opens": 5 / 35, "closes": 20 / 50,
    }  # fmt: skip
    assert goal == pytest.approx(wanted, abs=1e-5)
    lasting = named(observe(*world(two_lanes(), [agent("a.0", 50.0)])), "goal")
    assert [name for name, value in lasting.items() if value] == ["last", "closes"]


def test_an_ego_beside_every_lane_is_told_so() -> None:
    """Off the lane graph the map's numbers are zero, not those of some lane; objects keep their pose."""
    obs = observe(*world(two_lanes(), [agent(x=50.0, y=12.0, yaw=0.3), agent("a.0", 60.0)]))
    assert not obs.route.any()
    assert not obs.lanes.any()
    ego, other = named(obs, "ego"), named(obs, "objects", 0)
    assert (ego["on_lane"], ego["limit"], ego["remaining"]) == (0.0, 0.0, pytest.approx(1.0, abs=1e-3))
    assert other["present"] == 1.0
    assert other["x"] != 0.0
    assert [other[name] for name in OBJECT_FEATURES if name.startswith(("route", "cross_s"))] == [0.0] * 5
    assert all(torch.isfinite(part).all() for part in obs)


def test_edges_are_those_of_the_drivable_surface() -> None:
    """The surface is y in [-2, 6]; the car stands at y = 0.5, straight: 1.575 m of road are left
    on its right; from its left side the right edge is still the nearer one."""
    ego = named(observe(*world(two_lanes(), [agent("a.0", 100.0, x=100.0, y=0.5, d=0.5)])), "ego")
    assert ego["edge_front_right"] * 2.0 == pytest.approx(2.5 - 0.925, abs=0.03)
    assert ego["edge_rear_left"] * 2.0 == pytest.approx(2.5 + 0.925, abs=0.03)


def moved(network: RoadNetwork, turn: float, dx: float, dy: float) -> RoadNetwork:
    c, s = np.cos(turn), np.sin(turn)

    def points(p: Any) -> Any:
        return p @ np.array([[c, s], [-s, c]]) + [dx, dy]

    return replace(network, lanes=tuple(replace(lane, centre=points(lane.centre)) for lane in network.lanes))


def test_turning_and_moving_the_world_changes_nothing() -> None:
    network = replace(MergeRoad().resolve(np.random.default_rng(0)).build(), areas=(), occluders=())
    agents = [agent("ramp.0", 80.0), agent("in.0", 250.0), agent("main.1", 20.0), agent("main.0", 40.0, kind=Kind.TRUCK)]
    one = observe(*world(network, agents, Goal(destination="through")))
    two = observe(*world(moved(network, 2.0, 130.0, -70.0), agents, Goal(destination="through")))
    for name, a, b in zip(one._fields, one, two, strict=True):
        assert (a - b).abs().max() < 0.03, name  # the raster under the edges is another one; all else agrees to float32 at 200 m
        if name != "ego":
            assert (a - b).abs().max() < 2e-3, name


def test_mirroring_the_world_mirrors_the_observation() -> None:
    """What is left becomes right: signs of lateral features turn, the lanes swap."""

    def place(sign: float) -> list[AgentSpec]:
        return [
            agent(x=50.0, y=sign * 1.0, yaw=sign * 0.2),
            agent(x=70.0, y=sign * 5.0, yaw=sign * -0.4),
            agent(x=30.0, y=sign * -3.0, yaw=sign * 1.0),
        ]

    lane = Lane(id="a", centre=STRAIGHT, width=6.0, speed_limit=10.0, end=LaneEnd.EXIT)
    network = RoadNetwork(lanes=(lane,))
    one, two = (observe(*world(network, [replace(each, lane="a", s=each.x, d=each.y) for each in place(sign)])) for sign in (1.0, -1.0))
    odd = {"y", "sin", "vy", "route_d", "route_vd"}
    signs = torch.tensor([-1.0 if name in odd else 1.0 for name in OBJECT_FEATURES])
    assert (one.objects - two.objects * signs).abs().max() < 1e-5
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert (one.route - two.route * signs).abs().max() < 1e-5
    ego_one, ego_two = named(one, "ego"), named(two, "ego")
    assert ego_one["lateral"] == pytest.approx(-ego_two["lateral"], abs=1e-6)
    assert ego_one["edge_front_left"] == pytest.approx(ego_two["edge_front_right"], abs=1e-2)


def crowd(worlds: int, seed: int, **options: Any) -> tuple[State, Setup, Maps, DrivingConfig]:
    """Random scatter on a junction, some of it far out of any range."""
    rng = np.random.default_rng(seed)
    network = JunctionRoad(control="lights").resolve(np.random.default_rng(0)).build()
    lanes = [lane.id for lane in network.lanes if lane.type != LaneType.WALKWAY]
    config = DrivingConfig(agents=16, **options)
    episodes = []
    for _ in range(worlds):
        agents = [
            agent(str(rng.choice(lanes)), float(rng.uniform(0, 30)), speed=float(rng.uniform(0, 40)), kind=Kind(int(rng.integers(6))))
            for _ in range(16)
        ]
        agents[0] = replace(agents[0], role=Role.LEARNER)
        goal = Goal(destination=str(rng.choice(list(network.destinations))))
        episodes.append(Episode(scenario="t", seed=0, duration=20.0, network=network, network_key="x", agents=tuple(agents), goal=goal))
    bank = build_bank(episodes, config)
    state = reset(bank.setup, config.learners)
    far = torch.from_numpy(rng.choice([1.0, 1e4], state.x.shape, p=[0.95, 0.05]).astype(np.float32))
    return state._replace(x=state.x * far), bank.setup, bank.maps, config


@pytest.mark.parametrize("observation", ["truth", "visible"])
def test_every_number_is_finite_and_within_the_space(observation: str) -> None:
    *args, config = crowd(64, 5, observation=observation)
    obs = observe(*args, config)
    box = space(config)
    for name, part in obs._asdict().items():
        assert part.dtype == torch.float32
        assert torch.isfinite(part).all(), name
        assert part.min() >= box[name].low.min()
        assert part.max() <= box[name].high.max()


@pytest.mark.parametrize("observation", ["truth", "visible"])
def test_a_row_of_a_batch_is_bitwise_a_batch_of_one(observation: str) -> None:
    state, setup, maps, config = crowd(33, 6, observation=observation)
    whole = observe(state, setup, maps, config)

    def row(value: Any, b: int) -> Any:
        return type(value)(*(row(part, b) if isinstance(part, tuple) else part[b : b + 1].clone() for part in value))

    for b in (0, 7, 31, 32):
        alone = observe(row(state, b), row(setup, b), maps, config)
        assert all(torch.equal(part[b : b + 1], single) for part, single in zip(whole, alone, strict=True))


def test_each_learner_sees_from_its_own_place() -> None:
    agents = [agent("a.0", 50.0), agent("a.1", 80.0, role=Role.LEARNER), agent("a.0", 120.0)]
    both = observe(*world(two_lanes(), agents, learners=2))
    swapped = observe(*world(two_lanes(), [agents[1], agents[0], agents[2]], learners=2))
    for name, one, two in zip(both._fields, both, swapped, strict=True):
        if name != "goal":
            assert torch.equal(one, two.flip(1)), name
    last, destination = GOAL_FEATURES.index("last"), GOAL_FEATURES.index("destination")
    assert both.goal[0, :, [last, destination]].tolist() == [[1.0, 0.0], [0.0, 1.0]]  # the episode's goal is the ego's alone


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, while its compiler loads
def test_compiled_it_says_the_same() -> None:
    state, setup, maps, config = crowd(8, 7, observation="visible")
    eager = observe(state, setup, maps, config)
    compiled = torch.compile(lambda a, b, c: observe(a, b, c, config), fullgraph=True, dynamic=False)(state, setup, maps)
    for one, two in zip(eager, compiled, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
