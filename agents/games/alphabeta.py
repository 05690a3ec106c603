"""Alpha-beta: exact play to a fixed depth, for small games and as a check of the other searches. Shapes: B games, A actions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.games import Game, take

__all__ = ["best_moves", "move_values"]

Table = dict[tuple[bytes, int], tuple[int, int]]  # (position, depth) -> bounds of its value


def best_moves(game: Game[Any], state: Any, depth: int) -> NDArray[np.bool_]:
    """(B, A) the moves of each game that are best as far as `depth` moves ahead show; none where the game is over."""
    best = np.zeros((len(state.done), game.actions), dtype=np.bool_)
    for b in np.flatnonzero(~state.done):
        values = move_values(game, take(state, [b]), depth)
        best[b] = values == np.nanmax(values)
    return best


def move_values(game: Game[Any], state: Any, depth: int) -> NDArray[np.float64]:
    """(A,) what each move of one game leads to for the one who plays it, `depth` moves ahead: 1 won, -1 lost, 0 drawn or not known.

    NaN where a move is not legal. Raises ValueError for a depth below 1.
    """
    if depth < 1:
        raise ValueError(f"depth={depth}: must be at least 1")
    values = np.full(game.actions, np.nan)
    moves = np.flatnonzero(game.legal(state)[0])
    after, table = game.step(take(state, np.zeros(len(moves), dtype=np.int64)), moves), Table()
    for k, move in enumerate(moves):
        values[move] = -_value(game, take(after, [k]), depth - 1, -1, 1, table)
    return values


def _value(game: Game[Any], state: Any, depth: int, alpha: int, beta: int, table: Table) -> int:
    """Value of one game for the player to move, exact where it lies between alpha and beta, else a bound beyond them."""
    if state.done[0]:
        return int(state.outcome[0]) * (1 - 2 * int(state.player[0]))
    if depth == 0:
        return 0
    key = (b"".join(field.tobytes() for field in state), depth)
    low, high = table.get(key, (-1, 1))
    if low >= beta or low == high:
        return low
    if high <= alpha:
        return high
    first, last = alpha, beta
    moves = np.flatnonzero(game.legal(state)[0])
    after = game.step(take(state, np.zeros(len(moves), dtype=np.int64)), moves)  # all at once
    worth = after.outcome * after.done * (1 - 2 * state.player[0])
    best = -1
    for k in np.argsort(-worth, kind="stable"):  # what ends the game well first
        best = max(best, -_value(game, take(after, [k]), depth - 1, -beta, -alpha, table))
        alpha = max(alpha, best)
        if alpha >= beta:
            break
    table[key] = (low if best <= first else best, high if best >= last else best)
    return best
