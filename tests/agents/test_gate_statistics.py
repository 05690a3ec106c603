"""The tests behind the gate, against closed forms, exact enumeration, scipy and statsmodels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from agents.gate.betting import FRACTIONS, log_evidence, log_payoff, mean_bounds
from agents.gate.fixed import mcnemar_midp, signed_rank, tango
from agents.gate.multiple import benjamini_hochberg, holm

SHARES = np.sqrt(0.5 ** np.arange(len(FRACTIONS)))
SHARES /= SHARES.sum()


def evidence(x: np.ndarray, bound: float = 1.0) -> float:
    """e-value of observations (n,)."""
    return float(np.exp(log_evidence(log_payoff(x, bound).sum(axis=0))))


@pytest.mark.parametrize("n", [0, 1, 7, 40])
def test_evidence_of_equal_observations_is_a_known_sum(n: int) -> None:
    for x, bound in ((1.0, 1.0), (-1.0, 1.0), (0.3, 0.5)):
        expected = float(np.sum(SHARES * (1.0 + FRACTIONS * x / bound) ** n))
        assert evidence(np.full(n, x), bound) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "chances"), [((-1.0, 0.0, 1.0), (0.3, 0.4, 0.3)), ((-0.5, 0.2), (2 / 7, 5 / 7)), ((-0.8, 0.05, 0.6), (0.415, 0.028, 0.557))]
)
def test_expected_evidence_is_one_where_the_mean_is_nothing(values: tuple[float, ...], chances: tuple[float, ...]) -> None:
    """Every sequence of 5 observations with its probability: the expectation is exactly 1, so no strategy of stopping gains."""
    x, p = np.array(values), np.array(chances)
    x = x - p @ x / p.sum()  # exactly nothing
    total = sum(math.prod(p[list(i)]) * evidence(x[list(i)], 1.1) for i in itertools.product(range(len(x)), repeat=5))
    assert total == pytest.approx(p.sum() ** 5)


@pytest.mark.parametrize("tilt", [0.0, 0.3, 0.9])
def test_strata_that_cancel_give_no_evidence_on_average(tilt: float) -> None:
    """A round of one observation of each of two strata with means +tilt and -tilt: over three rounds the expectation is at most 1."""
    x = np.array([-1.0, 1.0])
    up, down = np.array([0.5 - tilt / 2, 0.5 + tilt / 2]), np.array([0.5 + tilt / 2, 0.5 - tilt / 2])
    total = 0.0
    for index in itertools.product(range(2), repeat=6):
        chance = math.prod((up if k % 2 == 0 else down)[i] for k, i in enumerate(index))
        total += chance * evidence(x[list(index)])
    assert total <= 1.0 + 1e-12
    assert (total == pytest.approx(1.0)) == (tilt == 0.0)


def test_evidence_rarely_grows_large_without_cause() -> None:
    """Ville: looked at after each of 400 observations it ever reaches 20 in at most 5 % of sequences; 40 of 1000 would be 4 %."""
    x = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], size=(1000, 400), p=[0.05, 0.9, 0.05])
    paths = log_evidence(np.cumsum(log_payoff(x, 1.0), axis=1))
    share = float((paths.max(axis=1) >= np.log(20.0)).mean())
    assert 0.0 < share <= 0.05


def test_a_margin_is_kept_with_certainty_only_where_it_is() -> None:
    """At the edge, a mean of exactly -margin: passing is an error, in at most 5 % of sequences."""
    rng, margin = np.random.default_rng(2), 0.1
    d = rng.choice([-1.0, 0.0, 1.0], size=(1000, 300), p=[0.13, 0.84, 0.03])
    paths = log_evidence(np.cumsum(log_payoff(d + margin, 1.0 - margin), axis=1))
    assert 0.0 < float((paths.max(axis=1) >= np.log(20.0)).mean()) <= 0.05


def test_bounds_of_the_mean_cover_it() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        low, high = mean_bounds(rng.choice([-1.0, 0.0, 1.0], size=150, p=[0.15, 0.8, 0.05]), 0.1)
        hits += low <= -0.1 <= high
    assert hits >= 180
    assert mean_bounds([], 0.05) == pytest.approx((-1.0, 1.0), abs=1e-4)


def test_bounds_of_the_mean_are_where_the_evidence_ends() -> None:
    d = np.random.default_rng(4).uniform(-0.4, 0.6, 80)
    low, high = mean_bounds(d, 0.05)
    assert low < d.mean() < high
    assert evidence(high - d, 1.0 - high) == pytest.approx(40.0, rel=0.01)
    assert evidence(d - low, 1.0 + low) == pytest.approx(40.0, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_holm_and_benjamini_hochberg_equal_statsmodels(seed: int) -> None:
    p = np.random.default_rng(seed).uniform(size=12) ** 3
    p[3] = p[7]
    assert holm(p, np.full(12, 1 / 12)) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_weighted_holm_by_hand() -> None:
    # p / w: 0.02, 0.04, 0.5 -> first 0.01 * 1 / 0.5, then 0.01 * 0.5 / 0.25, then 0.125 * 0.25 / 0.25
    assert holm([0.01, 0.01, 0.125], [0.5, 0.25, 0.25]) == pytest.approx([0.02, 0.02, 0.125])
    assert holm([0.5, 0.001], [0.9, 0.1]) == pytest.approx([0.5, 0.01])


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (1, 0), (9, 2), (3, 14), (50, 50)])
def test_mcnemar_mid_p(worse: int, better: int) -> None:
    d = np.array([-1.0] * worse + [1.0] * better + [0.0] * 20)
    exact = stats.binomtest(worse, max(worse + better, 1), alternative="greater").pvalue if worse + better else 1.0
    assert mcnemar_midp(d) == pytest.approx(exact - 0.5 * stats.binom.pmf(worse, worse + better, 0.5))


@pytest.mark.parametrize(("worse", "better"), [(9, 2), (3, 14), (50, 45)])
def test_tango_without_margin_is_mcnemar(worse: int, better: int) -> None:
    d = np.array([-1.0] * worse + [1.0] * better + [0.0] * 60)
    square = mcnemar([[30, worse], [better, 30]], exact=False, correction=False).statistic
    sign = 1.0 if better > worse else -1.0
    assert tango(d, 0.0) == pytest.approx(stats.norm.sf(sign * math.sqrt(square)))


@pytest.mark.parametrize(("n", "worse", "better", "margin"), [(100, 5, 3, 0.1), (40, 0, 0, 0.05), (300, 20, 4, 0.02), (50, 10, 0, 0.3)])
def test_tango_equals_the_score_test_by_numeric_likelihood(n: int, worse: int, better: int, margin: float) -> None:
    """The variance under the hypothesis comes from the likeliest shares with better - worse = -margin, here found numerically."""
    d = np.array([-1.0] * worse + [1.0] * better + [0.0] * (n - worse - better))

    def against(up: float) -> float:
        parts = ((better, up), (worse, up + margin), (n - worse - better, 1.0 - 2.0 * up - margin))
        return -sum(count * math.log(max(share, 1e-300)) for count, share in parts if count)

    up = optimize.minimize_scalar(against, bounds=(0.0, (1.0 - margin) / 2.0), method="bounded", options={"xatol": 1e-10}).x
    z = (better - worse + n * margin) / math.sqrt(n * (2.0 * up + margin - margin * margin))
    assert tango(d, margin) == pytest.approx(stats.norm.sf(z), rel=1e-3)


def test_signed_rank_equals_scipy() -> None:
    d = np.random.default_rng(5).normal(-0.02, 0.1, 60)
    assert signed_rank(d) == pytest.approx(stats.wilcoxon(d, alternative="less", method="approx").pvalue)
    assert signed_rank(d, 0.05) == pytest.approx(stats.wilcoxon(d + 0.05, alternative="greater", method="approx").pvalue)
    assert signed_rank(np.zeros(10)) == 1.0
    assert signed_rank([]) == 1.0
    assert tango([], 0.1) == 1.0
    assert mcnemar_midp([]) == 0.5


@pytest.mark.parametrize("rate", [0.03, 0.2])
def test_fixed_tests_keep_their_level(rate: float) -> None:
    rng = np.random.default_rng(6)
    d = rng.choice([-1.0, 0.0, 1.0], size=(1000, 200), p=[rate, 1 - 2 * rate, rate])
    assert float(np.mean([mcnemar_midp(row) <= 0.05 for row in d])) <= 0.06
    edge = rng.choice([-1.0, 0.0, 1.0], size=(1000, 200), p=[rate + 0.05, 0.95 - 2 * rate, rate])
    assert float(np.mean([tango(row, 0.05) <= 0.05 for row in edge])) <= 0.065
