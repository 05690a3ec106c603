"""Tests at the end of a fixed number of episodes, looked at once. Shapes: n pairs.

d (n,): candidate less baseline, -1 to 1, more is better. Each returns a one-sided p-value.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

__all__ = ["mcnemar_midp", "signed_rank", "tango"]


def mcnemar_midp(d: ArrayLike) -> float:
    """Against "no more got worse than better", for d of -1, 0 and 1: the mid-p McNemar test.

    P(X > worse) + P(X = worse) / 2 for X binomial over the pairs that differ (Fagerland, Lydersen & Laake, BMC Medical Research Methodology
    13:91, 2013, who recommend it over the exact and the asymptotic test).
    """
    values = np.asarray(d, dtype=np.float64)
    worse, better = int((values < 0).sum()), int((values > 0).sum())
    pairs = stats.binom(worse + better, 0.5)
    return float(pairs.sf(worse) + 0.5 * pairs.pmf(worse))


def tango(d: ArrayLike, margin: float) -> float:
    """Against "the mean is at most -margin", for d of -1, 0 and 1 and 0 <= margin < 1: Tango's score test for paired proportions
    (Statistics in Medicine 17, 1998, 891-908, eq. 5 and 7). Without pairs 1."""
    values = np.asarray(d, dtype=np.float64)
    n, better, worse = len(values), int((values > 0).sum()), int((values < 0).sum())
    if n == 0:
        return 1.0
    a, b, c = 2.0 * n, (2.0 * n - worse + better) * margin - better - worse, -better * margin * (1.0 - margin)
    q = (math.sqrt(max(b * b - 4.0 * a * c, 0.0)) - b) / (2.0 * a)  # most likely share of pairs that got better, if the mean is -margin
    variance = n * (2.0 * q + margin * (1.0 - margin))
    return float(stats.norm.sf((better - worse + n * margin) / math.sqrt(variance))) if variance > 0.0 else 1.0


def signed_rank(d: ArrayLike, margin: float | None = None) -> float:
    """Wilcoxon's signed-rank test against "no worse", or with a margin against "worse by the margin or more".

    It takes the differences to lie symmetrically about their middle, which the sequential test does not. Without differences 1.
    """
    values = np.asarray(d, dtype=np.float64) + (margin or 0.0)
    if not np.any(values):
        return 1.0
    return float(stats.wilcoxon(values, alternative="less" if margin is None else "greater", method="approx").pvalue)
