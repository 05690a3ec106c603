"""What a network has said of positions, so that it is not asked again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.games import Game

__all__ = ["Memory"]


class Memory:
    """What was said of positions, by a hash of 64 bits: each has one slot, and the last that wanted it stays there.

    The hash is the sum of a random word for each point of each plane that is set (Zobrist 1970, with sums for exclusive or): two of a
    million positions share one with a chance of 3e-8. Shapes: K positions, N slots, A actions.
    """

    SLOTS = 16  # bits: 65536 slots

    def __init__(self, game: Game[Any]) -> None:
        size = game.inputs * game.rows * game.columns
        self.words = np.random.Generator(np.random.PCG64(0)).integers(1, 2**64 - 1, size=size, dtype=np.uint64)  # no part of any chance
        self.held = np.zeros(1 << self.SLOTS, dtype=np.uint64)  # (N,) hash of whom; 0: nobody
        self.logits = np.zeros((1 << self.SLOTS, game.actions), dtype=np.float32)
        self.values = np.zeros(1 << self.SLOTS, dtype=np.float32)

    def keys(self, planes: NDArray[np.int8]) -> NDArray[np.uint64]:
        """(K,)."""
        return np.asarray(planes.reshape(len(planes), -1).astype(np.uint64) @ self.words) | np.uint64(1)

    def _slots(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (keys >> np.uint64(64 - self.SLOTS)).astype(np.int64)

    def knows(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """(K,)."""
        return np.asarray(self.held[self._slots(keys)] == keys)

    def put(self, keys: NDArray[np.uint64], logits: NDArray[np.float32], values: NDArray[np.float32]) -> None:
        """Remember; of several that want one slot, one."""
        slots = self._slots(keys)
        slots, first = np.unique(slots, return_index=True)
        self.held[slots], self.logits[slots], self.values[slots] = keys[first], logits[first], values[first]

    def get(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What is in the slots of those."""
        slots = self._slots(keys)
        return self.logits[slots], self.values[slots]
