"""The detector that is told the truth: labels as detections, without those that no camera could tell.

It is what a perfect detector would give, and the first rung of the observation ladder below the truth itself (`visible`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perception.detectors import DRIVING_CLASSES
from perception.types import Detections, Labels, SensorFrame

__all__ = ["Oracle", "VisibilityRule"]


@dataclass(frozen=True, kw_only=True)
class VisibilityRule:
    """What counts as visible. Raises ValueError for a value out of its range.

    The defaults are those of the detector's headline figure: boxes of at least 4 px, at most 80 % hidden. Labels without boxes (NaN)
    are judged by what hides them alone.
    """

    side_min: float = 4.0  # px, both sides of the box, hidden parts included
    hidden_max: float = 0.8  # share hidden by others
    cut_max: float = 1.0  # share outside the image
    pixels_min: float = 0.0  # px, visible area: that of the box, less what is hidden

    def __post_init__(self) -> None:
        if not self.side_min >= 0.0 or not self.pixels_min >= 0.0:
            raise ValueError(f"side_min={self.side_min}, pixels_min={self.pixels_min}: must not be negative")
        if not 0.0 <= self.hidden_max <= 1.0 or not 0.0 <= self.cut_max <= 1.0:
            raise ValueError(f"hidden_max={self.hidden_max}, cut_max={self.cut_max}: must be between 0 and 1")

    def __call__(self, labels: Labels) -> Tensor:
        """(B, D) bool."""
        width, height = labels.box[..., 2] - labels.box[..., 0], labels.box[..., 3] - labels.box[..., 1]
        area = width * height * (1.0 - labels.occlusion)
        large = (width >= self.side_min) & (height >= self.side_min) & (area >= self.pixels_min)
        boxless = labels.box.isnan().any(2)
        return labels.mask & (large | boxless) & (labels.occlusion <= self.hidden_max) & (labels.truncation <= self.cut_max)


class Oracle:
    """A `Witness` that tells all it is told and is visible, with score 1 and nearly no error."""

    def __init__(self, *, classes: tuple[str, ...] = DRIVING_CLASSES, rule: VisibilityRule | None = None, sigma: float = 0.05) -> None:
        if not sigma > 0.0:
            raise ValueError(f"sigma={sigma} m: must be positive")
        self.classes, self.rule, self.sigma = classes, rule or VisibilityRule(), sigma

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """Labels as detections; nothing is random."""
        mask = self.rule(labels)
        return Detections(
            box=labels.box,
            camera=labels.camera,
            kind=labels.kind,
            score=mask.to(labels.centre.dtype),
            centre=labels.centre,
            size=labels.size,
            yaw=labels.yaw,
            sigma=torch.full_like(labels.centre[..., :2], self.sigma),
            light=labels.light,
            source=labels.source,
            mask=mask,
        )
