"""What a network is told of an arcade game, and the game's options and the screen's as a user writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from agents.policies.spec import ObservationSpec
from envs.checks import ConfigError
from envs.games.arcade import arcade_entry, arcade_game
from envs.games.options import with_options

__all__ = ["game_config", "screen_config", "told_spec"]


def game_config(task: str, options: Mapping[str, Any] | None = None) -> Any:
    """The configuration of a game with options changed; whole numbers may be written as 3.0.

    Raises ConfigError for a game, an option or a value that does not exist.
    """
    usual, fixed = arcade_game(task).config, arcade_entry(task).options
    if meant := [name for name in options or {} if name in fixed]:
        raise ConfigError(f"{meant[0]}={(options or {})[meant[0]]!r}: {task} is {meant[0]}={fixed[meant[0]]!r}, and no other")
    return with_options(usual, _exact(usual, options or {}), game=task)


def screen_config(task: str, options: Mapping[str, Any] | None = None) -> Any:
    """What is made of a game's screen, with options changed, as `game_config`; None without any: as everybody does."""
    if not options:
        return None
    usual = arcade_game(task).screen()
    if "size" in options:
        raise ConfigError(f"size={options['size']!r}: pictures are of {usual.size} px for everybody")
    return with_options(usual, _exact(usual, options), game=f"{task}'s screen")


def told_spec(task: str, level: str = "truth") -> ObservationSpec:
    """What the vector of a game is made of: nothing on the level `pixels`. Its `features` change with their names and bounds."""
    game = arcade_game(task)
    if level == "pixels":
        return ObservationSpec(size=0, features=hashlib.sha256(f"{task} pixels".encode()).hexdigest())
    known = (task, game.features, game.told.high.tolist())
    size = len(game.features)
    return ObservationSpec(size=size, features=hashlib.sha256(repr(known).encode()).hexdigest(), layout={"observation": (size,)})


def _exact(usual: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with whole numbers as such where they have to be, and numbers for words that are to be numbers."""
    return {name: _as(getattr(usual, name, None), name, value) for name, value in options.items()}


def _as(usual: Any, name: str, value: Any) -> Any:
    if isinstance(value, str) and isinstance(usual, int | float):
        try:
            value = float(value)
        except ValueError:
            raise ConfigError(f"{name}={value!r}: must be a number") from None
    return int(value) if isinstance(value, float) and value.is_integer() and isinstance(usual, int) else value
