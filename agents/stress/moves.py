"""Moves of points that leave N(0, I) as it is. Shapes: n points, D coordinates."""

from __future__ import annotations

import numpy as np

from agents.stress.space import Floats

__all__ = ["moved"]

STEPS = (0.2, 1.0)  # of a move, in standard deviations, evenly in the logarithm
SOME = 0.3  # share of the coordinates that half of the moves change


def moved(z: Floats, rng: np.random.Generator) -> Floats:
    """Points (n, D) moved by preconditioned Crank-Nicolson steps (Cotter et al. 2013): all coordinates of a point, or a share of them."""
    low, high = np.log(STEPS)
    step = np.exp(rng.uniform(low, high, (len(z), 1)))
    some = (rng.random(z.shape) < SOME) | (rng.random((len(z), 1)) < 0.5)
    some |= ~some.any(axis=1, keepdims=True)
    return np.where(some, np.sqrt(1.0 - step * step) * z + step * rng.standard_normal(z.shape), z)
