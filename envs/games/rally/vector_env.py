"""Many matches as a `gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from typing import Any

import torch

from envs.games.arcade_vector import ArcadeVectorEnv
from envs.games.rally.make import rally_config
from envs.games.rally.screen import ScreenConfig
from envs.games.rally.types import RallyConfig
from envs.games.rally.worlds import RallyWorlds

__all__ = ["RallyVectorEnv"]


class RallyVectorEnv(ArcadeVectorEnv):
    """`num_envs` matches against the built-in opponent, advanced together; everything else as in `RallyEnv`.

    Autoreset is NEXT_STEP: the step after an episode's end ignores the action, returns the first observation of another episode and
    reward 0. At the end `info` holds `metrics` and `is_success`. `reset(seed=s)` starts episode s + k in world k; a list names each.
    Which ones follow depends on (that seed, k, how many the world has had).

    Args:
        num_envs: worlds.
        device: where they live, such as "cuda".
        others: see `RallyEnv`.
    """

    def __init__(
        self,
        num_envs: int = 64,
        config: RallyConfig | None = None,
        *,
        observation: str = "truth",
        screen: ScreenConfig | None = None,
        device: torch.device | str = "cpu",
        render_mode: str | None = None,
        size: int = 336,
        **options: Any,
    ) -> None:
        self.config = rally_config(config, render_mode=render_mode, **options)
        worlds = RallyWorlds(num_envs, self.config, observation=observation, screen=screen, device=device)
        super().__init__(worlds, render_mode=render_mode, size=size)
