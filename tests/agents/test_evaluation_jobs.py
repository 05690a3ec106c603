"""Real processes that die or are interrupted: nothing that was driven is lost, and what is lost has a name."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agents.evaluation import jobs
from agents.evaluation.rollout import BATCH
from agents.evaluation.suite import Plan, judge

ROOT = Path(__file__).resolve().parents[2]


def plan_of(brief: str, first: int, second: int) -> Plan:
    return Plan(entries=((brief, tuple(range(first))), (f"{brief}/hard", tuple(range(second)))))


def test_processes_change_nothing(brief: str) -> None:
    plan, told = plan_of(brief, 3, 2), list[int]()
    assert judge(["random"], plan, workers=2, progress=told.append) == judge(["random"], plan)
    assert sum(told) == plan.episodes
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_what_a_killed_process_had_left_is_driven_again(brief: str) -> None:
    plan, told = plan_of(brief, BATCH + 6, 2), list[int]()
    killed: list[int] = []

    def kill(count: int) -> None:
        told.append(count)
        if not killed:  # the first results are there, the last six of the long job cannot be
            for child in multiprocessing.active_children():
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)
                killed.append(child.pid)

    results = judge(["random"], plan, workers=2, progress=kill)
    assert len(killed) == 2
    assert results == judge(["random"], plan)
    assert sum(told) == plan.episodes  # none was told twice


def test_a_job_whose_process_dies_twice_is_lost_by_name(brief: str, monkeypatch: pytest.MonkeyPatch) -> None:
    give, given = jobs._Process.give, list[jobs.Job]()

    def deadly(worker: jobs._Process, job: jobs.Job) -> None:
        give(worker, job)
        given.append(job)
        if job.scenario.endswith("/hard"):
            assert worker.process.pid is not None
            os.kill(worker.process.pid, signal.SIGKILL)

    monkeypatch.setattr(jobs._Process, "give", deadly)
    plan = plan_of(brief, 3, 2)
    results = judge(["random"], plan, workers=2)
    assert [(r.scenario, r.seed, r.end == "error") for r in results] == [
        *[("brief", seed, False) for seed in range(3)],
        *[("brief/hard", seed, True) for seed in range(2)],
    ]
    assert {r.error for r in results[3:]} == {"its process died twice, at last by SIGKILL"}
    assert [job.again for job in given if job.name == "brief/hard"] == [False, True]
    assert multiprocessing.active_children() == []


def test_ctrl_c_keeps_what_was_driven(brief: str, tmp_path: Path) -> None:
    """As a terminal does it: the signal goes to the whole process group."""
    out = tmp_path / "out"
    argv = ["eval", "random", "constant", "--scenario", brief, "--episodes", "400", "--traces", "none", "--workers", "2", "--out", str(out)]
    command = [sys.executable, "-m", "agents.cli", *argv]

    def heed() -> None:  # what a shell starts in the background ignores the signal, and so do its children
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, preexec_fn=heed, **piped) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert re.match(r"\d+ of 800 episodes", process.stderr.readline())
        os.killpg(process.pid, signal.SIGINT)
        rest, shown = process.stderr.read(), process.stdout.read()
    assert process.returncode == 130
    assert "Traceback" not in rest
    report = json.loads((out / "results.json").read_text())
    ends = [r["end"] for r in report["results"]]
    assert len(ends) == 800
    assert report["interrupted"] is True
    assert 80 <= sum(end != "interrupted" for end in ends) < 800
    gone = ends[:400].count("interrupted")
    assert f"random on brief: {gone} of 400 (seeds " in rest or gone == 0
    assert "interrupted; not driven, and in no figure:" in rest
    assert "how episodes ended" in shown
    assert str(out / "results.json") in rest
    end = time.monotonic() + 20.0
    while _alive(process.pid):
        assert time.monotonic() < end, "a process stayed behind"
        time.sleep(0.1)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
