"""What is added up per tick, and the scores, each against the published definition worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from envs.driving.collision import pairwise_overlap
from envs.driving.dynamics import bicycle
from envs.driving.metrics import COMFORT, OFF_LANE, episode_metrics, update_stats, within_lane
from envs.driving.types import Stats
from scenarios.episode import Role
from scenarios.kinds import Kind

CAR, WALKER, DT = Kind.CAR, Kind.PEDESTRIAN, 0.1


def contacts(world: Any) -> Tensor:
    """Which agents the learners touch, (B, N, A)."""
    state, setup, _, config = world
    return pairwise_overlap(state.x, state.y, state.yaw, setup.length, setup.width, state.valid)[:, : config.learners]


def after_one_tick(world: Any) -> Stats:
    """Stats after a tick that ended in the world's state."""
    return update_stats(world.state.stats, world.state, world.setup, world.maps, contacts(world), DT)


def scored(world: Any, **stats: Any) -> dict[str, float]:
    """Metrics of the ego with some stats given."""
    values = {name: torch.full_like(getattr(world.state.stats, name), value) for name, value in stats.items()}
    state = world.state._replace(stats=world.state.stats._replace(**values))
    return {name: float(value[0, 0]) for name, value in episode_metrics(state, world.setup, DT).items()}


# nuPlan's classification: ego (x, y, yaw, speed), other (x, y, yaw, speed), at fault
FAULTS = {
    "standing ego is hit": ((0, 0, 0, 0.0), (4, 0, math.pi, 5), False),
    "creeping below 0.05 m/s counts as standing": ((0, 0, 0, 0.04), (4, 0, math.pi, 5), False),
    "into a standing car": ((0, 0, 0, 5), (4, 0, 0, 0), True),
    "sideways into a standing car": ((0, 0, 0, 5), (0, 1.8, 0, 0), True),
    "backing into a standing car": ((0, 0, 0, -2), (-4, 0, 0, 0), True),
    "struck from behind": ((0, 0, 0, 5), (-4.5, 0, 0, 9), False),
    "front bumper into a slower car": ((0, 0, 0, 9), (4.5, 0, 0, 5), True),
    "front bumper into a crossing car": ((0, 0, 0, 9), (3, 0, math.pi / 2, 5), True),
    "side by side, ego in its lane": ((0, 0, 0, 9), (-0.5, 1.8, -0.05, 9), False),
    "side by side, ego out of its lane": ((0, 1.3, 0, 9), (-0.5, 3.1, 0, 9), True),
}


@pytest.mark.parametrize("case", FAULTS)
def test_fault_as_nuplan_classifies_it(scene: Any, case: str) -> None:
    ego, other, at_fault = FAULTS[case]
    stats = after_one_tick(scene([(CAR, *ego), (CAR, *other)]))
    assert bool(stats.collision[0, 0])
    assert int(stats.collision_slot[0, 0]) == 1
    assert bool(stats.collision_fault[0, 0]) == at_fault
    assert (float(stats.ttc_min[0, 0]) == 0.0) == at_fault  # nuPlan: 0 in an at-fault collision, the collided one ignored otherwise


def test_the_culpable_contact_is_the_one_that_is_named(scene: Any) -> None:
    world = scene([(CAR, 0, 0, 0, 5), (CAR, -4.5, 0, 0, 9), (WALKER, 2.4, 0, 0, 1)])
    stats = after_one_tick(world)
    assert int(stats.collision_slot[0, 0]) == 2
    assert bool(stats.collision_fault[0, 0])


def test_absent_agents_touch_nobody(scene: Any) -> None:
    world = scene([(CAR, 0, 0, 0, 5)])  # the empty slots lie at the origin
    stats = after_one_tick(world)
    assert not stats.collision.any()
    assert int(stats.collision_slot[0, 0]) == -1


def test_nothing_counts_after_the_end(scene: Any) -> None:
    world = scene([(CAR, 0, 0, 0, 5), (CAR, 4, 0, 0, 0)])
    first = after_one_tick(world)
    again = update_stats(first, world.state._replace(speed=world.state.speed + 30), world.setup, world.maps, contacts(world), DT)
    for name, before, now in zip(Stats._fields, first, again, strict=True):
        assert torch.equal(before, now), name


# other (x, y, yaw, speed) seen from an ego at the origin driving 10 m/s along its lane; the box's time to collision, at most 3
TIMES = {
    "standing 20 m ahead": ((24.6, 0, 0, 0), 2.0),
    "standing in 31 m": ((35.6, 0, 0, 0), 3.0),
    "same speed": ((12, 0, 0, 10), 3.0),
    "slower ahead": ((24.6, 0, 0, 6), 3.0),
    "oncoming": ((34.6, 0, math.pi, 5), 2.0),
    "behind and faster": ((-10, 0, 0, 25), 3.0),  # struck from behind is not ours
    "beside, cutting in at once": ((2.0, 4.0, -0.6, 10), 3.0),  # beside counts only out of the lane or on a junction
    "crossing ahead": ((20.0, -5.0, math.pi / 2, 2.5), (20.0 - 0.925 - 2.3) / 10.0),
}


@pytest.mark.parametrize("case", TIMES)
def test_time_to_collision(scene: Any, case: str) -> None:
    other, seconds = TIMES[case]
    stats = after_one_tick(scene([(CAR, 0, 0, 0, 10), (CAR, *other)]))
    assert_allclose(float(stats.ttc_min[0, 0]), seconds, atol=1e-5)
    assert int(stats.ttc_bad[0, 0]) == int(seconds < 0.95)


def test_time_to_collision_beside_counts_between_lanes(scene: Any) -> None:
    """The same neighbour moving in: ignored by an ego in its lane, counted by one that straddles the line."""
    for y, seen in ((0.0, False), (1.2, True)):
        stats = after_one_tick(scene([(CAR, 0, y, 0, 10), (CAR, 2.0, y + 4.0, -0.6, 10)]))
        assert (float(stats.ttc_min[0, 0]) < 1.0) == seen


def test_time_to_collision_of_a_standing_ego_is_infinite(scene: Any) -> None:
    stats = after_one_tick(scene([(CAR, 0, 0, 0, 0), (CAR, 8, 0, math.pi, 10)]))
    assert float(stats.ttc_min[0, 0]) == 3.0


def test_ttc_threshold(scene: Any) -> None:
    for gap, bad in ((9.4, 1), (9.6, 0)):
        stats = after_one_tick(scene([(CAR, 0, 0, 0, 10), (CAR, gap + 4.6, 0, 0, 0)]))
        assert int(stats.ttc_bad[0, 0]) == bad


def drive(world: Any, controls: list[tuple[float, float]]) -> Stats:
    """Let the ego drive (acceleration, steering) per tick with the real bicycle and add up."""
    state, setup, maps, _ = world
    stats = state.stats
    for accel, steer in controls:
        push, turn = torch.full_like(state.x, accel), torch.full_like(state.x, steer)
        move = bicycle(state.x, state.y, state.yaw, state.speed, push, turn, setup.wheelbase, DT)
        state = state._replace(x=move.x, y=move.y, yaw=move.yaw, speed=move.speed, accel=move.accel, steer=turn)
        stats = update_stats(stats, state, setup, maps, contacts(world._replace(state=state)), DT)
    return stats


# speed, then (acceleration, steering) per tick; which bounds break, in which number of ticks
RIDES = {
    "steady": (10.0, [(0.0, 0.0)] * 5, {}),
    "drives at the bound": (10.0, [(2.40, 0.0)] * 5, {}),
    "drives beyond": (10.0, [(2.41, 0.0)] * 5, {"lon_accel": 5}),
    "brakes at the bound": (10.0, [(-4.05, 0.0)] * 5, {}),
    "brakes beyond": (10.0, [(-4.06, 0.0)] * 5, {"lon_accel": 5}),
    # a step of the raw value by x changes the smoothed one by x / 6 in a tick of 0.1 s (time constant 0.5 s), the next by 5/6 of that
    "jerk within": (10.0, [(0.0, 0.0), (2.39, 0.0)], {}),
    "longitudinal jerk": (10.0, [(0.0, 0.0), (-2.52, 0.0), (-2.52, 0.0)], {"lon_jerk": 1}),
    "longitudinal jerk for two ticks": (10.0, [(0.0, 0.0), (-3.0, 0.0), (-3.0, 0.0), (-3.0, 0.0)], {"lon_jerk": 2}),
    "jerk": (20.0, [(0.0, 0.0), (-5.1, 0.0)], {"lon_jerk": 1, "jerk": 1}),
    "a bump of one tick": (10.0, [(0.0, 0.0), (-2.4, 0.0), (0.0, 0.0)], {}),
    "corner at 4.88 m/s^2": (10.0, [(0.0, math.atan(2.8 * 0.0488))] * 3, {}),
    "corner at 4.90 m/s^2": (10.0, [(0.0, math.atan(2.8 * 0.0490))] * 3, {"lat_accel": 3}),
    "turns at 0.94 rad/s": (2.0, [(0.0, math.atan(2.8 * 0.47))] * 3, {}),
    "turns at 0.96 rad/s": (2.0, [(0.0, math.atan(2.8 * 0.48))] * 3, {"yaw_rate": 3}),
    "yaw acceleration 1.92": (1.0, [(0.0, 0.0), (0.0, math.atan(2.8 * 6 * 0.192))], {}),
    "yaw acceleration 1.94": (1.0, [(0.0, 0.0), (0.0, math.atan(2.8 * 6 * 0.194))], {"yaw_accel": 1}),
    "lateral jerk alone": (8.0, [(0.0, 0.0), (0.0, math.atan(2.8 * 6 * 0.84 / 64))], {"jerk": 1}),
}


@pytest.mark.parametrize("case", RIDES)
def test_comfort_bounds(scene: Any, case: str) -> None:
    speed, controls, broken = RIDES[case]
    world = scene([(CAR, 0, 0, 0, speed)])
    counts = dict(zip((name for name, _, _ in COMFORT), drive(world, controls).uncomfortable[0, 0].tolist(), strict=True))
    assert {name: count for name, count in counts.items() if count} == broken


def test_distance_speeding_and_ticks(scene: Any) -> None:
    """From 14 m/s at 2 m/s^2 for 1 s: 15 m; the limit of 15 m/s is exceeded by 0.2, 0.4, ... 1.0 m/s."""
    stats = drive(scene([(CAR, 0, 0, 0, 14)]), [(2.0, 0.0)] * 10)
    assert_allclose(float(stats.distance[0, 0]), 15.0, atol=1e-4)
    assert_allclose(float(stats.speeding[0, 0]), 0.2 + 0.4 + 0.6 + 0.8 + 1.0, atol=1e-4)
    assert int(stats.ticks[0, 0]) == 10


def test_lane_offset_is_the_mean_distance_from_the_line(scene: Any) -> None:
    """A metre beside the middle counts as one; in a lane change, from where the change should be by now; on no lane, as two."""
    world = scene([(CAR, 0, 1.0, 0, 10)])
    stats = drive(world, [(0.0, 0.0)] * 4)
    assert_allclose(float(stats.astray[0, 0]), 4.0, atol=1e-4)
    assert_allclose(scored(world, astray=4.0, ticks=4)["lane_offset"], 1.0)
    changing = world.state._replace(shift=torch.full_like(world.state.shift, 0.75))
    assert_allclose(float(after_one_tick(world._replace(state=changing)).astray[0, 0]), 0.25, atol=1e-5)
    state, setup, maps, _ = scene([(CAR, 0, 20.0, 0, 10)])
    assert float(after_one_tick(world._replace(state=state, setup=setup, maps=maps)).astray[0, 0]) == OFF_LANE
    assert scored(world)["lane_offset"] == 0.0  # before the first tick


@pytest.mark.parametrize(
    ("ego", "other", "impact"),
    [
        ((0, 0, 0, 9), (4.5, 0, 0, 5), 4.0),  # into a slower car
        ((0, 0, 0, 9), (4.5, 0, math.pi, 5), 14.0),  # head on
        ((0, 0, 0, 9), (3, 0, math.pi / 2, 5), math.hypot(9, 5)),  # into a crossing one
        ((0, 0, 0, 9), (30, 0, 0, 5), 0.0),  # no contact
    ],
)
def test_impact_is_the_relative_speed_at_the_first_collision(scene: Any, ego: Any, other: Any, impact: float) -> None:
    world = scene([(CAR, *ego), (CAR, *other)])
    stats = after_one_tick(world)
    assert_allclose(float(stats.impact[0, 0]), impact, atol=1e-4)
    assert_allclose(scored(world, impact=float(stats.impact[0, 0]))["impact"], impact, atol=1e-4)
    again = world.state._replace(stats=stats, speed=world.state.speed * 3.0)  # what comes after the first collision counts no more
    assert_allclose(float(after_one_tick(world._replace(state=again)).impact[0, 0]), impact if impact else 0.0, atol=1e-4)


def test_within_lane(scene: Any) -> None:
    """Lanes are 4 m wide, the car 1.85 x 4.6 m: it may be 1.075 m off the centre, less when turned."""
    for y, yaw, inside in (
        (1.07, 0.0, True),
        (1.08, 0.0, False),
        (-1.08, 0.0, False),
        (0.0, 0.4, True),
        (0.3, 0.4, False),
        (0.0, 3.0, True),
    ):
        state, setup, maps, _ = scene([(CAR, 0, y, yaw, 5)])
        assert bool(within_lane(state, setup, maps, 1)[0, 0]) == inside, (y, yaw)
    state, setup, maps, _ = scene([(CAR, 0, 20.0, 0, 5)])
    assert not within_lane(state, setup, maps, 1).any()  # on no lane


def test_scores_of_a_perfect_episode(scene: Any) -> None:
    world = scene([(CAR, 0, 0, 0, 10)])
    world = world._replace(
        setup=world.setup._replace(goal_kind=torch.ones_like(world.setup.kind), route_length=torch.full_like(world.setup.x, 200.0))
    )
    got = scored(world, arrived=True, progress=199.0, ticks=150)
    assert got["success"] == got["route_progress"] == got["nuplan_score"] == got["driving_score"] == got["comfort"] == got["ttc_ok"] == 1.0
    assert got["collision"] == got["red_light"] == 0.0
    assert_allclose(got["duration"], 15.0)


def test_nuplan_score(scene: Any) -> None:
    """(5 progress + 5 TTC + 4 speed + 2 comfort) / 16, times four gates; progress 150 / 200 m."""
    world = scene([(CAR, 0, 0, 0, 10)])
    world = world._replace(
        setup=world.setup._replace(goal_kind=torch.ones_like(world.setup.kind), route_length=torch.full_like(world.setup.x, 200.0))
    )

    def score(**stats: Any) -> float:
        return scored(world, **{"progress": 150.0, "ticks": 100, **stats})["nuplan_score"]

    assert_allclose(score(), (3.75 + 5 + 4 + 2) / 16)
    assert_allclose(score(ttc_bad=1), (3.75 + 4 + 2) / 16)
    assert_allclose(score(uncomfortable=1), (3.75 + 5 + 4) / 16)
    assert_allclose(score(speeding=100 * 2.23 / 4), (3.75 + 5 + 3 + 2) / 16, rtol=1e-6)
    assert_allclose(score(speeding=1e6), (3.75 + 5 + 2) / 16)
    assert score(collision=True) > 0.9  # not at fault
    assert score(collision=True, collision_fault=True) == 0.0
    assert score(off_road=True) == score(wrong_way=True) == score(progress=39.9) == 0.0
    assert score(progress=40.1) > 0.0


def test_driving_score(scene: Any) -> None:
    """Route completion 75 % times CARLA's penalties; in slot 1 stands a walker, in slot 2 a parked car, in slot 3 drives one."""
    world = scene([(CAR, 0, 0, 0, 10), (WALKER, 30, 0, 0, 1), (CAR, 50, 0, 0, 5), (CAR, 70, 0, 0, 5)])
    role = world.setup.role.clone()
    role[0, 3] = int(Role.IDM)
    world = world._replace(setup=world.setup._replace(role=role))
    world = world._replace(
        setup=world.setup._replace(goal_kind=torch.ones_like(world.setup.kind), route_length=torch.full_like(world.setup.x, 200.0))
    )

    def score(**stats: Any) -> float:
        return scored(world, progress=150.0, ticks=100, **stats)["driving_score"] / 0.75

    assert_allclose(score(), 1.0)
    assert_allclose(score(collision=True, collision_slot=1), 0.5)
    assert_allclose(score(collision=True, collision_slot=2), 0.65)
    assert_allclose(score(collision=True, collision_slot=3), 0.6)
    assert_allclose(score(red_light=2), 0.49)
    assert_allclose(score(stop_sign=1), 0.8)
    assert_allclose(score(red_light=1, stop_sign=1, collision=True, collision_slot=1), 0.5 * 0.7 * 0.8)


@pytest.mark.parametrize("flaw", ["collision", "off_road", "wrong_way", "red_light", "stop_sign"])
def test_success_forgives_nothing(scene: Any, flaw: str) -> None:
    world = scene([(CAR, 0, 0, 0, 10)])
    assert scored(world, arrived=True)["success"] == 1.0
    assert scored(world, arrived=False)["success"] == 0.0
    assert scored(world, arrived=True, **{flaw: 1})["success"] == 0.0


def test_lasting_is_not_progress(scene: Any) -> None:
    """Without a goal, a parked ego lasts (success) but has covered nothing of what it would at its desired speed."""
    world = scene([(CAR, 0, 0, 0, 0)])
    got = scored(world, arrived=True, ticks=200)
    assert got["success"] == 1.0
    assert got["route_progress"] == got["nuplan_score"] == 0.0


def test_runs_under_torch_compile(scene: Any) -> None:
    """One graph, and the same numbers as eager."""
    world = scene([(CAR, 0, 0.9, 0.1, 9), (CAR, 4.5, 0, 0, 5), (WALKER, 30, 3, 0, 1)], learners=2)
    args = (world.state.stats, world.state, world.setup, world.maps, contacts(world), DT)
    compiled = torch.compile(update_stats, fullgraph=True, backend="aot_eager")(*args)
    for name, want, got in zip(Stats._fields, update_stats(*args), compiled, strict=True):
        assert_allclose(got, want, rtol=1e-5, atol=1e-6, err_msg=name)
