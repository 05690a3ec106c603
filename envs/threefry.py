"""Threefry-2x32 with 20 rounds: random bits as a function of a key and a counter, in numpy and torch alike.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Words of 32 bits live in int64, so that no operation overflows
and every device gives the same bits.
"""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["MASK", "threefry2x32"]

MASK = 0xFFFFFFFF
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # Salmon et al., table 2 (from Skein's Threefish)
PARITY = 0x1BD11BDA  # key schedule parity, from Threefish

Words = TypeVar("Words", bound=Any)  # int64 arrays of numpy, or int64 tensors of torch


def threefry2x32(key0: Words, key1: Words, counter0: Words, counter1: Words) -> tuple[Words, Words]:
    """The block cipher itself: 32-bit words in int64, in and out; arguments broadcast."""
    keys = (key0, key1, key0 ^ key1 ^ PARITY)
    x0, x1 = (counter0 + key0) & MASK, (counter1 + key1) & MASK
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x0 = (x0 + x1) & MASK
            x1 = (((x1 << rotation) & MASK) | (x1 >> (32 - rotation))) ^ x0
        x0 = (x0 + keys[(group + 1) % 3]) & MASK
        x1 = (x1 + keys[(group + 2) % 3] + group + 1) & MASK
    return x0, x1
