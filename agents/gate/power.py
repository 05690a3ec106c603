"""What a plan can find, told before anything is driven: by simulating it with made-up pairs.

A pair that differs by chance is as often better as worse: `noise` is the share of such pairs. A drop makes further pairs worse. Shapes:
T trials, R rounds, J bets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from agents.gate.betting import log_evidence, log_payoff
from agents.gate.design import Design

__all__ = ["NOISE", "Outlook", "outlook"]

NOISE = 0.04  # share of pairs that differ by chance, where nothing better is known
POWER = 0.9
TRIALS = 300  # a power of 90 % is then known to within 3 points
LOOKS = 40  # evidence is looked at this often: more often finds a drop hardly more often


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """For one metric on the whole suite."""

    metric: str
    margin: float
    detectable: float | None  # the smallest mean drop that is found with 90 % power; None: not even the largest
    keeps_up: float  # chance to show that an unchanged policy kept up within the margin
    pairs: int | None  # median number of pairs until then; None: rarely shown


def outlook(design: Design, rounds: int, *, noise: float = NOISE, seed: int = 0) -> list[Outlook]:
    """One a metric. Sequential tests of events; a test at the end finds a little more, and scores, whose differences are smaller, too."""
    size = len(design.strata)
    found = []
    for metric, share in zip(design.metrics, design.weights, strict=False):
        drop = _detectable(float(-np.log(design.alpha * share)), noise, rounds, size, seed)
        times = _first(0.0, noise, rounds, size, metric.margin, float(-np.log(design.alpha)), seed)
        shown = float((times <= rounds).mean())
        pairs = int(np.median(times)) * size if shown > 0.5 else None
        found.append(Outlook(metric=metric.name, margin=metric.margin, detectable=drop, keeps_up=shown, pairs=pairs))
    return found


@cache
def _detectable(threshold: float, noise: float, rounds: int, size: int, seed: int) -> float | None:
    """The smallest drop that is found, None if none is."""
    drops = np.unique(np.concatenate([np.arange(0.002, 0.05, 0.002), np.arange(0.05, 0.5, 0.01), np.arange(0.5, 1.0 - noise, 0.05)]))
    low, high = 0, len(drops)
    while low < high:  # power grows with the drop
        middle = (low + high) // 2
        times = _first(float(drops[middle]), noise, rounds, size, 0.0, threshold, seed)
        low, high = (low, middle) if (times <= rounds).mean() >= POWER else (middle + 1, high)
    return round(float(drops[low]), 3) if low < len(drops) else None


@cache
def _first(drop: float, noise: float, rounds: int, size: int, margin: float, threshold: float, seed: int) -> NDArray[np.int64]:
    """(T,) the first round after which the evidence reaches `threshold`; rounds + 1: none. margin 0: evidence of a regression, else of
    keeping up."""
    rng = np.random.default_rng(seed)
    chances = [drop + 0.5 * noise, 0.5 * noise]
    counts = rng.multinomial(size, [*chances, 1.0 - sum(chances)], size=(TRIALS, rounds)).cumsum(axis=1)  # (T, R, 3) worse, better, same
    looks = np.unique(np.linspace(1, rounds, min(rounds, LOOKS)).round().astype(np.int64))
    d = np.array([-1.0, 1.0, 0.0])
    payoff = log_payoff(d + margin, 1.0 - min(margin, 0.9)) if margin else log_payoff(-d, 1.0)  # (3, J)
    reached = log_evidence(counts[:, looks - 1] @ payoff) >= threshold  # (T, looks)
    return np.where(reached.any(axis=1), looks[reached.argmax(axis=1)], rounds + 1)
