"""Scripted experts, one for each task: what a task can be done with, as a reference for what learns. They know the truth.

Shapes: B worlds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agents.robots.lqr import gain, linear_model
from agents.robots.trajectory import share_of_rest
from envs.checks import ConfigError, unknown
from envs.robots.physics import compile_model
from envs.robots.robots import Robots

__all__ = ["EXPERTS", "Expert", "expert_for"]

Floats = NDArray[np.float64]


class Expert(Protocol):
    """Acts on the truth; a function of the worlds' state alone."""

    def act(self, robots: Robots) -> Floats:
        """Actions (B, action_size) in [-1, 1]."""


class ReachExpert:
    """Moves the tool to the ball along a minimum-jerk path, by damped least squares."""

    TIME = 1.4  # s

    def __init__(self, robots: Robots) -> None:
        self.steps = round(self.TIME / robots.dt)

    def act(self, robots: Robots) -> Floats:
        """See the class."""
        task, physics = robots.task, robots.physics
        left = robots.objects().position[:, 0] - physics.site("tool")
        return task.towards(physics, left * share_of_rest(robots.steps, self.steps)[:, None])  # type: ignore[attr-defined, no-any-return]


class CartPoleExpert:
    """A linear-quadratic regulator."""

    def __init__(self, robots: Robots) -> None:
        a, b = linear_model(compile_model(robots.task.mjcf()), robots.task.substeps)
        self.gain = gain(a, b, np.diag([2.0, 10.0, 0.2, 0.2]), np.array([[0.5]]))

    def act(self, robots: Robots) -> Floats:
        """See the class."""
        state = np.concatenate([robots.physics.qpos, robots.physics.qvel], axis=1)
        return np.asarray(np.clip(-(state[:, None, :] * self.gain).sum(-1), -1.0, 1.0))


EXPERTS: dict[str, Callable[[Robots], Expert]] = {
    "reach": ReachExpert,
    "cart_pole_vision": CartPoleExpert,
}


def expert_for(robots: Robots) -> Expert:
    """The expert of a task. Raises ConfigError if there is none."""
    if robots.task.name not in EXPERTS:
        raise ConfigError(unknown("expert for the robot task", robots.task.name, list(EXPERTS)))
    return EXPERTS[robots.task.name](robots)
