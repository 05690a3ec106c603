"""What the filter for screens (`envs.games.screen_tracker`) has to know of Rally.

The ball flies straight and off walls as mirrors do; when somebody returns or serves it, it is suddenly elsewhere than expected.

Shapes: B worlds, K = 3 things (ball, left paddle, right paddle), D detections. Frame: the court's, in half courts and s.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.games.rally.motion import fold
from envs.games.rally.types import TOP
from envs.games.screen_tracker import ScreenTracker, Things

__all__ = ["CourtTracker"]


def _ahead(place: Tensor, velocity: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Places and velocities dt (B, 1, 1) s later: the ball off walls."""
    free = place + velocity * dt
    y, vy = fold(free[:, :1, 1], velocity[:, :1, 1].contiguous(), TOP)
    ball, speed = torch.stack((free[:, :1, 0], y), -1), torch.stack((velocity[:, :1, 0], vy), -1)
    return torch.cat((ball, free[:, 1:]), 1), torch.cat((speed, velocity[:, 1:]), 1)


def _fits(kind: Tensor, at: Tensor) -> Tensor:
    """By kind, and paddles by their side."""
    left = at[..., 0] < 0.0
    return torch.stack((kind == 0, (kind == 1) & left, (kind == 1) & ~left), 1)


COURT = Things(
    kinds=(0, 1, 1),
    memory=(8, 2, 2),  # paddles may turn at any look
    surprise=(0.05, torch.inf, torch.inf),  # half courts
    fastest=6.0,  # 1/s
    near=0.3,  # for each half court
    lost=20,
    ahead=_ahead,
    fits=_fits,
)


class CourtTracker(ScreenTracker):
    """Follows one ball and two paddles."""

    name = "court"

    def __init__(self) -> None:
        super().__init__(COURT)
