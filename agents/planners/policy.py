"""A planner in the driver's seat: scene -> plan -> action."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.planners.base import Plan, Planner, Scene, make_planner
from agents.planners.vehicle import to_action
from agents.policies.base import PolicyNeeds

__all__ = ["PlannerPolicy"]

CAMERAS = "front+left+right+rear"  # on `perceived`: who changes lanes has to look around


class PlannerPolicy:
    """Implements `agents.policies.base.Policy` for scenes: `act` is given a `Scene` where other policies are given an observation."""

    def __init__(self, name: str) -> None:
        self.planner: Planner = make_planner(name)
        self.name = name
        self.needs = PolicyNeeds(action="continuous", cameras=CAMERAS, scene=True)

    def act(self, observation: Any, *, seed: Tensor, step: Tensor) -> Tensor:
        """(B, 1, 2) of acceleration and steering. observation: a `Scene`."""
        return to_action(self.plan(observation).trajectory, observation.ego)

    @torch.no_grad()
    def plan(self, scene: Scene) -> Plan:
        """What the planner makes of the scene."""
        return self.planner.plan(scene)
