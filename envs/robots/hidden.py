"""How much of things robots and other things hide from cameras, by rays: what `noisy` needs to know, which draws no pictures.

Shapes: n worlds, K things, C cameras, R rays a thing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.robots.physics import Floats, Physics
from envs.robots.task import Thing
from envs.robots.tracking import Eyes

__all__ = ["SHOWN", "shown"]

RAYS = np.array([0.0, -0.35, 0.35])  # sizes of the thing to the right of its middle
SHOWN = ("hidden", "partly", "free")  # by how many of its rays reach a thing: none, some, all


def shown(physics: Physics, things: Sequence[Thing], truth: Floats, eyes: Eyes, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, C, K) index into SHOWN of things at truth (n, K, 3) m in the worlds `rows`, seen by `eyes` of these."""
    n, cameras = eyes.position.shape[:2]
    right = eyes.axes[..., 0]  # (n, C, 3)
    sizes = np.array([thing.size for thing in things])
    aside = right[:, :, None, None] * (sizes[:, None] * RAYS)[..., None]  # (n, C, K, R, 3)
    start = np.broadcast_to(eyes.position[:, :, None, None], aside.shape)
    way = truth[:, None, :, None] + aside - start
    hit = physics.rays(start.reshape(n, -1, 3), way.reshape(n, -1, 3), rows).reshape(n, cameras, len(things), len(RAYS))
    own = np.stack([np.isin(hit[:, :, k], [physics.model.geom(name).id for name in thing.geoms]) for k, thing in enumerate(things)], axis=2)
    count = own.sum(-1)
    return np.where(count == 0, 0, np.where(count == len(RAYS), 2, 1))
