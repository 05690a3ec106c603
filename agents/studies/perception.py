"""The study of perception: what each policy loses from level to level, how that depends on how well it sees, and where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from agents.evaluation.report import missing, repeats, trained_on, versions
from agents.evaluation.rollout import EpisodeResult
from agents.evaluation.stats import LEVEL, Estimate
from agents.evaluation.suite import policy_labels
from agents.policies.base import load_policy
from agents.policies.pins import weights_changed
from agents.studies.arms import SWEEPS, Arm
from agents.studies.failures import by_collision, by_weather, conditions, curves
from agents.studies.gap import Comparison, Figures, Outcome, difference, outcomes

__all__ = ["Study", "as_data", "study"]


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that came of it."""

    title: str
    command: str
    scenarios: tuple[str, ...]
    episodes: int  # asked for, of each scenario
    seed: int  # of the first
    weather: str
    table: list[Outcome]  # an arm each, the sweeps' too
    differences: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    weathers: list[dict[str, Any]]
    collisions: list[dict[str, Any]]
    intervals: dict[str, float]  # s between the decisions of an arm, by spec
    warnings: list[str]
    lost: list[str]  # a line an episode that an error took
    undriven: list[str]  # a line a policy and scenario whose episodes were not driven, because of Ctrl-C

    @property
    def main(self) -> list[Outcome]:
        """Without the arms of the sweeps."""
        return [outcome for outcome in self.table if not outcome.arm.sweep]


def study(
    arms: Sequence[Arm],
    results: Sequence[EpisodeResult],
    *,
    title: str,
    command: str = "",
    scenarios: Sequence[str],
    seeds: Sequence[int],
    weather: str = "any",
) -> Study:
    """Make sense of results of all arms on the same episodes, as `agents.evaluation.suite.judge` gives them (with `account=True`)."""
    labels = policy_labels([arm.spec for arm in arms])
    spec_of = {label: spec for spec, label in labels.items()}
    results = [replace(result, policy=spec_of[result.policy]) for result in results]
    found = {arm.spec: [result for result in results if result.policy == arm.spec] for arm in arms}
    table = outcomes(arms, found)
    policies = {arm.spec: load_policy(arm.spec, changed="ignore") for arm in arms}
    needs = {spec: policy.needs for spec, policy in policies.items()}
    changed = [weights_changed(policies[arm.spec], arm.spec) for arm in arms if not arm.sweep]
    bases = {arm.spec: {name: float(getattr(needs[arm.spec], name)) for name in SWEEPS} for arm in arms if not arm.sweep}
    own = {spec: need.weather for spec, need in needs.items()} if weather == "any" else {}
    lost = [f"{r.policy}, {r.scenario}, seed {r.seed}: {r.error}" for r in results if r.end == "error"]
    return Study(
        title=title,
        command=command,
        scenarios=tuple(scenarios),
        episodes=len(seeds),
        seed=min(seeds),
        weather=weather,
        table=table,
        differences=difference(table),
        curves=curves(table, bases),
        weathers=by_weather(table, conditions(seeds, weather), own),
        collisions=by_collision(table),
        intervals={spec: need.dt * need.ticks_per_step for spec, need in needs.items()},
        warnings=[text for text in (trained_on(seeds), repeats(results), *changed) if text],
        lost=lost,
        undriven=missing(results) if any(r.end == "interrupted" for r in results) else [],
    )


def as_data(made: Study) -> dict[str, Any]:
    """For report.json: the same tables, an arm by its spec."""
    return {
        "title": made.title,
        "command": made.command,
        "versions": versions(),
        "interval": {"level": LEVEL, "rates": "Wilson score", "returns": "percentile bootstrap of seeds within scenarios",
                     "differences of rates": "Newcombe 1998, method 10 (paired)", "gap": "percentile bootstrap, paired by seed"},
        "gap": "(truth - level) / (truth - random), of mean returns over the same episodes",
        "scenarios": made.scenarios,
        "episodes": made.episodes,
        "seed": made.seed,
        "weather": made.weather,
        "errors": len(made.lost),
        "interrupted": bool(made.undriven),
        "warnings": made.warnings,
        "arms": [_outcome(o, made.intervals[o.arm.spec]) for o in made.table],
        "differences": [_plain(row) for row in made.differences],
        "sensitivity": [{**row, "points": [_point(*point) for point in row["points"]]} for row in made.curves],
        "weathers": [_plain(row) for row in made.weathers],
        "collisions": [_plain(row) for row in made.collisions],
    }  # fmt: skip


def _outcome(outcome: Outcome, interval: float) -> dict[str, Any]:
    arm = outcome.arm
    named = {"arm": arm.spec, "policy": arm.policy, "level": arm.level, "options": arm.options, "sweep": arm.sweep or None}
    return {
        **named,
        "decision_interval": interval,
        **_plain(outcome.figures),
        "truth": outcome.truth or None,
        "less_truth": _plain(outcome.less_truth),
        "gap": _plain(outcome.gap),
        "no_gap": outcome.no_gap or None,
        "within_10_points": outcome.within or None,
    }


def _point(value: float, outcome: Outcome) -> dict[str, Any]:
    return {"value": value, "arm": outcome.arm.spec, **_plain(outcome.figures)}


def _plain(value: Any) -> Any:
    match value:
        case Estimate():
            return value.as_dict()
        case Arm():
            return value.spec
        case Figures() | Comparison():
            return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
    return value
