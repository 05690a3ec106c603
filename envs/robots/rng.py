"""Random numbers of an episode, each a function of (episode, step, stream, index) alone: the same in any batch, row and order.

The generator is the one of the driving simulator (`envs.threefry`), here in numpy with 53 random bits a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.threefry import MASK, threefry2x32

__all__ = ["Draws", "later_seeds"]

STREAM_BITS, INDEX_BITS = 12, 20  # streams 0 .. 4095 (what the number is for), indices 0 .. 1048575
EPISODES = 4095  # stream: seeds of later episodes. Tasks use those below 1000, randomisation those from 1000 on.

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Draws:
    """Random numbers of n episodes. seeds (n,) int64; step: a number or (n,), for what is drawn anew at every step."""

    seeds: Ints
    step: int | Ints = 0

    def words(self, stream: int, size: int) -> tuple[Ints, Ints]:
        """Two words of 32 random bits, (n, size) each. Raises ValueError for a stream outside 0 .. 4095."""
        if not 0 <= stream < 1 << STREAM_BITS:
            raise ValueError(f"stream={stream}: must be between 0 and {(1 << STREAM_BITS) - 1}")
        seed, step = self.seeds[:, None], np.reshape(np.asarray(self.step, dtype=np.int64), (-1, 1))
        word = np.arange(size, dtype=np.int64) | (stream << INDEX_BITS)
        return threefry2x32(seed & MASK, (seed >> 32) & MASK, step & MASK, word)

    def uniform(self, stream: int, size: int, low: float | Floats = 0.0, high: float | Floats = 1.0) -> Floats:
        """(n, size) in [low, high), multiples of 2^-53 of the span."""
        first, second = self.words(stream, size)
        fraction = ((first >> 5) * 2.0**26 + (second >> 6)) * 2.0**-53
        return np.asarray(low + fraction * (np.asarray(high) - low))

    def normal(self, stream: int, size: int) -> Floats:
        """(n, size) of the standard normal distribution (Box and Muller 1958)."""
        first, second = self.words(stream, size)
        radius = np.sqrt(-2.0 * np.log((first + 1) * 2.0**-32))
        return np.asarray(radius * np.cos(second * (2.0 * math.pi * 2.0**-32)))


def later_seeds(key: Ints, world: Ints, count: Ints) -> Ints:
    """Seed of the `count`-th further episode of a world, 63 bits; all arguments (n,)."""
    word = (world & ((1 << INDEX_BITS) - 1)) | (EPISODES << INDEX_BITS)
    first, second = threefry2x32(key & MASK, (key >> 32) & MASK, count & MASK, word)
    return (first >> 1 << 32) | second
