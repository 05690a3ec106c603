"""What a batch of Atari games is made of, and what a game has to say of itself.

Places are in pixels of the emulator's screen, u to the right and v down, (0, 0) its upper left corner; times are in s.
Shapes: B worlds, T frames, K things, F numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.checks import ConfigError

__all__ = ["AHEAD", "FPS", "HEIGHT", "RAM", "WIDTH", "AtariConfig", "AtariState", "Bytes", "Game", "Objects", "ScreenConfig"]

WIDTH, HEIGHT = 160, 210  # px, of the screen
FPS = 60  # frames a second
RAM = 128  # bytes
AHEAD = (0.25, 0.5)  # s, after which moving things are foretold
Bytes = NDArray[np.uint8]


class Objects(NamedTuple):
    """Where things are believed to be."""

    position: Tensor  # (B, K, 2) px, of their middles
    velocity: Tensor  # (B, K, 2) px/s
    there: Tensor  # (B, K) bool


class AtariState(NamedTuple):
    """B games, but for what the emulator keeps."""

    seed: Tensor  # (B,) int64, of the episode
    step: Tensor  # (B,) int64, decisions taken
    button: Tensor  # (B,) int64, action that was held in the last frame
    ram: Tensor  # (B, T, 128) uint8, after the last decision's frames and before its first, oldest first
    won: Tensor  # (B,) float64, points for us in the episode
    lost: Tensor  # (B,) float64, points against us
    lives: Tensor  # (B,) int64, left
    over: Tensor  # (B,) bool, the game has ended


@dataclass(frozen=True, kw_only=True)
class Game:
    """One game: what is on its screen, and where its memory says so."""

    name: str
    buttons: tuple[str, ...]  # actions, as the emulator calls them: those that make a difference
    things: tuple[str, ...]  # K, what is followed
    kinds: tuple[str, ...]  # of each, as detectors call them
    window: tuple[float, float, float, float]  # u0, v0, u1, v1: where things show
    regions: tuple[tuple[float, float, float, float], ...]  # of each thing: where its middle can be; things of a kind are told apart by it
    gone: tuple[int, ...]  # of each thing: looks after which one that is not seen is not there
    memory: tuple[int, ...]  # of each thing: looks over which its way is fitted
    surprise: tuple[float, ...]  # px, of each thing: farther off what was expected it has turned
    features: tuple[str, ...]  # F, what is told
    facts: tuple[str, ...]  # what is told besides things
    success: float  # least return of an episode that counts as one
    scores: tuple[float, float]  # of random play and of a human tester (Mnih et al. 2015; Wang et al. 2016, table 2)
    boxes: Callable[[Bytes], tuple[NDArray[np.float32], NDArray[np.bool_]]]  # memory (..., 128) -> whole boxes (..., K, 4), is it there
    speed: Callable[[Tensor], Tensor]  # places in the last frames (B, T, K, 2) -> px a frame (B, K, 2)
    ahead: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # places, velocities (..., K, 2), s -> the same later
    apart: Callable[[Tensor, Tensor], Tensor]  # the way from the second places to the first (..., K, 2)
    known: Callable[[AtariState], Tensor]  # facts (B, M) from memory
    shown: Callable[[Tensor, Tensor], Tensor]  # facts (B, M) as far as the screen (B, H, W, 3) shows them, the rest as given
    observe: Callable[[Objects, Tensor], Tensor]  # objects and facts -> (B, F), see `features`


@dataclass(frozen=True, kw_only=True)
class AtariConfig:
    """The rules' numbers. Raises ConfigError for what cannot be played."""

    game: str = "pong"
    sticky: float = 0.25  # chance, each frame, that the action of the frame before is held (Machado et al. 2018)
    noops: int = 30  # frames at most, 1 at least, drawn by the seed, before an episode begins (Mnih et al. 2015)
    skip: int = 4  # frames a decision
    duration: int = 27_000  # decisions until an episode is truncated: half an hour

    def __post_init__(self) -> None:
        from envs.games.atari.games import find_game

        find_game(self.game)
        if isinstance(self.sticky, bool) or not isinstance(self.sticky, int | float) or not 0.0 <= self.sticky < 1.0:
            raise ConfigError(f"sticky={self.sticky!r}: must be 0 or more, and less than 1")
        for name, low, high in (("noops", 1, 1000), ("skip", 1, 60), ("duration", 1, 1_000_000)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"{name}={value!r}: must be a whole number from {low} to {high}")

    @property
    def dt(self) -> float:
        """s, a decision."""
        return self.skip / FPS


@dataclass(frozen=True, kw_only=True)
class ScreenConfig:
    """What is made of the screen. Raises ConfigError for what cannot be looked at."""

    size: int = 84  # px, of each side of the pictures of `pixels`
    detector: str = "detector_atari"  # of `perceived`: a name that ships or a file; "oracle": the truth as a detector would tell it
    noise: float = 0.5  # of `noisy`: px, standard deviation of where things are seen
    miss: float = 0.05  # of `noisy`: share of looks at which a thing is not seen
    latency: int = 0  # decisions by which what is `noisy` or `perceived` comes late

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 210:
            raise ConfigError(f"size={self.size}: must be 32 to 210 px")
        if not 0.0 <= self.noise <= 10.0 or not 0.0 <= self.miss <= 1.0:
            raise ConfigError(f"noise={self.noise}, miss={self.miss}: must be 0 to 10 px and 0 to 1")
        if not 0 <= self.latency <= 50:
            raise ConfigError(f"latency={self.latency}: must be 0 to 50 decisions")


def middles(box: Tensor) -> Tensor:
    """(..., 4) boxes -> (..., 2)."""
    return 0.5 * (box[..., :2] + box[..., 2:])


def stacked(parts: list[Tensor]) -> Tensor:
    """(B,) or (B, n) each -> (B, F) float32."""
    return torch.cat([part.float().reshape(len(part), -1) for part in parts], -1)
