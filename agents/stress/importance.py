"""Probability of failure by importance sampling from a fitted proposal, mixed with the scenario's own distribution.

Shapes: n points, D coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from agents.evaluation.stats import LEVEL
from agents.stress.proposal import Proposal, draw, log_weights, nominal
from agents.stress.search import Simulate
from agents.stress.space import Floats

__all__ = ["LEAST", "Probability", "estimate", "importance"]

LEAST = 20.0  # effective failures below which an interval is not to be trusted


@dataclass(frozen=True, kw_only=True)
class Probability:
    """A probability with its interval at `LEVEL`."""

    value: float
    low: float
    high: float
    n: int  # simulations it rests on
    failures: int  # among them
    effective: float  # failures that would say as much if all had the same weight
    method: str
    warning: str = ""  # why it is not to be trusted; empty if it is


def importance(
    simulate: Simulate, proposal: Proposal, budget: int, rng: np.random.Generator, *, population: int = 512
) -> tuple[Floats, Floats, int]:
    """Drive `budget` points of the proposal mixed with N(0, I). Returns margins (n,), weights p / q (n,), and how many are from N(0, I).

    The proposal must not depend on these points; so the estimate is unbiased, and no weight exceeds n over that number.
    """
    z, plain = draw(proposal, rng, budget)
    margins = np.concatenate([simulate(z[i : i + population]) for i in range(0, budget, population)])
    weights = np.exp(log_weights(z, [nominal(z.shape[1]), proposal], [plain, budget - plain]))
    return margins, weights, plain


def estimate(failed: Floats, weights: Floats, plain: int, *, method: str = "importance sampling") -> Probability:
    """Mean of weight x failed, with its interval.

    failed (n,) of 0 and 1. The interval is normal on the logarithm (the estimate is a sum of skewed positive terms), with Student's t for
    as many degrees of freedom as there are effective failures; where nothing failed it ends at 3 over the points from N(0, I) (the rule of
    three).
    """
    n, terms = len(failed), failed * weights
    total, squares = float(terms.sum()), float((terms * terms).sum())
    value = total / n
    effective = total * total / squares if squares else 0.0
    count = int(failed.sum())
    if count == 0:
        high = min(1.0, 3.0 / max(plain, 1))
        return Probability(
            value=0.0,
            low=0.0,
            high=high,
            n=n,
            failures=0,
            effective=0.0,
            method=method,
            warning="nothing failed: only the upper bound counts",
        )
    error = math.sqrt(max(squares / n - value * value, 0.0) / max(n - 1, 1))
    reach = float(stats.t.ppf(0.5 + LEVEL / 2.0, max(effective - 1.0, 1.0))) * error / value
    low, high = value * math.exp(-min(reach, 50.0)), min(1.0, value * math.exp(min(reach, 50.0)))
    few = f"only {effective:.0f} effective failures, at least {LEAST:.0f} are needed: drive more simulations"
    warning = few if effective < LEAST else ""
    return Probability(value=value, low=low, high=high, n=n, failures=count, effective=effective, method=method, warning=warning)
