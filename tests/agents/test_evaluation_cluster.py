"""Jobs on a Ray cluster: the same results by the same protocol. What does not need Ray is tested without it, too."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agents import cli
from agents.evaluation import cluster
from agents.evaluation.jobs import Job, drive, run_job
from agents.evaluation.rollout import EpisodeResult, TraceRule
from agents.gate.plan import plan_from
from agents.gate.run import Order, run_gate
from scenarios import load_suite


def job_of(brief: str, *seeds: int) -> Job:
    return Job(policy="random", label="candidate", scenario=brief, name="brief", seeds=seeds, traces=TraceRule(), fingerprints=True)


def test_a_task_gives_what_a_job_gives(brief: str) -> None:
    job, told = job_of(brief, 4, 2), list[EpisodeResult]()
    run_job(job, told.append)
    assert list(cluster._work(job, os.getcwd(), cluster._machine())) == told
    assert {result.seed for result in told} == {2, 4}


def test_a_machine_that_is_different_drives_nothing(brief: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, mine = job_of(brief, 4, 2), cluster._machine()
    monkeypatch.setattr(cluster, "run_job", pytest.fail)
    for name in ("torch", "cpu", "code"):
        (first, second) = cluster._work(job, os.getcwd(), mine | {name: "other"})
        assert (first.seed, first.end, second.seed) == (4, "error", 2)
        assert first.error == f"{mine['host']} cannot drive it: {name} {mine[name]} there, other here"
    (first, _) = cluster._work(job, str(tmp_path / "nowhere"), mine | {"host": "other", "python": "other"})  # these two do not matter
    assert first.error == f"{mine['host']} cannot drive it: no folder {tmp_path / 'nowhere'} there"


def test_without_ray_the_extra_is_named(
    mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["compare", "constant", "constant", "--suite", mini, "--out", str(tmp_path / "out"), "--cluster", "ray"]
    assert cli.run(words) == 2
    assert "this needs the extra 'cluster': pip install 'closedloop[cluster]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- with Ray


@pytest.fixture(scope="module")
def crew() -> Iterator[cluster.RayCrew]:
    pytest.importorskip("ray")
    with cluster.RayCrew() as found:
        yield found


ours = pytest.mark.filterwarnings("default")  # Ray's own warnings are not for us to mend


@ours
def test_the_report_is_that_of_processes(mini: str, tmp_path: Path, crew: cluster.RayCrew) -> None:
    order = Order(plan=plan_from(load_suite(mini)), baseline="constant", candidate="random", full=True)
    here, there = run_gate(order, tmp_path / "a", workers=1), run_gate(order, tmp_path / "b", workers=2, crew=crew)
    assert here.report == there.report
    assert here.records == there.records
    assert crew.size >= 1


def workers() -> list[int]:
    """Processes of Ray that do a job of ours."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_work"):
                found.append(int(path.parent.name))
        except OSError:
            pass  # it has just ended
    return found


@ours
def test_a_worker_that_is_killed_is_named_and_its_job_done_again(mini: str, tmp_path: Path, crew: cluster.RayCrew) -> None:
    order, killed = Order(plan=plan_from(load_suite(mini)), baseline="constant", candidate="random", full=True), list[int]()

    @contextmanager
    def progress(total: int) -> Iterator[Callable[[int], None]]:
        def tick(count: int) -> None:
            for pid in workers() if not killed else []:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

        yield tick

    there = run_gate(order, tmp_path / "a", workers=2, crew=crew, progress=progress).report
    assert there is not None
    assert killed
    assert (there.verdict, there.exit_code, there.figures_say, there.lost) == ("incomplete", 4, "regression", ())
    assert any("died of" in line and "what it had left was driven again" in line for line in there.incidents)
    again = run_gate(order, tmp_path / "a", resume=True).report
    here = run_gate(order, tmp_path / "b").report
    assert again is not None
    assert here is not None
    assert again.findings == here.findings
    assert any(line.startswith("In an earlier attempt a process that drove") for line in again.warnings)


@ours
def test_what_a_job_raises_costs_its_episodes(brief: str, crew: cluster.RayCrew) -> None:
    told: list[Any] = []
    drive([job_of(brief + "x", 1, 2), job_of(brief, 3)], workers=2, keep=told.append, crew=crew)
    assert sorted((result.seed, result.end == "error") for result in told) == [(1, True), (2, True), (3, False)]


@ours
def test_the_command(mini: str, tmp_path: Path, crew: cluster.RayCrew, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "constant", "constant", "--suite", mini, "--out", str(tmp_path / "out"), "--cluster", "ray", "--json"]
    assert cli.run(words) == 0
    assert json.loads(capsys.readouterr().out)["identical"] is True
    assert crew.ray.is_initialized()  # it was there before the command, so it stays
