"""Every shell of every Atari game, by the checkers of the libraries themselves. Needs the extra `atari`."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

pytest.importorskip("ale_py")

import envs
from envs.checks import ConfigError
from envs.games.arcade import ARCADE
from envs.games.atari import AtariEnv, AtariVecEnv, AtariVectorEnv

ATARI = [name for name, entry in ARCADE.items() if entry.extra == "atari"]


@pytest.mark.parametrize("game", ATARI)
def test_gymnasium_checker(game: str) -> None:
    env = gymnasium.make(f"envs:{ARCADE[game].id}")
    assert env.unwrapped.config.game == game
    check_env(env.unwrapped, skip_render_check=True)


def test_checkers_with_pictures() -> None:
    check_env(gymnasium.make("envs:closedloop/Pong-v0", observation="pixels", render_mode="rgb_array").unwrapped)
    sb3_check_env(AtariEnv(game="breakout", observation="pixels"), warn=True)
    sb3_check_env(AtariEnv(game="freeway"), warn=True)


def test_every_id_is_registered() -> None:
    assert {ARCADE[game].id for game in ATARI} <= {entry.id for entry in envs.entries()}


def test_vector_env_starts_anew_in_the_next_step() -> None:
    env = gymnasium.make_vec("closedloop/Breakout-v0", num_envs=2, vectorization_mode="vector_entry_point", duration=3)
    assert isinstance(env, AtariVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    first, info = env.reset(seed=5)
    assert info["seed"].tolist() == [5, 6]
    for number in range(3):
        seen, _, terminated, truncated, info = env.step(np.array([1, 2]))
        assert truncated.tolist() == [number == 2] * 2
        assert not terminated.any()
        assert env.observation_space.contains(seen)
    assert info["metrics"]["seconds"].tolist() == pytest.approx([0.2] * 2)
    _, reward, _, truncated, info = env.step(np.array([1, 2]))
    assert not truncated.any() and not reward.any()
    assert not set(info["seed"].tolist()) & {5, 6}
    again, _ = env.reset(seed=[6, 5])
    np.testing.assert_array_equal(again, first[::-1])


def test_vec_env_starts_anew_in_the_same_step() -> None:
    worlds, alone = AtariVecEnv(num_envs=2, seed=9, duration=3, game="freeway"), AtariEnv(duration=3, game="freeway")
    worlds.reset()
    alone.reset(seed=10)
    for _ in range(3):
        _, reward, done, infos = worlds.step(np.array([1, 1]))
        one = alone.step(1)
    assert done.tolist() == [True, True]
    np.testing.assert_array_equal(infos[1]["terminal_observation"], one[0])
    assert infos[1]["TimeLimit.truncated"] and infos[1]["seed"] == 10
    assert infos[1]["episode"] == {"r": 0.0, "l": 3, "t": 0.0}
    assert reward.dtype == np.float32


def test_a_saved_game_goes_on_and_pictures_are_of_it() -> None:
    env, other = (AtariEnv(render_mode="rgb_array") for _ in range(2))
    env.reset(seed=1)
    for _ in range(12):
        env.step(2)
    np.testing.assert_array_equal(other.set_state(env.get_state()), env.worlds.observe()[0])
    np.testing.assert_array_equal(other.render(), env.render())
    assert env.render().shape == (420, 640, 3)
    for _ in range(5):
        np.testing.assert_array_equal(env.step(3)[0], other.step(3)[0])
    with pytest.raises(ConfigError, match="did you mean 'sticky'"):
        AtariEnv(stiky=0.1)
