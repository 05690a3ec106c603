"""Every arcade game by name: games with a screen, that are acted in step by step. No torch in here, so that listing them costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from envs.checks import ConfigError, unknown

__all__ = ["ARCADE", "ATARI", "ArcadeEntry", "arcade_entry"]


@dataclass(frozen=True, kw_only=True)
class ArcadeEntry:
    """One game."""

    id: str  # with Gymnasium
    about: str  # in a line, for lists
    entry_point: str  # "module:class" of the gymnasium.Env
    vector_entry_point: str  # "module:class" of the gymnasium.vector.VectorEnv
    players: tuple[int, ...]  # how many can play
    options: dict[str, Any] = field(default_factory=dict)  # keyword arguments that the id stands for
    extra: str = ""  # of ours, that the game needs


# games that `closedloop eval` and `closedloop train` know
ARCADE = {
    "rally": ArcadeEntry(
        id="closedloop/Rally-v0",
        about="return the ball past the other paddle; 11 points win",
        entry_point="envs.games.rally.gym_env:RallyEnv",
        vector_entry_point="envs.games.rally.vector_env:RallyVectorEnv",
        players=(1, 2),
    ),
}

# games that ale-py emulates, so far for other programs only
ATARI = {
    name: ArcadeEntry(
        id=f"closedloop/{name.capitalize()}-v0",
        about=about,
        entry_point="envs.games.atari.gym_env:AtariEnv",
        vector_entry_point="envs.games.atari.vector_env:AtariVectorEnv",
        players=(1,),
        options={"game": name},
        extra="atari",
    )
    for name, about in (
        ("pong", "Atari's Pong: return the ball past the other paddle; 21 points win"),
        ("breakout", "Atari's Breakout: a ball takes bricks out of a wall; five balls"),
        ("freeway", "Atari's Freeway: lead a chicken across ten lanes as often as 2 min 16 s allow"),
    )
}


def arcade_entry(name: str) -> ArcadeEntry:
    """The entry of a game that `closedloop eval` and `train` know. Raises ConfigError with a suggestion."""
    if name in ATARI:
        raise ConfigError(f"{name} cannot be judged or trained on from the command line yet: use {ATARI[name].id} or envs.games.atari")
    if name not in ARCADE:
        raise ConfigError(unknown("arcade game", name, list(ARCADE)))
    return ARCADE[name]
