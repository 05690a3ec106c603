"""The learning curves of a run as one picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.files import write_atomic

__all__ = ["draw_curves"]

GREEN, RED, BLUE, GREY = "#1b7f4b", "#c0392b", "#2563a8", "#6b7280"


def draw_curves(path: Path, rows: Sequence[Mapping[str, float]], *, title: str) -> None:
    """curves.png from the rows of progress.csv: validation with its intervals, return of the training episodes, their ends, the learner.

    Drawn without a display and without touching matplotlib's global state.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharex=True)
    figure.suptitle(title, fontsize=12)
    _validation(axes[0, 0], rows)
    _returns(axes[0, 1], rows)
    _ends(axes[1, 0], rows)
    _learner(axes[1, 1], rows)
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.01)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, framealpha=0.8, edgecolor="none")
    for axis in axes[1]:
        axis.set_xlabel("decisions")
        axis.xaxis.set_major_formatter(_count)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_atomic(path, picture.getvalue())


def _column(rows: Sequence[Mapping[str, float]], *names: str) -> list[NDArray[np.float64]]:
    """Steps and the named columns, of the rows that have them all."""
    having = [row for row in rows if all(name in row for name in names)]
    return [np.array([row[name] for row in having], dtype=np.float64) for name in ("steps", *names)]


def _validation(axis: Any, rows: Sequence[Mapping[str, float]]) -> None:
    axis.set_title("validation episodes, 95 % Wilson interval", fontsize=10)
    axis.set_ylabel("share of episodes")
    for key, colour, label in (("val_success", GREEN, "success"), ("val_collision", RED, "collision")):
        steps, value, low, high = _column(rows, key, f"{key}_low", f"{key}_high")
        if len(steps):
            axis.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
            axis.plot(steps, value, color=colour, marker=".", label=f"{label} (last {value[-1]:.3f})")
    steps, best = _column(rows, "best")
    if best.any():
        axis.axvline(steps[np.flatnonzero(best)[-1]], color=GREY, linestyle=":", label="best checkpoint")
    axis.set_ylim(-0.03, 1.03)


def _returns(axis: Any, rows: Sequence[Mapping[str, float]]) -> None:
    axis.set_title("return per episode", fontsize=10)
    steps, mean, low, high = _column(rows, "reward", "reward_p10", "reward_p90")
    axis.fill_between(steps, low, high, color=BLUE, alpha=0.15, linewidth=0, label="training, 10th to 90th percentile")
    axis.plot(steps, mean, color=BLUE, label="training, mean (exploring)")
    steps, value = _column(rows, "val_reward")
    axis.plot(steps, value, color="black", marker=".", linestyle="--", label="validation, mean (deterministic)")


def _ends(axis: Any, rows: Sequence[Mapping[str, float]]) -> None:
    axis.set_title("training episodes (exploring)", fontsize=10)
    axis.set_ylabel("share of episodes")
    for key, colour in (("success", GREEN), ("collision", RED)):
        steps, value = _column(rows, key)
        axis.plot(steps, value, color=colour, label=key if len(steps) else None)
    axis.set_ylim(-0.03, 1.03)
    steps, length = _column(rows, "length")
    twin = axis.twinx()
    twin.plot(steps, length, color=GREY, linewidth=1, linestyle="--")
    twin.set_ylabel("mean length, decisions", color=GREY, fontsize=9)
    twin.set_ylim(bottom=0)
    twin.spines["top"].set_visible(False)


def _learner(axis: Any, rows: Sequence[Mapping[str, float]]) -> None:
    axis.set_title("learner", fontsize=10)
    for key, colour in (("entropy", BLUE), ("explained_variance", GREEN), ("loss", GREY), ("kl", RED)):
        steps, value = _column(rows, key)
        if len(steps):
            axis.plot(steps, value, color=colour, label=key.replace("_", " "))


def _count(value: float, _position: int) -> str:
    """2000000 -> 2M."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:g}{letter}"
    return f"{value:g}"
