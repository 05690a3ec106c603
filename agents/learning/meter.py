"""Returns and lengths of the episodes that end while training, kept without a Python loop over the worlds."""

from __future__ import annotations

from collections import deque

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

__all__ = ["EpisodeMeter"]

WINDOW = 512  # episodes the figures are taken over


class EpisodeMeter(VecEnvWrapper):
    """Passes everything through and remembers how the last WINDOW episodes went.

    `seed` is not passed on: the algorithm seeds its environment with the run's seed, but which episodes a run sees is decided by
    `agents.learning.seeds`, and must not slip into the ranges kept for validation and judging.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.returns = np.zeros(venv.num_envs)  # (B,) of the running episodes
        self.lengths = np.zeros(venv.num_envs, dtype=np.int64)  # (B,) decisions
        self.ended: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self.outcomes: dict[str, deque[bool]] = {"is_success": deque(maxlen=WINDOW), "collision": deque(maxlen=WINDOW)}

    def seed(self, seed: int | None = None) -> list[None]:
        """Changes nothing."""
        return [None] * self.num_envs

    def reset(self) -> VecEnvObs:
        self.returns[:], self.lengths[:] = 0.0, 0
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        observation, rewards, dones, infos = self.venv.step_wait()
        self.returns += rewards
        self.lengths += 1
        for row in np.flatnonzero(dones):
            self.ended.append((float(self.returns[row]), int(self.lengths[row])))
            for key, kept in self.outcomes.items():
                if key in infos[row]:
                    kept.append(bool(infos[row][key]))
        self.returns[dones], self.lengths[dones] = 0.0, 0
        return observation, rewards, dones, infos

    def figures(self) -> dict[str, float]:
        """Columns of progress.csv; those that are not known are left out."""
        found: dict[str, float] = {}
        if self.ended:
            returns, lengths = np.array(self.ended, dtype=np.float64).T
            low, high = np.percentile(returns, [10, 90])
            found = {"reward": float(returns.mean()), "reward_p10": float(low), "reward_p90": float(high), "length": float(lengths.mean())}
        for key, column in (("is_success", "success"), ("collision", "collision")):
            if self.outcomes[key]:
                found[column] = float(np.mean(self.outcomes[key]))
        return found
