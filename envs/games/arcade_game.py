"""What those who train and judge have to know of an arcade game; each has one, see `envs.games.arcade.arcade_game`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gymnasium import spaces

from envs.games.arcade_worlds import ArcadeWorlds

__all__ = ["ArcadeGame"]


@dataclass(frozen=True, kw_only=True)
class ArcadeGame:
    """One game. Nothing in here needs an extra but what `worlds` makes."""

    config: Any  # the usual one, a frozen dataclass
    features: tuple[str, ...]  # F, what is told at every level but `pixels`
    told: spaces.Box  # (F,)
    shown: spaces.Box  # at the level `pixels`, as usual
    screen: type[Any]  # what is made of the screen: a frozen dataclass, whose values are all usual ones if none is given
    worlds: Callable[..., ArcadeWorlds]  # batch, configuration, observation=, screen= -> worlds
    seeing: Callable[[str, Any], dict[str, str]]  # level, screen -> stage of perception to the name or file of its weights
