"""How the arm is commanded: displacements of the tool, or speeds of the joints."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.robots.arm import HOME, JOINTS, LIMITS, SPEEDS
from envs.robots.kinematics import damped_step, orientation_error, tool_jacobian
from envs.robots.physics import Floats, Physics
from envs.robots.task import box

__all__ = ["TOOL_STEP", "action_for", "at_home", "command", "feeling", "feeling_box", "joints_for", "move_joints", "move_tool"]

TOOL_STEP = 0.03  # m a decision, each axis, at most: 0.75 m/s


def at_home(physics: Physics, rows: NDArray[np.int64], noise: Floats) -> None:
    """Put the arm of some worlds at HOME + noise (n, 7) rad, its servos holding it there; derived quantities follow with `forward`."""
    joints = HOME + noise
    physics.qpos[np.ix_(rows, physics.joints(*JOINTS))] = joints
    physics.ctrl[rows, :7] = joints


def feeling(physics: Physics, control: str) -> Floats:
    """(B, 6) or, with joints commanded, (B, 20): tool position (m) and velocity (m/s), the joints' angles (rad) and speeds (rad/s)."""
    parts = [physics.site("tool"), physics.sensor("tool_velocity")]
    if control == "joints":
        parts += [physics.qpos[:, physics.joints(*JOINTS)], physics.qvel[:, physics.speeds(*JOINTS)]]
    return np.concatenate(parts, axis=1)


def feeling_box(control: str, *more: tuple[int, float]) -> spaces.Box:
    """The space of `feeling`, and of `more` behind it."""
    joints = ((7, 4.0), (7, 40.0)) if control == "joints" else ()
    return box((3, 2.0), (3, 20.0), *joints, *more)


def joint_step(seconds: float) -> Floats:
    """(7,) rad, the most that each joint turns in that time."""
    return SPEEDS * seconds


def joints_for(physics: Physics, displacement: Floats, *, frame: Floats | None = None) -> Floats:
    """(B, 7) rad: the change of the joints that moves the tool by (B, 3) m and, if wanted, turns it towards a frame (3, 3)."""
    position, rotation = tool_jacobian(physics)
    now = physics.qpos[:, physics.joints(*JOINTS)]
    if frame is None:
        return damped_step(position, displacement, now)
    turn = np.clip(orientation_error(physics.frame("tool"), frame[None]), -0.1, 0.1)
    return damped_step(np.concatenate([position, rotation], axis=1), np.concatenate([displacement, turn], axis=1), now)


def move_tool(physics: Physics, displacement: Floats, seconds: float, *, frame: Floats | None = None) -> None:
    """Command the servos to move the tool by (B, 3) m from where it is, in a straight line, no faster than the joints can."""
    step = joints_for(physics, displacement, frame=frame)
    _command(physics, step / np.maximum(1.0, (np.abs(step) / joint_step(seconds)).max(1, keepdims=True)), seconds)


def move_joints(physics: Physics, action: Floats, seconds: float) -> None:
    """Command the servos to turn each joint by the share (B, 7) of what it can in that time."""
    _command(physics, action * joint_step(seconds), seconds)


def command(physics: Physics, action: Floats, control: str, seconds: float, *, frame: Floats | None = None) -> None:
    """Carry out actions in [-1, 1]: (B, 3) displacements of the `tool`, 1 being TOOL_STEP, or (B, 7) speeds of `joints`."""
    if control == "tool":
        move_tool(physics, action * TOOL_STEP, seconds, frame=frame)
    else:
        move_joints(physics, action, seconds)


def action_for(physics: Physics, displacement: Floats, control: str, seconds: float, *, frame: Floats | None = None) -> Floats:
    """The action that `command` makes a displacement (B, 3) m of the tool of, or as much of it in the same direction as one can."""
    wish = displacement / TOOL_STEP
    if control == "joints":
        wish = joints_for(physics, displacement, frame=frame) / joint_step(seconds)
    return np.asarray(wish / np.maximum(1.0, np.abs(wish).max(1, keepdims=True)))


def _command(physics: Physics, step: Floats, seconds: float) -> None:
    """Set the servos' targets so that joints turn at the speed step / seconds, step (B, 7) rad.

    A servo kp (target - q) - kd q' moves at the speed v when its target is kd / kp v ahead, and q goes on by v seconds / 2 on average.
    What it starts from is where the joint is, not where it was told to be: an observation then holds all that the future depends on.
    """
    bias = physics.model.actuator_biasprm[:7]
    lead = 0.5 + bias[:, 2] / bias[:, 1] / seconds
    physics.ctrl[:, :7] = np.clip(physics.qpos[:, physics.joints(*JOINTS)] + step * lead, -LIMITS, LIMITS)
