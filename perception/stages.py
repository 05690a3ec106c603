"""What the stages of a pipeline must be able to do, whoever wrote them.

A stage may be a plain object; only what is listed here is used. Stages keep nothing between calls: what must be remembered is a NamedTuple
of tensors (it may be nested) with worlds as the first dimension, which they return and get back.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from perception.prediction.base import Predictor
from perception.types import Detections, Labels, SensorFrame, Tracks

__all__ = ["Detector", "Predictor", "Tracker", "Witness"]


@runtime_checkable
class Detector(Protocol):
    """Sees things in images. `classes` names what `Detections.kind` counts."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def __call__(self, frame: SensorFrame) -> Detections:
        """Things seen; places in the ego frame of the frame. A world's result must not depend on the others in the batch."""
        ...


@runtime_checkable
class Witness(Protocol):
    """A detector that knows the truth, and tells it or an altered version of it."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """Things told. seed, step (B,) int64: all randomness is a function of them."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """Follows things over time. One with `needs_roads = True` is given the map as well: `update(..., roads=...)`, a `Roads` or None."""

    @property
    def name(self) -> str: ...

    def initial(self, batch: int, device: torch.device | str = "cpu") -> Any:
        """A state in which nothing is tracked."""
        ...

    def update(self, state: Any, detections: Detections, frame: SensorFrame, fresh: Tensor) -> Any:
        """One frame further. fresh (B,) bool: worlds that have detections; in the others tracks are only carried on.

        `frame.image` has the right shape, but may be blank.
        """
        ...

    def read(self, state: Any, motion: Tensor, dt: Tensor) -> Tracks:
        """The tracks `dt` (B,) s after the state, in the ego frame that is `motion` (B, 3) m, m, rad from the state's."""
        ...
