"""Driving the pairs of a plan on several cores, and judging them in the plan's order, whatever order they come in.

Results go to the journal as they come. They are judged round by round: a round counts when all its episodes are there, and the rounds
before it have been judged. So where judging ends, and with what, depends on the results alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.evaluation.jobs import Crew, Job, drive
from agents.evaluation.rollout import BATCH, EpisodeResult, TraceRule
from agents.gate.journal import Journal, JournalError
from agents.gate.metrics import MetricError, goodness
from agents.gate.plan import GatePlan, Pair
from agents.gate.verdict import Decision, Referee

__all__ = ["BASELINE", "CANDIDATE", "Collector", "Half", "Judged", "drive_plan", "half_of", "record_of"]

BASELINE, CANDIDATE = "baseline", "candidate"
GIVE_UP = 20  # pairs lost, after which there is no use in going on
DIGITS = 32  # of a fingerprint, half of its SHA-256
Key = tuple[str, str, int]  # role, scenario name, seed


@dataclass(frozen=True, kw_only=True)
class Half:
    """What one policy made of an episode."""

    end: str
    values: tuple[float, ...] = ()  # (M,) of the gated metrics, 1 is best; empty if it was lost
    fingerprint: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A pair that has been judged."""

    pair: Pair
    baseline: Half
    candidate: Half

    @property
    def lost(self) -> bool:
        """Whether one of the two has no figures."""
        return bool(self.baseline.error or self.candidate.error)

    @property
    def same(self) -> bool:
        """Whether the same thing happened, to the last bit."""
        return not self.lost and bool(self.baseline.fingerprint) and self.baseline.fingerprint == self.candidate.fingerprint

    def difference(self, metrics: int) -> list[float]:
        """(M,) candidate less baseline; NaN if the pair was lost."""
        if self.lost:
            return [math.nan] * metrics
        if self.same:
            return [0.0] * metrics
        return [c - b for b, c in zip(self.baseline.values, self.candidate.values, strict=True)]


class Collector:
    """Holds results until their round is complete, hands rounds to the referee in order, and knows when it is enough.

    As long as all pairs were the same to the last bit a pass is not called early: if they all are, nothing has changed, which is more than
    any statistics can say. full: call nothing early.
    """

    def __init__(self, plan: GatePlan, referee: Referee, *, full: bool = False) -> None:
        self.plan, self.referee, self.full = plan, referee, full
        self.halves: dict[Key, Half] = {}
        self.judged: list[Judged] = []
        self.decision: Decision | None = None
        self.identical = True  # so far
        self.gave_up = False

    @property
    def enough(self) -> bool:
        """Whether no further episode is needed."""
        return self.gave_up or self.referee.rounds == self.plan.rounds or (self.decision is not None and not self.full)

    @property
    def lost(self) -> list[Judged]:
        """Pairs without figures among those that were judged."""
        return [judged for judged in self.judged if judged.lost]

    def put(self, role: str, scenario: str, seed: int, half: Half) -> bool:
        """Take a result; whether it is enough now. Results that are not part of the plan, or that come late, change nothing."""
        self.halves[role, scenario, seed] = half
        while not self.enough and (complete := self._next()):
            self._judge(complete)
        return self.enough

    def close(self) -> Decision:
        """The decision on everything that was judged. All the same: pass."""
        if self.referee.rounds == self.plan.rounds and self.identical and self.judged:
            return "pass"
        if self.decision is None:
            return self.referee.close()
        return self.decision

    def _next(self) -> list[Judged] | None:
        """The next round, if all its results are there."""
        found = []
        for pair in self.plan.round(self.referee.rounds):
            name = self.plan.strata[pair.stratum].name
            halves = [self.halves.get((role, name, pair.seed)) for role in (BASELINE, CANDIDATE)]
            if halves[0] is None or halves[1] is None:
                return None
            found.append(Judged(pair=pair, baseline=halves[0], candidate=halves[1]))
        return found

    def _judge(self, pairs: list[Judged]) -> None:
        self.judged += pairs
        self.identical = self.identical and all(judged.same for judged in pairs)
        metrics = len(self.plan.design.metrics)
        said = self.referee.add(np.array([judged.difference(metrics) for judged in pairs]))
        if said == "regression" or (said and not self.identical and self.decision is None):
            self.decision = said
        self.gave_up = len(self.lost) >= GIVE_UP


class _Enough(BaseException):
    """Ends the driving: not an Exception, because those cost an episode and no more."""


class _Broken(BaseException):
    """The journal could not be written."""


def drive_plan(
    plan: GatePlan,
    policies: Mapping[str, str],
    journal: Journal,
    *,
    known: Iterable[Key],
    put: Callable[[str, str, int, EpisodeResult], bool],
    workers: int,
    compile: bool = False,
    crew: Crew | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Drive what is not `known` yet until `put` says that it is enough; what went wrong with processes, a line each.

    policies: what `load_policy` takes, by role. put: gets role, scenario name, seed and result, after it has been written down. crew: who
    drives, as `agents.evaluation.jobs.drive` takes it. Raises JournalError, KeyboardInterrupt.
    """
    incidents: list[str] = []

    def write(record: dict[str, Any]) -> None:
        try:
            journal.append(record)
        except JournalError as error:
            raise _Broken from error

    def keep(result: EpisodeResult) -> None:
        write(record_of(result))
        if progress:
            progress(1)
        if put(result.policy, result.scenario, result.seed, result):
            raise _Enough

    def died(job: Job, cause: str) -> None:
        left = "its episodes are lost" if job.again else "what it had left was driven again"
        incidents.append(f"a process that drove {policies[job.label]} on {job.name} died of {cause}; {left}")
        write({"incident": incidents[-1]})

    jobs = list(_jobs(plan, policies, frozenset(known), compile))
    try:
        if jobs:
            drive(jobs, workers=workers, keep=keep, died=died, crew=crew)
    except _Enough:
        pass
    except _Broken as broken:
        assert isinstance(broken.__cause__, JournalError)
        raise broken.__cause__ from None
    return incidents


def _jobs(plan: GatePlan, policies: Mapping[str, str], known: frozenset[Key], compile: bool) -> Iterable[Job]:
    """Some rounds of every stratum, then the next ones: as many as fill a batch, which costs the same when it is not full."""
    wave = max(1, BATCH // max(plan.design.per_round))
    for start in range(0, plan.rounds, wave):
        for stratum, share in zip(plan.strata, plan.design.per_round, strict=True):
            part = stratum.seeds[start * share : (start + wave) * share]
            for role, spec in policies.items():
                seeds = tuple(seed for seed in part if (role, stratum.name, seed) not in known)
                if seeds:
                    yield Job(
                        policy=spec, label=role, scenario=stratum.spec, name=stratum.name, seeds=seeds, traces=TraceRule(),
                        fingerprints=True, compile=compile,
                    )  # fmt: skip


def record_of(result: EpisodeResult) -> dict[str, Any]:
    """A result as the journal keeps it. What is no number becomes null."""
    metrics = {name: value if math.isfinite(value) else None for name, value in result.metrics.items()}
    return {
        "role": result.policy, "scenario": result.scenario, "seed": result.seed, "end": result.end, "metrics": metrics,
        "fingerprint": result.fingerprint, "error": result.error,
    }  # fmt: skip


def half_of(end: str, metrics: Mapping[str, float | None], fingerprint: str, error: str, names: Iterable[str]) -> Half:
    """What is judged of a result; lost, with the reason, if it has no figures."""
    if error:
        return Half(end=end, error=error)
    try:
        figures = {name: math.nan if value is None else value for name, value in metrics.items()}
        values = tuple(goodness(figures, name) for name in names)
    except MetricError as broken:
        return Half(end="error", error=str(broken))
    return Half(end=end, values=values, fingerprint=fingerprint[:DIGITS])
