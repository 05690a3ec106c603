"""A report for people and for build servers: Markdown, JUnit XML, and the rows of the table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from agents.gate.design import ALL
from agents.gate.metrics import METRICS
from agents.gate.report import Cluster, Figure, Finding, Minimal, Report

__all__ = ["HEADINGS", "circumstances", "counted", "junit", "markdown", "row", "run_rows", "small", "told"]

HEADINGS = ("metric", "where", "baseline", "candidate", "gain", "better : worse", "state")
SHOWN = 20  # pairs that got worse on a page


def told(report: Report) -> list[Finding]:
    """The findings that a reader wants to see: all on the whole suite, and of families those that got worse or have a margin to keep."""
    return [f for f in report.findings if f.scope == ALL or f.state == "worse" or f.margin is not None]


def row(finding: Finding) -> tuple[str, ...]:
    """A line of the table."""
    rate = METRICS[finding.metric].kind == "event"
    gain = "-" if finding.gain is None else f"{100 * finding.gain:+.1f} [{100 * finding.gain_low:+.1f}, {100 * finding.gain_high:+.1f}]"
    counts = f"{finding.better} : {finding.worse} of {finding.better + finding.worse + finding.same}"
    where = "whole suite" if finding.scope == ALL else finding.scope
    return (named(finding.metric), where, _cell(finding.baseline, rate), _cell(finding.candidate, rate), gain, counts, finding.state)


def named(metric: str) -> str:
    """A metric with its unit, if it has one."""
    return f"{metric}, {METRICS[metric].unit}" if METRICS[metric].unit else metric


def markdown(report: Report, *, command: str = "") -> str:
    """A page that a pull request can show."""
    names = [str(side.get("name", "")) for side in (report.baseline, report.candidate)]
    lines = [f"# {report.verdict}: {names[1]} against {names[0]} on {report.suite}", "", report.because, ""]
    lines += ["```bash", command, "```", ""] if command else []
    lines += ["| " + " | ".join(HEADINGS) + " |", "|---|---|---:|---:|---:|---:|---|"]
    lines += [f"| {' | '.join(row(f))} |" for f in told(report)]
    lines += ["", counted(report), ""]
    for warning in report.warnings:
        lines += [warning, ""]
    lines += _runs(report)
    lines += _list("Lost", [f"{x.role}, {x.scenario}, seed {x.seed}: {x.why}" for x in report.lost], len(report.lost))
    lines += _list("Processes that died", report.incidents, len(report.incidents))
    lines += _failures(report)
    worse = [f"{w.scenario}, seed {w.seed}, {', '.join(w.metrics)}: {w.ends[0]}, now {w.ends[1]}: `{w.command}`" for w in report.worse]
    lines += _list("Pairs in which the candidate did worse", worse, report.worse_in_all)
    return "\n".join([*lines, f"Run {report.run}; " + ", ".join(f"{k} {v}" for k, v in report.versions.items()) + ".", ""])


def counted(report: Report) -> str:
    """What the figures rest on, and how they are to be read."""
    gains = [f.pairing_gain for f in report.findings if f.scope == ALL and f.pairing_gain is not None]
    times = " to ".join(dict.fromkeys(f"{end:.1f}" for end in (min(gains), max(gains)))) if gains else ""
    of = "runs" if report.unit == "seed" else "episodes"
    saved = f" Without pairs it takes {times} times as many {of} to be as sure." if gains else ""
    read = "Rates in %, scores from 0 to 1 or in their unit, with 95 % intervals; gain in points of the range, positive is better"
    ends = f"Test: {report.test}, alpha {report.alpha:g}. `docs/gate.md` explains."
    if report.unit == "seed":
        how = "paired by the seeds of their training" if report.runs_paired else "not paired, as their seeds differ"
        counts = " and ".join(f"{sum(run.role == role for run in report.runs)} of the {role}" for role in ("baseline", "candidate"))
        return f"Training runs: {counts}, {how}; figures are means of runs.{saved} {read}; intervals from drawing runs anew. {ends}"
    return (
        f"{report.pairs_judged} of {report.pairs_planned} pairs judged, {report.pairs_identical} of them identical to the last bit.{saved} "
        f"{read}, with an interval that holds whenever one stops. {ends}"
    )


def run_rows(report: Report) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of a table of the training runs."""
    names = list(report.runs[0].figures) if report.runs else []
    lines = []
    for run in report.runs:
        rates = {name: METRICS[name].kind == "event" for name in names}
        figures = [f"{100 * run.figures[name]:.1f}" if rates[name] else f"{run.figures[name]:.3f}" for name in names]
        lines.append([run.role, run.policy, "-" if run.seed is None else str(run.seed), run.sha256[:12] or "-", *figures])
    return ["side", "run", "seed", "weights", *map(named, names)], lines


def _runs(report: Report) -> list[str]:
    if not report.runs:
        return []
    head, lines = run_rows(report)
    rule = "|---|---|---:|---|" + "---:|" * (len(head) - 4)
    return ["## Training runs", "", f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines), ""]


def _failures(report: Report) -> list[str]:
    """Clusters with their circumstances, and the small scenario of each."""
    if not report.failures:
        return []
    total = len(report.failures)
    known = f", among the first {len(report.worse)} pairs that got worse" if report.worse_in_all > len(report.worse) else ""
    lines = ["## Failures", "", f"{total} pair{'s' * (total != 1)} in which the candidate fails and the baseline does not{known}:", ""]
    for cluster in report.clusters:
        lines.append(f"- {cluster.count} × **{cluster.words}** ({'; '.join(circumstances(cluster))})")
        lines += [f"  - {line}" for minimal in report.minimal if minimal.cluster == cluster.number for line in small(minimal)]
    return [*lines, ""]


def circumstances(cluster: Cluster) -> list[str]:
    """The shares of a cluster in words: "speed: 5 to 10 m/s 4, 10 to 20 m/s 1"."""
    return [f"{name}: {', '.join(f'{value} {count}' for value, count in counts.items())}" for name, counts in cluster.shares.items()]


def small(minimal: Minimal) -> list[str]:
    """What is said of a small scenario."""
    if not minimal.file or minimal.why:
        return [f"{minimal.scenario}, seed {minimal.seed}: not made small: {minimal.why}"]
    needs = f"; it takes {', '.join(minimal.unusual)}" if minimal.unusual else "; everything in it is usual"
    left = f"{minimal.others_left} of {minimal.others} others left"
    early = "" if minimal.thorough else ", when simulations ran out"
    return [f"`{minimal.file}`: {left}{early}{needs}. Again: `{minimal.command}`"]


def junit(report: Report) -> str:
    """A test case a metric and scope, and one for the verdict: worse is a failure, something lost an error, and what is open is skipped."""
    suite = ElementTree.Element("testsuite", name=f"closedloop compare {report.suite}")
    verdict = _case(suite, "verdict", "gate")
    if report.verdict == "incomplete":
        ElementTree.SubElement(verdict, "error", type="incomplete", message=report.because)
    elif report.verdict != "pass":
        ElementTree.SubElement(verdict, "failure", type=report.verdict, message=report.because)
    for finding in report.findings:
        case = _case(suite, finding.metric, finding.scope)
        says = ", ".join(f"{name} {value}" for name, value in zip(HEADINGS[2:], row(finding)[2:], strict=True))
        if finding.state == "worse":
            ElementTree.SubElement(case, "failure", type="regression", message=says)
        elif finding.state == "open" and finding.margin is not None:
            ElementTree.SubElement(case, "skipped", message=says)
    for lost in report.lost:
        case = _case(suite, f"{lost.scenario} seed {lost.seed}", lost.role)
        ElementTree.SubElement(case, "error", type="lost", message=_printable(lost.why))
    for kind in ("failure", "error", "skipped"):
        suite.set({"failure": "failures", "error": "errors"}.get(kind, kind), str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, name: str, group: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", name=name, classname=f"gate.{group}")


def _printable(text: str) -> str:
    """Without the control characters that XML does not have."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def _cell(figure: Figure, rate: bool) -> str:
    scale, digits = (100.0, 1) if rate else (1.0, 3)
    values = ["-" if v is None else f"{scale * v:.{digits}f}" for v in (figure.value, figure.low, figure.high)]
    return f"{values[0]} [{values[1]}, {values[2]}]" if figure.n else "-"


def _list(heading: str, items: Sequence[str], total: int) -> list[str]:
    if not items:
        return []
    shown = [f"- {item}" for item in items[:SHOWN]]
    more = [f"- and {total - len(shown)} more"] if total > len(shown) else []
    return [f"## {heading}", "", *shown, *more, ""]
