"""Tic-tac-toe: three in a row on a board of three by three. A game small enough to be known completely: with good play it is a draw."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.games.bits import Words, bit_mask, in_a_row, spread, word
from envs.games.game import Actions, Flags, merge, square_symmetries
from envs.games.text import grid_text, point_name

__all__ = ["TicTacToe", "TicTacToeState"]

STRIDE = 4  # a row of three and an empty bit, so that lines do not run on into the next row
CELLS = np.array([[r * STRIDE + c for c in range(3)] for r in range(3)])  # (3, 3) bit of each cell
BITS: Words = (word(1) << CELLS.reshape(-1).astype(np.uint64)).astype(np.uint64)  # (9,) each cell as a word
FULL = bit_mask(CELLS.reshape(-1))
STEPS = (1, STRIDE - 1, STRIDE, STRIDE + 1)


class TicTacToeState(NamedTuple):
    """Shapes: B games."""

    own: Words  # (B,) stones of the player to move
    stones: Words  # (B,) stones of both
    player: NDArray[np.int8]  # (B,) whose turn it is
    done: Flags  # (B,)
    outcome: NDArray[np.int8]  # (B,) +1 player 0 has won, -1 player 1


class TicTacToe:
    """Rules of tic-tac-toe. Action 3 r + c takes the cell in row r from the top and column c from the left."""

    name = "tic_tac_toe"
    about = "Three in a row win; a draw with good play."
    rows = columns = 3
    actions = longest = 9
    planes = 2
    symmetries = square_symmetries(3)

    def initial(self, batch: int) -> TicTacToeState:
        """Empty boards."""
        return TicTacToeState(
            own=np.zeros(batch, dtype=np.uint64),
            stones=np.zeros(batch, dtype=np.uint64),
            player=np.zeros(batch, dtype=np.int8),
            done=np.zeros(batch, dtype=np.bool_),
            outcome=np.zeros(batch, dtype=np.int8),
        )

    def legal(self, state: TicTacToeState) -> Flags:
        """(B, 9) empty cells."""
        return ~spread(state.stones, CELLS.reshape(-1)) & ~state.done[:, None]

    def step(self, state: TicTacToeState, action: Actions) -> TicTacToeState:
        """One stone in each game."""
        stone = BITS[action]
        own, stones = state.own | stone, state.stones | stone
        won = in_a_row(own, 3, STEPS)
        after = TicTacToeState(
            own=stones ^ own,
            stones=stones,
            player=state.player ^ np.int8(1),
            done=won | (stones == FULL),
            outcome=won * (1 - 2 * state.player),
        )
        return merge(state.done, state, after) if state.done.any() else after

    def observe(self, state: TicTacToeState) -> NDArray[np.int8]:
        """(B, 2, 3, 3) own stones, the opponent's."""
        return np.stack([spread(state.own, CELLS), spread(state.own ^ state.stones, CELLS)], axis=1).astype(np.int8)

    def action_name(self, action: int) -> str:
        """B2 is the middle."""
        return point_name(action, 3, 3)

    def board_text(self, state: TicTacToeState, row: int = 0) -> str:
        """Three lines and the letters of the columns."""
        return grid_text(self.observe(state)[row], int(state.player[row]))
