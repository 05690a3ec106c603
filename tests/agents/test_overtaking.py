"""Overtaking over the oncoming lane, against motions integrated step by step and whole drives."""

from __future__ import annotations

import pytest
import torch

from agents.evaluation.rollout import rollout
from agents.planners.base import Scene
from agents.planners.overtaking import ACCEL, overtaking, time_to_gain
from agents.planners.pdm import Pdm
from agents.planners.route import make_route
from agents.policies.base import load_policy
from scenarios import load, sample
from scenarios.roads.two_way import TwoWayRoad
from tests.agents.planner_scenes import T, a_scene, a_track, on_lane

ROAD = TwoWayRoad(approach_length=60.0, pass_length=700.0, speed_limit=22.0).build()
FAR = 400.0  # m of sight


@pytest.mark.parametrize(("room", "speed", "other", "fastest"), [(30.0, 8.0, 8.0, 20.0), (60.0, 10.0, 7.0, 12.0), (5.0, 6.0, 8.0, 20.0)])
def test_the_time_it_takes_is_that_of_the_motion(room: float, speed: float, other: float, fastest: float) -> None:
    dt, gained, time, way, v = 1e-4, 0.0, 0.0, 0.0, speed
    while gained < room:
        v = min(v + ACCEL * dt, fastest)
        gained, time, way = gained + (v - other) * dt, time + dt, way + v * dt
    found = time_to_gain(*(T([value]) for value in (room, speed, other, fastest, ACCEL)))
    assert float(found[0]) == pytest.approx(time, rel=1e-3)
    assert float(found[1]) == pytest.approx(way, rel=1e-3)


def test_who_cannot_be_caught_up_with_takes_for_ever_and_who_is_behind_no_time() -> None:
    assert float(time_to_gain(T([10.0]), T([8.0]), T([30.0]), T([20.0]), T([ACCEL]))[0]) == float("inf")
    assert float(time_to_gain(T([-1.0]), T([8.0]), T([8.0]), T([20.0]), T([ACCEL]))[0]) == 0.0


def scene(mine: tuple[str, float, float], theirs: tuple[str, float, float], sight: float = FAR) -> tuple[Scene, torch.Tensor]:
    """An ego and one car on the road, each (lane, m along it, m/s), with the lane for overtaking opened or closed."""
    made = a_scene(ROAD, mine, "through", theirs)
    route, spared = overtaking(make_route(made.ego, made.place, over=True), made.ego, made.place, made.tracks, sight)
    return made._replace(route=route, spared=spared), spared


def path(made: Scene) -> int:
    """Which path PDM takes: 0 left, 1 own, 2 right."""
    proposed = Pdm().propose(made)
    return int(proposed.path[int(proposed.costs.total().argmin(1))])


def test_a_slow_car_is_overtaken_where_one_sees_far_enough() -> None:
    made, _ = scene(("main.0", 100.0, 8.0), ("main.0", 118.0, 7.0))
    assert int(made.route.lane[0, 0]) >= 0
    assert path(made) == 0
    near, _ = scene(("main.0", 100.0, 8.0), ("main.0", 118.0, 7.0), sight=100.0)
    assert int(near.route.lane[0, 0]) == -1
    assert path(near) == 1


@pytest.mark.parametrize("theirs", [("main.0", 118.0, 20.0), ("main.0", 90.0, 7.0), ("main.0", 300.0, 7.0)])
def test_who_is_fast_or_behind_or_far_away_is_not_overtaken(theirs: tuple[str, float, float]) -> None:
    made, _ = scene(("main.0", 100.0, 8.0), theirs)
    assert int(made.route.lane[0, 0]) == -1


def test_nobody_sets_out_towards_the_end_of_the_lane() -> None:
    made, _ = scene(("main.0", 600.0, 8.0), ("main.0", 618.0, 7.0))
    assert int(made.route.lane[0, 0]) == -1


def test_back_into_the_lane_once_past() -> None:
    made, _ = scene(("pass.0", 140.0, 15.0), ("main.0", 130.0, 7.0))
    assert float(made.route.toll[0, 1]) > 0.0
    assert path(made) == 2
    beside, _ = scene(("pass.0", 118.0, 12.0), ("main.0", 120.0, 7.0))
    assert float(beside.route.toll[0, 1]) == 0.0
    assert path(beside) == 0 or path(beside) == 1  # in the lane where it is


def gap_asked_for(place: float = 100.0, curvature: float = 0.0, aside: float = 0.0, lane: str = "main.0", **ego: float) -> float:
    """The least distance (m) at which somebody may come at 22 m/s for a car 18 m ahead at 7 m/s to be overtaken by one at 8 m/s."""
    road = TwoWayRoad(approach_length=60.0, pass_length=700.0, speed_limit=22.0, out_length=400.0, curvature=curvature).build()
    one = a_scene(road, (lane, place, ego.pop("speed", 8.0)), "through", ("main.0", place + 18.0, 7.0))
    mine = one.ego._replace(x=one.ego.x - aside * one.ego.sin, y=one.ego.y + aside * one.ego.cos)
    mine = mine._replace(**{name: T([value]) for name, value in ego.items()})
    total = 60.0 + 700.0 + 400.0

    _, here = on_lane(road, one.place, lane, place)

    def opens(gap: float) -> bool:
        other = a_track(here, on_lane(road, one.place, "oncoming.0", total - (60.0 + place + gap))[1], 22.0)
        tracks = type(one.tracks)(*(torch.cat(pair, dim=1) for pair in zip(one.tracks, other, strict=True)))
        route, spared = overtaking(make_route(mine, one.place, over=True), mine, one.place, tracks, 2000.0)
        goes = float(route.toll[0, 2 if lane == "pass.0" else 1]) > 0.0
        assert spared.tolist() == [[False, goes]]
        assert goes == (int(route.lane[0, 0]) >= 0) or lane == "pass.0"
        return goes

    low, high = 60.0, 600.0
    assert opens(high) and not opens(low)
    while high - low > 0.5:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if opens(middle) else (middle, high)
    return high


def back_at(speed: float, held: float, room: float, fastest: float = 0.9 * 22.0) -> tuple[float, float]:
    """Driven step by step: when the ego is back in its lane, s, and how far on, m."""
    time = x = 0.0
    other = room
    while x < other:
        speed = speed if time < held else min(speed + 0.01 * ACCEL, fastest)
        x, other, time = x + 0.01 * speed, other + 0.01 * 7.0, time + 0.01
    return time + 1.7, x + 1.7 * fastest


def test_the_ego_is_back_before_they_meet() -> None:
    """18 m, two half cars and 2.5 m to gain."""
    asked = gap_asked_for()
    time, x = back_at(8.0, 1.5, 18.0 + 4.6 + 2.5)
    assert asked - 22.0 * time - x - 4.6 == pytest.approx(
        0.6 * (0.9 * 22.0 + 22.0), abs=8.0
    )  # the margin; the last metres are driven at the limit
    out = gap_asked_for(lane="pass.0")
    time, x = back_at(8.0, 0.0, 18.0 + 4.6 + 2.5)
    assert -1.0 < out - 22.0 * time - x - 4.6 < 8.0
    assert out < asked


def test_setting_out_counts_towards_the_other_lane_only() -> None:
    assert gap_asked_for(aside=-0.9) == pytest.approx(gap_asked_for(), abs=5.0)
    assert gap_asked_for(aside=0.9) < gap_asked_for() - 20.0


def test_who_is_slow_to_speed_up_asks_for_more() -> None:
    usual = gap_asked_for()
    assert gap_asked_for(accel_max=1.0) > usual + 30.0
    assert gap_asked_for(speed_max=12.0) > usual + 10.0
    assert gap_asked_for(speed=3.0) > usual + 30.0


def test_who_comes_is_seen_round_the_bend_beyond_the_end_of_the_lane() -> None:
    usual = gap_asked_for(place=250.0)
    assert gap_asked_for(place=430.0, curvature=0.001) == pytest.approx(usual, abs=10.0)
    assert gap_asked_for(place=430.0, curvature=-0.001) == pytest.approx(usual, abs=10.0)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["pdm", "lattice"])
def test_driven(policy: str) -> None:
    """Behind the truck time runs out: who arrives has overtaken it."""
    results = rollout(load_policy(f"{policy}@truth,view_range=400"), [sample(load("oncoming/hard"), seed) for seed in (2, 4)], batch=2)
    assert [result.end for result in results] == ["arrived", "arrived"]
