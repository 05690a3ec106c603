"""Fitting the error model from a stream: what a detector with known faults does must come out of the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from envs.driving.camera.stream import DrivingStream
from perception.noise_card import load_noise
from perception.oracle import Oracle
from perception.training.noise import pretrain_noise
from perception.types import Detections, Labels, SensorFrame


class Told:
    """A detector that is handed the truth before each frame, and drops every third thing of it."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.labels: Labels | None = None

    def __call__(self, frame: SensorFrame) -> Detections:
        assert self.labels is not None
        still = torch.zeros(len(frame.time), dtype=torch.int64)
        found = Oracle().observe(frame, self.labels, seed=still, step=still)
        kept = torch.arange(found.mask.shape[1]) % 3 != 0
        return found._replace(mask=found.mask & kept)


class Prompter:
    """A stream that tells `Told` what is in the frames it hands out."""

    def __init__(self, stream: DrivingStream, detector: Told) -> None:
        self.stream, self.detector = stream, detector
        self.classes, self.conditions = stream.classes, stream.conditions

    def sequences(self, batch: int, length: int, seed: int, *, every: int = 1):  # type: ignore[no-untyped-def]
        for samples in self.stream.sequences(batch, length, seed, every=every):
            yield _Prompted(samples, self.detector)


class _Prompted(list):  # type: ignore[type-arg]
    def __init__(self, samples: list, detector: Told) -> None:  # type: ignore[type-arg]
        super().__init__(samples)
        self.detector = detector

    def __iter__(self):  # type: ignore[no-untyped-def]
        for sample in super().__iter__():
            self.detector.labels = sample.labels
            yield sample


def test_the_card_holds_what_the_detector_does(tmp_path: Path) -> None:
    stream = DrivingStream(scenario=("highway", "crossing"))
    detector = Told(tuple(stream.classes))
    seen: list[tuple[int, int]] = []
    target = tmp_path / "noise_driving.json"
    fit = pretrain_noise(
        Prompter(stream, detector), detector, target, worlds=2, length=3, sequences=2, progress=lambda *done: seen.append(done)
    )
    assert seen[-1] == (12, 12) and fit.frames == 12 and fit.false == 0
    assert 0 < fit.found < fit.things
    model = load_noise(target)
    assert model.weathers == tuple(stream.conditions) and model.interval == pytest.approx(0.2)
    card = json.loads(target.read_text())
    assert card["counts"]["found"] == fit.found and card["kind"] == "noise"


def test_a_detector_of_other_classes_is_refused(tmp_path: Path) -> None:
    stream = DrivingStream(scenario=("highway",))
    with pytest.raises(ValueError, match="tells thing apart"):
        pretrain_noise(stream, Told(("thing",)), tmp_path / "noise.json", worlds=1, length=1, sequences=1)
