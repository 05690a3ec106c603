"""The built-in opponent: goes where the ball is, later, slower and less exactly the less skill it has.

It does not reckon with walls or with where the ball is going, so steep and fast balls beat it at any skill.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.games.rally.types import RallyConfig, RallyState

__all__ = ["opponent"]

SLOWEST = 0.3  # share of the paddle's speed at skill 0; all of it at 1
LATEST = 12  # decisions until it follows a ball that was served or returned, at skill 0; none at 1
WILDEST = 2.2  # error of its aim at skill 0, in reaches of the paddle, at most; none at 1
HOME = 0.5  # share of its speed at which it goes back to the middle


def opponent(state: RallyState, config: RallyConfig, side: int = 1) -> Tensor:
    """Commands (B,) in [-1, 1] of the player `side`. What it errs by is drawn once a return: `state.luck`."""
    lack = 1.0 - config.skill
    share = 1.0 - lack * (1.0 - SLOWEST)
    comes = (state.velocity[:, 0] * (1.0 if side else -1.0)) > 0.0
    error = state.luck * (WILDEST * lack * config.reach)
    follows = comes & (state.since >= round(LATEST * lack))
    target = torch.where(follows, state.ball[:, 1] + error, 0.0)
    wish = (target - state.paddle[:, side]) / (config.paddle_speed * config.dt)
    fastest = torch.where(follows, share, torch.where(comes, 0.0, HOME * share))
    return torch.maximum(torch.minimum(wish, fastest), -fastest)
