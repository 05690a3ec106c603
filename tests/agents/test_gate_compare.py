"""The command `closedloop compare`: what it writes, says and ends with."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from agents import cli
from agents.commands import comparing
from agents.gate import explain as explain_module
from agents.gate import run as run_module
from agents.gate.baseline import load_baseline
from agents.gate.journal import read
from agents.gate.report import report_schema
from agents.gate.run import JOURNAL
from agents.playback.fingerprint import fingerprint
from agents.playback.trace import Trace
from agents.policies import baselines
from agents.policies.base import WEIGHTS, PolicyNeeds


def compare(*words: str, suite: str) -> int:
    return cli.run(["compare", *words, "--suite", suite, "--workers", "1"])


@pytest.mark.parametrize(
    ("baseline", "candidate", "code", "verdict"),
    [("constant", "constant", 0, "pass"), ("constant", "random", 1, "regression"), ("idm", "constant", 0, "pass")],
)
def test_verdicts(
    mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], baseline: str, candidate: str, code: int, verdict: str
) -> None:
    out = tmp_path / "out"
    assert compare(baseline, candidate, "--out", str(out), "--json", suite=mini) == code
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert report == json.loads((out / "report.json").read_text())
    jsonschema.validate(report, report_schema())
    assert (report["verdict"], report["exit_code"]) == (verdict, code)
    assert report["identical"] == (baseline == candidate)
    assert (out / "report.md").read_text().startswith(f"# {verdict}: {candidate} against {baseline} on mini")
    assert "<testsuite" in (out / "junit.xml").read_text()
    assert f"Report: {out / 'report.html'}" in shown.err
    page = (out / "report.html").read_text()
    assert f'<p class="verdict">{verdict}</p>' in page
    assert page.count("data-number=") == len(report["worse"]) == len(list((out / "traces").rglob("*.trace"))) // 2
    assert report["warnings"] == [w for w in report["warnings"] if "could not be explained" not in w and "last bit" not in w]


def test_failures_are_explained_and_made_small(mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All the way through the command line: lost pairs, their clusters, and small scenarios in which the candidate fails the same way."""
    out = tmp_path / "out"
    assert compare("constant", "random", "--out", str(out), "--shrink", "0", suite=mini) == 1
    assert "--resume --shrink 3" in capsys.readouterr().err
    assert json.loads((out / "report.json").read_text())["minimal"] == []
    assert compare("constant", "random", "--out", str(out), "--resume", "--shrink", "2", suite=mini) == 1
    shown = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    jsonschema.validate(report, report_schema())
    assert {(f["scenario"], f["seed"]) for f in report["failures"]} <= {(w["scenario"], w["seed"]) for w in report["worse"]}
    assert sum(cluster["count"] for cluster in report["clusters"]) == len(report["failures"]) > 0
    assert len(report["minimal"]) == 2
    for minimal in report["minimal"]:
        assert minimal["why"] == ""
        assert minimal["reference"] == "constant"
        assert minimal["others_left"] <= minimal["others"]
        assert minimal["command"] in shown
        assert cli.run([*shlex.split(minimal["command"])[1:], "--out", str(tmp_path / "again"), "--force", "--workers", "1"]) == 0
        (trace,) = (tmp_path / "again").rglob("*.trace")
        assert fingerprint(Trace.load(trace)) == minimal["fingerprint"]
    assert f"{report['clusters'][0]['count']} x {report['clusters'][0]['words']}" in shown
    assert "## Failures" in (out / "report.md").read_text()


def test_an_explanation_that_fails_does_not_take_the_verdict_with_it(
    mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no idea")

    monkeypatch.setattr(explain_module, "drive_again", broken)
    out = tmp_path / "out"
    assert compare("constant", "random", "--out", str(out), suite=mini) == 1
    assert "warning: The failures could not be explained: RuntimeError: no idea" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert report["verdict"] == "regression"
    assert "The failures could not be explained: RuntimeError: no idea" in report["warnings"]
    assert "could not be explained" in (out / "report.html").read_text()


def test_who_does_not_repeat_himself_gets_no_verdict(
    mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Whim:
        """Brakes a little harder with every decision it ever took."""

        name, needs, count = "whim", PolicyNeeds(action="continuous"), 0

        def act(self, observation: Any, *, seed: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            Whim.count += 1
            return torch.tensor([-0.5 - 1e-3 * Whim.count, 0.0]).expand(len(seed), 1, 2).clone()

    monkeypatch.setitem(baselines.BASELINES, "whim", Whim)
    out = tmp_path / "out"
    assert compare("constant", "whim", "--out", str(out), "--shrink", "0", suite=mini) == 4
    shown = capsys.readouterr()
    assert "candidate: driven again, it did not go the same way to the last bit" in shown.err
    report = json.loads((out / "report.json").read_text())
    assert report["verdict"] == "incomplete"
    assert report["because"].startswith(f"No verdict: {len(report['worse'])} episodes, driven again for their traces, did not come out")
    assert f"What was judged says: {report['figures_say']}." in report["because"]
    assert report["worse"] != []


def test_a_pass_that_cannot_be_explained_is_none(
    mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no idea")

    monkeypatch.setattr(explain_module, "explain", broken)
    assert compare("constant", "constant", "--out", str(tmp_path / "out"), suite=mini) == 4
    assert "No verdict: explaining it crashed. What was judged says: pass." in capsys.readouterr().out


def test_files_that_vanish_meanwhile_leave_a_report(
    mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scenario and the policy, when all has been planned: their episodes are lost by name, and that can be read in the page."""
    for end in (".safetensors", ".json"):
        shutil.copy(WEIGHTS / f"merge{end}", tmp_path / f"mine{end}")
    create = run_module.Journal.create

    def then_gone(path: Path, config: dict[str, Any]) -> Any:
        (tmp_path / "mine.safetensors").unlink()
        (tmp_path / "brief.yaml").unlink()
        return create(path, config)

    monkeypatch.setattr(run_module.Journal, "create", then_gone)
    out = tmp_path / "out"
    assert compare("constant", str(tmp_path / "mine.safetensors"), "--out", str(out), suite=mini) == 4
    assert "lost: candidate, brief, seed 0: PolicyError: no policy" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert {lost["role"] for lost in report["lost"]} == {"baseline", "candidate"}
    assert "ScenarioError" in (out / "report.html").read_text()


def test_inconclusive_is_exit_code_3(mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(mini).write_text(Path(mini).read_text().replace("0.25", "0.02"))
    assert compare("idm", "constant", "--out", str(tmp_path / "out"), suite=mini) == 3
    shown = capsys.readouterr().out
    assert "inconclusive: Neither is established after 24 pairs" in shown
    assert "success on the whole suite" in shown
    assert "constant against idm on mini" in shown


@pytest.mark.slow
def test_the_fixed_test_drives_all_of_it(mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("constant", "random", "--out", str(tmp_path / "out"), "--test", "fixed", "--json", suite=mini) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["test"], report["pairs_judged"]) == ("fixed", 24)


def test_a_lost_episode_is_exit_code_4(
    mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agents.evaluation import jobs

    draw = jobs.sample

    def sample(scenario: Any, seed: int) -> Any:
        if seed == 3:
            raise ValueError("no room for the ego")
        return draw(scenario, seed)

    monkeypatch.setattr(jobs, "sample", sample)
    out = tmp_path / "out"
    assert compare("constant", "constant", "--out", str(out), suite=mini) == 4
    shown = capsys.readouterr()
    assert "incomplete: No verdict: 4 episodes lost" in shown.out
    assert "lost: candidate, brief, seed 3: the episode could not be drawn: ValueError: no room for the ego" in shown.err
    assert "--resume" in shown.err
    monkeypatch.undo()
    assert compare("constant", "constant", "--out", str(out), "--resume", suite=mini) == 0


def test_an_interrupted_comparison_goes_on(
    mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, append, count = tmp_path / "out", run_module.Journal.append, list[int]()

    def stop(self: Any, body: dict[str, Any]) -> None:
        append(self, body)
        count.append(1)
        if len(count) == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_module.Journal, "append", stop)
    assert compare("constant", "idm", "--out", str(out), suite=mini) == 130
    err = capsys.readouterr().err
    assert f"closedloop compare constant idm --suite {mini} --out {out} --resume" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in out.iterdir()) == [JOURNAL]
    monkeypatch.undo()
    assert compare("constant", "idm", "--out", str(out), suite=mini) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert compare("constant", "random", "--out", str(out), "--resume", suite=mini) == 2
    assert "policies.candidate.name: idm then, random now" in capsys.readouterr().err
    assert compare("constant", "idm", "--out", str(out), "--resume", suite=mini) == 0
    bodies, _, _ = read(out / JOURNAL)
    keys = [(body["role"], body["scenario"], body["seed"]) for body in bodies[1:]]
    assert len(set(keys)) == len(keys) > 9  # nothing was driven twice


def test_a_damaged_journal_is_exit_code_4(mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert compare("constant", "constant", "--out", str(out), suite=mini) == 0
    lines = (out / JOURNAL).read_text().splitlines(keepends=True)
    (out / JOURNAL).write_text(
        "".join([*lines[:5], lines[5].replace("arrived", "off_road").replace('"success":1', '"success":0'), *lines[6:]])
    )
    capsys.readouterr()
    assert compare("constant", "constant", "--out", str(out), "--resume", suite=mini) == 4
    assert f"{out / JOURNAL}:6: damaged" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_exit_code_4(
    mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from scenarios import files

    write = files.write_atomic

    def full(path: Any, data: Any) -> Path:
        if Path(path).name == "report.md":
            raise OSError(28, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(files, "write_atomic", full)
    assert compare("constant", "constant", "--out", str(tmp_path / "out"), suite=mini) == 4
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.slow
def test_a_baseline_file_from_its_making_to_its_replacement(mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gate" / "baseline.json"
    words = ("--baseline", str(file))
    assert compare("constant", *words, "--out", str(tmp_path / "a"), suite=mini) == 2  # there is none yet
    assert "No such file" in capsys.readouterr().err
    assert compare("constant", *words, "--update-baseline", "first", "--out", str(tmp_path / "b"), suite=mini) == 0
    assert f"{file} now holds the results of constant: first" in capsys.readouterr().err
    made = file.read_bytes()
    assert compare("constant", *words, "--out", str(tmp_path / "c"), suite=mini) == 0
    assert "all 24 pairs went the same way" in capsys.readouterr().out
    assert compare("random", *words, "--out", str(tmp_path / "d"), suite=mini) == 1
    assert file.read_bytes() == made  # only on request
    assert compare("random", *words, "--update-baseline", "a joke", "--out", str(tmp_path / "e"), suite=mini) == 0
    assert "regression: Got worse" in capsys.readouterr().out
    assert [change.reason for change in load_baseline(file).history] == ["first", "a joke"]
    file.write_text(file.read_text().replace("a joke", "progress"))
    assert compare("random", *words, "--out", str(tmp_path / "f"), suite=mini) == 2
    assert "does not fit its hash" in capsys.readouterr().err


def test_two_policies_may_be_compared_and_the_second_kept(mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file then plays no part in the comparison."""
    file = tmp_path / "baseline.json"
    words = ("--baseline", str(file), "--update-baseline")
    assert compare("random", *words, "first", "--out", str(tmp_path / "a"), suite=mini) == 0
    assert compare("constant", "constant", *words, "second", "--out", str(tmp_path / "b"), suite=mini) == 0
    assert "all 24 pairs went the same way" in capsys.readouterr().out
    assert [(change.reason, change.policy) for change in load_baseline(file).history] == [("first", "random"), ("second", "constant")]


def test_a_baseline_for_a_suite_that_has_changed_is_made_anew(mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("constant", "--baseline", str(tmp_path / "b.json"))
    assert compare(*words, "--update-baseline", "first", "--out", str(tmp_path / "a"), suite=mini) == 0
    Path(mini).write_text(Path(mini).read_text().replace("episodes: 12", "episodes: 5"))
    assert compare(*words, "--out", str(tmp_path / "b"), suite=mini) == 2
    assert "strata.0.seeds.1: 11 then, 4 now" in capsys.readouterr().err
    assert compare(*words, "--update-baseline", "shorter", "--out", str(tmp_path / "c"), suite=mini) == 0
    assert "it is replaced" in capsys.readouterr().err
    assert compare(*words, "--out", str(tmp_path / "d"), suite=mini) == 0
    assert [change.reason for change in load_baseline(tmp_path / "b.json").history] == ["first", "shorter"]


def test_the_plan_is_told_and_nothing_is_written(mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert compare("constant", "idm", "--out", str(out), "--dry-run", suite=mini) == 0
    shown = capsys.readouterr().out
    assert "mini: 24 pairs, in 12 rounds of 2; up to 48 episodes to drive" in shown
    assert "drop found with 90 % power" in shown
    assert compare("constant", "idm", "--out", str(out), "--dry-run", "--json", suite=mini) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["pairs"], plan["episodes"], plan["rounds"]) == (24, 48, 12)
    assert [o["metric"] for o in plan["outlook"]] == ["success", "route_progress"]
    assert plan["seconds"] > 0
    assert not out.exists()


def test_the_default_folder_is_that_of_the_run(mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert compare("constant", "constant", suite=mini) == 0
    assert compare("constant", "constant", suite=mini) == 2
    assert compare("constant", "constant", "--resume", suite=mini) == 0
    (folder,) = (tmp_path / "runs" / "compare").iterdir()
    assert json.loads((folder / "report.json").read_text())["run"] == folder.name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["idm"], "what to compare with?"),
        (["idm", "constant", "random"], "two policies at most"),
        (["idm", "constant", "--baseline", "b.json"], "not both"),
        (["idm", "--update-baseline", "why"], "needs a reason, and --baseline FILE"),
        (["idm", "--baseline", "b.json", "--update-baseline", " "], "needs a reason"),
        (["idm", "constnat"], "did you mean 'constant'"),
        (["idm", "constant", "--alpha", "0.5"], "0.5"),
        (["idm", "constant", "--test", "bayes"], "bayes"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_input_is_exit_code_2(words: list[str], said: str, mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*words, "--out", str(tmp_path / "out"), suite=mini) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("find", "put", "said"),
    [
        ("margin: 0.25", "margin: 0", "mini.yaml:6:"),
        ("metric: success", "metric: sucess", "did you mean 'success'?"),
        ("brief.yaml/easy", "brief.yaml/eesy", "mini.yaml:10:"),
        ("metrics:", "metric:", "did you mean 'metrics'?"),
    ],
)
def test_mistakes_in_the_suite_have_their_place(
    find: str, put: str, said: str, mini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(mini).write_text(Path(mini).read_text().replace(find, put))
    assert compare("idm", "constant", "--out", str(tmp_path / "out"), suite=mini) == 2
    assert said in capsys.readouterr().err


def test_the_schema_of_reports_is_published(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema", "--report"]) == 0
    assert json.loads(capsys.readouterr().out) == report_schema()
    assert cli.run(["schema", "--report", "--suite"]) == 2


def test_durations_are_readable() -> None:
    assert [comparing.duration(s) for s in (3.2, 600.0, 9000.0)] == ["3 s", "10 min", "2.5 h"]
