"""From what was judged to the report: figures with intervals, what each test says, which pairs got worse, and the verdict in words."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.domains import task_of
from agents.evaluation.stats import Estimate, iqm, mean_interval, proportion
from agents.gate.betting import mean_bounds
from agents.gate.design import ALL, GatedMetric
from agents.gate.drive import BASELINE, CANDIDATE, Collector, Half
from agents.gate.metrics import METRICS, reading
from agents.gate.multiple import benjamini_hochberg
from agents.gate.report import EXIT, MOST, Decided, Figure, Finding, Lost, Report, Verdict, Worse
from agents.gate.verdict import Sequential

__all__ = ["change", "cost", "make_report", "own_figure", "where"]

POINTS = 200  # of a curve
Values = NDArray[np.float64]


def make_report(
    collector: Collector,
    *,
    config: dict[str, Any],
    run: str,
    candidate: str,
    incidents: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Report:
    """The report on everything that was judged. candidate: as the command line takes it, for commands that drive an episode again."""
    plan, judged = collector.plan, collector.judged
    said = collector.close()
    lost = tuple(_lost(collector))
    identical = collector.identical and len(judged) == plan.episodes
    verdict: Verdict = "incomplete" if lost or incidents else said
    findings = tuple(_findings(collector, identical))
    worse = _worse(collector, candidate, config["compile"])
    return Report(
        verdict=verdict,
        exit_code=EXIT[verdict],
        because=_because(verdict, said, identical, findings, collector, len(lost), len(incidents)),
        figures_say=said,
        identical=identical,
        run=run,
        suite=plan.suite,
        baseline=config["policies"][BASELINE],
        candidate=config["policies"][CANDIDATE],
        alpha=plan.design.alpha,
        test=plan.design.test,
        pairs_planned=plan.episodes,
        pairs_judged=len(judged),
        pairs_identical=sum(pair.same for pair in judged),
        pairs_lost=len(collector.lost),
        rounds=collector.referee.rounds,
        findings=findings,
        worse=tuple(worse[:MOST]),
        worse_in_all=len(worse),
        lost=lost,
        incidents=tuple(incidents),
        warnings=(*plan.warnings, *warnings, *_repeated(collector)),
        versions=config["versions"],
    )


def _lost(collector: Collector) -> Iterator[Lost]:
    for judged in collector.lost:
        for role, half in ((BASELINE, judged.baseline), (CANDIDATE, judged.candidate)):
            if half.error:
                name = collector.plan.strata[judged.pair.stratum].name
                yield Lost(role=role, scenario=name, seed=judged.pair.seed, why=half.error)


def _repeated(collector: Collector) -> Iterator[str]:
    """Strata in which several seeds are the same episode: then evidence is counted more often than there is any."""
    for index, stratum in enumerate(collector.plan.strata):
        seen = [(j.baseline.fingerprint, j.candidate.fingerprint) for j in collector.judged if j.pair.stratum == index and not j.lost]
        if len(set(seen)) < len(seen):
            yield f"{stratum.name}: only {len(set(seen))} of {len(seen)} seeds are different episodes: it counts for more than it should."


def _findings(collector: Collector, identical: bool) -> Iterator[Finding]:
    design, referee = collector.plan.design, collector.referee
    good = [judged for judged in collector.judged if not judged.lost]
    stratum = np.array([judged.pair.stratum for judged in good], dtype=np.int64)
    base = np.array([j.baseline.values for j in good]).reshape(len(good), len(design.metrics))
    cand = np.array([j.candidate.values for j in good]).reshape(len(good), len(design.metrics))
    diff = np.array([j.difference(len(design.metrics)) for j in good]).reshape(base.shape)
    adjusted, found, kept, q = referee.adjusted, referee.worse, referee.kept, benjamini_hochberg(referee.p_worse)
    for h, (scope, metric) in enumerate(design.hypotheses()):
        c, m = divmod(h, len(design.metrics))
        mine = np.isin(stratum, np.flatnonzero(design.members[c]))
        d, margin = diff[mine, m], float(design.margins[c, m])
        sides = [[values[mine & (stratum == s), m] for s in np.flatnonzero(design.members[c])] for values in (base, cand)]
        low, high = mean_bounds(d, design.alpha)
        score = METRICS[metric.name].kind == "score" and scope == ALL
        when = int(referee.when_worse[h] or referee.when_kept[h])
        size = int(design.members[c][design.strata].sum())
        yield Finding(
            scope=scope,
            metric=metric.name,
            priority=metric.priority,
            margin=None if math.isnan(margin) else margin,
            state="same" if identical else "worse" if found[h] else "kept up" if kept[h] else "open",
            baseline=_figure(sides[0], metric),
            candidate=_figure(sides[1], metric),
            baseline_iqm=own_figure(iqm(sides[0]), metric.name) if score else None,
            candidate_iqm=own_figure(iqm(sides[1]), metric.name) if score else None,
            gain=float(d.mean()) if len(d) else None,
            gain_low=low,
            gain_high=high,
            better=int((d > 0).sum()),
            worse=int((d < 0).sum()),
            same=int((d == 0).sum()),
            p_worse=float(referee.p_worse[h]),
            p_worse_adjusted=float(adjusted[h]),
            q_worse=float(q[h]),
            p_kept=None if math.isnan(margin) else float(referee.p_kept[h]),
            found_after=when * size if when else None,
            pairing_gain=_pairing_gain(sides[0], sides[1], [diff[mine & (stratum == s), m] for s in np.flatnonzero(design.members[c])]),
            curve=_curve(referee, m, size) if scope == ALL and isinstance(referee, Sequential) else (),
        )


def _figure(strata: Sequence[Values], metric: GatedMetric) -> Figure:
    """As the metric itself is read: a share of episodes in which it happened, or a mean. strata: 1 is best."""
    if METRICS[metric.name].kind == "event":
        flat = np.concatenate(strata)
        happened = int(flat.sum()) if METRICS[metric.name].better == "higher" else len(flat) - int(flat.sum())
        return _plain(proportion(happened, len(flat)))
    return own_figure(mean_interval(strata), metric.name)


def own_figure(estimate: Estimate, name: str) -> Figure:
    """A mean of figures of which 1 is best, as the metric itself is read."""
    ends = sorted((reading(estimate.low, name), reading(estimate.high, name)))
    return _plain(Estimate(value=reading(estimate.value, name), low=ends[0], high=ends[1], n=estimate.n))


def _plain(estimate: Estimate) -> Figure:
    return Figure(**estimate.as_dict())  # type: ignore[arg-type]


def _pairing_gain(base: Sequence[Values], cand: Sequence[Values], diff: Sequence[Values]) -> float | None:
    """Variance of a difference of two means without pairs over that with pairs, within strata."""
    apart = sum(len(b) * (b.var() + c.var()) for b, c in zip(base, cand, strict=True) if len(b))
    paired = sum(len(d) * d.var() for d in diff if len(d))
    return float(apart / paired) if paired > 0 else None


def _curve(referee: Sequential, m: int, size: int) -> tuple[tuple[int, float, float], ...]:
    """At most POINTS of the evidence, the last one included."""
    rounds = len(referee.curve)
    chosen = sorted({*range(0, rounds, max(1, math.ceil(rounds / POINTS))), rounds - 1}) if rounds else []
    return tuple(((r + 1) * size, float(referee.curve[r][0][m]), float(referee.curve[r][1][m])) for r in chosen)


def _worse(collector: Collector, candidate: str, compile: bool) -> list[Worse]:
    """Pairs in which the candidate did worse, the most important metric and the largest loss first."""
    metrics = collector.plan.design.metrics
    found = []
    for judged in collector.judged:
        losses = _losses(judged.baseline, judged.candidate)
        drops = [(m.priority, d, m.name, b, c) for m, (d, b, c) in zip(metrics, losses, strict=False) if d < 0]
        if judged.lost or judged.same or not drops:
            continue
        stratum, seed = collector.plan.strata[judged.pair.stratum], judged.pair.seed
        words = ["closedloop", "eval", candidate, "--scenario", stratum.spec, "--seed", str(seed), "--episodes", "1", "--traces", "all"]
        if task := task_of(stratum.spec):
            words = ["closedloop", "play", task, "--policy", candidate, "--seed", str(seed)]
        command = shlex.join([*words, *["--compile"] * compile])
        pairs = {name: (b, c) for _, _, name, b, c in drops}
        ends = (judged.baseline.end, judged.candidate.end)
        found.append((min(drops)[:2], Worse(scenario=stratum.name, seed=seed, metrics=pairs, ends=ends, command=command)))
    return [worse for _, worse in sorted(found, key=lambda item: item[0])]


def _losses(baseline: Half, candidate: Half) -> Iterator[tuple[float, float, float]]:
    for b, c in zip(baseline.values, candidate.values, strict=False):
        yield c - b, b, c


def _because(
    verdict: Verdict, said: Decided, identical: bool, findings: Sequence[Finding], collector: Collector, lost: int, incidents: int
) -> str:
    """The verdict in a sentence or two."""
    judged, planned = len(collector.judged), collector.plan.episodes
    if verdict == "incomplete":
        early = f" Stopped after {judged} of {planned} pairs." if collector.gave_up else ""
        return f"No verdict: {cost(lost, incidents)}.{early} What is there says: {said}."
    if identical:
        return f"Nothing has changed: all {planned} pairs went the same way to the last bit."
    if said == "regression":
        told = [f"{f.metric} {where(f.scope)} ({change(f)})" for f in findings if f.state == "worse"]
        return f"Got worse: {'; '.join(told)}. Known after {judged} of {planned} pairs."
    if said == "pass":
        return f"Everything kept up within its margin, and nothing is known to have got worse. Known after {judged} of {planned} pairs."
    left = [f"{f.metric} {where(f.scope)}" for f in findings if f.state == "open" and f.margin is not None]
    return f"Neither is established after {judged} pairs: it is open whether these kept up within their margins: {'; '.join(left)}."


def cost(lost: int, incidents: int) -> str:
    """What keeps a comparison from a verdict: episodes lost, processes that died."""
    what = [f"{lost} episode{'s' * (lost != 1)} lost"] if lost else []
    return ", ".join(what + ([f"{incidents} process{'es' * (incidents != 1)} died"] if incidents else []))


def where(scope: str) -> str:
    """A scope in a sentence."""
    return "on the whole suite" if scope == ALL else f"in {scope}"


def change(finding: Finding) -> str:
    """'0.960 to 0.910', '0.030 to 0.370 m'."""
    sides = [f"{side.value:.3f}" if side.value is not None else "-" for side in (finding.baseline, finding.candidate)]
    return f"{' to '.join(sides)} {METRICS[finding.metric].unit}".rstrip()
