"""`closedloop eval-perception`: how well each stage of the perception stack works, on fixed frames and scenes it never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from perception.metrics.detection import DetectionFigures

__all__ = ["command"]

STAGES = ("detector",)
# figure -> (heading, factor, unit, digits)
SHOWN: dict[str, tuple[str, float, str, int]] = {
    "ap50": ("AP50, sides >= 4 px", 1.0, "", 3),
    "ap": ("AP, sides >= 4 px", 1.0, "", 3),
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


@click.command("eval-perception")
@click.option("--stage", "stages", type=click.Choice(STAGES), multiple=True, help="Which stage to judge; may be repeated. [default: all]")
@click.option("--domain", default="driving", show_default=True, metavar="NAME", help="Stream of labelled frames.")
@click.option("--detector", default="driving", show_default=True, metavar="NAME|FILE", help="Weights to judge.")
@click.option("--backend", type=click.Choice(["auto", "onnx", "torch", "compiled"]), default="auto", show_default=True)
@click.option("--frames", type=click.IntRange(1), default=2000, show_default=True, help="Labelled frames.")
@click.option("--seed", type=click.IntRange(0, 499_999), default=0, show_default=True, help="Of the first frames; training uses others.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write precision over recall as a picture (.png, .svg).")
@click.option("--json", "json_", is_flag=True, help="Print the results as JSON on stdout.")
def command(
    stages: tuple[str, ...], domain: str, detector: str, backend: str, frames: int, seed: int, plot: Path | None, json_: bool
) -> int:
    """Judge the stages of the perception stack on held-out seeds.

    Average precision is COCO's, by pycocotools. Labels count whose box has both sides >= 4 px and that others hide by at most 80 %, unless
    a line says otherwise. Errors are those of detections with score >= 0.3 that match a label of their class by IoU >= 0.5.

    \b
    closedloop eval-perception
    closedloop eval-perception --stage detector --detector runs/quick/detector_driving.safetensors --frames 500
    closedloop eval-perception --json > figures.json
    """
    from agents.commands.output import print_json

    results: dict[str, Any] = {}
    if "detector" in (stages or STAGES):
        figures, results["detector"] = _detector(domain, detector, backend, frames, seed)
        if not json_:
            _show(detector, results["detector"])
        if plot is not None:
            _plot(figures, plot)
            click.echo(f"Precision over recall: {plot}", err=True)
    if json_:
        print_json({"domain": domain, "seed": seed, **results})
    return 0


def _detector(domain: str, spec: str, backend: str, frames: int, seed: int) -> tuple[DetectionFigures, dict[str, Any]]:
    """Figures of the detector on `frames` frames."""
    from perception.detectors.centernet import CenterNet
    from perception.metrics.detection import DetectionFigures
    from perception.storage import WeightsError
    from perception.training.detector import SCORE_LOW
    from perception.training.stream import draw, open_stream

    detector = CenterNet.load(spec, threshold=SCORE_LOW, backend=backend)
    stream = open_stream(domain)
    if tuple(stream.classes) != detector.classes:
        raise WeightsError(f"{spec} tells {', '.join(detector.classes)} apart, the stream {domain} {', '.join(stream.classes)}")
    figures = DetectionFigures(detector.classes, stream.conditions)
    for frame, labels, condition in draw(stream, seed, frames):
        figures.add(detector(frame), labels, frame.camera, condition)
    return figures, {"weights": spec, "sha256": detector.sha256, "backend": detector.backend.name, **figures.report()}


def _show(name: str, report: dict[str, Any]) -> None:
    from agents.commands.output import print_table

    def cell(value: float, factor: float = 100.0, unit: str = " %", digits: int = 1) -> str:
        return f"{factor * value:.{digits}f}{unit}" if value == value else "-"

    title = f"detector {name}: {report['frames']} frames, {report['counted']} of {report['labels']} labels count"
    print_table(title, ("figure", ""), [(row[0], cell(report[key], *row[1:])) for key, row in SHOWN.items()])
    click.echo()
    rows = [
        (name, str(row["frames"]), cell(row["ap50"], 1.0, "", 3), cell(row["ap"], 1.0, "", 3)) for name, row in report["conditions"].items()
    ]
    print_table("by condition", ("condition", "frames", "AP50", "AP"), rows)
    click.echo()
    print_table("by class", ("class", "AP50"), [(name, cell(value, 1.0, "", 3)) for name, value in report["ap50_by_class"].items()])
    click.echo()
    for key, what in (("recall_by_range", "range"), ("recall_by_hidden", "share hidden")):
        print_table(f"recall by {what}", (what, "recall"), [(bin_, cell(value)) for bin_, value in report[key].items()])
        click.echo()


def _plot(figures: DetectionFigures, path: Path) -> None:
    """Precision over recall at IoU 0.5, class by class."""
    import io

    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from scenarios.files import write_atomic

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for name, precision in figures.precision_curves().items():
        axis.plot(np.linspace(0, 1, len(precision)), precision, label=name)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02), title="IoU >= 0.5, sides >= 4 px, hidden <= 80 %")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix.lstrip(".") or "png", dpi=120)
    write_atomic(path, picture.getvalue())
