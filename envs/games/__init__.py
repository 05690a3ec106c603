"""Board games: pure rules over a whole batch of games, and their PettingZoo shell. No torch in here; arcade games are packages of their own
below it (`envs.games.rally`), listed in `envs.games.arcade`.

from envs.games import game_named
game = game_named("connect_four")
state = game.initial(1000)
state = game.step(state, action)   # action (1000,)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envs.games.game import Game, IllegalMove, join, merge, nth_legal, perft, play, put, take
from envs.games.registry import GAMES, UnknownGame, game_named

if TYPE_CHECKING:
    from envs.games.aec_env import BoardGameEnv, env

__all__ = [
    "BoardGameEnv",
    "GAMES",
    "Game",
    "IllegalMove",
    "UnknownGame",
    "env",
    "game_named",
    "join",
    "merge",
    "nth_legal",
    "perft",
    "play",
    "put",
    "take",
]


def __getattr__(name: str) -> Any:
    if name in ("BoardGameEnv", "env"):  # PettingZoo is imported with them
        from envs.games import aec_env

        return getattr(aec_env, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
