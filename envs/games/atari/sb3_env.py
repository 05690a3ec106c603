"""Many Atari games as a `VecEnv` of Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import torch

from envs.checks import TRAINING_SEED
from envs.games.arcade_sb3 import ArcadeVecEnv
from envs.games.atari.types import AtariConfig, ScreenConfig
from envs.games.atari.worlds import AtariWorlds
from envs.games.options import with_options

__all__ = ["AtariVecEnv"]


class AtariVecEnv(ArcadeVecEnv):
    """`num_envs` episodes of one game, a decision in each at every step; spaces, rewards and ends as in `AtariEnv`.

    A world that ends starts its next episode in the same step; its info then holds `terminal_observation`, `TimeLimit.truncated`,
    `episode` (return r, length l), `is_success`, `seed`, and every metric by its name. Other infos are empty. At `reset` world k starts
    episode seed + k; which ones follow depends on (seed + k, k, how many it has had).

    Args:
        num_envs: worlds.
        seed: of the first episode.
        others: see `AtariVectorEnv`.
    """

    def __init__(
        self,
        config: AtariConfig | None = None,
        *,
        num_envs: int = 16,
        seed: int = TRAINING_SEED,
        observation: str = "truth",
        screen: ScreenConfig | None = None,
        device: torch.device | str = "cpu",
        render_mode: str | None = None,
        size: int = 420,
        **options: Any,
    ) -> None:
        self.config = with_options(config or AtariConfig(), options, game="atari", render_mode=render_mode)
        worlds = AtariWorlds(num_envs, self.config, observation=observation, screen=screen, device=device)
        super().__init__(worlds, seed=seed, render_mode=render_mode, size=size)
