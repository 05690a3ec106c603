"""One gate from beginning to end: journal, driving, judging, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from agents.evaluation.domains import changed_task_weights, load_task_policy, rollout_task, task_of
from agents.evaluation.jobs import Crew
from agents.evaluation.rollout import BATCH, EpisodeResult, rollout
from agents.gate.baseline import Baseline, make_baseline
from agents.gate.drive import BASELINE, CANDIDATE, Collector, Key, drive_plan, half_of, record_of
from agents.gate.findings import make_report
from agents.gate.journal import Journal, JournalError
from agents.gate.plan import GatePlan, configuration, identity, run_id, task_identity
from agents.gate.report import Lost, Report
from agents.gate.verdict import referee_for
from agents.policies.base import load_policy
from agents.policies.pins import weights_changed
from scenarios import load, sample

__all__ = ["JOURNAL", "Driven", "Order", "Outcome", "Progress", "drive_journalled", "run_gate", "seconds"]

JOURNAL = "journal.jsonl"
Tick = Callable[[int], None]
Progress = Callable[[int], AbstractContextManager[Tick]]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be compared. Neither baseline nor kept: the candidate is only driven, to become a baseline."""

    plan: GatePlan
    candidate: str  # policies as load_policy takes them
    baseline: str | None = None
    kept: Baseline | None = None  # in place of a baseline that is driven
    replaces: Baseline | None = None  # what a baseline made of the candidate takes the place of
    full: bool = False  # drive everything, even when the verdict is known
    compile: bool = False

    @property
    def policies(self) -> dict[str, str]:
        """What is driven, by role."""
        return ({BASELINE: self.baseline} if self.baseline else {}) | {CANDIDATE: self.candidate}

    @cached_property
    def config(self) -> dict[str, Any]:
        """What decides the results. Raises PolicyError or BundleError for a policy that cannot be used."""
        tasks = self.plan.tasks
        policies = {role: task_identity(spec, tasks) if tasks else identity(spec) for role, spec in self.policies.items()}
        if self.kept:
            policies = {BASELINE: {**self.kept.policy, "kept": self.kept.hash}, **policies}
        return configuration(self.plan, policies, full=self.full, compile=self.compile)

    @cached_property
    def run(self) -> str:
        """The name of the run: the same for the same configuration."""
        return run_id(self.config)

    @property
    def episodes(self) -> int:
        """At most so many are driven."""
        return self.plan.episodes * len(self.policies)

    @cached_property
    def warnings(self) -> list[str]:
        """About perception weights that are not those a policy was trained with, and a baseline that was made elsewhere. Read once: files
        may be gone when the report is made."""
        specs = dict.fromkeys(self.policies.values())
        if self.plan.tasks:
            return [*changed_task_weights([*specs], self.plan.tasks), *self._elsewhere()]
        seen = (weights_changed(load_policy(spec, changed="ignore"), spec) for spec in specs)
        return [*(text for text in seen if text), *self._elsewhere()]

    def _elsewhere(self) -> list[str]:
        if self.kept is None:
            return []
        now = {**self.config["versions"], "compile": self.compile}
        other = [f"{name} {then}, now {now.get(name)}" for name, then in self.kept.made_with.items() if now.get(name) != then]
        if not other:
            return []
        return [
            f"The baseline was made with {'; '.join(other)}. Rounding may differ, so that pairs are rarely identical to the last bit; "
            "the tests hold all the same."
        ]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it. `report` is None where there was nothing to compare with."""

    report: Report | None
    lost: tuple[Lost, ...]  # episodes of the candidate and of a driven baseline
    incidents: tuple[str, ...]
    records: dict[Key, dict[str, Any]]  # as in the journal

    def as_baseline(self, order: Order, reason: str) -> Baseline:
        """The candidate's results as a file. Raises KeyError if one of them is missing."""
        return make_baseline(
            order.plan,
            lambda scenario, seed: self.records[CANDIDATE, scenario, seed],
            policy=order.config["policies"][CANDIDATE],
            made_with={name: order.config["versions"][name] for name in ("closedloop", "torch", "cpu")} | {"compile": order.compile},
            reason=reason,
            before=order.replaces,
        )


def run_gate(
    order: Order,
    folder: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    crew: Crew | None = None,
    progress: Progress = lambda total: nullcontext(lambda count: None),
) -> Outcome:
    """Drive and judge, with a journal in `folder`. crew: as `agents.evaluation.jobs.drive` takes it. progress: given how many episodes are
    left at most, what to tell of those that end.

    Raises OSError, OtherRunError or JournalError as `Journal` does; KeyboardInterrupt, after which `resume` goes on.
    """
    names, warnings = [metric.name for metric in order.plan.design.metrics], order.warnings
    collector = None
    if order.baseline or order.kept:
        collector = Collector(order.plan, referee_for(order.plan.design), full=order.full)
        for (scenario, seed), half in (order.kept.halves(order.plan) if order.kept else {}).items():
            collector.put(BASELINE, scenario, seed, half)

    def take(record: dict[str, Any]) -> bool:
        if collector is None:
            return False
        half = half_of(record["end"], record["metrics"], record["fingerprint"], record["error"], names)
        return collector.put(record["role"], record["scenario"], record["seed"], half)

    driven = drive_journalled(
        order.plan, order.policies, order.config, folder, take=take, compile=order.compile, resume=resume, workers=workers, crew=crew,
        progress=progress,
    )  # fmt: skip
    records, incidents = driven.records, driven.incidents
    if collector is None:
        return Outcome(report=None, lost=driven.lost, incidents=incidents, records=records)
    report = make_report(
        collector, config=order.config, run=order.run, candidate=order.candidate, incidents=incidents,
        warnings=[*warnings, *driven.warnings],
    )  # fmt: skip
    return Outcome(report=report, lost=report.lost, incidents=report.incidents, records=records)


@dataclass(frozen=True, kw_only=True)
class Driven:
    """What is known after driving. Episodes without a result have a record that says so."""

    records: dict[Key, dict[str, Any]]  # as in the journal
    incidents: tuple[str, ...]  # of this attempt
    warnings: tuple[str, ...]  # incidents of earlier attempts

    @property
    def lost(self) -> tuple[Lost, ...]:
        """Episodes without figures."""
        return tuple(Lost(role=key[0], scenario=key[1], seed=key[2], why=r["error"]) for key, r in self.records.items() if r["error"])


def drive_journalled(
    plan: GatePlan,
    policies: Mapping[str, str],
    config: dict[str, Any],
    folder: Path,
    *,
    take: Callable[[dict[str, Any]], bool],
    compile: bool,
    resume: bool,
    workers: int,
    crew: Crew | None,
    progress: Progress,
) -> Driven:
    """Drive the episodes of a plan by `policies` (role -> as `load_policy` takes it) until `take`, which gets every record, says that it is
    enough. What a journal in `folder` holds is not driven again. Raises as `run_gate`."""
    path = folder / JOURNAL
    journal, old = Journal.resume(path, config) if resume else (Journal.create(path, config), [])
    records: dict[Key, dict[str, Any]] = {}
    total, enough, incidents = plan.episodes * len(policies), False, list[str]()

    def note(record: dict[str, Any]) -> bool:
        nonlocal enough
        records[record["role"], record["scenario"], record["seed"]] = record
        enough = take(record) or len(records) == total
        return enough

    with journal:
        if not any(note(record) for record in _settled(old, path)):
            with progress(total - len(records)) as tick:
                incidents = drive_plan(
                    plan, policies, journal, known=list(records), put=lambda role, scenario, seed, result: note(record_of(result)),
                    workers=workers, compile=compile, crew=crew, progress=tick,
                )  # fmt: skip
        if not enough:
            for role, scenario, seed in _missing(plan, policies, records):
                note(record_of(EpisodeResult(policy=role, scenario=scenario, seed=seed, end="error", error="no result came back")))
    earlier = tuple(f"In an earlier attempt {record['incident']}." for record in old if "incident" in record)
    return Driven(records=records, incidents=tuple(incidents), warnings=earlier)


def _missing(plan: GatePlan, policies: Iterable[str], records: Iterable[Key]) -> list[Key]:
    """Episodes that should have been driven and have no record."""
    there = frozenset(records)
    keys = [(role, s.name, seed) for s in plan.strata for seed in s.seeds for role in policies]
    return [key for key in keys if key not in there]


def _settled(old: Iterable[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """The records of an earlier attempt that need not be driven again: those with figures. Raises JournalError if two contradict."""
    found: dict[Key, dict[str, Any]] = {}
    for record in old:
        if "incident" in record or record["error"]:
            continue
        key = (record["role"], record["scenario"], record["seed"])
        if found.setdefault(key, record) != record:
            raise JournalError(f"{path}: two different results of {key[0]} on {key[1]}, seed {key[2]}: it does not repeat itself")
    return list(found.values())


def seconds(plan: GatePlan, policies: Sequence[str], workers: int, *, compile: bool) -> float:
    """About how long it takes at most, s: from the time that one short episode of the last of the policies takes just now.

    Every job is taken to last as long as its episodes may, and to cost as much as a full batch does, which it does.
    """
    shortest = min(plan.strata, key=lambda stratum: stratum.duration)
    if task := task_of(shortest.spec):
        return _task_seconds(plan, task, policies, workers)
    episode, policy = sample(load(shortest.spec), shortest.seeds[0]), load_policy(policies[-1], changed="ignore")
    begun = time.perf_counter()
    (result,) = rollout(policy, [episode], fingerprints=True, compile=compile)
    pace = (time.perf_counter() - begun) / max(result.metrics.get("duration", 0.0), 1.0)  # s a simulated second of a batch
    batches = sum(-(-len(stratum.seeds) // BATCH) * stratum.duration for stratum in plan.strata)
    return pace * batches * len(policies) / workers


def _task_seconds(plan: GatePlan, task: str, policies: Sequence[str], workers: int) -> float:
    """The same for tasks, whose worlds are taken to cost what they cost one by one: from a few episodes of the shortest."""
    stratum = next(s for s in plan.strata if task_of(s.spec) == task)  # a task may be there again with other seeds
    few = stratum.seeds[:8]
    begun = time.perf_counter()
    results = rollout_task(load_task_policy(policies[-1], task), task, few)
    pace = (time.perf_counter() - begun) / max(sum(r.metrics.get("seconds", 0.0) for r in results), 1.0)
    return pace * sum(len(s.seeds) * s.duration for s in plan.strata) * len(policies) / workers
