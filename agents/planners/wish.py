"""A planner that is told what to aim at: somebody else chooses the manoeuvre, the planner finds the trajectory.

A wish is three numbers from -1 to 1, several times a second: to which side to go, how fast, and how boldly. They shift the costs of what
the planner proposes; it still sees to collisions, the road and the rules. A wish of zeros leaves the planner as it is, to the last bit.
Shapes: B worlds, N candidates, S steps.
"""

from __future__ import annotations

import importlib
import math
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

from agents.planners.base import PLANNERS, Costs, Plan, PlannerError, Scene, Trajectory
from agents.planners.pdm import Proposed, Weigh, as_they_are, choose
from agents.planners.route import OWN, at
from scenarios.errors import did_you_mean

__all__ = ["GUIDED", "WISHES", "Guided", "Wish", "guide", "make_guided"]

GUIDED = ("lattice", "pdm", "mppi")  # planners that weigh proposals, and so can be told
WISHES = ("side", "pace", "boldness")
SIDE = 4.0  # cost by which the lane on the wished side becomes cheaper, and the other dearer; changing lanes costs about 1
PACE = 2.0  # cost per m/s above the wished speed, on the average
EAGER = 2.0  # by how much more every metre not covered may cost
BOLD = math.log(4.0)  # expected collisions and short gaps may cost four times as much, or a quarter


class Wish(NamedTuple):
    """What a planner is asked for, (B,) each, from -1 to 1; 0: nothing."""

    side: Tensor  # the lane on the left (1) or on the right (-1), the more the more strongly
    pace: Tensor  # below 0: at most 1 + pace times the limit; above 0: progress counts up to three times
    boldness: Tensor  # nearer to others (1) or further away (-1)


class Guided(Protocol):
    """A planner whose proposals can be weighed anew."""

    def propose(self, scene: Scene, weigh: Weigh = as_they_are) -> Proposed:
        """All candidates and what they cost, weighed anew."""
        ...


def make_guided(name: str) -> Guided:
    """The planner called `name`. Raises PlannerError, with the nearest name, if there is none that can be told."""
    if name not in GUIDED:
        hint = did_you_mean(name, GUIDED) or "those can: " + ", ".join(GUIDED)
        raise PlannerError(f"planner {name!r} cannot be told what to aim at; {hint}")
    module, attribute = PLANNERS[name].split(":")
    return cast(Guided, getattr(importlib.import_module(module), attribute)())


@torch.no_grad()
def guide(planner: Guided, scene: Scene, wish: Tensor) -> Plan:
    """The plan for a wish (B, 3) as `Wish`, clipped to -1 to 1."""
    return choose(*planner.propose(scene, _shifted(scene, wish))[:2])


def _shifted(scene: Scene, wish: Tensor) -> Weigh:
    """Costs as the wish has them."""
    side, pace, boldness = (part.unsqueeze(1) for part in wish.clamp(-1.0, 1.0).unbind(1))  # (B, 1)
    (limit,) = at(torch.zeros_like(scene.route.d), scene.route.limit)
    wanted = ((1.0 + pace.clamp(max=0.0)) * limit[:, OWN : OWN + 1]).unsqueeze(2)
    careful = torch.exp(-BOLD * boldness)

    def weigh(costs: Costs, candidates: Trajectory, path: Tensor) -> Costs:
        cheaper = torch.where(path == 0, -SIDE, torch.where(path == 2, SIDE, 0.0))
        over = (candidates.speed - wanted).clamp(min=0.0)
        mean = over[..., 0]
        for k in range(1, over.shape[2]):  # in a fixed order
            mean = mean + over[..., k]
        slower = torch.where(pace < 0.0, PACE * mean / over.shape[2], 0.0)
        return costs._replace(
            progress=costs.progress * (1.0 + EAGER * pace.clamp(min=0.0)),
            collision=costs.collision * careful,
            clearance=costs.clearance * careful,
            rules=costs.rules + slower,
            lane=costs.lane + cheaper * side,
        )

    return weigh
