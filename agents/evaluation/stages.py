"""How good each stage of the perception stack is, on frames, sequences and traffic that nothing was trained on. Reports are plain data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from perception.metrics.detection import DetectionFigures
from perception.metrics.tracking import TrackingFigures
from perception.pipeline import PipelineConfig
from perception.prediction.examples import Examples
from perception.registry import make_pipeline, make_predictor
from perception.stages import Detector, Witness
from perception.training.stream import LabelledStream

__all__ = ["KINEMATIC", "detector_figures", "gains", "predictor_figures", "recorded_figures", "tracker_figures"]

KINEMATIC = ("constant_velocity", "ctrv", "idm_along_lane")
BESIDE = "constant_velocity"  # what gains are measured against
TICKS = 2  # between frames of a sequence: 5 Hz, as the observation level `perceived` looks by default
WORLDS = 16  # sequences at once
Report = dict[str, Any]
Tell = Callable[[str, int, int], None]  # what, done, of how many


def _silent(what: str, done: int, total: int) -> None: ...


def detector_figures(
    stream: LabelledStream, spec: str, *, backend: str = "auto", frames: int, seed: int, tell: Tell = _silent
) -> tuple[DetectionFigures, Report]:
    """Figures of a detector's weights on `frames` frames from seed `seed` on. Raises storage.WeightsError."""
    from perception.detectors.centernet import CenterNet
    from perception.storage import WeightsError
    from perception.training.detector import SCORE_LOW
    from perception.training.stream import DRAWN, STRIDE, draw

    detector = CenterNet.load(spec, threshold=SCORE_LOW, backend=backend)
    if tuple(stream.classes) != detector.classes:
        raise WeightsError(f"{spec} tells {', '.join(detector.classes)} apart, the stream {', '.join(stream.classes)}")
    figures = DetectionFigures(detector.classes, stream.conditions)
    for done in range(0, frames, DRAWN):
        tell("detector", done, frames)
        for frame, labels, condition in draw(stream, seed + STRIDE * (done // DRAWN), min(DRAWN, frames - done)):
            figures.add(detector(frame), labels, frame.camera, condition)
    tell("detector", frames, frames)
    return figures, {"weights": spec, "sha256": detector.sha256, "backend": detector.backend.name, **figures.report()}


def tracker_figures(
    stream: Any, detectors: Mapping[str, Detector | Witness], *, seed: int, sequences: int, length: int, tell: Tell = _silent
) -> Report:
    """HOTA and the like of the Kalman tracker fed by each of `detectors`, on `sequences` sequences of `length` frames 0.2 s apart.

    stream: one that has `sequences`. All see the same frames. Returns detector -> similarity ("image", "ground") -> figures, see
    `perception.metrics.tracking`.
    """
    figures = {name: TrackingFigures(detector.classes) for name, detector in detectors.items()}
    pipelines = {
        name: make_pipeline(detector, predictor=None, config=PipelineConfig(forecast=False)) for name, detector in detectors.items()
    }
    worlds = min(WORLDS, sequences)
    rounds = math.ceil(sequences / worlds)
    rows = stream.sequences(worlds, length, seed, every=TICKS)
    for part in range(rounds):
        tell("tracker", part * worlds, sequences)
        samples = next(rows)
        use = torch.arange(worlds) < sequences - part * worlds  # of the last round, only as many as are asked for
        for name, pipeline in pipelines.items():
            state = pipeline.initial(torch.arange(worlds) + part * worlds, cameras=samples[0].frame.image.shape[1])
            for step, (frame, labels, _) in enumerate(samples):
                state, _, tracks, _ = pipeline.step(frame, None, labels, state=state)
                counted = labels._replace(mask=labels.mask & use.unsqueeze(1))
                told = tracks._replace(mask=tracks.mask & use.unsqueeze(1))
                figures[name].add(counted, told, torch.full((worlds,), step == 0))
    tell("tracker", sequences, sequences)
    return {name: found.report() for name, found in figures.items()}


def predictor_figures(spec: str, *, seed: int, tell: Tell = _silent) -> Report:
    """A predictor and the kinematic ones on simulated traffic of every family: {"rows": name -> figures, "gains": name -> shares}.

    Figures as in `perception.metrics.forecast`, at 3 and 5 s, over all that moves.
    """
    from envs.driving.futures import STRIDES, families
    from envs.driving.pretrain_futures import held_out
    from perception.prediction.training import judge

    chosen = make_predictor(spec)
    examples: list[Examples] = []
    total = len(families()) * len(STRIDES)
    for part in held_out(seed=seed):
        tell("traffic", len(examples), total)
        examples.append(part)
    tell("traffic", total, total)
    rows = {spec: judge(chosen, examples), f"{spec} without map": judge(chosen, examples, with_roads=False)}
    for name in KINEMATIC:
        if name != spec:
            rows[name] = judge(make_predictor(name), examples)
    return {"rows": rows, "gains": gains(rows)}


def recorded_figures(data: Path, spec: str, *, updates: int = 800, tell: Tell = _silent) -> Report:
    """The learned predictor, each recording left out in turn, and the kinematic ones: {"recorded traffic": ..., "recorded people": ...}.

    Each with "rows" and "gains" over all recordings, and "recordings": name -> the same. See `envs.driving.recorded_futures.study`.
    """
    from envs.driving.recorded_futures import study

    found = study(data, base=spec, people_updates=updates, rivals={name: make_predictor(name) for name in KINEMATIC}, progress=tell)
    out: Report = {}
    for what, recordings in found.items():
        each = {name: {"rows": rows, "gains": gains(rows)} for name, rows in recordings.items()}
        out[f"recorded {what}"] = {**each.pop("all"), "recordings": each}
    return out


def gains(rows: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """By what share minADE and the likeliest mode's ADE are below those of constant velocity, `name@h`, for every predictor but that."""
    base = rows[BESIDE]
    return {
        name: {
            key: 1.0 - row[key] / base[key] if base[key] > 0.0 else math.nan
            for key in row
            if key.partition("@")[0] in ("minADE", "ADE") and key in base
        }
        for name, row in rows.items()
        if name != BESIDE
    }
