"""What a robot task is: pure functions of a batch of simulations, apart from the shells and from the physics.

A task is a frozen dataclass in a file of its own under `envs/robots/tasks`. Its methods read and write the views of `Physics` and keep
nothing: what a task has to remember is in the model's `userdata` and `mocap_pos`, which are part of the state that is saved.

Shapes: B worlds, n rows of them, K things, C cameras. SI units, world frame, z up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws

__all__ = ["Arrays", "Ending", "Objects", "Scanned", "Task", "Thing", "box"]

Arrays = dict[str, NDArray[Any]] | NDArray[np.float32]


class Thing(NamedTuple):
    """Something a camera can see and a policy wants to know the place of."""

    kind: str  # the label's class: what it looks like, which a detector tells from others
    geoms: tuple[str, ...]  # what it looks like
    size: float  # m, its largest extent
    plane: tuple[int, float] | None = None  # axis and m: a plane that its middle is known to be on, z = 0.02 m being (2, 0.02)
    speed: float = 0.0  # m/s that it may have when first seen; 0: it stays where it is
    agility: float = 0.0  # m/s^2 that it may take up of its own or be given, but for gravity
    falls: bool = False  # whether it flies freely, by gravity
    fingers: tuple[str, ...] = ()  # joints of what may grasp it; as long as they hold something of its size, it goes with the site "tool"


class Objects(NamedTuple):
    """Where the things of a task are believed to be: the truth, or what perception makes of the cameras' pictures."""

    position: Floats  # (B, K, 3) m, of their centres
    velocity: Floats  # (B, K, 3) m/s


class Task(Protocol):
    """One task. Observations depend on the things by `objects` alone, so that the same policy runs on truth and on perception."""

    @property
    def name(self) -> str:
        """Its key in the registry: "reach"."""

    @property
    def about(self) -> str:
        """One line on what is to be done."""

    @property
    def duration(self) -> int:
        """Decisions until an episode is truncated."""

    @property
    def substeps(self) -> int:
        """Time steps of the physics a decision."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras of the model that a policy may use, the one for people last."""

    @property
    def things(self) -> tuple[Thing, ...]:
        """What cameras' labels name, in the order of `Objects`."""

    @property
    def action_size(self) -> int:
        """Numbers in an action; each is in [-1, 1]."""

    @property
    def observation_space(self) -> spaces.Space[Arrays]:
        """Of one world: a Box, or for a goal-conditioned task a Dict of observation, achieved_goal and desired_goal."""

    @property
    def feeling_space(self) -> spaces.Box:
        """Of what a robot knows of itself without any camera; may be of size 0."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the reward's terms."""

    def mjcf(self) -> str:
        """The model, as text: primitive shapes only, which software renders fast."""

    def start(self, physics: Physics, rows: NDArray[np.int64], draws: Draws) -> None:
        """Write the first state of episodes into worlds that were just reset; `draws` are those of the rows, streams below 1000."""

    def act(self, physics: Physics, action: Floats) -> None:
        """Turn actions (B, action_size) in [-1, 1] into controls."""

    def locate(self, physics: Physics) -> Objects:
        """Where the things truly are."""

    def observe(self, physics: Physics, objects: Objects) -> Arrays:
        """What a policy is told, (B, ...) float32."""

    def feel(self, physics: Physics) -> Floats:
        """(B, size of the feeling space), beside pictures."""

    def reward_terms(self, physics: Physics, action: Floats) -> dict[str, Floats]:
        """Unweighted parts of the reward after a decision, (B,) each."""

    def success(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) whether what is to be done is done at this moment. An episode succeeded if it is so at its end."""

    def failed(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) whether the episode is over because it cannot succeed any more."""


@runtime_checkable
class Ending(Protocol):
    """A task whose episodes are over once it is done."""

    def finished(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) whether it is done."""


@runtime_checkable
class Scanned(Protocol):
    """A task whose things are found by a lidar that turns on the robot, in place of cameras' pictures."""

    def scan(self, physics: Physics, rows: NDArray[np.int64]) -> Floats:
        """(n, R) m to what is around in worlds `rows`: evenly spaced rays in the plane, the first one ahead, the others to its left."""

    def known(self, physics: Physics, rows: NDArray[np.int64], points: Floats) -> Floats:
        """(n, Q) m from points (n, Q, 2) to what the map tells of."""


def box(*limits: tuple[int, float]) -> spaces.Box:
    """A vector: each (n, limit) is n numbers between -limit and limit, which is well beyond what occurs."""
    high = np.concatenate([np.zeros(0, dtype=np.float32), *(np.full(count, limit, dtype=np.float32) for count, limit in limits)])
    return spaces.Box(-high, high, dtype=np.float32)
