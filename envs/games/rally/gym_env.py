"""One match as a `gymnasium.Env`."""

from __future__ import annotations

from typing import Any

from envs.games.arcade_gym import ArcadeEnv
from envs.games.rally.make import rally_config
from envs.games.rally.screen import ScreenConfig
from envs.games.rally.types import RallyConfig
from envs.games.rally.worlds import RallyWorlds

__all__ = ["RallyEnv"]


class RallyEnv(ArcadeEnv):
    """A match of two paddles and a ball against the built-in opponent. You are on the left.

    ### Observation
    Box (12,) float32, in half courts and s: y and vy of the own paddle and of the other; place and velocity of the ball; its place in
    0.25 s and in 0.5 s if nobody returns it. With `observation="pixels"` Box (4, 84, 84) uint8: the last four pictures in grey.

    ### Action
    Discrete: 0 down, 1 stay, 2 up. With `action="continuous"` Box (1,): the share of the paddle's speed, up being positive.

    ### Reward
    1 for a point won, -1 for one lost. An episode's return is the difference of the points.

    ### Start and end
    The ball rests in the middle for half a second. Terminated when somebody has 11 points; truncated after 2400 decisions (120 s).
    `info` holds `hit`, whether you returned the ball; at the end `metrics` (success: ahead, return, won, lost, share, hits, seconds) and
    `is_success`. `reset(seed=s)` starts episode s, always the same; without a seed one is drawn.

    Args:
        config: the rules' numbers; further options replace its fields: points, duration, skill, action, ...
        observation: one of `envs.games.rally.worlds.LEVELS`.
        screen: size and looks of the pictures.
        render_mode: None or "rgb_array".
        size: of the picture for people, px.

    Raises ValueError, with a suggestion, for names and values that do not exist.

    ### Versions
    v0: first.
    """

    def __init__(
        self,
        config: RallyConfig | None = None,
        *,
        observation: str = "truth",
        screen: ScreenConfig | None = None,
        render_mode: str | None = None,
        size: int = 336,
        **options: Any,
    ) -> None:
        self.config = rally_config(config, render_mode=render_mode, **options)
        super().__init__(RallyWorlds(1, self.config, observation=observation, screen=screen), render_mode=render_mode, size=size)

    def told(self, step: Any) -> dict[str, Any]:
        """Whether we have returned the ball."""
        return {"hit": bool(step.hit[0, 0])}
