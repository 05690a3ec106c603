"""Scripted experts, one for each task: what a task can be done with, as a reference for what learns.

They know the state of the robot, and of things what the worlds' level of seeing lets them.

Shapes: B worlds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from agents.robots.driving import DiffDriveExpert
from agents.robots.lqr import gain, linear_model
from agents.robots.trajectory import share_of_rest
from agents.robots.trot import TrotExpert
from envs.checks import ConfigError, unknown
from envs.robots.arm import FINGERS
from envs.robots.goals import GoalTask
from envs.robots.kinematics import DOWN
from envs.robots.physics import compile_model
from envs.robots.robots import Robots
from envs.robots.tasks.ball_catch import HEIGHT, landing
from envs.robots.tasks.visual_servo import DISTANCE
from envs.robots.tool import TOOL_STEP, action_for

__all__ = ["EXPERTS", "Expert", "expert_for"]

Floats = NDArray[np.float64]


class Expert(Protocol):
    """A function of the worlds' state alone."""

    def act(self, robots: Robots) -> Floats:
        """Actions (B, action_size) in [-1, 1]."""


def control(robots: Robots) -> str:
    """How the arm of a goal-conditioned task is commanded: tool or joints."""
    return cast(GoalTask, robots.task).control


class ReachExpert:
    """Moves the tool to the ball along a minimum-jerk path, by damped least squares."""

    TIME = 1.4  # s

    def __init__(self, robots: Robots) -> None:
        self.steps = round(self.TIME / robots.dt)

    def act(self, robots: Robots) -> Floats:
        """See the class."""
        physics = robots.physics
        left = robots.objects().position[:, 0] - physics.site("tool")
        return action_for(physics, left * share_of_rest(robots.steps, self.steps)[:, None], control(robots), robots.dt)


class CartPoleExpert:
    """A linear-quadratic regulator."""

    def __init__(self, robots: Robots) -> None:
        a, b = linear_model(compile_model(robots.task.mjcf()), robots.task.substeps)
        self.gain = gain(a, b, np.diag([2.0, 10.0, 0.2, 0.2]), np.array([[0.5]]))

    def act(self, robots: Robots) -> Floats:
        """See the class."""
        told = np.asarray(robots.task.observe(robots.physics, robots.objects()), dtype=np.float64)
        state = told[:, [0, 2, 1, 3]]  # place, angle, speed, rate: the order of the linear model
        return np.asarray(np.clip(-(state[:, None, :] * self.gain).sum(-1), -1.0, 1.0))


class PushCubeExpert:
    """Goes behind the cube, seen from the goal, comes down and pushes; steers the push by where it touches."""

    BEHIND = 0.045  # m, between the middles of cube and tool while it pushes
    CLEAR = 0.03  # m more, where it comes down
    LOW, HIGH = 0.03, 0.11  # m, heights of the tool when it pushes and when it goes around

    def __init__(self, robots: Robots) -> None:
        pass

    def act(self, robots: Robots) -> Floats:
        """See the class."""
        physics = robots.physics
        tool, (cube, goal) = physics.site("tool"), np.moveaxis(robots.objects().position, 1, 0)[:, :, :2]
        left = goal - cube
        far = np.sqrt((left * left).sum(-1, keepdims=True))
        ahead = left / np.maximum(far, 1e-6)
        aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
        from_cube = tool[:, :2] - cube
        along, across = (from_cube * ahead).sum(-1), (from_cube * aside).sum(-1)
        behind = cube - ahead * (self.BEHIND + self.CLEAR)
        lined_up = (along < -self.BEHIND + 0.02) & (along > -self.BEHIND - self.CLEAR - 0.03) & (np.abs(across) < 0.012)
        down = tool[:, 2] < self.LOW + 0.015
        pushing = lined_up & down
        push = cube - ahead * self.BEHIND + ahead * np.minimum(far, 0.03) - tool[:, :2] - aside * across[:, None] * 0.5
        there = behind - tool[:, :2]
        high = np.where(lined_up, self.LOW, self.HIGH) - tool[:, 2]
        over = np.where((tool[:, 2] > self.HIGH - 0.03) | lined_up, 1.0, 0.0)[:, None]  # first up, then across
        wish = np.concatenate([np.where(pushing[:, None], push, there * over), np.where(pushing, self.LOW - tool[:, 2], high)[:, None]], 1)
        done = (far[:, 0] < 0.015)[:, None]
        return action_for(physics, np.where(done, 0.0, 0.8 * wish), control(robots), robots.dt, frame=DOWN)


class PickPlaceExpert:
    """Over the cube, down, closes the gripper, carries."""

    OVER = 0.08  # m, above the cube, where it comes down from
    GRASP = 0.024  # m, height of the tool when it grasps: the finger tips just above the table
    HELD = 0.026  # m, that a finger is open at most with the cube between them

    def __init__(self, robots: Robots) -> None:
        self.fingers = robots.physics.joints(*FINGERS)

    def act(self, robots: Robots) -> Floats:
        """See the class."""
        physics = robots.physics
        tool, (cube, goal) = physics.site("tool"), np.moveaxis(robots.objects().position, 1, 0)
        off = cube - tool
        aside = np.sqrt((off[:, :2] ** 2).sum(-1))
        closed = physics.qpos[:, self.fingers].max(1) < self.HELD
        inside = (aside < np.where(closed, 0.02, 0.01)) & (np.abs(off[:, 2]) < np.where(closed, 0.02, 0.01))
        held = inside & closed
        over = np.where((aside < 0.008) | inside, np.maximum(cube[:, 2], self.GRASP), cube[:, 2] + self.OVER)
        fetch = np.concatenate([off[:, :2], (over - tool[:, 2])[:, None]], axis=1)
        way = goal - cube
        far = np.sqrt((way[:, :2] ** 2).sum(-1)) > 0.03
        way[:, 2] = np.where(far, np.maximum(goal[:, 2], 0.07), goal[:, 2]) - cube[:, 2]
        wish = np.where(held[:, None], way, np.where(inside[:, None], 0.0, fetch))
        move = action_for(physics, 0.7 * wish, control(robots), robots.dt, frame=DOWN)
        return np.concatenate([move, np.where(inside, -1.0, 1.0)[:, None]], axis=1)


class VisualServoExpert:
    """Moves the camera by what it is off, and along with the ball."""

    def __init__(self, robots: Robots) -> None:
        pass

    def act(self, robots: Robots) -> Floats:
        """See the class."""
        ball, eye = robots.objects(), robots.physics.site("tool")
        off = ball.position[:, 0] + np.array([0.0, 0.0, DISTANCE]) - eye
        wish = (0.7 * off + ball.velocity[:, 0] * robots.dt) / TOOL_STEP
        return np.asarray(wish / np.maximum(1.0, np.abs(wish).max(1, keepdims=True)))


class BallCatchExpert:
    """Flies the ball ahead by the laws of free fall and is there first, along a minimum-jerk path; then keeps still."""

    TIME = 0.55  # s

    def __init__(self, robots: Robots) -> None:
        self.steps = round(self.TIME / robots.dt)

    def act(self, robots: Robots) -> Floats:
        """See the class."""
        ball, cup = robots.objects(), robots.physics.site("tool")
        place, _ = landing(ball.position[:, 0], ball.velocity[:, 0], HEIGHT)
        left = np.concatenate([place, np.full((len(cup), 1), HEIGHT)], axis=1) - cup
        near = np.sqrt(((ball.position[:, 0] - cup) ** 2).sum(-1)) < 0.09
        left[near, :2] = 0.0
        wish = left * share_of_rest(robots.steps, self.steps)[:, None] / TOOL_STEP
        return np.asarray(wish / np.maximum(1.0, np.abs(wish).max(1, keepdims=True)))


EXPERTS: dict[str, Callable[[Robots], Expert]] = {
    "reach": ReachExpert,
    "push_cube": PushCubeExpert,
    "pick_place": PickPlaceExpert,
    "visual_servo": VisualServoExpert,
    "ball_catch": BallCatchExpert,
    "cart_pole_vision": CartPoleExpert,
    "quadruped_walk": TrotExpert,
    "diff_drive_nav": DiffDriveExpert,
}


def expert_for(robots: Robots) -> Expert:
    """The expert of a task. Raises ConfigError if there is none."""
    if robots.task.name not in EXPERTS:
        raise ConfigError(unknown("expert for the robot task", robots.task.name, list(EXPERTS)))
    return EXPERTS[robots.task.name](robots)
