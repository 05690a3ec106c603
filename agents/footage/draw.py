"""Detections, tracks and predicted paths drawn on the picture they were seen in.

Shapes: batch of one world; D detections, T tracks, K modes, S steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from perception.detectors.geometry import project
from perception.types import Camera, Detections, Forecasts, Tracks

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["COLOURS", "LIGHTS", "draw_detections", "draw_forecasts", "draw_tracks"]

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

# of Okabe & Ito's palette (2008), which people with colour blindness tell apart; by kind, in turn
COLOURS: tuple[Colour, ...] = ((86, 180, 233), (230, 159, 0), (204, 121, 167), (0, 158, 115), (240, 228, 66), (213, 94, 0), (0, 114, 178))
LIGHTS = ("red", "red-yellow", "yellow", "green", "off")


def draw_detections(image: Image, found: Detections, classes: Sequence[str]) -> None:
    """Boxes with class and score, into `image` (H, W, 3) RGB."""
    for row in torch.nonzero(found.mask[0])[:, 0].tolist():
        kind = int(found.kind[0, row])
        light = int(found.light[0, row])
        text = f"{classes[kind]} {float(found.score[0, row]):.2f}" + (f" {LIGHTS[light]}" if light >= 0 else "")
        _box(image, found.box[0, row].tolist(), text, COLOURS[kind % len(COLOURS)])


def draw_tracks(image: Image, tracks: Tracks) -> None:
    """Number and distance of the confirmed tracks that were seen in this frame, below their boxes."""
    for row in torch.nonzero(tracks.mask[0])[:, 0].tolist():
        if int(tracks.unseen[0, row]):
            continue
        u0, _, _, v1 = tracks.box[0, row].tolist()
        text = f"#{int(tracks.id[0, row])} {math.hypot(*tracks.mean[0, row, :2].tolist()):.0f} m"
        _label(image, text, round(u0), round(v1), COLOURS[int(tracks.kind[0, row]) % len(COLOURS)], below=True)


def draw_forecasts(image: Image, tracks: Tracks, forecasts: Forecasts, camera: Camera, *, seconds: float = 3.0) -> None:
    """Predicted paths on the ground up to `seconds` ahead, the likelier the stronger. They end where they leave the picture."""
    steps = forecasts.time <= seconds + 1e-6
    layer = image.copy()
    for row in torch.nonzero(tracks.mask[0] & forecasts.mask[0] & (tracks.unseen[0] == 0))[:, 0].tolist():
        colour = COLOURS[int(tracks.kind[0, row]) % len(COLOURS)]
        probability = forecasts.probability[0, row]
        for mode in torch.nonzero(probability >= 0.1)[:, 0].tolist():
            path = torch.cat((tracks.mean[0, row, None, :2], forecasts.mean[0, row, mode][steps]))
            points = _on_picture(path, camera)
            width = 1 + round(2.0 * float(probability[mode]) * image.shape[0] / 480)
            if len(points) > 1:
                cv2.polylines(layer, [np.array(points, np.int32)], False, colour, width, cv2.LINE_AA)
            for point in points[1:]:
                cv2.circle(layer, point, width, colour, -1, cv2.LINE_AA)
    cv2.addWeighted(layer, 0.8, image, 0.2, 0.0, dst=image)


def _on_picture(path: Tensor, camera: Camera) -> list[tuple[int, int]]:
    """Points on the ground (S, 2) m in the ego frame as pixels, up to the first that is not before the camera."""
    first = Camera(*(value[0, :1] for value in camera))
    u, v, depth = project(torch.cat((path, torch.zeros(len(path), 1)), -1), first)
    ahead = int((depth > 1.0).long().cumprod(0).sum())
    return [(round(a), round(b)) for a, b in zip(u[:ahead].tolist(), v[:ahead].tolist(), strict=True)]


def _box(image: Image, box: Sequence[float], text: str, colour: Colour) -> None:
    low, high = (round(box[0]), round(box[1])), (round(box[2]), round(box[3]))
    cv2.rectangle(image, low, high, colour, max(1, round(image.shape[0] / 400)), cv2.LINE_AA)
    _label(image, text, *low, colour)


def _label(image: Image, text: str, u: int, v: int, colour: Colour, *, below: bool = False) -> None:
    """Text on `colour`, on top of the corner (u, v) or below it, within the picture."""
    scale = max(0.35, image.shape[0] / 1400)
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    foot = v + height + 2 if below else v - base - 1
    corner = (min(max(u, 0), max(image.shape[1] - width, 0)), min(max(foot, height + 1), image.shape[0] - base))
    cv2.rectangle(image, (corner[0], corner[1] - height - 1), (corner[0] + width, corner[1] + base), colour, -1)
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
