"""Search for points with a low margin: cross-entropy, or CMA-ES from the library `cmaes`.

Shapes: n points, D coordinates. `simulate` takes points (n, D) and returns their margins (n,), at most 0 where the policy failed and +inf
where there was no episode. Points come in populations, so that worlds run side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from agents.stress.proposal import Proposal, advance, draw, fit, log_weights, nominal
from agents.stress.space import Floats

__all__ = ["Searched", "Simulate", "cma_es", "cross_entropy"]

Simulate = Callable[[Floats], Floats]
ELITE = 0.1  # share of the points that a proposal is fitted to after CMA-ES, where fewer have failed
ENOUGH = 15  # failures from which on a proposal is fitted to failures alone
REACH = 4.0  # CMA-ES stays within so many standard deviations: what a scenario draws less often than 1 in 16,000 is not looked at


@dataclass
class Searched:
    """What a search has seen, in order."""

    z: list[Floats] = field(default_factory=list)  # (n, D) a population
    margins: list[Floats] = field(default_factory=list)  # (n,) each
    log_w: Floats | None = None  # (all,) log p / q of all points; None: their density is not known
    proposal: Proposal | None = None  # fitted to the failures, or to the nearest to failing

    @property
    def failures(self) -> int:
        """Points with a margin of at most 0."""
        return sum(int((m <= 0.0).sum()) for m in self.margins)


def cross_entropy(simulate: Simulate, dims: int, budget: int, rng: np.random.Generator, *, population: int = 128) -> Searched:
    """Populations from proposals that move towards failure (de Boer et al., "A tutorial on the cross-entropy method", 2005).

    The first population is the scenario's own. While few have failed, a population moves the next one downhill (`advance`). Then proposals
    are fitted to all failures so far, weighted by their density under the scenario over that of all proposals together; so what is
    approached is how the scenario fails most often, not the strangest failure.
    """
    found, proposals, counts = Searched(), [nominal(dims)], list[int]()
    found.proposal = proposals[0]
    left = budget
    while left > 0:
        size = min(population, left)
        z, plain = draw(found.proposal, rng, size)
        if not counts:
            counts = [size]
        else:  # every population takes a share from the scenario's own
            counts = [counts[0] + plain, *counts[1:], size - plain]
            proposals.append(found.proposal)
        found.z.append(z)
        found.margins.append(simulate(z))
        left -= size
        points, margins = np.concatenate(found.z), np.concatenate(found.margins)
        found.log_w = log_weights(points, proposals, counts)
        found.proposal = _refit(points, margins, found.log_w, found.proposal, size)
    return found


def _refit(points: Floats, margins: Floats, log_w: Floats, proposal: Proposal, latest: int) -> Proposal:
    """Fitted to the failures if there are enough, else moved by what the latest population says."""
    failed = margins <= 0.0
    if int(failed.sum()) >= ENOUGH:
        return fit(points[failed], log_w[failed], proposal)
    return advance(points[-latest:], margins[-latest:], proposal)


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
