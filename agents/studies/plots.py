"""The pictures of a study as SVG to put into a page: figures by level, sensitivity curves, weathers, causes of collisions."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agents.evaluation.stats import Estimate
from agents.evaluation.struck import CAUSES
from agents.studies.arms import ANY, RANDOM
from agents.studies.perception import Study
from envs.driving.camera.config import CONDITIONS

__all__ = ["AXES", "COLOURS", "as_svg", "draw_points", "levels_plot", "sensitivity_plot", "weather_plot", "why_plot"]

COLOURS = ("#2563a8", "#c2570c", "#1b7f4b", "#7c3aed", "#b4235f", "#0e7490")
MARKS = ("o", "s", "^")  # where there are more than colours
GREY, RED = "#6b7280", "#c0392b"
# known: the policy's doing, in grey; the others are perception's, the more so the darker
CAUSE_COLOURS = dict(zip(CAUSES, ("#9ca3af", "#f3c26b", "#d9772b", "#2f6690", "#16324f"), strict=True))
AXES = {
    "recall": "detector recall, share of the error model's",
    "position": "error of place, times the error model's",
    "latency": "latency, s",
    "drop": "share of frames lost",
}
RATES = (("success", "success, % of episodes", 100.0), ("collision", "collision, % of episodes", 100.0), ("reward", "return", 1.0))


def levels_plot(made: Study) -> str:
    """Success, collision and return of every policy on every level, with intervals; random and other baselines as lines."""
    shown = [o for o in made.main if o.arm.level != ANY]
    baselines = [o for o in made.main if o.arm.level == ANY]
    places = list(dict.fromkeys(o.arm.shown for o in shown)) or ["any"]
    policies = list(dict.fromkeys(o.arm.policy for o in shown))

    def draw(axes: Any) -> None:
        for axis, (name, label, scale) in zip(axes, RATES, strict=True):
            for k, policy in enumerate(policies):
                mine = [o for o in shown if o.arm.policy == policy]
                x = [places.index(o.arm.shown) + (k - (len(policies) - 1) / 2) * 0.16 for o in mine]
                draw_points(axis, x, [getattr(o.figures, name) for o in mine], scale, COLOURS[k % len(COLOURS)], policy)
            for k, outcome in enumerate(baselines):
                value = getattr(outcome.figures, name).value * scale
                style = (":", "--", "-.")[k % 3]
                axis.axhline(value, color=GREY, linestyle=style, linewidth=1.2, label=outcome.arm.policy)
            axis.set_xticks(range(len(places)), places, rotation=20 if max(map(len, places)) > 12 or len(places) > 4 else 0)
            axis.set_xlim(-0.6, len(places) - 0.4)
            axis.set_title(label, fontsize=10, loc="left")
            if scale == 100.0:
                axis.set_ylim(-4, 104)

    return as_svg("levels", draw, (11.0, 3.6), (1, 3))


def sensitivity_plot(made: Study) -> str:
    """Success and collision against each option that was swept, with intervals. Empty if none was."""
    options = [name for name in AXES if any(row["option"] == name for row in made.curves)]
    if not options:
        return ""
    policies = list(dict.fromkeys(row["base"] for row in made.curves))

    def draw(axes: Any) -> None:
        for axis, option in zip(axes, options, strict=True):
            for row in made.curves:
                if row["option"] != option:
                    continue
                colour = COLOURS[policies.index(row["base"]) % len(COLOURS)]
                step = made.intervals[row["base"]] if option == "latency" else 1.0
                x = np.array([value for value, _ in row["points"]]) * step
                name = row["policy"] if len(policies) > 1 else ""
                for figure, style, marker in (("success", "-", "o"), ("collision", "--", "s")):
                    values = [getattr(o.figures, figure) for _, o in row["points"]]
                    low, high = ([100 * getattr(v, side) for v in values] for side in ("low", "high"))
                    tint = colour if figure == "success" or len(policies) > 1 else RED
                    axis.fill_between(x, low, high, color=tint, alpha=0.14, linewidth=0)
                    label = f"{name} {figure}".strip()
                    axis.plot(x, [100 * v.value for v in values], style, marker=marker, markersize=4, color=tint, label=label)
            if option == "recall":
                axis.invert_xaxis()  # worse to the right, as in the others
            axis.set_xlabel(AXES[option], fontsize=9)
            axis.set_ylim(-4, 104)
        axes[0].set_ylabel("% of episodes", fontsize=9)

    return as_svg("sensitivity", draw, (3.0 * max(len(options), 2), 3.5), (1, len(options)))


def weather_plot(made: Study) -> str:
    """Success of every arm in each weather. Empty where there is but one weather."""
    found = [name for name in CONDITIONS if any(row["condition"] == name for row in made.weathers)]
    if len(found) < 2:
        return ""
    arms = list(dict.fromkeys(row["arm"] for row in made.weathers))

    def draw(axes: Any) -> None:
        for axis, (name, label, scale) in zip(axes, RATES[:2], strict=True):
            for k, arm in enumerate(arms):
                mine = [row for row in made.weathers if row["arm"] == arm]
                x = [found.index(row["condition"]) + (k - (len(arms) - 1) / 2) * min(0.16, 0.8 / len(arms)) for row in mine]
                values = [getattr(row["figures"], name) for row in mine]
                turn, place = divmod(k, len(COLOURS))
                draw_points(axis, x, values, scale, COLOURS[place], f"{arm.policy}, {arm.shown}", MARKS[turn % len(MARKS)])
            axis.set_xticks(range(len(found)), found)
            axis.set_title(label, fontsize=10, loc="left")
            axis.set_ylim(-4, 104)

    return as_svg("weather", draw, (11.0, 3.6), (1, 2))


def why_plot(made: Study) -> str:
    """What was known of the things run into, as shares of all episodes. Empty without a collision that is accounted for."""
    rows = [row for row in made.collisions if row["known"] and row["arm"].policy != RANDOM]
    if not rows:
        return ""
    episodes = {o.arm.spec: o.figures.episodes for o in made.main}

    def draw(axes: Any) -> None:
        (axis,) = axes
        for y, row in enumerate(rows):
            left = 0.0
            for cause in CAUSES:
                width = 100.0 * row["causes"][cause] / episodes[row["arm"].spec]
                axis.barh(y, width, left=left, color=CAUSE_COLOURS[cause], height=0.62, label=cause if y == 0 else None)
                left += width
        axis.set_yticks(range(len(rows)), [f"{row['arm'].policy}, {row['arm'].shown}" for row in rows])
        axis.invert_yaxis()
        axis.set_xlim(left=0)
        axis.set_xlabel("% of episodes that ended in a collision", fontsize=9)

    return as_svg("why", draw, (9.0, 1.2 + 0.42 * len(rows)), (1, 1))


def draw_points(axis: Any, x: Sequence[float], values: Sequence[Estimate], scale: float, colour: str, label: str, mark: str = "o") -> None:
    """Estimates as points with their intervals; bounds that are not known are left out."""
    y = np.array([v.value for v in values]) * scale
    low, high = (np.array([getattr(v, side) for v in values]) * scale for side in ("low", "high"))
    reach = np.nan_to_num(np.clip(np.stack([y - low, high - y]), 0.0, None))
    axis.errorbar(x, y, yerr=reach, fmt=mark, color=colour, markersize=5, capsize=3, linewidth=1.4, label=label)


def as_svg(name: str, draw: Callable[[Any], None], size: tuple[float, float], grid: tuple[int, int]) -> str:
    """A figure as an SVG element; the same bytes for the same figures. `name` keeps the ids of several in one page apart."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9.0}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(*grid, squeeze=False).ravel()
        draw(axes)
        for axis in axes:
            axis.grid(alpha=0.25)
            axis.set_axisbelow(True)
            axis.spines[["top", "right"]].set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        if labels:
            fit = int(14.0 * size[0] / (6 + max(map(len, labels))))  # 14 letters to an inch, and room for the mark
            figure.legend(handles, labels, loc="outside upper left", ncols=max(1, min(len(labels), 5, fit)), frameon=False, fontsize=9)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    width = f'<svg style="max-width: {100 * size[0]:.0f}px"'  # otherwise as wide as the page lets it be
    return re.sub(r'\s(width|height)="[^"]*"', "", svg, count=2).replace("<svg", width, 1)
