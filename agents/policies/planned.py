"""A trained policy that chooses what to aim at, several times a second, and a planner that drives there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from agents.planners.base import Plan
from agents.planners.vehicle import action_of
from agents.planners.wish import guide, make_guided
from agents.policies.base import PolicyError, Told
from agents.policies.sb3 import SB3Policy

__all__ = ["PlannedPolicy"]


class PlannedPolicy:
    """Implements `agents.policies.base.Policy`; `act` is given a `Told`.

    policy: whose actions are wishes, and whose bundle names the planner. Raises PolicyError if it names none.
    """

    def __init__(self, policy: SB3Policy) -> None:
        if not policy.bundle.spec.planner:
            raise PolicyError(f"policy {policy.name!r} was not trained to tell a planner what to aim at")
        self.policy, self.bundle, self.name = policy, policy.bundle, policy.name
        self.planner = make_guided(policy.bundle.spec.planner)
        self.needs = replace(policy.needs, told=True)

    def act(self, observation: Any, *, seed: Tensor, step: Tensor) -> Tensor:
        """(B, 1, 2) of acceleration and steering. observation: a `Told`."""
        return action_of(self.planner, self.plan(observation, seed=seed, step=step), observation.scene.ego)

    def plan(self, told: Told, *, seed: Tensor, step: Tensor) -> Plan:
        """The plan for what the policy wishes."""
        return guide(self.planner, told.scene, self.policy.act(told.seen, seed=seed, step=step)[:, 0])
