"""One gate between training recipes, from beginning to end: every run of both drives the whole suite, and the runs are compared.

Shapes: n, m runs, C scopes, M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.jobs import Crew
from agents.gate.design import GatedMetric
from agents.gate.drive import BASELINE, CANDIDATE, Half, half_of
from agents.gate.findings import change, cost, own_figure, where
from agents.gate.multiple import benjamini_hochberg
from agents.gate.permutation import FEW_RUNS, Runs, gain, least_p, run_mean
from agents.gate.plan import GatePlan, configuration, identity, run_id
from agents.gate.recipes import Recipe, TrainingRun, paired
from agents.gate.report import EXIT, Decided, Figure, Finding, Lost, Report, RunFigures, Verdict
from agents.gate.run import Driven, Outcome, Progress, drive_journalled
from agents.policies.base import load_policy
from agents.policies.pins import weights_changed

__all__ = ["RecipeOrder", "run_recipes"]

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RecipeOrder:
    """What is to be compared."""

    plan: GatePlan
    baseline: Recipe
    candidate: Recipe
    compile: bool = False

    @property
    def sides(self) -> dict[str, tuple[TrainingRun, ...]]:
        """The runs by role."""
        return {BASELINE: self.baseline.runs, CANDIDATE: self.candidate.runs}

    @cached_property
    def policies(self) -> dict[str, str]:
        """What is driven: "baseline 1" -> as load_policy takes it."""
        return {f"{role} {k}": run.spec for role, runs in self.sides.items() for k, run in enumerate(runs, start=1)}

    @cached_property
    def paired(self) -> bool:
        """Whether runs belong together by their seeds."""
        return paired(self.baseline, self.candidate)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What decides the results. Raises as `agents.gate.plan.identity`."""
        policies = {role: identity(spec) for role, spec in self.policies.items()}
        return configuration(self.plan, policies, full=True, compile=self.compile) | {"unit": "seed", "test": "permutation"}

    @cached_property
    def run(self) -> str:
        """The name of the run: the same for the same configuration."""
        return run_id(self.config)

    @property
    def least(self) -> float:
        """The smallest p-value that so many runs can give."""
        return least_p(len(self.baseline.runs), len(self.candidate.runs), paired=self.paired)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """About too few runs, and about perception weights that are not those a policy was trained with."""
        seen = (weights_changed(load_policy(spec, changed="ignore"), spec) for spec in self.policies.values())
        return (*self._few(), *(text for text in seen if text))

    def _few(self) -> Iterator[str]:
        design, fewest = self.plan.design, min(len(runs) for runs in self.sides.values())
        if fewest < FEW_RUNS:
            yield (
                f"{fewest} training runs are few: below {FEW_RUNS}, how runs spread is hardly known, and the intervals are narrower than "
                "they should be. The tests are exact all the same, but find large changes only."
            )
        share, says = self.least / design.alpha, f"So few runs cannot give a p-value below {self.least:.2g}"
        if share > 1.0:
            yield f"{says}: neither a pass nor a regression can come of it (alpha {design.alpha:g})."
        elif share > design.weights.max():
            yield f"{says}: no regression can be found, as no test has more than {design.weights.max():.0%} of alpha."
        elif share > design.weights.min():
            yield f"{says}: tests that have a smaller share of alpha, those of families above all, can find no regression by themselves."


def run_recipes(
    order: RecipeOrder,
    folder: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    crew: Crew | None = None,
    progress: Progress = lambda total: nullcontext(lambda count: None),
) -> Outcome:
    """Drive all episodes by all runs, and judge, with a journal in `folder`. Arguments and errors as of `agents.gate.run.run_gate`."""
    order.warnings  # noqa: B018 - read once: files may be gone when the report is made
    driven = drive_journalled(
        order.plan, order.policies, order.config, folder, take=lambda record: False, compile=order.compile, resume=resume, workers=workers,
        crew=crew, progress=progress,
    )  # fmt: skip
    report = _report(order, driven)
    return Outcome(report=report, lost=report.lost, incidents=report.incidents, records=driven.records)


def _report(order: RecipeOrder, driven: Driven) -> Report:
    plan, names = order.plan, [metric.name for metric in order.plan.design.metrics]
    halves = {key: half_of(r["end"], r["metrics"], r["fingerprint"], r["error"], names) for key, r in driven.records.items()}
    lost = tuple(Lost(role=key[0], scenario=key[1], seed=key[2], why=half.error) for key, half in halves.items() if half.error)
    tables = [_table(order, role, halves) for role in (BASELINE, CANDIDATE)]  # (n, C, M), (m, C, M)
    same = _same(order, halves) if order.paired else 0
    identical = order.paired and same == plan.episodes * len(order.candidate.runs)
    referee = Runs(plan.design, tables[0], tables[1], paired=order.paired)
    said: Decided = "pass" if identical else referee.close()
    verdict: Verdict = "incomplete" if lost or driven.incidents else said
    findings = tuple(_findings(order, referee, tables, identical))
    pairs = plan.episodes * len(order.candidate.runs) if order.paired else 0
    gone = {(x.role.partition(" ")[2], x.scenario, x.seed) for x in lost}
    return Report(
        verdict=verdict,
        exit_code=EXIT[verdict],
        because=_because(order, verdict, said, identical, findings, len(lost), len(driven.incidents)),
        figures_say=said,
        identical=identical,
        unit="seed",
        runs_paired=order.paired,
        runs=tuple(_runs(order, tables, lost)),
        run=order.run,
        suite=plan.suite,
        baseline={"name": order.baseline.text, "runs": [order.config["policies"][role] for role in order.policies if BASELINE in role]},
        candidate={"name": order.candidate.text, "runs": [order.config["policies"][role] for role in order.policies if CANDIDATE in role]},
        alpha=plan.design.alpha,
        test="permutation",
        pairs_planned=pairs,
        pairs_judged=pairs,
        pairs_identical=same,
        pairs_lost=len(gone) if order.paired else 0,
        rounds=plan.rounds,
        findings=findings,
        worse=(),
        worse_in_all=0,
        lost=lost,
        incidents=driven.incidents,
        warnings=(*plan.warnings, *order.warnings, *driven.warnings),
        versions=order.config["versions"],
    )


def _table(order: RecipeOrder, role: str, halves: dict[tuple[str, str, int], Half]) -> Values:
    """(n, C, M) mean of every run over its episodes in each scope, without those that were lost."""
    plan, design = order.plan, order.plan.design
    rows = []
    for k in range(1, len(order.sides[role]) + 1):
        figures = [
            [half.values for seed in s.seeds if (half := halves[f"{role} {k}", s.name, seed]).values] for s in plan.strata
        ]  # S lists of (., M)
        scopes = [[row for s in np.flatnonzero(members) for row in figures[s]] for members in design.members]
        rows.append([np.mean(scope, axis=0) if scope else np.full(len(design.metrics), np.nan) for scope in scopes])
    return np.nan_to_num(np.array(rows, dtype=np.float64), nan=0.0)


def _same(order: RecipeOrder, halves: dict[tuple[str, str, int], Half]) -> int:
    """Pairs of episodes that went the same way to the last bit."""
    keys = [(str(k), s.name, seed) for k in range(1, len(order.candidate.runs) + 1) for s in order.plan.strata for seed in s.seeds]
    pairs = [(halves[f"{BASELINE} {k}", name, seed], halves[f"{CANDIDATE} {k}", name, seed]) for k, name, seed in keys]
    return sum(bool(b.fingerprint) and b.fingerprint == c.fingerprint for b, c in pairs)


def _findings(order: RecipeOrder, referee: Runs, tables: Sequence[Values], identical: bool) -> Iterator[Finding]:
    design = order.plan.design
    adjusted, worse, kept, q = referee.adjusted, referee.worse, referee.kept, benjamini_hochberg(referee.p_worse)
    for h, (scope, metric) in enumerate(design.hypotheses()):
        c, m = divmod(h, len(design.metrics))
        base, cand, margin = tables[0][:, c, m], tables[1][:, c, m], float(design.margins[c, m])
        found = gain(base, cand, paired=order.paired)
        d = np.round(cand - base if order.paired else cand[:, None] - base, 12)
        spread = float(d.var()) if order.paired else 0.0
        yield Finding(
            scope=scope,
            metric=metric.name,
            priority=metric.priority,
            margin=None if math.isnan(margin) else margin,
            state="same" if identical else "worse" if worse[h] else "kept up" if kept[h] else "open",
            baseline=_figure(base, metric),
            candidate=_figure(cand, metric),
            baseline_iqm=None,
            candidate_iqm=None,
            gain=found.value,
            gain_low=found.low,
            gain_high=found.high,
            better=int((d > 0).sum()),
            worse=int((d < 0).sum()),
            same=int((d == 0).sum()),
            p_worse=float(referee.p_worse[h]),
            p_worse_adjusted=float(adjusted[h]),
            q_worse=float(q[h]),
            p_kept=None if math.isnan(margin) else float(referee.p_kept[h]),
            found_after=None,
            pairing_gain=float((base.var() + cand.var()) / spread) if spread > 0.0 else None,
            curve=(),
        )


def _figure(figures: Values, metric: GatedMetric) -> Figure:
    """As the metric itself is read. figures: of runs, 1 is best."""
    return own_figure(run_mean(figures), metric.name)


def _runs(order: RecipeOrder, tables: Sequence[Values], lost: Sequence[Lost]) -> Iterator[RunFigures]:
    metrics = order.plan.design.metrics
    for (role, runs), table in zip(order.sides.items(), tables, strict=True):
        for k, run in enumerate(runs, start=1):
            figures = {metric.name: float(_figure(table[k - 1 : k, 0, m], metric).value or 0.0) for m, metric in enumerate(metrics)}
            gone = sum(x.role == f"{role} {k}" for x in lost)
            yield RunFigures(role=role, number=k, policy=run.spec, seed=run.seed, sha256=run.sha256, lost=gone, figures=figures)


def _because(
    order: RecipeOrder, verdict: Verdict, said: Decided, identical: bool, findings: Sequence[Finding], lost: int, incidents: int
) -> str:
    n, m = len(order.baseline.runs), len(order.candidate.runs)
    runs = f"{n} pairs of training runs" if order.paired else f"{m} training runs against {n}"
    if verdict == "incomplete":
        return f"No verdict: {cost(lost, incidents)}. What is there says: {said}."
    if identical:
        return f"Nothing has changed: all episodes of {runs} went the same way to the last bit."
    if said == "regression":
        told = [f"{f.metric} {where(f.scope)} ({change(f)})" for f in findings if f.state == "worse"]
        return f"The recipe got worse: {'; '.join(told)}. Known from {runs}."
    if said == "pass":
        return f"The recipe kept up within every margin, and is not known to have got worse anywhere. Known from {runs}."
    left = [f"{f.metric} {where(f.scope)}" for f in findings if f.state == "open" and f.margin is not None]
    some = f"{'; '.join(left[:4])}{f' and {len(left) - 4} more' * (len(left) > 4)}"
    return (
        f"Neither is established from {runs}: it is open whether these kept up within their margins: {some}. More runs tell more; more "
        "episodes of these runs hardly do."
    )
