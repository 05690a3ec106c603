"""From a suite to what is driven: pairs of episodes in a fixed order, round by round, and what the plan rests on, for the journal.

A round takes its share of every stratum, so that every round is the suite in small: with 40 episodes of one and 20 of another, a round is
two and one. The greatest common divisor of the budgets is the number of rounds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import agents
from agents.evaluation.domains import (
    are_arcade,
    check_task_policy,
    digest_of,
    duration_of,
    known_tasks,
    load_task_policy,
    task_of,
    task_spec,
    task_weights,
)
from agents.evaluation.report import trained_on, versions
from agents.evaluation.suite import PlanError, scenario_spec, seeds_from
from agents.gate.design import ALL, Design, GatedMetric
from agents.gate.metrics import METRICS
from agents.policies.base import SHIELD, load_policy, policy_names
from agents.policies.pins import perception_weights
from scenarios import Suite
from scenarios.errors import did_you_mean

__all__ = ["GatePlan", "Pair", "Stratum", "code_digest", "configuration", "identity", "plan_from", "run_id", "task_identity"]

FEW = 5  # rounds below which evidence can hardly build up


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Episodes of one scenario, robot task or arcade game."""

    spec: str  # as scenarios.load takes it, or as `agents.evaluation.domains` names a task
    name: str  # what results call it
    family: str
    digest: str  # of everything that decides its episodes
    duration: float  # s, the longest an episode can last
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """One episode that both policies drive."""

    stratum: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class GatePlan:
    """Strata in the order of the suite, and what is tested on them."""

    suite: str
    strata: tuple[Stratum, ...]
    design: Design

    @property
    def rounds(self) -> int:
        """How many rounds the budgets make."""
        return len(self.strata[0].seeds) // self.design.per_round[0]

    @property
    def episodes(self) -> int:
        """Pairs in all."""
        return sum(len(stratum.seeds) for stratum in self.strata)

    def round(self, number: int) -> Iterator[Pair]:
        """The pairs of a round, counted from 0, in the order in which they are judged."""
        for index, (stratum, share) in enumerate(zip(self.strata, self.design.per_round, strict=True)):
            for seed in stratum.seeds[number * share : (number + 1) * share]:
                yield Pair(index, seed)

    @property
    def tasks(self) -> list[str]:
        """The robot tasks or arcade games; empty where scenarios are driven."""
        return [task for stratum in self.strata if (task := task_of(stratum.spec))]

    @cached_property
    def where(self) -> dict[tuple[str, int], Pair]:
        """(scenario name, seed) -> the pair."""
        return {(stratum.name, seed): Pair(i, seed) for i, stratum in enumerate(self.strata) for seed in stratum.seeds}

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What should be known before anything is driven."""
        found = [trained_on(seed for stratum in self.strata for seed in stratum.seeds)]
        if self.rounds < FEW and self.design.test == "sequential":
            budgets = ", ".join(map(str, sorted({len(stratum.seeds) for stratum in self.strata})))
            found.append(
                f"The episodes of the entries ({budgets}) make {self.rounds} rounds only, so evidence comes in {self.rounds} "
                "pieces: let them have a larger common divisor."
            )
        return tuple(text for text in found if text)


def plan_from(suite: Suite, *, alpha: float = 0.05, test: str = "sequential") -> GatePlan:
    """The plan of a suite. Raises ScenarioError, with its place, for a suite that cannot be gated; PlanError if two of its episodes
    would be called the same; ValueError for an alpha or a test that cannot be."""
    if not suite.metrics:
        hint = "for example: metrics: [{metric: success, margin: 0.02}]"
        raise suite.error((), "expected the key 'metrics': what may not get worse, and by how much", value="", hint=hint)
    for index, metric in enumerate(suite.metrics):
        if metric.metric not in METRICS:
            hint = did_you_mean(metric.metric, METRICS) or "known: " + ", ".join(METRICS)
            raise suite.error(("metrics", index, "metric"), "expected a metric that can be gated", hint=hint)
    seen: dict[tuple[str, int], int] = {}
    strata = []
    for index, entry in enumerate(suite.entries):
        if entry.family == ALL:
            raise suite.error(("entries", index), f"expected a family that is not called {ALL!r}: that stands for the whole suite")
        seeds = seeds_from(entry.seed, entry.episodes)
        for seed in seeds:
            if (entry.scenario.id, seed) in seen:
                raise PlanError(
                    f"{suite.file}: entries {seen[entry.scenario.id, seed] + 1} and {index + 1} both drive {entry.scenario.id!r} with seed "
                    f"{seed}: one result would stand for two"
                )
            seen[entry.scenario.id, seed] = index
        scenario = entry.scenario
        strata.append(
            Stratum(
                spec=scenario_spec(scenario), name=scenario.id, family=entry.family, digest=scenario.digest,
                duration=scenario.model.duration, seeds=seeds,
            )
        )  # fmt: skip
    strata += _task_strata(suite)
    budgets = [len(stratum.seeds) for stratum in strata]
    metrics = [
        GatedMetric(
            name=m.metric, margin=m.margin, family_margin=m.family_margin, priority=m.priority, kind=METRICS[m.metric].kind
        )
        for m in sorted(suite.metrics, key=lambda m: m.priority)
    ]  # fmt: skip
    design = Design(
        metrics=tuple(metrics),
        families=tuple(stratum.family for stratum in strata),
        per_round=tuple(budget // math.gcd(*budgets) for budget in budgets),
        alpha=alpha,
        test=test,
    )
    return GatePlan(suite=suite.name, strata=tuple(strata), design=design)


def _task_strata(suite: Suite) -> list[Stratum]:
    """Of the tasks of a suite. Raises ScenarioError, with its place, for one that does not exist; ConfigError for robots beside games."""
    if not suite.tasks:
        return []
    known = known_tasks()
    strata: list[Stratum] = []
    for index, each in enumerate(suite.tasks):
        if each.task not in known:
            hint = did_you_mean(each.task, known) or "known: " + ", ".join(known)
            raise suite.error(("tasks", index, "task"), "expected a robot task or an arcade game", hint=hint)
        if each.family == ALL:
            raise suite.error(("tasks", index), f"expected a family that is not called {ALL!r}: that stands for the whole suite")
        seeds = seeds_from(each.seed, each.episodes)
        if any(set(seeds) & set(other.seeds) for other in strata if other.name == each.task):
            raise PlanError(f"{suite.file}: {each.task!r} is asked for more than once with the same seed: one result would stand for two")
        digest, duration = digest_of(each.task), duration_of(each.task)
        strata.append(Stratum(spec=task_spec(each.task), name=each.task, family=each.family, digest=digest, duration=duration, seeds=seeds))
    are_arcade([stratum.name for stratum in strata])
    return strata


def task_identity(spec: str, tasks: Sequence[str]) -> dict[str, Any]:
    """Which policy that is on each of the tasks, and what it sees through. Raises PolicyError or BundleError if it cannot act on one of
    them, WeightsError."""
    found = {task: load_task_policy(spec, task) for task in tasks}
    for task, policy in found.items():
        check_task_policy(policy, task)
    levels = {policy.observation for policy in found.values()}
    names = {policy.name for policy in found.values()}
    needs = {"observation": "+".join(sorted(levels)), "options": {task: dict(policy.options) for task, policy in found.items()}}
    sha256 = "+".join(dict.fromkeys(policy.sha256 for policy in found.values() if policy.sha256))
    weights: dict[str, str] = {}
    for task, policy in found.items():
        for stage, own in task_weights(policy, task).items():
            weights[stage] = "+".join(dict.fromkeys([*filter(None, weights.get(stage, "").split("+")), own]))
    identity = {"name": names.pop() if len(names) == 1 else spec, "sha256": sha256, "needs": needs}
    return identity | ({"perception": weights} if weights else {})


def identity(spec: str) -> dict[str, Any]:
    """Which policy that is and what it sees through, whatever path leads to it. Raises PolicyError or BundleError, and as
    `agents.policies.pins.perception_weights`."""
    policy = load_policy(spec, changed="ignore")
    bundle = getattr(policy, "bundle", None)
    known = spec.partition("@")[0].removeprefix(SHIELD) in policy_names()
    found = {"name": spec if known else policy.name, "sha256": str(getattr(bundle, "sha256", "")), "needs": asdict(policy.needs)}
    weights = perception_weights(policy.needs)
    return found | ({"perception": weights} if weights else {})


def code_digest() -> str:
    """SHA-256 over the source of the four packages: results of other code do not belong in one run."""
    root, digest = Path(agents.__file__).resolve().parents[1], hashlib.sha256()
    for package in ("agents", "envs", "perception", "scenarios"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def configuration(plan: GatePlan, policies: dict[str, dict[str, Any]], *, full: bool, compile: bool) -> dict[str, Any]:
    """Everything that decides results and verdict; what was driven under another one does not count. policies: `identity` by role."""
    import torch

    return {
        "suite": plan.suite,
        "strata": [{"scenario": s.name, "family": s.family, "digest": s.digest, "seeds": [s.seeds[0], s.seeds[-1]]} for s in plan.strata],
        "metrics": [asdict(metric) for metric in plan.design.metrics],
        "alpha": plan.design.alpha,
        "test": plan.design.test,
        "full": full,
        "compile": compile,
        "policies": policies,
        "versions": versions() | {"cpu": torch.backends.cpu.get_cpu_capability()},
        "code": code_digest(),
    }


def run_id(config: dict[str, Any]) -> str:
    """A name for a configuration: twelve digits of the SHA-256 over it."""
    from agents.playback.storage import canonical_json

    return hashlib.sha256(canonical_json(config)).hexdigest()[:12]
