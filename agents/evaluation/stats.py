"""Estimates with intervals: how sure a figure from n episodes is. Shapes: n episodes, S strata."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["LEVEL", "Estimate", "iqm", "mean_interval", "proportion"]

LEVEL = 0.95  # of every interval
RESAMPLES = 2000  # bootstrap; the endpoints then move by about 2 % of the interval's width between seeds


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval at `LEVEL`. With n = 0 all three are NaN; a mean of n = 1 has no interval (NaN bounds)."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON, which has no NaN: None instead."""
        bounds = {"value": self.value, "low": self.low, "high": self.high}
        return {**{k: None if math.isnan(v) else v for k, v in bounds.items()}, "n": self.n}


def proportion(successes: int, n: int) -> Estimate:
    """Share of successes with the Wilson score interval (Wilson 1927), which stays inside [0, 1] and is honest for small n.

    Where nothing or everything happened, the far bound is 3/n if that is wider (the rule of three, Hanley & Lippman-Hand 1983).
    Raises ValueError unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes={successes}: must be between 0 and n={n}")
    if n == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
    interval = stats.binomtest(successes, n).proportion_ci(confidence_level=LEVEL, method="wilson")
    low, high = float(interval.low), float(interval.high)
    if successes == 0:
        low, high = 0.0, min(1.0, max(high, 3.0 / n))
    if successes == n:
        low, high = max(0.0, min(low, 1.0 - 3.0 / n)), 1.0
    return Estimate(value=successes / n, low=low, high=high, n=n)


def mean_interval(strata: Sequence[ArrayLike], *, seed: int = 0) -> Estimate:
    """Mean over all episodes with a percentile bootstrap interval, resampled within each stratum (scenario). Each (n_s,), finite."""
    return _bootstrap(strata, lambda x: x.mean(axis=1), seed)


def iqm(strata: Sequence[ArrayLike], *, seed: int = 0) -> Estimate:
    """Interquartile mean: mean of the middle half, which outliers do not move; stratified bootstrap (Agarwal et al. 2021)."""
    return _bootstrap(strata, lambda x: np.asarray(stats.trim_mean(x, 0.25, axis=1)), seed)


def _bootstrap(strata: Sequence[ArrayLike], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], seed: int) -> Estimate:
    """`statistic` (R, n) -> (R,) of the pooled strata; the interval from resampling each stratum on its own."""
    samples = [np.asarray(s, dtype=np.float64) for s in strata]
    n = sum(a.size for a in samples)
    if n == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
    value = float(statistic(np.concatenate(samples)[None])[0])
    if n == 1:
        return Estimate(value=value, low=math.nan, high=math.nan, n=1)
    rng = np.random.default_rng(seed)
    drawn = [a[rng.integers(a.size, size=(RESAMPLES, a.size))] for a in samples if a.size]  # (R, n_s) each
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(statistic(np.concatenate(drawn, axis=1)), [tail, 1.0 - tail])
    return Estimate(value=value, low=float(low), high=float(high), n=n)
