"""Many hypotheses at once. Shapes: H hypotheses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["benjamini_hochberg", "holm"]

Values = NDArray[np.float64]


def holm(p: ArrayLike, weights: ArrayLike) -> Values:
    """Adjusted p-values (H,) of the weighted step-down test; those up to alpha are rejected.

    The chance of any false rejection is then at most alpha, however the tests depend on each other (Holm, Scandinavian Journal of
    Statistics 6, 1979, section 3). weights (H,) > 0: shares of the permitted error; equal ones give the ordinary Holm test.
    """
    values, shares = np.asarray(p, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    order = np.argsort(values / shares, kind="stable")
    left = np.cumsum(shares[order][::-1])[::-1]  # weight of this one and all that come after it
    stepped = np.maximum.accumulate(values[order] * left / shares[order])
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> Values:
    """Adjusted p-values (H,): of those up to q, an expected share of at most q is false if the tests are independent (or positively
    dependent; Benjamini & Hochberg, JRSS-B 57, 1995). For looking at, not for blocking."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
