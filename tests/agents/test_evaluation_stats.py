"""Intervals against scipy, statsmodels and known figures, and their coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from agents.evaluation.stats import iqm, mean_interval, proportion


@pytest.mark.parametrize(("k", "n"), [(1, 10), (5, 10), (37, 500), (499, 500), (250, 1000)])
def test_wilson_equals_statsmodels(k: int, n: int) -> None:
    low, high = proportion_confint(k, n, alpha=0.05, method="wilson")
    ours = proportion(k, n)
    if 0 < k < n:
        assert (ours.value, ours.low, ours.high) == pytest.approx((k / n, low, high))


def test_wilson_known_figure() -> None:
    # Newcombe 1998, table I: 81 of 263 -> 0.2553 .. 0.3662
    ours = proportion(81, 263)
    assert (round(ours.low, 4), round(ours.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize("n", [1, 2, 20, 100, 5000])
def test_nothing_happened_is_not_certainty(n: int) -> None:
    none, every = proportion(0, n), proportion(n, n)
    assert none.value == none.low == 0.0
    assert none.high >= min(1.0, 3.0 / n) - 1e-12
    assert every.low == pytest.approx(1.0 - none.high)
    assert every.high == 1.0


def test_proportion_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="successes=5: must be between 0 and n=4"):
        proportion(5, 4)
    assert math.isnan(proportion(0, 0).value)
    assert proportion(0, 0).as_dict() == {"value": None, "low": None, "high": None, "n": 0}


def test_one_stratum_agrees_with_scipy() -> None:
    x = np.random.default_rng(1).gamma(2.0, size=80)
    for ours, statistic in ((mean_interval([x]), np.mean), (iqm([x]), lambda v, axis=-1: stats.trim_mean(v, 0.25, axis=axis))):
        theirs = stats.bootstrap((x,), statistic, method="percentile", n_resamples=20000, rng=np.random.default_rng(2)).confidence_interval
        width = theirs.high - theirs.low
        assert ours.low == pytest.approx(theirs.low, abs=0.08 * width)
        assert ours.high == pytest.approx(theirs.high, abs=0.08 * width)


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    x = np.array([-1e6, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1e9])
    assert iqm([x]).value == pytest.approx(np.mean([2.0, 3.0, 4.0, 5.0]))


def test_strata_are_resampled_on_their_own() -> None:
    # two scenarios far apart, each without spread: the figure cannot vary, although the pooled sample does
    constant = mean_interval([np.zeros(10), np.ones(30)])
    assert (constant.value, constant.low, constant.high) == (0.75, 0.75, 0.75)
    pooled = mean_interval([np.r_[np.zeros(10), np.ones(30)]])
    assert pooled.high - pooled.low > 0.2


def test_mean_interval_covers() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        e = mean_interval([rng.normal(1.0, 1.0, 40), rng.normal(3.0, 2.0, 40)], seed=trial)
        hits += e.low <= 2.0 <= e.high
    assert 175 <= hits <= 200  # nominal 190; the percentile bootstrap runs a little under it


def test_few_values() -> None:
    one = mean_interval([[2.0]])
    assert one.value == 2.0
    assert math.isnan(one.low)
    assert one.as_dict()["low"] is None
    assert mean_interval([[], []]).n == 0
