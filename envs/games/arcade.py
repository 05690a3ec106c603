"""Every arcade game by name: games with a screen, that are acted in step by step. No torch in here, so that listing them costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from envs.checks import ConfigError, unknown

if TYPE_CHECKING:
    from envs.games.arcade_game import ArcadeGame

__all__ = ["ARCADE", "ArcadeEntry", "arcade_entry", "arcade_game"]


@dataclass(frozen=True, kw_only=True)
class ArcadeEntry:
    """One game."""

    id: str  # with Gymnasium
    about: str  # in a line, for lists
    entry_point: str  # "module:class" of the gymnasium.Env
    vector_entry_point: str  # "module:class" of the gymnasium.vector.VectorEnv
    game: str  # "module:function" that makes its `ArcadeGame`, given `options`
    players: tuple[int, ...]  # how many can play
    figures: tuple[str, ...]  # of `ArcadeWorlds.metrics`, those that tables show
    options: dict[str, Any] = field(default_factory=dict)  # fields of its configuration that the name and the id stand for
    extra: str = ""  # of ours, that the game needs


def _atari(name: str, about: str, *figures: str) -> ArcadeEntry:
    return ArcadeEntry(
        id=f"closedloop/{name.capitalize()}-v0",
        about=f"Atari's {name.capitalize()}: {about}",
        entry_point="envs.games.atari.gym_env:AtariEnv",
        vector_entry_point="envs.games.atari.vector_env:AtariVectorEnv",
        game="envs.games.atari.arcade:atari_game",
        players=(1,),
        figures=("success", "return", *figures),
        options={"game": name},
        extra="atari",
    )


ARCADE = {
    "rally": ArcadeEntry(
        id="closedloop/Rally-v0",
        about="return the ball past the other paddle; 11 points win",
        entry_point="envs.games.rally.gym_env:RallyEnv",
        vector_entry_point="envs.games.rally.vector_env:RallyVectorEnv",
        game="envs.games.rally.arcade:rally_game",
        players=(1, 2),
        figures=("success", "return", "won", "lost", "share", "hits"),
    ),
    "pong": _atari("pong", "return the ball past the other paddle; 21 points win", "won", "lost", "share", "normalised", "seconds"),
    "breakout": _atari("breakout", "a ball takes bricks out of a wall; five balls", "normalised", "lives", "seconds"),
    "freeway": _atari("freeway", "lead a chicken across ten lanes as often as 2 min 16 s allow", "normalised", "seconds"),
}


def arcade_entry(name: str) -> ArcadeEntry:
    """The entry of a game. Raises ConfigError with a suggestion."""
    if name not in ARCADE:
        raise ConfigError(unknown("arcade game", name, list(ARCADE)))
    return ARCADE[name]


@cache
def arcade_game(name: str) -> ArcadeGame:
    """What those who train and judge have to know of a game; only its worlds need an extra. Raises ConfigError with a suggestion."""
    entry = arcade_entry(name)
    module, _, made = entry.game.partition(":")
    found: ArcadeGame = getattr(import_module(module), made)(**entry.options)
    return found
