"""Many robots as a `VecEnv` of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from envs.batched_vec_env import BatchedVecEnv
from envs.checks import TRAINING_SEED, seed_from
from envs.robots.goals import GoalTask
from envs.robots.make import RENDER_SIZE, chosen_task, row, score
from envs.robots.randomise import Randomisation
from envs.robots.robots import Robots, RobotsState, Step
from envs.robots.sight import SightConfig
from envs.robots.task import Arrays, Task

__all__ = ["RobotVecEnv"]


class RobotVecEnv(BatchedVecEnv):
    """`num_envs` worlds of a robot task, advanced together on all cores; spaces, rewards and ends as in `RobotEnv`.

    A world that ends starts its next episode in the same step; its info then holds `terminal_observation`, `TimeLimit.truncated`,
    `episode` (return r, length l), `is_success`, `seed`, `reward_terms` (unweighted, summed over the episode) and every metric by its
    name. Other infos are empty. At `reset` world k starts episode seed + k; which ones follow depends on (seed + k, k, how many it has
    had). Goal-conditioned tasks work with `HerReplayBuffer`.

    Args:
        task: name, or a task.
        num_envs: worlds.
        seed: of the first episode.
        threads: that step the physics; 0 takes every core. The results are the same bit by bit.
        others: see `RobotEnv`.
    """

    def __init__(
        self,
        task: Task | str = "reach",
        *,
        num_envs: int = 32,
        seed: int = TRAINING_SEED,
        threads: int = 0,
        randomisation: Randomisation | None = None,
        observation: str = "truth",
        sight: SightConfig | None = None,
        render_mode: str | None = None,
        size: tuple[int, int] = RENDER_SIZE,
        **options: Any,
    ) -> None:
        self.task, self._key = chosen_task(task, options, render_mode), seed_from(seed)
        self.robots = Robots(self.task, batch=num_envs, threads=threads, randomisation=randomisation, observation=observation, sight=sight)
        self.render_mode, self.size = render_mode, size
        self._actions: Any = None
        if isinstance(self.task, GoalTask) and observation != "pixels":
            self.compute_reward = self.task.compute_reward  # what `HerReplayBuffer` calls
        super().__init__(num_envs, self.robots.observation_space, self.robots.action_space)
        pace: dict[str, Any] = {"render_fps": round(1.0 / self.robots.dt)}  # what VecVideoRecorder asks for
        self.metadata |= pace

    def _begin(self, seed: int) -> Any:
        """Start episode seed + k in world k."""
        self.robots.reset(seed + np.arange(self.num_envs, dtype=np.int64))
        return self.robots.observe()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`. Raises ValueError for a wrong shape or a number that is not finite."""
        self._actions = self.robots.command(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """One decision in every world."""
        step = self.robots.step(self._actions)
        done = step.terminated | step.truncated
        observation = self.robots.observe()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            self._endings(infos, step, observation)
            self.robots.reset_where(done)
            observation = self.robots.observe()
        return observation, step.reward.astype(np.float32), done, infos

    def _endings(self, infos: list[dict[str, Any]], step: Step, last: Arrays) -> None:
        """Fill in the infos of the worlds that are done."""
        metrics = score(self.robots, step.success)
        for world in np.flatnonzero(step.terminated | step.truncated).tolist():
            infos[world] = {
                **{name: float(value[world]) for name, value in metrics.items()},
                "is_success": bool(step.success[world]),
                "seed": int(self.robots.seeds[world]),
                "reward_terms": {name: float(value[world]) for name, value in self.robots.terms.items()},
                "episode": {"r": float(self.robots.returns[world]), "l": int(self.robots.steps[world]), "t": 0.0},
                "TimeLimit.truncated": bool(step.truncated[world]),
                "terminal_observation": row(last, world),
            }

    def close(self) -> None:
        """Release the camera."""
        self.robots.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A picture of each world, or None without a render mode."""
        return [self.robots.picture(world, size=self.size) if self.render_mode else None for world in range(self.num_envs)]

    def get_state(self) -> RobotsState:
        """A deep copy of all that the future of these worlds depends on, the next `reset` included."""
        return self.robots.get_state()

    def set_state(self, saved: RobotsState) -> Arrays:
        """Continue exactly from `saved`. Returns the observations there. Raises ValueError if it belongs to another task or batch."""
        self.robots.set_state(saved)
        self._key = int(saved.key[0])  # the first episode of world 0
        return self.robots.observe()
