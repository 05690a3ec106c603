"""Labelled streams: endless frames with their truth, which is all that training and judging need to know of a world.

A stream is named by a string entry point "package.module:factory", so that what perceives imports no environment.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from perception.types import Camera, Labels, SensorFrame

__all__ = [
    "FAST", "LEARN", "STREAMS", "TEST_SEED", "TRAIN_SEED", "TUNE_SEED", "LabelledStream", "Sample", "StreamError", "draw", "empty_rows",
    "open_stream",
]  # fmt: skip

# domain -> entry point
STREAMS = {
    "driving": "envs.driving.camera.stream:DrivingStream",
    "boxes": "perception.training.boxes:BoxStream",
    "robots": "agents.robots.frames:RobotStream",
    "games": "envs.games.rally.stream:RallyStream",
    "atari": "envs.games.atari.stream:AtariStream",
}

# seeds that never meet: the figures that are published, what is looked at during training and calibrated on, and training itself
TEST_SEED, TUNE_SEED, TRAIN_SEED = 0, 500_000, 1_000_000


DRAWN = 256  # frames drawn at once
STRIDE = 128  # seeds between them: streams may share worlds between neighbouring seeds, and figures want many worlds
# options with which a stream gives frames by the hundred thousand; a slow start, then faster
FAST: dict[str, dict[str, Any]] = {"driving": {"compile": True}}
LEARN: dict[str, dict[str, Any]] = {"driving": {"around": True}}  # what else is learned from, but not judged on


class StreamError(ValueError):
    """There is no such stream. The message says which there are."""


class Sample(NamedTuple):
    """B frames with their truth."""

    frame: SensorFrame
    labels: Labels
    condition: Tensor  # (B,) int64, index into the stream's `conditions`


class LabelledStream(Protocol):
    """Frames of a domain. The same seed and count give the same sample; different seeds give different scenes."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def conditions(self) -> tuple[str, ...]: ...

    def sample(self, seed: int, count: int) -> Sample:
        """`count` frames, as unlike each other as the domain allows."""
        ...


def empty_rows(slots: int) -> dict[str, NDArray[np.generic]]:
    """The fields of `Labels` of one picture without things, (slots, ...) each, to be filled in; `mask` says which are."""
    floats = {"box": 4, "centre": 3, "size": 3, "velocity": 2}
    rows: dict[str, NDArray[np.generic]] = {key: np.zeros((slots, n), np.float32) for key, n in floats.items()}
    rows |= {key: np.zeros(slots, np.float32) for key in ("yaw", "occlusion", "truncation")}
    rows |= {key: np.full(slots, -1 if key in ("light", "source") else 0, np.int64) for key in ("camera", "kind", "light", "source")}
    return rows | {"mask": np.zeros(slots, np.bool_)}


def open_stream(name: str, **options: Any) -> LabelledStream:
    """A stream by domain or entry point. Raises StreamError if there is none."""
    entry = STREAMS.get(name, name)
    module, _, attribute = entry.partition(":")
    if not attribute:
        raise StreamError(f"no domain '{name}'; known: {', '.join(STREAMS)}, or 'package.module:factory'")
    try:
        factory = getattr(import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not module.startswith(error.name or "?"):
            raise  # the stream is there, something that it needs is not
        raise StreamError(f"domain '{name}': there is no {entry}: {error}") from None
    stream: LabelledStream = factory(**options)
    return stream


def draw(stream: LabelledStream, seed: int, count: int) -> list[Sample]:
    """`count` frames of a stream, in samples of DRAWN that are STRIDE seeds apart.

    Of their dense maps only the size of the depth map stays. The last sample is drawn whole and then cut: compiled streams know one size.
    """
    samples = []
    for number in range(math.ceil(count / DRAWN)):
        frame, labels, condition = stream.sample(seed + STRIDE * number, DRAWN)
        part = slice(min(DRAWN, count - DRAWN * number))
        depth = labels.depth[:, :1, :1, :1].clone().expand(-1, 1, *labels.depth.shape[-2:])
        nothing = labels.instance[..., :1, :1].clone()
        truth = labels._replace(depth=depth, instance=nothing, semantic=nothing)
        camera = Camera(*(value[part] for value in frame.camera))
        cut = SensorFrame(frame.image[part].clone(), camera, *(value[part] for value in frame[2:]))
        samples.append(Sample(cut, Labels(*(value[part] for value in truth)), condition[part]))
    return samples
