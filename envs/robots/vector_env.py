"""Many robots as a `gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.checks import TRAINING_SEED, seeds_from
from envs.reporting import masked
from envs.robots.make import RENDER_SIZE, chosen_task, score
from envs.robots.randomise import Randomisation
from envs.robots.robots import Bools, Robots, RobotsState
from envs.robots.sight import SightConfig
from envs.robots.task import Arrays, Task

__all__ = ["RobotVectorEnv"]


class RobotVectorEnv(VectorEnv[Arrays, Any, Any]):
    """`num_envs` worlds of a robot task, advanced together on all cores; everything else as in `RobotEnv`.

    Autoreset is NEXT_STEP: the step after an episode's end ignores the action, returns the first observation of another episode and
    reward 0. At the end `info` holds `metrics`, `is_success` and `reward_terms`, unweighted and summed over the episode.
    `reset(seed=s)` starts episode s + k in world k, as Gymnasium's own vector environments do; a list names each. Which ones follow
    depends on (that seed, k, how many the world has had).

    Args:
        num_envs: worlds.
        threads: that step the physics; 0 takes every core. The results are the same bit by bit.
        others: see `RobotEnv`.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 32,
        task: Task | str = "reach",
        *,
        threads: int = 0,
        randomisation: Randomisation | None = None,
        observation: str = "truth",
        sight: SightConfig | None = None,
        render_mode: str | None = None,
        size: tuple[int, int] = RENDER_SIZE,
        **options: Any,
    ) -> None:
        self.task = chosen_task(task, options, render_mode)
        self.robots = Robots(self.task, batch=num_envs, threads=threads, randomisation=randomisation, observation=observation, sight=sight)
        self.num_envs, self.render_mode, self.size = num_envs, render_mode, size
        self.single_observation_space, self.single_action_space = self.robots.observation_space, self.robots.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.robots.dt)}
        self._ended = np.zeros(num_envs, dtype=np.bool_)

    def reset(self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None) -> tuple[Arrays, dict[str, Any]]:
        """Start an episode in every world. seed: of world 0 (the others follow it), or one a world.

        Raises ValueError or TypeError for another number of seeds, or what is no seed (see `seeds_from`).
        """
        one, seeds = seeds_from(seed, self.num_envs)
        super().reset(seed=one)
        if seeds is None:
            seeds = int(self.np_random.integers(TRAINING_SEED, 2**31)) + np.arange(self.num_envs, dtype=np.int64)
        self.robots.reset(seeds)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        return self.robots.observe(), masked({"seed": self.robots.seeds}, np.ones(self.num_envs, dtype=np.bool_))

    def step(self, actions: Any) -> tuple[Arrays, NDArray[np.float32], Bools, Bools, dict[str, Any]]:
        """One decision in every world; those that had ended start anew instead."""
        step, fresh = self.robots.step(actions), self._ended
        terminated, truncated = step.terminated & ~fresh, step.truncated & ~fresh
        self._ended = terminated | truncated
        info: dict[str, Any] = {}
        if self._ended.any():
            info = {
                "metrics": masked(score(self.robots, step.success), self._ended),
                "_metrics": self._ended.copy(),
                "reward_terms": masked(self.robots.terms, self._ended),
                "_reward_terms": self._ended.copy(),
            }
            info |= masked({"is_success": step.success}, self._ended)
        if fresh.any():
            self.robots.reset_where(fresh)
            info |= masked({"seed": self.robots.seeds}, fresh)
        return self.robots.observe(), np.where(fresh, 0.0, step.reward).astype(np.float32), terminated, truncated, info

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture of each world; None without a render mode."""
        return tuple(self.robots.picture(world, size=self.size) for world in range(self.num_envs)) if self.render_mode else None

    def close_extras(self, **kwargs: Any) -> None:
        """Release the camera."""
        self.robots.close()

    def get_state(self) -> tuple[RobotsState, Bools]:
        """A deep copy of all that the future of these worlds depends on."""
        return self.robots.get_state(), self._ended.copy()

    def set_state(self, saved: tuple[RobotsState, Bools]) -> Arrays:
        """Continue exactly from `saved`. Returns the observations there. Raises ValueError if it belongs to another task or batch."""
        self.robots.set_state(saved[0])
        self._ended = saved[1].copy()
        return self.robots.observe()
