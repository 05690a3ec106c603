"""What every shell checks: names and seeds, with errors that help. No torch in here."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scenarios.errors import did_you_mean

__all__ = ["TRAINING_SEED", "ConfigError", "seed_from", "seeds_from", "unknown"]

TRAINING_SEED = 2_000_000  # default first episode seed of the training shells; seeds below a million are for judging


class ConfigError(ValueError):
    """Settings of a simulator that cannot be used; the message names the value and the rule."""


def unknown(what: str, value: object, known: Sequence[str]) -> str:
    """What to say about a name that does not exist."""
    hint = did_you_mean(value, known)
    return f"no {what} {value!r}{'; ' + hint if hint else '.'} Known: {', '.join(known)}"


def seed_from(seed: object, name: str = "seed") -> int:
    """A seed as an int: any whole number from 0 to 2^63 - 1, numpy's and torch's included.

    Raises TypeError for what is no whole number (a bool is none), ValueError for one out of range.
    """
    try:
        if isinstance(seed, bool):
            raise TypeError
        value = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}={seed!r}: must be a whole number, not a {type(seed).__name__}") from None
    if not 0 <= value < 2**63:
        raise ConfigError(f"{name}={value}: must be 0 or more, and less than 2**63")
    return value


def seeds_from(seed: int | Sequence[int] | None, count: int) -> tuple[int | None, NDArray[np.int64] | None]:
    """What a vector environment of `count` worlds makes of `reset(seed=...)`: the seed of its generator, and those of its episodes.

    One seed is of world 0, and the others follow it; several are one a world. None: the first is to be drawn. Raises as `seed_from`.
    """
    if isinstance(seed, Sequence | np.ndarray) and np.ndim(seed) > 0:
        seeds = np.array([seed_from(each) for each in seed], dtype=np.int64)
        return (int(seeds[0]) if len(seeds) else None), seeds
    one = None if seed is None else seed_from(seed)
    return one, None if one is None else one + np.arange(count, dtype=np.int64)
