"""The study of planners: each on levels of the observation ladder and on families of scenarios, and how fast it plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.evaluation.report import Row, missing, repeats, rows, trained_on, versions
from agents.evaluation.rollout import EpisodeResult
from agents.evaluation.speed_planners import PlanPace
from agents.evaluation.stats import LEVEL, Estimate, of_means, paired_difference
from agents.evaluation.suite import policy_labels
from agents.studies.arms import ANY, RANDOM, Arm, plan_arms

__all__ = ["FIGURES", "Entry", "Leader", "Less", "PlannerStudy", "as_data", "planner_arms", "planner_study"]

FIGURES = ("success", "collision", "at fault", "driving score", "nuPlan score")  # of `agents.evaluation.report.COLUMNS`


@dataclass(frozen=True, kw_only=True)
class Less:
    """One arm less another, over the episodes that both drove, pair by pair."""

    episodes: int
    success: Estimate
    at_fault: Estimate
    score: Estimate  # driving score


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An arm on one scenario, or on all of them together."""

    arm: Arm
    row: Row
    less_truth: Less | None  # less the same policy with the truth; None: that is it, or it was not driven
    less_first: Less | None  # less the first policy on the same level


@dataclass(frozen=True, kw_only=True)
class Leader:
    """Who succeeds most often in a scenario on a level, those without a level included."""

    scenario: str
    level: str
    entry: Entry
    tied: list[str]  # others from whom the episodes cannot tell it: the interval of the paired difference of success holds 0


@dataclass(frozen=True, kw_only=True)
class PlannerStudy:
    """Everything that came of it."""

    title: str
    command: str
    scenarios: tuple[str, ...]
    episodes: int  # asked for, of each scenario
    seed: int  # of the first
    first: str  # policy that the others are compared with
    table: list[Entry]
    leaders: list[Leader]
    paces: list[PlanPace]
    warnings: list[str]
    lost: list[str]  # a line an episode that an error took
    undriven: list[str]  # a line a policy and scenario whose episodes were not driven, because of Ctrl-C


def planner_arms(policies: Sequence[str], levels: Sequence[str], given: dict[str, str]) -> list[Arm]:
    """Every policy on every level, as in the study of perception, which tells the arguments; nobody acts at random."""
    return [arm for arm in plan_arms(policies, levels, given) if arm.spec != RANDOM]


def planner_study(
    arms: Sequence[Arm],
    results: Sequence[EpisodeResult],
    *,
    title: str,
    command: str = "",
    scenarios: Sequence[str],
    seeds: Sequence[int],
    paces: Sequence[PlanPace] = (),
) -> PlannerStudy:
    """Make sense of results of all arms on the same episodes, as `agents.evaluation.suite.judge` gives them."""
    labels = policy_labels([arm.spec for arm in arms])
    by_arm = {(row.policy, row.scenario): row for row in rows(results)}
    driven: dict[str, dict[tuple[str, int], EpisodeResult]] = {arm.spec: {} for arm in arms}
    spec_of = {label: spec for spec, label in labels.items()}
    for result in results:
        if not result.error:
            driven[spec_of[result.policy]][result.scenario, result.seed] = result
    first = next((arm.policy for arm in arms if arm.level != ANY), arms[0].policy)
    names, table = list(dict.fromkeys(result.scenario for result in results)), []
    for name in dict.fromkeys(scenario for _, scenario in by_arm):
        inside = {name} & {*names} or {*names}  # one scenario, or all together
        here = {spec: {key: r for key, r in found.items() if key[0] in inside} for spec, found in driven.items()}
        for arm in arms:
            level = "truth" if arm.level == ANY else arm.level
            truth = _find(arms, arm.policy, "truth") if arm.level not in (ANY, "truth") else None
            best = _find(arms, first, level) if arm.policy != first else None
            table.append(
                Entry(
                    arm=arm,
                    row=by_arm[labels[arm.spec], name],
                    less_truth=_less(here[arm.spec], here[truth.spec]) if truth else None,
                    less_first=_less(here[arm.spec], here[best.spec]) if best else None,
                )
            )
    return PlannerStudy(
        title=title,
        command=command,
        scenarios=tuple(scenarios),
        episodes=len(seeds),
        seed=min(seeds),
        first=first,
        table=table,
        leaders=_leaders(table, driven),
        paces=list(paces),
        warnings=[text for text in (trained_on(seeds), repeats(results)) if text],
        lost=[f"{r.policy}, {r.scenario}, seed {r.seed}: {r.error}" for r in results if r.end == "error"],
        undriven=missing(results) if any(r.end == "interrupted" for r in results) else [],
    )


def _leaders(table: Sequence[Entry], driven: dict[str, dict[tuple[str, int], EpisodeResult]]) -> list[Leader]:
    """One for each scenario and level with two or more policies. The higher driving score leads where as many episodes succeeded."""
    found = []
    for scenario, level in dict.fromkeys((e.row.scenario, e.arm.level) for e in table if e.arm.level != ANY):
        here = [e for e in table if e.row.scenario == scenario and e.arm.level in (level, ANY) and e.row.episodes]
        mine = {e.arm.spec: {key: r for key, r in driven[e.arm.spec].items() if key[0] == scenario} for e in here}
        if len(here) < 2 or not all(mine.values()):  # all scenarios together
            continue
        best = max(here, key=lambda e: (e.row.figures["success"].value, e.row.figures["driving score"].value))
        less = [(e.arm.policy, _happened(mine[best.arm.spec], mine[e.arm.spec], "success")) for e in here if e is not best]
        tied = [policy for policy, difference in less if not difference.low > 0.0]
        found.append(Leader(scenario=scenario, level=level, entry=best, tied=tied))
    return found


def _find(arms: Sequence[Arm], policy: str, level: str) -> Arm | None:
    """The first arm of a policy on a level."""
    return next((arm for arm in arms if (arm.policy, arm.level) == (policy, level)), None)


def _less(mine: dict[tuple[str, int], EpisodeResult], other: dict[tuple[str, int], EpisodeResult]) -> Less:
    keys = [key for key in mine if key in other]
    scenarios = dict.fromkeys(key[0] for key in keys)
    scores = [
        np.array([[side[key].metrics["driving_score"] for side in (mine, other)] for key in keys if key[0] == name]) for name in scenarios
    ]

    return Less(
        episodes=len(keys),
        success=_happened(mine, other, "success"),
        at_fault=_happened(mine, other, "collision_at_fault"),
        score=of_means(scores, lambda m: m[..., 0] - m[..., 1]),
    )


def _happened(mine: dict[tuple[str, int], EpisodeResult], other: dict[tuple[str, int], EpisodeResult], metric: str) -> Estimate:
    """How much oftener it happened to the first, over the episodes that both drove."""
    keys = [key for key in mine if key in other]
    return paired_difference(*([side[key].metrics[metric] > 0.0 for key in keys] for side in (mine, other)))


def as_data(made: PlannerStudy) -> dict[str, Any]:
    """For report.json: the same tables, an arm by its spec."""

    def less(value: Less | None) -> dict[str, Any] | None:
        if value is None:
            return None
        return {"episodes": value.episodes} | {name: getattr(value, name).as_dict() for name in ("success", "at_fault", "score")}

    return {
        "title": made.title,
        "command": made.command,
        "versions": versions(),
        "interval": {"level": LEVEL, "rates": "Wilson score", "scores": "percentile bootstrap of seeds within scenarios",
                     "differences of rates": "Newcombe 1998, method 10 (paired)"},
        "scenarios": made.scenarios,
        "episodes": made.episodes,
        "seed": made.seed,
        "first": made.first,
        "errors": len(made.lost),
        "interrupted": bool(made.undriven),
        "warnings": made.warnings,
        "entries": [
            {
                "arm": e.arm.spec, "policy": e.arm.policy, "level": e.arm.level, "options": e.arm.options, "scenario": e.row.scenario,
                "episodes": e.row.episodes, "errors": e.row.errors, "ends": e.row.ends,
                "figures": {name: e.row.figures[name].as_dict() for name in FIGURES},
                "less_truth": less(e.less_truth), "less_first": less(e.less_first),
            }
            for e in made.table
        ],
        "leaders": [
            {"scenario": one.scenario, "level": one.level, "arm": one.entry.arm.spec, "tied": one.tied} for one in made.leaders
        ],
        "paces": [{**vars(pace), "per_second": pace.per_second} for pace in made.paces],
    }  # fmt: skip
