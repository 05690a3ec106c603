"""Pairs in which the candidate did worse, driven once more for their traces: from the seeds, and compared with what was judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.evaluation.jobs import Job, drive
from agents.evaluation.rollout import EpisodeResult, TraceRule
from agents.gate.drive import BASELINE, CANDIDATE
from agents.gate.report import Worse
from agents.gate.run import Order, Outcome
from agents.playback.trace import Trace
from agents.policies.base import load_policy

__all__ = ["TRACES", "Replay", "drive_again"]

TRACES = "traces"  # folder below the report's


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A pair with traces. Roles that were not driven again, or not to an end, are missing."""

    worse: Worse
    results: dict[str, EpisodeResult]  # by role

    def trace(self, role: str) -> Trace | None:
        """The trace of a role, read from its file. Raises OSError, TraceError."""
        result = self.results.get(role)
        return Trace.load(result.trace) if result and result.trace else None


def drive_again(
    order: Order, outcome: Outcome, pairs: Sequence[Worse], folder: Path, *, workers: int = 1, progress: Callable[[int], None] | None = None
) -> tuple[list[Replay], list[str]]:
    """Drive `pairs` again, the candidate's episodes and those of a baseline that is there to drive, and keep their traces below `folder`.

    Returns the replays in the order of the pairs, and a line for each episode that did not come out as it was judged, to the last bit.
    """
    roles = {spec: role for role, spec in order.policies.items()}  # results are called by what is driven, which traces show too
    jobs = [job for role in (CANDIDATE, BASELINE) if role in order.policies for job in _jobs(order, role, pairs, folder)]
    found: dict[tuple[str, str, int], EpisodeResult] = {}

    def keep(result: EpisodeResult) -> None:
        found[roles[result.policy], result.scenario, result.seed] = result
        if progress:
            progress(1)

    if jobs:
        drive(jobs, workers=workers, keep=keep)
    differ = []
    for (role, scenario, seed), result in sorted(found.items()):
        judged = outcome.records.get((role, scenario, seed))
        if result.error:
            differ.append(f"{scenario}, seed {seed}, {role}: it could not be driven again: {result.error}")
        elif judged is not None and judged["fingerprint"] != result.fingerprint:
            differ.append(f"{scenario}, seed {seed}, {role}: driven again, it did not go the same way to the last bit")
    replays = []
    for pair in pairs:
        mine = {role: found[key] for role in (CANDIDATE, BASELINE) if (key := (role, pair.scenario, pair.seed)) in found}
        replays.append(Replay(worse=pair, results={role: result for role, result in mine.items() if not result.error}))
    return replays, differ


def _jobs(order: Order, role: str, pairs: Sequence[Worse], folder: Path) -> list[Job]:
    """One for each scenario."""
    spec = order.policies[role]
    policy = load_policy(spec)
    jobs = []
    for stratum in order.plan.strata:
        seeds = tuple(pair.seed for pair in pairs if pair.scenario == stratum.name)
        mine = [seed for seed in seeds if seed in stratum.seeds]
        if not mine:
            continue
        rule = TraceRule(folder=folder / TRACES, policy=spec, scenario=stratum.spec, compile=order.compile)
        jobs.append(
            Job(
                policy=spec, label=spec, scenario=stratum.spec, name=stratum.name, seeds=tuple(mine), traces=rule, fingerprints=True,
                account=policy.needs.observation not in ("truth", "pixels"), compile=order.compile,
            )
        )  # fmt: skip
    return jobs
