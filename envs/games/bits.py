"""Boards as bits of 64-bit words: a word a game and colour, so that a whole batch is one array. Shapes as in `envs.games.game`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.games.game import Flags, merge

__all__ = ["StonesState", "Words", "bit_mask", "completing", "empty_board", "in_a_row", "placed", "spread", "word"]

Words = NDArray[np.uint64]


class StonesState(NamedTuple):
    """Of a game of lines whose board fits into a word. Shapes: B games."""

    own: Words  # (B,) stones of the player to move
    stones: Words  # (B,) stones of both
    player: NDArray[np.int8]  # (B,) whose turn it is
    done: Flags  # (B,)
    outcome: NDArray[np.int8]  # (B,) +1 player 0 has won, -1 player 1


def empty_board(batch: int) -> StonesState:
    """`batch` games in which nobody has moved."""
    words, small = np.zeros(batch, dtype=np.uint64), np.zeros(batch, dtype=np.int8)
    return StonesState(own=words, stones=words.copy(), player=small, done=np.zeros(batch, dtype=np.bool_), outcome=small.copy())


def placed(state: StonesState, stone: Words, *, line: int, steps: tuple[int, ...], full: np.uint64) -> StonesState:
    """After `stone` (B,), a bit each: won with `line` in a row along `steps`, over too on a `full` board. What is over stays as it is."""
    own, stones = state.own | stone, state.stones | stone
    won = in_a_row(own, line, steps)
    after = StonesState(
        own=stones ^ own,
        stones=stones,
        player=state.player ^ np.int8(1),
        done=won | (stones == full),
        outcome=won * (1 - 2 * state.player),
    )
    return merge(state.done, state, after) if state.done.any() else after


def word(value: int) -> np.uint64:
    """A constant, so that arithmetic with words stays in words."""
    return np.uint64(value)


def bit_mask(bits: NDArray[np.int64] | range | list[int]) -> np.uint64:
    """The word in which those bits are set."""
    return word(sum(1 << int(bit) for bit in bits))


def spread(words: Words, bits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each of `bits` (any shape) is set in each of `words` (B,): (B, *bits.shape)."""
    shifts = bits.astype(np.uint64)
    return ((words.reshape(-1, *[1] * bits.ndim) >> shifts) & word(1)).astype(np.bool_)


def in_a_row(stones: Words, count: int, steps: tuple[int, ...]) -> NDArray[np.bool_]:
    """(B,) whether `count` bits in a row are set, one of `steps` apart. The board needs an empty bit between its lines.

    Doubling as in J. Tromp's Fhourstones: m(k) has the bit where a run of k begins, and m(j + k) = m(k) & (m(j) >> k * step).
    """
    found = np.zeros(stones.shape, dtype=np.bool_)
    for step in steps:
        run, length = stones, 1
        while length < count:
            more = min(length, count - length)
            run = run & (run >> word(more * step))
            length += more
        found |= run != 0
    return found


def completing(stones: Words, count: int, steps: tuple[int, ...]) -> Words:
    """(B,) the bits that would complete `count` in a row, one of `steps` apart: all the others of the line are set. Bits outside of the
    board and bits that are set may be among them."""
    found = np.zeros_like(stones)
    for step in steps:
        for gap in range(count):  # the place in the line that is to be filled
            line = ~np.zeros_like(stones)
            for k in (k for k in range(count) if k != gap):
                by = word(abs(k - gap) * step)
                line &= stones >> by if k > gap else stones << by
            found |= line
    return found
