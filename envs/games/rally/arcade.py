"""Rally for those who train and judge."""

from __future__ import annotations

from envs.games.arcade_game import ArcadeGame
from envs.games.rally.noise import card_of
from envs.games.rally.observation import FEATURES, screen_space, truth_space
from envs.games.rally.screen import ScreenConfig
from envs.games.rally.types import RallyConfig
from envs.games.rally.worlds import RallyWorlds

__all__ = ["rally_game"]


def rally_game() -> ArcadeGame:
    """See `ArcadeGame`."""
    return ArcadeGame(
        config=RallyConfig(),
        features=FEATURES,
        told=truth_space(),
        shown=screen_space(ScreenConfig.size),
        screen=ScreenConfig,
        worlds=RallyWorlds,
        seeing=_seeing,
    )


def _seeing(level: str, screen: ScreenConfig) -> dict[str, str]:
    return {"perceived": {"detector": screen.detector}, "noisy": {"noise": card_of(screen.noise)}}.get(level, {})
