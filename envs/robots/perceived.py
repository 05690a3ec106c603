"""The levels `perceived` and `noisy`: cameras, a detector or its error model, and the filter that makes places and velocities of it.

Shapes: B worlds, n rows of them, K things, C cameras, L looks that are on their way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.robots.hidden import shown
from envs.robots.noise import Errors, Noise
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.sight import SightConfig
from envs.robots.task import Objects, Task
from envs.robots.tracking import Eyes, Hold, Sightings, Tracker, Tracks

if TYPE_CHECKING:
    from envs.robots.camera import Camera
    from envs.robots.seeing import Seer

__all__ = ["Estimates", "Perceiving"]

Ints = NDArray[np.int64]

FIT, AT_REST = 0.004, 0.03  # m and m/s of each finger: holding something of a size is to be as far open as it is, and to stay so


class Look(NamedTuple):
    """All that came of a moment: `Sightings`, where the cameras were, and what the hand felt."""

    mask: NDArray[np.bool_]  # (n, C, K) and so on, as of `Sightings`
    pixel: Floats
    depth: Floats
    pixel_sigma: Floats
    depth_sigma: Floats
    position: Floats  # (n, C, 3) of the cameras, axes (n, C, 3, 3)
    axes: Floats
    held: NDArray[np.bool_]  # (n, K) and tool (n, 3), its velocity (n, 3), as of `Hold`
    tool: Floats
    velocity: Floats

    @staticmethod
    def none(*shape: int, cameras: int, things: int) -> Look:
        """Nothing was seen or felt."""
        told = (*shape, cameras, things)
        return Look(
            np.zeros(told, dtype=np.bool_), np.zeros((*told, 2)), np.ones(told), np.ones(told), np.ones(told),
            np.zeros((*shape, cameras, 3)), np.zeros((*shape, cameras, 3, 3)),
            np.zeros((*shape, things), dtype=np.bool_), np.zeros((*shape, 3)), np.zeros((*shape, 3)),
        )  # fmt: skip


class Estimates(NamedTuple):
    """All that perceiving remembers."""

    tracks: Tracks  # (B, K) of the last look that has come
    waiting: Look  # (B, L, ...) on their way, the oldest first
    age: Ints  # (B,) looks since the episode began
    errors: Errors  # (B, C, K) of the error model, which last

    def copy(self) -> Estimates:
        """One that shares nothing with this."""
        tracks = Tracks._make(part.copy() for part in self.tracks)
        waiting = Look._make(part.copy() for part in self.waiting)
        return Estimates(tracks, waiting, self.age.copy(), Errors._make(part.copy() for part in self.errors))


class Perceiving:
    """Where things are by what cameras show (`perceived`), or by what the detector's error model says of the truth (`noisy`).

    The cameras' places are known, as calibration and joint angles tell them. `noisy` draws no pictures and needs no OpenGL.
    """

    def __init__(self, physics: Physics, task: Task, config: SightConfig, *, dt: float, noisy: bool) -> None:
        from envs.robots.seeing import fitting

        self.physics, self.task, self.dt, self.latency = physics, task, dt, config.latency
        self.names = task.cameras[:-1]
        self.size = (fitting(config.width), fitting(config.height))
        angles = np.array([physics.model.camera(name).fovy[0] for name in self.names])
        self.focal = 0.5 * self.size[1] / np.tan(np.radians(angles) / 2.0)  # (C,) px
        self.tracker = Tracker(task.things, dt)
        self.noise: Noise | None = None
        self.seer: Seer | None = None
        self.seen: Sightings | None = None  # of the last look, for who measures; no future depends on it
        self.camera: Camera | None = None
        self._begin(config, noisy)
        cameras, things = len(self.names), len(task.things)
        self.belief = Estimates(
            Tracks.none(physics.size, things),
            Look.none(physics.size, self.latency, cameras=cameras, things=things),
            np.zeros(physics.size, dtype=np.int64),
            Errors.none(physics.size, cameras, things),
        )

    def _begin(self, config: SightConfig, noisy: bool) -> None:
        """Make ready who sees: the detector with cameras, or its error model."""
        from envs.robots.noise_card import load_noise
        from envs.robots.seeing import Seer

        if noisy:
            self.noise = load_noise(config.noise).of(self.task, self.names)
            return
        from envs.robots.camera import Camera

        self.seer = Seer(self.task, config.detector)
        self.camera = Camera(self.physics, width=self.size[0], height=self.size[1], things=self.task.things)

    def forget(self, rows: Ints) -> None:
        """An episode begins in these worlds."""
        for part in (*self.belief.tracks, *self.belief.errors, self.belief.age):
            part[rows] = 0

    def look(self, rows: Ints, draws: Draws) -> None:
        """See what there is to be seen in these worlds now, and take note of what comes in now."""
        belief, eyes = self.belief, self.eyes(rows)
        self.seen = self.sight(rows, eyes, draws)
        now = Look(*self.seen, eyes.position, eyes.axes, *self.hold(rows))
        first = belief.age[rows] == 0  # the first look is at rest, before the episode: it comes in at once
        due = now
        if self.latency:
            lines = [np.concatenate([whole[rows], part[:, None]], axis=1) for whole, part in zip(belief.waiting, now, strict=True)]
            for whole, line in zip(belief.waiting, lines, strict=True):
                whole[rows] = line[:, 1:]
            due = Look._make(np.where(_like(first, part), part, line[:, 0]) for line, part in zip(lines, now, strict=True))
        before = belief.tracks.at(rows)
        after = self.tracker.update(
            before, Eyes(due.position, due.axes, eyes.focal, eyes.size), Sightings(*due[:5]), Hold(due.held, due.tool, due.velocity)
        )
        comes = first | (belief.age[rows] > self.latency)  # before, nothing is due
        for whole, old, new in zip(belief.tracks, before, after, strict=True):
            whole[rows] = np.where(_like(comes, new), new, old)
        belief.age[rows] += 1

    def eyes(self, rows: Ints) -> Eyes:
        """Where the cameras are."""
        position, axes = zip(*(self.physics.eye(name) for name in self.names), strict=True)
        return Eyes(np.stack([p[rows] for p in position], axis=1), np.stack([a[rows] for a in axes], axis=1), self.focal, self.size)

    def hold(self, rows: Ints) -> Hold:
        """What the hand feels: whether its fingers rest as far apart as a thing is wide."""
        mask = np.zeros((len(rows), len(self.task.things)), dtype=np.bool_)
        if not any(thing.fingers for thing in self.task.things):
            return Hold(mask, np.zeros((len(rows), 3)), np.zeros((len(rows), 3)))
        for k, thing in enumerate(self.task.things):
            if thing.fingers:
                apart = self.physics.qpos[rows[:, None], self.physics.joints(*thing.fingers)]
                speed = self.physics.qvel[rows[:, None], self.physics.speeds(*thing.fingers)]
                mask[:, k] = ((np.abs(apart - 0.5 * thing.size) < FIT) & (np.abs(speed) < AT_REST)).all(1)
        return Hold(mask, self.physics.site("tool")[rows], self.physics.sensor("tool_velocity")[rows])

    def sight(self, rows: Ints, eyes: Eyes, draws: Draws) -> Sightings:
        """What the cameras say now, as far as it is drawn: with a detector, of pictures; else of the truth with its errors."""
        if self.noise is not None:
            truth, errors = self.task.locate(self.physics).position[rows], self.belief.errors
            free = shown(self.physics, self.task.things, truth, eyes, rows)
            seen, new = self.noise.sight(truth, eyes, free, Errors._make(part[rows] for part in errors), draws)
            for part, value in zip(errors, new, strict=True):
                part[rows] = value
            return seen
        assert self.camera is not None and self.seer is not None
        return self.seer.look(self.camera.pictures(self.names, rows.tolist()), eyes)

    def objects(self) -> Objects:
        """As believed now: what came late is carried on to now."""
        late: Floats = np.clip(self.belief.age - 1, 0, self.latency).astype(np.float64)  # (B,) looks
        place, velocity = self.tracker.ahead(self.belief.tracks, late * self.dt)
        return Objects(place, velocity)

    def takes(self, belief: object) -> bool:
        """Whether it could go on from a belief."""
        return isinstance(belief, Estimates) and belief.waiting.mask.shape[1] == self.latency

    def close(self) -> None:
        """Release the renderer."""
        if self.camera is not None:
            self.camera.close()


def _like(rows: NDArray[np.bool_], value: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(n,) shaped to go with (n, ...)."""
    return rows.reshape(-1, *([1] * (value.ndim - 1)))
