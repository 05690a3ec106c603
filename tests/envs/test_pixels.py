"""The level `pixels`: the images are those of the camera, drawn anew where worlds begin anew, and nothing else is told of others."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import scenarios
from envs.driving import DrivingConfig, DrivingEnv, DrivingVecEnv, DrivingVectorEnv
from envs.driving.eyes import CameraRig
from envs.driving.pixels import STATE_PARTS, Sight, state_size
from envs.driving.types import ConfigError
from envs.driving.worlds import Worlds

PIXELS: dict[str, Any] = {"observation": "pixels", "autopilot": True}


def worlds_of(count: int = 3, **fields: Any) -> Worlds:
    scenario = scenarios.load("highway/easy")
    return Worlds([scenarios.sample(scenario, 40 + k) for k in range(count)], DrivingConfig(**(PIXELS | fields)), batch=count)


def test_checkers_accept_it() -> None:
    """The checkers of Gymnasium and of Stable-Baselines3, which would warn of images it cannot take."""
    env = DrivingEnv("highway/easy", observation="pixels")
    check_env(env, skip_render_check=True)
    sb3_check_env(env, warn=True)
    assert env.observation_space["image"].shape == (3, 96, 160)
    assert env.observation_space["state"].shape == (state_size(env.config),)


@pytest.mark.parametrize("family", scenarios.names())
def test_every_scenario_has_images(family: str) -> None:
    env = DrivingVecEnv(family, observation="pixels", num_envs=2, episodes=2)
    observation = env.reset()
    assert {name: part.shape for name, part in observation.items()} == {"image": (2, 3, 96, 160), "state": (2, state_size(env.config))}
    assert all(len(np.unique(image)) > 8 for image in observation["image"])
    assert env.observation_space.contains({name: part[0] for name, part in observation.items()})


def test_images_are_the_cameras_and_the_rest_is_as_on_other_levels() -> None:
    """Drawn by the same cameras as the level `perceived`, after every step; ego, route and goal are those of `truth`."""
    worlds, true = worlds_of(cameras="front+rear"), worlds_of(observation="truth")
    action = torch.zeros(3, 1, 2)
    worlds.step(action), true.step(action)
    arrays, known = worlds.arrays(flat=False), true.observe()
    rig = CameraRig(worlds.sim)
    image = rig.frame(worlds.sim.state, worlds.sim.setup, torch.zeros(3, 3)).image
    np.testing.assert_array_equal(arrays["image"][:, 0], image.flatten(1, 2).numpy())
    assert arrays["image"].shape == (3, 1, 6, 96, 160)
    expected = torch.cat([getattr(known, name).flatten(2) for name in STATE_PARTS], -1)
    np.testing.assert_array_equal(arrays["state"], expected.numpy())


def test_a_world_that_begins_anew_sees_its_new_surroundings_and_the_others_do_not() -> None:
    worlds = worlds_of()
    action = torch.zeros(3, 1, 2)
    for _ in range(2):
        worlds.step(action)
    before = worlds.arrays(flat=False)["image"]
    worlds.reset_where(torch.tensor([False, True, False]))
    after = worlds.arrays(flat=False)["image"]
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert (after[1] != before[1]).any()
    assert worlds.sight is not None
    drawn = Sight(worlds.sim)
    np.testing.assert_array_equal(after[:, 0], drawn.image.numpy())


def test_a_saved_state_shows_the_same_images() -> None:
    worlds = worlds_of(2)
    action = torch.zeros(2, 1, 2)
    worlds.step(action)
    saved, image = worlds.get_state(), worlds.arrays(flat=False)["image"]
    worlds.step(action)
    assert (worlds.arrays(flat=False)["image"] != image).any()
    worlds.set_state(saved)
    np.testing.assert_array_equal(worlds.arrays(flat=False)["image"], image)


def test_vector_env_shows_what_single_envs_show() -> None:
    env = DrivingVectorEnv(2, "highway/easy", episodes=2, first_seed=7, observation="pixels")
    observation, _ = env.reset(seed=1)
    assert isinstance(observation, dict)
    assert isinstance(env.observation_space, gymnasium.spaces.Dict)
    assert env.observation_space.contains(observation)
    seed = int(env.worlds.sim.setup.seed[0])
    alone, _ = DrivingEnv("highway/easy", observation="pixels").reset(seed=seed)
    for name in alone:
        np.testing.assert_array_equal(observation[name][0], alone[name])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="flat=True: observation='pixels' is a Dict"):
        DrivingVecEnv("highway", observation="pixels", flat=True, num_envs=1, episodes=1)
    with pytest.raises(ConfigError, match="forecasts=2"):
        DrivingConfig(observation="pixels", forecasts=2)
    with pytest.raises(ValueError, match="no camera mount 'roof'"):
        DrivingEnv("highway", observation="pixels", config=DrivingConfig(cameras="roof"))
    with pytest.raises(ValueError, match="learners=2"):
        worlds_of(1, learners=2)
    for fields, rule in (
        ({"observation": "noisy", "recall": 1.2}, "recall=1.2"),
        ({"observation": "noisy", "position": -1.0}, "position=-1.0"),
        ({"observation": "visible", "recall": 0.5}, "only observation='noisy' has an error model"),
    ):
        with pytest.raises(ConfigError, match=rule):
            DrivingConfig(**fields)
