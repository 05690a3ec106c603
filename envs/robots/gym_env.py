"""One robot as a `gymnasium.Env`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checks import TRAINING_SEED, seed_from
from envs.robots.goals import GoalTask
from envs.robots.make import RENDER_SIZE, chosen_task, row, score
from envs.robots.randomise import Randomisation
from envs.robots.robots import Robots, RobotsState
from envs.robots.sight import SightConfig
from envs.robots.task import Arrays, Task

__all__ = ["RobotEnv", "RobotEnvState"]


@dataclass(frozen=True, kw_only=True)
class RobotEnvState:
    """What `RobotEnv.get_state` returns."""

    robots: RobotsState
    random: dict[str, Any]  # state of the generator that draws the seeds of later episodes


class RobotEnv(gymnasium.Env[Arrays, NDArray[np.float32]]):
    """One world of a robot task. Observation, action, reward, start and end are the task's: see its class in `envs.robots.tasks`.

    Actions are in [-1, 1]; what is beyond is cut off. `info` holds `reward_terms` (unweighted) and `is_success`, whether what is to be
    done is done at this moment; at the end also `metrics`: success, return, seconds. `reset(seed=s)` starts episode s, always the same;
    without a seed one is drawn.

    Args:
        task: name in `envs.robots.TASKS`, or a task.
        randomisation: how much masses, friction, servos, light and cameras differ from episode to episode; not at all by default.
        observation: one of `envs.robots.sight.LEVELS`: "truth", "visible" (of what no camera sees, where it was last seen), "noisy",
            "perceived" or "pixels".
        sight: size of the pictures.
        render_mode: None or "rgb_array".
        size: of the picture, width and height in pixels.
        options: fields of the task, as `tolerance` is.

    Raises ValueError, with a suggestion, for names and values that do not exist, ModuleNotFoundError without MuJoCo.

    ### Versions
    v0: first.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012

    def __init__(
        self,
        task: Task | str = "reach",
        *,
        randomisation: Randomisation | None = None,
        observation: str = "truth",
        sight: SightConfig | None = None,
        render_mode: str | None = None,
        size: tuple[int, int] = RENDER_SIZE,
        **options: Any,
    ) -> None:
        self.task = chosen_task(task, options, render_mode)
        self.robots = Robots(self.task, batch=1, threads=1, randomisation=randomisation, observation=observation, sight=sight)
        self.observation_space = self.robots.observation_space
        self.action_space = self.robots.action_space
        self.render_mode, self.size = render_mode, size
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.robots.dt)}
        self._running = False
        if isinstance(self.task, GoalTask) and observation != "pixels":
            self.compute_reward = self.task.compute_reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Arrays, dict[str, Any]]:
        """Start episode `seed`, or one drawn at random. Raises as `seed_from` for what is no seed."""
        seed = None if seed is None else seed_from(seed)
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(TRAINING_SEED, 2**31)) if seed is None else seed
        self.robots.reset(np.array([drawn]))
        self._running = True
        return row(self.robots.observe(), 0), {"seed": drawn}

    def step(self, action: Any) -> tuple[Arrays, float, bool, bool, dict[str, Any]]:
        """One decision. Raises ValueError for an action of the wrong shape or with numbers that are not finite."""
        if not self._running:
            raise gymnasium.error.ResetNeeded("call reset() first")
        step = self.robots.step(action)
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        info: dict[str, Any] = {
            "reward_terms": {name: float(term[0]) for name, term in step.terms.items()},
            "is_success": bool(step.success[0]),
        }
        if terminated or truncated:
            info["metrics"] = {name: float(value[0]) for name, value in score(self.robots, step.success).items()}
        return row(self.robots.observe(), 0), float(step.reward[0]), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The world from the camera for people, (height, width, 3); None without a render mode."""
        return self.robots.picture(0, size=self.size) if self.render_mode else None

    def close(self) -> None:
        """Release the camera."""
        self.robots.close()

    def get_state(self) -> RobotEnvState:
        """A deep copy of all that the future depends on."""
        return RobotEnvState(robots=self.robots.get_state(), random=dict(self.np_random.bit_generator.state))

    def set_state(self, saved: RobotEnvState) -> Arrays:
        """Continue exactly from `saved`. Returns the observation there."""
        self.robots.set_state(saved.robots)
        self.np_random.bit_generator.state = saved.random
        self._running = True
        return row(self.robots.observe(), 0)
