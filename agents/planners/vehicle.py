"""The ego's own motion: the bicycle model of the simulator driven along a path, and a trajectory turned into an action.

Shapes: B worlds, R paths, N candidates, S steps. Ego frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.planners.base import DT, Ego, Plan, Trajectory
from envs.driving.control import LOOK_MIN, LOOK_TIME, STEER_RATE
from envs.driving.dynamics import steer_for_curvature

__all__ = ["FORESIGHT", "action_of", "curvature_of", "pursue", "steer_towards", "to_action"]

FORESIGHT = round(LOOK_TIME / DT)  # steps that steering looks ahead


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


def action_of(planner: object, plan: Plan, ego: Ego) -> Tensor:
    """The plan tracked as its planner asks for: braking foreseen over its `foresight` steps, 1 where it says nothing."""
    return to_action(plan.trajectory, ego, int(getattr(planner, "foresight", 1)))


def to_action(trajectory: Trajectory, ego: Ego, foresight: int = 1) -> Tensor:
    """The trajectory (B, S) tracked for one step of DT: acceleration and steering as shares of the vehicle's limits, (B, 1, 2) in [-1, 1].

    Acceleration is the plan's own; planning anew from where the ego is corrects what is left. Steering is pure pursuit of the first place
    of the trajectory that is `look_ahead` away, or of its end carried on straight: a stopping or starting car looks beyond its stop.

    foresight: the ego brakes at least as hard as the plan does on the average over so many steps. A motion of least jerk begins with the
    acceleration that there is and brakes later; made anew every DT it would always brake later, while steering, which looks FORESIGHT
    steps ahead, moves over on time.
    """
    accel = trajectory.accel[:, 0]
    if foresight > 1:
        accel = torch.minimum(accel, (trajectory.speed[:, foresight - 1] - ego.speed) / (foresight * DT))
    push = torch.where(accel >= 0.0, accel / ego.accel_max, accel / ego.brake_max)
    look = look_ahead(ego.speed.clamp(min=0.0)).unsqueeze(1)  # (B, 1)
    away = torch.sqrt(trajectory.x * trajectory.x + trajectory.y * trajectory.y)  # (B, S)
    steps = away.shape[1]
    order = torch.arange(steps, device=away.device)
    first = torch.where(away >= look, order, steps - 1).amin(1, keepdim=True)  # (B, 1)
    x, y, c, s, far = (value.gather(1, first) for value in (trajectory.x, trajectory.y, trajectory.cos, trajectory.sin, away))
    more = (look - far).clamp(min=0.0)
    one = torch.ones_like(ego.speed)
    bend = pursue((x + more * c).squeeze(1), (y + more * s).squeeze(1), one, torch.zeros_like(one), ego.wheelbase)
    steer = steer_for_curvature(bend, ego.wheelbase) / ego.steer_max
    return torch.stack([push, steer], dim=-1).clamp(-1.0, 1.0).unsqueeze(1)
