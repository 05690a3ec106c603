"""Atari worlds after some play, for tests. Import it only where `ale_py` is installed."""

from __future__ import annotations

import numpy as np

from envs.games.atari import AtariConfig, AtariWorlds


def played(game: str, decisions: int, *, batch: int = 1, seed: int = 0, **options: object) -> AtariWorlds:
    """Worlds after random play; Breakout serves now and then."""
    worlds = AtariWorlds(batch, AtariConfig(game=game), **options)
    worlds.reset(seed + np.arange(batch))
    random = np.random.default_rng(seed)
    for _ in range(decisions):
        worlds.step(random.integers(len(worlds.game.buttons), size=batch))
    return worlds
