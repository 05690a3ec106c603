"""The curves of a run as one picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from perception.storage import write_file

__all__ = ["draw_curves"]

# title, lines (key, label, factor), label of the axis
PANELS: tuple[tuple[str, tuple[tuple[str, str, float], ...], str], ...] = (
    ("loss", (("loss", "all", 1.0), ("heat", "heat", 1.0), ("box", "box", 1.0), ("depth", "depth", 1.0)), ""),
    ("held out: AP50", (("ap50", "sides >= 4 px", 1.0), ("ap50_all", "all labels", 1.0), ("recall", "recall", 1.0)), "share"),
    ("held out: centre within 40 m", (("centre_error", "median error", 100.0),), "% of range"),
    ("held out: heading", (("heading_error", "median error", 1.0),), "deg"),
)


def draw_curves(path: Path, rows: Sequence[Mapping[str, float]], *, title: str) -> None:
    """A PNG from the rows of a run's validations. Drawn without a display and without matplotlib's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    frames = [row["frames"] for row in rows]
    for axis, (name, lines, unit) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for key, label, factor in lines:
            axis.plot(frames, [factor * row.get(key, float("nan")) for row in rows], marker=".", label=label)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("frames")
        axis.set_ylabel(unit)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    write_file(path, picture.getvalue())
