"""What a gate tests, without saying on which episodes: metrics with margins, strata in families, and shares of the permitted error.

Shapes: M metrics, S strata, C scopes (the whole suite first, then the families), H = C * M hypotheses, scope by scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALL", "FIRST", "Design", "GatedMetric"]

ALL = "all"  # the scope that is the whole suite
FIRST = 0.8  # share of alpha for the whole suite; the families have the rest. They are many: more for them would buy little


@dataclass(frozen=True, kw_only=True)
class GatedMetric:
    """A metric, and how much worse it may be, as a share of its range."""

    name: str
    margin: float
    family_margin: float | None = None
    priority: int = 1  # weight 1 / priority among the tests
    kind: str = "event"  # event: differences are -1, 0 or 1; score: anything between


@dataclass(frozen=True, kw_only=True)
class Design:
    """Regression is tested for every metric on the whole suite and in every family, "kept up" where there is a margin.

    A round is `per_round[s]` pairs of each stratum s. With a single family the whole suite is the only scope.
    """

    metrics: tuple[GatedMetric, ...]
    families: tuple[str, ...]  # (S,) of each stratum
    per_round: tuple[int, ...]  # (S,) pairs
    alpha: float = 0.05
    test: str = "sequential"  # or fixed
    kinds: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha <= 0.2:
            raise ValueError(f"alpha={self.alpha}: must be above 0 and at most 0.2")
        if not self.metrics or not self.families or len(self.families) != len(self.per_round) or min(self.per_round) < 1:
            raise ValueError("a design needs metrics, and strata with at least one pair a round each")
        object.__setattr__(self, "kinds", tuple(metric.kind for metric in self.metrics))

    @cached_property
    def scopes(self) -> tuple[str, ...]:
        """The whole suite, then the families in order of appearance if there are several."""
        found = tuple(dict.fromkeys(self.families))
        return (ALL, *found) if len(found) > 1 else (ALL,)

    @cached_property
    def members(self) -> NDArray[np.bool_]:
        """(C, S) which strata belong to a scope."""
        return np.array([[scope == ALL or family == scope for family in self.families] for scope in self.scopes])

    @cached_property
    def strata(self) -> NDArray[np.int64]:
        """(P,) the stratum of every pair of a round, in order."""
        return np.repeat(np.arange(len(self.families)), self.per_round)

    @cached_property
    def margins(self) -> NDArray[np.float64]:
        """(C, M) margins, NaN where a scope need not be shown to have kept up."""
        whole = [metric.margin for metric in self.metrics]
        family = [np.nan if metric.family_margin is None else metric.family_margin for metric in self.metrics]
        return np.array([whole, *[family] * (len(self.scopes) - 1)])

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """(H,) shares of alpha for the tests for regression, adding up to 1."""
        one = np.array([1.0 / metric.priority for metric in self.metrics])
        one /= one.sum()
        families = len(self.scopes) - 1
        if not families:
            return one
        return np.concatenate([FIRST * one, *[(1.0 - FIRST) / families * one] * families])

    def hypotheses(self) -> Sequence[tuple[str, GatedMetric]]:
        """(H,) scope and metric of each."""
        return [(scope, metric) for scope in self.scopes for metric in self.metrics]
