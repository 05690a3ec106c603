"""Evidence by betting: the wealth of a gambler who bets against a hypothesis, and who cannot get rich while it is true.

Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86 (2024). For observations x >= -b with
mean at most 0 (the hypothesis), the product of 1 + bet * x over the observations is a supermartingale for any bet in [0, 1/b], and so is
a mixture of such products over bets. By Ville's inequality the mixture ever reaches 1/alpha with probability at most alpha: it may be
looked at as often as one likes, and one may stop because of what one saw.

Strata: a round holds observations of several strata whose means differ, and the hypothesis is about their mean in the round. Bets do not
change within a round, so the expected product is that of (1 + bet * mean of stratum), which by the inequality of arithmetic and geometric
means is at most (1 + bet * mean of the round) to the power of their number, hence at most 1. So wealth is read at the ends of rounds.

Shapes: J bets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FRACTIONS", "log_evidence", "log_payoff", "mean_bounds"]

Values = NDArray[np.float64]

# Shares of the largest admissible bet, from 0.98 (1 can ruin) to 0.002, and what each is given to bet with. Halving them, with the larger
# share of the money on the larger bets, found drops of 2 and 5 points 10 to 25 % sooner than equal shares or steps of sqrt(2) did.
_HALVES: Values = np.asarray(0.5 ** np.arange(10), dtype=np.float64)
FRACTIONS: Values = 0.98 * _HALVES  # (J,)
_LOG_SHARES: Values = 0.5 * np.log(_HALVES) - np.log(np.sqrt(_HALVES).sum())  # (J,)


def log_payoff(x: ArrayLike, bound: ArrayLike) -> Values:
    """Logarithm of what each bet makes of one unit: log(1 + bet * x), (..., J). x (...) >= -bound, bound (...) > 0."""
    stakes = np.asarray(x, dtype=np.float64) / np.asarray(bound, dtype=np.float64)
    return np.log1p(FRACTIONS * stakes[..., None])


def log_evidence(log_wealth: Values) -> Values:
    """Logarithm of the e-value, (...): the wealth of all bets together. log_wealth (..., J): the sum of `log_payoff` so far."""
    parts = log_wealth + _LOG_SHARES
    most = parts.max(axis=-1, keepdims=True)  # so that nothing overflows
    return np.asarray(most[..., 0] + np.log(np.exp(parts - most).sum(axis=-1)), dtype=np.float64)


def mean_bounds(d: ArrayLike, alpha: float) -> tuple[float, float]:
    """Between which two values the mean of d (n,), -1 to 1, lies; at whatever time one stops, wrong with probability at most alpha.

    The means against which there is not enough evidence, half of alpha on either side (a confidence sequence). (-1, 1) for n = 0.
    """
    values, enough = np.asarray(d, dtype=np.float64), np.log(2.0 / alpha)

    def below(m: float) -> bool:  # whether the mean is below m; once it is, it is below all larger ones
        return m >= 1.0 or bool(log_evidence(log_payoff(m - values, 1.0 - m).sum(axis=0)) >= enough)

    def above(m: float) -> bool:
        return m <= -1.0 or bool(log_evidence(log_payoff(values - m, 1.0 + m).sum(axis=0)) >= enough)

    return -_edge(lambda m: above(-m)), _edge(below)


def _edge(holds: Callable[[float], bool]) -> float:
    """The smallest value of -1 to 1 for which `holds`, to 1e-5; it does for 1."""
    low, high = -1.0, 1.0
    while high - low > 1e-5:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
