"""Probability of failure by adaptive multilevel splitting, for failures that no Gaussian describes.

Shapes: n particles, D coordinates. Cérou & Guyader 2007; Bréhier et al., "Unbiasedness of some generalized adaptive multilevel splitting
algorithms", 2016. Particles with the largest margins are replaced by moved copies of the others, level by level, until enough have failed.

Levels lead to failures only if failures have low margins around them. Where a policy fails from an ordinary margin (it sees nobody come,
and drives), the levels lead to near misses of other kinds, and away from the failures: nearly every run then says far too little, and one
in hundreds far too much. So levels go down to a floor, which is the margin that moved copies of known failures have (`floor_around`). From
there on the particles move below the floor, and the failures among them are counted.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from agents.evaluation.stats import LEVEL
from agents.stress.importance import Probability
from agents.stress.moves import moved
from agents.stress.search import Simulate
from agents.stress.space import Floats

__all__ = ["Split", "floor_around", "split"]

Indices = NDArray[np.int64]
Steps = Generator[Floats, Floats, float]
KEEP = 0.25  # share of the particles that goes on to the next level
MOST_LEVELS = 40
SMALLEST, LARGEST = 32, 512  # particles of a run
RUNS = 5  # independent ones that a budget should suffice for; a run takes about COST simulations a particle
COST = {False: 5, True: 8}  # by whether there is a floor
APART = 0.5  # standard error over the mean from which an interval is not to be trusted
SWEEPS = 3  # moves of every particle below the floor
AROUND = 0.75  # share of the moved copies of failures, without those that fail, that is below the floor
KNOWN = 20  # moved copies from which on a floor is told from them


@dataclass
class Split:
    """Independent runs of equal size."""

    size: int  # particles
    floor: float = 0.0  # lowest level; 0: down to failure
    values: list[float] = field(default_factory=list)  # an unbiased estimate each
    depths: list[float] = field(default_factory=list)  # probability of the lowest level, by each
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
        spread = math.sqrt(max(float(np.var(self.values, ddof=1)) / mean**2, self._expected(mean)) / runs)
        reach = min(float(stats.t.ppf(0.5 + LEVEL / 2.0, runs - 1)) * spread, 50.0)
        warning = "the runs are far apart: drive more simulations" if spread > APART else ""
        return Probability(
            value=mean, low=mean * math.exp(-reach), high=min(1.0, mean * math.exp(reach)), n=self.simulations, failures=self.failures,
            effective=1.0 / spread**2, method=method, warning=warning,
        )  # fmt: skip

    def _expected(self, mean: float) -> float:
        """Squared coefficient of variation of a run: of its levels, and of the share that fails below the lowest one."""
        depth = max(float(np.mean(self.depths)) if self.depths and self.floor else mean, mean, 1e-12)
        levels = math.log(depth) / math.log(KEEP)
        share = min(mean / depth, 1.0)
        counted = (1.0 - share) / share / (1 + SWEEPS) if self.floor else 0.0
        return 2.0 * (levels * (1.0 - KEEP) / KEEP + counted) / self.size


def floor_around(margins: Sequence[float]) -> float:
    """The level below which the surroundings of failures lie. margins: of moved copies of failures; those count that did not fail. 0, no
    floor, if they are too few to tell."""
    near = [m for m in margins if 0.0 < m < math.inf]
    return float(np.quantile(near, AROUND)) if len(near) >= KNOWN else 0.0


def split(
    simulate: Simulate, dims: int, budget: int, rng: np.random.Generator, *, particles: int | None = None, floor: float = 0.0
) -> Split:
    """Runs until the budget of simulations is used up; a last one that it does not suffice for is not begun, or does not count.

    Runs go side by side, so that their particles are simulated together: in a step of a run there may be too few to fill a batch. floor:
    the lowest level (see the module); it must not depend on these simulations.
    """
    size = particles or int(np.clip(budget // (COST[floor > 0.0] * RUNS), SMALLEST, LARGEST))
    found, left, dearest = Split(size=size, floor=floor), budget, COST[floor > 0.0] * size
    while not found.cut and left >= (dearest if found.values else size):
        runs = [_Run(dims, size, rng, floor) for _ in range(max(1, min(RUNS, left // dearest)))]
        complete, used = _side_by_side(runs, simulate, left)
        left -= used
        found.cut = complete < len(runs)
        found.families += sum(len(run.families) for run in runs)
        dearest = max([dearest, *(run.used for run in runs)])
        for run in runs[:complete]:
            found.values.append(run.value)
            found.depths.append(run.depth)
            found.simulations += run.used
            found.failures += run.failures
    return found


def _side_by_side(runs: Sequence[_Run], simulate: Simulate, budget: int) -> tuple[int, int]:
    """How many of the runs count, the first ones, and what all have cost.

    Where the budget does not suffice the last one is given up, even if it has come to its end: those with the fewest levels and the largest
    estimates do so first, and if they counted and the others did not, the mean would be too large.
    """
    complete, used = len(runs), 0
    under_way = {k: run.steps() for k, run in enumerate(runs)}
    wanted = {k: next(steps) for k, steps in under_way.items()}
    while True:
        while used + sum(len(points) for points in wanted.values()) > budget:
            complete -= 1
            wanted.pop(complete, None)
        if not wanted:
            return complete, used
        asked, wanted = wanted, {}
        margins = simulate(np.concatenate(list(asked.values())))
        used += len(margins)
        ends = np.cumsum([len(points) for points in asked.values()]).tolist()
        for (k, points), end in zip(asked.items(), ends, strict=True):
            try:
                wanted[k] = under_way[k].send(margins[end - len(points) : end])
            except StopIteration as stop:
                runs[k].value = stop.value


class _Run:
    """One run: the particles, what they have cost, and which first particles the failures descend from."""

    def __init__(self, dims: int, size: int, rng: np.random.Generator, floor: float) -> None:
        self.rng, self.floor = rng, floor
        self.z = rng.standard_normal((size, dims))
        self.margins = np.full(size, np.inf)
        self.first = np.arange(size)  # particle that each descends from
        self.used, self.failures, self.depth, self.value = 0, 0, 1.0, math.nan
        self.families: set[int] = set()

    def steps(self) -> Steps:
        """Yields points, and is sent their margins; the value is the estimate."""
        size = len(self.z)
        self.margins = np.array((yield self.z))
        self._count(self.margins, self.first)
        for _ in range(MOST_LEVELS):
            quantile = float(np.sort(self.margins)[int(KEEP * size)])
            if quantile <= 0.0 and not self.floor:
                break
            level = max(quantile, self.floor)
            alive = np.flatnonzero(self.margins < level)
            if len(alive) == 0:
                return 0.0
            self.depth *= len(alive) / size
            dead = np.flatnonzero(self.margins >= level)
            yield from self._moved(dead, self.rng.choice(alive, len(dead)), level)
            if level == self.floor:
                return (yield from self._swept())
        return self.depth * float((self.margins <= 0.0).mean())

    def _swept(self) -> Steps:
        """Every particle moves below the floor, some times; the mean share of failures."""
        everybody, shares = np.arange(len(self.z)), [float((self.margins <= 0.0).mean())]
        for _ in range(SWEEPS):
            yield from self._moved(everybody, everybody, self.floor)
            shares.append(float((self.margins <= 0.0).mean()))
        return self.depth * float(np.mean(shares))

    def _moved(self, which: Indices, parents: Indices, level: float) -> Generator[Floats, Floats, None]:
        """Put moved copies of `parents` in the place of others. A move above the level is refused: the copy stays where its parent is."""
        if not len(which):
            return
        copies = moved(self.z[parents], self.rng)
        there = yield copies
        self._count(there, self.first[parents])
        taken = there < level
        self.z[which] = np.where(taken[:, None], copies, self.z[parents])
        self.margins[which], self.first[which] = np.where(taken, there, self.margins[parents]), self.first[parents]

    def _count(self, margins: Floats, first: Indices) -> None:
        failed = margins <= 0.0
        self.used += len(margins)
        self.failures += int(failed.sum())
        self.families |= set(first[failed].tolist())
