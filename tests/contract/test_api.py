"""Every scenario in every shell, by the checkers of the libraries themselves."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import envs
import scenarios
from envs.driving import DrivingEnv, DrivingParallelEnv, DrivingVecEnv, DrivingVectorEnv

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pettingzoo.test imports one of its own deprecated modules
    from pettingzoo.test import parallel_api_test, parallel_seed_test


def test_gymnasium_checker(scenario: str) -> None:
    check_env(DrivingEnv(scenario), skip_render_check=True)


@pytest.mark.parametrize("options", [{"action": "discrete"}, {"action": "trajectory"}, {"flat": True}, {"observation": "visible"}], ids=str)
def test_gymnasium_checker_with_options(family: str, options: dict[str, str]) -> None:
    check_env(DrivingEnv(family, **options), skip_render_check=True)


def test_gymnasium_checker_with_pictures() -> None:
    check_env(gymnasium.make("envs:closedloop/Roundabout-v0", render_mode="rgb_array").unwrapped)


def test_stable_baselines_checker(scenario: str) -> None:
    sb3_check_env(DrivingEnv(scenario, flat=True), warn=True)


def test_stable_baselines_checker_with_options(family: str) -> None:
    sb3_check_env(DrivingEnv(family, action="discrete", flat=True), warn=True)
    sb3_check_env(DrivingEnv(family), warn=False)  # it would warn that tables of numbers in a Dict want a policy of one's own


@pytest.mark.filterwarnings("ignore:No agents present but not all possible_agents")  # an episode with less traffic starts with fewer
def test_pettingzoo_checker(scenario: str) -> None:
    parallel_api_test(DrivingParallelEnv(scenario, agents=3), num_cycles=20)


def test_pettingzoo_seed_checker(family: str) -> None:
    parallel_seed_test(lambda: DrivingParallelEnv(family, agents=3), num_cycles=5)


def test_every_id_is_registered_and_made(family: str) -> None:
    id_ = f"closedloop/{family.title().replace('_', '')}-v0"
    assert id_ in [entry.id for entry in envs.entries()]
    env = gymnasium.make(id_)
    observation, info = env.reset(seed=5)
    assert env.observation_space.contains(observation)
    assert info == {"scenario": family, "seed": 5}


def test_vector_env(family: str) -> None:
    """Shapes, spaces, seeding and the declared reset mode."""
    env = DrivingVectorEnv(3, family, episodes=3)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    first, _ = env.reset(seed=1)
    assert env.observation_space.contains(first)
    env.action_space.seed(0)
    actions = env.action_space.sample()
    one = env.step(actions)
    assert env.observation_space.contains(one[0])
    assert [part.shape for part in one[1:4]] == [(3,)] * 3
    assert one[1].dtype == np.float32
    again, _ = env.reset(seed=1)
    two = env.step(actions)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        np.testing.assert_array_equal(one[0][name], two[0][name])
    np.testing.assert_array_equal(one[1], two[1])


def test_vec_env(family: str) -> None:
    """Row k starts with episode k; the shapes are those Stable-Baselines3 expects."""
    env = DrivingVecEnv(family, num_envs=3, episodes=2, seed=7)
    observation = env.reset()
    assert observation.shape == (3, *env.observation_space.shape)
    assert env.worlds.sim.setup.seed.tolist() == [7, 8, 7]
    np.testing.assert_array_equal(observation[0], observation[2])
    alone, _ = DrivingEnv(family, flat=True).reset(seed=8)
    np.testing.assert_array_equal(observation[1], alone)
    observation, reward, done, infos = env.step(np.zeros((3, 2), dtype=np.float32))
    assert (observation.shape[0], reward.shape, done.shape, len(infos)) == (3, (3,), (3,), 3)
    assert reward.dtype == np.float32
    assert done.dtype == bool


def test_the_variants_are_all_there() -> None:
    assert set(scenarios.names(variants=True)) >= {f"{name}/{variant}" for name in scenarios.names() for variant in ("easy", "hard")}
