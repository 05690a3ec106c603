"""How things move, in closed form: nothing is found by small steps, so a ball of any speed is where it should be.

All functions are elementwise and know no branches. Shapes broadcast; (...) stands for any.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.games.rally.types import FACE, TOP, RallyConfig

__all__ = ["Flight", "arrival", "direction", "fly", "fold", "paddle_at", "speeds"]


class Flight(NamedTuple):
    """One decision of a ball."""

    ball: Tensor  # (B, 2) afterwards
    velocity: Tensor  # (B, 2)
    hit: Tensor  # (B, 2) bool, by whom it was returned


def fold(y: Tensor, vy: Tensor, top: float = TOP) -> tuple[Tensor, Tensor]:
    """Where a ball is between walls at -top and top, and how it moves, that would be at y (...) moving at vy (...) if there were none.

    The path is unfolded: walls reflect as mirrors do, so y repeats itself after 4 top, the second half of it backwards.
    """
    phase = torch.remainder(y + top, 4.0 * top)  # in [0, 4 top)
    back = phase > 2.0 * top
    return top - (phase - 2.0 * top).abs(), torch.where(back, -vy, vy)


def paddle_at(paddle: Tensor, command: Tensor, time: Tensor | float, room: float) -> Tensor:
    """Where paddles (...) are after `time` s of moving at `command` (...) 1/s; a wall stops them."""
    return (paddle + command * time).clamp(-room, room)


def speeds(config: RallyConfig) -> list[float]:
    """Of a ball after 0, 1, 2, ... returns, 1/s; after more it is as fast as after the last."""
    found: list[float] = []
    speed = config.speed
    while speed < config.speed_max and len(found) < 1000:
        found.append(speed)
        speed = speed * config.gain if config.gain > 1.0 else config.speed_max
    return [*found, config.speed_max] if config.gain > 1.0 else [config.speed]


def direction(slope: Tensor) -> tuple[Tensor, Tensor]:
    """Of a ball that flies to the right at vy / vx = slope (...): the parts of a unit vector."""
    along = 1.0 / torch.sqrt(1.0 + slope * slope)
    return along, slope * along


def fly(ball: Tensor, velocity: Tensor, paddle: Tensor, command: Tensor, returns: Tensor, config: RallyConfig) -> Flight:
    """One decision of balls (B, 2) at `velocity` (B, 2), with paddles (B, 2) that move at `command` (B, 2) 1/s meanwhile.

    The ball's way to the plane of the paddle that it flies to is swept: when it gets there, and where ball and paddle are then, are
    known exactly, so it cannot slip through. In one decision a ball meets one paddle at most: the court is longer than its way.
    """
    dt = config.dt
    side = velocity[:, 0] > 0.0
    sign = torch.where(side, 1.0, -1.0)
    vx, vy = velocity[:, 0].abs(), velocity[:, 1].contiguous()
    along, y = ball[:, 0] * sign, ball[:, 1].contiguous()  # along: towards the paddle ahead
    end = along + vx * dt
    meets = (along <= FACE) & (end > FACE)
    time = torch.where(meets, (FACE - along) / torch.where(meets, vx, 1.0), 0.0).clamp(0.0, dt)
    ahead, drive = (torch.where(side, both[:, 1], both[:, 0]) for both in (paddle, command))
    there = paddle_at(ahead, drive, time, config.room)
    y_there, _ = fold(y + vy * time, vy)
    off = (y_there - there) / config.reach
    hit = meets & (off.abs() <= 1.0)
    moved = (paddle_at(ahead, drive, dt, config.room) - ahead) / (dt * config.paddle_speed)
    slope = (config.slope * off + config.spin * moved).clamp(-config.slope, config.slope)
    table = torch.tensor(speeds(config), dtype=ball.dtype, device=ball.device)
    speed = table[(returns + 1).clamp(max=len(table) - 1)]
    ex, ey = direction(slope)
    vx_new, vy_new = torch.where(hit, speed * ex, vx), torch.where(hit, speed * ey, vy)
    rest = dt - time
    end = torch.where(hit, FACE - vx_new * rest, end)
    y_end, vy_end = fold(torch.where(hit, y_there + vy_new * rest, y + vy * dt), vy_new)
    away = torch.where(hit, -sign, sign)
    return Flight(
        ball=torch.stack((end * sign, y_end), -1),
        velocity=torch.stack((vx_new * away, vy_end), -1),
        hit=torch.stack((hit & ~side, hit & side), -1),
    )


def arrival(ball: Tensor, velocity: Tensor, sign: float) -> tuple[Tensor, Tensor]:
    """When (...) and at which y (...) a ball (..., 2) gets to the paddle on the side `sign` (1 right, -1 left).

    inf s and where it is now if it flies the other way, rests, or is past it.
    """
    left, speed = FACE - ball[..., 0] * sign, velocity[..., 0] * sign
    comes = (left >= 0.0) & (speed > 1e-6)
    time = torch.where(comes, left / torch.where(comes, speed, 1.0), torch.inf)
    vy = velocity[..., 1].contiguous()
    y, _ = fold(ball[..., 1] + vy * torch.where(comes, time, 0.0), vy)
    return time, torch.where(comes, y, ball[..., 1])
