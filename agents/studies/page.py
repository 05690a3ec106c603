"""The report of a study as one HTML file that asks no network for anything: tables with intervals, pictures, what the words mean."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from agents.evaluation.report import cell, versions
from agents.evaluation.stats import LEVEL
from agents.evaluation.struck import CAUSES, WINDOW
from agents.studies.arms import ANY, RANDOM
from agents.studies.failures import BY_HIDDEN, BY_NOTICED
from agents.studies.html import Cell, document, figure, points, section, signed, table
from agents.studies.perception import Study
from agents.studies.plots import levels_plot, sensitivity_plot, weather_plot, why_plot

__all__ = ["findings", "page"]

CAUSE_TEXT = {
    "known": "believed where it was: the policy's own doing",
    "misplaced": "believed, but more than 1 m (or 5 % of its distance) from where it was",
    "missed": "in sight, but not believed",
    "hidden": "not believed, and no line of sight to it",
    "outside": "not believed, and outside what is looked at: the cameras of perceived, range and field of view of the other levels",
}
OPTION_TEXT = {"recall": "recall kept", "position": "error of place", "latency": "latency", "drop": "frames lost"}


def page(made: Study) -> str:
    """The whole HTML text."""
    parts = [_head(made), _levels(made), _policies(made), _sensitivity(made), _weather(made), _collisions(made), _words(made)]
    return document(made.title, parts)


def findings(made: Study) -> list[str]:
    """The report in sentences: what each level costs each policy, and which policy is better where."""
    told = []
    for o in made.main:
        less = o.less_truth
        if less is None or not less.episodes:
            continue
        off = points(less.success)
        on = f"{o.arm.policy} on {o.arm.shown}"
        gap = f"gap {signed(o.gap, 2)}" if o.gap else f"no gap can be given ({o.no_gap})"
        within = {
            "yes": "It is within 10 points.",
            "no": "It is more than 10 points below.",
            "unclear": "Whether it is within 10 points cannot be told from so few episodes.",
        }[o.within]
        told.append(f"{on} succeeds in {cell(o.figures.success, 'rate')} % of episodes, {off} points against the truth; {gap}. {within}")
    for row in made.differences:
        names = f"{row['first'].policy} and {row['second'].policy}"
        if row["better"]:
            told.append(f"On {row['level']}, {row['better']} is the better of {names}.")
        else:
            told.append(f"On {row['level']}, these episodes cannot tell {names} apart.")
    return told


def _head(made: Study) -> str:
    where = ", ".join(made.scenarios)
    span = f"{made.episodes} episode{'s' * (made.episodes != 1)}" + (" of each" if len(made.scenarios) > 1 else "")
    text = [f"<h1>{html.escape(made.title)}</h1>"]
    text.append(
        f'<p class="soft">{html.escape(where)}: {span}, seeds {made.seed} to {made.seed + made.episodes - 1}, the same for all.</p>'
    )
    if made.command:
        text.append(f"<pre><code>{html.escape(made.command)}</code></pre>")
    if made.undriven:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in made.undriven)
        text.append(f'<div class="warn"><strong>Interrupted.</strong> Not driven, and in no figure:<ul>{lines}</ul></div>')
    if made.lost:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in made.lost[:20])
        more = f"<li>and {len(made.lost) - 20} more, in report.json</li>" if len(made.lost) > 20 else ""
        text.append(f'<div class="warn"><strong>Lost to errors,</strong> and in no figure:<ul>{lines}{more}</ul></div>')
    text += [f'<div class="warn">{html.escape(warning)}</div>' for warning in made.warnings]
    if told := findings(made):
        text.append('<ul class="findings">' + "".join(f"<li>{html.escape(line)}</li>" for line in told) + "</ul>")
    return "\n".join(text)


def _levels(made: Study) -> str:
    heads = ["policy", "level", "episodes", "success, %", "collision, %", "return", "success less truth's, points", "gap"]
    body: list[list[Cell]] = []
    for o in made.main:
        less = o.less_truth
        row: list[Cell] = [(o.arm.policy, "text"), ("-" if o.arm.level == ANY else o.arm.shown, "text")]
        row += [f"{o.figures.episodes}" + (f" (+{o.figures.lost} lost)" if o.figures.lost else "")]
        row += [cell(o.figures.success, "rate"), cell(o.figures.collision, "rate"), cell(o.figures.reward, "mean")]
        row += [points(less.success) if less else "", signed(o.gap, 2) if o.gap else (o.no_gap, "text wide") if o.no_gap else ""]
        body.append(row)
    return section(
        "The perception gap",
        "Gap: the share of the way from the return with the truth down to that of acting at random that is lost by seeing less. 0: nothing "
        "is; 1: no better than random. Below 0: better than with the truth.",
        figure(levels_plot(made)) + table(heads, body, text=2),
    )


def _policies(made: Study) -> str:
    if not made.differences:
        return ""
    heads = ["level", "first", "second", "episodes", "success, points", "collision, points", "return", "better"]
    body: list[list[Cell]] = []
    for row in made.differences:
        less = row["less"]
        body.append(
            [
                (row["level"], "text"), (row["first"].policy, "text"), (row["second"].policy, "text"), f"{less.episodes}",
                points(less.success), points(less.collision), signed(less.reward, 2), (row["better"] or "cannot be told", "text"),
            ]
        )  # fmt: skip
    intro = "First less second, pair by pair on the same episodes. Better: by success if its interval leaves out 0, else by return."
    return section("Policies on the same level", intro, table(heads, body, text=3))


def _sensitivity(made: Study) -> str:
    if not made.curves:
        return ""
    heads = ["policy", "changed", "value", "episodes", "success, %", "collision, %", "return"]
    body: list[list[Cell]] = []
    for row in made.curves:
        for value, o in row["points"]:
            shown = f"{value:g}"
            if row["option"] == "latency":
                shown = f"{value:g} ({value * made.intervals[row['base']]:g} s)"
            text: list[Cell] = [(row["policy"], "text"), (OPTION_TEXT[row["option"]], "text"), shown, f"{o.figures.episodes}"]
            body.append([*text, cell(o.figures.success, "rate"), cell(o.figures.collision, "rate"), cell(o.figures.reward, "mean")])
    level = next(o.arm.level for o in made.table if o.arm.sweep)
    intro = (
        f"On the level {level}, one thing made worse at a time (position 0: no errors of place). Recall: share kept of what the error "
        "model would detect. Latency: decisions from a frame to the arrival of what was seen in it."
    )
    return section("How much worse perception may get", intro, figure(sensitivity_plot(made)) + table(heads, body, text=2))


def _weather(made: Study) -> str:
    if len({row["condition"] for row in made.weathers}) < 2:
        return ""
    heads = ["policy", "level", "weather", "episodes", "success, %", "collision, %", "return", "success less truth's, points"]
    body: list[list[Cell]] = []
    for row in made.weathers:
        figures, less = row["figures"], row["less_truth"]
        text: list[Cell] = [(row["arm"].policy, "text"), (row["arm"].shown, "text"), (row["condition"], "text"), f"{figures.episodes}"]
        rates = [cell(figures.success, "rate"), cell(figures.collision, "rate"), cell(figures.reward, "mean")]
        body.append([*text, *rates, points(less.success) if less else ""])
    intro = (
        "The weather that cameras see in each episode, by its seed. Perceived and pixels look through it, and noisy errs as in it; how the "
        "other levels fare in the same episodes shows what is chance."
    )
    return section("Where it fails: weather", intro, figure(weather_plot(made)) + table(heads, body, text=3))


def _collisions(made: Study) -> str:
    rows = [row for row in made.collisions if row["arm"].policy != RANDOM]
    if not rows:
        return ""
    told = [row for row in rows if row["known"]]
    intro = (
        f"What was known of the thing that was run into, at most of the decisions in the {WINDOW:g} s before. Somebody who runs into the "
        "ego from behind counts too. How often random collides is left out."
    )
    if not told:
        return section("Where it fails: collisions", intro, "<p>No policy collided.</p>")

    def counts(keys: Iterable[str], part: str) -> Callable[[dict[str, Any]], list[Cell]]:
        return lambda row: [str(row[part][key]) for key in keys]

    def counted(heads: Sequence[str], cells: Callable[[dict[str, Any]], list[Cell]]) -> str:
        body: list[list[Cell]] = [
            [(row["arm"].policy, "text"), (row["arm"].shown, "text"), str(row["collisions"]), *cells(row)] for row in rows
        ]
        return table(["policy", "level", "collisions", *heads], body, text=2)

    words = "".join(f"<dt>{cause}</dt><dd>{CAUSE_TEXT[cause]}</dd>" for cause in CAUSES)
    text = figure(why_plot(made), "narrow") + f"<dl>{words}</dl>" + counted(CAUSES, counts(CAUSES, "causes"))
    text += "<p>By the distance at which it was noticed, for as long as it was then followed without a break until the collision:</p>"
    text += counted(BY_NOTICED, counts(BY_NOTICED, "noticed"))
    text += f"<p>By occlusion: for how much of the {WINDOW:g} s there was no line of sight to it, whatever was believed:</p>"
    text += counted(BY_HIDDEN, counts(BY_HIDDEN, "hidden"))

    def kinds(row: dict[str, Any]) -> list[Cell]:
        error = "" if row["error"] is None else f"{row['error']:.1f}"
        return [(", ".join(f"{kind} {count}" for kind, count in row["kinds"].items()), "text"), error]

    text += "<p>By kind, and how far from the truth it was believed on average:</p>" + counted(("kind", "mean error, m"), kinds)
    return section("Where it fails: collisions", intro, text)


def _words(made: Study) -> str:
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [
        f"Brackets hold {LEVEL:.0%} intervals: Wilson's for rates (at least 3/n where nothing or everything happened), Newcombe's for "
        "differences of rates between pairs, a bootstrap of seeds within scenarios for returns, their differences and gaps.",
        "Return: the default rewards of an episode added up. Success: arrived without collision, leaving the road, driving against "
        "traffic, a red light or a stop sign run.",
        "Believed: among the objects shown to the policy there is one, of whatever kind, within 2.5 m (or 10 % of the distance) of the "
        "thing. Two things closer to each other than that can be taken for one another.",
        f"Made by {known}.",
    ]
    return section("What the words mean", "", "<ul>" + "".join(f'<li class="soft">{html.escape(line)}</li>' for line in lines) + "</ul>")
