"""Pong. We are the paddle on the right; 21 points win.

Bytes (found by following the screen's things through the memory over random play): 49 the ball's u + 49, 54 its v + 14, or 0 where there
is none; 51 our paddle's v + 14, drawn from even lines on; 50 the other's v + 15; 13 and 14 the other's points and ours.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.games.atari.moving import HALF, apart, later, latest_speed, mirror, scaled
from envs.games.atari.types import AHEAD, AtariState, Bytes, Game, Objects, stacked

__all__ = ["BOTTOM", "PONG", "TOP", "arrival"]

TOP, BOTTOM = 34.0, 194.0  # px, the lines of the court's walls
TURNS = (33.0, 194.0)  # px, where the middle of a ball turns (measured: 32.5 to 33.5, 193.5 to 194.5): it goes some way into the walls
FEATURES = (
    *("own_y", "own_vy", "other_y", "other_vy", "ball", "ball_x", "ball_y", "ball_vx", "ball_vy"),
    *(f"ball_{axis}_in_{seconds}" for seconds in AHEAD for axis in "xy"),
    *("due", "due_y"),
    *("pressed", "lead"),
)
POINTS = 21.0  # that win
PLANE = 140.0  # px, where the middle of a ball is that touches our paddle
LATEST = 1.5  # s: when a ball is due that does not come
PRESSED = (0.0, 0.0, 1.0, -1.0, 1.0, -1.0)  # by button: up, down
JUMPS = (8.0, 14.0, 8.0)  # px a frame: our paddle is moved every other frame, by up to 12


def _boxes(ram: Bytes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Ball (2 x 4 px), our paddle and the other (4 x 16)."""
    ball_u, ball_v, own, other = (ram[..., byte].astype(np.float32) for byte in (49, 54, 51, 50))
    there = np.stack((ram[..., 54] > 0, ram[..., 51] > 0, ram[..., 51] > 0), -1)
    u0 = np.stack((ball_u - 49.0, np.full_like(own, 140.0), np.full_like(own, 16.0)), -1)
    v0 = np.stack((ball_v - 14.0, 2.0 * np.floor(0.5 * (own + 1.0)) - 14.0, other - 15.0), -1)
    size = np.array([[2.0, 4.0], [4.0, 16.0], [4.0, 16.0]], dtype=np.float32)
    first = np.stack((u0, v0), -1)
    return np.concatenate((first, first + size), -1), there


def _ahead(place: Tensor, velocity: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """The ball off the walls; behind a paddle, and paddles at a wall, stay."""
    free = place + velocity * dt
    v, dv = mirror(free[..., 0, 1], velocity[..., 0, 1].contiguous(), *TURNS)
    ball = torch.stack((free[..., 0, 0].clamp(0.0, 160.0), v), -1)
    paddles = torch.stack((place[..., 1:, 0], free[..., 1:, 1].clamp(TOP - 8.0, BOTTOM + 8.0)), -1)
    turned = torch.stack((velocity[..., 0, 0], dv), -1)
    return torch.cat((ball[..., None, :], paddles), -2), torch.cat((turned[..., None, :], velocity[..., 1:, :]), -2)


def arrival(objects: Objects) -> tuple[Tensor, Tensor, Tensor]:
    """Whether the ball comes to our paddle's plane (B,) bool, in how many s, and at which v; LATEST and the middle if it does not."""
    ball, speed = objects.position[:, 0], objects.velocity[:, 0]
    comes = objects.there[:, 0] & (speed[:, 0] > 0.0)
    time = ((PLANE - ball[:, 0]) / torch.where(comes, speed[:, 0], 1.0)).clamp(min=0.0)
    v, _ = mirror(ball[:, 1] + speed[:, 1] * time, speed[:, 1].contiguous(), *TURNS)
    return comes, torch.where(comes, time, LATEST), torch.where(comes, v, 0.5 * (TOP + BOTTOM))


def _known(state: AtariState) -> Tensor:
    """What was pressed last, which moves the paddle for some frames more, and by how many points we lead; one who plays knows."""
    pressed = torch.tensor(PRESSED, device=state.button.device)[state.button]
    return torch.stack((pressed, ((state.won - state.lost) / POINTS).float()), -1)


def _observe(objects: Objects, facts: Tensor) -> Tensor:
    position, velocity, there = objects
    now = scaled(position, velocity, there)
    then = scaled(*_ahead(*later(position, velocity)), there)
    ball_then = torch.stack((then.x[..., 0], then.y[..., 0]), -1).transpose(0, 1)  # (B, S, 2)
    _, due, due_v = arrival(objects)
    due_y = 1.0 - due_v / HALF[1]
    ball, own, other = range(3)
    return stacked(
        [
            *(now.y[:, own], now.vy[:, own], now.y[:, other], now.vy[:, other]),
            *(there[:, ball], now.x[:, ball], now.y[:, ball], now.vx[:, ball], now.vy[:, ball]),
            ball_then,
            *(due.clamp(max=LATEST), due_y),
            facts,
        ]
    )


PONG = Game(
    name="pong",
    buttons=("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"),
    things=("ball", "own", "other"),
    kinds=("ball", "paddle", "paddle"),
    window=(0.0, TOP, 160.0, BOTTOM),
    regions=((0.0, TOP, 160.0, BOTTOM), (80.0, TOP, 160.0, BOTTOM), (0.0, TOP, 80.0, BOTTOM)),
    gone=(3, 30, 30),
    memory=(6, 1, 1),
    surprise=(3.0, float("inf"), float("inf")),
    features=FEATURES,
    facts=("pressed", "lead"),
    success=1.0,  # ahead at the end
    scores=(-20.7, 14.6),
    boxes=_boxes,
    speed=lambda place: latest_speed(place, JUMPS),
    ahead=_ahead,
    apart=apart,
    known=_known,
    shown=lambda facts, screen: facts,
    observe=_observe,
)
