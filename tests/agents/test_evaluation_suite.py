"""Several policies, several scenarios, several processes; and the command that does it."""

from __future__ import annotations

import json
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import pytest

from agents import cli
from agents.evaluation import suite as module
from agents.evaluation.rollout import EpisodeResult, TraceRule
from agents.evaluation.suite import Plan, default_workers, judge, policy_labels, resolve, scenario_spec, seeds_from, trace_rule
from agents.playback.trace import Trace
from agents.policies.base import PolicyError, load_policy, policy_names
from scenarios import ScenarioError, load, load_suite

PLAN = Plan(entries=(("lane_keep/easy", (0, 1, 2)), ("parking/easy", (5, 6))))


BRIEF = """
version: 1
name: brief
duration: 2 s
maps: 2
road: {kind: highway, lanes: 2, length: {uniform: ["300 m", "400 m"]}}
ego: {lane: main.0, s: {uniform: ["20 m", "60 m"]}, speed: 15 m/s}
traffic:
  - fill: {lanes: [main.0, main.1], spacing: 60 m}
variants:
  easy: {duration: 1 s}
  hard: {duration: 3 s}
"""


@pytest.fixture
def brief(tmp_path: Path) -> str:
    """A scenario file of our own whose episodes are soon over."""
    (tmp_path / "brief.yaml").write_text(BRIEF)
    return str(tmp_path / "brief.yaml")


def test_everything_is_judged_once_in_order(brief: str) -> None:
    plan = Plan(entries=((brief, (0, 1, 2)), (f"{brief}/hard", (5, 6))))
    results = judge(["constant", "random"], plan)
    keys = [("brief", 0), ("brief", 1), ("brief", 2), ("brief/hard", 5), ("brief/hard", 6)]
    assert [(r.policy, r.scenario, r.seed) for r in results] == [(policy, *key) for policy in ("constant", "random") for key in keys]
    assert not any(r.error for r in results)


def test_processes_change_nothing(brief: str) -> None:
    plan, told = Plan(entries=((brief, (0, 1, 2)), (f"{brief}/hard", (5, 6)))), list[int]()
    assert judge(["random"], plan, workers=2, progress=told.append) == judge(["random"], plan)
    assert sum(told) == plan.episodes


def test_results_that_do_not_come_back_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_serial", lambda jobs, progress: iter(()))
    results = judge(["random"], replace(PLAN, entries=PLAN.entries[:1]))
    assert [r.error for r in results] == ["no result came back"] * 3


def test_the_episodes_of_a_dead_process_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Future:
        def exception(self) -> Exception:
            return BrokenProcessPool("a child died")

    class Pool:
        def __init__(self, *_: object, **__: object) -> None: ...
        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None: ...
        def submit(self, *_: object) -> Future:
            return Future()

    monkeypatch.setattr(module, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(module, "as_completed", list)
    results = judge(["random"], PLAN, workers=2)
    assert [(r.seed, r.end) for r in results] == [(s, "error") for s in (0, 1, 2, 5, 6)]
    assert {r.error for r in results} == {"BrokenProcessPool: a child died"}


def test_an_episode_that_cannot_be_drawn_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = module.sample

    def sample(scenario: object, seed: int) -> object:
        if seed == 1:
            raise ValueError("no room for the ego")
        return draw(scenario, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "sample", sample)
    results = judge(["random"], replace(PLAN, entries=PLAN.entries[:1]))
    assert [r.error for r in results] == ["", "the episode could not be drawn: ValueError: no room for the ego", ""]


def test_bad_names_are_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_serial", lambda *_: pytest.fail("it ran"))
    with pytest.raises(ScenarioError, match="did you mean"):
        judge(["idm"], Plan(entries=(("marge", (0,)),)))
    with pytest.raises(PolicyError, match=r"no policy 'imd': .*did you mean 'idm'"):
        judge(["imd"], PLAN)
    with pytest.raises(ValueError, match="named twice"):
        judge(["idm", "idm"], PLAN)
    with pytest.raises(ValueError, match="workers=0"):
        judge(["idm"], PLAN, workers=0)


def test_episodes_that_would_be_called_the_same_are_refused(brief: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two files with one name: the results of one must not stand for the other's."""
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "brief.yaml"
    other.write_text(BRIEF.replace("15 m/s", "10 m/s"))
    with pytest.raises(ValueError, match="are both called 'brief' and drive seed 1"):
        judge(["idm"], Plan(entries=((brief, (0, 1)), (str(other), (1, 2)))))
    assert cli.run(["eval", "idm", "--scenario", brief, "--scenario", str(other), "--out", str(tmp_path / "out")]) == 2
    assert "both called 'brief'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    resolve(["idm"], Plan(entries=((brief, (0, 1)), (str(other), (2, 3)))))  # told apart by their seeds


def test_a_folder_that_cannot_be_written_is_found_before_driving(brief: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "judge", lambda *_, **__: pytest.fail("it ran"))
    (tmp_path / "file").write_text("")
    assert cli.run(["eval", "idm", "--scenario", brief, "--episodes", "1", "--out", str(tmp_path / "file" / "out")]) == 2


def test_every_name_loads() -> None:
    for name in policy_names():
        assert load_policy(name).needs.config(agents=16).action in ("continuous", "discrete", "trajectory")
    assert policy_labels(policy_names()) == {name: name for name in policy_names()}


def test_small_helpers(tmp_path: Path) -> None:
    assert seeds_from(7, 3) == (7, 8, 9)
    with pytest.raises(ValueError, match="episodes=0, seed=-1"):
        seeds_from(-1, 0)
    assert default_workers(PLAN, 2, cores=8) == 4
    assert default_workers(PLAN, 2, cores=2) == 2
    assert trace_rule(tmp_path, "none", PLAN) == TraceRule()
    assert trace_rule(tmp_path, "failures", PLAN).failures_only
    assert trace_rule(tmp_path, "2", PLAN).chosen == frozenset(
        {("lane_keep/easy", 0), ("lane_keep/easy", 1), ("parking/easy", 5), ("parking/easy", 6)}
    )
    with pytest.raises(ValueError, match="traces='some'"):
        trace_rule(tmp_path, "some", PLAN)


def test_a_scenario_can_be_named_again() -> None:
    for entry in load_suite("driving").entries:
        assert load(scenario_spec(entry.scenario)) == entry.scenario


def test_a_scenario_file_can_be_named_again(brief: str) -> None:
    mine = load(brief, "hard")
    again = load(scenario_spec(mine))
    assert (again.digest, again.id) == (mine.digest, "brief/hard")


def test_eval_command(brief: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    argv = f"eval constant random --scenario {brief}/easy --episodes 3 --seed 4 --traces 1 --out {out} --json --workers 1".split()
    assert cli.run(argv) == 0
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert report == json.loads((out / "results.json").read_text())
    assert [(r["policy"], r["seed"]) for r in report["results"]] == [(p, s) for p in ("constant", "random") for s in (4, 5, 6)]
    assert {row["policy"]: row["episodes"] for row in report["table"]} == {"constant": 3, "random": 3}
    assert (out / "report.md").read_text().startswith(f"# constant, random on {brief}/easy")
    traces = sorted(out.rglob("*.trace"))
    assert [p.relative_to(out).as_posix() for p in traces] == [f"traces/{p}/brief-easy-4.trace" for p in ("constant", "random")]
    assert Trace.load(traces[1]).command == f"closedloop eval random --scenario {brief}/easy --seed 4 --episodes 1 --traces all"
    assert f"closedloop play {traces[1]}" in shown.err


def test_eval_prints_a_table(brief: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["eval", "random", "--scenario", brief, "--episodes", "2", "--out", str(tmp_path / "out"), "--traces", "none", "--workers", "1"]
    assert cli.run(argv) == 0
    shown = capsys.readouterr().out
    assert "brief     random  2" in shown
    assert "success" in shown


def test_a_lost_episode_is_exit_code_4(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = [EpisodeResult(policy="idm", scenario="merge", seed=0, end="error", error="RuntimeError: gone")]
    monkeypatch.setattr(module, "judge", lambda *_, **__: lost)
    assert cli.run(["eval", "idm", "--scenario", "merge", "--episodes", "1", "--out", str(tmp_path)]) == 4
    assert "lost: idm, merge, seed 0: RuntimeError: gone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["eval", "idm"], "either --suite NAME or --scenario NAME"),
        (["eval", "idm", "--suite", "driving", "--scenario", "merge"], "either --suite NAME or --scenario NAME"),
        (["eval", "idm", "--scenario", "merge", "--scenario", "merge"], "named twice"),
        (["eval", "idm", "--scenario", "marge"], "did you mean"),
        (["eval", "imd", "--scenario", "merge"], "did you mean 'idm'"),
        (["eval", "--scenario", "merge"], "POLICY"),
        (["eval", "idm", "--scenario", "merge", "--traces", "some"], "traces='some'"),
        (["eval", "idm", "--suite", "drivin"], "did you mean"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_input_is_exit_code_2(argv: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*argv, "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert not (tmp_path / "out").exists()
