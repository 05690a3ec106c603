"""Goals to be driven through at a given time: what a trajectory misses, in closed form, and episodes that ask for one."""

from __future__ import annotations

import pytest
import torch

from agents.evaluation.rollout import rollout
from agents.planners.base import DT, STEPS, Passage, Trajectory
from agents.planners.passage import FASTER, SPARE, missed, shares_for, waits_at
from agents.planners.pdm import SHARES
from agents.planners.policy import PlannerPolicy
from agents.planners.scene import SceneMaker
from agents.policies.base import load_policy
from envs.driving.bank import build_bank
from envs.driving.make import sample_episodes
from envs.driving.sim import DrivingSim
from scenarios import Scenario, load_text, sample

ROAD = """
version: 1
name: appointment
duration: 12 s
road: {{kind: straight, lanes: 1, length: 300 m, speed_limit: 72 km/h}}
ego:
  lane: main.0
  s: 20 m
  speed: 10 m/s
  goal:
    region:
      {{x: {x}, y: {y}, yaw: {yaw}, length: 2.4, width: 2, heading: {yaw}, heading_tolerance: 0.1, speed_min: {slow}, speed_max: {fast}}}
    time_min: {opens}
    time_max: {closes}
"""


def a_passage(**given: float) -> Passage:
    """Straight ahead; 0 where nothing else is given."""
    usual = {"cos": 1.0, "half_length": 1.0, "half_width": 1.0, "tolerance": 0.1, "slow": -torch.inf, "fast": torch.inf}
    parts = {name: torch.tensor([{**usual, **given}.get(name, 0.0)]) for name in Passage._fields if name != "wanted"}
    return Passage(wanted=torch.tensor([True]), **parts)


def steady(speed: float) -> tuple[Trajectory, torch.Tensor]:
    """Straight on at one speed, and how far; (1, 1, 1, S)."""
    time = DT * torch.arange(1, STEPS + 1).view(1, 1, 1, STEPS)
    zero, one = torch.zeros_like(time), torch.ones_like(time)
    return Trajectory(speed * time, zero, one, zero, speed * one, zero, zero), speed * time


def miss(speed: float, far: float, **given: float) -> float:
    driven, along = steady(speed)
    return float(missed(a_passage(x=far, **given), torch.tensor([[far]]), driven, along))


def test_who_is_there_in_time_misses_nothing() -> None:
    assert miss(10.0, 30.0, opens=2.9, closes=3.1) == 0.0
    assert miss(10.0, 30.0, opens=0.0, closes=9.0) == 0.0  # passes it at one moment of many
    assert miss(10.0, 60.0, opens=6.0, closes=6.0) == pytest.approx(0.0, abs=1e-5)  # after the trajectory's end, at the same speed


def test_a_miss_is_told_in_metres_and_metres_per_second() -> None:
    assert miss(10.0, 36.0, opens=3.0, closes=3.0) == pytest.approx(6.0 - SPARE)
    assert miss(10.0, 25.0, opens=3.0, closes=3.0) == pytest.approx(5.0 - SPARE)
    assert miss(10.0, 30.0, opens=3.0, closes=3.0, slow=12.0) == pytest.approx(2.0)
    assert miss(10.0, 30.0, opens=3.0, closes=3.0, fast=7.0) == pytest.approx(3.0)
    assert miss(10.0, 30.0, opens=3.0, closes=3.0, y=3.0) == pytest.approx(3.0 - SPARE)


def test_speed_is_mended_after_the_end_within_bounds() -> None:
    """40 m after 4 s; 2 s more at 10 m/s and FASTER lead to 62.4 m."""
    far = miss(10.0, 70.0, opens=6.0, closes=6.0)
    reached = 60.0 + 0.5 * FASTER * 4.0
    assert far == pytest.approx(70.0 - reached - SPARE + 0.05 * FASTER**2, abs=1e-4)
    # 41 m with 8 s to go: brakes to rest and waits, which only a bound below forbids
    assert miss(2.0, 10.0, opens=12.0, closes=12.0) == pytest.approx(0.05, abs=0.05)
    assert miss(2.0, 10.0, opens=12.0, closes=12.0, slow=1.5) > 1.0


def test_who_may_stand_there_waits_there_unless_it_has_been_passed() -> None:
    passage = a_passage(opens=3.0, closes=5.0, fast=3.0)
    rest = waits_at(passage, torch.tensor([[20.0, -0.5, -1.5]]))
    assert rest[0, 0] == pytest.approx(20.5) and rest[0, 1] == 0.0 and torch.isinf(rest[0, 2])
    assert torch.isinf(waits_at(passage._replace(slow=torch.tensor([1.0])), torch.tensor([[20.0]]))).all()
    assert torch.isinf(waits_at(passage._replace(opens=torch.tensor([-1.0])), torch.tensor([[20.0]]))).all()


def test_nothing_is_wanted_once_the_time_is_over() -> None:
    sim = a_sim(load_text(ROAD.format(x=0, y=0, yaw=0, slow=0, fast=20, opens=1, closes=2)))
    found = []
    for _ in range(12):
        passage = SceneMaker(sim)().passage
        assert passage is not None
        found.append((float(passage.closes), bool(passage.wanted)))
        sim.step(torch.zeros(1, 1, 2))
    assert found[0][1] and not found[-1][1]
    assert all(wanted == (closes >= 0.0) for closes, wanted in found)


def test_no_goal_of_the_kind_changes_nothing() -> None:
    passage = a_passage(x=50.0, opens=1.0, closes=2.0)._replace(wanted=torch.tensor([False]))
    driven, along = steady(3.0)
    assert float(missed(passage, torch.tensor([[50.0]]), driven, along)) == 0.0
    assert torch.isinf(waits_at(passage, torch.tensor([[50.0]]))).all()
    sim = a_sim("highway")
    route = SceneMaker(sim)().route
    shares = torch.tensor(SHARES)
    far = torch.full_like(route.d, 50.0)
    assert torch.equal(shares_for(passage, route, far, shares), shares.expand(*route.d.shape, -1))
    with pytest.raises(ValueError, match="3 shares; expected 5"):
        shares_for(passage, route, far, shares[:3])


def a_sim(scenario: str | Scenario) -> DrivingSim:
    config = load_policy("pdm").needs.config(agents=64)
    return DrivingSim(build_bank(sample_episodes(scenario, 1, 3), config), config, batch=1)


def appointment(far: float, opens: float, closes: float, slow: float, fast: float) -> Scenario:
    """A goal `far` m ahead of the start, on the road."""
    anywhere = load_text(ROAD.format(x=0, y=0, yaw=0, slow=slow, fast=fast, opens=opens, closes=closes))
    scene = SceneMaker(a_sim(anywhere))()
    route, ego, k = scene.route, scene.ego, round(far) + 20  # points of a path begin 20 m behind, one a metre
    x, y = route.x[0, 1, k], route.y[0, 1, k]
    place = {
        "x": float(ego.x[0] + x * ego.cos[0] - y * ego.sin[0]),
        "y": float(ego.y[0] + x * ego.sin[0] + y * ego.cos[0]),
        "yaw": float(ego.yaw[0] + torch.atan2(route.sin[0, 1, k], route.cos[0, 1, k])),
    }
    return load_text(ROAD.format(**place, slow=slow, fast=fast, opens=opens, closes=closes))


def test_pdm_keeps_appointments_that_idm_misses() -> None:
    """Slower than it would like; faster at the end than it begins; waiting in the place."""
    wanted = [(60.0, 7.0, 8.0, 0.0, 20.0), (110.0, 8.6, 9.4, 14.0, 20.0), (50.0, 9.5, 10.5, 0.0, 3.0)]
    episodes = [sample(appointment(*what), seed) for seed, what in enumerate(wanted)]
    kept = rollout(PlannerPolicy("pdm"), episodes, batch=len(episodes))
    assert [result.end for result in kept] == ["arrived"] * len(wanted)
    without = rollout(PlannerPolicy("idm_mobil"), episodes, batch=len(episodes))
    assert not any(result.end == "arrived" for result in without)
