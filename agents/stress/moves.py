"""Moves of points that leave N(0, I) as it is. Shapes: n points, D coordinates, the last one the seed (see `agents.stress.space`)."""

from __future__ import annotations

import numpy as np

from agents.stress.space import Floats

__all__ = ["moved"]

STEPS = (0.2, 1.0)  # of a move, in standard deviations, evenly in the logarithm
SOME = 0.3  # share of the coordinates that half of the moves change
SEED = 0.2  # share of the moves that change the seed: a seed has no neighbours, all that hangs on it is drawn anew


def moved(z: Floats, rng: np.random.Generator, *, reach: float = 1.0) -> Floats:
    """Points (n, D) moved by preconditioned Crank-Nicolson steps (Cotter et al. 2013): all coordinates of a point, or a share of them.

    reach: what the steps are multiplied by, at most 1.
    """
    low, high = np.log(STEPS)
    step = reach * np.exp(rng.uniform(low, high, (len(z), 1)))
    some = (rng.random(z.shape) < SOME) | (rng.random((len(z), 1)) < 0.5)
    if z.shape[1] > 1:
        some[:, -1] = rng.random(len(z)) < SEED
        some[:, 0] |= ~some[:, :-1].any(axis=1)
    else:
        some[:] = True
    return np.where(some, np.sqrt(1.0 - step * step) * z + step * rng.standard_normal(z.shape), z)
