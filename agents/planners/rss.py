"""Distances of responsibility-sensitive safety (Shalev-Shwartz, Shammah & Shashua, "On a formal model of safe and scalable self-driving
cars", arXiv 1708.06374, 2017), and the worst motions that they come from.

Who keeps these distances, and answers when they are lost by braking, is never to blame for a collision as long as the others stay within
what is assumed of them (`Limits`). All functions are elementwise; arguments broadcast. SI units.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LIMITS", "Limits", "lateral", "opposite", "same_direction", "travelled"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is assumed of others at the worst. Raises ValueError on nonsense."""

    response: float = 0.3  # s before somebody who has to give room begins to; the traffic model takes one tick
    notice: float = 1.5  # s before he begins to where the ego only sets out into his lane: it has to come into his way first
    accel: float = 1.0  # m/s^2, by which he may speed up until then
    brake_least: float = 6.0  # m/s^2, by which he then brakes at least: firm braking, three quarters of what dry asphalt gives
    brake_most: float = 8.0  # m/s^2, by which somebody ahead brakes at most: dry asphalt, 0.8 g
    side_accel: float = 0.2  # m/s^2 sideways until the response: drifting within a lane (the paper's example values, as those below)
    side_brake: float = 0.8  # m/s^2 sideways after it
    side_slack: float = 0.1  # m, fluctuation sideways that means nothing

    def __post_init__(self) -> None:
        for name in ("response", "notice", "accel", "side_accel", "side_slack"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)}: must be finite and not negative")
        if not 0.0 < self.brake_least <= self.brake_most < float("inf"):
            raise ValueError(
                f"brake_least={self.brake_least}, brake_most={self.brake_most}: must be positive, the first at most the second"
            )
        if not self.side_brake > 0.0:
            raise ValueError(f"side_brake={self.side_brake}: must be positive")


LIMITS = Limits()


def travelled(when: Tensor, speed: Tensor, *, response: Tensor | float, accel: Tensor | float, brake: Tensor | float) -> Tensor:
    """Metres covered after `when` s from `speed` >= 0: speeding up by `accel` for `response` s, then braking by `brake` to rest.

    v t + a t^2 / 2 until the response, then u t' - b t'^2 / 2 with u = v + a response, until t' = u / b.
    """
    first = torch.minimum(when, torch.zeros_like(when) + response)
    reached = speed + accel * response
    then = torch.minimum((when - response).clamp(min=0.0), reached / brake)
    return speed * first + 0.5 * accel * first * first + reached * then - 0.5 * brake * then * then


def same_direction(
    rear: Tensor, front: Tensor, *, response: Tensor | float, accel: Tensor | float, brake: Tensor | float, brake_front: Tensor | float
) -> Tensor:
    """Least safe gap (m, bumper to bumper) behind somebody who brakes by `brake_front`; speeds rear, front >= 0 m/s.

    [v_r rho + a rho^2 / 2 + (v_r + rho a)^2 / (2 b) - v_f^2 / (2 b_f)]+ (the paper's definition 1). Exact for `brake` <= `brake_front`;
    who brakes harder than the one ahead may come closer before the end than at the end.
    """
    reached = rear + response * accel
    stops = rear * response + 0.5 * accel * response * response + reached * reached / (2.0 * brake)
    return (stops - front * front / (2.0 * brake_front)).clamp(min=0.0)


def opposite(
    one: Tensor, other: Tensor, *, response: Tensor | float, accel: Tensor | float, brake: Tensor | float, brake_other: Tensor | float
) -> Tensor:
    """Least safe gap (m) between two that drive towards each other at speeds >= 0: both stop within it (the paper's definition 2).

    (v + u) / 2 rho + u^2 / (2 b) for each, with u = v + rho a. `brake` is that of the first, who is in his own lane and so may brake less
    than the other one.
    """
    total = torch.zeros_like(one + other)
    for speed, slows in ((one, brake), (other, brake_other)):
        reached = speed + response * accel
        total = total + 0.5 * (speed + reached) * response + reached * reached / (2.0 * slows)
    return total


def lateral(left: Tensor, right: Tensor, *, response: Tensor | float, accel: Tensor | float, brake: Tensor | float, slack: float) -> Tensor:
    """Least safe gap sideways (m) between two side by side; left, right: their speeds sideways in m/s, to the right positive.

    Each drifts towards the other by `accel` for the response and then stops drifting by `brake`:
    slack + [(v_l + u_l) / 2 rho + u_l |u_l| / (2 b) - (v_r + u_r) / 2 rho - u_r |u_r| / (2 b)]+, u_l = v_l + rho a, u_r = v_r - rho a
    (the paper's definition 6; the signs say what it leaves to the reader: who moves away stops moving away).
    """
    to, back = left + response * accel, right - response * accel
    near = 0.5 * (left + to) * response + to * to.abs() / (2.0 * brake)
    away = 0.5 * (right + back) * response + back * back.abs() / (2.0 * brake)
    return slack + (near - away).clamp(min=0.0)
