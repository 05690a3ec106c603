"""Judge several policies on the same episodes, on as many cores as there are, and account for every episode.

Every policy meets the same (scenario, seed) pairs, so their results can be compared pair by pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agents.evaluation.domains import name_of, task_labels, task_of
from agents.evaluation.jobs import Job, drive
from agents.evaluation.rollout import BATCH, EpisodeResult, TraceRule
from agents.policies.base import SHIELD, PolicyError, load_policy, policy_names
from agents.policies.pins import weights_changed
from scenarios import Scenario
from scenarios.loader import LIBRARY

__all__ = [
    "Interrupted", "Plan", "PlanError", "changed_weights", "default_workers", "judge", "policy_labels", "resolve", "scenario_spec",
    "seeds_from", "trace_rule",
]  # fmt: skip

CHUNK = 4 * BATCH  # episodes in one job: large enough that building the maps does not show, small enough to spread
COMPILED = 8 * CHUNK  # as many share a program under torch.compile, which takes a minute for each job


class PlanError(ValueError):
    """What was asked for cannot be judged, or not told apart."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while judging. `results` has every episode; those that were not driven have `end` "interrupted"."""

    def __init__(self, results: list[EpisodeResult]) -> None:
        super().__init__()
        self.results = results


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be driven: (scenario, seeds) in order. Scenarios are names or paths as `scenarios.load` takes them; or all are robot
    tasks, named as `agents.evaluation.domains` says."""

    entries: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def episodes(self) -> int:
        """Episodes a policy."""
        return sum(len(seeds) for _, seeds in self.entries)

    @property
    def tasks(self) -> list[str]:
        """The robot tasks; empty where scenarios are driven."""
        return [task for spec, _ in self.entries if (task := task_of(spec))]

    def first(self, count: int) -> frozenset[tuple[str, int]]:
        """The first `count` (scenario name, seed) of each entry."""
        return frozenset((name_of(scenario), seed) for scenario, seeds in self.entries for seed in seeds[:count])


def policy_labels(specs: Sequence[str]) -> dict[str, str]:
    """What to call each policy in tables: its name here or its own, or what the user wrote where two would be called the same.

    Raises PolicyError or BundleError if one cannot be loaded, PolicyError if one is named twice.
    """
    if len(set(specs)) < len(specs):
        raise PolicyError(f"a policy is named twice: {', '.join(specs)}")
    loaded, known = {spec: load_policy(spec, changed="ignore").name for spec in specs}, policy_names()
    # a shipped checkpoint goes by its name here
    names = {spec: spec if spec.removeprefix(SHIELD) in known else name for spec, name in loaded.items()}
    return {spec: name if list(names.values()).count(name) == 1 else spec for spec, name in names.items()}


def resolve(specs: Sequence[str], plan: Plan) -> tuple[dict[str, str], dict[str, str]]:
    """What each policy and each scenario of the plan is called in results.

    Raises ScenarioError, PolicyError or BundleError if one cannot be used, PlanError if two episodes of the plan would be called the same:
    one result would stand for both.
    """
    names = {scenario: name_of(scenario) for scenario, _ in plan.entries}
    seen: dict[tuple[str, int], str] = {}
    for scenario, seeds in plan.entries:
        for key in ((names[scenario], seed) for seed in seeds):
            if key in seen:
                raise PlanError(f"{seen[key]} and {scenario} are both called {key[0]!r} and drive seed {key[1]}: judge them one by one")
            seen[key] = scenario
    return (task_labels(list(specs), plan.tasks) if plan.tasks else policy_labels(specs)), names


def changed_weights(specs: Sequence[str]) -> list[str]:
    """A warning for every policy that sees through other perception weights than those it was trained with."""
    found = (weights_changed(load_policy(spec, changed="ignore"), spec) for spec in specs)
    return [text for text in found if text]


def judge(
    specs: Sequence[str],
    plan: Plan,
    *,
    workers: int = 1,
    traces: TraceRule | None = None,
    account: bool = False,
    progress: Callable[[int], None] | None = None,
    compile: bool = False,
    device: str = "cpu",
) -> list[EpisodeResult]:
    """Results of every policy on every episode of the plan: exactly one each, in the order of `specs` and the plan.

    workers: processes; results do not depend on it. account: also tell what collisions were with. progress: called with the number of
    episodes that have ended since the last call. compile: run the simulator under torch.compile. device: where worlds and policies
    live, such as "cuda". An episode that could not be drawn, or whose process died twice, has `end` "error". Raises ScenarioError,
    PolicyError, BundleError, PlanError or ValueError before anything runs if it cannot; Interrupted, with the results so far, on Ctrl-C.
    """
    if workers < 1:
        raise ValueError(f"workers={workers}: must be at least 1")
    labels, names = resolve(specs, plan)
    like = Job(
        policy="", label="", scenario="", name="", seeds=(), traces=traces or TraceRule(), account=account, compile=compile, device=device,
    )  # fmt: skip
    jobs = [job for spec in specs for job in _jobs(replace(like, policy=spec, label=labels[spec]), names, plan)]
    found: dict[tuple[str, str, int], EpisodeResult] = {}

    def keep(result: EpisodeResult) -> None:
        found[result.policy, result.scenario, result.seed] = result
        if progress:
            progress(1)

    def results(end: str, why: str) -> list[EpisodeResult]:
        """All that were asked for; those without a result get this one."""
        wanted = [(labels[spec], names[scenario], seed) for spec in specs for scenario, seeds in plan.entries for seed in seeds]
        return [found.get((p, s, seed)) or EpisodeResult(policy=p, scenario=s, seed=seed, end=end, error=why) for p, s, seed in wanted]

    try:
        drive(jobs, workers=workers, keep=keep)
    except KeyboardInterrupt:
        raise Interrupted(results("interrupted", "interrupted before it was driven to its end")) from None
    return results("error", "no result came back")


def _jobs(like: Job, names: dict[str, str], plan: Plan) -> Iterator[Job]:
    """`like` for every part of the plan."""
    for scenario, seeds in plan.entries:
        rule = replace(like.traces, policy=like.policy, scenario=scenario, compile=like.compile)
        size = COMPILED if like.compile or like.device != "cpu" else CHUNK
        for start in range(0, len(seeds), size):
            part = seeds[start : start + size]
            yield replace(like, scenario=scenario, name=names[scenario], seeds=part, traces=rule)


def scenario_spec(scenario: Scenario) -> str:
    """What `scenarios.load` takes to load it again: the name for the library's own, else its file, with the variant."""
    if scenario.folder is None:
        raise ValueError(f"scenario {scenario.id!r} was read from text, not from a file")
    if scenario.folder == LIBRARY:
        return scenario.id
    return f"{scenario.file}/{scenario.variant}" if scenario.variant else scenario.file


def default_workers(plan: Plan, policies: int, cores: int, device: str = "cpu") -> int:
    """As many processes as there are cores, but none for a single job; one on a GPU, which they would share."""
    if device != "cpu":
        return 1
    return max(1, min(cores, policies * sum(-(-len(seeds) // CHUNK) for _, seeds in plan.entries)))


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    """`count` consecutive seeds from `first`. Raises ValueError for count < 1 or first < 0."""
    if count < 1 or first < 0:
        raise ValueError(f"episodes={count}, seed={first}: at least one episode, and a seed of 0 or more")
    return tuple(range(first, first + count))


def trace_rule(folder: Path, keep: str, plan: Plan) -> TraceRule:
    """The rule for `--traces` all | failures | none | N (the first N episodes of each scenario). Raises PlanError for anything else."""
    if keep in ("all", "failures"):
        return TraceRule(folder=folder, failures_only=keep == "failures")
    if keep == "none" or keep == "0":
        return TraceRule()
    if not keep.isdecimal():
        raise PlanError(f"traces={keep!r}: must be 'all', 'failures', 'none' or a number")
    return TraceRule(folder=folder, chosen=plan.first(int(keep)))
