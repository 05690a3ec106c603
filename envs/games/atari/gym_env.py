"""One Atari game as a `gymnasium.Env`."""

from __future__ import annotations

from typing import Any

from envs.games.arcade_gym import ArcadeEnv
from envs.games.atari.types import AtariConfig, ScreenConfig
from envs.games.atari.worlds import AtariWorlds
from envs.games.options import with_options

__all__ = ["AtariEnv"]


class AtariEnv(ArcadeEnv):
    """Pong, Breakout or Freeway, as ale-py emulates them: `pip install 'closedloop[atari]'`.

    ### Observation
    Box (F,) float32, in half screens and s: places, speeds, and where what moves will be in 0.25 s and in 0.5 s, then what else the game
    tells; `worlds.game.features` names each. With `observation="pixels"` Box (4, 84, 84) uint8: the last four pictures in grey.

    ### Action
    Discrete: the buttons that make a difference, `worlds.game.buttons`. In Breakout FIRE serves the ball.

    ### Reward
    Points. Pong: 1 for one won, -1 for one lost. Breakout: 1, 4 or 7 a brick. Freeway: 1 a crossing.

    ### Start and end
    The console is switched on, and 1 to 30 frames pass. Terminated when the game is over: somebody has 21 points, five balls are lost, or
    2 min 16 s are up; truncated after 27000 decisions of four frames. `info` at the end holds `metrics` (success, return, won, lost,
    normalised, lives, seconds) and `is_success`. `reset(seed=s)` starts episode s, always the same; without a seed one is drawn.

    Args:
        config: the rules' numbers; further options replace its fields: game, sticky, noops, skip, duration.
        observation: one of `envs.games.arcade_worlds.LEVELS`.
        screen: what is made of the screen.
        render_mode: None or "rgb_array".
        size: height of the picture for people, px.

    Raises ValueError, with a suggestion, for names and values that do not exist; ModuleNotFoundError without ale-py.

    ### Versions
    v0: first.
    """

    def __init__(
        self,
        config: AtariConfig | None = None,
        *,
        observation: str = "truth",
        screen: ScreenConfig | None = None,
        render_mode: str | None = None,
        size: int = 420,
        **options: Any,
    ) -> None:
        self.config = with_options(config or AtariConfig(), options, game="atari", render_mode=render_mode)
        super().__init__(AtariWorlds(1, self.config, observation=observation, screen=screen), render_mode=render_mode, size=size)
