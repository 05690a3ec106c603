"""Atari games for those who train and judge."""

from __future__ import annotations

from envs.games.arcade_game import ArcadeGame
from envs.games.atari.games import find_game
from envs.games.atari.observation import screen_space, truth_space
from envs.games.atari.types import AtariConfig, ScreenConfig
from envs.games.atari.worlds import AtariWorlds

__all__ = ["atari_game"]


def atari_game(game: str) -> ArcadeGame:
    """See `ArcadeGame`. Raises ConfigError for a game that does not exist."""
    found = find_game(game)
    return ArcadeGame(
        config=AtariConfig(game=game),
        features=found.features,
        told=truth_space(found),
        shown=screen_space(ScreenConfig.size),
        screen=ScreenConfig,
        worlds=AtariWorlds,
        seeing=lambda level, screen: {"detector": screen.detector} if level == "perceived" else {},  # `noisy` errs by numbers
    )
