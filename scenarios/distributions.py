"""Distributions over one parameter, and how they are drawn: every draw uses exactly one number of the generator.

In a scenario file: `{uniform: [a, b]}`, `{log_uniform: [a, b]}`, `{integer: [a, b]}` (both ends included),
`{normal: {mean: m, std: s, min: a, max: b}}` (cut off at min and max; left out: 3 std), `{choice: [x, y], weights: [1, 2]}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from scenarios.draws import Source

__all__ = ["Choice", "Distribution", "Integer", "LogUniform", "Normal", "Uniform", "bounds", "draw"]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Something to draw from. `low` and `high` bound every draw (numbers only)."""

    low: float = -math.inf
    high: float = math.inf

    def draw(self, rng: Source) -> Any:
        """One value. Uses one number of `rng`."""
        raise NotImplementedError(f"{type(self).__name__}.draw")

    def plain(self) -> Any:
        """The distribution as it would stand in a file, in SI units."""
        raise NotImplementedError(f"{type(self).__name__}.plain")


@dataclass(frozen=True, kw_only=True)
class Uniform(Distribution):
    """Evenly between low and high."""

    def draw(self, rng: Source) -> float:
        """low + u (high - low)."""
        return self.low + rng.random() * (self.high - self.low)

    def plain(self) -> Any:
        """See Distribution."""
        return {"uniform": [self.low, self.high]}


@dataclass(frozen=True, kw_only=True)
class LogUniform(Distribution):
    """Evenly in the logarithm; low > 0."""

    def draw(self, rng: Source) -> float:
        """low (high / low)^u."""
        return min(max(self.low * math.exp(rng.random() * math.log(self.high / self.low)), self.low), self.high)

    def plain(self) -> Any:
        """See Distribution."""
        return {"log_uniform": [self.low, self.high]}


@dataclass(frozen=True, kw_only=True)
class Integer(Distribution):
    """A whole number from low to high, both included."""

    def draw(self, rng: Source) -> int:
        """floor of an even draw over [low, high + 1)."""
        return min(int(self.low) + int(rng.random() * (self.high - self.low + 1)), int(self.high))

    def plain(self) -> Any:
        """See Distribution."""
        return {"integer": [int(self.low), int(self.high)]}


@dataclass(frozen=True, kw_only=True)
class Normal(Distribution):
    """Normal, cut off at low and high."""

    mean: float
    std: float

    def draw(self, rng: Source) -> float:
        """Inverse of the cumulative distribution between low and high, so that one draw is one number."""
        u = rng.random()
        if self.std == 0.0:
            return min(max(self.mean, self.low), self.high)
        normal = NormalDist(self.mean, self.std)
        a, b = normal.cdf(self.low), normal.cdf(self.high)
        p = min(max(a + u * (b - a), 1e-12), 1.0 - 1e-12)  # inv_cdf is not defined at 0 and 1
        return min(max(normal.inv_cdf(p), self.low), self.high)

    def plain(self) -> Any:
        """See Distribution."""
        return {"normal": {"mean": self.mean, "std": self.std, "min": self.low, "max": self.high}}


@dataclass(frozen=True, kw_only=True)
class Choice(Distribution):
    """One of several values, by weight."""

    values: tuple[Any, ...]
    weights: tuple[float, ...]  # same length, sum > 0

    def draw(self, rng: Source) -> Any:
        """The value in whose share of the total weight u falls."""
        u = rng.random() * sum(self.weights)
        for value, weight in zip(self.values, self.weights, strict=True):
            u -= weight
            if u < 0.0:
                return value
        return next(v for v, w in zip(reversed(self.values), reversed(self.weights), strict=True) if w > 0.0)

    def plain(self) -> Any:
        """See Distribution."""
        return {"choice": list(self.values), "weights": list(self.weights)}


def bounds(value: Any) -> tuple[float, float]:
    """Smallest and largest number that `value` (a number or a distribution over numbers) can be."""
    if isinstance(value, Distribution):
        return value.low, value.high
    return float(value), float(value)


def draw(value: Any, rng: Source) -> Any:
    """`value` itself, or a draw if it is a distribution."""
    return value.draw(rng) if isinstance(value, Distribution) else value
