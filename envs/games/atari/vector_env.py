"""Many Atari games as a `gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from typing import Any

import torch

from envs.games.arcade_vector import ArcadeVectorEnv
from envs.games.atari.types import AtariConfig, ScreenConfig
from envs.games.atari.worlds import AtariWorlds
from envs.games.options import with_options

__all__ = ["AtariVectorEnv"]


class AtariVectorEnv(ArcadeVectorEnv):
    """`num_envs` episodes of one game, a decision in each at every step; everything else as in `AtariEnv`.

    Autoreset is NEXT_STEP: the step after an episode's end ignores the action, returns the first observation of another episode and
    reward 0. At the end `info` holds `metrics` and `is_success`. `reset(seed=s)` starts episode s + k in world k; a list names each.
    Which ones follow depends on (that seed, k, how many the world has had).

    Args:
        num_envs: worlds.
        device: where observations are put, such as "cuda"; the emulator runs on the CPU.
        others: see `AtariEnv`.
    """

    def __init__(
        self,
        num_envs: int = 16,
        config: AtariConfig | None = None,
        *,
        observation: str = "truth",
        screen: ScreenConfig | None = None,
        device: torch.device | str = "cpu",
        render_mode: str | None = None,
        size: int = 420,
        **options: Any,
    ) -> None:
        self.config = with_options(config or AtariConfig(), options, game="atari", render_mode=render_mode)
        worlds = AtariWorlds(num_envs, self.config, observation=observation, screen=screen, device=device)
        super().__init__(worlds, render_mode=render_mode, size=size)
