"""MOBIL: every threshold from a computation by hand, one per cent to either side of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from envs.driving.sim import DrivingSim
from envs.driving.traffic import SUBSETS
from scenarios.episode import Role
from scenarios.network import Lane, LaneEnd, RoadNetwork
from scenarios.roads import ROADS

CAR = 4.6  # m, length of a car
A, B, T, S0 = 1.5, 2.0, 1.5, 2.0  # the usual driver of the `agent` fixture, desired speed 30 m/s


def road(lanes: int, length: float = 800.0, *, solid: bool = False) -> RoadNetwork:
    """Straight lanes along +x, 3.5 m apart, limit 50 m/s; solid: no changes allowed."""
    return RoadNetwork(
        lanes=tuple(
            Lane(
                id=f"main.{i}",
                centre=np.array([[0.0, 3.5 * i], [length, 3.5 * i]]),
                speed_limit=50.0,
                end=LaneEnd.EXIT,
                left=f"main.{i + 1}" if i + 1 < lanes and not solid else None,
                right=f"main.{i - 1}" if i and not solid else None,
            )
            for i in range(lanes)
        )
    )


TWO, THREE, SOLID = road(2), road(3), road(2, solid=True)


def choices(sim: DrivingSim, slot: int = 0) -> list[set[int]]:
    """For each world, into which lanes `slot` would change from here, whenever it is asked (drivers take turns over some ticks)."""
    setup, state, rows = sim.setup, sim.state, sim.rows
    found: list[set[int]] = [set() for _ in range(sim.batch)]
    for phase in range(2 * SUBSETS):
        sim.set(setup, state._replace(step=torch.full_like(state.step, phase)), rows)
        sim.step(torch.zeros(sim.batch, 1, 2))
        for b, lane in enumerate(sim.state.lane[:, slot].tolist()):
            if lane != int(state.lane[b, slot]):
                found[b].add(lane)
    sim.set(setup, state, rows)
    return found


def idm(speed: float, gap: float = np.inf, closing: float = 0.0) -> float:
    """Acceleration of the usual driver."""
    star = S0 + max(0.0, speed * T + speed * closing / (2.0 * np.sqrt(A * B)))
    return A * (1.0 - (speed / 30.0) ** 4 - (star / gap) ** 2)


def overtaker(agent: Any, **driver: Any) -> list[Any]:
    """A car at 25 m/s, 60 m behind one that does 18."""
    slow = agent("main.0", 200.0 + CAR + 60.0, 18.0, driver={"desired_speed": 18.0})
    return [agent("main.0", 200.0, 25.0, driver={"changes_lanes": True, "politeness": 0.0, **driver}), slow]


GAIN = idm(25.0) - idm(25.0, 60.0, 7.0)  # m/s^2, what the overtaker of 25 m/s gains on an empty lane


def test_a_change_needs_a_gain_above_the_threshold(agent: Any, stage: Any) -> None:
    sim = stage(TWO, [overtaker(agent, change_threshold=GAIN * share) for share in (0.5, 0.99, 1.01, 2.0)])
    assert choices(sim) == [{1}, {1}, set(), set()]


def test_to_the_left_the_bias_to_the_right_lane_counts_as_well(agent: Any, stage: Any) -> None:
    sim = stage(TWO, [overtaker(agent, change_threshold=0.2, keep_right=(GAIN - 0.2) * share) for share in (0.99, 1.01)])
    assert choices(sim) == [{1}, set()]


def test_the_bias_brings_drivers_back_to_the_right(agent: Any, stage: Any) -> None:
    """On an empty road nothing is gained but the bias."""
    worlds = [
        [agent("main.1", 200.0, 25.0, driver={"changes_lanes": True, "change_threshold": 0.2, "keep_right": bias})]
        for bias in (0.198, 0.202)
    ]
    assert choices(stage(THREE, worlds)) == [set(), {0}]


def test_who_must_not_change_does_not(agent: Any, stage: Any) -> None:
    """Neither drivers who never change, nor anyone over a line that forbids it, nor where there is no lane, nor into the oncoming one."""
    willing = overtaker(agent, change_threshold=0.0)
    assert choices(stage(TWO, [willing])) == [{1}]
    assert choices(stage(TWO, [overtaker(agent, change_threshold=0.0, changes_lanes=False)])) == [set()]
    assert choices(stage(SOLID, [willing])) == [set()]
    assert choices(stage(road(1), [willing])) == [set()]
    two_way = ROADS["two_way"]().build()  # with a lane for passing beside main.0
    assert next(lane for lane in two_way.lanes if lane.id == "main.0").left == "pass.0"
    assert choices(stage(two_way, [willing])) == [set()]


@pytest.mark.parametrize("behind", [15.0, 30.0])
def test_the_new_follower_need_not_brake_harder_than_is_safe(behind: float, agent: Any, stage: Any) -> None:
    """A follower at 28 m/s, `behind` m behind on the new lane, would have to brake; exactly that much is allowed, or a little less."""
    braking = -idm(28.0, behind, 3.0)
    assert braking > 0.5
    follower = agent("main.1", 200.0 - CAR - behind, 28.0)
    worlds = [[*overtaker(agent, change_threshold=0.0, safe_decel=braking * share), follower] for share in (0.99, 1.01)]
    assert choices(stage(TWO, worlds)) == [set(), {1}]


def test_politeness_weighs_what_the_new_follower_loses(agent: Any, stage: Any) -> None:
    loss = idm(28.0) - idm(28.0, 40.0, 3.0)
    fair = (GAIN - 0.2) / loss  # politeness at which own gain and the other's loss balance
    follower = agent("main.1", 200.0 - CAR - 40.0, 28.0)
    worlds = [
        [*overtaker(agent, change_threshold=0.2, safe_decel=20.0, politeness=fair * share), follower] for share in (0.0, 0.98, 1.02, 3.0)
    ]
    assert 0.0 < fair < 5.0
    assert choices(stage(TWO, worlds)) == [{1}, {1}, set(), set()]


def test_nobody_changes_beside_or_close_to_another(agent: Any, stage: Any) -> None:
    """Another car at the same speed on the new lane, from 12 m behind to 12 m ahead, whatever the driver would put up with."""
    shifts = np.arange(-12.0, 12.5, 1.0)
    worlds = [
        [
            *overtaker(agent, change_threshold=0.0, safe_decel=100.0),
            agent("main.1", 200.0 + shift, 25.0, driver={"min_gap": 0.1, "headway": 0.1}),
        ]
        for shift in shifts
    ]
    found = choices(stage(TWO, worlds))
    for shift, lanes in zip(shifts, found, strict=True):
        if abs(shift) < CAR + 1.0:
            assert lanes == set(), shift
    assert {1} in found  # far enough behind, it may


def fork() -> RoadNetwork:
    """Lanes a.0 and a.1, 600 m; a.0 leads off to `off`, a.1 on to `on`."""
    lanes = []
    for i, (after, y) in enumerate((("off", -30.0), ("on", 3.5))):
        lanes.append(
            Lane(
                id=f"a.{i}",
                centre=np.array([[0.0, 3.5 * i], [600.0, 3.5 * i]]),
                speed_limit=50.0,
                successors=(after,),
                left="a.1" if i == 0 else None,
                right="a.0" if i == 1 else None,
            )
        )
        lanes.append(Lane(id=after, centre=np.array([[600.0, 3.5 * i], [800.0, y]]), speed_limit=50.0, end=LaneEnd.EXIT))
    return RoadNetwork(lanes=tuple(lanes), destinations={"off": (("off", np.inf),), "on": (("on", np.inf),)})


def test_the_route_decides(agent: Any, stage: Any) -> None:
    """Whoever has to leave changes although nothing is gained, and whoever is where the route leads stays there although much would be."""
    selfish = {"changes_lanes": True, "change_threshold": 1.0}
    greedy = {"changes_lanes": True, "change_threshold": 0.0}
    ego = agent("a.1", 20.0, role=Role.STATIC)  # its destination would be the episode's goal
    slow = agent("a.0", 400.0, 10.0, driver={"desired_speed": 10.0})
    worlds = [
        [ego, agent("a.1", 300.0, 25.0, driver=selfish, destination="off")],
        [ego, agent("a.1", 300.0, 25.0, driver=selfish, destination="on")],
        [ego, agent("a.0", 300.0, 25.0, driver=selfish, destination="on")],
        [ego, agent("a.0", 300.0, 25.0, driver=greedy, destination="off"), slow],
        [ego, agent("a.0", 300.0, 25.0, driver=greedy, destination=None), slow],
    ]
    off, on = 0, 2  # index of a.0 and a.1
    assert choices(stage(fork(), worlds), slot=1) == [{off}, set(), {on}, set(), {on}]


def test_the_nearer_the_end_of_the_lane_the_more_the_new_follower_may_have_to_brake(agent: Any, stage: Any) -> None:
    """A follower who would have to brake at 4 m/s^2, a little more than the 3 m/s^2 that is safe."""
    gap = next(g for g in np.arange(40.0, 5.0, -0.1) if -idm(28.0, g, 3.0) > 4.0)
    driver = {"changes_lanes": True, "safe_decel": 3.0}
    ego = agent("a.1", 20.0, role=Role.STATIC)
    worlds = [
        [ego, agent("a.0", s, 25.0, driver=driver, destination="on"), agent("a.1", s - CAR - gap, 28.0, destination="on")]
        for s in (300.0, 540.0)
    ]
    assert choices(stage(fork(), worlds), slot=1) == [set(), {2}]


def test_two_neighbours_never_change_into_one_gap(agent: Any, stage: Any) -> None:
    """Cars beside each other on the outer of three lanes, both behind slow ones, the middle lane free: one goes, the other waits."""
    eager = {"changes_lanes": True, "change_threshold": 0.0, "politeness": 0.0}
    slow = {"desired_speed": 8.0}
    rng = np.random.default_rng(0)
    worlds = []
    for _ in range(48):
        ahead = rng.uniform(30.0, 60.0, 2)
        pair = [agent(f"main.{2 * k}", 100.0 + rng.uniform(-6.0, 6.0), rng.uniform(15.0, 25.0), driver=eager) for k in range(2)]
        pair += [agent(f"main.{2 * k}", 100.0 + ahead[k] + CAR, 8.0, driver=slow) for k in range(2)]
        worlds.append([pair[i] for i in rng.permutation(4)])  # the slots decide who is asked when
    sim = stage(THREE, worlds)
    changed = torch.zeros(48, sim.config.agents, dtype=torch.bool)
    for _ in range(100):
        out = sim.step(torch.zeros(48, 1, 2))
        assert not out.touched.any()
        state, slots = sim.state, range(4)
        changed |= state.origin != state.lane
        for i in slots:
            for j in range(i):
                both = (state.lane[:, i] == 1) & (state.lane[:, j] == 1)
                assert not (both & ((state.x[:, i] - state.x[:, j]).abs() < CAR)).any()
    assert changed.any(1).float().mean() > 0.9


def test_parked_cars_do_not_change_lanes(agent: Any, stage: Any) -> None:
    parked = agent("main.0", 200.0, role=Role.STATIC, driver={"changes_lanes": True, "keep_right": -5.0})
    assert choices(stage(TWO, [[parked, agent("main.0", 100.0, 10.0)]])) == [set()]


@pytest.mark.parametrize("limit", [8.0, 14.0])
def test_a_lone_driver_does_not_change_lanes_before_a_lower_limit(limit: float, agent: Any, stage: Any) -> None:
    """Nothing is gained beside: braking for the limit is the same there."""
    lanes = [
        Lane(
            id=f"{name}.{i}",
            centre=np.array([[start, 3.5 * i], [start + 400.0, 3.5 * i]]),
            speed_limit=top,
            end=LaneEnd.CONTINUE if name == "fast" else LaneEnd.EXIT,
            successors=(f"slow.{i}",) if name == "fast" else (),
            left=f"{name}.1" if i == 0 else None,
            right=f"{name}.0" if i == 1 else None,
        )
        for name, start, top in (("fast", 0.0, 30.0), ("slow", 400.0, limit))
        for i in (0, 1)
    ]
    starts = [("fast.0", 28.0), ("fast.1", 28.0)]
    sim = stage(RoadNetwork(lanes=tuple(lanes)), [[agent(lane, 100.0, v, driver={"changes_lanes": True})] for lane, v in starts])
    rows = set()
    for _ in range(300):
        sim.step(torch.zeros(2, 1, 2))
        rows.add(tuple((sim.state.y[:, 0] > 1.75).tolist()))
        assert (sim.state.y[:, 0] - torch.tensor([0.0, 3.5])).abs().max() < 0.2
    assert float(sim.state.x[:, 0].min()) > 450.0
    assert rows == {(False, True)}
