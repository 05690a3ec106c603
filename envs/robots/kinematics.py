"""Inverse kinematics of the arm by damped least squares within joint limits.

Wampler, "Manipulator inverse kinematic solutions based on vector formulations and damped least-squares methods", 1986; the null-space
term is Liegeois', 1977. Shapes: B worlds, 7 joints, m task dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.robots.arm import HOME, JOINTS, LIMITS
from envs.robots.engine import mujoco
from envs.robots.physics import Floats, Physics

__all__ = ["DOWN", "damped_step", "inverse", "orientation_error", "tool_jacobian"]

DAMPING = 0.02  # m (or rad) of task a rad: below it, singular directions are given up
CENTRING = 0.05  # part of the way back to HOME, a step, where the task leaves it free
PASSES = 4  # joints at their limit are taken out and the rest solved again, this often
MARGIN = 0.01  # rad, kept from the limits
DOWN: Floats = np.diag([-1.0, 1.0, -1.0])  # the tool's frame at HOME: it points down, its fingers open along y


def damped_step(jacobian: Floats, error: Floats, joints: Floats, *, damping: float = DAMPING, centring: float = CENTRING) -> Floats:
    """(B, 7) rad: the change dq of joints (B, 7) that comes nearest to `error` (B, m), by the Jacobian (B, m, 7), within the limits.

    dq = J' (J J' + damping^2 I)^-1 (error - J z) + z with z = centring (HOME - q), the pull towards HOME.
    """
    size = error.shape[1]
    free = np.ones(joints.shape)
    low, high = -LIMITS + MARGIN - joints, LIMITS - MARGIN - joints
    wish = np.clip(centring * (HOME - joints), low, high)
    fixed = np.zeros(joints.shape)
    step = fixed
    for _ in range(PASSES):
        part = jacobian * free[:, None, :]
        pull = wish * free + fixed
        gram = part @ part.transpose(0, 2, 1) + damping**2 * np.eye(size)
        left = error - (jacobian * pull[:, None, :]).sum(-1)
        step = pull + (part * np.linalg.solve(gram, left[:, :, None])).sum(1)
        outside = (step < low) | (step > high)
        if not outside.any():
            break
        fixed = np.where(outside, np.clip(step, low, high), fixed)
        free = np.where(outside, 0.0, free)
    return np.asarray(np.clip(step, np.minimum(low, 0.0), np.maximum(high, 0.0)))


def orientation_error(frame: Floats, wanted: Floats) -> Floats:
    """(B, 3) rad, for small angles: the rotation that takes `frame` (B, 3, 3) to `wanted` (B or 1, 3, 3), axes as columns."""
    return np.asarray(0.5 * np.cross(frame, np.broadcast_to(wanted, frame.shape), axis=1).sum(-1))


def tool_jacobian(physics: Physics) -> tuple[Floats, Floats]:
    """(B, 3, 7) of the tool's position and (B, 3, 7) of its orientation, by the arm's joints."""
    position, rotation = physics.jacobian("tool")
    columns = physics.speeds(*JOINTS)
    return position[:, :, columns], rotation[:, :, columns]


def inverse(
    model: mujoco.MjModel, targets: Floats, *, wanted: Floats | None = DOWN, start: Floats = HOME, rounds: int = 100, threads: int = 1
) -> tuple[Floats, NDArray[np.float64]]:
    """Joints (B, 7) rad that bring the tool to `targets` (B, 3) m with the frame `wanted` (None: any), and how far off (B,) m they are.

    The arm starts at `start`, (7,) or (B, 7). What cannot be reached comes back as near as the search came; look at the second result.
    """
    physics = Physics(model, batch=len(targets), threads=threads)
    columns = physics.joints(*JOINTS)
    physics.qpos[:, columns] = start
    for turn in range(rounds):
        physics.forward()
        error, jacobian, now = targets - physics.site("tool"), tool_jacobian(physics), physics.qpos[:, columns]
        task, rows = np.clip(error, -0.1, 0.1), jacobian[0]  # m: the Jacobian is only good nearby
        if wanted is not None:
            turned = np.clip(orientation_error(physics.frame("tool"), wanted), -0.3, 0.3)
            task, rows = np.concatenate([task, turned], axis=1), np.concatenate(jacobian, axis=1)
        if turn < rounds // 2:  # first near HOME, then exact
            step = damped_step(rows, task, now)
        else:
            step = damped_step(rows, task, now, damping=DAMPING / 10.0, centring=0.0)
        physics.qpos[:, columns] = now + np.clip(step, -0.3, 0.3)
    physics.forward()
    return physics.qpos[:, columns].copy(), np.sqrt(((targets - physics.site("tool")) ** 2).sum(-1))
