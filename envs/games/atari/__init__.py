"""Atari games through ale-py, the extra `atari`, with their things told and looked at, and the shells. Names are imported when first used.

from envs.games.atari import AtariVecEnv
env = AtariVecEnv(num_envs=16, game="pong")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.games.atari.gym_env import AtariEnv
    from envs.games.atari.sb3_env import AtariVecEnv
    from envs.games.atari.types import AtariConfig, AtariState, ScreenConfig
    from envs.games.atari.vector_env import AtariVectorEnv
    from envs.games.atari.worlds import AtariWorlds

__all__ = ["AtariConfig", "AtariEnv", "AtariState", "AtariVecEnv", "AtariVectorEnv", "AtariWorlds", "ScreenConfig"]

_HOME = {
    "AtariConfig": "types",
    "AtariEnv": "gym_env",
    "AtariState": "types",
    "AtariVecEnv": "sb3_env",
    "AtariVectorEnv": "vector_env",
    "AtariWorlds": "worlds",
    "ScreenConfig": "types",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
