"""Gaussian proposals on a space whose own density is N(0, I), and how one is fitted to failures.

Shapes: n points, D coordinates.

A scenario draws hundreds of numbers, and few of them decide. So a coordinate moves away from N(0, 1) only where the elite differs from it
beyond chance. All others cancel from the weights, which would otherwise degenerate with D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from agents.stress.space import Floats

__all__ = ["DEFENSIVE", "Proposal", "advance", "draw", "fit", "log_weights", "nominal"]

DEFENSIVE = 0.2  # share of the points drawn from N(0, I) itself: no weight exceeds its inverse (Hesterberg 1995)
CLEAR = 3.0  # standard errors by which the elite must differ in a coordinate: 1 in 370 do by chance
NARROWEST, WIDEST = 0.25, 1.5  # of a proposal in one coordinate
TRUST = 10.0  # the proposal before counts as so many points
STRIDE = 2.0  # standard deviations of the margin by which a population should come nearer to failure
TEMPERS = (1.0, 0.7, 0.5, 0.3, 0.15, 0.0)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Independent normals."""

    mean: Floats  # (D,)
    std: Floats  # (D,)

    @property
    def moved(self) -> Floats:
        """How far each coordinate is from N(0, 1), (D,): Kullback-Leibler divergence in nats."""
        return np.asarray(0.5 * (self.std**2 + self.mean**2 - 1.0) - np.log(self.std))

    def log_ratio(self, z: Floats) -> Floats:
        """log q / p of points (n, D), (n,)."""
        on = np.flatnonzero((self.mean != 0.0) | (self.std != 1.0))
        x = z[:, on]
        scaled = (x - self.mean[on]) / self.std[on]
        return np.asarray((0.5 * (x * x - scaled * scaled) - np.log(self.std[on])).sum(axis=1))


def nominal(dims: int) -> Proposal:
    """N(0, I)."""
    return Proposal(mean=np.zeros(dims), std=np.ones(dims))


def draw(proposal: Proposal, rng: np.random.Generator, count: int, *, defensive: float = DEFENSIVE) -> tuple[Floats, int]:
    """`count` points (count, D), shuffled, and how many of them are from N(0, I): the share `defensive`, rounded up."""
    plain = min(count, int(np.ceil(defensive * count)))
    z = rng.standard_normal((count, len(proposal.mean)))
    z[plain:] = proposal.mean + proposal.std * z[plain:]
    return z[rng.permutation(count)], plain


def log_weights(z: Floats, proposals: Sequence[Proposal], counts: Sequence[int]) -> Floats:
    """log p / q of points (n, D), (n,), with q the mixture of `proposals` by `counts` (the balance heuristic, Veach & Guibas 1995)."""
    with np.errstate(divide="ignore"):  # of a proposal without points
        shares = np.log(np.asarray(counts, dtype=np.float64) / sum(counts))
    parts = np.stack([p.log_ratio(z) + s for p, s in zip(proposals, shares, strict=True) if np.isfinite(s)])
    return np.asarray(-np.logaddexp.reduce(parts, axis=0))


def fit(z: Floats, log_w: Floats, prior: Proposal, *, least: int = 10) -> Proposal:
    """A proposal for the elite points (n, D) with their weights (n,): the one nearest to their weighted distribution (cross-entropy,
    Rubinstein & Kroese 2004), in the coordinates in which that clearly differs from N(0, 1), or `prior` does; `prior` counts as a few
    points.

    Where few points carry all the weight, weights are tempered until at least `least` (or half of the points) count.
    Raises ValueError for no points.
    """
    if not len(z):
        raise ValueError("no points: a proposal is fitted to at least one")
    wanted = min(float(least), 0.5 * len(z))
    for temper in TEMPERS:
        w = np.exp(temper * (log_w - log_w.max()))
        w /= w.sum()
        effective = 1.0 / float((w * w).sum())
        if effective >= wanted:
            break
    mean = w @ z
    variance = w @ (z - mean) ** 2
    apart = (np.abs(mean) * np.sqrt(effective) > CLEAR) | (prior.mean != 0.0)
    other = (np.abs(1.0 - variance) * np.sqrt(effective / 2.0) > CLEAR) | (prior.std != 1.0)
    centre = (effective * mean + TRUST * prior.mean) / (effective + TRUST)
    spread = np.sqrt((effective * variance + TRUST * prior.std**2) / (effective + TRUST))
    centre *= np.maximum(0.0, 1.0 - 1.0 / np.maximum((effective + TRUST) * centre**2, 1e-9))  # shrunk by what chance makes of it
    return Proposal(mean=np.where(apart | other, centre, 0.0), std=np.where(other, np.clip(spread, NARROWEST, WIDEST), 1.0))


def advance(z: Floats, margins: Floats, proposal: Proposal) -> Proposal:
    """The proposal moved towards lower margins, by what all points (n, D) of its population say, not the best alone.

    The correlation r of a coordinate with the normal score of the margin is its part of the direction downhill (Stein's lemma); the mean
    moves by r times STRIDE standard deviations, in coordinates in which r is not 0 by chance. Margins (n,) of +inf do not count.
    """
    real = np.isfinite(margins)
    n = int(real.sum())
    if n < 8:
        return proposal
    score = stats.norm.ppf((stats.rankdata(margins[real]) - 0.5) / n)
    here = z[real]
    std = here.std(axis=0)
    r = ((here - here.mean(axis=0)) * (score - score.mean())[:, None]).mean(axis=0) / np.maximum(std * score.std(), 1e-9)
    on = np.abs(r) * np.sqrt(n) > CLEAR
    return Proposal(mean=np.where(on, proposal.mean - STRIDE * r * proposal.std, proposal.mean), std=proposal.std)
