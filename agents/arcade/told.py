"""What a network is told of an arcade game, and the game's options as a user writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from agents.policies.spec import ObservationSpec
from envs.games.arcade import arcade_entry
from envs.games.rally.make import rally_config
from envs.games.rally.observation import FEATURES, truth_space
from envs.games.rally.types import RallyConfig

__all__ = ["game_config", "told_spec"]


def game_config(task: str, options: Mapping[str, Any] | None = None) -> RallyConfig:
    """The configuration of a game with options changed; whole numbers may be written as 3.0.

    Raises ConfigError for a game, an option or a value that does not exist.
    """
    arcade_entry(task)  # rally is the only one
    usual: Any = RallyConfig()
    exact = {
        name: int(value) if isinstance(value, float) and value.is_integer() and isinstance(getattr(usual, name, None), int) else value
        for name, value in (options or {}).items()
    }
    changed: dict[str, Any] = exact
    return rally_config(None, render_mode=None, **changed)


def told_spec(task: str, level: str = "truth") -> ObservationSpec:
    """What the vector of a game is made of: nothing on the level `pixels`. Its `features` change with their names and bounds."""
    arcade_entry(task)
    if level == "pixels":
        return ObservationSpec(size=0, features=hashlib.sha256(f"{task} pixels".encode()).hexdigest())
    known = (task, FEATURES, truth_space().high.tolist())
    size = len(FEATURES)
    return ObservationSpec(size=size, features=hashlib.sha256(repr(known).encode()).hexdigest(), layout={"observation": (size,)})
