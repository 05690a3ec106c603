"""The report of `closedloop eval-perception` as tables, pictures and one page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scenarios.files import write_atomic

if TYPE_CHECKING:
    from perception.metrics.detection import DetectionFigures

__all__ = ["Table", "page", "picture", "precision_plot", "predictor_plot", "tables", "tracker_plot"]

Report = Mapping[str, Any]
# figure -> (heading, factor, unit, digits)
DETECTOR: dict[str, tuple[str, float, str, int]] = {
    "ap50": ("AP50, sides >= 4 px", 1.0, "", 3),
    "ap": ("AP, sides >= 4 px", 1.0, "", 3),
    "ap50_half_hidden": ("AP50, at most half hidden", 1.0, "", 3),
    "ap50_with_hidden": ("AP50, the mostly hidden too", 1.0, "", 3),
    "ap50_all": ("AP50, every label", 1.0, "", 3),
    "recall": ("recall", 100.0, " %", 1),
    "precision": ("precision", 100.0, " %", 1),
    "centre_error": ("3-D centre error within 40 m, median", 100.0, " % of range", 1),
    "centre_error_p90": ("90th percentile", 100.0, " % of range", 1),
    "centre_error_m": ("3-D centre error within 40 m, median", 1.0, " m", 2),
    "heading_error": ("heading error, median", 1.0, " deg", 1),
    "heading_flipped": ("heading off by more than 90 deg", 100.0, " %", 1),
    "size_error": ("size error, median", 100.0, " %", 1),
    "light_accuracy": ("state of lights right", 100.0, " %", 1),
    "d_ece": ("D-ECE (score)", 1.0, "", 3),
    "d_ece_with_box": ("D-ECE (score, place, size)", 1.0, "", 3),
    "coverage_90": ("true centres within the 90 % ellipse", 100.0, " %", 1),
}
SIMILARITY = {"image": "boxes in the image", "ground": "places on the ground"}
TRACKER = (("hota", "HOTA"), ("deta", "DetA"), ("assa", "AssA"), ("loca", "LocA"), ("idf1", "IDF1"), ("mota", "MOTA"))
# figure -> (heading, factor, unit, digits)
PREDICTOR = {
    "minADE": ("minADE6", 1.0, " m", 2),
    "minFDE": ("minFDE6", 1.0, " m", 2),
    "miss": ("missed", 100.0, " %", 1),
    "ADE": ("likeliest ADE", 1.0, " m", 2),
    "FDE": ("likeliest FDE", 1.0, " m", 2),
    "nll": ("NLL", 1.0, "", 2),
    "ellipse": ("in 90 % ellipse", 100.0, " %", 1),
    "region": ("in 90 % region", 100.0, " %", 1),
}
CSS = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}table{border-collapse:collapse;margin:.3rem 0 1rem}
th,td{padding:.15rem .8rem .15rem 0;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600;color:#555}img{max-width:100%}.scroll{overflow-x:auto}
@media(prefers-color-scheme:dark){body{background:#1b1b1d;color:#ddd}th{color:#aaa}th,td{border-color:#3a3a3c}img{background:#fff}}"""


class Table(NamedTuple):
    """A table for people."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def _cell(value: float | None, factor: float = 100.0, unit: str = " %", digits: int = 1) -> str:
    return "-" if value is None or value != value else f"{factor * value:.{digits}f}{unit}"


def tables(results: Report) -> list[Table]:
    """All tables of what was judged: of "detector", "tracker", "predictor", as far as they are in `results`."""
    out: list[Table] = []
    if "detector" in results:
        out += _detector_tables(results["detector"])
    if "tracker" in results:
        out.append(_tracker_table(results["tracker"]))
    if "predictor" in results:
        for what, part in results["predictor"]["traffic"].items():
            out += _predictor_tables(what, part)
    return out


def _detector_tables(report: Report) -> list[Table]:
    title = f"detector {report['weights']}: {report['frames']} frames, {report['counted']} of {report['labels']} labels count"
    out = [Table(title, ("figure", ""), [(row[0], _cell(report[key], *row[1:])) for key, row in DETECTOR.items()])]
    conditions: list[tuple[str, ...]] = [
        (name, str(row["frames"]), _cell(row["ap50"], 1.0, "", 3), _cell(row["ap"], 1.0, "", 3))
        for name, row in report["conditions"].items()
    ]
    out.append(Table("by condition", ("condition", "frames", "AP50", "AP"), conditions))
    turned, flipped = report["heading_error_by_class"], report["heading_flipped_by_class"]
    classes: list[tuple[str, ...]] = [
        (name, _cell(value, 1.0, "", 3), _cell(turned.get(name), 1.0, " deg", 1), _cell(flipped.get(name)))
        for name, value in report["ap50_by_class"].items()
    ]
    out.append(Table("by class", ("class", "AP50", "heading error, median", "off by more than 90 deg"), classes))
    for key, what in (("recall_by_range", "range"), ("recall_by_hidden", "share hidden")):
        out.append(Table(f"recall by {what}", (what, "recall"), [(bin_, _cell(value)) for bin_, value in report[key].items()]))
    return out


def _tracker_table(report: Report) -> Table:
    rows = [
        (
            f"{name}, {SIMILARITY[similarity]}",
            *(_cell(row[key], 100.0, "") for key, _ in TRACKER),
            str(row["switches"]),
            f"{row['tracked']} / {row['labels']}",
        )
        for name, found in report["detectors"].items()
        for similarity, row in found.items()
    ]
    title = f"tracker: {report['sequences']} sequences of {report['length']} frames, 0.2 s apart"
    return Table(title, ("detector", *(heading for _, heading in TRACKER), "switches", "boxes told / true"), rows)


def _predictor_tables(what: str, part: Report) -> list[Table]:
    """One table for each horizon, and where recordings were left out one with what is gained on each."""
    out = []
    for horizon in _horizons(part["rows"]):
        count = max(row[f"count@{horizon}"] for row in part["rows"].values())
        body = []
        for name, row in part["rows"].items():
            gain = part["gains"].get(name, {})
            below = (_cell(gain[f"{key}@{horizon}"]) if gain else "-" for key in ("minADE", "ADE"))
            body.append((name, *(_cell(row[f"{key}@{horizon}"], *how[1:]) for key, how in PREDICTOR.items()), *below))
        columns = ("predictor", *(how[0] for how in PREDICTOR.values()), "minADE below CV", "ADE below CV")
        out.append(Table(f"{what} at {horizon} s: {count:.0f} tracks", columns, body))
    if "recordings" in part:
        rows = []
        for name, one in part["recordings"].items():
            row, gain = one["rows"]["learned"], one["gains"]["learned"]
            for horizon in _horizons(one["rows"]):
                if row[f"count@{horizon}"] > 0:
                    cells = (gain[f"minADE@{horizon}"], gain[f"ADE@{horizon}"], row[f"ellipse@{horizon}"])
                    rows.append((f"{name}, {horizon} s", f"{row[f'count@{horizon}']:.0f}", *map(_cell, cells)))
        columns = ("left out", "tracks", "minADE below CV", "ADE below CV", "in 90 % ellipse")
        out.append(Table(f"{what}: learned from the others", columns, rows))
    return out


def _horizons(rows: Report) -> list[str]:
    first: Mapping[str, float] = next(iter(rows.values()))
    return [key.partition("@")[2] for key in first if key.startswith("minADE@")]


def _axes(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(np.asarray(figure.subplots(1, count))))


def precision_plot(figures: DetectionFigures) -> Figure:
    """Precision over recall at IoU 0.5, class by class."""
    figure, (axis,) = _axes(1, 7, 5)
    for name, precision in figures.precision_curves().items():
        axis.plot(np.linspace(0, 1, len(precision)), precision, label=name)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02), title="IoU >= 0.5, sides >= 4 px, hidden <= 80 %")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)
    return figure


def tracker_plot(report: Report) -> Figure:
    """HOTA and its two halves, detector by detector, for both similarities."""
    figure, axes = _axes(len(SIMILARITY), 8, 3.4)
    for axis, (similarity, heading) in zip(axes, SIMILARITY.items(), strict=True):
        found = report["detectors"]
        _bars(
            axis,
            [label for _, label in TRACKER[:3]],
            {name: [100.0 * rows[similarity][key] for key, _ in TRACKER[:3]] for name, rows in found.items()},
        )
        axis.set(ylim=(0, 100), title=heading)
    return figure


def predictor_plot(traffic: Report) -> Figure:
    """Displacement of the best mode and of the likeliest, for each kind of traffic at its last horizon."""
    figure, axes = _axes(len(traffic), 4.6 * len(traffic), 3.6)
    for axis, (what, part) in zip(axes, traffic.items(), strict=True):
        horizon = _horizons(part["rows"])[-1]
        keys = ("minADE", "ADE", "minFDE")
        rows = {name: [row[f"{key}@{horizon}"] for key in keys] for name, row in part["rows"].items()}
        _bars(axis, ["minADE6", "likeliest ADE", "minFDE6"], rows)
        axis.set(ylabel="m", title=f"{what}, {horizon} s")
    return figure


def _bars(axis: Axes, groups: Sequence[str], rows: Mapping[str, Iterable[float]]) -> None:
    wide = 0.8 / max(len(rows), 1)
    for i, (name, values) in enumerate(rows.items()):
        axis.bar(np.arange(len(groups)) - 0.4 + wide * (i + 0.5), list(values), wide * 0.92, label=name)
    axis.set_xticks(np.arange(len(groups)), groups)
    axis.grid(axis="y", alpha=0.25)
    axis.set_axisbelow(True)
    axis.legend(fontsize=7)


def picture(figure: Figure, kind: str = "png") -> bytes:
    """The figure as a file of that kind."""
    data = io.BytesIO()
    figure.savefig(data, format=kind, dpi=120)
    return data.getvalue()


def page(path: Path, title: str, shown: Sequence[Table], figures: Sequence[Figure]) -> Path:
    """Write tables and pictures as one self-contained HTML page."""
    parts = []
    for table in shown:
        head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
        parts.append(f'<h2>{html.escape(table.title)}</h2><div class="scroll"><table><tr>{head}</tr>{body}</table></div>')
    images = "".join(f'<p><img alt="" src="data:image/png;base64,{base64.b64encode(picture(figure)).decode()}"></p>' for figure in figures)
    name = html.escape(title)
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><style>{CSS}</style><h1>{name}</h1>{images}{''.join(parts)}</html>\n"
    )
    return write_atomic(path, text)
