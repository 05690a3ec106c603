"""Kinematic bicycle model, exact for one tick, and its inverse.

Reference point: the centre of the box, with the wheelbase centred in the box. `speed` is the velocity component along `yaw`, which
is the same for every point of the vehicle's long axis (a rigid body) and equals the speed of the rear axle. With steering angle
delta, wheelbase L and slip angle beta at the centre (Polack et al., "The kinematic bicycle model: a consistent model for planning
feasible trajectories for autonomous vehicles?", IV 2017, with l_r = L / 2):

    beta = atan(tan(delta) / 2)
    yaw' = speed tan(delta) / L
    x'   = speed cos(yaw + beta) / cos(beta)
    y'   = speed sin(yaw + beta) / cos(beta)

With delta and the acceleration held over a tick, the rear axle runs along a circular arc of length `ds`, so the tick has a closed
form (no integration error at any dt).

Shapes: every tensor broadcasts with every other; usually (B, A). SI units, world frame, angles counter-clockwise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Controls", "Motion", "bicycle", "inverse", "lateral_accel", "limit_accel", "slip", "steer_for_curvature", "wrap", "yaw_rate"]

ARC_MIN = 1e-4  # m; over shorter arcs the steering angle cannot be told from rounding


class Motion(NamedTuple):
    """Where a tick ends."""

    x: Tensor  # (...) m
    y: Tensor  # (...) m
    yaw: Tensor  # (...) rad, in (-pi, pi]
    speed: Tensor  # (...) m/s
    accel: Tensor  # (...) m/s^2 really applied: what was asked for, less what the speed limits of the vehicle took away


class Controls(NamedTuple):
    """What the driver did during a tick."""

    accel: Tensor  # (...) m/s^2
    steer: Tensor  # (...) rad


def wrap(angle: Tensor) -> Tensor:
    """The same angle in (-pi, pi] (to rounding), rad."""
    return angle - 2.0 * math.pi * torch.ceil((angle - math.pi) / (2.0 * math.pi))


def slip(steer: Tensor) -> Tensor:
    """Angle from the heading to the velocity of the box's centre, rad: atan(tan(steer) / 2)."""
    return torch.atan(0.5 * torch.tan(steer))


def yaw_rate(speed: Tensor, steer: Tensor, wheelbase: Tensor) -> Tensor:
    """rad/s: speed tan(steer) / wheelbase."""
    return speed * torch.tan(steer) / wheelbase


def lateral_accel(speed: Tensor, steer: Tensor, wheelbase: Tensor) -> Tensor:
    """m/s^2, left positive, at the rear axle: speed * yaw rate. (At the centre it is L / 2 times the yaw acceleration more.)"""
    return speed * yaw_rate(speed, steer, wheelbase)


def steer_for_curvature(curvature: Tensor, wheelbase: Tensor) -> Tensor:
    """Steering angle (rad) with which the box's centre follows `curvature` (1/m, left positive).

    Inverts curvature = sin(beta) / (L / 2). Curvatures tighter than the vehicle can ever turn give the limit +-pi/2.
    """
    sine = torch.clamp(0.5 * wheelbase * curvature, -1.0, 1.0)
    return torch.atan(2.0 * sine / torch.sqrt((1.0 - sine * sine).clamp(min=1e-9)))  # not atan2: it rounds differently in a batch's tail


def limit_accel(speed: Tensor, accel: Tensor, dt: float, *, speed_max: Tensor | float, reverse_max: Tensor | float) -> Tensor:
    """Acceleration (m/s^2) really applied over a tick.

    Braking ends at rest: the sign of the speed never flips within a tick (from rest the next tick may reverse, up to `reverse_max`,
    positive). Beyond `speed_max` there is no drive; a vehicle that is already faster is not slowed down by this.
    """
    zero = torch.zeros_like(speed)
    lower = torch.where(speed > 0.0, zero, torch.minimum(speed, zero - reverse_max))
    upper = torch.where(speed < 0.0, zero, torch.maximum(speed, zero + speed_max))
    wanted = speed + accel * dt
    reached = torch.clamp(wanted, lower, upper)
    return torch.where(reached == wanted, accel, (reached - speed) / dt)


def bicycle(
    x: Tensor,
    y: Tensor,
    yaw: Tensor,
    speed: Tensor,
    accel: Tensor,
    steer: Tensor,
    wheelbase: Tensor,
    dt: float,
    *,
    speed_max: Tensor | float = math.inf,
    reverse_max: Tensor | float = 0.0,
) -> Motion:
    """One tick of `dt` s with `accel` (see `limit_accel`) and `steer` held; |steer| < pi/2. Equations above, solved exactly.

    A vehicle that comes to rest brakes evenly over the whole tick, so its last tick is up to brake * dt^2 / 8 longer (1 cm).
    """
    accel = limit_accel(speed, accel, dt, speed_max=speed_max, reverse_max=reverse_max)
    ds = (speed + 0.5 * accel * dt) * dt  # m, arc of the rear axle
    half = 0.5 * ds * torch.tan(steer) / wheelbase  # rad, half the change of heading
    middle = yaw + half
    cos, sin = torch.cos(middle), torch.sin(middle)
    chord = ds * _sinc(half)  # m, of the rear axle, in direction `middle`
    swing = wheelbase * torch.sin(half)  # m, by which the centre moves sideways more than the rear axle: L/2 (e(yaw1) - e(yaw0))
    return Motion(
        x=x + chord * cos - swing * sin,
        y=y + chord * sin + swing * cos,
        yaw=wrap(middle + half),
        speed=_snap(speed + accel * dt),
        accel=accel,
    )


def inverse(
    x0: Tensor,
    y0: Tensor,
    yaw0: Tensor,
    speed0: Tensor,
    x1: Tensor,
    y1: Tensor,
    yaw1: Tensor,
    speed1: Tensor,
    wheelbase: Tensor,
    dt: float,
) -> Controls:
    """Acceleration and steering that lead from one pose and speed to the next in `dt` s.

    Exact for poses made by `bicycle`. For recorded poses: the acceleration matches the speeds, the steering matches the change of
    heading over the distance moved along the mean heading. Below an arc of 0.1 mm the steering is 0.
    """
    half = 0.5 * wrap(yaw1 - yaw0)
    middle = yaw0 + half
    chord = (x1 - x0) * torch.cos(middle) + (y1 - y0) * torch.sin(middle)
    ds = chord / _sinc(half)
    moved = torch.abs(ds) > ARC_MIN
    tangent = 2.0 * half * wheelbase / torch.where(moved, ds, torch.ones_like(ds))
    return Controls(accel=(speed1 - speed0) / dt, steer=torch.where(moved, torch.atan(tangent), torch.zeros_like(ds)))


def _sinc(angle: Tensor) -> Tensor:
    """sin(angle) / angle, by its series near 0."""
    small = torch.abs(angle) < 1e-2  # the next term, angle^4 / 120, is below float32 rounding
    safe = torch.where(small, torch.ones_like(angle), angle)
    return torch.where(small, 1.0 - angle * angle / 6.0, torch.sin(safe) / safe)


def _snap(speed: Tensor) -> Tensor:
    """Rest is exactly 0: rounding must not leave a crawl of 1e-7 m/s (nor flip its sign)."""
    return torch.where(torch.abs(speed) < 1e-5, torch.zeros_like(speed), speed)
