"""Several policies, several scenarios, several processes; and the command that does it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agents import cli
from agents.evaluation import jobs
from agents.evaluation import suite as module
from agents.evaluation.rollout import EpisodeResult, TraceRule
from agents.evaluation.suite import (
    Interrupted,
    Plan,
    PlanError,
    default_workers,
    judge,
    policy_labels,
    resolve,
    scenario_spec,
    seeds_from,
    trace_rule,
)
from agents.playback.trace import Trace
from agents.policies.base import PolicyError, load_policy, policy_names
from scenarios import ScenarioError, load, load_suite

PLAN = Plan(entries=(("lane_keep/easy", (0, 1, 2)), ("parking/easy", (5, 6))))


def test_everything_is_judged_once_in_order(brief: str) -> None:
    plan = Plan(entries=((brief, (0, 1, 2)), (f"{brief}/hard", (5, 6))))
    results = judge(["constant", "random"], plan)
    keys = [("brief", 0), ("brief", 1), ("brief", 2), ("brief/hard", 5), ("brief/hard", 6)]
    assert [(r.policy, r.scenario, r.seed) for r in results] == [(policy, *key) for policy in ("constant", "random") for key in keys]
    assert not any(r.error for r in results)


def test_results_that_do_not_come_back_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "drive", lambda jobs, *, workers, keep: None)
    results = judge(["random"], replace(PLAN, entries=PLAN.entries[:1]))
    assert [r.error for r in results] == ["no result came back"] * 3


def test_an_exception_costs_its_job_and_is_named(monkeypatch: pytest.MonkeyPatch, brief: str) -> None:
    drive = jobs.rollout

    def rollout(*args: object, name: str, **rest: object) -> object:
        if name == "random":
            raise ValueError("operands could not be broadcast together")
        return drive(*args, name=name, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "rollout", rollout)
    results = judge(["random", "constant"], Plan(entries=((brief, (0, 1)),)))
    assert [r.error for r in results] == ["ValueError: operands could not be broadcast together"] * 2 + ["", ""]


def test_what_was_driven_before_an_interruption_is_kept(brief: str) -> None:
    plan, told = Plan(entries=((brief, (0, 1, 2)), (f"{brief}/hard", (5, 6)))), list[int]()

    def stop(count: int) -> None:
        told.append(count)
        if sum(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        judge(["constant"], plan, progress=stop)
    keys = [("brief", 0), ("brief", 1), ("brief", 2), ("brief/hard", 5), ("brief/hard", 6)]
    assert [(r.scenario, r.seed) for r in caught.value.results] == keys
    assert [r.end == "interrupted" for r in caught.value.results] == [False, False, False, True, True]
    assert caught.value.results[:3] == judge(["constant"], plan)[:3]


def test_an_episode_that_cannot_be_drawn_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = jobs.sample

    def sample(scenario: object, seed: int) -> object:
        if seed == 1:
            raise ValueError("no room for the ego")
        return draw(scenario, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "sample", sample)
    results = judge(["random"], replace(PLAN, entries=PLAN.entries[:1]))
    assert [r.error for r in results] == ["", "the episode could not be drawn: ValueError: no room for the ego", ""]


def test_bad_names_are_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "drive", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises(ScenarioError, match="did you mean"):
        judge(["idm"], Plan(entries=(("marge", (0,)),)))
    with pytest.raises(PolicyError, match=r"no policy 'imd': .*did you mean 'idm'"):
        judge(["imd"], PLAN)
    with pytest.raises(PolicyError, match="named twice"):
        judge(["idm", "idm"], PLAN)
    with pytest.raises(ValueError, match="workers=0"):
        judge(["idm"], PLAN, workers=0)


def test_episodes_that_would_be_called_the_same_are_refused(brief: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two files with one name: the results of one must not stand for the other's."""
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "brief.yaml"
    other.write_text(Path(brief).read_text().replace("15 m/s", "10 m/s"))
    with pytest.raises(PlanError, match="are both called 'brief' and drive seed 1"):
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
    for wrong in ("some", "-1", "²"):
        with pytest.raises(PlanError, match=f"traces='{wrong}'"):
            trace_rule(tmp_path, wrong, PLAN)


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
    assert "how episodes ended" in shown
    counts = shown.partition("how episodes ended")[2].splitlines()[2].split()
    assert counts[:2] == ["brief", "random"]
    assert sum(map(int, counts[2:])) == 2


def test_a_lost_episode_is_exit_code_4(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = [EpisodeResult(policy="idm", scenario="merge", seed=0, end="error", error="RuntimeError: gone")]
    monkeypatch.setattr(module, "judge", lambda *_, **__: lost)
    assert cli.run(["eval", "idm", "--scenario", "merge", "--episodes", "1", "--out", str(tmp_path / "out")]) == 4
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
        (["eval", "idm", "idm", "--scenario", "merge"], "a policy is named twice"),
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


def test_two_runs_do_not_mix_in_one_folder(brief: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"

    def run(seed: int, *more: str) -> int:
        argv = ["eval", "random", "--scenario", brief, "--episodes", "1", "--traces", "all", "--workers", "1"]
        return cli.run([*argv, "--seed", str(seed), "--out", str(out), *more])

    assert run(1) == 0
    (out / "notes.txt").write_text("mine")
    (trace,) = out.rglob("*.trace")
    trace.with_suffix(".html").write_text("a page of it")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run(2) == 2
    assert f"closedloop: {out}: not empty; choose another --out, or replace the results there with --force" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run(2, "--force") == 0
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert found == ["notes.txt", "report.md", "results.json", "traces/random/brief-2.trace"]


def test_seeds_of_training_are_warned_of(brief: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["eval", "random", "--scenario", brief, "--traces", "none", "--workers", "1", "--json", "--episodes", "2"]
    assert cli.run([*argv, "--seed", "999999", "--out", str(tmp_path / "a")]) == 0
    shown = capsys.readouterr()
    assert "warning: Seeds 1000000 to 1000000 are not for judging" in shown.err
    assert any("not for judging" in warning for warning in json.loads(shown.out)["warnings"])
    assert cli.run([*argv, "--seed", "999998", "--out", str(tmp_path / "b")]) == 0
    shown = capsys.readouterr()
    assert "not for judging" not in shown.err + shown.out


def test_an_interruption_before_anything_was_driven_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(*_: object, **__: object) -> None:
        raise Interrupted([EpisodeResult(policy="idm", scenario="merge", seed=0, end="interrupted", error="interrupted")])

    monkeypatch.setattr(module, "judge", judge)
    assert cli.run(["eval", "idm", "--scenario", "merge", "--episodes", "1", "--out", str(tmp_path / "out")]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
