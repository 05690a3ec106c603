"""Detectors of screens: what they say of a picture, as places on the court that it shows.

Shapes: B worlds, D detections.
"""

from __future__ import annotations

from pathlib import Path

import torch

from envs.games.rally.stream import CLASSES
from envs.games.screen_eye import OnScreen, Places, ToldOnScreen, load_network
from perception.types import Camera, Detections

__all__ = ["SLOTS", "load_detector", "on_court", "told"]

SLOTS = 8  # detections that are looked at


def on_court(found: Places) -> Places:
    """Places ahead of a camera as places on the court that its picture shows: along the line of sight, to where the screen is."""
    ahead = found.centre[..., 0].clamp(min=1e-3)
    x, y = -found.centre[..., 1] / ahead, found.centre[..., 2] / ahead
    return found._replace(centre=torch.stack((x, y, torch.zeros_like(x)), -1))


def _middles(found: Detections, camera: Camera) -> Detections:
    """Places on the court by the middles of boxes, which are told more finely than centres are."""
    middle = 0.5 * (found.box[..., :2] + found.box[..., 2:])
    x, y = (middle[..., 0] - camera.cu) / camera.focal, (camera.cv - middle[..., 1]) / camera.focal
    return found._replace(centre=torch.stack((x, y, torch.zeros_like(x)), -1))


def told() -> ToldOnScreen:
    """The truth as a perfect detector would tell it."""
    return ToldOnScreen(CLASSES, on_court)


def load_detector(spec: str | Path) -> OnScreen:
    """A trained one, by the name of one that ships or its file. Raises WeightsError, ValueError if it is one for something else."""
    return OnScreen(load_network(spec, slots=SLOTS), CLASSES, CLASSES, _middles)
