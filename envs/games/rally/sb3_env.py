"""Many matches as a `VecEnv` of Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import torch

from envs.checks import TRAINING_SEED
from envs.games.arcade_sb3 import ArcadeVecEnv
from envs.games.rally.make import rally_config
from envs.games.rally.screen import ScreenConfig
from envs.games.rally.types import RallyConfig
from envs.games.rally.worlds import RallyWorlds

__all__ = ["RallyVecEnv"]


class RallyVecEnv(ArcadeVecEnv):
    """`num_envs` matches against the built-in opponent, advanced together; spaces, rewards and ends as in `RallyEnv`.

    A world that ends starts its next episode in the same step; its info then holds `terminal_observation`, `TimeLimit.truncated`,
    `episode` (return r, length l), `is_success`, `seed`, and every metric by its name. Other infos are empty. At `reset` world k starts
    episode seed + k; which ones follow depends on (seed + k, k, how many it has had).

    Args:
        num_envs: worlds.
        seed: of the first episode.
        others: see `RallyVectorEnv`.
    """

    def __init__(
        self,
        config: RallyConfig | None = None,
        *,
        num_envs: int = 64,
        seed: int = TRAINING_SEED,
        observation: str = "truth",
        screen: ScreenConfig | None = None,
        device: torch.device | str = "cpu",
        render_mode: str | None = None,
        size: int = 336,
        **options: Any,
    ) -> None:
        self.config = rally_config(config, render_mode=render_mode, **options)
        worlds = RallyWorlds(num_envs, self.config, observation=observation, screen=screen, device=device)
        super().__init__(worlds, seed=seed, render_mode=render_mode, size=size)
