"""Detectors of screens: what they say of a picture, as places on the court that it shows.

Shapes: B worlds, D detections.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from envs.games.rally.stream import CLASSES
from perception.oracle import Oracle, VisibilityRule
from perception.stages import Detector
from perception.types import Detections, Labels, SensorFrame

__all__ = ["SLOTS", "OnCourt", "Told", "load_detector", "on_court"]

SCORE, SLOTS = 0.25, 8  # least score of what is believed; detections that are looked at
Places = TypeVar("Places", Detections, Labels)


def on_court(found: Places) -> Places:
    """Places ahead of a camera as places on the court that its picture shows: along the line of sight, to where the screen is."""
    ahead = found.centre[..., 0].clamp(min=1e-3)
    x, y = -found.centre[..., 1] / ahead, found.centre[..., 2] / ahead
    return found._replace(centre=torch.stack((x, y, torch.zeros_like(x)), -1))


class OnCourt:
    """A detector whose places are on the court: the middles of its boxes, which are told more finely than centres are.

    Raises ValueError if it does not know the things of the game.
    """

    def __init__(self, detector: Detector) -> None:
        if missing := [name for name in CLASSES if name not in detector.classes]:
            raise ValueError(f"the detector knows {', '.join(detector.classes)}, and not {', '.join(missing)}")
        self.detector, self.classes, self.sha256 = detector, CLASSES, str(getattr(detector, "sha256", ""))
        self._kinds = torch.tensor([CLASSES.index(name) if name in CLASSES else len(CLASSES) for name in detector.classes])

    def __call__(self, frame: SensorFrame) -> Detections:
        """What is seen."""
        found, camera = self.detector(frame), frame.camera
        middle = 0.5 * (found.box[..., :2] + found.box[..., 2:])
        x, y = (middle[..., 0] - camera.cu) / camera.focal, (camera.cv - middle[..., 1]) / camera.focal
        kind = self._kinds.to(found.kind.device)[found.kind]
        return found._replace(kind=kind, centre=torch.stack((x, y, torch.zeros_like(x)), -1))


class Told:
    """The truth as a perfect detector would tell it."""

    classes = CLASSES

    def __init__(self) -> None:
        self.oracle = Oracle(classes=CLASSES, rule=VisibilityRule(side_min=0.0), sigma=0.01)

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """What there is; nothing is random."""
        return on_court(self.oracle.observe(frame, labels, seed=seed, step=step))


def load_detector(spec: str | Path) -> OnCourt:
    """A trained one, by the name of one that ships or its file. Raises WeightsError, ValueError if it is one for something else."""
    from perception.detectors.centernet import CenterNet

    return OnCourt(CenterNet.load(spec, slots=SLOTS, threshold=SCORE))
