"""The study of perception: its plan, its statistics, and the report it writes."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import cli
from agents.evaluation import suite
from agents.evaluation.rollout import EpisodeResult
from agents.evaluation.stats import LEVEL, of_means, paired_difference, proportion
from agents.evaluation.struck import Struck
from agents.studies.arms import SWEEPS, Arm, StudyError, plan_arms
from agents.studies.failures import conditions
from agents.studies.gap import Episodes, compare, outcomes
from agents.studies.page import page
from agents.studies.perception import as_data, study
from perception.noise import even_noise
from perception.noise_card import save_noise

SEEDS = range(60)


def test_paired_differences_are_newcombes() -> None:
    """The example of Newcombe's paper: 36 both, 12 the first only, 2 the second only, none neither."""
    first, second = [True] * 48 + [False] * 2, [True] * 36 + [False] * 12 + [True] * 2
    found = paired_difference(first, second)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0569, 0.3404), abs=1e-4)
    back = paired_difference(second, first)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    same = paired_difference([True] * 20, [True] * 20)
    assert same.value == 0.0
    assert same.low < -0.05  # twenty pairs alike do not prove that there is no difference
    assert math.isnan(paired_difference([], []).value)
    with pytest.raises(ValueError, match="1 and 2 episodes"):
        paired_difference([True], [True, False])


def test_paired_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    chances = np.array([0.72, 0.13, 0.05, 0.10])  # both, first only, second only, neither
    hits = 0
    for _ in range(600):
        kind = rng.choice(4, size=80, p=chances)
        found = paired_difference([bool(b) for b in kind < 2], [bool(b) for b in (kind == 0) | (kind == 2)])
        hits += found.low <= chances[1] - chances[2] <= found.high
    assert proportion(hits, 600).high > LEVEL
    assert hits / 600 > 0.92


def test_statistics_of_means_keep_pairs_together() -> None:
    """Two columns that go up and down together: their difference is sure though each mean is not."""
    noise = np.random.default_rng(0).normal(0.0, 5.0, 300)
    table = np.stack([noise + 1.0, noise], axis=1)
    found = of_means([table[:200], table[200:]], lambda m: m[..., 0] - m[..., 1])
    assert (found.value, found.low, found.high, found.n) == pytest.approx((1.0, 1.0, 1.0, 300))
    alone = of_means([table], lambda m: m[..., 0])
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * 5.0 / math.sqrt(300), rel=0.15)
    one = of_means([table[:1]], lambda m: m[..., 0])
    assert one.n == 1
    assert math.isnan(one.low)


def arms_of(*texts: str, sweeps: tuple[str, ...] = (), **given: str) -> list[str]:
    levels = ("truth", "visible", "noisy", "perceived")
    return [arm.spec for arm in plan_arms(texts, levels, given, sweeps)]


def test_policies_are_driven_on_every_level_or_on_the_one_they_name() -> None:
    assert arms_of("highway", "idm", detector="d.safetensors", noise="n.json", weather="fog") == [
        "random",
        "highway@truth",
        "highway@visible",
        "highway@noisy,noise=n.json,weather=fog",
        "highway@perceived,detector=d.safetensors,weather=fog",
        "idm",
    ]
    assert arms_of("highway@perceived,weather=night", "merge@visible", weather="fog") == [
        "random",
        "highway@perceived,weather=night",
        "merge@visible",
    ]


def test_files_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    for folder in ("a/run", "b/run", "other"):
        (tmp_path / folder).mkdir(parents=True)
    texts = [f"{tmp_path / folder}@truth" for folder in ("a/run", "b/run", "other")]
    arms = plan_arms([*texts, "highway@truth"], ["truth"], {})
    assert [arm.policy for arm in arms] == ["random", "a/run", "b/run", "other", "highway"]
    assert [arm.spec for arm in arms][1:4] == texts  # what is driven is still the file
    assert [arm.policy for arm in plan_arms(texts[:1], ["truth"], {}, names={str(tmp_path / "a/run"): "mine"})] == ["random", "mine"]


def test_sweeps_begin_at_the_level_itself() -> None:
    arms = plan_arms(["highway"], ["truth"], {"noise": "n.json"}, ("recall", "latency"))
    assert [arm.spec for arm in arms if not arm.sweep] == ["random", "highway@truth", "highway@noisy,noise=n.json"]
    swept = [arm for arm in arms if arm.sweep]
    assert [(arm.sweep, arm.value) for arm in swept] == [(name, value) for name in ("recall", "latency") for value in SWEEPS[name]]
    assert {arm.base for arm in swept} == {"highway@noisy,noise=n.json"}
    assert swept[0].spec == "highway@noisy,noise=n.json,recall=0.9"
    assert not any(arm.sweep for arm in plan_arms(["highway@truth"], ["truth"], {}, ("recall",)))


@pytest.mark.parametrize(
    ("texts", "levels", "sweeps", "level", "rule"),
    [
        (["highway"], ["trruth"], (), "noisy", "no level 'trruth'; did you mean 'truth'"),
        (["highway@visble"], ["truth"], (), "noisy", "no level 'visble'; did you mean 'visible'"),
        (["highway", "highway@truth"], ["truth"], (), "noisy", "'highway@truth' would be driven twice"),
        (["highway@noisy,recall=0.5"], ["truth"], ("recall",), "noisy", "sets recall, which is swept"),
        (["highway"], ["truth"], ("recall", "drop"), "perceived", "recall can be changed in the error model"),
        (["highway"], ["truth"], ("hue",), "noisy", "no sweep 'hue'"),
    ],
)
def test_plans_that_cannot_be(texts: list[str], levels: list[str], sweeps: tuple[str, ...], level: str, rule: str) -> None:
    with pytest.raises(StudyError, match=rule):
        plan_arms(texts, levels, {}, sweeps, level)


def result(spec: str, seed: int, reward: float, *, struck: Struck | None = None, error: str = "") -> EpisodeResult:
    metrics = {"success": float(reward > 0.5), "collision": float(reward <= 0.5), "duration": seed, "distance": reward}
    return EpisodeResult(
        policy=spec, scenario="highway", seed=seed, end="error" if error else "arrived", metrics={} if error else metrics,
        reward=None if error else reward, struck=struck, error=error,
    )  # fmt: skip


def made_up() -> tuple[list[Arm], dict[str, list[EpisodeResult]]]:
    """A policy that loses a quarter of the way to random at every seed on `perceived`, nothing on `visible`."""
    arms = plan_arms(["highway"], ["truth", "visible", "perceived"], {})
    luck = np.random.default_rng(0).normal(0.0, 0.3, len(SEEDS))
    level = {"random": 0.0, "highway@truth": 1.0, "highway@visible": 1.0, "highway@perceived": 0.75}
    far = Struck(kind="truck", cause="missed", hidden=0.25, distance=30.0, noticed=15.0, error=1.5)
    found = {
        spec: [result(spec, s, float(mean + luck[s]), struck=far if mean + luck[s] <= 0.5 and mean else None) for s in SEEDS]
        for spec, mean in level.items()
    }
    return arms, found


def test_the_gap_is_the_share_of_the_way_to_random() -> None:
    arms, found = made_up()
    table = {o.arm.spec: o for o in outcomes(arms, found)}
    gap = table["highway@perceived"].gap
    assert gap is not None
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.25, 0.25, 0.25))  # the same at every seed, so it is sure
    assert table["highway@visible"].gap == replace(gap, value=0.0, low=0.0, high=0.0)
    assert (table["highway@truth"].gap, table["random"].gap) == (None, None)
    assert table["highway@visible"].within == "yes"
    shares = [np.mean([r.metrics["success"] for r in found[f"highway@{level}"]]) for level in ("perceived", "truth")]
    less = table["highway@perceived"].less_truth
    assert less is not None
    assert less.success.value == pytest.approx(shares[0] - shares[1])
    assert less.reward.value == pytest.approx(-0.25)


def test_no_gap_where_the_truth_is_no_better_than_random() -> None:
    arms, found = made_up()
    found["random"] = [result("random", s, 1.0 + (-1) ** s * 0.5) for s in SEEDS]
    outcome = outcomes(arms, found)[-1]
    assert outcome.gap is None
    assert outcome.no_gap.startswith("truth is not clearly better than random: ")


def test_only_seeds_that_both_drove_are_compared() -> None:
    first: Episodes = {("highway", s): result("a", s, 1.0) for s in range(10)}
    second: Episodes = {("highway", s): result("b", s, 0.6) for s in range(5, 15)}
    found = compare(first, second)
    assert (found.episodes, found.reward.value) == (5, pytest.approx(0.4))


def test_weather_is_that_of_the_cameras() -> None:
    drawn = conditions(range(400), "any")
    assert {*drawn.values()} == {"clear", "fog", "rain", "night"}
    assert 0.3 < np.mean([name == "clear" for name in drawn.values()]) < 0.5
    assert {*conditions(range(5), "night").values()} == {"night"}


class Page(HTMLParser):
    """Collects tags and what they load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value and value[0] != "#"]


def the_study(**changes: Any) -> Any:
    arms, found = made_up()
    results = [r for arm in arms for r in found[arm.spec]]
    labels = suite.policy_labels([arm.spec for arm in arms])
    results = [replace(r, policy=labels[r.policy]) for r in results]
    return study(arms, results, title="What <b>it</b> costs", command="closedloop study", scenarios=["highway"], seeds=SEEDS, **changes)


def test_the_page_says_what_was_found_and_loads_nothing() -> None:
    made = the_study()
    text = page(made)
    told = Page(text)
    assert told.links == ["data:,"]
    assert not {"script", "img", "iframe", "object"} & told.tags
    assert "<b>it</b>" not in text
    assert "+0.25 [+0.25, +0.25]" in re.sub(r"</?small>", "", text)
    assert text.count("<svg") == 3  # levels, weather, causes; nothing was swept
    assert page(made) == text
    for word in ("truth", "visible", "perceived", "random", "fog", "missed", "truck"):
        assert word in text


def test_the_data_are_json_and_complete() -> None:
    data = json.loads(json.dumps(as_data(the_study())))
    assert [arm["arm"] for arm in data["arms"]] == ["random", "highway@truth", "highway@visible", "highway@perceived"]
    assert data["arms"][-1]["gap"]["value"] == pytest.approx(0.25)
    assert {row["condition"] for row in data["weathers"]} == {"clear", "fog", "rain", "night"}
    seen = data["collisions"][-1]
    assert seen["causes"]["missed"] == seen["collisions"] == seen["noticed"]["10 to 20 m"] == seen["hidden"]["hidden up to half"] > 0
    assert (data["errors"], data["interrupted"]) == (0, False)


@pytest.fixture
def noise(tmp_path: Path) -> str:
    model = even_noise(miss=0.1, miss_memory=0.8, false_rate=0.2, false_life=4)
    return str(save_noise(tmp_path / "noise.json", model))


def run(scenario: str, noise: str, out: Path, *more: str) -> int:
    words = ["study", "perception", "--policy", "constant", "--policy", "highway", "--scenario", scenario, "--episodes", "2"]
    return cli.run([*words, "--level", "truth", "--level", "noisy", "--noise", noise, "--workers", "1", "--out", str(out), *more])


def test_the_command_drives_and_reports(brief: str, noise: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(brief, noise, tmp_path / "out", "--sweep", "recall", "--json") == 0
    shown = capsys.readouterr()
    data = json.loads(shown.out)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == data
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()
    episodes = json.loads((tmp_path / "out" / "episodes.json").read_text())
    assert len(episodes) == 2 * len(data["arms"]) == 2 * (4 + len(SWEEPS["recall"]))
    (curve,) = data["sensitivity"]
    values = [point["value"] for point in curve["points"]]
    assert values == sorted([1.0, *SWEEPS["recall"]])
    assert all(a < b for a, b in pairwise(values))
    assert "16 of 16 episodes" in shown.err
    assert run(brief, noise, tmp_path / "out") == 2  # not empty
    assert "choose another --out" in capsys.readouterr().err


def test_what_is_lost_and_what_is_interrupted_is_told(
    brief: str, noise: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = suite.judge

    def losing(*args: Any, **kwargs: Any) -> list[EpisodeResult]:
        results = real(*args, **kwargs)
        return [replace(r, end="error", error="gone", metrics={}, reward=None) if r.policy == "constant" else r for r in results]

    def interrupting(*args: Any, **kwargs: Any) -> list[EpisodeResult]:
        results = real(*args, **kwargs)
        rest = [replace(r, end="interrupted", error="interrupted", metrics={}, reward=None) for r in results[3:]]
        raise suite.Interrupted([*results[:3], *rest])

    for judge, code, said in ((losing, 4, "2 of 8 episodes were lost to errors"), (interrupting, 130, "interrupted; not driven")):
        monkeypatch.setattr(suite, "judge", judge)
        assert run(brief, noise, tmp_path / str(code), "--sweep", "none") == code
        assert said in capsys.readouterr().err
        text = (tmp_path / str(code) / "report.html").read_text()
        assert ("Lost to errors" if code == 4 else "Interrupted.") in text
        told = {arm["arm"]: arm for arm in json.loads((tmp_path / str(code) / "report.json").read_text())["arms"]}
        assert told["random"]["episodes"] == 2
        partly = told[f"highway@noisy,noise={noise}"]
        assert (partly["no_gap"] or "").startswith("interrupted: what was driven is mostly what ended soon") == (code == 130)


def test_dry_runs_and_mistakes(brief: str, noise: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(brief, noise, tmp_path / "dry", "--dry-run", "--sweep", "drop", "--json") == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2 * (4 + len(SWEEPS["drop"]))
    assert not (tmp_path / "dry").exists()
    missing = str(tmp_path / "none.safetensors")
    for words, said in (
        (["--level", "perceived", "--detector", missing, "--sweep", "none"], "closedloop pretrain detector --domain driving"),
        (["--noise", str(tmp_path / "none.json")], "--noise FILE"),
        (["--sweep", "all", "--sweep", "drop"], "stand alone"),
        (["--cross"], "give --train STEPS too"),
        (["--train", "1M"], "either --policy"),
        (["--level", "noisey"], "did you mean 'noisy'"),
    ):
        assert run(brief, noise, tmp_path / "bad", *words) == 2, words
        assert said in capsys.readouterr().err, words
        assert not (tmp_path / "bad").exists()


@pytest.mark.slow
def test_one_policy_is_trained_for_every_level(brief: str, noise: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("envs=2", "episodes=2", "validation_episodes=2", "evaluations=1", "network=[8]", "tensorboard=false", "hyper.n_steps=4")
    words = [part for setting in (*small, "hyper.batch_size=8", "hyper.n_epochs=1") for part in ("--set", setting)]
    out = ["--level", "truth", "--level", "noisy", "--noise", noise, "--out", str(tmp_path / "out"), "--sweep", "none", "--json"]
    plan = ["study", "perception", "--scenario", brief, "--episodes", "2", "--train", "8", *words, *out]
    assert cli.run([*plan, "--dry-run"]) == 0
    assert {*json.loads(capsys.readouterr().out)} == {"truth", "noisy"}
    assert cli.run([*plan, "--cross"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [(arm["policy"], arm["level"]) for arm in data["arms"][1:]] == [
        (f"trained on {mine}", level) for mine in ("truth", "noisy") for level in ("truth", "noisy")
    ]
    assert [(row["level"], row["first"].split("@")[1].partition(",")[0]) for row in data["differences"]] == [
        ("truth", "truth"),
        ("noisy", "noisy"),
    ]
    assert (tmp_path / "out" / "policies" / "noisy" / "policy.safetensors").exists()
