"""Arcade games to train on."""

from __future__ import annotations

from agents.arcade.told import game_config, told_spec
from agents.learning.config import TrainConfig
from agents.learning.worlds import Worlds
from agents.policies.spec import ArcadeSpec
from envs.games.rally.sb3_env import RallyVecEnv

__all__ = ["arcade_worlds"]

FLOOR = 1e-3  # variance floor of the normaliser: lengths are in half courts, of which a deviation of 0.03 is less than the ball


def arcade_worlds(config: TrainConfig) -> Worlds:
    """The worlds of `config.task`. World k starts training with the episode of its seed, and goes on with ever new ones; validation is
    always on the same. A resumed run begins with the same episodes again.

    Raises ConfigError for options that the game does not have.
    """
    robot, seeds = config.robot, config.seeds
    game = game_config(config.task, robot.options)
    training = RallyVecEnv(game, num_envs=config.envs, seed=seeds.training, observation=robot.observation)
    validation = RallyVecEnv(game, num_envs=seeds.validation_episodes, seed=seeds.validation, observation=robot.observation)
    return Worlds(
        training=training,
        validation=validation,
        observation=told_spec(config.task),
        arcade=ArcadeSpec(task=config.task, observation=robot.observation, options=robot.told),  # type: ignore[arg-type]  # checked by it
        floor=FLOOR,
    )
