"""Predictors that know nothing but motion: constant velocity, and constant turn rate and velocity (CTRV).

Shapes: B worlds, T tracks, P past instants, K modes, S steps. All arithmetic is element by element, so that a row's result does not
depend on the batch it is in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perception.prediction.base import MODES, WALKERS, covariances, horizon
from perception.prediction.history import History
from perception.types import MANOEUVRES, Forecasts, Roads, Tracks

__all__ = ["ConstantVelocity", "TurnRate", "single", "spread", "turn_rate"]

# Standard deviations along and across the motion after t s: s0 + s1 t + s2 t^2 (m), for vehicles and for walkers. From
# `training.fit_spread` on 3000 scenes of `envs.driving.futures.stream` (all families, episode seeds 700000 up, half of the scenes noisy).
_WALKER = ((0.094, 0.228, 0.006), (0.112, 0.199, 0.006))
SPREAD = {
    "constant_velocity": {"vehicle": ((0.206, -0.052, 0.250), (0.146, 0.146, 0.183)), "walker": _WALKER},
    "ctrv": {"vehicle": ((0.226, -0.097, 0.265), (0.184, -0.015, 0.282)), "walker": _WALKER},
    "idm_along_lane": {"vehicle": ((0.147, 0.131, 0.081), (0.228, -0.154, 0.039)), "walker": _WALKER},
}
YAW_NOISE = 0.02  # s^2, how much spread of observation times it takes before a turn rate is believed: shrinks it towards 0
TURN_MAX = 1.0  # rad/s
SLOW = 1.0  # m/s, below which nobody is taken to turn


def _polynomial(coefficients: tuple[float, float, float], time: Tensor) -> Tensor:
    return coefficients[0] + coefficients[1] * time + coefficients[2] * time * time


def spread(name: str, tracks: Tracks, along: Tensor) -> Tensor:
    """Covariances (..., S, 2, 2) m^2 from SPREAD. along (..., S, 2): vectors, of any length, along the motion at each step.

    (B, T) must lead the shape of `along`.
    """
    time = horizon(along)
    table = SPREAD[name]
    walks = (tracks.kind == WALKERS).view(*tracks.kind.shape, *(1,) * (along.dim() - 3))  # (B, T, ..., 1)
    sigma = [torch.where(walks, _polynomial(table["walker"][i], time), _polynomial(table["vehicle"][i], time)) for i in (0, 1)]
    length = torch.sqrt(along[..., 0] ** 2 + along[..., 1] ** 2)
    still = length < 1e-6
    c = torch.where(still, 1.0, along[..., 0] / length.clamp(min=1e-6))
    s = torch.where(still, 0.0, along[..., 1] / length.clamp(min=1e-6))
    a, b = sigma[0] * sigma[0], sigma[1] * sigma[1]
    xy = (a - b) * c * s
    return covariances(a * c * c + b * s * s, xy, a * s * s + b * c * c)


def single(name: str, tracks: Tracks, mean: Tensor, along: Tensor) -> Forecasts:
    """Forecasts of one mode, mean (B, T, S, 2), repeated K times: the first has probability 1."""
    batch, rows = tracks.kind.shape
    probability = torch.zeros((batch, rows, MODES), device=mean.device, dtype=mean.dtype)
    probability[..., 0] = 1.0
    covariance = spread(name, tracks, along)
    return Forecasts(
        time=horizon(mean),
        mean=mean.unsqueeze(2).expand(-1, -1, MODES, -1, -1),
        covariance=covariance.unsqueeze(2).expand(-1, -1, MODES, -1, -1, -1),
        probability=probability,
        manoeuvre=torch.full((batch, rows, len(MANOEUVRES)), torch.nan, device=mean.device, dtype=mean.dtype),
        mask=tracks.mask,
    )


class ConstantVelocity:
    """x(t) = x + v t."""

    name = "constant_velocity"

    def predict(self, history: History, tracks: Tracks, roads: Roads) -> Forecasts:
        """See `Predictor.predict`. Neither history nor roads matter."""
        time = horizon(tracks.mean).unsqueeze(-1)
        velocity = tracks.mean[..., 2:].unsqueeze(2)
        mean = tracks.mean[..., :2].unsqueeze(2) + velocity * time
        return single(self.name, tracks, mean, velocity.expand_as(mean))


def turn_rate(history: History) -> Tensor:
    """Least-squares slope of the seen headings over time, (B, T) rad/s, shrunk towards 0 for short pasts.

    slope = sum (t - tm)(yaw - ym) / (sum (t - tm)^2 + YAW_NOISE), headings unwrapped around the newest.
    """
    seen = history.valid
    time = torch.where(seen, (history.stamp - history.stamp[:, -1:]).unsqueeze(1), 0.0)
    yaw = torch.remainder(history.yaw - history.yaw[..., -1:] + math.pi, 2.0 * math.pi) - math.pi
    yaw = torch.where(seen, yaw, 0.0)
    count = _add(seen.to(time.dtype)).clamp(min=1.0).unsqueeze(-1)
    off_t = torch.where(seen, time - _add(time).unsqueeze(-1) / count, 0.0)
    off_y = torch.where(seen, yaw - _add(yaw).unsqueeze(-1) / count, 0.0)
    return (_add(off_t * off_y) / (_add(off_t * off_t) + YAW_NOISE)).clamp(-TURN_MAX, TURN_MAX)


def _add(values: Tensor) -> Tensor:
    """Sum over the last dimension, in a fixed order."""
    total = values[..., 0]
    for i in range(1, values.shape[-1]):
        total = total + values[..., i]
    return total


class TurnRate:
    """Constant turn rate w and speed: the chord of the arc, v t sinc(w t / 2), turned by w t / 2 from the present velocity."""

    name = "ctrv"

    def predict(self, history: History, tracks: Tracks, roads: Roads) -> Forecasts:
        """See `Predictor.predict`. Roads do not matter."""
        vx, vy = tracks.mean[..., 2], tracks.mean[..., 3]
        moves = vx * vx + vy * vy > SLOW * SLOW
        rate = torch.where(moves & (tracks.kind != WALKERS), turn_rate(history), 0.0)
        time = horizon(tracks.mean)
        half = (0.5 * rate.unsqueeze(-1) * time).contiguous()  # (B, T, S)
        cos, sin = torch.cos(half), torch.sin(half)
        small = half.abs() < 1e-3
        chord = torch.where(small, 1.0 - half * half / 6.0, sin / torch.where(small, 1.0, half)) * time
        vx, vy = vx.unsqueeze(-1), vy.unsqueeze(-1)
        step = torch.stack([vx * cos - vy * sin, vx * sin + vy * cos], dim=-1)
        end_cos, end_sin = cos * cos - sin * sin, 2.0 * sin * cos
        along = torch.stack([vx * end_cos - vy * end_sin, vx * end_sin + vy * end_cos], dim=-1)
        return single(self.name, tracks, tracks.mean[..., :2].unsqueeze(2) + step * chord.unsqueeze(-1), along)
