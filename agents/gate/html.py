"""The report as one HTML file that opens from disk and asks no network for anything.

The frame, the style and the gallery's script lie in `page/`; the players are those of `closedloop play`. A content security policy names
the hashes of all scripts and style sheets, so nothing else can run, whatever a policy or a scenario calls itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from agents.gate.charts import evidence, interval, reach
from agents.gate.coverage import Bin, Parameter
from agents.gate.design import ALL, FIRST
from agents.gate.gallery import Item
from agents.gate.pages import circumstances, counted, row, run_rows, small, told
from agents.gate.report import Finding, Report
from agents.playback.page import embedded_json, part, player_script, source_hash

__all__ = ["report_page"]

SHADES = (0.005, 0.04, 0.1)  # gains from which on a field of the heat map is one shade darker
RATES = (0.1, 0.3)  # likewise shares of failures in a bin
LINKS = 12  # replays of a cluster that are linked there
MOST = 200  # lost episodes that are named
Gallery = tuple[Sequence[Item], Mapping[str, Any], Sequence[str]]


def report_page(
    report: Report, *, gallery: Gallery = ((), {}, ()), covered: Mapping[str, Sequence[Parameter]] | None = None, command: str = ""
) -> str:
    """The whole HTML text.

    gallery: as `agents.gate.gallery.gallery` gives it. covered: by stratum, as `agents.gate.coverage.coverage` gives it. command: that
    makes the report again.
    """
    items, common, packed = gallery
    sections = [section for section in _sections(report, items, covered or {}) if section[2]]
    style, script = _part("style.css"), _part("gallery.js")
    player_style, player = part("style.css"), player_script(sighted=False)
    inner = {
        "title": "replay", "style": player_style, "style_hash": source_hash(player_style), "script": player,
        "script_hash": source_hash(player), "data": "{{data}}",
    }  # fmt: skip
    pairs = [
        {
            "title": i.title,
            "scenario": i.scenario,
            "seed": i.seed,
            "moment": i.moment,
            "command": i.command,
            "sides": i.sides,
            "replay": text,
        }
        for i, text in zip(items, packed, strict=True)
    ]
    names = [str(side.get("name", "")) for side in (report.baseline, report.candidate)]
    heading = f"{names[1]} against {names[0]} on {report.suite}"
    values = {
        "title": escape(f"{report.verdict}: {heading}"),
        "style": style,
        "style_hash": source_hash(style),
        "player_style_hash": source_hash(player_style),
        "script": script,
        "script_hash": source_hash(script),
        "player_hash": source_hash(player),
        "verdict": report.verdict,
        "verdict_class": report.verdict,
        "heading": escape(heading),
        "because": escape(report.because),
        "notes": "".join(_notes(report, command)),
        "nav": "<div>" + "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections) + "</div>",
        "sections": "\n".join(f'<section id="{name}"><h2>{title}</h2>{body}</section>' for name, title, body in sections),
        "footer": escape(f"Run {report.run}; " + ", ".join(f"{k} {v}" for k, v in report.versions.items()) + "."),
        "player": embedded_json(_filled(part("page.html"), inner) if pairs else ""),
        "gallery": embedded_json({"common": common, "pairs": pairs}),
    }
    return _filled(_part("page.html"), values)


def _part(name: str) -> str:
    return (files("agents.gate") / "page" / name).read_text(encoding="utf-8")


def _filled(template: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _sections(report: Report, items: Sequence[Item], covered: Mapping[str, Sequence[Parameter]]) -> Iterator[tuple[str, str, str]]:
    """Anchor, heading and content of each section; without content it is left out."""
    yield "metrics", "Metrics", _metrics(report)
    yield "evidence", "Evidence", _evidence(report)
    yield "families", "Families", _heat(report)
    yield "runs", "Training runs", _runs(report)
    yield "failures", "Failures", _failures(report)
    yield "gallery", "Replays", _gallery(items)
    yield "worse", "Pairs that got worse", "" if items else _worse(report)
    yield "coverage", "Coverage", _coverage(covered)


def _worse(report: Report) -> str:
    """Pairs of which there are no replays, and how to see them again."""
    if not report.worse:
        return ""
    rows = "".join(
        f'<tr><td>{escape(w.scenario)}</td><td class="num">{w.seed}</td><td>{escape(" then ".join(w.ends))}</td>'
        f"<td><code>{escape(w.command)}</code></td></tr>"
        for w in report.worse
    )
    heads = '<tr><th>where</th><th class="num">seed</th><th>ended, baseline then candidate</th><th>to see the candidate</th></tr>'
    left = report.worse_in_all - len(report.worse)
    more = f"<p>And {left} more.</p>" if left > 0 else ""
    return f"<table><thead>{heads}</thead><tbody>{rows}</tbody></table>{more}"


def _notes(report: Report, command: str) -> Iterator[str]:
    judged = f"{report.pairs_judged} of {report.pairs_planned} pairs judged, {report.pairs_identical} of them identical to the last bit"
    says = f"{judged}. Test: {report.test}, alpha {report.alpha:g}." if report.unit == "episode" else counted(report).replace("`", "")
    yield f'<p class="note">{escape(says)}</p>'
    for warning in report.warnings:
        yield f'<p class="warn">{escape(warning)}</p>'
    for incident in report.incidents:
        yield f'<p class="warn">{escape(incident)}</p>'
    if report.lost:
        lines = "".join(f"<li>{escape(f'{x.role}, {x.scenario}, seed {x.seed}: {x.why}')}</li>" for x in report.lost[:MOST])
        yield f"<details><summary>{len(report.lost)} episodes were lost</summary><ul>{lines}</ul></details>"
    if command:
        yield f"<pre>{escape(command)}</pre>"


# ---------------------------------------------------------------- figures


def _metrics(report: Report) -> str:
    heads = ("metric", "where", "baseline", "candidate", "gain", "", "better : worse", "state")
    numbers = {"baseline", "candidate", "gain", "better : worse"}
    head = "".join(f'<th class="num">{name}</th>' if name in numbers else f"<th>{name}</th>" for name in heads)
    body, shown = [], told(report)
    wide = reach(shown)
    for finding in shown:
        metric, where, base, cand, gain, counts, state = map(escape, row(finding))
        cells = f'<td>{metric}</td><td>{where}</td><td class="num">{base}</td><td class="num">{cand}</td><td class="num">{gain}</td>'
        mark = f'<span class="state {finding.state.replace(" ", "-")}">{state}</span>'
        body.append(f'<tr>{cells}<td>{interval(finding, wide)}</td><td class="num">{counts}</td><td>{mark}</td></tr>')
    says = (
        "Rates in %, scores from 0 to 1 or in their unit, with 95 % intervals. Gain in points of the range, positive is better, with an "
        "interval that holds whenever one stops; the dashed line is the margin."
        if report.unit == "episode"
        else "Means of training runs: rates in %, scores from 0 to 1 or in their unit. Gain in points of the range, positive is better. "
        "Intervals at 95 %, from drawing runs anew; the dashed line is the margin. Better : worse counts pairs of runs."
    )
    return (
        f'<p>{says}</p><div class="scroll"><table class="wide"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _evidence(report: Report) -> str:
    whole = [finding for finding in report.findings if finding.scope == ALL]
    total = sum(1.0 / finding.priority for finding in whole)
    share = FIRST if len(whole) < len(report.findings) else 1.0
    charts = [(f, evidence(f, report.alpha, share / f.priority / total)) for f in whole]
    drawn = [f"<figure><figcaption>{escape(f.metric)}</figcaption>{chart}</figure>" for f, chart in charts if chart]
    if not drawn:
        return ""
    says = (
        "How many times its stake a gambler has now who bets that it got worse, and one who bets that it kept up within the margin, on the "
        'whole suite. Who crosses the dashed line of its colour has established it.<span class="key"><i class="worse"></i>worse'
        '<i class="kept"></i>kept up</span>'
    )
    return f'<p>{says}</p><div class="charts">{"".join(drawn)}</div>'


def _heat(report: Report) -> str:
    scopes = list(dict.fromkeys(finding.scope for finding in report.findings))
    metrics = list(dict.fromkeys(finding.metric for finding in report.findings))
    if len(scopes) < 2:
        return ""
    by = {(finding.scope, finding.metric): finding for finding in report.findings}
    head = "".join(f"<th>{escape(metric)}</th>" for metric in metrics)
    lines = []
    for scope in scopes:
        name = "whole suite" if scope == ALL else scope
        lines.append(f"<tr><th>{escape(name)}</th>{''.join(_field(by[scope, metric]) for metric in metrics)}</tr>")
    says = "Gain in points; outlined where it is established that it got worse."
    table = f'<table class="heat"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return f'<p>{says}</p><div class="scroll">{table}</div>'


def _runs(report: Report) -> str:
    if not report.runs:
        return ""
    head, lines = run_rows(report)
    cells = "".join(f"<th{_number(k)}>{escape(name)}</th>" for k, name in enumerate(head))
    body = "".join("<tr>" + "".join(f"<td{_number(k)}>{escape(text)}</td>" for k, text in enumerate(line)) + "</tr>" for line in lines)
    says = "Every run drove the whole suite. How far runs of one side lie apart is what a gain has to exceed."
    return f'<p>{says}</p><div class="scroll"><table class="wide"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _number(column: int) -> str:
    return ' class="num"' if column == 2 or column > 3 else ""


def _field(finding: Finding) -> str:
    gain = finding.gain
    if gain is None:
        return '<td class="g0">-</td>'
    shade = sum(abs(gain) >= edge for edge in SHADES) * (1 if gain > 0 else -1)
    text = row(finding)
    title = escape(f"{text[2]}, now {text[3]}; better : worse {text[5]}; {finding.state}")
    found = " found" if finding.state == "worse" else ""
    return f'<td class="g{shade}{found}" title="{title}">{100 * gain + 0.0:+.1f}</td>'


# ---------------------------------------------------------------- failures


def _failures(report: Report) -> str:
    if not report.failures:
        return ""
    total = len(report.failures)
    among = (
        f", among the first {len(report.worse)} of {report.worse_in_all} that got worse" if report.worse_in_all > len(report.worse) else ""
    )
    plural = "s" * (total != 1)
    lines = []
    for cluster in report.clusters:
        members = [failure for failure in report.failures if failure.cluster == cluster.number]
        links = "".join(f'<a href="#failure-{f.number}@t={f.moment:.1f}">{escape(f.scenario)}, seed {f.seed}</a>' for f in members[:LINKS])
        links += f"<span>and {len(members) - LINKS} more below</span>" if len(members) > LINKS else ""
        smalls = "".join(_small(minimal) for minimal in report.minimal if minimal.cluster == cluster.number)
        lines.append(
            f'<li><b class="count">{cluster.count} ×</b> <b>{escape(cluster.words)}</b> '
            f'<span class="shares">{escape("; ".join(circumstances(cluster)))}</span><div class="links">{links}</div>{smalls}</li>'
        )
    says = f"{total} pair{plural} in which the candidate fails and the baseline does not{among}. Each link opens the moment of failure."
    return f'<p>{says}</p><ul class="clusters">{"".join(lines)}</ul>'


def _small(minimal: Any) -> str:
    (text,) = small(minimal)
    says, _, again = text.partition(" Again: ")
    command = f"<pre>{escape(again.strip('`'))}</pre>" if again else ""
    return f'<div class="small">{escape(says.replace("`", ""))}{command}</div>'


def _gallery(items: Sequence[Item]) -> str:
    if not items:
        return ""
    links = "".join(
        f'<li><a href="#failure-{i.number}@t={i.moment:.1f}" data-number="{i.number}">{i.number}. {escape(i.title)}'
        f"<small>{escape(i.scenario)}, seed {i.seed}, {i.moment:.1f} s</small></a></li>"
        for i in items
    )
    paces = "".join(f'<option value="{v}"{" selected" * (v == 1)}>{v}×</option>' for v in (0.25, 0.5, 1, 2, 4))
    return (
        f'<p>The pairs in which the candidate did worse, both policies in step. Drag and zoom in either view.</p><div class="gallery">'
        f'<ul class="pairs">{links}</ul><div class="viewer"><h3 id="viewer-title"></h3><p class="note" id="viewer-where"></p>'
        f'<div class="sides" id="sides"></div><div class="controls"><button id="run" class="main">Play</button>'
        f'<button id="moment" title="To the moment at which it went wrong">Moment</button>'
        f'<input id="scrub" type="range" min="0" max="1000" value="0" step="any" aria-label="Time"><span id="clock" class="clock"></span>'
        f'<select id="pace" aria-label="Playback speed">{paces}</select><button id="link" title="Copy a link to this moment">Link</button>'
        f'</div><pre id="viewer-command"></pre></div></div>'
    )


# ---------------------------------------------------------------- coverage


def _coverage(covered: Mapping[str, Sequence[Parameter]]) -> str:
    parts = []
    for stratum, parameters in covered.items():
        if not parameters:
            continue
        failed = sum(b.failed for b in parameters[0].bins)
        tried = sum(b.tried for b in parameters[0].bins)
        rows = "".join(_parameter(parameter) for parameter in parameters)
        name = f"{escape(stratum)}: {failed} of {tried} failed"
        parts.append(
            (
                failed / max(tried, 1),
                f'<details{" open" * (failed > 0)}><summary>{name}</summary><table class="coverage">{rows}</table></details>',
            )
        )
    if not parts:
        return ""
    says = (
        "What the suite drew of what its scenarios can draw, each parameter in bins from its least to its greatest value: episodes driven, "
        "and of them those in which the candidate failed. Hatched: not tried."
    )
    return f"<p>{says}</p>" + "".join(text for _, text in sorted(parts, key=lambda item: -item[0]))


def _parameter(parameter: Parameter) -> str:
    cells = "".join(_bin(each) for each in parameter.bins)
    ends = f"{parameter.bins[0].label.split(' to ')[0]} to {parameter.bins[-1].label.split(' to ')[-1]}"
    return f'<tr><td>{escape(parameter.path)}</td><td><div class="bins">{cells}</div></td><td class="ends">{escape(ends)}</td></tr>'


def _bin(each: Bin) -> str:
    title = escape(f"{each.label}: {each.tried} driven, {each.failed} failed")
    if not each.tried:
        return f'<span class="none" title="{title}"></span>'
    shade = 0 if not each.failed else 1 + sum(each.failed / each.tried >= edge for edge in RATES)
    return f'<span class="f{shade}" title="{title}">{f"{each.failed}/" if each.failed else ""}{each.tried}</span>'
