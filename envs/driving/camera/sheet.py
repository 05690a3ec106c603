"""Contact sheets: what the camera sees in every family and weather, in one picture to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import scenarios
from envs.driving.camera.config import CONDITIONS, CameraConfig
from envs.driving.camera.stream import DrivingStream
from perception.types import Labels
from scenarios.files import write_atomic

__all__ = ["contact_sheet"]

COLOURS = ((255, 70, 60), (70, 220, 90), (90, 130, 255), (255, 220, 60), (60, 220, 230), (245, 90, 235), (255, 255, 255))  # by class
LIGHTS = ("red", "red+yel", "yel", "green", "off")
BORDER = 4  # px
CAPTION = 20  # px
CHOICE = 6  # frames from which each that is shown is chosen


def contact_sheet(
    path: Path | str,
    families: Sequence[str] = (),
    weathers: Sequence[str] = CONDITIONS,
    seed: int = 0,
    *,
    frames: int = 1,
    scale: int = 3,
    boxes: bool = False,
    config: CameraConfig | None = None,
) -> Path:
    """Write a PNG: a row for each family (default: the whole library), `frames` columns for each weather, `scale` times enlarged.

    Of CHOICE times as many frames those are shown that show most. boxes: with the labels. Raises scenarios.ScenarioError for a family that
    does not exist, ValueError for another weather or size.
    """
    if frames < 1 or not 1 <= scale <= 16:
        raise ValueError(f"frames={frames}, scale={scale}: at least one frame, scale 1 to 16")
    config = config or CameraConfig()
    names = tuple(families) or scenarios.names()
    rows = []
    for row, name in enumerate(names):
        cells = []
        stream = DrivingStream(config, scenario=(name,), worlds=max(frames, 3), seconds=8)
        shown: list[int] = []
        for weather in weathers:
            stream.config = replace(config, weather=weather)  # the worlds are those at hand
            frame, labels, _ = stream.sample(seed + row, CHOICE * frames)
            shown = shown or _telling(labels)[:frames]
            images = frame.image[:, 0].permute(0, 2, 3, 1).numpy()
            cells += [_cell(images[i], labels if boxes else None, i, f"{name}, {weather}", scale) for i in shown]
        rows.append(np.concatenate(cells, axis=1))
    sheet = np.concatenate(rows, axis=0)
    done, data = cv2.imencode(".png", sheet[..., ::-1])
    if not done:
        raise ValueError(f"the sheet of {sheet.shape[1]} x {sheet.shape[0]} pixels cannot be written as PNG")
    path = Path(path)
    write_atomic(path, data.tobytes())
    return path


def _telling(labels: Labels) -> list[int]:
    """Frames in the order of how much they show: kinds of things large enough to be told, then their number."""
    large = labels.mask & (labels.occlusion < 0.5) & ((labels.box[..., 2:] - labels.box[..., :2]).amin(-1) >= 6.0)
    kinds = [len(set(kind[here].tolist())) + 0.1 * int(here.sum()) for kind, here in zip(labels.kind, large, strict=True)]
    return sorted(range(len(kinds)), key=lambda i: -kinds[i])


def _cell(image: NDArray[np.uint8], labels: Labels | None, row: int, caption: str, scale: int) -> NDArray[np.uint8]:
    size = (image.shape[1] * scale, image.shape[0] * scale)
    large: NDArray[Any] = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST))
    if labels is not None:
        for d in torch.nonzero(labels.mask[row] & (labels.camera[row] == 0))[:, 0].tolist():
            u0, v0, u1, v1 = (round(value * scale) for value in labels.box[row, d].tolist())
            cv2.rectangle(large, (u0, v0), (u1, v1), COLOURS[int(labels.kind[row, d])], 1)
            light = int(labels.light[row, d])
            if light >= 0:
                cv2.putText(large, LIGHTS[light], (u1 + 1, v0 + 8), cv2.FONT_HERSHEY_PLAIN, 0.7, (255, 255, 255), 1)
    whole = np.full((size[1] + CAPTION + BORDER, size[0] + BORDER, 3), 24, dtype=np.uint8)
    whole[CAPTION : CAPTION + size[1], : size[0]] = large
    cv2.putText(whole, caption, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA)
    return whole
