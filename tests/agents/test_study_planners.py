"""The study of planners: who is compared with whom, the report it writes, and the speed of plans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents import cli
from agents.commands import bench_planners
from agents.evaluation import speed_planners, suite
from agents.evaluation.rollout import EpisodeResult
from agents.evaluation.speed_planners import SCENE, PlanPace, measure_plans, world_of
from agents.planners.base import PLANNERS, make_planner
from agents.studies.arms import Arm
from agents.studies.planners import PlannerStudy, as_data, planner_arms, planner_study
from agents.studies.planners_page import findings, page

SCENARIOS, SEEDS = ("merge", "junction"), range(20)
FAILS = {"pdm@truth": 0, "pdm@noisy": 10, "lattice@truth": 4, "lattice@noisy": 4, "idm": 2}  # of the first seeds of each scenario


def results(arms: list[Arm]) -> list[EpisodeResult]:
    labels = suite.policy_labels([arm.spec for arm in arms])
    zero = dict.fromkeys(("off_road", "wrong_way", "red_light"), 0.0)
    made = []
    for arm in arms:
        for name in SCENARIOS:
            for seed in SEEDS:
                good = float(seed >= FAILS[arm.spec])
                metrics = zero | {"success": good, "collision": 1.0 - good, "collision_at_fault": 1.0 - good, "route_progress": good}
                metrics |= {"driving_score": good, "nuplan_score": good, "duration": float(seed), "distance": 1.0}
                end = "arrived" if good else "collision"
                made.append(EpisodeResult(policy=labels[arm.spec], scenario=name, seed=seed, end=end, metrics=metrics, reward=good))
    return made


def the_study(**changes: Any) -> PlannerStudy:
    arms = planner_arms(["pdm", "lattice", "idm"], ["truth", "noisy"], {})
    told = {"title": "Who <b>plans</b>", "command": "closedloop study planners", "scenarios": SCENARIOS, "seeds": SEEDS}
    paces = [
        PlanPace(planner=name, scenario="merge", batch=batch, plans=batch, seconds=0.01) for name in (SCENE, "pdm") for batch in (1, 64)
    ]
    return planner_study(arms, results(arms), **(told | {"paces": paces} | changes))


def test_everybody_is_compared_with_the_truth_and_with_the_first() -> None:
    made = the_study()
    entries = {(e.arm.spec, e.row.scenario): e for e in made.table}
    assert len(entries) == 5 * (len(SCENARIOS) + 1)  # each scenario, and all of them
    assert not any(e.arm.spec == "random" for e in made.table)
    blind = entries["pdm@noisy", "merge"]
    assert blind.less_truth is not None
    assert (blind.less_truth.success.value, blind.less_truth.episodes) == (-0.5, 20)
    assert blind.less_truth.score.value == pytest.approx(-0.5)
    assert blind.less_first is None
    assert entries["pdm@truth", "merge"].less_truth is None
    for spec, less in (("lattice@noisy", 0.3), ("lattice@truth", -0.2), ("idm", -0.1)):  # idm against the truth: it sees everything
        first = entries[spec, "junction"].less_first
        assert first is not None
        assert first.success.value == pytest.approx(less)
        assert first.at_fault.value == pytest.approx(-less)
    whole = entries["pdm@noisy", "all scenarios"]
    assert whole.less_truth is not None
    assert (whole.row.episodes, whole.less_truth.episodes) == (40, 40)


def test_the_page_says_what_was_found() -> None:
    made = the_study()
    told = findings(made)
    assert any(line.startswith("merge on noisy: idm, which succeeds in 90.0") and line.endswith("from lattice.") for line in told)
    assert any(line.startswith("merge on truth: pdm, which") and line.endswith("from lattice, idm.") for line in told)
    assert any(line.startswith("pdm on noisy: -50.0") for line in told)
    text = page(made)
    assert "<b>plans</b>" not in text
    assert text.count("<svg") == 1
    for word in ("Against pdm", "Time per plan", "merge", "noisy", "0.16"):  # ms
        assert word in text
    assert not any(part in text for part in ("<script", "<img", "<iframe", "src="))
    data = json.loads(json.dumps(as_data(made)))
    assert len(data["entries"]) == 15
    assert data["paces"][0]["per_second"] == pytest.approx(100.0)


def test_who_leads_is_said_only_where_the_pairs_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 episodes on noisy: idm succeeds in 14, lattice in 4, pdm in none. With 12 of lattice nothing can be said."""
    for noisy, lattice, said in ((20, 16, True), (20, 8, False)):
        for spec, fails in (("pdm@noisy", noisy), ("lattice@noisy", lattice), ("idm", 6)):
            monkeypatch.setitem(FAILS, spec, fails)
        made = the_study()
        (leader,) = [one for one in made.leaders if (one.scenario, one.level) == ("merge", "noisy")]
        assert leader.entry.arm.spec == "idm"  # who has no level is among them
        assert leader.tied == ([] if said else ["lattice"])
        (line,) = [line for line in findings(made) if line.startswith("merge on noisy: idm")]
        assert ("idm succeeds most often, in 70.0" in line) == said
    assert len(made.leaders) == 4  # scenario by level, none of all together
    data = as_data(made)
    assert data["leaders"][1] == {"scenario": "merge", "level": "noisy", "arm": "idm", "tied": ["lattice"]}


def test_what_is_lost_is_in_no_figure() -> None:
    arms = planner_arms(["pdm", "lattice", "idm"], ["truth", "noisy"], {})
    found = [
        replace(r, end="interrupted", error="interrupted", metrics={}, reward=None) if r.policy == "idm" and r.seed > 3 else r
        for r in results(arms)
    ]
    made = planner_study(arms, found, title="x", scenarios=SCENARIOS, seeds=SEEDS)
    entry = next(e for e in made.table if e.arm.spec == "idm")
    assert (entry.row.episodes, entry.row.errors) == (4, 16)
    assert entry.less_first is not None
    assert entry.less_first.episodes == 4
    assert findings(made) == []
    assert "Interrupted" in page(made)


def test_the_command_drives_times_and_reports(brief: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["study", "planners", "--scenario", brief, "--policy", "idm_mobil", "--policy", "constant", "--level", "truth"]
    words += ["--episodes", "2", "--workers", "1", "--out", str(out), "--json"]
    assert cli.run([*words, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 4
    assert not out.exists()
    assert cli.run([*words, "--seconds", "0.01"]) == 0
    shown = capsys.readouterr()
    data = json.loads(shown.out)
    assert json.loads((out / "report.json").read_text()) == data
    assert [entry["arm"] for entry in data["entries"]] == ["idm_mobil@truth", "constant"]
    assert {(pace["planner"], pace["batch"]) for pace in data["paces"]} == {(n, b) for n in (SCENE, "idm_mobil") for b in (1, 64)}
    assert len(json.loads((out / "episodes.json").read_text())) == 4
    assert "4 of 4 episodes" in shown.err
    assert cli.run([*words, "--seconds", "0.01"]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert cli.run([*words[:4], "--policy", "pdm", "--level", "truht", "--dry-run"]) == 2
    assert "did you mean 'truth'" in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_driven_is_lost_to_the_timing(
    brief: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planners are timed before anything is driven; Ctrl-C in the driving then keeps both."""
    done: list[str] = []
    real = suite.judge

    def stopping(*args: Any, **more: Any) -> list[EpisodeResult]:
        done.append("driven")
        found = real(*args, **more)
        late = [replace(r, end="interrupted", error="interrupted", metrics={}, reward=None) if r.seed else r for r in found]
        raise suite.Interrupted(late)

    def failing(name: str, **_: Any) -> PlanPace:
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "judge", stopping)
    words = ["study", "planners", "--scenario", brief, "--policy", "idm_mobil", "--policy", "constant", "--level", "truth"]
    words += ["--episodes", "2", "--workers", "1", "--seconds", "0.01", "--out", str(tmp_path / "out"), "--json"]
    with monkeypatch.context() as patch:
        patch.setattr(speed_planners, "measure_plans", failing)
        assert cli.run(words) == 130
    assert done == []
    assert [*(tmp_path / "out").iterdir()] == []  # so the same command can be given again
    capsys.readouterr()
    assert cli.run(words) == 130
    data = json.loads(capsys.readouterr().out)
    assert done == ["driven"]
    assert data["paces"]
    assert len(json.loads((tmp_path / "out" / "episodes.json").read_text())) == 4


def test_plans_are_counted() -> None:
    pace = measure_plans("idm_mobil", scenario="merge", batch=2, seconds=0.01)
    assert pace.plans % 64 == 0  # every episode as often
    assert pace.plans >= 64
    assert pace.episodes == 64
    assert pace.per_second == pytest.approx(pace.plans / pace.seconds)
    assert world_of("hybrid_astar", "merge") == "parking"
    assert world_of("hybrid_astar", "parking/hard") == "parking/hard"
    assert world_of("pdm", "merge") == "merge"


@pytest.mark.slow
def test_all_episodes_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are planned for at once; and a planner with a memory is given each from the start."""
    seen: list[Any] = []
    for name, batch, instants in (("pdm", 1, 4), ("pdm", 24, 4), ("pdm", 100, 4), ("hybrid_astar", 16, 1)):
        seen.clear()
        monkeypatch.setattr(type(make_planner(name)), "plan", lambda _, scene: seen.append(scene.ego))
        turn = speed_planners._turn(name, "merge", batch, "cpu")
        for plan in turn:
            plan()
        assert [len(ego.x) for ego in seen] == [batch] * max(-(-64 // batch), instants)
        starts = {(float(x), float(y), float(v)) for ego in seen for x, y, v in zip(ego.x, ego.y, ego.speed, strict=True)}
        assert len(starts) >= 60  # hardly two of 64 episodes begin alike
        assert (len(starts) > 64) == (batch > 1 and instants > 1)


def test_speeds_are_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "planners", "--scenario", "merge", "--seconds", "0.05", "--out", str(tmp_path), "--no-peer"]
    assert cli.run([*words, "--planner", "pdm", "--planner", "scene", "--batch", "2", "--json"]) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    (written,) = tmp_path.glob("planners-*.json")
    assert json.loads(written.read_text()) == record
    assert [(rate["planner"], rate["batch"]) for rate in record["rates"]] == [("pdm", 2), ("scene", 2)]
    assert all(rate["per_second"] == rate["plans"] / rate["seconds"] > 0.0 for rate in record["rates"])
    assert cli.run([*words, "--planner", "pmd"]) == 2
    assert "did you mean 'pdm'" in capsys.readouterr().err


def test_a_peer_that_is_missing_is_told_and_parking_is_searched_for_the_fewest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, int]] = []

    def measured(name: str, *, scenario: str, batch: int, seconds: float, device: str) -> PlanPace:
        asked.append((name, batch))
        return PlanPace(planner=name, scenario=scenario, batch=batch, plans=1, seconds=1.0)

    monkeypatch.setattr(speed_planners, "measure_plans", measured)
    monkeypatch.setattr(bench_planners, "find_spec", lambda name: None)
    words = ["bench", "planners", "--batch", "8", "--batch", "2", "--out", str(tmp_path)]
    assert cli.run(words) == 2
    assert "fiss-planner is not installed" in capsys.readouterr().err
    assert cli.run([*words, "--no-peer"]) == 0
    assert {name for name, _ in asked} == {SCENE, *PLANNERS}  # whoever is added is measured
    assert [batch for name, batch in asked if name == "hybrid_astar"] == [2]
    assert [batch for name, batch in asked if name == "pdm"] == [8, 2]
