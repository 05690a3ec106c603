"""What a stress run found, as JSON and as Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import fisher_exact

from agents.evaluation.report import versions
from agents.stress.importance import LEAST, Probability
from agents.stress.proposal import CLEAR
from agents.stress.run import Found
from agents.stress.space import REST, Floats
from agents.stress.trials import Trial

__all__ = [
    "CASE_HEADINGS", "HEADINGS", "Answer", "agreement", "answer", "as_data", "case_rows", "directions", "markdown", "points", "rates",
    "sentences", "table",
]  # fmt: skip

CASE_HEADINGS = ("case", "end", "seed", "survived by", "unusual (quantile)", "fails again")
HEADINGS = ("simulations", "how", "failures", "rate", "avoidable", "rate of those")
MOST = 8  # directions told


def as_data(found: Found, *, command: str = "") -> dict[str, Any]:
    """For report.json."""
    order = found.order
    return {
        "format": "closedloop-stress-report",
        "version": 2,
        "command": command,
        "order": asdict(order),
        "interrupted": found.interrupted,
        "dimensions": len(found.space.names),
        "simulations": {stage: len(found.stage(stage)) for stage in ("control", "pilot", "search", "estimate")},
        "simulations_of_references": found.asked,
        "rates": rates(found),
        "probability": _probability(answer(found.probability, found.control).value),
        "probability_any": _probability(answer(found.probability_any, found.control_any).value),
        "estimate": _probability(found.probability),
        "estimate_any": _probability(found.probability_any),
        "not_trusted": _doubts(found.probability, found.control),
        "not_trusted_any": _doubts(found.probability_any, found.control_any),
        "control": _probability(found.control),
        "control_any": _probability(found.control_any),
        "agreement": agreement(found.probability, found.control),
        "directions": [{"name": name, "middle": middle, "spread": spread} for name, middle, spread in directions(found)],
        "ends": dict(Counter(t.end for t in found.searched if t.failed)),
        "unavoidable": sum(t.failed and not t.avoidable for t in found.searched),
        "cases": [
            {
                "file": case.file, "end": case.trial.end, "seed": case.trial.seed, "margin": case.trial.margin, "ttc": case.trial.ttc,
                "impact": case.trial.impact, "survived": case.trial.survived, "unusual": case.unusual, "reproduced": case.reproduced,
                "command": case.command,
            }
            for case in found.cases
        ],
        "lost": [{"stage": t.stage, "seed": t.seed, "error": t.error} for t in found.lost],
        "versions": versions(),
    }  # fmt: skip


def rates(found: Found) -> dict[str, Any]:
    """Failures of search and control, per simulation, and how many times as many the search found. `families` counts failures that are
    moved copies of one another once."""
    sides = {name: trials for name, trials in (("search", found.searched), ("random", found.stage("control"))) if trials}
    counts = {name: (len(t), sum(x.failed for x in t), sum(x.avoidable for x in t)) for name, t in sides.items()}
    told: dict[str, Any] = {
        name: {"simulations": n, "failures": f, "rate": f / n, "avoidable": a, "avoidable_rate": a / n}
        for name, (n, f, a) in counts.items()
    }
    if "search" in told:
        told["search"]["families"] = found.families
    if len(counts) == 2:
        for key, index in (("times", 1), ("times_avoidable", 2)):
            (n, *_), (m, *_) = counts["search"], counts["random"]
            hits, plain = counts["search"][index], counts["random"][index]
            told[key] = (hits / n) / (plain / m) if plain else None
            told[f"p_{key}"] = float(fisher_exact(np.array([[hits, n - hits], [plain, m - plain]]), alternative="greater").pvalue)
    return told


def agreement(one: Probability | None, other: Probability | None) -> dict[str, Any] | None:
    """Whether two estimates agree: their difference over its standard error, taken from their intervals, and whether those overlap."""
    if one is None or other is None or one is other or math.isnan(one.value):
        return None
    spread = math.hypot((one.high - one.low) / 3.92, (other.high - other.low) / 3.92)
    return {"z": (one.value - other.value) / spread if spread else 0.0, "overlap": one.low <= other.high and other.low <= one.high}


@dataclass(frozen=True)
class Answer:
    """Which of two estimates counts."""

    value: Probability | None
    doubted: Probability | None = None  # the other one, if it is not to be trusted
    why: str = ""  # it is not


def answer(estimate: Probability | None, control: Probability | None) -> Answer:
    """The estimate of the search, unless it says itself that it is not to be trusted, or random sampling contradicts it: then random
    sampling counts. Without random sampling the estimate is all there is, and keeps its warning."""
    if estimate is None or control is None or control is estimate:
        return Answer(control if estimate is None else estimate)
    match = agreement(estimate, control)
    if estimate.warning or match is None or not match["overlap"]:
        return Answer(control, estimate, estimate.warning or "random sampling contradicts it")
    return Answer(estimate)


def _doubts(estimate: Probability | None, control: Probability | None) -> str:
    """Why the estimate, or what counts in its place, is not to be trusted; "" if it is."""
    given = answer(estimate, control)
    return given.why or (given.value.warning if given.value else "")


def directions(found: Found) -> list[tuple[str, float, float]]:
    """(name, mean, standard deviation) of the coordinates in which failures differ most from what the scenario draws, in its standard
    deviations; see `Space.coordinates`. From the proposal, or else from failures that the scenario drew itself: those of a walk have
    ancestors in common."""
    names = found.space.coordinates
    if found.proposal is not None:
        order = [int(i) for i in np.argsort(-found.proposal.moved) if found.proposal.moved[i] > 0.0 and names[i] != REST]
        return [(names[i], float(found.proposal.mean[i]), float(found.proposal.std[i])) for i in order[:MOST]]
    y = points(found, [t for t in found.trials if t.failed and (t.draws is None or t.stage == "pilot")])
    if len(y) < 5:
        return []
    mean, std = y.mean(axis=0), y.std(axis=0)
    rank = [int(i) for i in np.argsort(-np.abs(mean)) if names[i] != REST]
    return [(names[i], float(mean[i]), float(std[i])) for i in rank[:MOST] if abs(mean[i]) * math.sqrt(len(y)) > CLEAR]


def points(found: Found, trials: Sequence[Trial]) -> Floats:
    """Trials in the coordinates of the space (n, D), in standard deviations; a number that an episode did not have counts as its middle."""
    if not trials:
        return np.zeros((0, len(found.space.names)))
    return found.space.waves(np.asarray(ndtri(np.clip(np.stack([t.u for t in trials]), 1e-12, 1.0 - 1e-12))))


def sentences(found: Found) -> list[str]:
    """The findings in words."""
    order, told = found.order, rates(found)
    lines = ["Interrupted: what follows is of the simulations until then."] if found.interrupted else []
    if "search" in told:
        s = told["search"]
        line = f"{s['failures']} failures of {order.policy} in {s['simulations']} simulations of {order.scenario}"
        line += f", {s['avoidable']} of them survived by a reference ({', '.join(order.references)})." if order.references else "."
        lines.append(line)
        if s["families"] < s["avoidable" if order.references else "failures"]:
            lines.append(f"They are {s['families']} families: the others are moved copies of failures, or of what came near to one.")
    if "times" in told:
        r = told["random"]
        times = f"{told['times']:.1f} times as many" if told["times"] is not None else "random sampling found none"
        lines.append(f"Random sampling: {r['failures']} in {r['simulations']}; the search finds {times} a simulation.")
    lines += _told("Probability of a failure that a reference survives", found.probability, found.control) if order.references else []
    lines += _told(
        "Probability of any failure" if order.references else "Probability of a failure", found.probability_any, found.control_any
    )
    if unavoidable := sum(t.failed and not t.avoidable for t in found.searched) if order.references else 0:
        lines.append(f"Unavoidable, for no reference survives them: {unavoidable}. They are in no search and listed last.")
    if unplaced := sum(t.end == "unplaced" for t in found.trials):
        lines.append(f"{unplaced} draws could not be laid out on the road; they count as no failure.")
    return lines


def _told(name: str, estimate: Probability | None, control: Probability | None) -> list[str]:
    """What counts, and how it stands to the other estimate."""
    given = answer(estimate, control)
    if given.value is None:
        return []
    lines = [f"{name}: {probability_text(given.value)}."]
    if given.doubted is not None:
        return [*lines, f"  Not to be trusted: {probability_text(given.doubted)}: {given.why}."]
    lines += [f"  Not to be trusted: {given.value.warning}."] if given.value.warning else []
    if estimate is not None and control is not None and control is not estimate:
        lines.append(f"  Random sampling agrees: {probability_text(control)}.")
    return lines


def probability_text(p: Probability) -> str:
    """'0.0042 [0.0031, 0.0057] by importance sampling, 1000 simulations, 61 effective failures'."""
    span = f"{p.value:.3g} [{p.low:.3g}, {p.high:.3g}] by {p.method}, {p.n} simulations"
    return span + (f", {p.effective:.0f} effective failures (at least {LEAST:.0f} wanted)" if "importance" in p.method else "")


def table(found: Found) -> list[tuple[str, ...]]:
    """Rows below HEADINGS."""
    told = rates(found)
    names = {"search": f"{found.order.method}, {found.order.estimate}" if found.order.method != "random" else "random", "random": "random"}
    return [
        (
            str(told[key]["simulations"]), names[key], str(told[key]["failures"]), f"{100.0 * told[key]['rate']:.2f} %",
            str(told[key]["avoidable"]), f"{100.0 * told[key]['avoidable_rate']:.2f} %",
        )
        for key in ("search", "random") if key in told
    ]  # fmt: skip


def case_rows(found: Found) -> list[tuple[str, ...]]:
    """Rows below CASE_HEADINGS."""
    return [
        (
            case.file, case.trial.end + (f" at {case.trial.impact:.1f} m/s" if case.trial.end == "collision" else ""), str(case.trial.seed),
            ", ".join(case.trial.survived) or "nobody", "; ".join(f"{name} {u:g}" for name, u in case.unusual.items()),
            case.reproduced or "NO: not kept",
        )
        for case in found.cases
    ]  # fmt: skip


def markdown(found: Found, *, command: str = "") -> str:
    """report.md."""
    order = found.order
    lines = [f"# Stress: {order.policy} in {order.scenario}", ""]
    lines += [f"`{command}`", ""] if command else []
    lines += [line for text in sentences(found) for line in (text, "")]
    lines += [*_table(HEADINGS, table(found)), "", "![failures over simulations, and where they lie](stress.png)", ""]
    if along := directions(found):
        lines += ["## Where it fails", "", "Numbers that differ from what the scenario usually draws, in standard deviations:", ""]
        lines += [*_table(("number", "middle", "spread"), [(f"`{n}`", f"{m:+.2f}", f"{s:.2f}") for n, m, s in along]), ""]
    if found.cases:
        lines += ["## Worst cases", "", *_table(CASE_HEADINGS, case_rows(found)), "", "```bash"]
        lines += [*(case.command for case in found.cases if case.reproduced), "```", ""]
    if found.lost:
        lines += ["## Lost", "", *(f"- {t.stage}, seed {t.seed}: {t.error}" for t in found.lost[:20]), ""]
    return "\n".join(lines)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows)]


def _probability(p: Probability | None) -> dict[str, Any] | None:
    return None if p is None else asdict(p)
