"""A learner that tells a planner what to aim at: the wish, the worlds, the training and the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.evaluation.rollout import rollout
from agents.learning.algorithms import WISH_NOISE, build_model
from agents.learning.config import TrainConfigError, command_line, config_from
from agents.learning.planned import PlannedVecEnv
from agents.learning.trainer import train
from agents.planners.base import Plan, PlannerError, Scene, make_planner
from agents.planners.scene import SceneMaker
from agents.planners.wish import GUIDED, guide, make_guided
from agents.policies.base import PolicyError, Told, load_policy
from agents.policies.bundle import load_bundle
from agents.policies.perturbed import perturbed
from agents.policies.planned import PlannedPolicy
from agents.policies.spec import BundleSpec
from envs.driving.bank import build_bank
from envs.driving.make import sample_episodes
from envs.driving.observation import observe
from envs.driving.sb3_env import DrivingVecEnv
from envs.driving.sim import DrivingSim
from scenarios import load, sample

T = torch.tensor
WORLDS = 6
TOLD = [pytest.param(name, marks=pytest.mark.slow if name == "mppi" else ()) for name in GUIDED]


@pytest.fixture(scope="module")
def scene() -> Scene:
    config = load_policy("pdm").needs.config(agents=32)
    sim = DrivingSim(build_bank(sample_episodes("highway/easy", WORLDS, 11), config), config, batch=WORLDS)
    for _ in range(5):
        sim.step(torch.zeros(WORLDS, 1, 2))
    return SceneMaker(sim)()


def told(scene: Scene, name: str, side: float = 0.0, pace: float = 0.0, boldness: float = 0.0) -> Plan:
    return guide(make_guided(name), scene, T([side, pace, boldness]).expand(WORLDS, 3))


@pytest.mark.parametrize("name", TOLD)
def test_no_wish_leaves_the_planner_as_it_is(name: str, scene: Scene) -> None:
    plain, asked = make_planner(name).plan(scene), told(scene, name)
    assert torch.equal(plain.chosen, asked.chosen)
    assert torch.equal(plain.totals, asked.totals)
    assert all(torch.equal(a, b) for a, b in zip(plain.trajectory, asked.trajectory, strict=True))


@pytest.mark.parametrize("name", TOLD)
def test_wishes_move_the_plan_where_they_say(name: str, scene: Scene) -> None:
    def end(plan: Plan) -> tuple[float, float]:
        return float(plan.trajectory.y[:, -1].mean()), float(plan.trajectory.speed[:, -1].mean())

    (left, _), (none, fast), (right, _) = (end(told(scene, name, side=side)) for side in (1.0, 0.0, -1.0))
    assert left > none + 0.3
    assert none > right + 0.3
    slow, slower = end(told(scene, name, pace=-0.4))[1], end(told(scene, name, pace=-0.9))[1]
    assert fast > slow + 1.0 > slower + 2.0
    bold, shy = (told(scene, name, boldness=value) for value in (1.0, -1.0))
    assert bool((bold.costs.collision <= shy.costs.collision).all())


def test_a_wish_is_clipped_and_each_world_has_its_own(scene: Scene) -> None:
    planner = make_guided("lattice")
    wishes = torch.zeros(WORLDS, 3)
    wishes[1] = T([0.0, -5.0, 0.0])
    mixed = guide(planner, scene, wishes)
    still = told(scene, "lattice")
    slow = told(scene, "lattice", pace=-1.0)
    rest = torch.arange(WORLDS) != 1
    assert torch.equal(mixed.totals[rest], still.totals[rest]) and torch.equal(mixed.totals[1], slow.totals[1])


def test_worlds_take_wishes() -> None:
    worlds = DrivingVecEnv("highway/easy", num_envs=3, episodes=3, seed=5, action="continuous", ticks_per_step=2)
    planned = PlannedVecEnv(worlds, "pdm")
    assert planned.action_space.shape == (3,)
    planned.reset()
    for _ in range(4):
        observation, reward, _, _ = planned.step(np.zeros((3, 3), dtype=np.float32))
        assert isinstance(observation, np.ndarray) and np.isfinite(observation).all() and np.isfinite(reward).all()
    with pytest.raises(ValueError, match=r"wishes of shape \(3, 2\) for 3 worlds: must be \(3, 3\)"):
        planned.step(np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="a planner drives by continuous actions"):
        PlannedVecEnv(DrivingVecEnv("highway/easy", num_envs=1, episodes=1, action="discrete"), "pdm")
    with pytest.raises(PlannerError, match="did you mean 'lattice'"):
        make_guided("latice")


def test_few_road_users_are_no_obstacle() -> None:
    """A world of 8 slots has fewer rows than a planner looks at."""
    worlds = DrivingVecEnv("lane_keep/easy", num_envs=2, episodes=2, seed=5, action="continuous")
    assert worlds.config.agents == 8
    planned = PlannedVecEnv(worlds, "pdm")
    planned.reset()
    planned.step(np.zeros((2, 3), dtype=np.float32))
    assert bool(torch.isfinite(worlds.worlds.sim.state.x).all())


def test_the_configuration_says_what_does_not_fit() -> None:
    plan = {"driving": {"action": "continuous"}, "planner": "pdm"}
    config = config_from({"scenario": "merge/easy", **plan})
    assert config.planner == "pdm" and "planner" in command_line(config)
    assert config_from(config.as_dict(), complete=True) == config
    with pytest.raises(TrainConfigError, match=r"planner: 'pdn' cannot be told what to aim at; did you mean 'pdm'"):
        config_from({"scenario": "merge/easy", **plan, "planner": "pdn"})
    with pytest.raises(TrainConfigError, match=r"driving.observation: pixels; a planner needs tracks"):
        config_from({"scenario": "merge/easy", "driving": {"action": "continuous", "observation": "pixels"}, "planner": "pdm"})
    with pytest.raises(TrainConfigError, match=r"driving.action: discrete; a planner drives by continuous actions"):
        config_from({"scenario": "merge/easy", "planner": "pdm"})


@pytest.mark.slow
def test_trained_saved_and_loaded_it_acts_the_same(tmp_path: Path) -> None:
    config = config_from(
        {
            "scenario": "merge/easy", "planner": "pdm", "driving": {"action": "continuous", "ticks_per_step": 2}, "steps": 64, "envs": 4,
            "episodes": 4, "validation_episodes": 1, "evaluations": 1, "tensorboard": False, "network": [16],
            "hyper": {"n_steps": 16, "batch_size": 32, "n_epochs": 1},
        }
    )  # fmt: skip
    result = train(config, out=tmp_path / "run", quiet=True)
    bundle = load_bundle(result.final)
    assert bundle.spec.planner == "pdm" and len(bundle.spec.action.low) == 3
    policy, again = load_policy(result.final), load_policy(result.final)
    assert isinstance(policy, PlannedPolicy) and policy.needs.told
    sim = DrivingSim(build_bank(sample_episodes("merge/easy", 3, 7), c := policy.needs.config(agents=64)), c, batch=3)
    for _ in range(3):
        seen: Any = Told(SceneMaker(sim)(), observe(sim.state, sim.setup, sim.maps, c, None))
        about = {"seed": sim.setup.seed, "step": sim.state.step}
        wish = policy.policy.act(seen.seen, **about)
        action = policy.act(seen, **about)
        assert wish.shape == (3, 1, 3) and action.shape == (3, 1, 2)
        assert torch.equal(action, again.act(seen, **about))
        sim.step(action)
    episodes = [replace(sample(load("merge/easy"), 2000), duration=3.0)]
    for name in (f"{result.final}", f"shield:{result.final}", f"{result.final}@visible"):
        assert not rollout(load_policy(name), episodes, batch=1)[0].error
    with pytest.raises(PolicyError, match="has a planner"):
        perturbed(policy, "blind=left")


def test_descriptions_without_a_planner_keep_their_sha256() -> None:
    policy = load_policy("merge")
    spec = policy.bundle.spec  # type: ignore[attr-defined]
    assert "planner" not in spec.model_dump()
    with pytest.raises(ValidationError, match="by three numbers from -1 to 1"):
        BundleSpec.model_validate({**spec.model_dump(), "planner": "pdm"})
    with pytest.raises(PolicyError, match="was not trained to tell a planner"):
        PlannedPolicy(policy)  # type: ignore[arg-type]
    assert replace(policy.needs, told=True).config(agents=16) == policy.needs.config(agents=16)


def test_exploring_begins_near_the_planner() -> None:
    """Wishes of one standard deviation in all directions would drive far worse than the planner that they begin with."""
    env = DummyVecEnv([lambda: gym.make("Pendulum-v1")])
    how: dict[str, Any] = {"network": (8,), "activation": "tanh", "schedule": "linear", "seed": 0, "device": "cpu"}
    for wishes, noise in ((True, WISH_NOISE), (False, 0.0)):
        model = build_model("ppo", env, hyper={"n_steps": 8, "batch_size": 8}, wishes=wishes, **how)
        assert model.policy.log_std.tolist() == pytest.approx([noise])
    env.close()


def test_coherent_noise_is_about_as_large_and_stays() -> None:
    """gSDE: one draw of noise for a while, a smooth function of what is seen; and what a bundle holds of the actor is the same."""
    env = DummyVecEnv([lambda: gym.make("Pendulum-v1")] * 256)
    how: dict[str, Any] = {"network": (64, 64), "activation": "tanh", "schedule": "linear", "seed": 0, "device": "cpu", "wishes": True}
    model = build_model("ppo", env, hyper={"n_steps": 8, "batch_size": 8, "use_sde": True}, **how)
    policy: Any = model.policy
    seen = 2.0 * torch.randn(256, 3, generator=torch.Generator().manual_seed(0))
    mean = policy.get_distribution(seen).mode().detach()
    policy.reset_noise(256)
    first, again = (policy.get_distribution(seen).sample().detach() for _ in range(2))
    assert torch.equal(first, again)
    policy.reset_noise(256)
    assert not torch.equal(first, policy.get_distribution(seen).sample())
    assert 0.5 < float((first - mean).std()) / float(np.exp(WISH_NOISE)) < 2.0
    hidden = seen
    for layer in policy.mlp_extractor.policy_net:
        hidden = layer(hidden)
    assert torch.equal(policy.action_net(hidden), mean)
    env.close()
