"""The detector's eyes: from cameras' pictures to `Sightings`.

It is the detector that driving has, trained on robots' pictures (`closedloop pretrain detector --domain robots`). It tells where in the
picture the middle of a thing is and how many of its own sizes away; as a task's things are of known size, that is a distance.

Shapes: n worlds, K things, C cameras, D detections, H x W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from envs.checks import ConfigError, unknown
from envs.robots.task import Task
from envs.robots.tracking import Eyes, Sightings
from perception.detectors.centernet import CenterNet
from perception.detectors.network import MULTIPLE
from perception.types import Camera

__all__ = ["Seer", "fitting"]

SCORE = 0.25  # least score of what is believed
SLOTS = 16  # detections of a picture that are looked at
PIXEL_MIN, DEPTH_MIN = 0.2, 0.02  # px, and share of the distance: the detector is never surer, whatever it says


def fitting(side: int) -> int:
    """The next side of a picture that the detector takes, in px."""
    return -(-side // MULTIPLE) * MULTIPLE


class Seer:
    """Sees the things of one task. detector: a name that ships or a file. Raises WeightsError; ConfigError if it knows not all things."""

    def __init__(self, task: Task, detector: str) -> None:
        self.network = CenterNet.load(detector, slots=SLOTS, threshold=SCORE)
        for thing in task.things:
            if thing.kind not in self.network.classes:
                raise ConfigError(unknown(f"thing of {task.name} for detector {detector!r}:", thing.kind, self.network.classes))
        self.kinds = torch.tensor([self.network.classes.index(thing.kind) for thing in task.things])  # (K,)
        self.sizes = np.array([thing.size for thing in task.things])  # (K,) m

    def look(self, frames: NDArray[np.uint8], eyes: Eyes) -> Sightings:
        """frames (n, C, H, W, 3), sides multiples of 16, of `eyes`. Of each thing each camera tells the likeliest place."""
        worlds, cameras = frames.shape[:2]
        image = torch.from_numpy(frames).permute(0, 1, 4, 2, 3).flatten(0, 1)[:, None]  # (n C, 1, 3, H, W)
        one = torch.ones(worlds * cameras, 1)
        focal = torch.from_numpy(eyes.focal).float().repeat(worlds)[:, None]
        zero = 0.0 * one
        camera = Camera(focal=focal, cu=one * frames.shape[3] / 2, cv=one * frames.shape[2] / 2, x=zero, y=zero, z=zero, yaw=zero)
        found = self.network.detect(image, camera)
        score = torch.where(found.mask[:, None] & (found.kind[:, None] == self.kinds[:, None]), found.score[:, None], -1.0)  # (n C, K, D)
        best, index = score.max(-1)  # (n C, K)

        def told(value: torch.Tensor) -> NDArray[np.float64]:
            picked = value.gather(1, index if value.ndim == 2 else index[..., None].expand(-1, -1, value.shape[2]))
            return picked.double().numpy().reshape(worlds, cameras, *picked.shape[1:])

        place, sigma = told(found.centre), told(found.sigma)  # forward, left, up in sizes; along and across the line of sight
        away = np.maximum(place[..., 0], 1e-3)
        lens = eyes.focal[:, None]
        middle = 0.5 * np.array(eyes.size, dtype=np.float64)
        pixel = middle - (lens / away)[..., None] * place[..., 1:]
        return Sightings(
            mask=best.numpy().reshape(worlds, cameras, -1) > 0.0,
            pixel=pixel,
            depth=away * self.sizes,
            pixel_sigma=np.maximum(sigma[..., 1] * lens / away, PIXEL_MIN),
            depth_sigma=np.maximum(sigma[..., 0], DEPTH_MIN * away) * self.sizes,
        )
