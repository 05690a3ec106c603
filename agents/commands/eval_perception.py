"""`closedloop eval-perception`: how well each stage of the perception stack works, on fixed frames and scenes it never trained on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from perception.training.stream import LabelledStream

__all__ = ["command"]

STAGES = ("detector", "tracker", "predictor")


@click.command("eval-perception")
@click.option(
    "--stage", "stages", type=click.Choice(STAGES), multiple=True, help="Which to judge; may be repeated. [default: all the domain has]"
)
@click.option("--domain", default="driving", show_default=True, metavar="NAME", help="Stream of labelled frames.")
@click.option("--detector", default="driving", show_default=True, metavar="NAME|FILE", help="Weights to judge, or oracle.")
@click.option("--predictor", default="predictor_driving", show_default=True, metavar="NAME|FILE", help="Predictor to judge.")
@click.option("--backend", type=click.Choice(["auto", "int8", "half", "onnx", "torch", "compiled"]), default="auto", show_default=True)
@click.option("--frames", type=click.IntRange(1), default=2000, show_default=True, help="Labelled frames, for the detector.")
@click.option("--sequences", type=click.IntRange(1), default=32, show_default=True, help="Drives, for the tracker.")
@click.option("--length", type=click.IntRange(2), default=100, show_default=True, help="Frames of each, 0.2 s apart.")
@click.option("--seed", type=click.IntRange(0, 99_999), default=0, show_default=True, help="Of the first of each; training uses others.")
@click.option(
    "--recorded", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
    help="Recordings to judge the predictor on, each left out in turn: CommonRoad USA_*.xml, UCY scenes. Some minutes.",
)  # fmt: skip
@click.option("--updates", type=click.IntRange(1), default=800, show_default=True, help="Minibatches learned from recorded people.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write precision over recall as a picture (.png, .svg).")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the figures as JSON and as a page with plots.")
@click.option("--json", "json_", is_flag=True, help="Print the results as JSON on stdout.")
def command(
    stages: tuple[str, ...], domain: str, detector: str, predictor: str, backend: str, frames: int, sequences: int, length: int, seed: int,
    recorded: Path | None, updates: int, plot: Path | None, out: Path | None, json_: bool,
) -> int:  # fmt: skip
    """Judge the stages of the perception stack on held-out seeds.

    Detector: average precision is COCO's, by pycocotools. Labels count whose box has both sides >= 4 px and that others hide by at most
    80 %, unless a line says otherwise. Errors are those of detections with score >= 0.3 that match a label of their class by IoU >= 0.5.

    Tracker: HOTA by trackeval, fed by the oracle (every label that counts, exact) and by the detector, of boxes in the image and of places
    on the ground (4 m apart: similarity 0).

    Predictor: tracks that move, six modes, beside constant velocity (CV) and other kinematic predictors, at 3 and 5 s. Missed: no mode
    within 2 m at the end. In the ellipse: truth within the 90 % ellipse of the nearest mode. Recorded people: 8 observations, 12 predicted,
    4.8 s.

    \b
    closedloop eval-perception
    closedloop eval-perception --stage detector --detector runs/quick/detector_driving.safetensors --frames 500
    closedloop eval-perception --stage predictor --recorded ../recordings --out runs/figures
    closedloop eval-perception --json > figures.json
    """
    import torch

    from agents.commands.output import as_json, print_json, print_table
    from agents.evaluation import stages_report
    from perception.training.stream import open_stream
    from scenarios.files import write_atomic

    torch.set_num_threads(1)
    stream = open_stream(domain)
    chosen = _stages(stages, domain, stream, detector)
    _check(chosen, detector, predictor, recorded)
    results: dict[str, Any] = {}
    drawn: list[Figure] = []
    with _Console() as tell:
        if "detector" in chosen:
            from agents.evaluation.stages import detector_figures

            figures, results["detector"] = detector_figures(stream, detector, backend=backend, frames=frames, seed=seed, tell=tell)
            drawn.append(stages_report.precision_plot(figures))
            if plot is not None:
                write_atomic(plot, stages_report.picture(drawn[0], plot.suffix.lstrip(".") or "png"))
                click.echo(f"Precision over recall: {plot}", err=True)
        if "tracker" in chosen:
            results["tracker"] = _tracker(stream, detector, backend, seed, sequences, length, tell)
            drawn.append(stages_report.tracker_plot(results["tracker"]))
        if "predictor" in chosen:
            results["predictor"] = _predictor(predictor, seed, recorded, updates, tell)
            drawn.append(stages_report.predictor_plot(results["predictor"]["traffic"]))
    record = {"domain": domain, "seed": seed, **results}
    tables = stages_report.tables(results)
    if json_:
        print_json(record)
    else:
        for table in tables:
            print_table(*table)
            click.echo()
    if out is not None:
        write_atomic(out / "figures.json", as_json(record) + "\n")
        path = stages_report.page(out / "figures.html", "How well the stages of perception work", tables, drawn)
        click.echo(f"Page: {path}   JSON: {out / 'figures.json'}", err=True)
    return 0


def _check(chosen: tuple[str, ...], detector: str, predictor: str, recorded: Path | None) -> None:
    """What cannot be had is told before the work. Raises WeightsError, StageError, FileNotFoundError."""
    from envs.driving.recorded_futures import found_in
    from perception.registry import make_predictor
    from perception.storage import find

    if detector != "oracle" and {"detector", "tracker"} & set(chosen):
        find(detector, kind="detector")
    if "predictor" in chosen:
        make_predictor(predictor)
        if recorded is not None:
            find(predictor, kind="predictor")  # only a network can learn from recordings
            found_in(recorded)


def _stages(wanted: tuple[str, ...], domain: str, stream: LabelledStream, detector: str) -> tuple[str, ...]:
    """What to judge. Raises click.UsageError for a stage that cannot be judged on this domain."""
    can = ["detector"] * (detector != "oracle") + ["tracker"] * hasattr(stream, "sequences") + ["predictor"] * (domain == "driving")
    for stage in wanted:
        if stage not in can:
            reason = "the oracle is no detector" if stage == "detector" else f"the domain '{domain}' has no sequences of frames"
            raise click.UsageError(f"--stage {stage}: {reason if stage != 'predictor' else f'no predictor is for the domain {domain!r}'}")
    return tuple(stage for stage in STAGES if stage in (wanted or can))


def _tracker(stream: LabelledStream, detector: str, backend: str, seed: int, sequences: int, length: int, tell: _Console) -> dict[str, Any]:
    from agents.evaluation.stages import tracker_figures
    from perception.detectors.centernet import CenterNet
    from perception.oracle import Oracle

    sees: dict[str, Any] = {"oracle": Oracle(classes=tuple(stream.classes))}
    if detector != "oracle":
        sees[detector] = CenterNet.load(detector, backend=backend)
    found = tracker_figures(stream, sees, seed=seed, sequences=sequences, length=length, tell=tell)
    return {"sequences": sequences, "length": length, "detectors": found}


def _predictor(predictor: str, seed: int, recorded: Path | None, updates: int, tell: _Console) -> dict[str, Any]:
    from agents.evaluation.stages import predictor_figures, recorded_figures

    traffic = {"simulated traffic": predictor_figures(predictor, seed=seed, tell=tell)}
    if recorded is not None:
        traffic |= recorded_figures(recorded, predictor, updates=updates, tell=tell)
    return {"weights": predictor, "traffic": traffic}


class _Console:
    """A bar for each stage on stderr if that is a terminal, else a line every ten seconds."""

    EVERY = 10.0  # s

    def __init__(self) -> None:
        self.bar: Any = None
        self.what, self.told = "", 0.0

    def __enter__(self) -> _Console:
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            from tqdm import tqdm  # type: ignore[import-untyped]

            if self.bar is None or self.bar.total != total:
                self.__exit__()
                self.bar = tqdm(total=total, file=sys.stderr, dynamic_ncols=True)
            self.bar.set_description(what, refresh=False)
            self.bar.update(done - self.bar.n)
        elif what != self.what or time.monotonic() - self.told >= self.EVERY:
            self.told = time.monotonic()
            click.echo(f"{what}  {done} of {total}", err=True)
        self.what = what

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
