"""Recipes, each known by several training runs: which runs are meant, what the tests say of them, and the gate from end to end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from scipy import stats

from agents import cli
from agents.gate.design import Design, GatedMetric
from agents.gate.journal import read
from agents.gate.permutation import EXCHANGES, Runs, gain, least_p, p_kept, p_worse, run_mean
from agents.gate.recipes import paired, recipe
from agents.gate.report import report_schema
from agents.policies.base import PolicyError, load_policy
from agents.policies.bundle import save_bundle

# ---------------------------------------------------------------- statistics


@pytest.mark.parametrize("n", [2, 5, 8])
def test_all_pairs_worse_is_one_way_of_all(n: int) -> None:
    base, drops = np.linspace(0.5, 0.9, n), np.linspace(0.01, 0.2, n)
    assert p_worse(base, base - drops, paired=True) == pytest.approx(0.5**n)
    assert p_worse(base, base + drops, paired=True) == 1.0
    assert p_kept(base, base, 0.1, paired=True) == pytest.approx(0.5**n)
    assert least_p(n, n, paired=True) == 0.5**n


@pytest.mark.parametrize(("n", "m"), [(2, 3), (4, 4), (5, 7)])
def test_all_runs_worse_is_one_way_of_all(n: int, m: int) -> None:
    base, cand = np.linspace(0.8, 0.9, n), np.linspace(0.5, 0.7, m)
    assert p_worse(base, cand, paired=False) == pytest.approx(1.0 / math.comb(n + m, n)) == least_p(n, m, paired=False)


def test_of_runs_that_succeed_or_fail_it_is_fishers_exact_test() -> None:
    for good in ((5, 1), (6, 3), (2, 2), (0, 4)):
        base, cand = (np.arange(6) < count for count in good)
        table = [[good[0], 6 - good[0]], [good[1], 6 - good[1]]]
        assert p_worse(base, cand, paired=False) == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)


def test_of_pairs_that_differ_alike_it_is_the_sign_test() -> None:
    for worse in range(9):
        base = np.full(8, 0.5)
        cand = base + np.where(np.arange(8) < worse, -0.1, 0.1)
        assert p_worse(base, cand, paired=True) == pytest.approx(stats.binom.cdf(8 - worse, 8, 0.5))


def test_keeping_up_is_being_better_than_worse_by_the_margin() -> None:
    rng = np.random.default_rng(1)
    base, cand = rng.normal(0.8, 0.05, 6), rng.normal(0.8, 0.05, 6)
    for pairs in (True, False):
        assert p_kept(base, cand, 0.03, paired=pairs) == pytest.approx(p_worse(cand + 0.03, base, paired=pairs))


def test_many_runs_are_exchanged_at_random_and_agree_with_the_t_test() -> None:
    rng = np.random.default_rng(2)
    base, cand = rng.normal(0.80, 0.03, 30), rng.normal(0.79, 0.03, 30)
    assert least_p(30, 30, paired=True) == 1.0 / (EXCHANGES + 1)
    assert p_worse(base, cand, paired=False) == pytest.approx(stats.ttest_ind(cand, base, alternative="less").pvalue, abs=0.01)
    assert p_worse(base, cand, paired=True) == pytest.approx(stats.ttest_rel(cand, base, alternative="less").pvalue, abs=0.01)


def test_intervals_are_those_of_a_mean() -> None:
    """Of many runs: the mean plus or minus 1.96 standard errors; pairs that belong together make the gain's narrower."""
    rng = np.random.default_rng(3)
    luck = rng.normal(0.0, 0.05, 400)
    base, cand = 0.8 + luck + rng.normal(0.0, 0.01, 400), 0.75 + luck + rng.normal(0.0, 0.01, 400)
    apart, together, alone = gain(base, cand, paired=False), gain(base, cand, paired=True), run_mean(base)
    assert apart.value == together.value == pytest.approx(cand.mean() - base.mean())
    for found, error in ((apart, math.sqrt(base.var() + cand.var())), (together, (cand - base).std()), (alone, base.std())):
        assert found.high - found.low == pytest.approx(2 * 1.96 * error / 20.0, rel=0.1)
        assert found.low < found.value < found.high
    assert (run_mean([0.5]).value, math.isnan(run_mean([0.5]).low)) == (0.5, True)


def design(margin: float = 0.05) -> Design:
    metrics = tuple(GatedMetric(name=name, margin=margin, priority=1) for name in ("success", "comfort"))
    return Design(metrics=metrics, families=("a", "b"), per_round=(1, 1))


def judged(rng: np.random.Generator, n: int, drop: float, *, paired: bool) -> str:
    """Runs of two recipes that differ by `drop`: 3 points of luck a run, half of it shared by those of one seed."""
    luck = rng.normal(0.0, 0.02, (n, 3, 2))
    base, cand = (0.8 + luck + rng.normal(0.0, 0.02, (n, 3, 2)) for _ in range(2))
    return Runs(design(), base, cand - drop, paired=paired).close()


@pytest.mark.parametrize("paired", [True, False])
def test_error_rates(paired: bool) -> None:
    """Recipes that are equally good: at most 5 % regressions over all six tests. One that is worse by the margin: at most 5 % pass."""
    rng, trials, n = np.random.default_rng(4), 150, 7 if paired else 5
    limit = trials * 0.05 + 3.0 * math.sqrt(trials * 0.05 * 0.95)
    assert sum(judged(rng, n, 0.0, paired=paired) == "regression" for _ in range(trials)) <= limit
    assert sum(judged(rng, n, 0.05, paired=paired) == "pass" for _ in range(trials)) <= limit


def test_power() -> None:
    rng = np.random.default_rng(5)
    assert sum(judged(rng, 8, 0.1, paired=True) == "regression" for _ in range(20)) >= 19
    assert sum(judged(rng, 8, -0.03, paired=True) == "pass" for _ in range(20)) >= 15
    assert judged(rng, 3, 0.1, paired=True) == "inconclusive"  # whatever the figures: 1 in 8


def test_episodes_do_not_stand_for_runs() -> None:
    """Of two runs of one recipe, ten thousand episodes each know that one is worse. That is no regression of the recipe."""
    rng = np.random.default_rng(6)
    assert all(judged(rng, 2, 0.0, paired=False) == "inconclusive" for _ in range(10))


# ---------------------------------------------------------------- which runs


Make = Callable[..., str]


@pytest.fixture
def train(tmp_path: Path) -> Make:
    """Runs that differ as those of one recipe do: the shipped policy for merging with noise on its weights. bias: on "slower"."""

    def make(name: str, seeds: tuple[int, ...], bias: float = 0.0) -> str:
        bundle = load_policy("merge").bundle  # type: ignore[attr-defined]
        for seed in seeds:
            rng, tensors = np.random.default_rng(seed), dict(bundle.tensors)
            last = f"layers.{len(bundle.spec.network.sizes) - 2}.bias"
            noise = rng.normal(0.0, 0.01, tensors[last].shape)
            tensors[last] = (tensors[last] + noise + bias * np.eye(5)[3]).astype(np.float32)
            training = bundle.spec.training.model_copy(update={"seed": seed})
            spec = bundle.spec.model_copy(update={"training": training, "name": name})
            save_bundle(tmp_path / name / f"run-{seed}" / "policy.safetensors", replace(bundle, spec=spec, tensors=tensors))
        return str(tmp_path / name)

    return make


def test_runs_are_named_by_folder_pattern_or_list(train: Make, tmp_path: Path) -> None:
    folder = train("new", (10, 9, 2))
    expected = [(2, f"{folder}/run-2"), (9, f"{folder}/run-9"), (10, f"{folder}/run-10")]
    assert [(run.seed, run.spec) for run in recipe(folder).runs] == expected
    assert recipe(f"{folder}/run-*").runs == recipe(folder).runs
    assert recipe(f"{folder}/run-9,{folder}/run-2,{folder}/run-10").runs == recipe(folder).runs
    assert [run.seed for run in recipe(f"{folder}/run-?").runs] == [2, 9]
    files = recipe(f"{folder}/*/policy.*").runs  # not the cards beside them
    assert [Path(run.spec).name for run in files] == ["policy.safetensors"] * 3
    for end in ("~steer_bias=0.1,brake_limit=0.5", "@noisy,latency=1"):
        assert [run.spec for run in recipe(folder + end).runs] == [spec + end for _, spec in expected]
    both = recipe(f"highway~steer_bias=0.1,brake_limit=0.5,{folder}/run-9@noisy,latency=1,idm")
    assert [(run.seed, run.spec) for run in both.runs] == [
        (0, "highway~steer_bias=0.1,brake_limit=0.5"),
        (9, f"{folder}/run-9@noisy,latency=1"),
        (None, "idm"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("merge", "1 training run: a recipe is judged by two or more"),
        ("merge,merge", "are the same policy"),
        ("merge,merge~steer_bias=0.1", "are the same policy"),
        ("merge,hihgway", "did you mean 'highway'"),
        ("nowhere/run-*", "no file or folder matches"),
        ("merge,,highway", "no policy is named there"),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        recipe(text)


def test_runs_are_paired_by_equal_seeds(train: Make) -> None:
    old, new, other = train("old", (1, 2)), train("new", (1, 2), 1.0), train("other", (1, 3))
    assert paired(recipe(old), recipe(new))
    assert not paired(recipe(old), recipe(other))
    assert not paired(recipe("constant,idm"), recipe("random,idm"))  # they have no seeds
    assert not paired(recipe(f"{old}/run-1,{new}/run-1"), recipe(f"{old}/run-1,{new}/run-1"))  # which belongs to which?


# ---------------------------------------------------------------- from end to end


def compare(*words: str, suite: str) -> int:
    return cli.run(["compare", *words, "--suite", suite, "--unit", "seed", "--workers", "1"])


@pytest.fixture
def tiny(mini: str) -> str:
    """Two pairs of each stratum, and one metric."""
    text = Path(mini).read_text().replace("episodes: 12", "episodes: 2").replace("  - {metric: success, margin: 0.25, priority: 1}\n", "")
    Path(mini).write_text(text)
    return mini


def test_a_recipe_that_got_worse(train: Make, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, out = train("old", (1, 2, 3, 4, 5)), train("new", (1, 2, 3, 4, 5), 1e3), tmp_path / "out"
    assert compare(old, new, "--out", str(out), "--json", suite=tiny) == 1
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    jsonschema.validate(report, report_schema())
    assert report == json.loads((out / "report.json").read_text())
    assert (report["unit"], report["runs_paired"], report["verdict"], report["test"]) == ("seed", True, "regression", "permutation")
    assert [(run["role"], run["seed"]) for run in report["runs"]] == [(role, k) for role in ("baseline", "candidate") for k in range(1, 6)]
    whole = report["findings"][0]
    assert (whole["scope"], whole["metric"], whole["state"]) == ("all", "route_progress", "worse")
    assert (whole["worse"], whole["better"], whole["same"]) == (5, 0, 0)
    assert whole["p_worse"] == 1 / 32
    for role, side in (("baseline", "baseline"), ("candidate", "candidate")):
        means = [run["figures"]["route_progress"] for run in report["runs"] if run["role"] == role]
        assert whole[side]["value"] == pytest.approx(np.mean(means))
        assert whole[side]["n"] == 5
    _, records = read_records(out)
    mine = [record["metrics"]["route_progress"] for record in records if record["role"] == "candidate 3"]
    (third,) = [run for run in report["runs"] if (run["role"], run["number"]) == ("candidate", 3)]
    assert len(mine) == 4
    assert third["figures"]["route_progress"] == pytest.approx(np.mean(mine))
    assert "5 training runs are few: below 10" in shown.err
    assert "The recipe got worse: route_progress on the whole suite" in report["because"]
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    for said in ("Training runs: 5 of the baseline and 5 of the candidate, paired by the seeds", "run-3"):
        assert said in page
        assert said in text
    assert "5 : 0" not in text
    assert "<testsuite" in (out / "junit.xml").read_text()
    assert compare(old, new, "--out", str(out), "--resume", suite=tiny) == 1  # without driving
    assert json.loads((out / "report.json").read_text()) == report
    assert compare(old, new, "--out", str(out), suite=tiny) == 2
    assert cli.run(["compare", f"{old}/run-1", f"{new}/run-1", "--suite", tiny, "--out", str(out), "--resume"]) == 2
    assert "unit: seed then, nothing now" in capsys.readouterr().err


def read_records(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    bodies, _, _ = read(out / "journal.jsonl")
    return bodies[0], bodies[1:]


def test_a_recipe_against_itself_and_against_another_seeding(
    train: Make, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, other = train("old", (1, 2)), train("other", (3, 4))
    assert compare(old, f"{old}/*", "--out", str(tmp_path / "a"), suite=tiny) == 0
    shown = capsys.readouterr()
    assert "Nothing has changed: all episodes of 2 pairs of training runs went the same way to the last bit." in shown.out
    assert compare(old, other, "--out", str(tmp_path / "b"), suite=tiny) == 3
    shown = capsys.readouterr()
    assert "neither a pass nor a regression can come of it" in shown.err
    assert "not paired, as their seeds differ" in (tmp_path / "b" / "report.md").read_text()
    report = json.loads((tmp_path / "b" / "report.json").read_text())
    assert (report["pairs_planned"], report["findings"][0]["pairing_gain"]) == (0, None)
    assert sum(report["findings"][0][key] for key in ("better", "worse", "same")) == 4  # each with each


def test_a_run_that_breaks_is_named(
    train: Make, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agents.evaluation import jobs

    old, load = train("old", (1, 2)), jobs.load_policy

    def broken(spec: str, **options: Any) -> Any:
        if spec.endswith("run-2"):
            raise RuntimeError("gone")
        return load(spec, **options)

    monkeypatch.setattr(jobs, "load_policy", broken)
    words = (old, f"{old}/*", "--out", str(tmp_path / "out"))
    assert compare(*words, suite=tiny) == 4
    shown = capsys.readouterr()
    assert "lost: candidate 2, brief, seed 0: RuntimeError: gone" in shown.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [run["lost"] for run in report["runs"]] == [0, 4, 0, 4]
    assert (len(report["lost"]), report["pairs_lost"]) == (8, 4)
    monkeypatch.undo()
    assert compare(*words, "--resume", suite=tiny) == 0


def test_the_plan_of_recipes(train: Make, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = train("old", (1, 2)), train("new", (1, 2), 1.0)
    assert compare(old, new, "--dry-run", suite=tiny) == 0
    shown = capsys.readouterr().out
    assert "4 runs, in pairs of equal seeds; 4 episodes each, 16 to drive" in shown
    assert compare(old, new, "--dry-run", "--json", suite=tiny) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["episodes"], plan["paired"], plan["least_p"]) == (16, True, 0.25)


@pytest.mark.parametrize(
    "words", [["a"], ["a", "b", "--full"], ["a", "b", "--test", "fixed"], ["a", "--baseline", "x.json"]], ids=lambda words: " ".join(words)
)
def test_what_does_not_fit_recipes_is_bad_input(words: list[str], tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*words, suite=tiny) == 2
    assert capsys.readouterr().out == ""
