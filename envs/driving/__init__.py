"""The batched driving simulator and its shells. Names are imported when first used, so that importing the package is cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.driving.bank import Bank, build_bank
    from envs.driving.gym_env import DrivingEnv
    from envs.driving.make import sample_episodes
    from envs.driving.observation import Observation, flatten, observe
    from envs.driving.parallel_env import DrivingParallelEnv
    from envs.driving.rewards import RewardWeights
    from envs.driving.sb3_env import DrivingVecEnv
    from envs.driving.sim import DrivingSim
    from envs.driving.types import DrivingConfig
    from envs.driving.vector_env import DrivingVectorEnv

__all__ = [
    "Bank",
    "DrivingConfig",
    "DrivingEnv",
    "DrivingParallelEnv",
    "DrivingSim",
    "DrivingVecEnv",
    "DrivingVectorEnv",
    "Observation",
    "RewardWeights",
    "build_bank",
    "flatten",
    "observe",
    "sample_episodes",
]

_HOME = {
    "Bank": "bank",
    "DrivingConfig": "types",
    "DrivingEnv": "gym_env",
    "DrivingParallelEnv": "parallel_env",
    "DrivingSim": "sim",
    "DrivingVecEnv": "sb3_env",
    "DrivingVectorEnv": "vector_env",
    "Observation": "observation",
    "RewardWeights": "rewards",
    "build_bank": "bank",
    "flatten": "observation",
    "observe": "observation",
    "sample_episodes": "make",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
