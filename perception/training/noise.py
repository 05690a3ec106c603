"""Fitting the error model of the level `noisy` to a detector: what it says of consecutive frames it never learned from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from perception.noise_card import save_noise
from perception.noise_fit import NoiseFit, Pair, fit_noise
from perception.stages import Detector
from perception.training.stream import Sample

__all__ = ["SequenceStream", "pretrain_noise"]


@runtime_checkable
class SequenceStream(Protocol):
    """Consecutive frames of a domain."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def conditions(self) -> tuple[str, ...]: ...

    def sequences(self, batch: int, length: int, seed: int, *, every: int = 1) -> Iterator[list[Sample]]:
        """Sequences of `length` frames of `batch` worlds, `every` ticks apart."""
        ...


def pretrain_noise(
    stream: SequenceStream,
    detector: Detector,
    target: str | Path,
    *,
    tick: float = 0.1,
    every: int = 2,
    worlds: int = 32,
    length: int = 30,
    sequences: int = 8,
    seed: int = 0,
    command: str = "",
    fitting: dict[str, Any] | None = None,
    told: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NoiseFit:
    """Run the detector over `sequences` times `worlds` times `length` frames, fit the error model, write its card to `target` (.json).

    tick: s of the stream; frames are `every` ticks apart. fitting: further arguments of `fit_noise`. told: more for the card, such as the
    detector's name and hash. progress: called with the frames done and all of them. Raises ValueError if the stream's classes are not the
    detector's, or counts are below 1.
    """
    if min(every, worlds, length, sequences) < 1:
        raise ValueError(f"every={every}, worlds={worlds}, length={length}, sequences={sequences}: must be at least 1")
    if tuple(stream.classes) != tuple(detector.classes):
        raise ValueError(f"the detector tells {', '.join(detector.classes)} apart, the stream {', '.join(stream.classes)}")
    begun, total = time.monotonic(), sequences * worlds * length

    def pairs() -> Iterator[Pair]:
        done = 0
        source = stream.sequences(worlds, length, seed, every=every)
        for _ in range(sequences):
            for number, sample in enumerate(next(source)):
                yield _pair(sample, detector, first=number == 0)
                done += worlds
                if progress is not None:
                    progress(done, total)

    fit = fit_noise(pairs(), classes=stream.classes, interval=tick * every, weathers=stream.conditions, **(fitting or {}))
    card = {
        "what": "error model of a detector, for the observation level noisy",
        "data": f"{total} frames: {sequences * worlds} worlds, {tick * every:g} s from frame to frame, seeds {seed} up, never trained on",
        "command": command,
        "seed": seed,
        **(told or {}),
        "counts": {"frames": fit.frames, "things": fit.things, "found": fit.found, "false": fit.false},
        "evidence": fit.evidence,
        "seconds": round(time.monotonic() - begun, 1),
        "torch": torch.__version__,
        "licence": "Apache-2.0",
    }
    save_noise(target, fit.model, card=card)
    return fit


def _pair(sample: Sample, detector: Detector, *, first: bool) -> Pair:
    frame, labels, condition = sample
    begins = torch.full((len(frame.time),), first)
    lens = torch.stack((frame.camera.x[:, 0], frame.camera.y[:, 0]), -1)
    return Pair(labels, detector(frame), lens, frame.motion, begins, condition)
