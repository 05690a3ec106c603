"""What was known of the thing that was run into: every cause by an episode made for it, and returns as the shells count them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.evaluation.rollout import EpisodeResult, rollout
from agents.evaluation.struck import Struck
from agents.policies.base import Policy
from agents.policies.baselines import Constant, Idm
from agents.policies.levels import at_level
from envs.driving.types import DrivingConfig
from envs.driving.worlds import Worlds
from perception.noise import even_noise
from perception.noise_card import save_noise
from scenarios.episode import AgentSpec, Driver, Episode, Goal, Role
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.network import Box, RoadNetwork
from scenarios.roads.highway import HighwayRoad

CAR = KIND_SPECS[Kind.CAR]
NETWORK = HighwayRoad(lanes=2, length=600.0).build()
STILL = 160.0  # m along the road, of a car that stands; the ego comes from 40 m at 20 m/s


def episode(network: RoadNetwork = NETWORK) -> Episode:
    size = {"length": CAR.length, "width": CAR.width, "wheelbase": CAR.wheelbase}
    ego = AgentSpec(role=Role.LEARNER, lane="main.0", s=40.0, speed=20.0, driver=Driver(desired_speed=25.0), **size)
    other = AgentSpec(role=Role.STATIC, lane="main.0", s=STILL, speed=0.0, driver=Driver(desired_speed=25.0), **size)
    goal = Goal(destination="through")
    agents = (ego, other)
    return Episode(scenario="test/road", seed=3, duration=10.0, network=network, network_key="road", agents=agents, goal=goal)


def crash(policy: Policy, network: RoadNetwork = NETWORK) -> Struck:
    (found,) = rollout(policy, [episode(network)], batch=2, account=True)
    assert (found.end, found.error) == ("collision", "")
    assert found.struck is not None
    assert found.struck.kind == "car"
    return found.struck


def noise(folder: Path, *, along: float = 0.0) -> str:
    """An error model without misses that puts things too far away by a share of the distance."""
    model = even_noise(along=0.0, across=0.0, size=0.0, yaw=0.0)
    return str(save_noise(folder / "noise.json", replace(model, along=torch.tensor((along, 0.0)).expand(3, 7, 2).clone())))


def test_what_is_seen_and_run_into_all_the_same_is_the_policys_doing() -> None:
    struck = crash(Constant())
    assert (struck.cause, struck.hidden) == ("known", 0.0)
    assert struck.error == pytest.approx(0.0, abs=1e-3)
    assert struck.distance == pytest.approx(CAR.length + 2.0 * 20.0, abs=5.0)  # 2 s at 20 m/s before bumpers meet
    assert struck.noticed == pytest.approx(100.0, abs=5.0)  # the range of sight


def test_what_a_wall_hides_is_hidden() -> None:
    """A wall across the road (it stops nobody) 22 m before the car."""
    lane = next(lane for lane in NETWORK.lanes if lane.id == "main.0")
    along = lane.centre[-1] - lane.centre[0]
    x, y = lane.centre[0] + (STILL - 22.0) * along / np.linalg.norm(along)
    wall = replace(NETWORK, occluders=(Box(x=float(x), y=float(y), yaw=0.0, length=0.5, width=60.0),))
    struck = crash(at_level(Constant(), "visible"), wall)
    assert struck.cause == "hidden"
    assert 0.5 < struck.hidden < 1.0
    assert struck.noticed is not None
    assert 16.0 < struck.noticed < 22.0
    told = crash(Constant(), wall)  # with the truth the wall makes no difference, and is told all the same
    assert (told.cause, told.hidden) == ("known", struck.hidden)


def test_what_lies_beyond_the_range_of_sight_is_outside() -> None:
    struck = crash(at_level(Constant(), "visible,view_range=9"))
    assert (struck.cause, struck.hidden) == ("outside", 0.0)


def test_what_the_error_model_loses_is_missed(tmp_path: Path) -> None:
    struck = crash(at_level(Constant(), f"noisy,noise={noise(tmp_path)},recall=0"))
    assert (struck.cause, struck.noticed, struck.error) == ("missed", None, None)


def test_what_is_put_elsewhere_is_misplaced(tmp_path: Path) -> None:
    card = noise(tmp_path, along=0.09)
    struck = crash(at_level(Constant(), f"noisy,noise={card}"))
    assert struck.cause == "misplaced"
    assert struck.error is not None
    assert struck.error > 0.5
    assert crash(at_level(Constant(), f"noisy,noise={card},position=0")).cause == "known"


def test_returns_are_those_of_the_shells() -> None:
    worlds = Worlds([episode()], DrivingConfig(autopilot=True), batch=1)
    over, reward = False, 0.0
    while not over:
        step = worlds.step(torch.zeros(1, 1, 2))
        reward, over = float(worlds.returns[0, 0]), bool(step.terminated[0, 0] | step.truncated[0])
    (found,) = rollout(Idm(), [episode()], batch=3)
    assert found.reward == pytest.approx(reward, abs=1e-6)
    assert found.struck is None  # nobody asked
    assert EpisodeResult(policy="p", scenario="s", seed=0, end="error", error="lost").reward is None
