"""Overtaking over the oncoming lane, against motions integrated step by step and whole drives."""

from __future__ import annotations

import pytest
import torch

from agents.planners.base import Scene
from agents.planners.overtaking import ACCEL, overtaking, time_to_gain
from agents.planners.pdm import Pdm
from agents.planners.route import make_route
from scenarios.roads.two_way import TwoWayRoad
from tests.agents.planner_scenes import T, a_scene

ROAD = TwoWayRoad(approach_length=60.0, pass_length=700.0, speed_limit=22.0).build()
FAR = 400.0  # m of sight


@pytest.mark.parametrize(("room", "speed", "other", "fastest"), [(30.0, 8.0, 8.0, 20.0), (60.0, 10.0, 7.0, 12.0), (5.0, 6.0, 8.0, 20.0)])
def test_the_time_it_takes_is_that_of_the_motion(room: float, speed: float, other: float, fastest: float) -> None:
    dt, gained, time, way, v = 1e-4, 0.0, 0.0, 0.0, speed
    while gained < room:
        v = min(v + ACCEL * dt, fastest)
        gained, time, way = gained + (v - other) * dt, time + dt, way + v * dt
    found = time_to_gain(*(T([value]) for value in (room, speed, other, fastest)))
    assert float(found[0]) == pytest.approx(time, rel=1e-3)
    assert float(found[1]) == pytest.approx(way, rel=1e-3)


def test_who_cannot_be_caught_up_with_takes_for_ever_and_who_is_behind_no_time() -> None:
    assert float(time_to_gain(T([10.0]), T([8.0]), T([30.0]), T([20.0]))[0]) == float("inf")
    assert float(time_to_gain(T([-1.0]), T([8.0]), T([8.0]), T([20.0]))[0]) == 0.0


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


def two(gap: float) -> tuple[Scene, torch.Tensor]:
    """A slow car 18 m ahead and one coming `gap` m away at the limit."""
    one = a_scene(ROAD, ("main.0", 100.0, 8.0), "through", ("main.0", 118.0, 7.0))
    total = 60.0 + 700.0 + 120.0
    other = a_scene(ROAD, ("main.0", 100.0, 8.0), "through", ("oncoming.0", total - (60.0 + 100.0 + gap), 22.0))
    tracks = type(one.tracks)(*(torch.cat(pair, dim=1) for pair in zip(one.tracks, other.tracks, strict=True)))
    route, spared = overtaking(make_route(one.ego, one.place, over=True), one.ego, one.place, tracks, 600.0)
    return one._replace(route=route), spared


def test_who_comes_has_to_be_far_enough_away_and_is_then_left_to_the_reckoning() -> None:
    made, spared = two(380.0)
    assert int(made.route.lane[0, 0]) >= 0
    assert spared.tolist() == [[False, True]]
    made, spared = two(150.0)
    assert int(made.route.lane[0, 0]) == -1
    assert not spared.any()


def test_there_is_room_at_the_end_of_the_closest_that_is_let_through() -> None:
    """The smallest gap that is accepted, driven step by step: the ego is back before they meet."""
    low, high = 100.0, 500.0
    while high - low > 1.0:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if int(two(middle)[0].route.lane[0, 0]) >= 0 else (middle, high)
    time, x, v, slow = 0.0, 0.0, 8.0, 18.0
    while x - 2.3 < slow + 2.3 + 2.5 or time < 1.5:  # held up for 1.5 s, then at 1.8 m/s^2 until 2.5 m ahead
        v = v if time < 1.5 else min(v + 0.01 * 1.8, 0.9 * 22.0)
        x, slow, time = x + 0.01 * v, slow + 0.01 * 7.0, time + 0.01
    x, time = x + 1.7 * v, time + 1.7
    assert high - 22.0 * time - x > 4.6
