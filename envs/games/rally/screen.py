"""The level `pixels`: the last four grey pictures of every world, as is usual for games of this kind (Mnih et al., Nature 518, 2015).

Shapes: B worlds, P players, S = 4 pictures, H = W px.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from envs.checks import ConfigError, unknown
from envs.games.rally.looks import Looks, greyed, plain, random_looks
from envs.games.rally.observation import STACK
from envs.games.rally.raster import canvas, draw
from envs.games.rally.types import RallyConfig, RallyState

__all__ = ["LOOKS", "Screen", "ScreenConfig", "looks_of"]

LOOKS = ("random", "plain")


@dataclass(frozen=True, kw_only=True)
class ScreenConfig:
    """Pictures, and what is made of them. Raises ConfigError for what cannot be drawn."""

    size: int = 84  # px, of each side; what is perceived is of the next multiple of 16, the detector's: 96
    looks: str = "random"  # colours and ornaments drawn for each episode; or "plain": white on black, always
    detector: str = "games"  # of `perceived`: a name that ships or a file; "oracle": the truth as a detector would tell it
    noise: str = "games"  # of `noisy`: an error model, likewise
    latency: int = 0  # decisions by which what is `noisy` or `perceived` comes late

    def __post_init__(self) -> None:
        if self.looks not in LOOKS:
            raise ConfigError(unknown("looks", self.looks, LOOKS))
        if not 32 <= self.size <= 1024:
            raise ConfigError(f"size={self.size}: must be 32 to 1024 px")
        if not 0 <= self.latency <= 50:
            raise ConfigError(f"latency={self.latency}: must be 0 to 50 decisions")


class Stack(NamedTuple):
    """All that a screen remembers."""

    frames: Tensor  # (B, S, H, W) uint8 grey, the newest last


class Screen:
    """Grey pictures of B worlds: `start` where an episode begins, `look` after every decision."""

    def __init__(self, batch: int, config: RallyConfig, screen: ScreenConfig, device: torch.device | str) -> None:
        self.config, self.screen = config, screen
        self.belief = Stack(torch.zeros((batch, STACK, screen.size, screen.size), dtype=torch.uint8, device=device))
        self.looks: Looks = greyed(plain(batch, device))
        self.ground = canvas(self.looks, screen.size)  # (B, 1, H, W)

    def prepare(self, state: RallyState, rows: Tensor) -> None:
        """Draw what stays the same in the episodes of worlds `rows` (n,)."""
        looks = greyed(looks_of(state.seed[rows], self.screen))
        self.looks = Looks(*(whole.index_copy(0, rows, part) for whole, part in zip(self.looks, looks, strict=True)))
        self.ground = self.ground.index_copy(0, rows, canvas(looks, self.screen.size))

    def start(self, state: RallyState, rows: Tensor) -> None:
        """Episodes begin in worlds `rows` (n,): all pictures are the first."""
        self.prepare(state, rows)
        first = self._picture(state)[rows]  # (n, 1, H, W)
        self.belief = Stack(self.belief.frames.index_copy(0, rows, first.expand(-1, STACK, -1, -1)))

    def look(self, state: RallyState) -> None:
        """One picture more."""
        self.belief = Stack(torch.cat((self.belief.frames[:, 1:], self._picture(state)), 1))

    def resume(self, state: RallyState, saved: Stack) -> None:
        """Go on from a state and what was remembered there."""
        self.prepare(state, torch.arange(len(state.seed), device=state.seed.device))
        self.belief = Stack(saved.frames.clone())

    def observe(self, player: int) -> Tensor:
        """(B, S, H, W) uint8, with the player's own paddle on the left."""
        return self.belief.frames if player == 0 else self.belief.frames.flip(-1)

    def _picture(self, state: RallyState) -> Tensor:
        return draw(state, self.looks, self.ground, self.config)


def looks_of(seed: Tensor, screen: ScreenConfig) -> Looks:
    """Of episodes (B,)."""
    return plain(len(seed), seed.device) if screen.looks == "plain" else random_looks(seed)
