"""The games that are known, by name."""

from __future__ import annotations

from envs.checks import ConfigError, unknown
from envs.games.atari.breakout import BREAKOUT
from envs.games.atari.freeway import FREEWAY
from envs.games.atari.pong import PONG
from envs.games.atari.types import Game

__all__ = ["GAMES", "find_game"]

GAMES: dict[str, Game] = {game.name: game for game in (PONG, BREAKOUT, FREEWAY)}


def find_game(name: str) -> Game:
    """A game. Raises ConfigError with a suggestion."""
    if name not in GAMES:
        raise ConfigError(unknown("Atari game", name, list(GAMES)))
    return GAMES[name]
