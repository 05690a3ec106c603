"""Probability of failure by adaptive multilevel splitting, for failures that no Gaussian describes.

Shapes: n particles, D coordinates. Cérou & Guyader 2007; Bréhier et al., "Unbiasedness of some generalized adaptive multilevel splitting
algorithms", 2016. Particles with the largest margins are replaced by moved copies of the others, level by level, until enough have failed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from agents.evaluation.stats import LEVEL
from agents.stress.importance import Probability
from agents.stress.moves import moved
from agents.stress.search import Simulate

__all__ = ["Split", "split"]

KEEP = 0.25  # share of the particles that goes on to the next level
MOST_LEVELS = 40
SMALLEST, LARGEST = 32, 512  # particles of a run
RUNS = 5  # independent ones that a budget should suffice for; a run takes about four simulations a particle
APART = 0.5  # standard error over the mean from which an interval is not to be trusted


@dataclass
class Split:
    """Independent runs of equal size."""

    size: int  # particles
    values: list[float] = field(default_factory=list)  # an unbiased estimate each
    simulations: int = 0  # of complete runs
    failures: int = 0
    families: int = 0  # first particles that they descend from
    cut: bool = False  # whether the budget ended in the middle of a run, which then does not count

    def probability(self) -> Probability:
        """Mean over the runs. The interval is on the logarithm, by Student's t on how far the runs are apart; if they happen to be
        closer than levels and particles let expect (Cérou & Guyader 2007, doubled, for copies stay alike), by that."""
        runs, method = len(self.values), f"multilevel splitting, {len(self.values)} runs of {self.size} particles"
        mean = float(np.mean(self.values)) if runs else math.nan
        if runs < 2 or mean == 0.0:
            warning = "no run was finished" if runs == 0 else "no run came to a failure" if mean == 0.0 else "one run only"
            return Probability(
                value=mean, low=0.0, high=1.0, n=self.simulations, failures=self.failures, effective=0.0, method=method,
                warning=f"{warning}: drive more simulations",
            )  # fmt: skip
        levels = math.log(max(mean, 1e-12)) / math.log(KEEP)
        expected = 2.0 * levels * (1.0 - KEEP) / KEEP / self.size  # squared coefficient of variation of a run
        spread = math.sqrt(max(float(np.var(self.values, ddof=1)) / mean**2, expected) / runs)
        reach = min(float(stats.t.ppf(0.5 + LEVEL / 2.0, runs - 1)) * spread, 50.0)
        warning = "the runs are far apart: drive more simulations" if spread > APART else ""
        return Probability(
            value=mean, low=mean * math.exp(-reach), high=min(1.0, mean * math.exp(reach)), n=self.simulations, failures=self.failures,
            effective=1.0 / spread**2, method=method, warning=warning,
        )  # fmt: skip


def split(simulate: Simulate, dims: int, budget: int, rng: np.random.Generator, *, particles: int | None = None) -> Split:
    """Runs until the budget of simulations is used up; a last run that it does not suffice for is not begun, or does not count."""
    size = particles or int(np.clip(budget // (4 * RUNS), SMALLEST, LARGEST))
    found, left, dearest = Split(size=size), budget, size
    while left >= dearest:
        value, used, failures, families = _run(simulate, dims, size, left, rng)
        left -= used
        found.families += families
        if value is None:
            found.cut = True
            break
        dearest = max(dearest, used)
        found.values.append(value)
        found.simulations += used
        found.failures += failures
    return found


def _run(simulate: Simulate, dims: int, size: int, budget: int, rng: np.random.Generator) -> tuple[float | None, int, int, int]:
    """Estimate (None: the budget did not suffice), simulations, failures among them, first particles that those descend from."""
    z = rng.standard_normal((size, dims))
    margins = simulate(z)
    used, failures, value = size, int((margins <= 0.0).sum()), 1.0
    first = np.arange(size)  # particle that each descends from
    families = set(first[margins <= 0.0].tolist())
    for _ in range(MOST_LEVELS):
        level = float(np.sort(margins)[int(KEEP * size)])
        if level <= 0.0:
            break
        alive = np.flatnonzero(margins < level)
        if len(alive) == 0:
            return 0.0, used, failures, len(families)
        value *= len(alive) / size
        dead = np.flatnonzero(margins >= level)
        if used + len(dead) > budget:
            return None, used, failures, len(families)
        parents = rng.choice(alive, len(dead))
        copies = moved(z[parents], rng)
        there = simulate(copies)
        used, failures = used + len(dead), failures + int((there <= 0.0).sum())
        families |= set(first[parents[there <= 0.0]].tolist())
        taken = there < level  # a move above the level is refused: the copy stays where its parent is
        z[dead] = np.where(taken[:, None], copies, z[parents])
        margins[dead], first[dead] = np.where(taken, there, margins[parents]), first[parents]
    return value * float((margins <= 0.0).mean()), used, failures, len(families)
