"""The ego's own motion: the bicycle model of the simulator driven along a path, and a trajectory turned into an action.

Shapes: B worlds, R paths, N candidates, S steps. Ego frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.planners.base import DT, STEPS, Trajectory
from envs.driving.control import LOOK_MIN, LOOK_TIME, STEER_RATE, TRAJECTORY_DT, TRAJECTORY_POINTS
from envs.driving.dynamics import steer_for_curvature

__all__ = ["curvature_of", "pursue", "steer_towards", "to_action"]


def pursue(dx: Tensor, dy: Tensor, cos: Tensor, sin: Tensor, wheelbase: Tensor) -> Tensor:
    """Curvature 1/m of the circle through a target (dx, dy) m away, tangent to the course: pure pursuit (Coulter 1992), as the simulator's.

    cos, sin: of the heading. The course differs from it by the slip angle; see `envs.driving.control`.
    """
    ahead, left = dx * cos + dy * sin, dy * cos - dx * sin
    return 2.0 * left / (ahead * ahead + left * left + wheelbase * ahead.clamp(min=0.0)).clamp(min=1.0)


def look_ahead(speed: Tensor) -> Tensor:
    """m, how far ahead pure pursuit aims."""
    return (LOOK_TIME * speed).clamp(min=LOOK_MIN)


def steer_towards(wanted: Tensor, before: Tensor, wheelbase: Tensor, steer_max: Tensor) -> Tensor:
    """Steering angle (rad) for a curvature, as far as wheels can turn within DT."""
    steer = steer_for_curvature(wanted, wheelbase)
    steer = torch.minimum(torch.maximum(steer, before - STEER_RATE * DT), before + STEER_RATE * DT)
    return torch.minimum(torch.maximum(steer, -steer_max), steer_max)


def curvature_of(steer: Tensor, wheelbase: Tensor) -> Tensor:
    """1/m, turn of the heading per metre of the rear axle."""
    return torch.tan(steer) / wheelbase


def to_action(trajectory: Trajectory, speed: Tensor) -> Tensor:
    """The trajectory (B, S) as an action (B, 1, TRAJECTORY_POINTS, 3) of x, y and speed, linear between steps. speed (B,): now.

    The simulator's controller tracks it: pure pursuit of the place half a second ahead, and the planned acceleration with a correction.
    """
    start = torch.stack([torch.zeros_like(speed), torch.zeros_like(speed), speed], dim=-1).unsqueeze(1)  # (B, 1, 3)
    points = torch.cat([start, torch.stack([trajectory.x, trajectory.y, trajectory.speed], dim=-1)], dim=1)  # (B, S + 1, 3)
    when = [min((i + 1) * TRAJECTORY_DT / DT, STEPS - 1e-6) for i in range(TRAJECTORY_POINTS)]
    low = [int(w + 1e-9) for w in when]
    share = points.new_tensor([max(0.0, w - k) for w, k in zip(when, low, strict=True)]).view(1, -1, 1)
    index = torch.tensor(low, device=points.device)
    before, after = points[:, index], points[:, index + 1]
    return (before + share * (after - before)).unsqueeze(1)
