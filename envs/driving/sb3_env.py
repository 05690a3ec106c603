"""Many worlds as a `VecEnv` of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from envs.batched_vec_env import BatchedVecEnv
from envs.driving.make import TRAINING_SEED, ScenarioLike, action_space, driving_config, sample_episodes, seed_from
from envs.driving.rewards import RewardWeights
from envs.driving.sensors import check_sensors, is_flat, observation_space
from envs.driving.types import DrivingConfig
from envs.driving.worlds import Arrays, Worlds, WorldsState, picture

__all__ = ["DrivingVecEnv"]


class DrivingVecEnv(BatchedVecEnv):
    """`num_envs` worlds of one or several scenarios, advanced together; spaces, rewards and ends as in `DrivingEnv`.

    A world that ends starts its next episode in the same step; its info then holds `terminal_observation`, `TimeLimit.truncated`,
    `episode` (return r, length l), `is_success`, `reward_terms` (unweighted, summed over the episode) and every metric by its name (see
    `envs.driving.metrics`). Other infos are empty.
    At `reset` world k drives episode k of the bank (modulo its size); which ones follow depends on (seed, k, how many it has had).

    Args:
        scenario: name, path or scenario, or several, which take turns in the bank.
        config: see `DrivingConfig`; slots and tick are fitted to the episodes unless given; see `envs.driving.make.fit`.
        num_envs: worlds.
        episodes: size of the bank.
        seed: of the first episode of the bank (the others follow it), and of the order in which they are driven.
        compile: run under torch.compile (takes about a minute to start).
        device: of the simulation; observations are numpy arrays.
        flat, sensors: see `DrivingEnv`; here flat by default (but for `observation="pixels"`).
        reward: weights of the reward's terms.
        options: fields of `DrivingConfig` that win over `config`.
    """

    def __init__(
        self,
        scenario: ScenarioLike | Sequence[ScenarioLike] = "highway",
        config: DrivingConfig | None = None,
        *,
        num_envs: int = 256,
        episodes: int = 2048,
        seed: int = TRAINING_SEED,
        compile: bool = False,
        device: str = "cpu",
        flat: bool | None = None,
        sensors: Collection[str] = (),
        reward: RewardWeights | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        chosen, seed = driving_config(config, **{"learners": 1, **options}), seed_from(seed)
        self.flat = is_flat(chosen, flat)
        self.sensors, self.render_mode = check_sensors(sensors, flat=self.flat), render_mode
        bank = sample_episodes(scenario, episodes, seed)
        self.worlds = Worlds(bank, chosen, batch=num_envs, seed=seed, weights=reward, compile=compile, device=device)
        self.config, self._key = self.worlds.config, seed
        self._actions = torch.zeros(0)
        super().__init__(num_envs, observation_space(self.config, flat=self.flat, sensors=sensors), action_space(self.config))

    def _begin(self, seed: int) -> Any:
        """Start episode k in world k; another seed is another order of the later episodes."""
        self.worlds.reset(torch.full((self.num_envs,), seed, dtype=torch.int64))
        return self._observe()

    def _observe(self) -> Arrays:
        arrays = self.worlds.arrays(flat=self.flat, sensors=self.sensors)
        return {name: part[:, 0] for name, part in arrays.items()} if isinstance(arrays, dict) else arrays[:, 0]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`. Raises ValueError for a wrong shape or a number that is not finite."""
        self._actions = self.worlds.command(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """One decision in every world."""
        step = self.worlds.step(self._actions)
        done = step.terminated[:, 0] | step.truncated
        observation = self._observe()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if bool(done.any()):
            self._endings(infos, done, step.truncated & ~step.terminated[:, 0], observation)
            self.worlds.reset_where(done)
            observation = self._observe()
        return observation, step.reward[:, 0].cpu().numpy(), done.cpu().numpy(), infos

    def _endings(self, infos: list[dict[str, Any]], done: torch.Tensor, timeout: torch.Tensor, last: Arrays) -> None:
        """Fill in the infos of the worlds that are `done`."""
        metrics = {name: value[:, 0].tolist() for name, value in self.worlds.metrics().items()}
        returns, lengths, late = self.worlds.returns[:, 0].tolist(), self.worlds.lengths.tolist(), timeout.tolist()
        seeds = self.worlds.sim.setup.seed.tolist()
        terms = {name: value[:, 0].tolist() for name, value in self.worlds.term_sums().items()}
        for world in done.nonzero()[:, 0].tolist():
            values = {name: value[world] for name, value in metrics.items()}
            infos[world] = {
                **values,
                "is_success": bool(values["success"] > 0.5),
                "seed": seeds[world],
                "reward_terms": {name: value[world] for name, value in terms.items()},
                "episode": {"r": returns[world], "l": lengths[world], "t": 0.0},
                "TimeLimit.truncated": late[world],
                "terminal_observation": {k: v[world].copy() for k, v in last.items()} if isinstance(last, dict) else last[world].copy(),
            }

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A picture of each world, or None without a render mode."""
        return [picture(self.worlds, world, size=(480, 270)) if self.render_mode else None for world in range(self.num_envs)]

    def get_state(self) -> WorldsState:
        """A deep copy of all that the future of these worlds depends on."""
        return self.worlds.get_state()

    def set_state(self, saved: WorldsState) -> Arrays:
        """Continue exactly from `saved`. Returns the observations there. Raises ValueError if it belongs to other episodes."""
        self.worlds.set_state(saved)
        return self._observe()
