"""One arcade game as a `gymnasium.Env`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checks import TRAINING_SEED, seed_from
from envs.games.arcade_worlds import ArcadeWorlds

__all__ = ["ArcadeEnv", "ArcadeEnvState"]


@dataclass(frozen=True, kw_only=True)
class ArcadeEnvState:
    """What `ArcadeEnv.get_state` returns."""

    worlds: Any  # their state
    random: dict[str, Any]  # state of the generator that draws the seeds of later episodes


class ArcadeEnv(gymnasium.Env[NDArray[Any], Any]):
    """The shell that all games share. worlds: a batch of one. size: of the picture for people, px."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, worlds: ArcadeWorlds, *, render_mode: str | None, size: int) -> None:
        self.worlds, self.render_mode, self.size = worlds, render_mode, size
        self.observation_space, self.action_space = worlds.observation_space, worlds.action_space
        self.metadata = {**self.metadata, "render_fps": round(1.0 / worlds.dt)}
        self._running = False

    def told(self, step: Any) -> dict[str, Any]:
        """What `info` says of every decision."""
        return {}

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
        info = self.told(step)
        if terminated or truncated:
            info["metrics"] = {name: float(value[0]) for name, value in self.worlds.metrics().items()}
            info["is_success"] = info["metrics"]["success"] > 0.5
        return self.worlds.observe()[0], float(step.reward[0, 0]), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The screen; None without a render mode."""
        return self.worlds.pictures(size=self.size)[0] if self.render_mode else None

    def get_state(self) -> ArcadeEnvState:
        """A deep copy of all that the future depends on."""
        return ArcadeEnvState(worlds=self.worlds.get_state(), random=dict(self.np_random.bit_generator.state))

    def set_state(self, saved: ArcadeEnvState) -> NDArray[Any]:
        """Continue exactly from `saved`. Returns the observation there."""
        self.worlds.set_state(saved.worlds)
        self.np_random.bit_generator.state = saved.random
        self._running = True
        observation: NDArray[Any] = self.worlds.observe()[0]
        return observation
