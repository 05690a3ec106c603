"""Linear-quadratic regulation about a state of rest, with the linear model that MuJoCo derives by finite differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_are

from envs.robots.engine import mujoco

__all__ = ["gain", "linear_model"]

Floats = NDArray[np.float64]


def linear_model(model: mujoco.MjModel, substeps: int) -> tuple[Floats, Floats]:
    """A (2 nv, 2 nv) and B (2 nv, nu) of x' = A x + B u over `substeps` time steps, about the model's first state; x = (qpos, qvel)."""
    data, size = mujoco.MjData(model), 2 * model.nv
    one, push = np.zeros((size, size)), np.zeros((size, model.nu))
    mujoco.mj_forward(model, data)
    mujoco.mjd_transitionFD(model, data, 1e-6, True, one, push, None, None)
    a, b = np.eye(size), np.zeros((size, model.nu))
    for _ in range(substeps):
        a, b = one @ a, one @ b + push
    return a, b


def gain(a: Floats, b: Floats, state_cost: Floats, action_cost: Floats) -> Floats:
    """K (nu, 2 nv) of the policy u = -K x that minimises the sum of x' Q x + u' R u (discrete algebraic Riccati equation).

    Raises numpy.linalg.LinAlgError where no policy can hold the state.
    """
    p = solve_discrete_are(a, b, state_cost, action_cost)
    return np.asarray(np.linalg.solve(action_cost + b.T @ p @ b, b.T @ p @ a))
