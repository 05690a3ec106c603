"""Judges of positions that need no learning: nothing known, and random games to the end. Shapes: K positions, A actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.games import Game, nth_legal
from envs.games.go import Go

__all__ = ["Rollouts", "Uniform", "random_moves"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Uniform:
    """Every move is as good as any, every position even: the search then only knows what it has seen to the end."""

    def __call__(self, state: Any, legal: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Zeros."""
        return np.zeros(legal.shape, dtype=np.float32), np.zeros(len(legal), dtype=np.float32)


@dataclass(frozen=True)
class Rollouts:
    """The result of one game played on at random from each position."""

    game: Game[Any]
    random: np.random.Generator

    def __call__(self, state: Any, legal: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Zeros, and the outcome for the player to move."""
        mine, at = 1 - 2 * state.player.astype(np.int64), state
        if isinstance(self.game, Go):  # all numbers at once, so that the games can be played in one call
            at = self.game.play_out(
                state, self.random.random((len(mine), self.game.longest - int(state.moves.min(initial=self.game.longest))))
            )
        while not at.done.all():
            at = self.game.step(at, random_moves(self.game, at, self.random))
        return np.zeros(legal.shape, dtype=np.float32), (at.outcome * mine).astype(np.float32)


def random_moves(game: Game[Any], state: Any, random: np.random.Generator) -> NDArray[np.int64]:
    """(K,) a legal move of each game, all equally likely; in Go none that fills an own eye, and no pass while another is left."""
    numbers = random.random(len(state.done))
    return game.choose(state, numbers, sensible=True) if isinstance(game, Go) else nth_legal(game.legal(state), numbers)
