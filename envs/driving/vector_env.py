"""Many worlds as a `gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.driving.make import TRAINING_SEED, ScenarioLike, action_space, driving_config, sample_episodes, seed_from
from envs.driving.rewards import RewardWeights
from envs.driving.sensors import check_sensors, is_flat, observation_space
from envs.driving.types import DrivingConfig
from envs.driving.worlds import Arrays, Worlds, WorldsState, picture

__all__ = ["DrivingVectorEnv"]

Bools = NDArray[np.bool_]


class DrivingVectorEnv(VectorEnv[Arrays, Any, Any]):
    """`num_envs` worlds of one or several scenarios, advanced together; spaces, rewards and ends as in `DrivingEnv`.

    Autoreset is NEXT_STEP: the step after an episode's end ignores the action, returns the first observation of another episode and
    reward 0. At the end `info` holds `metrics`, `is_success` and `reward_terms`, unweighted and summed over the episode. Episodes come
    from a bank of `episodes` with seeds from `first_seed` on. `reset(seed=s)` fixes which are drawn, and when.

    Args:
        num_envs: worlds.
        scenario: name, path or scenario, or several, which take turns in the bank.
        episodes, first_seed: the bank.
        compile: run under torch.compile (takes about a minute to start).
        device: of the simulation; observations are numpy arrays.
        others: see `DrivingEnv`; further options are those of `DrivingConfig`.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 64,
        scenario: ScenarioLike | Sequence[ScenarioLike] = "highway",
        *,
        config: DrivingConfig | None = None,
        episodes: int = 256,
        first_seed: int = TRAINING_SEED,
        flat: bool = False,
        sensors: Collection[str] = (),
        reward: RewardWeights | None = None,
        compile: bool = False,
        device: str = "cpu",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r}: must be None or 'rgb_array'")
        chosen = driving_config(config, **{"learners": 1, **options})
        self.flat, self.sensors, self.render_mode = is_flat(chosen, flat), check_sensors(sensors, flat=flat), render_mode
        bank = sample_episodes(scenario, episodes, first_seed)
        self.worlds = Worlds(bank, chosen, batch=num_envs, weights=reward, compile=compile, device=device)
        self.config, self.num_envs = self.worlds.config, num_envs
        self.single_observation_space = observation_space(self.config, flat=flat, sensors=sensors)
        self.single_action_space = action_space(self.config)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._ended = torch.zeros(num_envs, dtype=torch.bool, device=device)

    def reset(self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None) -> tuple[Arrays, dict[str, Any]]:
        """Start an episode in every world. seed: one for all, or one a world (then equal seeds draw independent episodes all the same).

        Raises ValueError or TypeError for another number of seeds, or what is no seed (see `seed_from`).
        """
        if isinstance(seed, Sequence | np.ndarray) and np.ndim(seed) > 0:
            keys = [seed_from(each) for each in seed]
            if len(keys) != self.num_envs:
                raise ValueError(f"{len(keys)} seeds for {self.num_envs} worlds")
            super().reset(seed=keys[0])
        else:
            one = None if seed is None else seed_from(seed)
            super().reset(seed=one)
            keys = [int(self.np_random.integers(2**31)) if one is None else one] * self.num_envs
        self.worlds.reset(torch.tensor(keys, dtype=torch.int64), shuffle=True)
        self._ended = torch.zeros_like(self._ended)
        return self._observe(), self._episode_info(np.ones(self.num_envs, dtype=bool))

    def _observe(self) -> Arrays:
        arrays = self.worlds.arrays(flat=self.flat, sensors=self.sensors)
        return {name: part[:, 0] for name, part in arrays.items()} if isinstance(arrays, dict) else arrays[:, 0]

    def _episode_info(self, which: Bools) -> dict[str, Any]:
        seeds = self.worlds.sim.setup.seed.cpu().numpy()
        return {"seed": np.where(which, seeds, 0), "_seed": which.copy()} if which.any() else {}

    def step(self, actions: Any) -> tuple[Arrays, NDArray[np.float32], Bools, Bools, dict[str, Any]]:
        """One decision in every world; those that had ended start anew instead."""
        step = self.worlds.step(self.worlds.command(actions))
        fresh = self._ended
        terminated = step.terminated[:, 0] & ~fresh
        truncated = step.truncated & ~terminated & ~fresh
        reward = torch.where(fresh, 0.0, step.reward[:, 0])
        self._ended = terminated | truncated
        info: dict[str, Any] = {}
        if bool(self._ended.any()):
            ended = self._ended.cpu().numpy()
            metrics = {name: np.where(ended, value[:, 0].cpu().numpy(), 0) for name, value in self.worlds.metrics().items()}
            masks = {f"_{name}": ended.copy() for name in metrics}
            info = {"metrics": metrics | masks, "_metrics": ended.copy()}
            info |= {"is_success": metrics["success"] > 0.5, "_is_success": ended.copy()}
            sums = {name: np.where(ended, value[:, 0].cpu().numpy(), 0) for name, value in self.worlds.term_sums().items()}
            info |= {"reward_terms": sums | {f"_{name}": ended.copy() for name in sums}, "_reward_terms": ended.copy()}
        if bool(fresh.any()):
            self.worlds.reset_where(fresh)
            info |= self._episode_info(fresh.cpu().numpy())
        return self._observe(), reward.cpu().numpy(), terminated.cpu().numpy(), truncated.cpu().numpy(), info

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture of each world; None without a render mode."""
        return tuple(picture(self.worlds, world, size=(480, 270)) for world in range(self.num_envs)) if self.render_mode else None

    def get_state(self) -> tuple[WorldsState, Bools]:
        """A deep copy of all that the future of these worlds depends on."""
        return self.worlds.get_state(), self._ended.cpu().numpy().copy()

    def set_state(self, saved: tuple[WorldsState, Bools]) -> Arrays:
        """Continue exactly from `saved`. Returns the observations there. Raises ValueError if it belongs to other episodes."""
        self.worlds.set_state(saved[0])
        self._ended = torch.from_numpy(saved[1].copy()).to(self._ended.device)
        return self._observe()
