"""One match as a `gymnasium.Env`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checks import TRAINING_SEED, seed_from
from envs.games.rally.make import rally_config
from envs.games.rally.screen import ScreenConfig
from envs.games.rally.types import RallyConfig
from envs.games.rally.worlds import RallyWorlds, RallyWorldsState

__all__ = ["RallyEnv", "RallyEnvState"]


@dataclass(frozen=True, kw_only=True)
class RallyEnvState:
    """What `RallyEnv.get_state` returns."""

    worlds: RallyWorldsState
    random: dict[str, Any]  # state of the generator that draws the seeds of later episodes


class RallyEnv(gymnasium.Env[NDArray[Any], Any]):
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

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

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
        self.worlds = RallyWorlds(1, self.config, observation=observation, screen=screen)
        self.observation_space, self.action_space = self.worlds.observation_space, self.worlds.action_space
        self.render_mode, self.size = render_mode, size
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.config.dt)}
        self._running = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start episode `seed`, or one drawn at random. Raises as `seed_from` for what is no seed."""
        seed = None if seed is None else seed_from(seed)
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(TRAINING_SEED, 2**31)) if seed is None else seed
        self.worlds.reset(np.array([drawn]))
        self._running = True
        return self.worlds.observe()[0], {"seed": drawn}

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """One decision. Raises ValueError for an action that is none."""
        if not self._running:
            raise gymnasium.error.ResetNeeded("call reset() first")
        step = self.worlds.step(action)
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        info: dict[str, Any] = {"hit": bool(step.hit[0, 0])}
        if terminated or truncated:
            info["metrics"] = {name: float(value[0]) for name, value in self.worlds.metrics().items()}
            info["is_success"] = info["metrics"]["success"] > 0.5
        return self.worlds.observe()[0], float(step.reward[0, 0]), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The court, (size, size, 3); None without a render mode."""
        return self.worlds.picture(0, size=self.size) if self.render_mode else None

    def get_state(self) -> RallyEnvState:
        """A deep copy of all that the future depends on."""
        return RallyEnvState(worlds=self.worlds.get_state(), random=dict(self.np_random.bit_generator.state))

    def set_state(self, saved: RallyEnvState) -> NDArray[Any]:
        """Continue exactly from `saved`. Returns the observation there."""
        self.worlds.set_state(saved.worlds)
        self.np_random.bit_generator.state = saved.random
        self._running = True
        observation: NDArray[Any] = self.worlds.observe()[0]
        return observation
