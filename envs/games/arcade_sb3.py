"""Many arcade games as a `VecEnv` of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from envs.batched_vec_env import BatchedVecEnv
from envs.checks import seed_from
from envs.games.arcade_worlds import ArcadeWorlds

__all__ = ["ArcadeVecEnv"]


class ArcadeVecEnv(BatchedVecEnv):
    """The shell that all games share. worlds: the batch. seed: of the first episode. size: of the pictures for people, px."""

    def __init__(self, worlds: ArcadeWorlds, *, seed: int, render_mode: str | None = None, size: int = 336) -> None:
        self.worlds, self.render_mode, self.size, self._key = worlds, render_mode, size, seed_from(seed)
        self._actions: Any = None
        super().__init__(worlds.batch, worlds.observation_space, worlds.action_space)
        pace: dict[str, Any] = {"render_fps": round(1.0 / worlds.dt)}  # what VecVideoRecorder asks for
        self.metadata |= pace

    def _begin(self, seed: int) -> Any:
        """Start episode seed + k in world k."""
        self.worlds.reset(seed + np.arange(self.num_envs, dtype=np.int64))
        return self.worlds.observe()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`. Raises ValueError for what is none."""
        self.worlds.command(actions)
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One decision in every world."""
        step = self.worlds.step(self._actions)
        truncated = step.truncated.cpu().numpy()
        done = step.terminated.cpu().numpy() | truncated
        observation = self.worlds.observe()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            self._endings(infos, done, truncated, observation)
            self.worlds.reset_where(done)
            observation = self.worlds.observe()
        return observation, step.reward[:, 0].cpu().numpy(), done, infos

    def _endings(self, infos: list[dict[str, Any]], done: NDArray[np.bool_], truncated: NDArray[np.bool_], last: NDArray[Any]) -> None:
        """Fill in the infos of the worlds that are done."""
        metrics, steps, seeds = self.worlds.metrics(), self.worlds.steps, self.worlds.seeds
        for world in np.flatnonzero(done).tolist():
            found = {name: float(value[world]) for name, value in metrics.items()}
            infos[world] = {
                **found,
                "is_success": found["success"] > 0.5,
                "seed": int(seeds[world]),
                "episode": {"r": found["return"], "l": int(steps[world]), "t": 0.0},
                "TimeLimit.truncated": bool(truncated[world]),
                "terminal_observation": last[world].copy(),
            }

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A picture of each world, or None without a render mode."""
        return [*self.worlds.pictures(size=self.size)] if self.render_mode else [None] * self.num_envs

    def get_state(self) -> Any:
        """A deep copy of all that the future of these worlds depends on, the next `reset` included."""
        return self.worlds.get_state()

    def set_state(self, saved: Any) -> NDArray[Any]:
        """Continue exactly from `saved`. Returns the observations there. Raises ValueError if it is of another batch or configuration."""
        self.worlds.set_state(saved)
        self._key = int(saved.key[0])  # the first episode of world 0
        return self.worlds.observe()
