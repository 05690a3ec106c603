"""Arcade games to train on."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.arcade.told import game_config, screen_config, told_spec
from agents.learning.config import TrainConfig
from agents.learning.worlds import Worlds
from agents.policies.spec import ArcadeSpec
from envs.games.arcade import arcade_game
from envs.games.arcade_sb3 import ArcadeVecEnv
from envs.games.arcade_worlds import ArcadeWorlds

__all__ = ["PicturedVecEnv", "arcade_world", "arcade_worlds"]

FLOOR = 1e-3  # variance floor of the normaliser: lengths are in half courts or screens, of which a deviation of 0.03 is less than the ball


class PicturedVecEnv(VecEnvWrapper):
    """Worlds whose observations are pictures, as a Dict of `image`: the form in which networks here take them."""

    def __init__(self, worlds: VecEnv) -> None:
        super().__init__(worlds, observation_space=spaces.Dict({"image": worlds.observation_space}))

    def reset(self) -> VecEnvObs:
        return {"image": self.venv.reset()}  # type: ignore[dict-item]  # an array

    def step_wait(self) -> VecEnvStepReturn:
        observation, reward, done, infos = self.venv.step_wait()
        for world in np.flatnonzero(done):
            infos[world]["terminal_observation"] = {"image": infos[world]["terminal_observation"]}
        return {"image": observation}, reward, done, infos  # type: ignore[dict-item]


def arcade_world(config: TrainConfig, batch: int = 1) -> ArcadeWorlds:
    """`batch` worlds of `config.task` by themselves. Raises as `arcade_worlds`."""
    robot = config.robot
    game, screen = game_config(config.task, robot.options), screen_config(config.task, robot.screen)
    return arcade_game(config.task).worlds(batch, game, observation=robot.observation, screen=screen)


def arcade_worlds(config: TrainConfig) -> Worlds:
    """The worlds of `config.task`. World k starts training with the episode of its seed, and goes on with ever new ones; validation is
    always on the same. A resumed run begins with the same episodes again.

    Raises ConfigError for options that the game does not have, WeightsError where nothing sees, ModuleNotFoundError without its extra.
    """
    robot, seeds = config.robot, config.seeds
    training = ArcadeVecEnv(arcade_world(config, config.envs), seed=seeds.training)
    validation = ArcadeVecEnv(arcade_world(config, seeds.validation_episodes), seed=seeds.validation)
    pictures = robot.observation == "pixels"
    return Worlds(
        training=PicturedVecEnv(training) if pictures else training,
        validation=PicturedVecEnv(validation) if pictures else validation,
        observation=told_spec(config.task, robot.observation),
        arcade=ArcadeSpec(
            task=config.task,
            observation=robot.observation,  # type: ignore[arg-type]  # checked by it
            options=robot.told,
            screen=robot.screen,
        ),
        floor=FLOOR,
    )
