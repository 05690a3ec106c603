"""Boards as bits of 64-bit words: a word a game and colour, so that a whole batch is one array. Shapes as in `envs.games.game`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Words", "bit_mask", "in_a_row", "spread", "word"]

Words = NDArray[np.uint64]


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
