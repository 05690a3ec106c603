"""The levels `perceived` and `noisy`: cameras, a detector or its error model, and the filter that makes places and velocities of it.

Shapes: B worlds, n rows of them, K things, C cameras, L looks that are on their way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.robots.noise import Errors, Noise
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.sight import SightConfig
from envs.robots.task import Objects, Task
from envs.robots.tracking import Eyes, Sightings, Tracker, Tracks

if TYPE_CHECKING:
    from envs.robots.camera import Camera

__all__ = ["Estimates", "Perceiving"]

Ints = NDArray[np.int64]


class Estimates(NamedTuple):
    """All that perceiving remembers."""

    tracks: Tracks  # (B, K) of the last sightings that have come
    waiting: Sightings  # (B, L, C, K) on their way, the oldest first
    position: Floats  # (B, L, C, 3) and axes (B, L, C, 3, 3) of the cameras then
    axes: Floats
    age: Ints  # (B,) looks since the episode began
    errors: Errors  # (B, C, K) of the error model, which last

    def copy(self) -> Estimates:
        """One that shares nothing with this."""
        return Estimates(
            Tracks(*(part.copy() for part in self.tracks)),
            Sightings(*(part.copy() for part in self.waiting)),
            self.position.copy(),
            self.axes.copy(),
            self.age.copy(),
            Errors(*(part.copy() for part in self.errors)),
        )


class Perceiving:
    """Where things are by what cameras show (`perceived`), or by what the detector's error model says of the truth (`noisy`).

    The cameras' places are known, as calibration and joint angles tell them. `noisy` draws no pictures and needs no OpenGL.
    """

    def __init__(self, physics: Physics, task: Task, config: SightConfig, *, dt: float, noisy: bool) -> None:
        from envs.robots.noise_card import load_noise
        from envs.robots.seeing import Seer, fitting

        self.physics, self.task, self.dt, self.latency = physics, task, dt, config.latency
        self.names = task.cameras[:-1]
        self.size = (fitting(config.width), fitting(config.height))
        angles = np.array([physics.model.camera(name).fovy[0] for name in self.names])
        self.focal = 0.5 * self.size[1] / np.tan(np.radians(angles) / 2.0)  # (C,) px
        self.tracker = Tracker(task.things, dt)
        self.noise: Noise | None = load_noise(config.noise).of(task, self.names) if noisy else None
        self.seer = None if noisy else Seer(task, config.detector)
        self.seen: Sightings | None = None  # of the last look, for who measures; no future depends on it
        self.camera: Camera | None = None
        if not noisy:
            from envs.robots.camera import Camera

            self.camera = Camera(physics, width=self.size[0], height=self.size[1], things=task.things)
        shape, late = (physics.size, len(self.names), len(task.things)), (physics.size, self.latency, len(self.names), len(task.things))
        self.belief = Estimates(
            Tracks.none(physics.size, len(task.things)),
            Sightings(np.zeros(late, dtype=np.bool_), np.zeros((*late, 2)), np.zeros(late), np.ones(late), np.ones(late)),
            np.zeros((*late[:3], 3)),
            np.zeros((*late[:3], 3, 3)),
            np.zeros(physics.size, dtype=np.int64),
            Errors.none(*shape),
        )

    def forget(self, rows: Ints) -> None:
        """An episode begins in these worlds."""
        for part in (*self.belief.tracks, *self.belief.errors, self.belief.waiting.mask, self.belief.age):
            part[rows] = 0

    def look(self, rows: Ints, draws: Draws) -> None:
        """See what there is to be seen in these worlds now, and take note of what comes in now."""
        belief, eyes = self.belief, self.eyes(rows)
        seen, old = self.sight(rows, eyes, draws), eyes
        self.seen = seen
        first = belief.age[rows] == 0  # the first look is at rest, before the episode: it comes in at once
        if self.latency:
            queue = [(w, now[:, None]) for w, now in zip((*belief.waiting, belief.position, belief.axes), (*seen, *eyes[:2]), strict=True)]
            lines = [np.concatenate([whole[rows], now], axis=1) for whole, now in queue]
            for (whole, _), line in zip(queue, lines, strict=True):
                whole[rows] = line[:, 1:]
            *late, position, axes = (np.where(_like(first, line[:, 0]), line[:, -1], line[:, 0]) for line in lines)
            seen, old = Sightings(*late), Eyes(position, axes, eyes.focal, eyes.size)
            belief.waiting.mask[rows[first]] = False
        now = belief.tracks.at(rows)
        comes = first | (belief.age[rows] > self.latency)  # before, nothing is due
        for whole, old_part, new in zip(belief.tracks, now, self.tracker.update(now, old, seen), strict=True):
            whole[rows] = np.where(_like(comes, new), new, old_part)
        belief.age[rows] += 1

    def eyes(self, rows: Ints) -> Eyes:
        """Where the cameras are."""
        position, axes = zip(*(self.physics.eye(name) for name in self.names), strict=True)
        return Eyes(np.stack([p[rows] for p in position], axis=1), np.stack([a[rows] for a in axes], axis=1), self.focal, self.size)

    def sight(self, rows: Ints, eyes: Eyes, draws: Draws) -> Sightings:
        """What the cameras say now, as far as it is drawn: with a detector, of pictures; else of the truth with its errors."""
        if self.noise is not None:
            truth, errors = self.task.locate(self.physics).position[rows], self.belief.errors
            seen, new = self.noise.sight(truth, eyes, Errors(*(part[rows] for part in errors)), draws)
            for part, value in zip(errors, new, strict=True):
                part[rows] = value
            return seen
        assert self.camera is not None and self.seer is not None
        return self.seer.look(self.camera.pictures(self.names, rows.tolist()), eyes)

    def objects(self) -> Objects:
        """As believed now: what came late is carried on to now."""
        late = np.clip(self.belief.age - 1, 0, self.latency)  # (B,) looks
        place, velocity = self.tracker.ahead(self.belief.tracks, late * self.dt)
        return Objects(place, velocity)

    def takes(self, belief: object) -> bool:
        """Whether it could go on from a belief."""
        return isinstance(belief, Estimates) and belief.position.shape[1] == self.latency

    def close(self) -> None:
        """Release the renderer."""
        if self.camera is not None:
            self.camera.close()


def _like(rows: NDArray[np.bool_], value: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(n,) shaped to go with (n, ...)."""
    return rows.reshape(-1, *([1] * (value.ndim - 1)))
