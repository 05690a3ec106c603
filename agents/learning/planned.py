"""Worlds in which a learner chooses what to aim at and a planner drives there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.planners.scene import SceneMaker
from agents.planners.vehicle import action_of
from agents.planners.wish import WISHES, guide, make_guided
from envs.driving.sb3_env import DrivingVecEnv

__all__ = ["PlannedVecEnv"]


class PlannedVecEnv(VecEnvWrapper):
    """Driving worlds with continuous actions, told wishes (`agents.planners.wish.Wish`) instead: Box(-1, 1, (3,)).

    The planner plans anew at every decision, from what is believed on the observation level of these worlds. Raises PlannerError for a
    planner that cannot be told, ValueError for worlds with other actions.
    """

    def __init__(self, worlds: DrivingVecEnv, planner: str) -> None:
        if worlds.config.action != "continuous":
            raise ValueError(f"action={worlds.config.action!r}: a planner drives by continuous actions")
        self.planner, self.inner = make_guided(planner), worlds
        self.scenes = SceneMaker(worlds.worlds.sim)
        super().__init__(worlds, action_space=spaces.Box(-1.0, 1.0, shape=(len(WISHES),), dtype=np.float32))

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Plan for the wishes (B, 3). Raises ValueError for another shape."""
        if np.shape(actions) != (self.num_envs, len(WISHES)):
            raise ValueError(f"wishes of shape {np.shape(actions)} for {self.num_envs} worlds: must be {(self.num_envs, len(WISHES))}")
        scene = self.scenes(self.inner.worlds.eyes)
        wish = torch.as_tensor(np.asarray(actions, dtype=np.float32), device=scene.ego.x.device)
        plan = guide(self.planner, scene, wish)
        self.venv.step_async(action_of(self.planner, plan, scene.ego)[:, 0].cpu().numpy())

    def step_wait(self) -> VecEnvStepReturn:
        return self.venv.step_wait()
