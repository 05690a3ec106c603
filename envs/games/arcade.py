"""Every arcade game by name: games with a screen, that are acted in step by step. No torch in here, so that listing them costs nothing."""

from __future__ import annotations

from dataclasses import dataclass

from envs.checks import ConfigError, unknown

__all__ = ["ARCADE", "ArcadeEntry", "arcade_entry"]


@dataclass(frozen=True, kw_only=True)
class ArcadeEntry:
    """One game."""

    id: str  # with Gymnasium
    about: str  # in a line, for lists
    entry_point: str  # "module:class" of the gymnasium.Env
    vector_entry_point: str  # "module:class" of the gymnasium.vector.VectorEnv
    players: tuple[int, ...]  # how many can play


ARCADE = {
    "rally": ArcadeEntry(
        id="closedloop/Rally-v0",
        about="return the ball past the other paddle; 11 points win",
        entry_point="envs.games.rally.gym_env:RallyEnv",
        vector_entry_point="envs.games.rally.vector_env:RallyVectorEnv",
        players=(1, 2),
    ),
}


def arcade_entry(name: str) -> ArcadeEntry:
    """The entry of a game. Raises ConfigError with a suggestion."""
    if name not in ARCADE:
        raise ConfigError(unknown("arcade game", name, list(ARCADE)))
    return ARCADE[name]
