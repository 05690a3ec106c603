"""Othello: a stone turns those of the opponent that it encloses in straight lines; most stones at the end win.

Board as bits: row r, column c is bit 8 r + c. A line of enclosed stones is followed one cell at a time in all eight directions ("dumb7
fill", as chess programs call it), with the edge columns masked so that it does not run around the board.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.games.bits import Words, bit_mask, spread, word
from envs.games.game import Actions, Flags, merge, square_symmetries
from envs.games.text import LETTERS, grid_text

__all__ = ["Othello", "OthelloState", "placements"]

SIZE, PASS = 8, 64
CELLS = np.arange(64).reshape(SIZE, SIZE)
INNER = bit_mask(CELLS[:, 1:-1].reshape(-1))  # all but the first and the last column
ALL = word(2**64 - 1)
# (shift, whether towards higher bits, which stones of the opponent a line may pass): left and right, up and down, diagonals
DIRECTIONS = tuple(
    (word(shift), up, inner) for shift, inner in ((1, INNER), (8, ALL), (7, INNER), (9, INNER)) for up in (True, False)
)  # fmt: skip


def _shift(words: Words, by: np.uint64, up: bool) -> Words:
    return words << by if up else words >> by


def _lines(start: Words, theirs: Words, by: np.uint64, up: bool) -> Words:
    """The unbroken lines of stones in `theirs` that begin beside `start`, in one direction."""
    line = _shift(start, by, up) & theirs
    for _ in range(SIZE - 3):  # at most six stones lie between two others
        line = line | (_shift(line, by, up) & theirs)
    return line


def placements(own: Words, other: Words) -> Words:
    """(B,) the empty cells where a stone of `own` encloses some of `other`."""
    found = np.zeros_like(own)
    for by, up, inner in DIRECTIONS:
        found |= _shift(_lines(own, other & inner, by, up), by, up)
    return found & ~(own | other)


def turned(stone: Words, own: Words, other: Words) -> Words:
    """(B,) the stones of `other` that a new `stone` of `own` encloses."""
    found = np.zeros_like(own)
    for by, up, inner in DIRECTIONS:
        line = _lines(stone, other & inner, by, up)
        found |= np.where(_shift(line, by, up) & own, line, word(0))
    return found


class OthelloState(NamedTuple):
    """Shapes: B games."""

    own: Words  # (B,) stones of the player to move
    other: Words  # (B,) stones of the opponent
    moves: Words  # (B,) cells where the player to move may play; 0: must pass, or the game is over
    player: NDArray[np.int8]  # (B,) whose turn it is
    done: Flags  # (B,)
    outcome: NDArray[np.int8]  # (B,) +1 player 0 has won, -1 player 1


class Othello:
    """Rules of Othello. Action 8 r + c plays in row r from the top and column c from the left; 64 passes, allowed where nothing else is.

    The game is over when neither can play.
    """

    name = "othello"
    about = "Stones enclosed in a line turn; most at the end win."
    rows = columns = SIZE
    actions = 65
    planes = inputs = 2
    line = 0
    longest = 2 * 60  # at most a pass after each of the sixty stones
    symmetries = square_symmetries(SIZE, others=1)

    def initial(self, batch: int) -> OthelloState:
        """Four stones in the middle: black, who moves first, on E4 and D5, white on D4 and E5."""
        own, other = (np.full(batch, bit_mask(bits)) for bits in ([28, 35], [27, 36]))
        return OthelloState(
            own=own,
            other=other,
            moves=placements(own, other),
            player=np.zeros(batch, dtype=np.int8),
            done=np.zeros(batch, dtype=np.bool_),
            outcome=np.zeros(batch, dtype=np.int8),
        )

    def legal(self, state: OthelloState) -> Flags:
        """(B, 65) where a stone encloses some, or the pass."""
        must_pass = (state.moves == 0) & ~state.done
        return np.concatenate([spread(state.moves, CELLS.reshape(-1)), must_pass[:, None]], axis=1)

    def step(self, state: OthelloState, action: Actions) -> OthelloState:
        """One stone, or a pass, in each game."""
        passes = action == PASS
        stone = np.where(passes, word(0), word(1) << (action % PASS).astype(np.uint64))
        flips = turned(stone, state.own, state.other)
        own, other = state.other ^ flips, state.own | stone | flips  # of the one to move next
        moves = placements(own, other)
        done = moves == 0
        if done.any():
            done &= placements(other, own) == 0
        lead = np.bitwise_count(own).astype(np.int8) - np.bitwise_count(other).astype(np.int8)
        player = state.player ^ np.int8(1)
        after = OthelloState(
            own=own,
            other=other,
            moves=moves,
            player=player,
            done=done,
            outcome=(done * np.sign(lead) * (1 - 2 * player)).astype(np.int8),
        )
        return merge(state.done, state, after) if state.done.any() else after

    def observe(self, state: OthelloState) -> NDArray[np.int8]:
        """(B, 2, 8, 8) own stones, the opponent's."""
        return np.stack([spread(state.own, CELLS), spread(state.other, CELLS)], axis=1).astype(np.int8)

    def features(self, state: OthelloState) -> NDArray[np.int8]:
        """As `observe`."""
        return self.observe(state)

    def action_name(self, action: int) -> str:
        """Columns by letter, rows counted from the top, as is usual in Othello: D3 is a first move."""
        return "pass" if action == PASS else f"{LETTERS[action % SIZE]}{action // SIZE + 1}"

    def board_text(self, state: OthelloState, row: int = 0) -> str:
        """Eight lines and the letters of the columns."""
        return grid_text(self.observe(state)[row], int(state.player[row]), rows=range(1, SIZE + 1))
