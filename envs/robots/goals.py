"""What goal-conditioned tasks have in common: the three parts of their observation and a reward that holds for any goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.checks import ConfigError, unknown
from envs.robots.physics import Floats, Physics

__all__ = ["GoalTask", "distance", "far_enough"]

CONTROLS, REWARDS = ("tool", "joints"), ("sparse", "dense")


def distance(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Between points (..., 3)."""
    difference = a - b
    return np.asarray(np.sqrt((difference * difference).sum(-1)))


def far_enough(places: Floats, start: Floats, least: float) -> Floats:
    """(n, k): of each row of places (n, T, k) the first more than `least` from start (n, k), or the farthest if none is."""
    apart = distance(places, start[:, None])
    far = apart > least
    return np.asarray(places[np.arange(len(places)), np.where(far.any(1), far.argmax(1), apart.argmax(1))])


@dataclass(frozen=True, kw_only=True)
class GoalTask:
    """Base of goal-conditioned tasks; one only has to say what is `achieved`. Raises ConfigError, with a suggestion, for unknown names."""

    control: str = "tool"
    reward: str = "sparse"
    tolerance: float = 0.025  # m
    feels_goal = False  # of a class: what is achieved is the robot's own place, which it feels, not that of a thing which has to be seen

    def __post_init__(self) -> None:
        for what, value, known in (("control", self.control, CONTROLS), ("reward", self.reward, REWARDS)):
            if value not in known:
                raise ConfigError(unknown(what, value, known))
        if not 0.0 < self.tolerance < 0.1:
            raise ConfigError(f"tolerance={self.tolerance}: must be between 0 and 0.1 m")

    def achieved(self, physics: Physics) -> tuple[Floats, Floats]:
        """(B, 3) m what there is, and (B, 3) m what there should be."""
        raise NotImplementedError

    def goals(self, parts: Floats, achieved: Floats, desired: Floats) -> dict[str, NDArray[np.float32]]:
        """The observation, float32."""
        named = {"observation": parts, "achieved_goal": achieved, "desired_goal": desired}
        return {name: part.astype(np.float32) for name, part in named.items()}

    def compute_reward(self, achieved: NDArray[Any], desired: NDArray[Any], info: Any = None) -> NDArray[np.float32]:
        """(...) float32, the reward of having achieved (..., 3) where desired (..., 3) was wanted. `info` is not looked at.

        In float32, as observations are, so that what hindsight replay computes is what the environment gave.
        """
        off = distance(np.asarray(achieved, dtype=np.float32), np.asarray(desired, dtype=np.float32))
        result = -off if self.reward == "dense" else -(off > np.float32(self.tolerance)).astype(np.float32)
        return np.asarray(result, dtype=np.float32)

    def reward_terms(self, physics: Physics, action: Floats) -> dict[str, Floats]:
        """One term, `goal`."""
        return {"goal": self.compute_reward(*self.achieved(physics)).astype(np.float64)}

    def success(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) within the tolerance now."""
        achieved, desired = (np.asarray(place, dtype=np.float32) for place in self.achieved(physics))
        return np.asarray(distance(achieved, desired) <= np.float32(self.tolerance))

    def failed(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) never: a goal can be reached until the end."""
        return np.zeros(physics.size, dtype=np.bool_)
