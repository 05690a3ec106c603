"""Breakout. A paddle keeps a ball in play that takes bricks out of a wall; FIRE serves it. Five balls.

Bytes (found as in `pong`, and the bricks by clearing bits and looking which brick goes): 72 the paddle's u + 47; 55 what it looks like, a
bit of which is 4 px; 99 the ball's u + 49; 101 its v - 9, or 0 where there is none; 0 to 35 the bricks, two bits for each.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.games.atari.moving import apart, bounce, later, latest_speed, mirror, scaled
from envs.games.atari.types import AHEAD, AtariState, Bytes, Game, Objects, stacked

__all__ = ["BREAKOUT", "BRICK", "COLUMNS", "ROWS", "WALL", "brick_bits", "bricks", "bricks_shown"]

LEFT, TOP, RIGHT, BOTTOM = 8.0, 32.0, 152.0, 196.0  # px, the walls, and where balls are lost
PADDLE = 189.0  # px, its upper edge
ROWS, COLUMNS = 6, 18
WALL, BRICK = (8, 57), (8, 6)  # px, where the bricks begin; width and height of one
FIRST = (30, 24, 24, 24, 24, 18, 18, 18, 18, 12, 12, 6, 6, 6, 6, 0, 0, 0)  # byte of the lowest brick of each column
BIT = (6, 6, 4, 2, 0, 0, 2, 4, 6, 4, 6, 6, 4, 2, 0, 0, 2, 4)  # one of the two bits, in all rows
FEATURES = (
    *("own_x", "own_vx", "ball", "ball_x", "ball_y", "ball_vx", "ball_vy"),
    *(f"ball_{axis}_in_{seconds}" for seconds in AHEAD for axis in "xy"),
    "lives",
    *(f"row_{row}" for row in range(ROWS)),
    *(f"column_{column}" for column in range(COLUMNS)),
)


def brick_bits() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(ROWS, COLUMNS) byte and bit of each brick, the highest row first."""
    below = np.arange(ROWS)[::-1, None]
    return np.array(FIRST)[None] + below, np.broadcast_to(np.array(BIT), (ROWS, COLUMNS))


BYTES, BITS = brick_bits()


def bricks(ram: Bytes) -> NDArray[np.bool_]:
    """(..., 128) -> (..., ROWS, COLUMNS), which are still there."""
    found: NDArray[np.bool_] = (ram[..., BYTES] >> BITS.astype(np.uint8) & 1).astype(np.bool_)
    return found


def bricks_shown(screen: Tensor) -> Tensor:
    """(B, H, W, 3) -> (B, ROWS, COLUMNS) bool, which can be seen: where the middle is not black. A ball in front of a gap counts too."""
    v = WALL[1] + BRICK[1] * torch.arange(ROWS, device=screen.device) + BRICK[1] // 2
    u = WALL[0] + BRICK[0] * torch.arange(COLUMNS, device=screen.device) + BRICK[0] // 2
    return screen[:, v[:, None], u[None]].amax(-1) > 0


def _boxes(ram: Bytes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Ball (2 x 4 px), paddle (16 x 4, or 12 x 4 once a ball has been at the top)."""
    ball_u, ball_v, own = (ram[..., byte].astype(np.float32) for byte in (99, 101, 72))
    wide = 4.0 * np.unpackbits(ram[..., 55, None], axis=-1).sum(-1)
    there = np.stack((ram[..., 101] > 0, ram[..., 72] > 0), -1)
    first = np.stack((np.stack((ball_u - 49.0, own - 47.0), -1), np.stack((ball_v + 9.0, np.full_like(own, PADDLE)), -1)), -1)
    size = np.stack((np.stack((np.full_like(own, 2.0), wide), -1), np.full((*own.shape, 2), 4.0)), -1)
    return np.concatenate((first, first + size), -1).astype(np.float32), there


def _ahead(place: Tensor, velocity: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """The ball off the walls, as if there were no bricks; where the paddle is, it and the paddle stay."""
    free = place + velocity * dt
    u, du = mirror(free[..., 0, 0], velocity[..., 0, 0].contiguous(), LEFT + 1.0, RIGHT - 1.0)
    v, dv = bounce(free[..., 0, 1], velocity[..., 0, 1], TOP + 2.0)
    ball, turned = torch.stack((u, v.clamp(max=BOTTOM)), -1), torch.stack((du, dv), -1)
    own = torch.stack((free[..., 1, 0].clamp(LEFT, RIGHT), place[..., 1, 1]), -1)
    return torch.stack((ball, own), -2), torch.stack((turned, velocity[..., 1, :]), -2)


def _counts(there: Tensor) -> Tensor:
    """(B, ROWS, COLUMNS) -> (B, ROWS + COLUMNS): shares of each row and each column that are still there."""
    return torch.cat((there.float().mean(2), there.float().mean(1)), -1)


def _known(state: AtariState) -> Tensor:
    there = torch.from_numpy(bricks(state.ram[:, -1].cpu().numpy())).to(state.ram.device)
    return torch.cat(((state.lives / 5.0).float()[:, None], _counts(there)), -1)


def _shown(facts: Tensor, screen: Tensor) -> Tensor:
    """The balls left are told; the bricks are looked at."""
    return torch.cat((facts[:, :1], _counts(bricks_shown(screen))), -1)


def _observe(objects: Objects, facts: Tensor) -> Tensor:
    position, velocity, there = objects
    now = scaled(position, velocity, there)
    then = scaled(*_ahead(*later(position, velocity)), there)
    ball_then = torch.stack((then.x[..., 0], then.y[..., 0]), -1).transpose(0, 1)  # (B, S, 2)
    seen = [there[:, 0], now.x[:, 0], now.y[:, 0], now.vx[:, 0], now.vy[:, 0]]
    return stacked([now.x[:, 1], now.vx[:, 1], *seen, ball_then, facts])


BREAKOUT = Game(
    name="breakout",
    buttons=("NOOP", "FIRE", "RIGHT", "LEFT"),
    things=("ball", "own"),
    kinds=("ball", "paddle"),
    window=(LEFT, TOP, RIGHT, BOTTOM),
    regions=((LEFT, TOP, RIGHT, BOTTOM), (LEFT, PADDLE - 4.0, RIGHT, BOTTOM)),
    gone=(3, 30),
    memory=(6, 1),
    surprise=(3.0, float("inf")),
    features=FEATURES,
    facts=("lives", *FEATURES[-ROWS - COLUMNS :]),
    success=30.5,  # as the human tester
    scores=(1.7, 30.5),
    boxes=_boxes,
    speed=latest_speed,
    ahead=_ahead,
    apart=apart,
    known=_known,
    shown=_shown,
    observe=_observe,
)
