"""Two training recipes, each known by several training runs: tests and intervals in which the run is what is drawn at random.

A thousand episodes of one run say how good that run is, not how good its recipe is: the next run comes out otherwise. So the figure of a
run, its mean over the suite, is one observation, and there are as many as runs. The tests ask how often a gain as small (or as large) as
the one seen comes about when what is exchangeable is exchanged: the two figures of a pair, where runs belong together by their seeds, else
the recipes of all runs. They are exact however figures are distributed, given what the hypothesis says of their middle: pairs differ
symmetrically about it, or runs of both recipes spread alike (Ernst, Statistical Science 19, 2004; Colas, Sigaud & Oudeyer 2019 on runs of
reinforcement learning).

Shapes: n, m runs of baseline and candidate (equal, and in the order of the pairs, if paired), C scopes, M metrics, H = C * M hypotheses.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from agents.evaluation.stats import LEVEL, RESAMPLES, Estimate
from agents.gate.design import Design
from agents.gate.verdict import Decision, Referee

__all__ = ["FEW_RUNS", "Runs", "gain", "least_p", "p_kept", "p_worse", "run_mean"]

FEW_RUNS = 10  # below, spread between runs is hardly known, and a bootstrap's intervals are too narrow
EXCHANGES = 20_000  # all of them up to here (14 pairs, or 8 runs against 8), else so many at random
DIGITS = 12  # figures that agree so far are equal: the order of adding up must not decide
Values = NDArray[np.float64]


def p_worse(base: ArrayLike, cand: ArrayLike, *, paired: bool) -> Values:
    """Of "no worse on average", (...): how often a gain comes out this small or smaller. base (n, ...), cand (m, ...): figures of runs,
    more is better."""
    return _exchanged(np.asarray(base, dtype=np.float64), np.asarray(cand, dtype=np.float64), "less", paired)


def p_kept(base: ArrayLike, cand: ArrayLike, margin: ArrayLike, *, paired: bool) -> Values:
    """Of "worse by the margin or more on average", (...). margin (...)."""
    shifted = np.asarray(cand, dtype=np.float64) + np.asarray(margin, dtype=np.float64)
    return _exchanged(np.asarray(base, dtype=np.float64), shifted, "greater", paired)


def least_p(n: int, m: int, *, paired: bool) -> float:
    """The smallest p-value that so many runs can give, however far apart they are: one of all ways to exchange them."""
    ways = 2**n if paired else math.comb(n + m, n)
    return 1.0 / ways if ways <= EXCHANGES else 1.0 / (EXCHANGES + 1)


def gain(base: ArrayLike, cand: ArrayLike, *, paired: bool) -> Estimate:
    """Mean of the candidate's runs less that of the baseline's, with a percentile bootstrap interval over runs (scipy.stats.bootstrap):
    pairs are drawn whole, else the runs of each recipe by themselves. n: runs of the candidate."""
    sides = np.asarray(cand, dtype=np.float64), np.asarray(base, dtype=np.float64)
    return _bootstrap(sides, _difference, len(sides[0]), paired)


def run_mean(figures: ArrayLike) -> Estimate:
    """Mean of runs (n,), with the same kind of interval."""
    values = np.asarray(figures, dtype=np.float64)
    return _bootstrap((values,), lambda x, axis=-1: x.mean(axis=axis), len(values), False)


class Runs(Referee):
    """Judges two tables of figures at once; `close` gives the decision."""

    def __init__(self, design: Design, base: Values, cand: Values, *, paired: bool) -> None:
        """base (n, C, M), cand (m, C, M): mean of each run in each scope and metric, 1 is best."""
        super().__init__(design)
        self.base, self.cand, self.paired = base.reshape(len(base), -1), cand.reshape(len(cand), -1), paired  # (n, H), (m, H)

    def close(self) -> Decision:
        """Look once."""
        margins = self.design.margins.ravel()
        self.p_worse = p_worse(self.base, self.cand, paired=self.paired)
        kept = p_kept(self.base, self.cand, np.nan_to_num(margins), paired=self.paired)
        self.p_kept = np.where(np.isnan(margins), np.nan, kept)
        return super().close()

    def _update(self, d: Values) -> None:
        raise TypeError("runs are judged at once, not round by round")


def _difference(first: Values, second: Values, axis: int = -1) -> Values:
    return np.asarray(np.round(first.mean(axis=axis) - second.mean(axis=axis), DIGITS))


def _exchanged(base: Values, cand: Values, alternative: Any, paired: bool) -> Values:
    """All columns are exchanged alike, as whole runs are."""
    found = stats.permutation_test(
        (cand, base), _difference, permutation_type="samples" if paired else "independent", vectorized=True, n_resamples=EXCHANGES,
        batch=500, alternative=alternative, axis=0, rng=np.random.default_rng(0),
    )  # fmt: skip
    return np.asarray(found.pvalue, dtype=np.float64)


def _bootstrap(sides: tuple[Values, ...], statistic: Any, n: int, paired: bool) -> Estimate:
    value = float(statistic(*sides)) if n else math.nan
    if min(map(len, sides)) < 2:
        return Estimate(value=value, low=math.nan, high=math.nan, n=n)
    found = stats.bootstrap(
        sides, statistic, paired=paired, vectorized=True, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Estimate(value=value, low=float(found.low), high=float(found.high), n=n)
