"""Random numbers without state: each is a function of (seed, step, stream, index), the same in any batch and order.

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): key = the 64-bit seed, counter =
(step, stream and index). Words of 32 bits live in int64. All arguments broadcast: seed (B, 1), step (B, 1), index (D,) give (B, D).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["normal", "threefry2x32", "uniform", "words"]

MASK = 0xFFFFFFFF
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # Salmon et al., table 2
PARITY = 0x1BD11BDA
STREAM_BITS, INDEX_BITS = 12, 20


def threefry2x32(key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The block cipher: two 32-bit words in, two out."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    a, b = (counter[0] + keys[0]) & MASK, (counter[1] + keys[1]) & MASK
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            a = (a + b) & MASK
            b = ((b << rotation | b >> (32 - rotation)) & MASK) ^ a
        a = (a + keys[(group + 1) % 3]) & MASK
        b = (b + keys[(group + 2) % 3] + group + 1) & MASK
    return a, b


def words(seed: Tensor, step: Tensor, stream: int, index: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent words, int64 in [0, 2^32). seed: all 64 bits count; step: the low 32; index: the low 20. stream: 0 to 4095."""
    if not 0 <= stream < 1 << STREAM_BITS:
        raise ValueError(f"stream={stream}: must be between 0 and {(1 << STREAM_BITS) - 1}")
    low = (index & ((1 << INDEX_BITS) - 1)) | (stream << INDEX_BITS)
    return threefry2x32((seed & MASK, (seed >> 32) & MASK), (step & MASK, low))


def uniform(seed: Tensor, step: Tensor, stream: int, index: Tensor) -> Tensor:
    """float32 in [0, 1), multiples of 2^-24."""
    return _fraction(words(seed, step, stream, index)[0])


def normal(seed: Tensor, step: Tensor, stream: int, index: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent standard normal numbers, float32 (Box and Muller 1958)."""
    first, second = words(seed, step, stream, index)
    radius = torch.sqrt(-2.0 * torch.log(1.0 - _fraction(first)))  # 1 - u in (0, 1]
    angle = 2.0 * math.pi * _fraction(second)
    return radius * torch.cos(angle), radius * torch.sin(angle)


def _fraction(word: Tensor) -> Tensor:
    """The top 24 bits as float32 in [0, 1): exact."""
    return (word >> 8).to(torch.float32) * 2.0**-24
