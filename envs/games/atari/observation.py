"""What is told of a game: by its memory alone, or by what is believed of things.

Shapes: B worlds, T frames, K things, F numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from envs.games.atari.moving import PLACE, SPEED
from envs.games.atari.types import FPS, AtariState, Game, Objects, middles

__all__ = ["STACK", "boxes_of", "locate", "screen_space", "truth_space"]

STACK = 4  # frames in the pictures of the level `pixels`


def boxes_of(game: Game, ram: Tensor) -> tuple[Tensor, Tensor]:
    """Memory (..., 128) -> (..., K, 4) boxes px as far as they show, and (..., K) bool, whether they do."""
    box, there = (torch.from_numpy(part) for part in game.boxes(ram.cpu().numpy()))
    low, high = torch.tensor(game.window[:2] * 2), torch.tensor(game.window[2:] * 2)
    cut = torch.minimum(torch.maximum(box, low), high)
    return cut.to(ram.device), (there & (cut[..., 2] > cut[..., 0]) & (cut[..., 3] > cut[..., 1])).to(ram.device)


def locate(game: Game, state: AtariState) -> Objects:
    """Where things truly are: of whole boxes, those in the last frame; how they move by all frames of the last decision."""
    box, there = (torch.from_numpy(part) for part in game.boxes(state.ram.cpu().numpy()))  # (B, T, K, 4), (B, T, K)
    place = middles(box)
    speed = game.speed(place) * FPS
    here = there[:, -1]
    return Objects(*(part.to(state.ram.device) for part in (place[:, -1], torch.where(here[..., None], speed, 0.0), here)))


def truth_space(game: Game) -> spaces.Box:
    """At every level but `pixels`."""
    high = np.array([SPEED if "_v" in name else PLACE for name in game.features], dtype=np.float32)
    return spaces.Box(-high, high, dtype=np.float32)


def screen_space(size: int) -> spaces.Box:
    """At the level `pixels`: the last `STACK` grey pictures, the newest last."""
    return spaces.Box(0, 255, (STACK, size, size), dtype=np.uint8)
