"""A planner in the driver's seat: scene -> plan -> action."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.planners.base import Plan, Planner, Remembering, Scene, make_planner
from agents.planners.vehicle import action_of
from agents.policies.base import PolicyNeeds

__all__ = ["PlannerPolicy"]

CAMERAS = "front+left+right+rear"  # on `perceived`: who changes lanes has to look around


class PlannerPolicy:
    """Implements `agents.policies.base.Policy` for scenes: `act` is given a `Scene` where other policies are given an observation."""

    def __init__(self, name: str) -> None:
        self.planner: Planner = make_planner(name)
        self.name = name
        self.needs = PolicyNeeds(action="continuous", cameras=CAMERAS, tracker="imm", scene=True)
        self._notes = _Notes()

    def act(self, observation: Any, *, seed: Tensor, step: Tensor) -> Tensor:
        """(B, 1, 2) of acceleration and steering. observation: a `Scene`."""
        if isinstance(self.planner, Remembering):
            return self._notes.drive(self.planner, observation, seed, step)
        return action_of(self.planner, self.plan(observation), observation.ego)

    @torch.no_grad()
    def plan(self, scene: Scene) -> Plan:
        """What the planner makes of the scene."""
        return self.planner.plan(scene)


class _Notes:
    """What a planner has to remember, kept from one decision to the next for each world.

    Worlds whose seed is another one or whose time does not run on are in a new episode and start without memory. Asked again about the
    same moment, the planner gets the same memory as before, and so gives the same answer.
    """

    def __init__(self) -> None:
        self.now: tuple[Tensor, Tensor] | None = None  # seed, step of the last decision
        self.fresh = torch.zeros(0, dtype=torch.bool)  # as it was then
        self.before: Any = None  # memory then, and after it
        self.after: Any = None

    @torch.no_grad()
    def drive(self, planner: Remembering, scene: Scene, seed: Tensor, step: Tensor) -> Tensor:
        """The planner's actions."""
        if self.now is None or self.now[0].shape != seed.shape or self.now[0].device != seed.device:
            self.before, self.fresh = None, torch.ones_like(seed, dtype=torch.bool)
        elif not (torch.equal(self.now[0], seed) and torch.equal(self.now[1], step)):
            self.before, self.fresh = self.after, (self.now[0] != seed) | (step <= self.now[1])
        self.now = seed, step
        action, self.after = planner.drive(scene, self.before, self.fresh)
        return action
