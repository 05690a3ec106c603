"""Judging a policy while it learns: every validation episode once, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from agents.evaluation.stats import Estimate, proportion
from agents.policies.images import rows_of

__all__ = ["Validation", "validate"]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Figures over the validation episodes."""

    episodes: int
    success: Estimate | None  # None: the environment does not say
    collision: Estimate | None
    reward: float  # mean return
    reward_sd: float
    length: float  # mean, decisions

    @property
    def score(self) -> tuple[float, float]:
        """What the best checkpoint is chosen by: the share of successes (which a collision rules out), then the return."""
        return self.success.value if self.success else 0.0, self.reward

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "episodes": self.episodes,
            "success": self.success.as_dict() if self.success else None,
            "collision": self.collision.as_dict() if self.collision else None,
            "reward": {"mean": self.reward, "sd": self.reward_sd},
            "length": self.length,
        }


def validate(
    actor: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
    worlds: VecEnv,
    *,
    episodes: int,
    stop: Callable[[], bool] = lambda: False,
) -> Validation | None:
    """Drive the first episode of each of the first `episodes` rows of `worlds` to its end with `actor`: (rows, F) and, where they are
    observed, images (rows, 3 C, H, W) -> actions.

    Rows that are done go on with further episodes, which are not counted. None if `stop` says so before the end. Raises RuntimeError
    if an episode does not end within 100,000 steps.
    """
    rewards, lengths = np.zeros(worlds.num_envs), np.zeros(worlds.num_envs, dtype=np.int64)
    open_ = np.arange(worlds.num_envs) < episodes
    endings: list[dict[str, Any]] = [{} for _ in range(episodes)]
    observation = worlds.reset()
    for _ in range(100_000):
        observation, reward, done, infos = worlds.step(actor(*rows_of(observation)).numpy())
        rewards += reward * open_
        lengths += open_
        for row in np.flatnonzero(done & open_):
            endings[row] = infos[row]
        open_ &= ~done
        if not open_.any():
            return _summary(rewards[:episodes], lengths[:episodes], endings)
        if stop():
            return None
    raise RuntimeError(f"{int(open_.sum())} of {episodes} validation episodes did not end within 100000 steps")


def _summary(rewards: NDArray[np.float64], lengths: NDArray[np.int64], endings: list[dict[str, Any]]) -> Validation:
    return Validation(
        episodes=len(rewards),
        success=_share(endings, "is_success"),
        collision=_share(endings, "collision"),
        reward=float(rewards.mean()),
        reward_sd=float(rewards.std()) if math.isfinite(float(rewards.sum())) else math.nan,
        length=float(lengths.mean()),
    )


def _share(endings: list[dict[str, Any]], key: str) -> Estimate | None:
    """How many episodes ended with info[key] true; None if none mentions it."""
    told = [bool(info[key]) for info in endings if key in info]
    return proportion(sum(told), len(told)) if told else None
