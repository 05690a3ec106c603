"""Rally: two paddles and a ball, as batched rules in torch with a screen to look at, and its shells. Names are imported when first used.

from envs.games.rally import RallyVecEnv
env = RallyVecEnv(num_envs=64)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.games.rally.gym_env import RallyEnv
    from envs.games.rally.parallel_env import RallyParallelEnv
    from envs.games.rally.sb3_env import RallyVecEnv
    from envs.games.rally.screen import ScreenConfig
    from envs.games.rally.types import RallyConfig, RallyState
    from envs.games.rally.vector_env import RallyVectorEnv
    from envs.games.rally.worlds import RallyWorlds

__all__ = [
    "RallyConfig",
    "RallyEnv",
    "RallyParallelEnv",
    "RallyState",
    "RallyVecEnv",
    "RallyVectorEnv",
    "RallyWorlds",
    "ScreenConfig",
]

_HOME = {
    "RallyConfig": "types",
    "RallyEnv": "gym_env",
    "RallyParallelEnv": "parallel_env",
    "RallyState": "types",
    "RallyVecEnv": "sb3_env",
    "RallyVectorEnv": "vector_env",
    "RallyWorlds": "worlds",
    "ScreenConfig": "screen",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
