"""The environments of a run: one set of worlds to train on, one to validate on, made from the configuration.

Training itself only needs two `VecEnv`s of Stable-Baselines3 with flat observations, so tests and other domains can bring their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stable_baselines3.common.vec_env import VecEnv

from agents.learning.config import TrainConfig
from agents.policies.spec import ArcadeSpec, DrivingSpec, ObservationSpec, RobotSpec

if TYPE_CHECKING:
    from agents.learning.dagger import Expert

__all__ = ["MakeWorlds", "Worlds", "driving_spec", "driving_worlds", "worlds_for"]

# variance floor of the observation normaliser: a feature that hardly ever moves (a rare kind of vehicle) must not be blown up to the
# limit when it does; observations of traffic come scaled to about [-1, 1], so a deviation of 0.1 is small
FLOOR = 0.01


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """What is trained and validated on: flat observations, a Dict of `image` and `state`, or for training one with goals. `close` both."""

    training: VecEnv
    validation: VecEnv  # row k starts with validation episode k at every reset; more rows than episodes repeat them
    observation: ObservationSpec
    driving: DrivingSpec | None = None  # None: not the driving simulator
    robot: RobotSpec | None = None  # None: no robot task
    arcade: ArcadeSpec | None = None  # None: no arcade game
    floor: float = FLOOR  # of the variance of observations, by which they are normalised
    hindsight: int = 0  # goals made up for each decision that is learned from, where observations have goals
    expert: Expert | None = None  # what is to be imitated would do in the training worlds now; None: nobody is imitated


MakeWorlds = Callable[[TrainConfig, int], Worlds]  # (configuration, steps already done) -> environments


def driving_spec(config: TrainConfig) -> DrivingSpec:
    """What a policy trained by `config` needs of the simulator."""
    driving = config.driving
    return DrivingSpec.model_validate({name: getattr(driving, name) for name in DrivingSpec.model_fields})


def driving_worlds(config: TrainConfig, done_steps: int) -> Worlds:
    """The batched driving simulator. A resumed run (done_steps > 0) begins with the same episodes but drives them by another policy."""
    from agents.policies.sb3 import observation_spec
    from envs.driving.rewards import RewardWeights
    from envs.driving.sb3_env import DrivingVecEnv

    seeds, weights = config.seeds, RewardWeights(**config.reward)
    scenarios = list(config.scenario)
    training = DrivingVecEnv(
        scenarios, config.driving, num_envs=config.envs, episodes=seeds.training_episodes, seed=seeds.training,
        compile=config.compile, device=config.device, reward=weights,
    )  # fmt: skip
    # compiled code is shared between equal shapes: with as many worlds as in training it need not be compiled a second time
    count = seeds.validation_episodes
    validation = DrivingVecEnv(
        scenarios,
        config.driving,
        num_envs=max(count, config.envs) if config.compile else count,
        episodes=count,
        seed=seeds.validation,
        compile=config.compile,
        device=config.device,
        reward=weights,
    )
    if config.planner:
        from agents.learning.planned import PlannedVecEnv

        chosen = (PlannedVecEnv(worlds, config.planner) for worlds in (training, validation))
        return Worlds(
            training=next(chosen), validation=next(chosen), observation=observation_spec(config.driving), driving=driving_spec(config)
        )
    expert: Expert | None = None
    if config.imitate:
        from agents.learning.dagger import PlannerExpert

        expert = PlannerExpert(training, config.imitate)
    return Worlds(
        training=training, validation=validation, observation=observation_spec(config.driving), driving=driving_spec(config), expert=expert
    )


def worlds_for(config: TrainConfig, done_steps: int) -> Worlds:
    """The worlds of whatever `config` is about. Raises ModuleNotFoundError for a robot task where MuJoCo is not installed."""
    if config.arcade:
        from agents.learning.arcade import arcade_worlds

        return arcade_worlds(config)
    if config.task:
        from agents.learning.robots import robot_worlds

        return robot_worlds(config, done_steps)
    return driving_worlds(config, done_steps)
