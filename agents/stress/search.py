"""Search for points with a low margin: cross-entropy, a walk among failures, or CMA-ES from the library `cmaes`.

Shapes: n points, D coordinates. `simulate` takes points (n, D) and returns their margins (n,), at most 0 where the policy failed and +inf
where there was no episode. Points come in populations, so that worlds run side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from agents.stress.moves import moved
from agents.stress.proposal import Proposal, advance, draw, fit, log_weights, nominal
from agents.stress.space import Floats

__all__ = ["Searched", "Simulate", "cma_es", "cross_entropy", "walk"]

Simulate = Callable[[Floats], Floats]
ELITE = 0.1  # share of the points that a proposal is fitted to after CMA-ES, where fewer have failed
ENOUGH = 15  # failures from which on a proposal is fitted to failures alone
AIM = 0.3  # share of the moved copies of failures that should fail: steps become shorter while fewer do, and longer while more do
SHORTEST = 0.25  # of the reach of those steps
FRESH = 0.2  # share of the points of a walk that the scenario draws anew: other failures are found, too
REACH = 4.0  # CMA-ES stays within so many standard deviations: what a scenario draws less often than 1 in 16,000 is not looked at


@dataclass
class Searched:
    """What a search has seen, in order."""

    z: list[Floats] = field(default_factory=list)  # (n, D) a population
    margins: list[Floats] = field(default_factory=list)  # (n,) each
    proposals: list[Proposal] = field(default_factory=list)  # drawn from so far, where their densities are known
    counts: list[int] = field(default_factory=list)  # points of each
    proposal: Proposal | None = None  # to draw from next
    around: list[float] = field(default_factory=list)  # margins of moved copies of failures
    lines: int | None = None  # of descent among the failures of a walk; None: every failure was drawn for itself

    @property
    def failures(self) -> int:
        """Points with a margin of at most 0."""
        return sum(int((m <= 0.0).sum()) for m in self.margins)

    @property
    def families(self) -> int:
        """Failures of which none is a moved copy of another, nor of what another was copied from."""
        return self.failures if self.lines is None else self.lines


def cross_entropy(
    simulate: Simulate, dims: int, budget: int, rng: np.random.Generator, *, found: Searched | None = None, population: int = 128
) -> Searched:
    """Populations from proposals that move towards failure (de Boer et al., "A tutorial on the cross-entropy method", 2005).

    The first population is the scenario's own. While few have failed, a population moves the next one downhill (`advance`). Then proposals
    are fitted to all failures so far, weighted by their density under the scenario over that of all proposals together; so what is
    approached is how the scenario fails most often, not the strangest failure. found: an earlier one to go on from.
    """
    found = found or Searched(proposals=[nominal(dims)], counts=[0], proposal=nominal(dims))
    left = budget
    while left > 0:
        assert found.proposal is not None
        size = min(population, left)
        z, plain = draw(found.proposal, rng, size)
        if not found.z:
            found.counts = [size]
        else:  # every population takes a share from the scenario's own
            found.counts = [found.counts[0] + plain, *found.counts[1:], size - plain]
            found.proposals.append(found.proposal)
        found.z.append(z)
        found.margins.append(simulate(z))
        left -= size
        points, margins = np.concatenate(found.z), np.concatenate(found.margins)
        log_w = log_weights(points, found.proposals, found.counts)
        found.proposal = _refit(points, margins, log_w, found.proposal, size)
    return found


def _refit(points: Floats, margins: Floats, log_w: Floats, proposal: Proposal, latest: int) -> Proposal:
    """Fitted to the failures if there are enough, else moved by what the latest population says."""
    failed = margins <= 0.0
    if int(failed.sum()) >= ENOUGH:
        return fit(points[failed], log_w[failed], proposal)
    return advance(points[-latest:], margins[-latest:], proposal)


def walk(
    simulate: Simulate, dims: int, budget: int, rng: np.random.Generator, *, found: Searched | None = None, population: int = 128
) -> Searched:
    """Populations of moved copies of the failures so far, or of the nearest to failing, and a share of points as the scenario draws them.

    For failures that are in no one direction, but have room around them: what hundreds of numbers make together. The points cannot be
    weighted, so no probability follows from them. Every line of descent has the same chance to go on, however many failures it has.
    found: goes on from there.
    """
    found = found or Searched()
    z, margins = (np.concatenate(part) if part else np.zeros(shape) for part, shape in ((found.z, (0, dims)), (found.margins, (0,))))
    lines = {int(i): [z[i]] for i in np.flatnonzero(margins <= 0.0)}  # failures by the place of the point that they descend from
    left, reach = budget, 0.5
    while left > 0:
        size = min(population, left)
        plain = size if not len(margins) else int(np.ceil(FRESH * size))
        origin = np.arange(len(margins), len(margins) + size)
        points, among = rng.standard_normal((size, dims)), bool(lines)
        if plain < size and among:
            origin[plain:] = rng.choice(list(lines), size - plain)
            points[plain:] = [lines[line][rng.integers(len(lines[line]))] for line in origin[plain:].tolist()]
        elif plain < size:
            origin[plain:] = rng.choice(np.argsort(margins)[: max(4, int(ELITE * len(margins)))], size - plain)
            points[plain:] = z[origin[plain:]]
        points[plain:] = moved(points[plain:], rng, reach=reach if among else 1.0)
        there = simulate(points)
        for row, line in zip(points[there <= 0.0], origin[there <= 0.0].tolist(), strict=True):
            lines.setdefault(line, []).append(row)
        if among and plain < size:
            found.around += there[plain:].tolist()
            reach = float(np.clip(reach * np.exp(2.0 * ((there[plain:] <= 0.0).mean() - AIM)), SHORTEST, 1.0))
        z, margins = np.concatenate([z, points]), np.concatenate([margins, there])
        found.z.append(points)
        found.margins.append(there)
        left -= size
    found.lines = len(lines)
    return found


def cma_es(simulate: Simulate, dims: int, budget: int, rng: np.random.Generator, *, population: int = 128) -> Searched:
    """The lowest margin by separable CMA-ES (Ros & Hansen 2008), for which hundreds of coordinates are not too many.

    It climbs to the worst there is rather than to what is probable. The proposal is fitted to the failures as they are.
    """
    from cmaes import SepCMA  # type: ignore[import-untyped]

    bounds = np.tile([-REACH, REACH], (dims, 1))
    optimiser = SepCMA(mean=np.zeros(dims), sigma=1.0, bounds=bounds, seed=int(rng.integers(2**31)), population_size=population)
    found, left = Searched(), budget
    while left > 0:
        z = np.stack([optimiser.ask() for _ in range(population)])
        size = min(population, left)
        z[:, -1] = rng.standard_normal(population)  # the seed is no direction to go
        found.z.append(z[:size])
        found.margins.append(simulate(z[:size]))
        left -= size
        if size == population:
            worst = 10.0  # where there was no episode
            optimiser.tell([(row, float(m) if np.isfinite(m) else worst) for row, m in zip(z, found.margins[-1], strict=True)])
    points, margins = np.concatenate(found.z), np.concatenate(found.margins)
    elite = np.argsort(margins)[: max(found.failures, int(ELITE * len(margins)))]
    found.proposal = fit(points[elite], np.zeros(len(elite)), nominal(dims))
    return found
