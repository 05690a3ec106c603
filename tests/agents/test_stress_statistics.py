"""The statistics of stress, against closed forms: the tail of a Gaussian in two of many coordinates, whose probability is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from agents.stress.importance import Probability, estimate, importance
from agents.stress.moves import moved
from agents.stress.proposal import DEFENSIVE, Proposal, draw, fit, log_weights, nominal
from agents.stress.report import Answer, answer
from agents.stress.search import Searched, Simulate, cma_es, cross_entropy, walk
from agents.stress.space import Floats
from agents.stress.splitting import Split, floor_around, split

BETA = 2.8
P = float(stats.norm.sf(BETA))  # 0.0026


def tail(dims: int, beta: float = BETA, within: int = 2) -> Simulate:
    """Fails where the sum of the first `within` coordinates, over its standard deviation, is at least beta."""

    def simulate(z: Floats) -> Floats:
        return np.asarray(beta - z[:, :within].sum(axis=1) / math.sqrt(within))

    return simulate


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


def test_cross_entropy_finds_the_tail() -> None:
    found = cross_entropy(tail(100), 100, 1024, generator(0))
    assert found.failures > 20 * P * 1024
    assert found.proposal is not None
    moved = found.proposal.moved
    assert set(np.argsort(-moved)[:2]) == {0, 1}
    # given failure, each of the two coordinates has a mean of E[N | N > beta] / sqrt(2)
    mean = stats.norm.pdf(BETA) / P / math.sqrt(2.0)
    assert found.proposal.mean[:2] == pytest.approx([mean, mean], abs=0.4)
    assert (moved[2:] == 0.0).sum() > 90  # the others stay as they are, so weights do not degenerate


def test_cma_es_finds_the_tail() -> None:
    found = cma_es(tail(50), 50, 640, generator(1))
    assert found.failures > 20 * P * 640
    assert found.proposal is not None
    assert (found.proposal.mean[:2] > 1.0).all()
    assert all((np.abs(z[:, :-1]) <= 4.0).all() for z in found.z)


def test_importance_sampling_is_right_and_its_interval_covers() -> None:
    """40 runs of 300 + 300 simulations, of which random sampling would find fewer than two failures each."""
    values, covered = [], 0
    for seed in range(40):
        rng = generator(100 + seed)
        found = cross_entropy(tail(40), 40, 300, rng, population=100)
        assert found.proposal is not None
        margins, weights, plain = importance(tail(40), found.proposal, 300, rng)
        assert weights.max() <= 300 / plain * (1.0 + 1e-9)
        p = estimate((margins <= 0.0).astype(np.float64), weights, plain)
        values.append(p.value)
        covered += p.low <= P <= p.high
    assert np.mean(values) == pytest.approx(P, abs=4.0 * np.std(values) / math.sqrt(40))
    assert stats.binomtest(covered, 40, 0.95, alternative="less").pvalue > 0.001  # 95 % promised


def test_a_proposal_that_looks_away_is_survived_and_admitted() -> None:
    """The points from N(0, I) keep the estimate right on average, and the few effective failures are told."""
    away = Proposal(mean=np.array([-2.0, -2.0]), std=np.array([0.5, 0.5]))
    values = []
    for seed in range(60):
        margins, weights, plain = importance(tail(2, beta=1.5), away, 200, generator(seed))
        p = estimate((margins <= 0.0).astype(np.float64), weights, plain)
        values.append(p.value)
        assert p.warning
    assert np.mean(values) == pytest.approx(float(stats.norm.sf(1.5)), abs=4.0 * np.std(values) / math.sqrt(60))


def test_weights_are_the_ratio_of_densities() -> None:
    rng = generator(2)
    one = Proposal(mean=rng.normal(size=3), std=np.array([0.5, 1.0, 1.3]))
    z = rng.standard_normal((50, 3))
    p = stats.norm.pdf(z).prod(axis=1)
    q = 0.25 * p + 0.75 * stats.norm.pdf(z, one.mean, one.std).prod(axis=1)
    assert np.exp(log_weights(z, [nominal(3), one], [5, 15])) == pytest.approx(p / q)


def test_weights_average_to_one() -> None:
    rng, one = generator(3), Proposal(mean=np.array([1.5, 0.0]), std=np.array([0.6, 1.0]))
    z, plain = draw(one, rng, 20_000)
    assert plain == math.ceil(DEFENSIVE * 20_000)
    assert np.exp(log_weights(z, [nominal(2), one], [plain, 20_000 - plain])).mean() == pytest.approx(1.0, abs=0.02)


def test_fit_leaves_alone_what_does_not_differ() -> None:
    rng = generator(4)
    z = rng.standard_normal((400, 30))
    z[:, 7] = 1.0 + 0.4 * z[:, 7]
    fitted = fit(z, np.zeros(400), nominal(30))
    assert fitted.mean[7] == pytest.approx(1.0, abs=0.1)
    assert fitted.std[7] == pytest.approx(0.4, abs=0.1)
    assert np.flatnonzero(fitted.moved).tolist() == [7]


def test_estimate_of_equal_weights_is_a_share() -> None:
    failed = np.array([1.0] * 30 + [0.0] * 70)
    p = estimate(failed, np.ones(100), 100)
    assert (p.value, p.effective, p.failures, p.warning) == (pytest.approx(0.3), pytest.approx(30.0), 30, "")
    assert p.low < 0.3 < p.high


def test_nothing_failed() -> None:
    p = estimate(np.zeros(100), np.ones(100), 20)
    assert (p.value, p.low, p.high) == (0.0, 0.0, 0.15)
    assert "nothing failed" in p.warning


def test_splitting_is_right_and_its_interval_covers() -> None:
    values, covered = [], 0
    for seed in range(20):
        p = split(tail(40), 40, 2500, generator(seed)).probability()
        values.append(p.value)
        covered += p.low <= P <= p.high
    assert np.mean(values) == pytest.approx(P, abs=4.0 * np.std(values) / math.sqrt(20))
    assert stats.binomtest(covered, 20, 0.95, alternative="less").pvalue > 0.001


def test_splitting_bends_where_no_gaussian_does() -> None:
    """Failure far out in any direction: no mean to move to."""

    def far(z: Floats) -> Floats:
        return np.asarray(3.5 - np.hypot(z[:, 0], z[:, 1]))

    p = split(far, 2, 6000, generator(5)).probability()
    assert p.low <= math.exp(-(3.5**2) / 2.0) <= p.high


def sudden(z: Floats) -> Floats:
    """Fails in the tail of two coordinates, from an ordinary margin: what is near to failing is so for another reason."""
    return np.where((z[:, 0] + z[:, 1]) / math.sqrt(2.0) >= 2.5, -1.0, np.maximum(np.abs(z[:, 5]), 1e-6))


def test_splitting_stops_where_margins_lead_elsewhere() -> None:
    """With the floor that a walk has seen around failures, which is far above failure, the estimate is right."""
    p, values, covered = float(stats.norm.sf(2.5)), [], 0
    for seed in range(60):
        rng = generator(200 + seed)
        floor = floor_around(walk(sudden, 40, 2500, rng).around)
        assert floor == 0.0 or floor > 0.3
        found = split(sudden, 40, 3000, rng, floor=floor).probability()
        values.append(found.value)
        covered += found.low <= p <= found.high
    assert np.mean(values) == pytest.approx(p, abs=4.0 * np.std(values) / math.sqrt(60))
    assert np.std(values) < 0.6 * p
    assert stats.binomtest(covered, 60, 0.95, alternative="less").pvalue > 0.001


def test_a_floor_where_margins_lead_to_failure_does_no_harm() -> None:
    values, covered = [], 0
    for seed in range(60):
        p = split(tail(40), 40, 2500, generator(1000 + seed), floor=0.6).probability()
        values.append(p.value)
        covered += p.low <= P <= p.high
    assert np.mean(values) == pytest.approx(P, abs=4.0 * np.std(values) / math.sqrt(60))
    assert stats.binomtest(covered, 60, 0.95, alternative="less").pvalue > 0.001


def test_runs_go_side_by_side_and_the_budget_is_kept() -> None:
    """Few simulations at once fill no batch: the particles of all runs are asked for together. Runs that are cut off do not count, nor do
    those after them, whatever they came to."""
    for budget in (400, 700, 1100, 1500):
        sizes: list[int] = []

        def simulate(z: Floats, sizes: list[int] = sizes) -> Floats:
            sizes.append(len(z))
            return tail(6)(z)

        found = split(simulate, 6, budget, generator(19), particles=50)
        assert sum(sizes) <= budget
        assert sizes[0] == 50 * max(1, min(5, budget // 250))
        assert found.simulations <= sum(sizes)
        assert found.cut or found.simulations == sum(sizes)


def test_a_floor_is_told_from_what_did_not_fail() -> None:
    assert floor_around([-1.0] * 50 + [0.4] * 50) == 0.4
    assert floor_around([math.inf] * 50 + [0.4] * 19) == 0.0  # too few
    assert floor_around([-1.0] * 50) == 0.0
    above = split(tail(3), 3, 400, generator(18), floor=99.0)  # everything is below it: plain sampling, moved
    assert above.depths == [1.0] * len(above.values)


def probability(value: float, low: float, high: float, warning: str = "", method: str = "multilevel splitting") -> Probability:
    return Probability(value=value, low=low, high=high, n=1000, failures=9, effective=9.0, method=method, warning=warning)


def test_random_sampling_counts_where_the_estimate_is_not_to_be_trusted() -> None:
    control = probability(0.0024, 0.0013, 0.0045, method="random sampling")
    good, far = probability(0.003, 0.002, 0.005), probability(0.0001, 0.00001, 0.0005)
    unsure = probability(0.003, 0.002, 0.005, warning="the runs are far apart")
    assert answer(good, control) == Answer(good)
    assert answer(unsure, control) == Answer(control, unsure, "the runs are far apart")
    assert answer(far, control) == Answer(control, far, "random sampling contradicts it")
    assert answer(probability(math.nan, 0.0, 1.0, warning="no run was finished"), control).value is control
    assert answer(unsure, None) == Answer(unsure)
    assert answer(None, control) == answer(control, control) == Answer(control)
    assert answer(None, None).value is None


def test_splitting_says_when_the_budget_does_not_suffice() -> None:
    result = split(tail(10, beta=6.0), 10, 100, generator(6))
    assert result.cut
    p = result.probability()
    assert "drive more" in p.warning
    assert (p.low, p.high) == (0.0, 1.0)


def test_splitting_of_what_never_fails_ends() -> None:
    result = split(lambda z: np.full(len(z), np.inf), 3, 400, generator(7))
    assert result.values
    assert set(result.values) == {0.0}
    assert result.probability().warning


def test_one_run_has_no_interval() -> None:
    p = Split(size=100, values=[0.01], simulations=300, failures=20).probability()
    assert (p.low, p.high) == (0.0, 1.0)
    assert "one run" in p.warning


def test_same_seed_same_search() -> None:
    one, two = (cross_entropy(tail(5), 5, 300, generator(8)) for _ in range(2))
    assert np.array_equal(np.concatenate(one.z), np.concatenate(two.z))


def test_search_survives_places_without_episodes() -> None:
    """+inf is no failure and no elite."""

    def holes(z: Floats) -> Floats:
        margins = tail(10)(z)
        margins[::3] = np.inf
        return margins

    for search in (cross_entropy, cma_es):
        found: Searched = search(holes, 10, 384, generator(9))
        assert found.failures > 0
        assert found.proposal is not None
        assert np.isfinite(found.proposal.mean).all()
    assert cross_entropy(lambda z: np.full(len(z), np.inf), 3, 200, generator(10)).failures == 0


def test_fit_needs_points() -> None:
    with pytest.raises(ValueError, match="at least one"):
        fit(np.zeros((0, 3)), np.zeros(0), nominal(3))


def test_a_walk_finds_what_lies_in_no_one_direction() -> None:
    """Failure far out in any direction of six among forty coordinates: no mean to move to, but room around every failure."""

    def far(z: Floats) -> Floats:
        return np.asarray(4.2 - np.linalg.norm(z[:, :6], axis=1))

    p = float(stats.chi2.sf(4.2**2, 6))
    found = walk(far, 40, 1024, generator(11))
    assert found.failures > 20 * p * 1024
    failures = np.concatenate(found.z)[np.concatenate(found.margins) <= 0.0]
    assert (np.linalg.norm(failures[:, :6], axis=1) >= 4.2).all()
    assert np.ptp(np.arctan2(failures[:, 1], failures[:, 0])) > math.pi  # on more than one side


def test_families_are_not_counted_twice() -> None:
    """One failure, in a corner that no fresh draw meets: all others that a walk finds descend from it, and are one family."""

    def corner(z: Floats) -> Floats:
        return np.asarray(14.0 - z[:, 0] - z[:, 1])

    start = np.zeros((2, 6))
    start[0, :2] = 7.5
    begun = Searched(z=[start], margins=[corner(start)])
    found = walk(corner, 6, 512, generator(16), found=begun)
    assert found.failures > 20
    assert found.families == 1
    plain = Searched(z=[start, start], margins=[corner(start), corner(start)])
    assert plain.families == plain.failures == 2  # drawn, not copied
    split_ = split(tail(6), 6, 1500, generator(17))
    assert 0 < split_.families < split_.failures
    assert split_.families <= split_.size * (len(split_.values) + 1)


def test_a_walk_goes_on_from_what_was_found() -> None:
    begun = cross_entropy(tail(20, within=20), 20, 128, generator(12))
    z = len(begun.z)
    found = walk(tail(20, within=20), 20, 256, generator(13), found=begun)
    assert found is begun
    assert len(found.z) == z + 2


def test_moves_leave_the_normal_as_it_is() -> None:
    z = moved(generator(14).standard_normal((4000, 5)), generator(15))
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.001
    assert np.abs(np.corrcoef(z.T) - np.eye(5)).max() < 0.08
