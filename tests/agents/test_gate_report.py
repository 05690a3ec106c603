"""Reports and baselines as files: what they say, their schema, and what becomes of edited ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from agents.evaluation.stats import iqm, proportion
from agents.gate.baseline import Baseline, BaselineError, load_baseline
from agents.gate.drive import BASELINE, CANDIDATE, Collector, Half
from agents.gate.findings import make_report
from agents.gate.pages import junit, markdown, row, told
from agents.gate.plan import GatePlan, plan_from
from agents.gate.report import Report, report_schema
from agents.gate.run import Order, run_gate
from agents.gate.verdict import referee_for
from scenarios import load_suite

CONFIG: dict[str, Any] = {
    "policies": {"baseline": {"name": "old"}, "candidate": {"name": "new"}}, "compile": False, "versions": {"closedloop": "0.1.0"},
}  # fmt: skip


def report_on(plan: GatePlan, half: Callable[[str, str, int], Half], **changes: Any) -> Report:
    """A report on made-up halves, `half` (role, scenario, seed)."""
    collector = Collector(plan, referee_for(plan.design), full=True)
    for stratum in plan.strata:
        for seed in stratum.seeds:
            for role in (BASELINE, CANDIDATE):
                collector.put(role, stratum.name, seed, half(role, stratum.name, seed))
    return make_report(collector, config=CONFIG, run="abc", candidate="runs/my policy", **changes)


def half(role: str, scenario: str, seed: int, worse: int = 0) -> Half:
    """Success but for every 6th seed; the candidate fails `worse` further seeds of the short ones and progresses a little less."""
    fails = seed % 6 == 0 or (role == CANDIDATE and scenario == "brief/easy" and seed < worse)
    values = (float(not fails), 0.5 + 0.01 * seed - 0.02 * (role == CANDIDATE))
    return Half(end="collision" if fails else "arrived", values=values, fingerprint=f"{role}{scenario}{seed}")


@pytest.fixture
def plan(mini: str) -> GatePlan:
    return plan_from(load_suite(mini))


@pytest.fixture
def reports(plan: GatePlan) -> dict[str, Report]:
    """One of each verdict."""
    gone = Half(end="error", error="RuntimeError: \x07 gone <&>")
    return {
        "regression": report_on(plan, lambda r, s, k: half(r, s, k, worse=12)),
        "inconclusive": report_on(plan, lambda r, s, k: half(r, s, k, worse=3)),
        "pass": report_on(plan, lambda r, s, k: replace(half("both", s, k), fingerprint="0" if r == BASELINE else f"{k}")),
        "identical": report_on(plan, lambda r, s, k: half("both", s, k)),
        "incomplete": report_on(plan, lambda r, s, k: gone if (s, k) == ("brief", 3) and r == CANDIDATE else half("both", s, k)),
        "crashed": report_on(plan, lambda r, s, k: half("both", s, k), incidents=["a process died"]),
    }


def test_verdicts_and_exit_codes(reports: dict[str, Report]) -> None:
    assert {name: (r.verdict, r.exit_code) for name, r in reports.items()} == {
        "regression": ("regression", 1),
        "inconclusive": ("inconclusive", 3),
        "pass": ("pass", 0),
        "identical": ("pass", 0),
        "incomplete": ("incomplete", 4),
        "crashed": ("incomplete", 4),
    }
    assert [name for name, r in reports.items() if r.identical] == ["identical", "crashed"]
    assert {f.state for f in reports["identical"].findings} == {"same"}
    assert "success in short (0.833 to 0.000)" in reports["regression"].because
    assert "Nothing has changed: all 24 pairs" in reports["identical"].because
    assert "1 episode lost" in reports["incomplete"].because
    assert "1 process died" in reports["crashed"].because
    assert reports["crashed"].figures_say == "pass"
    assert "success on the whole suite" in reports["inconclusive"].because


def test_figures_are_those_of_the_pairs(plan: GatePlan, reports: dict[str, Report]) -> None:
    report = reports["regression"]
    found = {(f.scope, f.metric): f for f in report.findings}
    assert list(found) == [(scope, metric) for scope in ("all", "brief", "short") for metric in ("success", "route_progress")]
    success, progress = found["all", "success"], found["all", "route_progress"]
    assert success.baseline.model_dump() == proportion(20, 24).as_dict()
    assert success.candidate.model_dump() == proportion(10, 24).as_dict()
    assert (success.better, success.worse, success.same) == (0, 10, 14)
    assert success.gain == pytest.approx(-10 / 24)
    assert success.gain_low < -10 / 24 < success.gain_high
    assert success.baseline_iqm is None
    values = [[0.5 + 0.01 * seed for seed in range(12)]] * 2
    assert progress.baseline_iqm is not None
    assert progress.baseline_iqm.value == pytest.approx(iqm(values).value)
    assert progress.candidate.value == pytest.approx(np.mean(values) - 0.02)
    assert progress.pairing_gain is None  # every pair differs by the same
    base, cand = np.array([k % 6 != 0 for k in range(12)]), np.zeros(12)
    brief = 2 * base.var()
    assert success.pairing_gain == pytest.approx((brief + base.var() + cand.var()) / (base - cand).var())
    assert found["short", "success"].state == "worse"
    assert found["short", "success"].margin is None
    assert found["brief", "success"].state == "open"
    assert success.curve[-1][0] == 24
    assert max(point[1] for point in success.curve) == pytest.approx(-np.log(success.p_worse))
    assert report.worse_in_all == len(report.worse) == 24
    first = report.worse[0]
    assert (first.scenario, first.metrics["success"], first.ends) == ("brief/easy", (1.0, 0.0), ("arrived", "collision"))
    assert first.command.startswith("closedloop eval 'runs/my policy' --scenario ")
    assert first.command.endswith(f"--seed {first.seed} --episodes 1 --traces all")


def test_every_report_is_as_the_schema_says(reports: dict[str, Report]) -> None:
    validator = jsonschema.Draft202012Validator(report_schema())
    validator.check_schema(report_schema())
    for report in reports.values():
        data = json.loads(report.text())
        assert [e.message for e in validator.iter_errors(data)] == []
        assert Report.model_validate(data) == report
    data = json.loads(reports["pass"].text())
    assert not validator.is_valid({**data, "verdict": "fine"})
    assert not validator.is_valid({**data, "surprise": 1})


@pytest.mark.parametrize("name", ["regression", "inconclusive", "pass", "identical", "incomplete", "crashed"])
def test_build_servers_see_the_same(reports: dict[str, Report], name: str) -> None:
    report, suite = reports[name], ElementTree.fromstring(junit(reports[name]))
    counts = {kind: int(suite.get(kind, "-1")) for kind in ("tests", "failures", "errors", "skipped")}
    assert counts["tests"] == 1 + len(report.findings) + len(report.lost)
    assert counts["failures"] == sum(f.state == "worse" for f in report.findings) + (report.verdict in ("regression", "inconclusive"))
    assert counts["errors"] == len(report.lost) + (report.verdict == "incomplete")
    assert (counts["failures"] + counts["errors"] == 0) == (report.exit_code == 0)


def test_people_see_the_same(reports: dict[str, Report]) -> None:
    page = markdown(reports["regression"], command="closedloop compare old new --suite mini")
    assert page.startswith("# regression: new against old on mini\n\nGot worse: success")
    assert re.search(r"^\| success \| short \| 83\.3 \[.*\| 0\.0 \[.*\| worse \|$", page, re.MULTILINE)
    assert "- and 4 more" in page
    assert "candidate, brief, seed 3: RuntimeError" in markdown(reports["incomplete"])
    assert "- a process died" in markdown(reports["crashed"])
    assert [f.scope for f in told(reports["regression"])] == ["all", "all", "short"]
    assert row(told(reports["regression"])[0])[5] == "0 : 10 of 24"


def test_seeds_that_are_one_episode_are_warned_of(plan: GatePlan) -> None:
    report = report_on(plan, lambda r, s, k: replace(half(r, s, k), fingerprint=f"{r}{min(k, 9)}" if s == "brief" else f"{r}{k}"))
    assert report.warnings == ("brief: only 10 of 12 seeds are different episodes: it counts for more than it should.",)


@pytest.fixture
def order(plan: GatePlan) -> Order:
    return Order(plan=plan, candidate="constant", full=True)


@pytest.fixture
def kept(order: Order, tmp_path: Path) -> Path:
    """A baseline file of the policy `constant`."""
    outcome = run_gate(order, tmp_path / "first")
    assert outcome.report is None
    outcome.as_baseline(order, "first").save(tmp_path / "constant.json")
    return tmp_path / "constant.json"


def test_a_kept_baseline_stands_for_the_policy(kept: Path, plan: GatePlan, tmp_path: Path) -> None:
    baseline = load_baseline(kept)
    order = Order(plan=plan, candidate="constant", kept=baseline)
    report = run_gate(order, tmp_path / "again").report
    assert report is not None
    assert (report.verdict, report.identical, report.warnings) == ("pass", True, ())
    driven = run_gate(Order(plan=plan, baseline="constant", candidate="random"), tmp_path / "driven").report
    against = run_gate(Order(plan=plan, kept=baseline, candidate="random"), tmp_path / "kept").report
    assert driven is not None
    assert against is not None
    for ours, theirs in zip(against.findings, driven.findings, strict=True):  # figures in the file are rounded
        assert (ours.scope, ours.metric, ours.state, ours.better, ours.worse) == (
            theirs.scope, theirs.metric, theirs.state, theirs.better, theirs.worse,
        )  # fmt: skip
        assert ours.p_worse == pytest.approx(theirs.p_worse, rel=1e-4)
        assert ours.gain == pytest.approx(theirs.gain, abs=1e-5)


def test_a_bent_wheel_is_found_and_told_in_metres(mini: str, tmp_path: Path) -> None:
    """Wheels off by 2 %: no episode ends otherwise, and every one is further from the middle of its lane. Also from a file."""
    Path(mini).write_text(Path(mini).read_text().replace("route_progress, margin: 0.3", "lane_offset, margin: 0.1"))
    plan = plan_from(load_suite(mini))
    outcome = run_gate(order := Order(plan=plan, candidate="constant", full=True), tmp_path / "first")
    outcome.as_baseline(order, "first").save(tmp_path / "constant.json")
    bent, seen = "constant~steer_bias=0.02", []
    for name, given in (("driven", {"baseline": "constant"}), ("kept", {"kept": load_baseline(tmp_path / "constant.json")})):
        report = run_gate(Order(plan=plan, candidate=bent, full=True, **given), tmp_path / name).report  # type: ignore[arg-type]
        assert report is not None
        assert report.verdict == "regression"
        found = {(f.scope, f.metric): f for f in report.findings}
        success, offset = found["all", "success"], found["all", "lane_offset"]
        assert (success.worse, success.better) == (0, 0)
        assert (offset.state, offset.worse) == ("worse", 24)
        assert offset.baseline.value is not None
        assert offset.candidate.value is not None
        assert offset.baseline_iqm is not None
        assert 0.0 <= offset.baseline.value < offset.candidate.value < 0.5
        assert offset.candidate.low <= offset.candidate.value <= offset.candidate.high  # type: ignore[operator]
        assert offset.gain == pytest.approx((offset.baseline.value - offset.candidate.value) / 0.5)
        assert row(offset)[0] == "lane_offset, m"
        assert f"lane_offset on the whole suite ({offset.baseline.value:.3f} to {offset.candidate.value:.3f} m)" in report.because
        seen.append((offset.baseline.value, offset.candidate.value))
    assert seen[0] == pytest.approx(seen[1], abs=1e-5)


def test_a_baseline_made_elsewhere_is_warned_of(kept: Path, plan: GatePlan) -> None:
    elsewhere = load_baseline(kept).model_copy(update={"made_with": {"closedloop": "0.1.0", "torch": "1.0", "compile": False}})
    (warning,) = Order(plan=plan, candidate="constant", kept=elsewhere).warnings
    assert "torch 1.0, now" in warning
    assert "closedloop" not in warning


def test_reasons_stay_in_the_file(kept: Path, plan: GatePlan, tmp_path: Path) -> None:
    before = load_baseline(kept)
    order = Order(plan=plan, candidate="idm", kept=before, replaces=before, full=True)
    run_gate(order, tmp_path / "again").as_baseline(order, "drives faster").save(kept)
    after = load_baseline(kept)
    assert [(c.reason, c.policy, c.replaces) for c in after.history] == [("first", "constant", ""), ("drives faster", "idm", before.hash)]
    assert after.policy["name"] == "idm"


@pytest.mark.parametrize(
    ("find", "put", "said"),
    [
        ('"reason": "first"', '"reason": "second"', "does not fit its hash"),
        ('"success": "1', '"success": "0', "does not fit its hash"),
        ('"success": "1', '"success": "x', "strata.0.events.success: String should match"),
        ('"version": 1', '"version": 2', "version: Input should be 1"),
        ("{", "[", "not a baseline"),
    ],
)
def test_edited_baselines_are_refused(kept: Path, find: str, put: str, said: str) -> None:
    text = kept.read_text()
    assert find in text
    kept.write_text(text.replace(find, put, 1))
    with pytest.raises(BaselineError, match=said):
        load_baseline(kept)


def test_a_baseline_of_too_few_figures_is_refused(kept: Path) -> None:
    baseline = load_baseline(kept)
    short = baseline.strata[0].model_copy(update={"fingerprints": baseline.strata[0].fingerprints[:-1]})
    baseline.model_copy(update={"strata": (short, *baseline.strata[1:])}).sealed().save(kept)
    with pytest.raises(BaselineError, match="expected 12 figures"):
        load_baseline(kept)


def test_a_baseline_of_other_episodes_is_refused_with_what_differs(kept: Path, mini: str, tmp_path: Path) -> None:
    baseline = load_baseline(kept)
    Path(mini).write_text(Path(mini).read_text().replace("episodes: 12", "episodes: 10"))
    with pytest.raises(BaselineError, match=r"strata\.0\.seeds\.1: 11 then, 9 now"):
        baseline.fits(plan_from(load_suite(mini)))
    Path(mini).write_text(Path(mini).read_text().replace("episodes: 10", "episodes: 12").replace("success", "comfort"))
    without: Baseline = baseline.model_copy(
        update={"strata": tuple(k.model_copy(update={"events": {"success": k.events["success"]}}) for k in baseline.strata)}
    )
    with pytest.raises(BaselineError, match="has no 'comfort'"):
        without.halves(plan_from(load_suite(mini)))
