"""Judge several policies on the same episodes, on as many cores as there are, and account for every episode.

Every policy meets the same (scenario, seed) pairs, so their results can be compared pair by pair.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from agents.evaluation.rollout import BATCH, EpisodeResult, TraceRule, rollout
from agents.policies.base import Policy, load_policy, policy_names
from scenarios import Scenario, load, sample
from scenarios.loader import LIBRARY

__all__ = ["Plan", "default_workers", "judge", "policy_labels", "resolve", "scenario_spec", "seeds_from", "trace_rule"]

CHUNK = 4 * BATCH  # episodes in one job: large enough that building the maps does not show, small enough to spread


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be driven: (scenario, seeds) in order. Scenarios are names or paths as `scenarios.load` takes them."""

    entries: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def episodes(self) -> int:
        """Episodes a policy."""
        return sum(len(seeds) for _, seeds in self.entries)

    def first(self, count: int) -> frozenset[tuple[str, int]]:
        """The first `count` (scenario name, seed) of each entry."""
        return frozenset((load(scenario).id, seed) for scenario, seeds in self.entries for seed in seeds[:count])


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A part of the plan for one policy, small enough to send to another process."""

    policy: str  # as load_policy takes it
    label: str
    scenario: str
    seeds: tuple[int, ...]
    traces: TraceRule


def policy_labels(specs: Sequence[str]) -> dict[str, str]:
    """What to call each policy in tables: its name here or its own, or what the user wrote where two would be called the same.

    Raises PolicyError or BundleError if one cannot be loaded, ValueError if one is named twice.
    """
    if len(set(specs)) < len(specs):
        raise ValueError(f"a policy is named twice: {', '.join(specs)}")
    loaded, known = {spec: load_policy(spec).name for spec in specs}, policy_names()
    names = {spec: spec if spec in known else name for spec, name in loaded.items()}  # a shipped checkpoint goes by its name here
    return {spec: name if list(names.values()).count(name) == 1 else spec for spec, name in names.items()}


def resolve(specs: Sequence[str], plan: Plan) -> tuple[dict[str, str], dict[str, str]]:
    """What each policy and each scenario of the plan is called in results.

    Raises ScenarioError, PolicyError, BundleError or ValueError if one cannot be used, or if two episodes of the plan would be called
    the same: one result would stand for both.
    """
    names = {scenario: load(scenario).id for scenario, _ in plan.entries}
    seen: dict[tuple[str, int], str] = {}
    for scenario, seeds in plan.entries:
        for key in ((names[scenario], seed) for seed in seeds):
            if key in seen:
                raise ValueError(f"{seen[key]} and {scenario} are both called {key[0]!r} and drive seed {key[1]}: judge them one by one")
            seen[key] = scenario
    return policy_labels(specs), names


def judge(
    specs: Sequence[str],
    plan: Plan,
    *,
    workers: int = 1,
    traces: TraceRule | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[EpisodeResult]:
    """Results of every policy on every episode of the plan: exactly one each, in the order of `specs` and the plan.

    workers: processes; results do not depend on it. progress: called with the number of episodes that have ended since the last call.
    An episode whose process died, or that could not be drawn, has `end` "error". Raises ScenarioError, PolicyError, BundleError or
    ValueError before anything runs if a scenario or policy cannot be used.
    """
    if workers < 1:
        raise ValueError(f"workers={workers}: must be at least 1")
    labels, names = resolve(specs, plan)
    jobs = [job for spec in specs for job in _jobs(spec, labels[spec], plan, traces or TraceRule())]
    found: dict[tuple[str, str, int], EpisodeResult] = {}
    for results in _serial(jobs, progress) if workers == 1 or len(jobs) == 1 else _parallel(jobs, workers, progress):
        found.update({(r.policy, r.scenario, r.seed): r for r in results})
    wanted = [(labels[spec], names[scenario], seed) for spec in specs for scenario, seeds in plan.entries for seed in seeds]
    return [found.get(key) or _error(*key, "no result came back") for key in wanted]


def _jobs(spec: str, label: str, plan: Plan, traces: TraceRule) -> Iterator[_Job]:
    for scenario, seeds in plan.entries:
        for start in range(0, len(seeds), CHUNK):
            rule = replace(traces, policy=spec, scenario=scenario)
            yield _Job(policy=spec, label=label, scenario=scenario, seeds=seeds[start : start + CHUNK], traces=rule)


def _serial(jobs: Sequence[_Job], progress: Callable[[int], None] | None) -> Iterator[list[EpisodeResult]]:
    for job in jobs:
        yield _run(job, progress)


def _parallel(jobs: Sequence[_Job], workers: int, progress: Callable[[int], None] | None) -> Iterator[list[EpisodeResult]]:
    """Jobs in fresh processes (spawned: torch's threads do not survive a fork), each with one thread."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_one_thread) as pool:
        futures = {pool.submit(_run, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                job = futures[future]
                error = future.exception()
                if isinstance(error, ValueError):
                    raise error
                yield future.result() if error is None else _all_failed(job, f"{type(error).__name__}: {error}")
                if progress:
                    progress(len(job.seeds))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _run(job: _Job, progress: Callable[[int], None] | None = None) -> list[EpisodeResult]:
    """Draw the episodes of a job and drive them."""
    policy: Policy = load_policy(job.policy)
    scenario = load(job.scenario)
    episodes, failed = [], []
    for seed in job.seeds:
        try:
            episodes.append(sample(scenario, seed))
        except Exception as error:
            failed.append(_error(job.label, scenario.id, seed, f"the episode could not be drawn: {type(error).__name__}: {error}"))
            if progress:
                progress(1)
    tell = (lambda _: progress(1)) if progress else None
    return [*rollout(policy, episodes, name=job.label, traces=job.traces, progress=tell), *failed]


def _all_failed(job: _Job, why: str) -> list[EpisodeResult]:
    name = load(job.scenario).id
    return [_error(job.label, name, seed, why) for seed in job.seeds]


def _error(policy: str, scenario: str, seed: int, why: str) -> EpisodeResult:
    return EpisodeResult(policy=policy, scenario=scenario, seed=seed, end="error", error=why)


def scenario_spec(scenario: Scenario) -> str:
    """What `scenarios.load` takes to load it again: the name for the library's own, else its file, with the variant."""
    if scenario.folder is None:
        raise ValueError(f"scenario {scenario.id!r} was read from text, not from a file")
    if scenario.folder == LIBRARY:
        return scenario.id
    return f"{scenario.file}/{scenario.variant}" if scenario.variant else scenario.file


def default_workers(plan: Plan, policies: int, cores: int) -> int:
    """As many processes as there are cores, but none for a single job."""
    return max(1, min(cores, policies * sum(-(-len(seeds) // CHUNK) for _, seeds in plan.entries)))


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    """`count` consecutive seeds from `first`. Raises ValueError for count < 1 or first < 0."""
    if count < 1 or first < 0:
        raise ValueError(f"episodes={count}, seed={first}: at least one episode, and a seed of 0 or more")
    return tuple(range(first, first + count))


def trace_rule(folder: Path, keep: str, plan: Plan) -> TraceRule:
    """The rule for `--traces` all | failures | none | N (the first N episodes of each scenario). Raises ValueError for anything else."""
    if keep in ("all", "failures"):
        return TraceRule(folder=folder, failures_only=keep == "failures")
    if keep == "none" or keep == "0":
        return TraceRule()
    if not keep.isdigit():
        raise ValueError(f"traces={keep!r}: must be 'all', 'failures', 'none' or a number")
    return TraceRule(folder=folder, chosen=plan.first(int(keep)))
