"""The report of a study of planners as one HTML file that asks no network for anything."""

from __future__ import annotations

import html
from typing import Any

from agents.evaluation.report import COLUMNS, cell, versions
from agents.evaluation.speed_planners import SCENE
from agents.evaluation.stats import LEVEL
from agents.studies.arms import ANY
from agents.studies.html import Cell, document, figure, points, section, signed, table
from agents.studies.planners import FIGURES, Entry, PlannerStudy
from agents.studies.plots import COLOURS, as_svg, draw_points

__all__ = ["findings", "page"]

SHOWN = (
    ("success", "success, % of episodes", 100.0),
    ("at fault", "collision at fault, %", 100.0),
    ("driving score", "driving score", 1.0),
)


def page(made: PlannerStudy) -> str:
    """The whole HTML text."""
    return document(made.title, [_head(made), _table(made), _against(made), _speed(made), _words()])


def findings(made: PlannerStudy) -> list[str]:
    """The report in sentences: who is best where, if anybody is for sure, and what seeing less costs each. None if it was interrupted."""
    if made.undriven:
        return []  # what was driven is mostly what ended soon, as collisions do
    told = []
    for leader in made.leaders:
        best = leader.entry
        shown = f"{cell(best.row.figures['success'], 'rate')} % of {best.row.episodes} episodes"
        if leader.tied:
            told.append(
                f"{leader.scenario} on {leader.level}: {best.arm.policy}, which succeeds in {shown}, cannot be told apart from "
                f"{', '.join(leader.tied)}."
            )
        else:
            told.append(f"{leader.scenario} on {leader.level}: {best.arm.policy} succeeds most often, in {shown}.")
    last = made.table[-1].row.scenario if made.table else ""
    for e in made.table:
        less = e.less_truth
        if less and e.row.scenario == last and less.episodes and less.success.high < 0.0:
            off = points(less.success)
            told.append(f"{e.arm.policy} on {e.arm.shown}: {off} points of success against itself with the truth, on {last}.")
    return told


def _head(made: PlannerStudy) -> str:
    span = f"{made.episodes} episode{'s' * (made.episodes != 1)}" + (" of each" if len(made.scenarios) > 1 else "")
    where, last = html.escape(", ".join(made.scenarios)), made.seed + made.episodes - 1
    text = [f"<h1>{html.escape(made.title)}</h1>", f'<p class="soft">{where}: {span}, seeds {made.seed} to {last}, the same for all.</p>']
    if made.command:
        text.append(f"<pre><code>{html.escape(made.command)}</code></pre>")
    for name, lines in (("Interrupted. Not driven, and in no figure:", made.undriven), ("Lost to errors, and in no figure:", made.lost)):
        if lines:
            more = [f"and {len(lines) - 20} more, in report.json"] if len(lines) > 20 else []
            items = "".join(f"<li>{html.escape(line)}</li>" for line in [*lines[:20], *more])
            text.append(f'<div class="warn"><strong>{name}</strong><ul>{items}</ul></div>')
    text += [f'<div class="warn">{html.escape(warning)}</div>' for warning in made.warnings]
    if told := findings(made):
        text.append('<ul class="findings">' + "".join(f"<li>{html.escape(line)}</li>" for line in told) + "</ul>")
    return "\n".join(text)


def _table(made: PlannerStudy) -> str:
    names = [name for name in FIGURES if name != "collision"]  # of them those at fault stand here, all in report.json
    figures = [f"{name}, %" if COLUMNS[name][1] == "rate" else name for name in names]
    heads = ["scenario", "level", "policy", "episodes", *figures, "less truth, points"]
    body: list[list[Cell]] = []
    for e in made.table:
        shown = [cell(e.row.figures[name], COLUMNS[name][1]) for name in names]
        lost = f"{e.row.episodes}" + (f" (+{e.row.errors} lost)" if e.row.errors else "")
        level = "-" if e.arm.level == ANY else e.arm.shown
        words: list[Cell] = [(e.row.scenario, "text"), (level, "text"), (e.arm.policy, "text")]
        body.append([*words, lost, *shown, points(e.less_truth.success) if e.less_truth else ""])
    intro = "Less truth: success less that of the same policy with the truth, pair by pair on the same seeds."
    return section("Planner, level, family", intro, figure(_plot(made)) + table(heads, body, text=3))


def _against(made: PlannerStudy) -> str:
    rows = [e for e in made.table if e.less_first]
    if not rows:
        return ""
    heads = ["scenario", "level", "policy", "episodes", "success, points", "at fault, points", "driving score"]
    body: list[list[Cell]] = []
    for e in rows:
        less = e.less_first
        assert less is not None
        words: list[Cell] = [(e.row.scenario, "text"), ("-" if e.arm.level == ANY else e.arm.shown, "text"), (e.arm.policy, "text")]
        body.append([*words, f"{less.episodes}", points(less.success), points(less.at_fault), signed(less.score, 2)])
    intro = f"Each less {made.first} on the same level and seeds, pair by pair. What no level changes is compared with the truth's."
    return section(f"Against {made.first}", intro, table(heads, body, text=3))


def _speed(made: PlannerStudy) -> str:
    if not made.paces:
        return ""
    batches = sorted({pace.batch for pace in made.paces})
    heads = ["planner", "worlds of", *(f"ms a plan, {b} at once" for b in batches), *(f"plans/s, {b} at once" for b in batches)]
    body: list[list[Cell]] = []
    for name, where in dict.fromkeys((pace.planner, pace.scenario) for pace in made.paces):
        found = {pace.batch: pace.per_second for pace in made.paces if (pace.planner, pace.scenario) == (name, where)}
        called = "(making what they are given)" if name == SCENE else name
        spent = [f"{1e3 / found[b]:.2f}" if b in found else "-" for b in batches]
        body.append([(called, "text"), (where, "text"), *spent, *(f"{found[b]:,.0f}" if b in found else "-" for b in batches)])
    intro = "CPU time of one thread, on this machine. Scenes are made once for all planners that look at them, so their time is told apart."
    return section("Time per plan", intro, table(heads, body, text=2))


def _words() -> str:
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [
        f"Brackets hold {LEVEL:.0%} intervals: Wilson's for rates (at least 3/n where nothing or everything happened), Newcombe's for "
        "differences of rates between pairs, a bootstrap of seeds within scenarios for scores and their differences.",
        "Success: arrived without collision, leaving the road, driving against traffic, a red light or a stop sign run.",
        f"Made by {known}.",
    ]
    return section("What the words mean", "", "<ul>" + "".join(f'<li class="soft">{html.escape(line)}</li>' for line in lines) + "</ul>")


def _plot(made: PlannerStudy) -> str:
    """A row of pictures for each level: success, collision at fault and driving score of every policy in every scenario, with intervals."""
    levels = list(dict.fromkeys(e.arm.level for e in made.table if e.arm.level != ANY)) or [ANY]
    policies = list(dict.fromkeys(e.arm.policy for e in made.table))
    places = [name for name in dict.fromkeys(e.row.scenario for e in made.table) if name != "all scenarios"]

    def draw(axes: Any) -> None:
        for k, level in enumerate(levels):
            for axis, (name, label, scale) in zip(axes[3 * k :], SHOWN, strict=False):
                for i, policy in enumerate(policies):
                    mine = [e for e in made.table if e.arm.policy == policy and e.arm.level in (level, ANY) and e.row.scenario in places]
                    off = (i - (len(policies) - 1) / 2) * min(0.16, 0.8 / len(policies))
                    x = [places.index(e.row.scenario) + off for e in mine]
                    draw_points(axis, x, [e.row.figures[name] for e in mine], scale, COLOURS[i % len(COLOURS)], policy, _mark(mine))
                axis.set_xticks(range(len(places)), places, rotation=20 if max(map(len, places)) > 12 or len(places) > 4 else 0)
                axis.set_xlim(-0.6, len(places) - 0.4)
                axis.set_title(f"{label}, {level}" if len(levels) > 1 else label, fontsize=10, loc="left")
                axis.set_ylim(*((-4, 104) if scale == 100.0 else (-0.04, 1.04)))

    return as_svg("planners", draw, (11.0, 0.6 + 2.9 * len(levels)), (len(levels), 3))


def _mark(entries: list[Entry]) -> str:
    """Squares for who sees the same on every level."""
    return "s" if any(e.arm.level == ANY for e in entries) else "o"
