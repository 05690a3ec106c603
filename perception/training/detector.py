"""Training the detector on an endless labelled stream: one run, one folder, one card.

AdamW with a one-cycle learning rate (Smith & Topin 2019) whose cycle ends with the frames or with the minutes allowed, whichever comes
first; the weights kept are a moving average. Batches are drawn by a process of their own (`feed`). Afterwards scores and spreads are
calibrated on frames that were not trained on, and the figures of the card are measured on others again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from perception.detectors.centernet import CenterNet, pack
from perception.detectors.decode import DecodeSpec
from perception.detectors.network import Network
from perception.metrics.detection import DetectionFigures
from perception.storage import WeightsError, save, write_file
from perception.training.calibrate import calibrate, measure_ranges
from perception.training.curves import draw_curves
from perception.training.feed import Batch, Feed
from perception.training.learner import Learner, Recipe, finite, restore_checkpoint, save_checkpoint
from perception.training.losses import Weights
from perception.training.stream import FAST, LEARN, STREAMS, TEST_SEED, TUNE_SEED, Sample, draw, open_stream

__all__ = ["DetectorRun", "DetectorTraining", "Report", "judge", "pretrain", "read_run"]

SCORE_LOW = 0.02  # least score of what average precision is measured on
CHECKPOINT_EVERY = 120.0  # s
CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class DetectorTraining:
    """A run. Raises ValueError on settings that make none."""

    domain: str = "driving"
    frames: int = 500_000  # learned from, each once
    minutes: float = 39.0  # of training; validation in between counts, calibration and the final figures take a few more
    batch: int = 32
    recipe: Recipe = field(default_factory=Recipe)
    validate: int = 10  # times during training
    validation_frames: int = 512
    test_frames: int = 2000
    options: dict[str, Any] = field(default_factory=dict)  # of the stream
    network: dict[str, Any] = field(default_factory=dict)  # of NetworkSpec, other than its defaults

    def __post_init__(self) -> None:
        if self.frames < self.batch or self.batch < 2 or self.minutes <= 0 or self.validate < 1:
            raise ValueError(f"frames={self.frames}, batch={self.batch}, minutes={self.minutes}, validate={self.validate}: too small")
        if min(self.validation_frames, self.test_frames) < 1:
            raise ValueError(f"validation_frames={self.validation_frames}, test_frames={self.test_frames}: must be at least 1")


class Report(Protocol):
    """Is told how a run goes."""

    def advance(self, done: int, total: int, figures: str) -> None:
        """`done` of `total` frames so far; figures: short text about them."""

    def say(self, line: str) -> None:
        """A line that stays."""


class _Silence:
    def advance(self, done: int, total: int, figures: str) -> None:
        pass

    def say(self, line: str) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class DetectorRun:
    """What came of a run."""

    status: str  # "finished" or "interrupted"
    folder: Path
    weights: Path | None  # of a finished run
    frames: int
    seconds: float
    metrics: dict[str, Any]


def pretrain(
    config: DetectorTraining, *, out: Path, command: str = "", resume: bool = False, report: Report | None = None, name: str | None = None
) -> DetectorRun:
    """Train, calibrate, judge; write `<name>.safetensors` with its card, curves.png, progress.json and checkpoint.safetensors to `out`.

    name: default `detector_<domain>`.

    Ctrl-C saves a checkpoint and returns a run that is "interrupted"; resume=True goes on with the one in `out`.
    Raises StreamError, WeightsError (a checkpoint that cannot be used), FeedError, OSError.
    """
    report, begun = report or _Silence(), time.monotonic()
    stream = open_stream(config.domain, **{**FAST.get(config.domain, {}), **config.options})
    state = Learner(config.recipe, tuple(stream.classes), **config.network)
    if resume:
        restore_checkpoint(out / CHECKPOINT, state, config.domain)
    before = state.seconds
    write_file(out / "config.json", (json.dumps(asdict(config), indent=2) + "\n").encode())
    options = {**FAST.get(config.domain, {}), **LEARN.get(config.domain, {}), **config.options}
    status = "finished"
    with closing(Feed(config.domain, options, seed=config.recipe.seed, first=state.step, size=config.batch)) as feed:
        try:
            held_out = draw(stream, TUNE_SEED, config.validation_frames)
            size = sum(p.numel() for p in state.network.parameters()) / 1e3
            report.say(f"{size:.0f} k parameters; {config.validation_frames} frames held out, drawn in {time.monotonic() - begun:.0f} s")
            _loop(state, feed, _Setting(config, tuple(stream.conditions), held_out, out, report))
        except KeyboardInterrupt:
            status = "interrupted"
    save_checkpoint(out / CHECKPOINT, state, config.domain)
    if status == "interrupted":
        return DetectorRun(
            status=status, folder=out, weights=None, frames=state.step * config.batch, seconds=time.monotonic() - begun, metrics={}
        )
    network = state.folded()
    tuning = draw(stream, TUNE_SEED + 1000, config.validation_frames)
    spec = calibrate(network, DecodeSpec(classes=tuple(stream.classes)), tuning)
    measure_ranges(network, tuning)
    report.say(f"calibrated: {json.dumps({k: round(v, 3) for k, v in asdict(spec).items() if isinstance(v, float)})}")
    metrics = judge(network, spec, tuple(stream.conditions), draw(stream, TEST_SEED, config.test_frames)).report()
    name = name or f"detector_{config.domain.rpartition(':')[2].lower()}"
    weights = save(
        out / f"{name}.safetensors",
        pack(network, spec, name=name),
        card={
            "what": f"CenterNet-style detector for {config.domain}",
            "classes": list(stream.classes),
            "data": f"{state.step * config.batch} rendered frames of {STREAMS.get(config.domain, config.domain)}, half of them mirrored",
            "options": config.options,
            "command": command,
            "seed": config.recipe.seed,
            "minutes": round((time.monotonic() - begun + before) / 60, 1),
            "parameters": sum(p.numel() for p in network.parameters()),
            "metrics": finite(metrics),
            "metrics_on": f"{config.test_frames} frames from seed {TEST_SEED} of the stream, never trained on; in single precision",
            "torch": torch.__version__,
            "licence": "Apache-2.0",
        },
    )
    return DetectorRun(
        status=status, folder=out, weights=weights, frames=state.step * config.batch, seconds=time.monotonic() - begun, metrics=metrics
    )


def judge(network: Network, spec: DecodeSpec, conditions: tuple[str, ...], samples: Iterable[Sample]) -> DetectionFigures:
    """The figures of a folded network on samples, every score counted; in single precision, the same on every machine."""
    detector = CenterNet(network, replace(spec, threshold=SCORE_LOW), backend="torch")
    figures = DetectionFigures(spec.classes, conditions)
    for frame, labels, condition in samples:
        figures.add(detector(frame), labels, frame.camera, condition)
    return figures


def read_run(folder: Path) -> DetectorTraining:
    """The settings of a run. Raises WeightsError."""
    try:
        told = json.loads((folder / "config.json").read_text())
        told["network"] = {key: tuple(value) if isinstance(value, list) else value for key, value in told["network"].items()}
        return DetectorTraining(**{**told, "recipe": Recipe(**{**told["recipe"], "weights": Weights(**told["recipe"]["weights"])})})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{folder}: holds no run that could go on: {error}") from None


class _Setting(NamedTuple):
    config: DetectorTraining
    conditions: tuple[str, ...]
    held_out: list[Sample]
    out: Path
    report: Report


def _loop(state: Learner, feed: Iterable[Batch], setting: _Setting) -> None:
    """Learn until the frames or the minutes are used up."""
    config, report = setting.config, setting.report
    total = math.ceil(config.frames / config.batch)
    before, begun, saved = state.seconds, time.monotonic(), time.monotonic()
    smooth: dict[str, float] = {}

    def progress() -> float:
        return max(state.step / total, state.seconds / (60.0 * config.minutes))

    validated = int(progress() * config.validate)
    for batch in feed:
        if progress() >= 1.0:
            break
        terms = state.learn(batch, progress())
        if not smooth:
            begun = time.monotonic() - 1.0  # what the feed took to get going is no training
        smooth = {key: smooth.get(key, value) + 0.02 * (value - smooth.get(key, value)) for key, value in terms.items()}
        state.seconds = before + time.monotonic() - begun
        report.advance(min(round(progress() * config.frames), config.frames), config.frames, _short(smooth))
        if int(progress() * config.validate) > validated:
            validated = int(progress() * config.validate)
            _validate(state, smooth, setting)
        if time.monotonic() - saved > CHECKPOINT_EVERY:
            save_checkpoint(setting.out / CHECKPOINT, state, config.domain)
            saved = time.monotonic()


def _validate(state: Learner, smooth: dict[str, float], setting: _Setting) -> None:
    """Judge on the held-out frames, tell, and draw the curves."""
    config, conditions, held_out, out, report = setting
    classes = state.network.spec.classes
    figures = judge(state.folded(), DecodeSpec(classes=classes), conditions, held_out).report()
    keys = ("ap50", "ap50_all", "recall", "centre_error", "heading_error", "light_accuracy", "d_ece")
    row = {"frames": state.step * config.batch, "seconds": state.seconds} | smooth | {key: figures[key] for key in keys}
    state.rows.append({key: float(value) for key, value in row.items()})
    worst = min((f["ap50"] for f in figures["conditions"].values()), default=float("nan"))
    report.say(
        f"{state.step * config.batch:,} frames, {state.seconds / 60:.1f} min: AP50 {figures['ap50']:.3f} (worst condition {worst:.3f}, "
        f"all labels {figures['ap50_all']:.3f}), centre {100 * figures['centre_error']:.1f} %, heading {figures['heading_error']:.1f} deg"
    )
    write_file(out / "progress.json", (json.dumps([finite(r) for r in state.rows], indent=1) + "\n").encode())
    draw_curves(out / "curves.png", state.rows, title=f"detector, {config.domain}")


def _short(terms: dict[str, float]) -> str:
    return " ".join(f"{name} {terms[name]:.3f}" for name in ("loss", "heat", "box", "depth", "heading") if name in terms)
