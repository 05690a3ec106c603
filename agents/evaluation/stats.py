"""Estimates with intervals: how sure a figure from n episodes is. Shapes: n episodes, S strata."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["LEVEL", "Estimate", "iqm", "mean_interval", "of_means", "paired_difference", "proportion"]

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


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> Estimate:
    """Share of `first` less share of `second`, of things that happened or not to the same n episodes.

    Newcombe's score interval for paired proportions (Statistics in Medicine 17, 1998, 2635-2650, method 10): the Wilson bounds of both
    shares, joined with the correlation of the pairs. It stays wide where the two never differed, as it should when n is small. Raises
    ValueError unless both are equally long.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} episodes: pairs need equally many")
    n = len(first)
    if n == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
    both = sum(a and b for a, b in zip(first, second, strict=True))
    one, other = sum(map(bool, first)) - both, sum(map(bool, second)) - both  # those to whom only one of the two happened
    neither = n - both - one - other
    p, q = proportion(both + one, n), proportion(both + other, n)
    product = (both + one) * (other + neither) * (both + other) * (one + neither)
    cross = float(both * neither - one * other)
    cross = max(cross - n / 2.0, 0.0) if cross > 0 else cross
    phi = cross / math.sqrt(product) if product else 0.0

    def reach(mine: float, its: float) -> float:
        return math.sqrt(max(mine * mine - 2.0 * phi * mine * its + its * its, 0.0))

    value = p.value - q.value
    low = value - reach(p.value - p.low, q.high - q.value)
    high = value + reach(p.high - p.value, q.value - q.low)
    return Estimate(value=value, low=max(low, -1.0), high=min(high, 1.0), n=n)


def of_means(tables: Sequence[ArrayLike], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], *, seed: int = 0) -> Estimate:
    """A statistic of several means over the same episodes, with a percentile bootstrap interval (scipy.stats.bootstrap).

    tables: one a stratum (scenario), (n_s, C): a row an episode, a column a quantity; rows are resampled whole, within their stratum, so
    what belongs to one seed stays together. statistic: means (..., C) -> (...). A stratum of one row is kept as it is.
    """
    rows = [np.asarray(table, dtype=np.float64) for table in tables]
    rows = [table for table in rows if len(table)]
    n = sum(len(table) for table in rows)
    if n == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
    value = float(statistic(np.concatenate(rows).mean(axis=0)))
    drawn, fixed = [table for table in rows if len(table) > 1], sum((table.sum(axis=0) for table in rows if len(table) == 1), np.zeros(1))
    if not drawn:
        return Estimate(value=value, low=math.nan, high=math.nan, n=n)

    def of(*indices: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        sums = sum((table[index.astype(np.int64)].sum(axis=-2) for table, index in zip(drawn, indices, strict=True)), fixed)
        return statistic(sums / n)

    found = stats.bootstrap(
        [np.arange(len(table)) for table in drawn], of, vectorized=True, n_resamples=RESAMPLES, batch=100, confidence_level=LEVEL,
        method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Estimate(value=value, low=float(found.low), high=float(found.high), n=n)


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
