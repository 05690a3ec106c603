"""Random numbers without state: each is a function of (seed, step, stream, index).

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): key = the 64-bit seed, counter =
(step, stream and index). Words of 32 bits live in int64, so that no operation overflows and every device gives the same bits.
The same draw comes out for a world whatever batch it is in, whatever was drawn before, and in whatever order.

All arguments broadcast: seed (B, 1), step (B, 1) and index (A,) give (B, A).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.threefry import MASK, threefry2x32

__all__ = ["INDEX_BITS", "STREAM_BITS", "bits", "integers", "normal", "scrambled", "threefry2x32", "uniform"]

STREAM_BITS = 12  # streams 0 .. 4095: what the number is for
INDEX_BITS = 20  # indices 0 .. 1048575: which agent, ray, ...


def bits(seed: Tensor, step: Tensor, stream: int, index: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent words of 32 random bits, int64 in [0, 2^32).

    `seed` int64 (all 64 bits count), `step` int64 (the low 32 bits count), `index` int64 below 2^20.
    Raises ValueError for a stream outside 0 .. 4095.
    """
    if not 0 <= stream < 1 << STREAM_BITS:
        raise ValueError(f"stream={stream}: must be between 0 and {(1 << STREAM_BITS) - 1}")
    word = (index & ((1 << INDEX_BITS) - 1)) | (stream << INDEX_BITS)
    return threefry2x32(seed & MASK, (seed >> 32) & MASK, step & MASK, word)


def scrambled(word: Tensor) -> Tensor:
    """Words of 32 bits, int64 in [0, 2^32), from words of any size: the finaliser of MurmurHash3 (Appleby 2011).

    For what is only looked at, as noise and paint are: a tenth of the work of `bits`.
    """
    word = word & MASK
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & MASK
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & MASK
    return word ^ (word >> 16)


def uniform(seed: Tensor, step: Tensor, stream: int, index: Tensor, low: float | Tensor = 0.0, high: float | Tensor = 1.0) -> Tensor:
    """float32 in [low, high) (up to rounding for bounds other than 0 and 1), multiples of 2^-24 of the span."""
    word, _ = bits(seed, step, stream, index)
    return _fraction(word) * (high - low) + low


def normal(seed: Tensor, step: Tensor, stream: int, index: Tensor, mean: float | Tensor = 0.0, std: float | Tensor = 1.0) -> Tensor:
    """float32 from the normal distribution, by Box and Muller (1958); |value - mean| <= 5.8 std.

    The bits are the same on every device; logarithm and cosine are the device's own.
    """
    word0, word1 = bits(seed, step, stream, index)
    radius = torch.sqrt(-2.0 * torch.log(1.0 - _fraction(word0)))  # 1 - u in (0, 1]
    return radius * torch.cos(2.0 * math.pi * _fraction(word1)) * std + mean


def integers(seed: Tensor, step: Tensor, stream: int, index: Tensor, low: int, high: int) -> Tensor:
    """int64 in [low, high), by multiplication (Lemire 2019, without rejection: the bias is below (high - low) / 2^32).

    Raises ValueError unless 0 < high - low < 2^31.
    """
    if not 0 < high - low < 1 << 31:
        raise ValueError(f"low={low}, high={high}: the span must be between 1 and 2^31 - 1")
    word, _ = bits(seed, step, stream, index)
    return low + ((word * (high - low)) >> 32)


def _fraction(word: Tensor) -> Tensor:
    """The top 24 bits as float32 in [0, 1): exact."""
    return (word >> 8).to(torch.float32) * 2.0**-24
