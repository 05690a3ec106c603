"""What cameras let a policy know: where the things are that can be seen (`visible`), or the pictures themselves (`pixels`).

`noisy` and `perceived` are in `envs.robots.perceived`.

Shapes: B worlds, n rows of them, K things, C cameras, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.camera import Camera, boxes_of
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.task import Objects, Task

__all__ = ["LEVELS", "Belief", "Pictures", "Sight", "SightConfig", "picture_shape", "picture_space"]

LEVELS = ("truth", "visible", "noisy", "perceived", "pixels")


@dataclass(frozen=True, kw_only=True)
class SightConfig:
    """The pictures, and what is made of them. Raises ConfigError on nonsense."""

    width: int = 84  # px; what is perceived is of the next multiple of 16, the detector's: 96
    height: int = 84  # px
    least: int = 4  # pixels that a thing must fill to be `visible`
    detector: str = "robots"  # of `perceived`: a name that ships or a file
    noise: str = "robots"  # of `noisy`, likewise
    latency: int = 0  # decisions by which what is `noisy` or `perceived` comes late
    frames: int = 1  # of `pixels`: the last so many pictures of each camera, from which motion can be told

    def __post_init__(self) -> None:
        if not (16 <= self.width <= 1024 and 16 <= self.height <= 1024):
            raise ConfigError(f"pictures of {self.width} x {self.height} pixels: each must be 16 to 1024")
        if self.least < 1:
            raise ConfigError(f"least={self.least}: must be 1 or more pixels")
        if not 0 <= self.latency <= 50:
            raise ConfigError(f"latency={self.latency}: must be 0 to 50 decisions")
        if not 1 <= self.frames <= 8:
            raise ConfigError(f"frames={self.frames}: must be 1 to 8 pictures")


class Belief(NamedTuple):
    """Where things are believed to be: at a sight's last look at each."""

    position: Floats  # (B, K, 3) m; the origin for what was not seen yet
    velocity: Floats  # (B, K, 3) m/s; 0 for what is not seen now
    seen: NDArray[np.bool_]  # (B, K) now

    def copy(self) -> Belief:
        """One that shares nothing with this."""
        return Belief(self.position.copy(), self.velocity.copy(), self.seen.copy())


class Sight:
    """The truth about what some camera sees now; of what none sees, the place where it was last seen, at rest.

    Looks through all cameras of the task but the last, which is for people.
    """

    def __init__(self, physics: Physics, task: Task, config: SightConfig) -> None:
        self.physics, self.task, self.config = physics, task, config
        self.camera = Camera(physics, width=config.width, height=config.height, things=task.things)
        shape = (physics.size, len(task.things))
        self.belief = Belief(np.zeros((*shape, 3)), np.zeros((*shape, 3)), np.zeros(shape, dtype=np.bool_))

    def forget(self, rows: NDArray[np.int64]) -> None:
        """An episode begins in these worlds."""
        for part in self.belief:
            part[rows] = 0

    def look(self, rows: NDArray[np.int64], draws: Draws) -> None:
        """See what there is to be seen in these worlds now."""
        truth, belief = self.task.locate(self.physics), self.belief
        for world in rows.tolist():
            pixels = np.zeros(len(self.task.things), dtype=np.int64)
            for name in self.task.cameras[:-1]:
                pixels = np.maximum(pixels, boxes_of(self.camera.labels(world, name), len(pixels)).pixels)
            belief.seen[world] = pixels >= self.config.least
        seen = belief.seen[rows, :, None]
        belief.position[rows] = np.where(seen, truth.position[rows], belief.position[rows])
        belief.velocity[rows] = np.where(seen, truth.velocity[rows], 0.0)

    def objects(self) -> Objects:
        """As believed now."""
        return Objects(self.belief.position.copy(), self.belief.velocity.copy())

    def takes(self, belief: object) -> bool:
        """Whether it could go on from a belief."""
        return isinstance(belief, Belief)

    def close(self) -> None:
        """Release the renderer."""
        self.camera.close()


def picture_shape(task: Task, config: SightConfig) -> tuple[int, int, int]:
    """(3 C T, H, W), T moments."""
    return 3 * len(task.cameras[:-1]) * config.frames, config.height, config.width


def picture_space(task: Task, config: SightConfig) -> spaces.Space[Any]:
    """What `Pictures` tells of one world of a task."""
    parts: dict[str, spaces.Space[Any]] = {"image": spaces.Box(0, 255, shape=picture_shape(task, config), dtype=np.uint8)}
    if task.feeling_space.shape[0]:
        parts["state"] = task.feeling_space
    return spaces.Dict(parts)


class Pictures:
    """Observations for policies that see for themselves: `image` (3 C T, H, W) uint8, of the last T moments, the latest last, and `state`,
    what the robot feels of itself. When an episode begins, all T are of its first moment.
    """

    def __init__(self, physics: Physics, task: Task, config: SightConfig) -> None:
        self.physics, self.task, self.config = physics, task, config
        self.camera = Camera(physics, width=config.width, height=config.height)
        self.taken = np.zeros((physics.size, config.frames, 3 * len(self.names), config.height, config.width), dtype=np.uint8)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the cameras: all but the last, which is for people."""
        return self.task.cameras[:-1]

    @property
    def space(self) -> spaces.Space[Any]:
        """Of one world."""
        return picture_space(self.task, self.config)

    def start(self, rows: NDArray[np.int64]) -> None:
        """An episode begins in these worlds."""
        self.taken[rows] = self._take(rows)[:, None]

    def look(self) -> None:
        """Another moment, in all worlds."""
        self.taken[:, :-1] = self.taken[:, 1:]
        self.taken[:, -1] = self._take(np.arange(self.physics.size))

    def _take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, 3 C, H, W)."""
        frames = self.camera.pictures(self.names, rows.tolist())  # (n, C, H, W, 3)
        return frames.transpose(0, 1, 4, 2, 3).reshape(len(frames), *self.taken.shape[2:])

    def observe(self) -> dict[str, NDArray[Any]]:
        """(B, ...) each, of the last look."""
        parts: dict[str, NDArray[Any]] = {"image": self.taken.reshape(len(self.taken), -1, *self.taken.shape[3:]).copy()}
        if self.task.feeling_space.shape[0]:
            parts["state"] = self.task.feel(self.physics).astype(np.float32)
        return parts

    def close(self) -> None:
        """Release the renderer."""
        self.camera.close()
