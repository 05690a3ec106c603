"""The verdict on made-up and on resampled real results: how often it is wrong, how soon it is right, and what it depends on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from agents.gate.design import ALL, FIRST, Design, GatedMetric
from agents.gate.fixed import mcnemar_midp
from agents.gate.verdict import Fixed, Referee, Sequential, referee_for

METRICS = ("collision_at_fault", "off_road", "success", "comfort", "nuplan_score")
FAMILIES = tuple(f"family{k}" for k in range(12))
RESULTS = json.loads((Path(__file__).parent / "gate_results.json").read_text())["families"]


def real_differences() -> np.ndarray:
    """(12 families, 512 episodes, 5 metrics): real policies against each other on real episodes, 1 is best."""

    def values(policy: dict[str, object]) -> np.ndarray:
        columns = []
        for name in METRICS:
            figures = policy[name]
            column = np.array([float(v) for v in figures])  # type: ignore[attr-defined]
            columns.append(1.0 - column if name in ("collision_at_fault", "off_road") else column)
        return np.stack(columns, axis=1)

    pairs = (("trained", "idm"), ("trained", "constant"), ("idm", "constant"))
    return np.stack([values(policies[b]) - values(policies[a]) for policies in RESULTS.values() for a, b in pairs])


def wide(alpha: float = 0.05, test: str = "sequential") -> Design:
    """Twelve families and five metrics: 60 hypotheses beside the five on the whole suite."""
    metrics = tuple(GatedMetric(name=name, margin=0.02, priority=1 + k // 2) for k, name in enumerate(METRICS))
    return Design(metrics=metrics, families=FAMILIES, per_round=(1,) * 12, alpha=alpha, test=test)


def single(margin: float = 0.02, test: str = "sequential") -> Design:
    return Design(metrics=(GatedMetric(name="success", margin=margin),), families=("one",), per_round=(1,), test=test)


def run(referee: Referee, rounds: np.ndarray) -> tuple[str, int]:
    """Decision and rounds used, looking after every round."""
    for count, d in enumerate(rounds, start=1):
        if said := referee.add(d):
            return said, count
    return referee.close(), len(rounds)


def no_change(rng: np.random.Generator, rounds: int) -> np.ndarray:
    """(rounds, 12, 5) real differences drawn again, with baseline and candidate exchanged at random: the mean is nothing everywhere."""
    pool = real_differences()
    drawn = pool[np.arange(12), rng.integers(pool.shape[1], size=(rounds, 12))]
    return drawn * rng.choice([-1.0, 1.0], size=(rounds, 12, 1))


def false_alarms(gates: int, rounds: int, seed: int) -> tuple[int, int]:
    """How many gates without a change found a regression, and how many of them in a family."""
    rng, alarms, families = np.random.default_rng(seed), 0, 0
    for _ in range(gates):
        referee = referee_for(wide())
        said, _ = run(referee, no_change(rng, rounds))
        alarms += said == "regression"
        families += bool(referee.worse[len(METRICS) :].any())
    return alarms, families


def test_sixty_hypotheses_beside_those_on_the_whole_suite() -> None:
    design = wide()
    assert len(design.hypotheses()) == 65
    assert design.scopes == (ALL, *FAMILIES)
    assert design.weights.sum() == pytest.approx(1.0)
    assert design.weights[:5].sum() == pytest.approx(FIRST)
    assert design.weights[0] == pytest.approx(2.0 * design.weights[2])  # priority 1 and 2


def test_false_alarms_are_rare() -> None:
    alarms, families = false_alarms(40, 60, seed=1)
    assert alarms <= 4  # 5 % of 40 is 2
    assert families <= 2


@pytest.mark.slow
def test_a_thousand_gates_without_a_change() -> None:
    """Looking after every round: at most 5 % find a regression, and at most 5 % one among the 60 of families."""
    alarms, families = false_alarms(1000, 150, seed=2)
    assert 0 < alarms <= 50
    assert families <= 50


def test_looking_at_every_round_would_fool_a_fixed_test() -> None:
    """What the sequential test is for: McNemar's, looked at after every twentieth pair, raises a false alarm far more often than in 5 %."""
    d = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], size=(80, 400), p=[0.1, 0.8, 0.1])
    fooled = np.mean([any(mcnemar_midp(row[:n]) <= 0.05 for n in range(20, 401, 20)) for row in d])
    assert fooled > 0.12


def unpaired(before: float, after: float, power: float = 0.95, alpha: float = 0.05) -> int:
    """Episodes of both policies together that a one-sided two-sample test of proportions takes for this power (normal approximation)."""
    z = stats.norm.ppf(1 - alpha) + stats.norm.ppf(power)
    return 2 * int(np.ceil(z**2 * (before * (1 - before) + after * (1 - after)) / (before - after) ** 2))


def drops(rng: np.random.Generator, drop: float, pairs: int) -> np.ndarray:
    """(pairs, 1, 1): a share of `drop` of episodes fails in addition; those in which the policy fails anyway stay as they were.

    The rate of success before is that of the policy for highways.
    """
    before = np.array([float(v) for v in RESULTS["highway"]["trained"]["success"]])
    base = before[rng.integers(len(before), size=pairs)]
    failed = rng.random(pairs) < drop / before.mean()
    return -(base * failed)[:, None, None]


def caught(drop: float, trials: int, pairs: int, seed: int) -> tuple[float, float]:
    """Share of trials in which the drop was called a regression, and mean number of episodes, two a pair."""
    rng = np.random.default_rng(seed)
    found = [run(referee_for(single()), drops(rng, drop, pairs)) for _ in range(trials)]
    return float(np.mean([said == "regression" for said, _ in found])), 2.0 * float(np.mean([used for _, used in found]))


@pytest.mark.parametrize(("drop", "pairs"), [(0.05, 500), (0.02, 1200)])
def test_drops_are_caught_with_few_episodes(drop: float, pairs: int) -> None:
    rate = np.mean([float(v) for v in RESULTS["highway"]["trained"]["success"]])
    power, episodes = caught(drop, 25, pairs, seed=4)
    assert power >= 0.92
    assert episodes <= unpaired(0.95, 0.95 - drop) / 3
    assert rate > 0.9  # what the comparison with 95 % rests on


@pytest.mark.slow
@pytest.mark.parametrize(("drop", "pairs"), [(0.05, 500), (0.02, 1200)])
def test_drops_are_caught_in_at_least_95_of_100(drop: float, pairs: int) -> None:
    power, episodes = caught(drop, 400, pairs, seed=5)
    assert power >= 0.95
    assert episodes <= unpaired(0.95, 0.95 - drop) / 3


def test_a_family_that_is_forgotten_is_named() -> None:
    rng = np.random.default_rng(6)
    d = no_change(rng, 80) * (rng.random((80, 12, 1)) < 0.2)
    d[:, 4, 2] = -1.0  # every success of one family is gone
    referee = referee_for(wide())
    assert run(referee, d)[0] == "regression"
    named = [(scope, metric.name) for (scope, metric), worse in zip(referee.design.hypotheses(), referee.worse, strict=True) if worse]
    assert ("family4", "success") in named
    assert {scope for scope, _ in named} <= {ALL, "family4"}
    assert {metric for _, metric in named} == {"success"}


def test_no_change_and_an_improvement_pass() -> None:
    for d in (np.zeros((400, 1, 1)), np.where(np.random.default_rng(7).random((400, 1, 1)) < 0.1, 1.0, 0.0)):
        said, used = run(referee_for(single()), d)
        assert said == "pass"
        assert used < 250


def test_too_few_episodes_are_inconclusive() -> None:
    assert run(referee_for(single()), np.zeros((30, 1, 1))) == ("inconclusive", 30)


def test_a_loss_of_the_margin_rarely_passes() -> None:
    rng = np.random.default_rng(8)
    passed = [run(referee_for(single(0.1)), rng.choice([-1.0, 0.0, 1.0], size=(200, 1, 1), p=[0.13, 0.84, 0.03]))[0] for _ in range(100)]
    assert passed.count("pass") <= 9  # 5 % are 5


def test_a_family_margin_has_to_be_kept_too() -> None:
    metric = GatedMetric(name="success", margin=0.1, family_margin=0.2)
    design = Design(metrics=(metric,), families=("a", "b"), per_round=(3, 1))
    referee, free = (
        referee_for(design),
        referee_for(Design(metrics=(GatedMetric(name="success", margin=0.1),), families=("a", "b"), per_round=(3, 1))),
    )
    d = np.zeros((4, 1))
    used = [next(k for k in range(1, 100) if t.add(d) == "pass") for t in (referee, free)]
    assert used[0] > used[1]
    assert referee.kept.all()
    assert np.isnan(free.p_kept[1:]).all()


def test_the_order_within_a_round_does_not_matter() -> None:
    rng = np.random.default_rng(9)
    d = no_change(rng, 1)[0]
    design = Design(metrics=wide().metrics, families=("one",) * 12, per_round=(1,) * 12)
    referees = [Sequential(design), Sequential(design)]
    referees[0].add(d)
    referees[1].add(d[::-1])
    assert referees[0].p_worse == pytest.approx(referees[1].p_worse)


def test_lost_pairs_count_for_nothing() -> None:
    whole, holed = Sequential(single()), Sequential(single())
    for value in (0.0, -1.0, 0.0):
        whole.add([[value]])
        holed.add([[value]])
        holed.add([[np.nan]])
    assert whole.p_worse == pytest.approx(holed.p_worse)
    assert whole.p_kept == pytest.approx(holed.p_kept)


@pytest.mark.parametrize(("share", "said"), [(0.15, "regression"), (0.0, "pass")])
def test_fixed_tests_decide_at_the_end_only(share: float, said: str) -> None:
    referee = Fixed(single(0.05, "fixed"))
    d = np.where(np.random.default_rng(10).random((200, 1, 1)) < share, -1.0, 0.0)
    assert all(referee.add(row) is None for row in d)
    assert referee.close() == said
    assert referee.p_worse[0] == pytest.approx(mcnemar_midp(d.ravel()))


def test_fixed_tests_of_scores_use_ranks() -> None:
    design = Design(metrics=(GatedMetric(name="nuplan_score", margin=0.05, kind="score"),), families=("a",), per_round=(1,), test="fixed")
    rng = np.random.default_rng(11)
    for middle, said in ((-0.05, "regression"), (0.0, "pass"), (-0.04, "regression")):
        assert run(Fixed(design), rng.normal(middle, 0.05, (100, 1, 1)))[0] == said


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="test='bayes'"):
        referee_for(single(test="bayes"))
    with pytest.raises(ValueError, match=r"alpha=0\.5"):
        Design(metrics=wide().metrics, families=("a",), per_round=(1,), alpha=0.5)
    with pytest.raises(ValueError, match="needs metrics"):
        Design(metrics=(), families=("a",), per_round=(1,))
