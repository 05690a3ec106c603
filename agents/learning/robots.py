"""Robot tasks to train on: worlds with flat observations, or with goals where hindsight makes up others, and who is imitated there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.learning.config import TrainConfig
from agents.learning.worlds import Worlds
from agents.policies.spec import RobotSpec
from agents.robots.players import player_named
from agents.robots.told import flat, flat_space, told_spec
from envs.robots.randomise import Randomisation
from envs.robots.registry import task_named
from envs.robots.robots import Robots
from envs.robots.sb3_env import RobotVecEnv
from envs.robots.sight import SightConfig

__all__ = ["FlatVecEnv", "Teacher", "robot_worlds"]

FLOOR = 1e-4  # variance floor of the normaliser: metres and radians, of which a deviation of 0.01 is small


class FlatVecEnv(VecEnvWrapper):
    """Robot worlds whose observations are the vector that networks are told: `agents.robots.told.flat`."""

    def __init__(self, worlds: RobotVecEnv) -> None:
        self.inner = worlds
        super().__init__(worlds, observation_space=flat_space(worlds.observation_space))

    def reset(self) -> VecEnvObs:
        return flat(self.inner.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observation, reward, done, infos = self.inner.step_wait()
        for world in np.flatnonzero(done):
            last = infos[world]["terminal_observation"]
            if isinstance(last, dict):
                infos[world]["terminal_observation"] = flat({name: part[None] for name, part in last.items()})[0]
        return flat(observation), reward, done, infos  # type: ignore[arg-type]


class Teacher:
    """What somebody who is told the truth would do in the worlds now, whatever level of seeing they are on: (B, n) float32.

    So a network that is told what cameras see learns to do what is right, not what an expert makes of the same mistakes.
    """

    def __init__(self, robots: Robots, name: str) -> None:
        """Raises ConfigError for a name that is not known."""
        self.robots, self.player = robots, player_named(name)(robots)

    def __call__(self) -> NDArray[np.float32]:
        """Its actions."""
        robots = self.robots
        sight, robots.sight = robots.sight, None
        try:
            return self.player.act(robots).astype(np.float32)
        finally:
            robots.sight = sight


def robot_worlds(config: TrainConfig, done_steps: int) -> Worlds:
    """The worlds of `config.task`. World k starts training with the episode of its seed, and goes on with ever new ones; validation is
    always on the same. A resumed run begins with the same episodes again.

    Raises ConfigError for options that the task does not have.
    """
    robot, seeds = config.robot, config.seeds
    task = task_named(config.task, **robot.options)
    like: dict[str, Any] = {
        "observation": robot.observation,
        "randomisation": Randomisation(**robot.randomisation),
        "sight": SightConfig(frames=robot.frames),
    }
    training = RobotVecEnv(task, num_envs=config.envs, seed=seeds.training, **like)
    validation = RobotVecEnv(task, num_envs=seeds.validation_episodes, seed=seeds.validation, **like)
    pictures = robot.observation == "pixels"
    return Worlds(
        training=training if robot.hindsight or pictures else FlatVecEnv(training),
        validation=validation if pictures else FlatVecEnv(validation),
        observation=told_spec(task, training.observation_space),
        robot=RobotSpec.model_validate(
            {"task": config.task, "observation": robot.observation, "options": robot.told, "frames": robot.frames}
        ),
        expert=Teacher(training.robots, config.imitate) if config.imitate else None,
        floor=FLOOR,
        hindsight=robot.hindsight,
    )
