"""Tic-tac-toe: three in a row on a board of three by three. A game small enough to be known completely: with good play it is a draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.games.bits import StonesState, Words, bit_mask, empty_board, placed, spread, word
from envs.games.game import Actions, Flags, square_symmetries
from envs.games.text import grid_text, point_name

__all__ = ["TicTacToe"]

STRIDE = 4  # a row of three and an empty bit, so that lines do not run on into the next row
CELLS = np.array([[r * STRIDE + c for c in range(3)] for r in range(3)])  # (3, 3) bit of each cell
BITS: Words = (word(1) << CELLS.reshape(-1).astype(np.uint64)).astype(np.uint64)  # (9,) each cell as a word
FULL = bit_mask(CELLS.reshape(-1))
STEPS = (1, STRIDE - 1, STRIDE, STRIDE + 1)


class TicTacToe:
    """Rules of tic-tac-toe. Action 3 r + c takes the cell in row r from the top and column c from the left."""

    name = "tic_tac_toe"
    about = "Three in a row win; a draw with good play."
    rows = columns = 3
    actions = longest = 9
    planes = inputs = 2
    line = 3
    symmetries = square_symmetries(3)

    def initial(self, batch: int) -> StonesState:
        """Empty boards."""
        return empty_board(batch)

    def legal(self, state: StonesState) -> Flags:
        """(B, 9) empty cells."""
        return ~spread(state.stones, CELLS.reshape(-1)) & ~state.done[:, None]

    def step(self, state: StonesState, action: Actions) -> StonesState:
        """One stone in each game."""
        return placed(state, BITS[action], line=3, steps=STEPS, full=FULL)

    def observe(self, state: StonesState) -> NDArray[np.int8]:
        """(B, 2, 3, 3) own stones, the opponent's."""
        return np.stack([spread(state.own, CELLS), spread(state.own ^ state.stones, CELLS)], axis=1).astype(np.int8)

    def features(self, state: StonesState) -> NDArray[np.int8]:
        """As `observe`."""
        return self.observe(state)

    def action_name(self, action: int) -> str:
        """B2 is the middle."""
        return point_name(action, 3, 3)

    def board_text(self, state: StonesState, row: int = 0) -> str:
        """Three lines and the letters of the columns."""
        return grid_text(self.observe(state)[row], int(state.player[row]))
