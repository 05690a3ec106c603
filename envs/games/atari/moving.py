"""How things on the screen move: off walls, around the screen, and how fast by their last places. All in px; u right, v down.

Shapes: B worlds, T frames, K things; (...) stands for any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from envs.games.atari.types import AHEAD
from envs.games.rally.motion import fold

__all__ = ["JUMP", "Scaled", "apart", "bounce", "later", "latest_speed", "mirror", "scaled"]

JUMP = 8.0  # px a frame: hardly anything is faster
HALF = (80.0, 105.0)  # px, half the screen
PLACE, SPEED = 1.5, 8.0  # bounds of what is told, well beyond what occurs


class Scaled(NamedTuple):
    """In half screens: x to the right and y up from the middle, 1/s; 0 for things that are not there."""

    x: Tensor  # (..., K)
    y: Tensor
    vx: Tensor
    vy: Tensor


def mirror(place: Tensor, speed: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Places and speeds (...) between two walls, of things that would be at `place` if there were none."""
    middle = 0.5 * (low + high)
    found, after = fold(place - middle, speed, 0.5 * (high - low))
    return found + middle, after


def bounce(place: Tensor, speed: Tensor, wall: float) -> tuple[Tensor, Tensor]:
    """Places and speeds (...) beyond one wall, of things that would be at `place` if there were none."""
    behind = place < wall
    return torch.where(behind, 2.0 * wall - place, place), torch.where(behind, -speed, speed)


def apart(first: Tensor, second: Tensor) -> Tensor:
    """The way from `second` to `first` where nothing goes around the screen."""
    return first - second


def latest_speed(place: Tensor, jump: Sequence[float] = (JUMP,)) -> Tensor:
    """(B, T, K, 2) places, oldest first -> (B, K, 2) px a frame: the mean over the last frames in which a thing has not turned.

    jump (K,) px, or one for all: farther off in one frame a thing was put there.
    """
    most = torch.tensor(jump, device=place.device)[:, None]
    step = place.diff(dim=1).flip(1)  # (B, T - 1, K, 2), the latest first
    sign = step.sign()
    way = sign.gather(1, (sign != 0).to(torch.uint8).argmax(1, keepdim=True))  # the latest that is one
    same = ((step.abs() <= most) & (sign * way >= 0)).cumprod(1)
    return torch.where(same > 0, step, 0.0).sum(1) / same.sum(1).clamp(min=1)


def later(position: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, K, 2) places and velocities for each of the moments that are foretold, S, as `Game.ahead` takes them: (S, B, K, 2) each, s."""
    seconds = torch.tensor(AHEAD, device=position.device)[:, None, None, None]
    return position.expand(len(AHEAD), -1, -1, -1), velocity.expand(len(AHEAD), -1, -1, -1), seconds


def scaled(position: Tensor, velocity: Tensor, there: Tensor) -> Scaled:
    """(..., K, 2) px and px/s, (..., K) -> what is told of them."""
    half = torch.tensor(HALF, device=position.device)
    flip = torch.tensor([1.0, -1.0], device=position.device)
    place = torch.where(there[..., None], (position / half - 1.0) * flip, 0.0).clamp(-PLACE, PLACE)
    speed = torch.where(there[..., None], velocity / half * flip, 0.0).clamp(-SPEED, SPEED)
    return Scaled(*place.unbind(-1), *speed.unbind(-1))
