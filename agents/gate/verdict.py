"""Rounds of paired results in; pass, regression, or not known yet, out.

Shapes: P pairs of a round, M metrics, C scopes, H = C * M hypotheses, J bets. Differences are candidate less baseline, -1 to 1, more is
better; NaN: the pair was lost and counts for nothing.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.gate.betting import FRACTIONS, log_evidence, log_payoff
from agents.gate.design import Design
from agents.gate.fixed import mcnemar_midp, signed_rank, tango
from agents.gate.multiple import holm

__all__ = ["Decision", "Referee", "referee_for"]

Decision = Literal["pass", "regression", "inconclusive"]
Values = NDArray[np.float64]


class Referee:
    """Takes rounds, and says after each whether it knows. Subclasses say how p-values come about.

    `p_worse` (H,): of "no worse"; small: it got worse. `p_kept` (H,): of "worse by the margin or more"; small: it kept up; NaN where
    there is no margin to keep.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self.rounds = 0
        self.p_worse: Values = np.ones(len(design.weights))
        self.p_kept: Values = np.where(np.isnan(design.margins.ravel()), np.nan, 1.0)
        self.when_worse = np.zeros(len(design.weights), dtype=np.int64)  # rounds until it was found, 0: not found
        self.when_kept = np.zeros(len(design.weights), dtype=np.int64)

    def add(self, d: ArrayLike) -> Decision | None:
        """One round: d (P, M). Returns the decision if there is one now; later rounds may turn a pass into a regression, not back."""
        self.rounds += 1
        self._update(np.asarray(d, dtype=np.float64))
        return self._look()

    def close(self) -> Decision:
        """The decision when no round is left."""
        return self._look() or "inconclusive"

    @property
    def worse(self) -> NDArray[np.bool_]:
        """(H,) where a regression is established, all together with an error of at most alpha."""
        return self.adjusted <= self.design.alpha

    @property
    def adjusted(self) -> Values:
        """(H,) p-values of "no worse", adjusted for the number of tests (Holm)."""
        return holm(self.p_worse, self.design.weights)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(H,) where it is established that it kept up within the margin, each with an error of at most alpha."""
        return self.p_kept <= self.design.alpha

    def _update(self, d: Values) -> None:
        raise NotImplementedError

    def _look(self) -> Decision | None:
        alpha = self.design.alpha
        kept = self.kept
        self.when_kept[kept & (self.when_kept == 0)] = self.rounds
        if (self.p_worse <= alpha * self.design.weights).any():  # what Holm's first step asks: without it there is no second
            self.when_worse[self.worse & (self.when_worse == 0)] = self.rounds
            return "regression"
        return "pass" if (kept | np.isnan(self.p_kept)).all() else None


class Sequential(Referee):
    """By betting: it may be asked after every round."""

    def __init__(self, design: Design) -> None:
        super().__init__(design)
        shape = (*design.margins.shape, len(FRACTIONS))  # (C, M, J)
        self.bet_worse, self.bet_kept = np.zeros(shape), np.zeros(shape)  # log wealth
        self.belongs = design.members[:, design.strata].astype(np.float64)  # (C, P)
        self.curve: list[tuple[Values, Values]] = []  # log evidence on the whole suite after each round: worse (M,), kept (M,)

    def _update(self, d: Values) -> None:
        there = ~np.isnan(d)
        d = np.where(there, d, 0.0)
        self.bet_worse += self._wealth(self.belongs, log_payoff(-d, 1.0) * there[..., None])
        margins = self.design.margins
        for scopes in (slice(0, 1), slice(1, None)):  # the families share their margins
            if len(margins[scopes]):
                margin = np.where(np.isnan(margins[scopes][0]), 0.5, margins[scopes][0])  # (M,); without one, results are not used
                bound = 1.0 - np.minimum(margin, 0.9)  # of d + margin from below; a larger bound is a smaller bet, and valid too
                self.bet_kept[scopes] += self._wealth(self.belongs[scopes], log_payoff(d + margin, bound) * there[..., None])
        e_worse, e_kept = log_evidence(self.bet_worse), log_evidence(self.bet_kept)  # (C, M)
        self.curve.append((e_worse[0], e_kept[0]))
        self.p_worse = np.minimum(self.p_worse, np.exp(-np.maximum(e_worse, 0.0)).ravel())
        self.p_kept = np.where(np.isnan(self.p_kept), np.nan, np.fmin(self.p_kept, np.exp(-np.maximum(e_kept, 0.0)).ravel()))

    def _wealth(self, belongs: Values, payoff: Values) -> Values:
        """(C, M, J) the sum of payoffs (P, M, J) over the pairs that belong to each scope, (C, P)."""
        return (belongs @ payoff.reshape(len(payoff), -1)).reshape(len(belongs), *payoff.shape[1:])


class Fixed(Referee):
    """Classical tests, once, when all rounds are in."""

    def __init__(self, design: Design) -> None:
        super().__init__(design)
        self.seen: list[Values] = []

    def _update(self, d: Values) -> None:
        self.seen.append(d)

    def _look(self) -> Decision | None:
        return None

    def close(self) -> Decision:
        design = self.design
        d = np.stack(self.seen) if self.seen else np.zeros((0, len(design.strata), len(design.metrics)))  # (R, P, M)
        for h, (scope, metric) in enumerate(design.hypotheses()):
            mine = design.members[design.scopes.index(scope)][design.strata]
            values = d[:, mine, design.metrics.index(metric)].ravel()
            values, margin = values[~np.isnan(values)], float(design.margins.ravel()[h])
            event = metric.kind == "event"
            self.p_worse[h] = mcnemar_midp(values) if event else signed_rank(values)
            if not math.isnan(margin):
                self.p_kept[h] = tango(values, margin) if event and margin < 1.0 else signed_rank(values, margin)
        return super()._look() or "inconclusive"


def referee_for(design: Design) -> Referee:
    """The referee that the design asks for. Raises ValueError for one that is not known."""
    kinds = {"sequential": Sequential, "fixed": Fixed}
    if design.test not in kinds:
        raise ValueError(f"test={design.test!r}: must be 'sequential' or 'fixed'")
    return kinds[design.test](design)
