"""Gomoku on nine by nine: five in a row win (free style: six or more win too)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.games.game import Actions, Flags, merge, square_symmetries
from envs.games.text import grid_text, point_name

__all__ = ["Gomoku", "GomokuState"]

SIZE, COUNT = 9, 5
POINTS = SIZE * SIZE


def _lines() -> NDArray[np.int64]:
    """(P, 4, 9) the points up to four away from each on its row, column and diagonals; POINTS where there is none."""
    table = np.full((POINTS, 4, 2 * COUNT - 1), POINTS)
    for point in range(POINTS):
        row, column = divmod(point, SIZE)
        for d, (down, right) in enumerate(((0, 1), (1, 0), (1, 1), (1, -1))):
            for k in range(1 - COUNT, COUNT):
                r, c = row + k * down, column + k * right
                if 0 <= r < SIZE and 0 <= c < SIZE:
                    table[point, d, k + COUNT - 1] = r * SIZE + c
    return table


LINES = _lines()


class GomokuState(NamedTuple):
    """Shapes: B games, P = 81 points."""

    cells: NDArray[np.int8]  # (B, P + 1) +1 player 0, -1 player 1, 0 empty; the last stands for what is off the board, always 0
    player: NDArray[np.int8]  # (B,) whose turn it is
    done: Flags  # (B,)
    outcome: NDArray[np.int8]  # (B,) +1 player 0 has won, -1 player 1


class Gomoku:
    """Rules of free-style Gomoku. Action 9 r + c takes the point in row r from the top and column c from the left."""

    name = "gomoku"
    about = "Five in a row or more win."
    rows = columns = SIZE
    actions = longest = POINTS
    planes = inputs = 2
    line = COUNT
    symmetries = square_symmetries(SIZE)

    def initial(self, batch: int) -> GomokuState:
        """Empty boards."""
        return GomokuState(
            cells=np.zeros((batch, POINTS + 1), dtype=np.int8),
            player=np.zeros(batch, dtype=np.int8),
            done=np.zeros(batch, dtype=np.bool_),
            outcome=np.zeros(batch, dtype=np.int8),
        )

    def legal(self, state: GomokuState) -> Flags:
        """(B, 81) empty points."""
        return np.asarray((state.cells[:, :POINTS] == 0) & ~state.done[:, None])

    def step(self, state: GomokuState, action: Actions) -> GomokuState:
        """One stone in each game. Only lines through the new stone can have become five."""
        rows, colour = np.arange(len(action)), 1 - 2 * state.player
        cells = state.cells.copy()
        cells[rows, action] = colour
        own = cells[rows[:, None, None], LINES[action]] == colour[:, None, None]  # (B, 4, 9)
        runs = own[..., :COUNT].copy()
        for k in range(1, COUNT):
            runs &= own[..., k : k + COUNT]
        won = runs.any(axis=(1, 2))
        after = GomokuState(
            cells=cells,
            player=state.player ^ np.int8(1),
            done=won | (cells[:, :POINTS] != 0).all(axis=1),
            outcome=won * colour,
        )
        return merge(state.done, state, after) if state.done.any() else after

    def observe(self, state: GomokuState) -> NDArray[np.int8]:
        """(B, 2, 9, 9) own stones, the opponent's."""
        seen = (state.cells[:, :POINTS] * (1 - 2 * state.player)[:, None]).reshape(-1, SIZE, SIZE)
        return np.stack([seen > 0, seen < 0], axis=1).astype(np.int8)

    def features(self, state: GomokuState) -> NDArray[np.int8]:
        """As `observe`."""
        return self.observe(state)

    def action_name(self, action: int) -> str:
        """E5 is the middle."""
        return point_name(action, SIZE, SIZE)

    def board_text(self, state: GomokuState, row: int = 0) -> str:
        """Nine lines and the letters of the columns."""
        return grid_text(self.observe(state)[row], int(state.player[row]))
