"""Every shell of every arcade game, by the checkers of the libraries themselves."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import envs
from envs.games.arcade import ARCADE, arcade_entry
from envs.games.rally import RallyEnv, RallyParallelEnv, RallyVecEnv, RallyVectorEnv

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pettingzoo.test imports one of its own deprecated modules
    from pettingzoo.test import parallel_api_test, parallel_seed_test


@pytest.mark.parametrize("options", [{}, {"action": "continuous"}, {"observation": "pixels"}], ids=str)
@pytest.mark.parametrize("game", [name for name, entry in ARCADE.items() if not entry.extra])  # others: test_atari.py
def test_gymnasium_checker(game: str, options: dict[str, str]) -> None:
    check_env(gymnasium.make(f"envs:{arcade_entry(game).id}", **options).unwrapped, skip_render_check=True)


def test_gymnasium_checker_with_pictures() -> None:
    check_env(gymnasium.make("envs:closedloop/Rally-v0", render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize("options", [{}, {"action": "continuous"}, {"observation": "pixels"}], ids=str)
def test_stable_baselines_checker(options: dict[str, str]) -> None:
    sb3_check_env(RallyEnv(**options), warn=True)


@pytest.mark.parametrize("options", [{}, {"action": "continuous"}, {"observation": "pixels"}], ids=str)
def test_pettingzoo_checkers(options: dict[str, str]) -> None:
    parallel_api_test(RallyParallelEnv(points=1, **options), num_cycles=40)
    parallel_seed_test(lambda: RallyParallelEnv(**options), num_cycles=5)


def test_every_id_is_registered() -> None:
    assert {entry.id for entry in ARCADE.values()} <= {entry.id for entry in envs.entries()}
    with pytest.raises(ValueError, match="did you mean 'rally'"):
        arcade_entry("raly")


def test_vector_env_starts_anew_in_the_next_step() -> None:
    """As gymnasium's own: the ending is told in the step, the next observation is another episode's first."""
    env = gymnasium.make_vec("closedloop/Rally-v0", num_envs=3, vectorization_mode="vector_entry_point", duration=4)
    assert isinstance(env, RallyVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    first, info = env.reset(seed=5)
    assert info["seed"].tolist() == [5, 6, 7]
    for number in range(4):
        seen, reward, terminated, truncated, info = env.step(np.full(3, 2))
        assert truncated.tolist() == [number == 3] * 3
        assert not terminated.any()
        assert reward.dtype == np.float32
        assert env.observation_space.contains(seen)
    assert info["metrics"]["seconds"].tolist() == pytest.approx([0.2] * 3)
    fresh, _, _, truncated, info = env.step(np.full(3, 2))
    assert not truncated.any()
    assert len(set(info["seed"].tolist()) - {5, 6, 7}) == 3
    np.testing.assert_array_equal(fresh[:, 0], 0.0)  # the paddle is in the middle again
    again, _ = env.reset(seed=[7, 6, 5])
    np.testing.assert_array_equal(again, first[::-1])


def test_vec_env_starts_anew_in_the_same_step() -> None:
    """As Stable-Baselines3's own: the observation is the next episode's, the last one is in the info."""
    worlds = RallyVecEnv(num_envs=2, seed=9, duration=3)
    worlds.reset()
    alone = RallyEnv(duration=3)
    alone.reset(seed=10)
    for _ in range(3):
        seen, reward, done, infos = worlds.step(np.array([2, 2]))
        one = alone.step(2)
    assert done.tolist() == [True, True]
    np.testing.assert_array_equal(infos[1]["terminal_observation"], one[0])
    assert infos[1]["TimeLimit.truncated"]
    assert infos[1]["seed"] == 10
    assert infos[1]["episode"] == {"r": 0.0, "l": 3, "t": 0.0}
    assert (seen[:, 0] == 0.0).all()
    assert reward.dtype == np.float32


def test_both_players_see_the_same_match() -> None:
    """One's own is the other's other, and what one wins the other loses."""
    env = RallyParallelEnv(points=1)
    seen, _ = env.reset(seed=3)
    total = 0.0
    while env.agents:
        assert seen["left"][:4].tolist() == seen["right"][[2, 3, 0, 1]].tolist()
        assert seen["left"][4] == -seen["right"][4]
        seen, rewards, *_ = env.step({"left": 2, "right": 1})
        assert rewards["left"] == -rewards["right"]
        total += abs(rewards["left"])
    assert total == 1.0
    with pytest.raises(ValueError, match="no action for right"):
        env.reset(seed=3)
        env.step({"left": 1})
