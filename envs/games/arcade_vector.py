"""Many arcade games as a `gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.checks import TRAINING_SEED, seeds_from
from envs.games.arcade_worlds import ArcadeWorlds, Bools
from envs.reporting import masked

__all__ = ["ArcadeVectorEnv"]


class ArcadeVectorEnv(VectorEnv[NDArray[Any], Any, Any]):
    """The shell that all games share. worlds: the batch. size: of the pictures for people, px."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, worlds: ArcadeWorlds, *, render_mode: str | None, size: int) -> None:
        self.worlds, self.num_envs, self.render_mode, self.size = worlds, worlds.batch, render_mode, size
        self.single_observation_space, self.single_action_space = worlds.observation_space, worlds.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {**self.metadata, "render_fps": round(1.0 / worlds.dt)}
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode in every world. seed: of world 0 (the others follow it), or one a world.

        Raises ValueError or TypeError for another number of seeds, or what is no seed (see `seeds_from`).
        """
        one, seeds = seeds_from(seed, self.num_envs)
        super().reset(seed=one)
        if seeds is None:
            seeds = int(self.np_random.integers(TRAINING_SEED, 2**31)) + np.arange(self.num_envs, dtype=np.int64)
        self.worlds.reset(seeds)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        return self.worlds.observe(), masked({"seed": self.worlds.seeds}, np.ones(self.num_envs, dtype=np.bool_))

    def step(self, actions: Any) -> tuple[NDArray[Any], NDArray[np.float32], Bools, Bools, dict[str, Any]]:
        """One decision in every world; those that had ended start anew instead."""
        step, fresh = self.worlds.step(actions), self._ended
        terminated, truncated = (mask.cpu().numpy() & ~fresh for mask in (step.terminated, step.truncated))
        self._ended = terminated | truncated
        reward = np.where(fresh, 0.0, step.reward[:, 0].cpu().numpy()).astype(np.float32)
        info: dict[str, Any] = {}
        if self._ended.any():
            metrics = self.worlds.metrics()
            info = {"metrics": masked(metrics, self._ended), "_metrics": self._ended.copy()}
            info |= masked({"is_success": metrics["success"] > 0.5}, self._ended)
        if fresh.any():
            self.worlds.reset_where(fresh)
            info |= masked({"seed": self.worlds.seeds}, fresh)
        return self.worlds.observe(), reward, terminated, truncated, info

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture of each world; None without a render mode."""
        return tuple(self.worlds.pictures(size=self.size)) if self.render_mode else None

    def get_state(self) -> tuple[Any, Bools]:
        """A deep copy of all that the future of these worlds depends on."""
        return self.worlds.get_state(), self._ended.copy()

    def set_state(self, saved: tuple[Any, Bools]) -> NDArray[Any]:
        """Continue exactly from `saved`. Returns the observations there. Raises ValueError if it is of another batch or configuration."""
        self.worlds.set_state(saved[0])
        self._ended = saved[1].copy()
        return self.worlds.observe()
