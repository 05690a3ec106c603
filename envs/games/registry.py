"""Every board game by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from envs.games.connect_four import ConnectFour
from envs.games.game import Game
from envs.games.go import Go
from envs.games.gomoku import Gomoku
from envs.games.othello import Othello
from envs.games.tic_tac_toe import TicTacToe
from scenarios.errors import did_you_mean

__all__ = ["GAMES", "UnknownGame", "game_named"]


class UnknownGame(ValueError):
    """No game of that name. The message lists those there are."""


# Komi: on 5x5 black, playing perfectly, takes the whole board (van der Werf 2003), so none is fair; a half point only forbids draws.
# 7x7 is believed to be worth 9 points to black; 7.5 on 9x9 is what programs play with.
GAMES: dict[str, Callable[[], Game[Any]]] = {
    "tic_tac_toe": TicTacToe,
    "connect_four": ConnectFour,
    "gomoku": Gomoku,
    "othello": Othello,
    "go_5x5": lambda: Go(5, komi=0.5),
    "go_7x7": lambda: Go(7, komi=8.5),
    "go_9x9": lambda: Go(9, komi=7.5),
}


@cache
def game_named(name: str) -> Game[Any]:
    """The rules of a game. Raises UnknownGame."""
    if name not in GAMES:
        hint = did_you_mean(name, list(GAMES))
        raise UnknownGame(f"no game {name!r}{'; ' + hint if hint else '.'} Known: {', '.join(GAMES)}")
    return GAMES[name]()
