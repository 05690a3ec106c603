"""What a player is told: where things are and how they move, from its own side of the court, and where the ball will be shortly.

Observations depend on `Objects` alone, so that the same policy acts on the truth and on what is made of the screen.

Shapes: B worlds, K = 3 things, F numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from envs.games.rally.motion import fold
from envs.games.rally.types import FRONT, LIMIT, THICKNESS, RallyState

__all__ = ["AHEAD", "FEATURES", "PADDLE_X", "STACK", "THINGS", "Objects", "locate", "observe", "screen_space", "seen_from", "truth_space"]

THINGS = ("ball", "left", "right")
AHEAD = (0.25, 0.5)  # s, after which the ball is foretold
STACK = 4  # frames in the pictures of the level `pixels`
PLACE, SPEED = 1.5, 12.0  # bounds of what is told, well beyond what occurs
PADDLE_X = FRONT + 0.5 * THICKNESS
FEATURES = (
    *("own_y", "own_vy", "other_y", "other_vy", "ball_x", "ball_y", "ball_vx", "ball_vy"),
    *(f"ball_{axis}_in_{seconds}" for seconds in AHEAD for axis in "xy"),
)


class Objects(NamedTuple):
    """Where things are believed to be: the ball, the left and the right paddle."""

    position: Tensor  # (B, K, 2)
    velocity: Tensor  # (B, K, 2) 1/s


def locate(state: RallyState) -> Objects:
    """Where they truly are."""
    side = torch.tensor([-PADDLE_X, PADDLE_X], device=state.ball.device).expand_as(state.paddle)
    paddles = torch.stack((side, state.paddle), -1)
    motion = torch.stack((torch.zeros_like(state.motion), state.motion), -1)
    return Objects(torch.cat((state.ball[:, None], paddles), 1), torch.cat((state.velocity[:, None], motion), 1))


def seen_from(objects: Objects, player: int) -> Objects:
    """With the player's own paddle on the left, whichever side it is on."""
    if player == 0:
        return objects
    flip = torch.tensor([-1.0, 1.0], device=objects.position.device)
    order = torch.tensor([0, 2, 1], device=objects.position.device)
    return Objects(*(part[:, order] * flip for part in objects))


def observe(objects: Objects, player: int = 0) -> Tensor:
    """(B, F) float32: `FEATURES`."""
    (ball, own, other), (speed, own_speed, other_speed) = (part.unbind(1) for part in seen_from(objects, player))
    later = [ball_ahead(ball, speed, seconds) for seconds in AHEAD]
    places = torch.cat((own[:, 1:], other[:, 1:], ball, *later), -1).clamp(-PLACE, PLACE)
    moves = torch.cat((own_speed[:, 1:], other_speed[:, 1:], speed), -1).clamp(-SPEED, SPEED)
    return torch.cat((places[:, :1], moves[:, :1], places[:, 1:2], moves[:, 1:2], places[:, 2:4], moves[:, 2:], places[:, 4:]), -1)


def ball_ahead(ball: Tensor, velocity: Tensor, seconds: float) -> Tensor:
    """(B, 2) where a ball will be if nobody returns it; at the end of the court it stays."""
    vy = velocity[:, 1].contiguous()
    x = (ball[:, 0] + velocity[:, 0] * seconds).clamp(-LIMIT, LIMIT)
    return torch.stack((x, fold(ball[:, 1] + vy * seconds, vy)[0]), -1)


def truth_space() -> spaces.Box:
    """Of one player at every level but `pixels`."""
    high = np.array([SPEED if "_v" in name else PLACE for name in FEATURES], dtype=np.float32)
    return spaces.Box(-high, high, dtype=np.float32)


def screen_space(size: int) -> spaces.Box:
    """Of one player at the level `pixels`: the last `STACK` grey pictures, the newest last."""
    return spaces.Box(0, 255, (STACK, size, size), dtype=np.uint8)
