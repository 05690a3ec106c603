"""The error model of the level `noisy`: what the detector would have said of things whose places are known, without any picture.

For each task, camera and thing, and by how much of it can be seen (`envs.robots.hidden`): how often it is missed, where misses last (a
chain of two states, as in Gilbert, "Capacity of a Burst-Noise Channel", 1960); by how much pixels and distance are off, where errors last
too (a process of first order each); and how often something else is taken for it. All is measured on the detector's own errors while
experts act by what it sees (`closedloop pretrain noise --domain robots`).

Shapes: n worlds, K things, C cameras, H = 3 of `SHOWN`. Errors: u px, v px, and the logarithm of the distance.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.robots.physics import Floats
from envs.robots.rng import Draws
from envs.robots.tracking import Eyes, Sightings, projected

__all__ = ["FIELDS", "Errors", "Noise"]

MISS, ERROR, WRONG = 2000, 2001, 2002  # streams
FIELDS = {"lost": (), "lasting": (), "wrong": (), "bias": (3,), "sigma": (3,), "memory": (3,), "said": (2,)}  # shapes for a thing


class Errors(NamedTuple):
    """What lasts from one look to the next."""

    off: Floats  # (n, C, K, 3) in standard deviations
    missed: NDArray[np.bool_]  # (n, C, K)
    begun: NDArray[np.bool_]  # (n, C, K) whether there was a look before

    @staticmethod
    def none(worlds: int, cameras: int, things: int) -> Errors:
        """Before the first look."""
        shape = (worlds, cameras, things)
        return Errors(np.zeros((*shape, 3)), np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_))


@dataclass(frozen=True, kw_only=True, eq=False)
class Noise:
    """Of one task; all shapes begin with (C, K, H)."""

    lost: Floats  # probability of being missed after being seen
    lasting: Floats  # and after being missed
    wrong: Floats  # share of sightings that are of something else, anywhere in the picture
    bias: Floats  # (C, K, H, 3)
    sigma: Floats  # (C, K, H, 3)
    memory: Floats  # (C, K, H, 3) correlation from one look to the next
    said: Floats  # (C, K, H, 2) what the detector says of its own errors: px, and share of the distance

    def sight(self, truth: Floats, eyes: Eyes, shown: NDArray[np.int64], before: Errors, draws: Draws) -> tuple[Sightings, Errors]:
        """What might be said of things at truth (n, K, 3) m by cameras, and what of it lasts. A look's draws are of its step.

        shown: (n, C, K) how much of each can be seen.
        """
        worlds, shape = len(truth), self.lost.shape[:2]
        camera, thing = np.arange(shape[0])[:, None], np.arange(shape[1])
        now = Noise(**{part.name: getattr(self, part.name)[camera, thing, shown] for part in fields(self)})  # (n, C, K, ...)
        place = np.stack([projected(truth, eyes, camera)[0] for camera in range(shape[0])], axis=1)  # (n, C, K, 3)
        count = shape[0] * shape[1]
        chance = draws.uniform(MISS, count).reshape(worlds, *shape)
        fresh = draws.normal(ERROR, 3 * count).reshape(worlds, *shape, 3)
        wrong = draws.uniform(WRONG, 3 * count).reshape(worlds, *shape, 3)
        usual = now.lost / np.maximum(now.lost + 1.0 - now.lasting, 1e-9)  # share of looks at which it is missed
        missed = chance < np.where(before.begun, np.where(before.missed, now.lasting, now.lost), usual)
        off = np.where(before.begun[..., None], now.memory * before.off + np.sqrt(1.0 - now.memory**2) * fresh, fresh)
        error = now.bias + now.sigma * off
        size = np.array(eyes.size, dtype=np.float64)
        inside = ((place[..., :2] >= 0.0) & (place[..., :2] < size)).all(-1) & (place[..., 2] > 0.02)
        pixel = np.where((wrong[..., 2] < now.wrong)[..., None], wrong[..., :2] * size, place[..., :2] + error[..., :2])
        depth = place[..., 2] * np.maximum(1.0 + error[..., 2], 0.2)
        sightings = Sightings(
            mask=inside & ~missed,
            pixel=pixel,
            depth=depth,
            pixel_sigma=now.said[..., 0],
            depth_sigma=now.said[..., 1] * depth,
        )
        return sightings, Errors(off, missed, np.ones_like(missed))


assert {part.name for part in fields(Noise)} == FIELDS.keys()
