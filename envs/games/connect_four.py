"""Connect Four: two players drop stones into seven columns of six; four in a row, in any direction, win.

Board as bits: column c, height h (0 at the bottom) is bit 7 c + h; bit 7 c + 6 stays empty, so that lines do not run on into the next
column. Adding the lowest bit of a column to the stones there carries to its lowest free cell (J. Tromp, Fhourstones; P. Pons, "Solving
Connect 4").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.games.bits import Words, bit_mask, in_a_row, spread, word
from envs.games.game import Actions, Flags, Symmetries, merge
from envs.games.text import grid_text

__all__ = ["ConnectFour", "ConnectFourState"]

ROWS, COLUMNS, STRIDE = 6, 7, 7
CELLS = np.array([[c * STRIDE + ROWS - 1 - r for c in range(COLUMNS)] for r in range(ROWS)])  # (rows, columns) bit of each cell
TOP = CELLS[0]  # (columns,)
FULL = bit_mask(CELLS.reshape(-1))
BOTTOMS = (word(1) << (STRIDE * np.arange(COLUMNS)).astype(np.uint64)).astype(np.uint64)  # (columns,) lowest bit of each
WHOLE = BOTTOMS * bit_mask(range(ROWS))  # (columns,) all bits of each
STEPS = (1, STRIDE - 1, STRIDE, STRIDE + 1)  # up, and the three directions to the right


class ConnectFourState(NamedTuple):
    """Shapes: B games."""

    own: Words  # (B,) stones of the player to move
    stones: Words  # (B,) stones of both
    player: NDArray[np.int8]  # (B,) whose turn it is
    done: Flags  # (B,)
    outcome: NDArray[np.int8]  # (B,) +1 player 0 has won, -1 player 1


class ConnectFour:
    """Rules of Connect Four. Action c drops a stone into column c, counted from the left. 42 stones without four in a row are a draw."""

    name = "connect_four"
    about = "Stones drop into columns; four in a row win."
    rows, columns = ROWS, COLUMNS
    actions = COLUMNS
    planes = 2
    longest = ROWS * COLUMNS
    symmetries = Symmetries(
        points=np.stack([b.reshape(-1) for b in (np.arange(42).reshape(6, 7), np.arange(42).reshape(6, 7)[:, ::-1])]),
        actions=np.stack([np.arange(7), np.arange(7)[::-1]]),
    )

    def initial(self, batch: int) -> ConnectFourState:
        """Empty boards."""
        return ConnectFourState(
            own=np.zeros(batch, dtype=np.uint64),
            stones=np.zeros(batch, dtype=np.uint64),
            player=np.zeros(batch, dtype=np.int8),
            done=np.zeros(batch, dtype=np.bool_),
            outcome=np.zeros(batch, dtype=np.int8),
        )

    def legal(self, state: ConnectFourState) -> Flags:
        """(B, 7) columns that are not full."""
        return ~spread(state.stones, TOP) & ~state.done[:, None]

    def step(self, state: ConnectFourState, action: Actions) -> ConnectFourState:
        """One stone in each game."""
        stone = (state.stones + BOTTOMS[action]) & WHOLE[action]
        own, stones = state.own | stone, state.stones | stone
        won = in_a_row(own, 4, STEPS)
        after = ConnectFourState(
            own=stones ^ own,
            stones=stones,
            player=state.player ^ np.int8(1),
            done=won | (stones == FULL),
            outcome=won * (1 - 2 * state.player),
        )
        return merge(state.done, state, after) if state.done.any() else after

    def observe(self, state: ConnectFourState) -> NDArray[np.int8]:
        """(B, 2, 6, 7) own stones, the opponent's."""
        return np.stack([spread(state.own, CELLS), spread(state.own ^ state.stones, CELLS)], axis=1).astype(np.int8)

    def action_name(self, action: int) -> str:
        """Columns count from 1, as people do."""
        return str(action + 1)

    def board_text(self, state: ConnectFourState, row: int = 0) -> str:
        """Six lines and the numbers of the columns."""
        return grid_text(self.observe(state)[row], int(state.player[row]), columns="1234567", rows=None)
