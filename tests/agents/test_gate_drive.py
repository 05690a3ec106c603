"""Driving and judging: whatever order results come in, from however many processes, in however many attempts, the verdict is one."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.evaluation import jobs
from agents.gate import drive as drive_module
from agents.gate import journal as journal_module
from agents.gate.drive import BASELINE, CANDIDATE, GIVE_UP, Collector, Half, half_of
from agents.gate.journal import JournalError, read
from agents.gate.plan import GatePlan, plan_from
from agents.gate.run import JOURNAL, Order, run_gate
from agents.gate.verdict import referee_for
from agents.policies import baselines
from agents.policies.base import PolicyNeeds
from scenarios import load_suite

ROOT = Path(__file__).resolve().parents[2]


def made_up(plan: GatePlan, seed: int, worse: float) -> list[tuple[str, str, int, Half]]:
    """Results of both policies on the whole plan; the candidate fails in a share of `worse` more."""
    rng = np.random.default_rng(seed)
    found = []
    for stratum in plan.strata:
        for number in stratum.seeds:
            for role, rate in ((BASELINE, 0.9), (CANDIDATE, 0.9 - worse)):
                values = (float(rng.random() < rate), float(rng.random()))
                found.append((role, stratum.name, number, Half(end="arrived", values=values, fingerprint=f"{role}{number}{stratum.name}")))
    return found


def collected(plan: GatePlan, results: list[tuple[str, str, int, Half]], full: bool = False) -> Collector:
    collector = Collector(plan, referee_for(plan.design), full=full)
    for result in results:
        collector.put(*result)
    return collector


def outcome_of(collector: Collector) -> tuple[Any, ...]:
    referee = collector.referee
    return collector.close(), len(collector.judged), referee.p_worse.tolist(), repr(referee.p_kept), [j.pair for j in collector.judged]


@pytest.mark.parametrize("worse", [0.0, 0.5])
def test_the_order_of_arrival_does_not_matter(mini: str, worse: float) -> None:
    plan = plan_from(load_suite(mini))
    results = made_up(plan, 1, worse)
    expected = outcome_of(collected(plan, results))
    rng = np.random.default_rng(2)
    for _ in range(20):
        shuffled = [results[k] for k in rng.permutation(len(results))]
        assert outcome_of(collected(plan, shuffled)) == expected
    if worse:
        assert expected[0] == "regression"
        assert expected[1] < plan.episodes
        full = collected(plan, results, full=True)
        assert (full.close(), len(full.judged)) == ("regression", plan.episodes)


def test_all_the_same_is_proved_by_all_of_it(mini: str) -> None:
    """Statistics could pass earlier; as long as nothing differs the proof is awaited. One bit of difference, and they decide."""
    plan = plan_from(load_suite(mini))
    half = Half(end="arrived", values=(1.0, 0.5), fingerprint="0")
    results = [(role, s.name, seed, half) for s in plan.strata for seed in s.seeds for role in (BASELINE, CANDIDATE)]
    same = collected(plan, results)
    assert (same.close(), same.identical, len(same.judged)) == ("pass", True, plan.episodes)
    other = [(*result[:3], replace(half, fingerprint="1") if result[:3] == (CANDIDATE, "brief/easy", 0) else half) for result in results]
    early = collected(plan, other)
    assert (early.close(), early.identical) == ("pass", False)
    assert len(early.judged) < plan.episodes


def test_equal_fingerprints_outweigh_rounded_figures(mini: str) -> None:
    plan = plan_from(load_suite(mini))
    kept, now = Half(end="kept", values=(1.0, 0.123457), fingerprint="0"), Half(end="arrived", values=(1.0, 0.1234567), fingerprint="0")
    results = [(role, s.name, seed, h) for s in plan.strata for seed in s.seeds for role, h in ((BASELINE, kept), (CANDIDATE, now))]
    assert all(judged.difference(2) == [0.0, 0.0] for judged in collected(plan, results).judged)


def test_a_lost_pair_is_named_and_many_end_it(mini: str) -> None:
    plan = plan_from(load_suite(mini))
    lost = Half(end="error", error="RuntimeError: gone")
    results = made_up(plan, 3, 0.0)
    one = collected(plan, [(*r[:3], lost if r[:3] == (BASELINE, "brief", 0) else r[3]) for r in results])
    assert [(j.pair.seed, j.baseline.error) for j in one.lost] == [(0, "RuntimeError: gone")]
    assert not one.identical
    every = collected(plan, [(*r[:3], lost if r[0] == CANDIDATE else r[3]) for r in results])
    assert every.gave_up
    assert len(every.lost) == GIVE_UP
    assert every.close() == "inconclusive"


def test_figures_that_cannot_be_are_lost() -> None:
    good = {"success": 1.0, "route_progress": 0.5}
    assert half_of("arrived", good, "ab" * 32, "", tuple(good)) == Half(end="arrived", values=(1.0, 0.5), fingerprint="ab" * 16)
    for metrics, said in (
        ({"success": None, "route_progress": 0.5}, "not a finite"),
        ({"success": 1.0}, "has no"),
        (good | {"route_progress": 7.0}, "between"),
    ):
        assert said in half_of("arrived", metrics, "", "", tuple(good)).error


def order_of(mini: str, baseline: str = "constant", candidate: str = "random", **changes: Any) -> Order:
    return Order(plan=plan_from(load_suite(mini)), baseline=baseline, candidate=candidate, **changes)


def report_of(order: Order, folder: Path, **options: Any) -> dict[str, Any]:
    report = run_gate(order, folder, **options).report
    assert report is not None
    return report.model_dump(mode="json")


def test_processes_do_not_change_the_report(mini: str, tmp_path: Path) -> None:
    order = order_of(mini, candidate="random")
    one, two = (report_of(order, tmp_path / str(workers), workers=workers) for workers in (1, 2))
    assert one == two
    assert one["verdict"] == "regression"
    assert multiprocessing.active_children() == []


def test_going_on_from_anywhere_gives_the_same_report(mini: str, tmp_path: Path) -> None:
    order = order_of(mini, candidate="idm", full=True)
    expected = report_of(order, tmp_path / "whole")
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + order.episodes
    for count, torn in ((1, b""), (9, b'{"body":{"end":"arr'), (30, b""), (len(lines), b"")):
        folder = tmp_path / f"cut{count}"
        folder.mkdir()
        (folder / JOURNAL).write_bytes(b"".join(lines[:count]) + torn)
        told: list[int] = []

        def progress(total: int, told: list[int] = told) -> Any:
            told.append(total)
            return _Quiet()

        assert report_of(order, folder, resume=True, progress=progress) == expected
        assert told == ([order.episodes + 1 - count] if count < len(lines) else [])
        assert sorted((folder / JOURNAL).read_bytes().count(k) for k in (b'"role":"baseline"', b'"role":"candidate"')) == [24, 24]


class _Quiet:
    def __enter__(self) -> Callable[[int], None]:
        return lambda count: None

    def __exit__(self, *_: object) -> None:
        pass


def test_two_different_results_of_one_episode_are_no_results(mini: str, tmp_path: Path) -> None:
    order = order_of(mini)
    run_gate(order, tmp_path / "out")
    journal, records = journal_module.Journal.resume(tmp_path / "out" / JOURNAL, order.config)
    with journal:
        journal.append(records[0])  # the same again does no harm
    run_gate(order, tmp_path / "out", resume=True)
    journal, _ = journal_module.Journal.resume(tmp_path / "out" / JOURNAL, order.config)
    with journal:
        journal.append({**records[0], "fingerprint": "0" * 64})
    with pytest.raises(JournalError, match="two different results of baseline on brief, seed 0"):
        run_gate(order, tmp_path / "out", resume=True)


class Broken:
    """Drives straight on, until something happens: at tick `tick` of episodes with an odd seed."""

    name = "broken"
    needs = PolicyNeeds(action="continuous")
    what = "nan"

    def act(self, observation: Any, *, seed: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        action = torch.zeros(len(seed), 1, 2)
        if self.what == "raise":
            raise RuntimeError("out of ideas")
        if self.what == "exit":
            sys.exit(0)
        value = {"nan": math.nan, "inf": math.inf}[self.what]
        action[(seed % 2 == 1) & (step == 4)] = value
        return action


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    monkeypatch.setitem(baselines.BASELINES, "broken", Broken)

    def choose(what: str) -> None:
        monkeypatch.setattr(Broken, "what", what)

    yield choose


@pytest.mark.parametrize(
    ("what", "said", "count"),
    [("nan", "not finite at tick 4", 12), ("inf", "not finite", 12), ("raise", "out of ideas", 20), ("exit", "SystemExit: 0", 20)],
)
@pytest.mark.parametrize("role", [BASELINE, CANDIDATE])
def test_policies_that_break_are_named(
    mini: str, tmp_path: Path, broken: Callable[[str], None], what: str, said: str, count: int, role: str
) -> None:
    broken(what)
    policies = {"baseline": "constant", "candidate": "constant"} | {role: "broken"}
    report = report_of(order_of(mini, full=True, **policies), tmp_path)
    assert (report["verdict"], report["exit_code"]) == ("incomplete", 4)
    assert len(report["lost"]) == report["pairs_lost"] == count
    assert all(said in lost["why"] and lost["role"] == role for lost in report["lost"])
    assert "No verdict" in report["because"]


def test_an_episode_that_cannot_be_drawn_is_named(mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order, draw = order_of(mini, candidate="constant"), jobs.sample

    def sample(scenario: Any, seed: int) -> Any:
        if seed == 7:
            raise ValueError("no room for the ego")
        return draw(scenario, seed)

    monkeypatch.setattr(jobs, "sample", sample)
    report = report_of(order, tmp_path)
    assert report["exit_code"] == 4
    assert {(x["role"], x["scenario"], x["seed"]) for x in report["lost"]} == {
        (role, name, 7) for role in (BASELINE, CANDIDATE) for name in ("brief", "brief/easy")
    }
    monkeypatch.undo()
    again = report_of(order, tmp_path, resume=True)  # what was lost is tried again
    assert (again["verdict"], again["identical"]) == ("pass", True)


def test_results_that_do_not_come_back_are_named(mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drive_module.drive

    def forgetful(jobs: Any, **options: Any) -> None:
        whole([job for job in jobs if (job.label, job.name) != (CANDIDATE, "brief/easy")], **options)

    monkeypatch.setattr(drive_module, "drive", forgetful)
    report = report_of(order_of(mini, candidate="constant"), tmp_path / "a")
    assert report["exit_code"] == 4
    assert {(lost["role"], lost["scenario"], lost["why"]) for lost in report["lost"]} == {(CANDIDATE, "brief/easy", "no result came back")}
    assert len(report["lost"]) == 12
    outcome = run_gate(Order(plan=plan_from(load_suite(mini)), candidate="constant", full=True), tmp_path / "b")
    assert len(outcome.lost) == 12


def test_a_scenario_that_was_spoilt_meanwhile_is_named(mini: str, tmp_path: Path) -> None:
    order = order_of(mini, candidate="constant")
    (tmp_path / "brief.yaml").write_text("version: 1\nname: brief\nroad: [")
    report = report_of(order, tmp_path / "out")
    assert report["exit_code"] == 4
    assert all("ScenarioError" in lost["why"] for lost in report["lost"])


@pytest.mark.slow
def test_a_process_that_is_killed_is_named_though_nothing_is_lost(mini: str, tmp_path: Path) -> None:
    order, killed = order_of(mini, candidate="constant"), list[int]()

    class Killing(_Quiet):
        def __enter__(self) -> Callable[[int], None]:
            def tick(count: int) -> None:
                for child in multiprocessing.active_children():
                    if not killed and child.pid is not None:
                        killed.append(child.pid)
                        os.kill(child.pid, signal.SIGKILL)

            return tick

    report = report_of(order, tmp_path, workers=2, progress=lambda total: Killing())
    assert len(killed) == 1
    assert (report["verdict"], report["exit_code"], report["figures_say"], report["lost"]) == ("incomplete", 4, "pass", [])
    (incident,) = report["incidents"]
    assert "died of SIGKILL" in incident
    again = report_of(order, tmp_path, resume=True)
    assert (again["verdict"], again["identical"], again["incidents"]) == ("pass", True, [])
    assert f"In an earlier attempt {incident}." in again["warnings"]


def test_a_disk_that_fills_up_ends_it(mini: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append, written = journal_module.Journal.append, list[int]()

    def full(self: journal_module.Journal, body: dict[str, Any]) -> None:
        if len(written) == 10:
            raise JournalError("journal.jsonl: cannot be written: No space left on device")
        written.append(1)
        append(self, body)

    monkeypatch.setattr(journal_module.Journal, "append", full)
    with pytest.raises(JournalError, match="No space left"):
        run_gate(order_of(mini), tmp_path)
    assert len(read(tmp_path / JOURNAL)[0]) == 11


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, 50])
def test_killed_at_any_moment_it_goes_on_to_the_same_report(mini: str, tmp_path: Path, kills: int) -> None:
    """The whole command, killed with SIGKILL when the journal has grown to some random length, several times over."""

    def command(out: Path, *more: str) -> list[str]:
        line = ["compare", "constant", "idm", "--suite", mini, "--full", "--workers", "1", "--out", str(out), *more]
        return [sys.executable, "-m", "agents.cli", *line]

    whole, out = tmp_path / "whole", tmp_path / "out"
    assert subprocess.run(command(whole), cwd=ROOT, capture_output=True).returncode == 0
    size = (whole / JOURNAL).stat().st_size
    rng = np.random.default_rng(4)
    for attempt, share in enumerate(sorted(rng.uniform(0.05, 0.9, kills))):
        with subprocess.Popen(command(out, *["--resume"] * bool(attempt)), cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + 120.0
            while process.poll() is None and not ((out / JOURNAL).exists() and (out / JOURNAL).stat().st_size > share * size):
                assert time.monotonic() < end
                time.sleep(0.002)
            process.kill()
    assert not (out / "report.json").exists()
    assert subprocess.run(command(out, "--resume"), cwd=ROOT, capture_output=True).returncode == 0
    assert json.loads((out / "report.json").read_text()) == json.loads((whole / "report.json").read_text())
