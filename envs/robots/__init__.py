"""Robot tasks on MuJoCo: batched physics, the tasks, and their shells. Names are imported when first used.

from envs.robots import RobotVecEnv
env = RobotVecEnv("reach", num_envs=32)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from envs.robots.registry import TASKS, robot_id, task_class, task_named

if TYPE_CHECKING:
    from envs.robots.camera import Camera
    from envs.robots.gym_env import RobotEnv
    from envs.robots.randomise import Randomisation
    from envs.robots.robots import Diverged, Robots
    from envs.robots.sb3_env import RobotVecEnv
    from envs.robots.sight import SightConfig
    from envs.robots.vector_env import RobotVectorEnv

__all__ = [
    "Camera",
    "Diverged",
    "Randomisation",
    "RobotEnv",
    "RobotVecEnv",
    "RobotVectorEnv",
    "Robots",
    "SightConfig",
    "TASKS",
    "robot_id",
    "task_class",
    "task_named",
]

_HOME = {
    "Camera": "camera",
    "Diverged": "robots",
    "Randomisation": "randomise",
    "RobotEnv": "gym_env",
    "RobotVecEnv": "sb3_env",
    "RobotVectorEnv": "vector_env",
    "Robots": "robots",
    "SightConfig": "sight",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
