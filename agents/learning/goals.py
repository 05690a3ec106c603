"""Goal-conditioned observations in front of a network that learns by hindsight: the vector that policies are told of them later."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from agents.robots.told import UNIT, flat_space

__all__ = ["GoalExtractor"]


class GoalExtractor(BaseFeaturesExtractor):
    """`agents.robots.told.flat` in torch: nothing is learned here. It has to come after replay, which makes up goals."""

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        super().__init__(observation_space, flat_space(observation_space).shape[0])

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(R, F) of the three parts."""
        way = (observations["desired_goal"] - observations["achieved_goal"]) / UNIT
        return torch.cat([observations["observation"], way], dim=1)
