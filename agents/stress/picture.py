"""A stress run as one picture: failures over the simulations of search and random sampling, and where in the space they lie."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from agents.stress.report import directions, points
from agents.stress.run import Found
from agents.stress.space import REST
from agents.stress.trials import Trial
from scenarios.files import write_atomic

__all__ = ["draw_stress"]

RED, BLUE, GREY, AMBER = "#c0392b", "#2563a8", "#9aa1ab", "#d98a1f"
EDGE = 3.6  # standard deviations shown


def draw_stress(path: Path, found: Found) -> None:
    """Write stress.png. Drawn without a display and without touching matplotlib's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1.0, 1.0))
    figure.suptitle(f"{found.order.policy} in {found.order.scenario}", fontsize=12)
    _counts(left, found)
    _where(middle, found)
    _shifts(right, found)
    for axis in (left, middle, right):
        axis.grid(alpha=0.2)
        axis.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_atomic(path, picture.getvalue())


def _counts(axis: Any, found: Found) -> None:
    axis.set_title("failures found", fontsize=10)
    axis.set_xlabel("simulations")
    random = found.order.method == "random"
    for trials, colour, name in (
        (found.searched, BLUE if random else RED, "random" if random else "search"),
        (found.stage("control"), BLUE, "random"),
    ):
        if not trials:
            continue
        steps = np.arange(len(trials) + 1)
        total = np.concatenate([[0], np.cumsum([t.failed for t in trials])])
        axis.plot(steps, total, color=colour, label=f"{name}: {total[-1]}")
        if found.order.references and any(t.failed and not t.avoidable for t in trials):
            avoidable = np.concatenate([[0], np.cumsum([t.avoidable for t in trials])])
            axis.plot(steps, avoidable, color=colour, linestyle=":", label=f"{name}, survived by a reference: {avoidable[-1]}")
    begun = len(found.stage("pilot", "search"))
    if found.stage("estimate"):
        axis.axvline(begun, color=GREY, linewidth=0.8)
        axis.text(begun, axis.get_ylim()[1], " probability from here on", fontsize=8, va="top", color="#555b66")
    axis.set_ylim(bottom=0)
    axis.set_xlim(left=0)
    axis.legend(fontsize=8, loc="lower right", framealpha=0.85, edgecolor="none")


def _where(axis: Any, found: Found) -> None:
    """All trials along the two coordinates in which failures differ most."""
    names, along = found.space.coordinates, [name for name, _, _ in directions(found)]
    pair = (along + [n for n in names if n not in along and n != REST] + [REST])[:2]
    columns = [names.index(name) for name in pair]
    plain = found.stage("control", "pilot") or found.searched
    kinds: tuple[tuple[Sequence[Trial], str, str, float], ...] = (
        ([t for t in plain if not t.failed], GREY, "as the scenario draws", 6.0),
        ([t for t in found.trials if t.failed and not t.avoidable and found.order.references], AMBER, "unavoidable failure", 14.0),
        ([t for t in found.trials if t.failed and (t.avoidable or not found.order.references)], RED, "failure", 14.0),
    )
    for trials, colour, label, size in kinds:
        if trials:
            z = np.clip(points(found, trials)[:, columns], -EDGE, EDGE)
            axis.scatter(z[:, 0], z[:, 1], s=size, color=colour, alpha=0.55, linewidths=0, label=label)
    axis.set_title("where failures lie, as quantiles", fontsize=10, pad=8)
    for which, name in zip((axis.xaxis, axis.yaxis), pair, strict=True):
        quantiles = np.array([0.001, 0.05, 0.5, 0.95, 0.999])
        which.set_ticks(ndtri(quantiles), [f"{100.0 * q:g} %" for q in quantiles])
        which.set_label_text(_short(name), fontsize=9)
    axis.set_xlim(-EDGE, EDGE)
    axis.set_ylim(-EDGE, EDGE)
    axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=3, edgecolor="none", handletextpad=0.2, columnspacing=1.0)


def _shifts(axis: Any, found: Found) -> None:
    axis.set_title("what failures have in common", fontsize=10)
    told = directions(found)[::-1]
    if not told:
        axis.text(0.5, 0.5, "no number stands out", ha="center", va="center", transform=axis.transAxes, color="#555b66")
        axis.set_axis_off()
        return
    at = np.arange(len(told))
    axis.errorbar([m for _, m, _ in told], at, xerr=[s for _, _, s in told], fmt="o", color=RED, capsize=3)
    axis.axvline(0.0, color=GREY, linewidth=0.8)
    axis.axvspan(-1.0, 1.0, color=GREY, alpha=0.15, linewidth=0)
    axis.set_yticks(at, [_short(name, 34) for name, _, _ in told], fontsize=8)
    axis.set_xlabel("standard deviations (grey: usual)", fontsize=9)
    axis.set_ylim(-0.6, max(len(told), 3) - 0.4)


def _short(name: str, most: int = 44) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]
