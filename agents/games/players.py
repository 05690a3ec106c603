"""Who may sit at the board. A player answers for a whole batch of games at once. Shapes: B games, A actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.games.alphabeta import best_moves
from agents.games.evaluators import Rollouts
from agents.games.search import SearchConfig, search
from agents.games.tree import Evaluator
from envs.games import Game
from scenarios.errors import did_you_mean

__all__ = ["AlphaBetaPlayer", "Player", "RandomPlayer", "RolloutPlayer", "SearchPlayer", "UnknownPlayer", "player_named", "players"]

MCTS_SIMULATIONS = 1000
ALPHAZERO_SIMULATIONS = 400
ALPHABETA_DEPTH = {"tic_tac_toe": 9, "connect_four": 5, "go_5x5": 2}  # else 2


class UnknownPlayer(ValueError):
    """No player of that name. The message lists those there are."""


class Player(Protocol):
    """Chooses moves."""

    name: str

    def act(self, state: Any, random: np.random.Generator) -> NDArray[np.int64]:
        """(B,) a legal move in every game that is not over. Whatever chance decides comes from `random`."""


class RandomPlayer:
    """Any legal move."""

    name = "random"

    def __init__(self, game: Game[Any]) -> None:
        self.game = game

    def act(self, state: Any, random: np.random.Generator) -> NDArray[np.int64]:
        """(B,) moves, all equally likely."""
        legal = self.game.legal(state)
        return np.asarray((random.random(legal.shape) * legal).argmax(axis=1))


class RolloutPlayer:
    """Plain Monte-Carlo tree search: UCT with one random game for each new position."""

    def __init__(self, game: Game[Any], simulations: int = MCTS_SIMULATIONS) -> None:
        self.game, self.config = game, SearchConfig(simulations=simulations, root="uct")
        self.name = f"mcts:{simulations}"

    def act(self, state: Any, random: np.random.Generator) -> NDArray[np.int64]:
        """(B,) the moves visited most."""
        return search(self.game, state, Rollouts(self.game, random), self.config, random).action


class AlphaBetaPlayer:
    """Looks a few moves ahead, knows nothing beyond; among equals any."""

    def __init__(self, game: Game[Any], depth: int) -> None:
        self.game, self.depth = game, depth
        self.name = f"alphabeta:{depth}"

    def act(self, state: Any, random: np.random.Generator) -> NDArray[np.int64]:
        """(B,) one of the best moves."""
        best = best_moves(self.game, state, self.depth)
        return np.asarray((random.random(best.shape) * best).argmax(axis=1))


class SearchPlayer:
    """Tree search with any judge of positions."""

    def __init__(self, game: Game[Any], evaluate: Evaluator, config: SearchConfig, *, name: str) -> None:
        self.game, self.evaluate, self.config, self.name = game, evaluate, config, name

    def act(self, state: Any, random: np.random.Generator) -> NDArray[np.int64]:
        """(B,) the moves that the search prefers."""
        return search(self.game, state, self.evaluate, self.config, random).action


_MAKERS: dict[str, Callable[[Game[Any], int | None], Player]] = {
    "random": lambda game, number: RandomPlayer(game),
    "mcts": lambda game, number: RolloutPlayer(game, number or MCTS_SIMULATIONS),
    "alphabeta": lambda game, number: AlphaBetaPlayer(game, number or ALPHABETA_DEPTH.get(game.name, 2)),
}
NETWORK = "alphazero"  # the name of the networks that ship


def players() -> list[str]:
    """Names that `player_named` knows."""
    return [*_MAKERS, NETWORK]


def player_named(name: str, game: Game[Any], *, simulations: int = ALPHAZERO_SIMULATIONS, portion: int = 32) -> Player:
    """ "random", "mcts" or "mcts:200" (simulations), "alphabeta" or "alphabeta:4" (moves ahead), "alphazero" or "alphazero:100" (the
    network that ships for the game, and simulations).

    simulations: of a network whose name says none. portion: positions that go through a network together. Raises UnknownPlayer.
    """
    kind, colon, number = name.partition(":")
    if kind not in players():
        hint = did_you_mean(kind, players())
        raise UnknownPlayer(f"no player {kind!r}{'; ' + hint if hint else '.'} Known: {', '.join(players())}")
    if colon and (kind == "random" or not number.isdecimal() or int(number) < 1):
        raise UnknownPlayer(f"player {name!r}: after the colon comes a whole number of at least 1, and none for random")
    if kind == NETWORK:
        from agents.learning.alphazero.shipped import shipped_player  # torch is imported for this one alone

        return shipped_player(game, int(number) if colon else simulations, portion=portion)
    return _MAKERS[kind](game, int(number) if colon else None)
