"""Connect Four: two players drop stones into seven columns of six; four in a row, in any direction, win.

Board as bits: column c, height h (0 at the bottom) is bit 7 c + h; bit 7 c + 6 stays empty, so that lines do not run on into the next
column. Adding the lowest bit of a column to the stones there carries to its lowest free cell (J. Tromp, Fhourstones; P. Pons, "Solving
Connect 4").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.games.bits import StonesState, bit_mask, completing, empty_board, placed, spread, word
from envs.games.game import Actions, Flags, Symmetries
from envs.games.text import grid_text

__all__ = ["ConnectFour"]

ROWS, COLUMNS, STRIDE = 6, 7, 7
CELLS = np.array([[c * STRIDE + ROWS - 1 - r for c in range(COLUMNS)] for r in range(ROWS)])  # (rows, columns) bit of each cell
TOP = CELLS[0]  # (columns,)
FULL = bit_mask(CELLS.reshape(-1))
BOTTOMS = (word(1) << (STRIDE * np.arange(COLUMNS)).astype(np.uint64)).astype(np.uint64)  # (columns,) lowest bit of each
WHOLE = BOTTOMS * bit_mask(range(ROWS))  # (columns,) all bits of each
ODD_ROWS = np.broadcast_to(np.arange(ROWS)[::-1, None] % 2 == 0, (ROWS, COLUMNS))  # rows 1, 3, 5 from the bottom
STEPS = (1, STRIDE - 1, STRIDE, STRIDE + 1)  # up, and the three directions to the right


class ConnectFour:
    """Rules of Connect Four. Action c drops a stone into column c, counted from the left. 42 stones without four in a row are a draw."""

    name = "connect_four"
    about = "Stones drop into columns; four in a row win."
    rows, columns = ROWS, COLUMNS
    actions = COLUMNS
    planes = 2
    inputs = 6
    longest = ROWS * COLUMNS
    line = 4
    symmetries = Symmetries(
        points=np.stack([b.reshape(-1) for b in (np.arange(42).reshape(6, 7), np.arange(42).reshape(6, 7)[:, ::-1])]),
        actions=np.stack([np.arange(7), np.arange(7)[::-1]]),
    )

    def initial(self, batch: int) -> StonesState:
        """Empty boards."""
        return empty_board(batch)

    def legal(self, state: StonesState) -> Flags:
        """(B, 7) columns that are not full."""
        return ~spread(state.stones, TOP) & ~state.done[:, None]

    def step(self, state: StonesState, action: Actions) -> StonesState:
        """One stone in each game."""
        return placed(state, (state.stones + BOTTOMS[action]) & WHOLE[action], line=self.line, steps=STEPS, full=FULL)

    def observe(self, state: StonesState) -> NDArray[np.int8]:
        """(B, 2, 6, 7) own stones, the opponent's."""
        return np.stack([spread(state.own, CELLS), spread(state.own ^ state.stones, CELLS)], axis=1).astype(np.int8)

    def features(self, state: StonesState) -> NDArray[np.int8]:
        """(B, 6, 6, 7) own stones, the opponent's; empty cells that would complete four for oneself, for the opponent; cells that can be
        played now; and the rows in which, while both fill up columns, the player to move gets the last word: odd ones (counted from 1 at
        the bottom) for who moved first, even ones for the other (V. Allis, "A knowledge-based approach of Connect-Four", 1988)."""
        other, empty = state.own ^ state.stones, FULL ^ state.stones
        free = (state.stones + BOTTOMS.sum()) & FULL
        words = (state.own, other, completing(state.own, self.line, STEPS) & empty, completing(other, self.line, STEPS) & empty, free)
        claims = np.where(state.player[:, None, None] == 0, ODD_ROWS, ~ODD_ROWS)
        return np.stack([*(spread(bits, CELLS) for bits in words), claims], axis=1).astype(np.int8)

    def action_name(self, action: int) -> str:
        """Columns count from 1, as people do."""
        return str(action + 1)

    def board_text(self, state: StonesState, row: int = 0) -> str:
        """Six lines and the numbers of the columns."""
        return grid_text(self.observe(state)[row], int(state.player[row]), columns="1234567", rows=None)
