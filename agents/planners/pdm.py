"""PDM: a handful of ways to follow the road, each simulated and scored (Dauner et al., "Parting with misconceptions about learning-based
vehicle motion planning", CoRL 2023: the planner that won the nuPlan challenge of that year).

Proposals are IDM drivers at SHARES of the limit along the middle of the own lane, to both sides of it, and along the lanes beside, which
PDM does not have. Shapes: B worlds, L paths, V speeds, N = L V candidates, S steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import DT, STEPS, Costs, Plan, Route, Scene, Trajectory
from agents.planners.costs import Weights, collision, comfort, off_road, speeding, weighed
from agents.planners.obstacles import Obstacles
from agents.planners.passage import missed, shares_for, stations, waits_at
from agents.planners.proposals import Driven, drive, ways
from agents.planners.route import at

__all__ = ["Pdm", "Proposed", "Weigh", "as_they_are", "choose", "lane_cost"]

SHARES = (0.0, 0.3, 0.55, 0.8, 1.0)  # of the limit
PATHS = (1, 1, 1, 0, 2)  # own lane, twice more beside its middle, left, right
ASIDE = (0.0, 0.6, -0.6, 0.0, 0.0)  # m from the path's middle
URGENT = 250.0  # m before a lane has to be left, over which that becomes urgent, as in `envs.driving.traffic`
ASTRAY = 12.0  # cost of staying in a lane that has to be left at once
CHANGE = 0.25  # cost per m sideways still to go: who is changing lanes goes on
LOOSE = 0.8  # m
MIDDLE = 0.2  # cost per m that is kept from the middle of a lane
CLOSED = 1e4  # cost of a path that does not exist


class Proposed(NamedTuple):
    """What there is to choose from."""

    candidates: Trajectory  # (B, N, S)
    costs: Costs  # (B, N)
    path: Tensor  # (N,) or (B, N) int64, which path of the route each follows


# costs (B, N) of candidates (B, N, S) along paths (N,) or (B, N) int64 -> what they are to count as
Weigh = Callable[[Costs, Trajectory, Tensor], Costs]


def as_they_are(costs: Costs, candidates: Trajectory, path: Tensor) -> Costs:
    """The costs unchanged."""
    return costs


@dataclass(frozen=True)
class Pdm:
    """Rule-based: IDM proposals along the route at several speeds and offsets, simulated and scored."""

    weights: Weights = field(default_factory=Weights)
    name: str = "pdm"

    def plan(self, scene: Scene) -> Plan:
        """See `agents.planners.base.Planner`."""
        return choose(*self.propose(scene)[:2])

    def propose(self, scene: Scene, weigh: Weigh = as_they_are) -> Proposed:
        """All proposals and what they cost, weighed anew."""
        around, route, wide, stop, aim = ways(scene, PATHS, ASIDE)
        shares, goal = aim.new_tensor(SHARES), None
        if scene.passage is not None:
            goal = stations(scene.passage, scene.route)[:, list(PATHS)]
            shares = shares_for(scene.passage, route, goal, shares)
            stop = torch.minimum(stop, waits_at(scene.passage, goal))
        driven = drive(scene.ego, route, aim, shares, wide, around.weight, stop)
        costs = self.score(scene, around, route, aim, stop, driven)
        if scene.passage is not None and goal is not None:
            miss = missed(scene.passage, goal, driven.trajectory, driven.s).flatten(1)
            costs = costs._replace(progress=costs.progress + self.weights.passage * miss)
        path = torch.tensor(PATHS, device=aim.device).repeat_interleave(len(SHARES))
        candidates = Trajectory(*(value.flatten(1, 2) for value in driven.trajectory))
        return Proposed(candidates, weigh(costs, candidates, path), path)

    def score(self, scene: Scene, around: Obstacles, route: Route, aim: Tensor, stop: Tensor, driven: Driven) -> Costs:
        """Costs of all proposals, (B, N)."""
        ego = scene.ego
        flat = Trajectory(*(value.flatten(1, 2) for value in driven.trajectory))
        hit, near = collision(flat, ego, around, self.weights)
        (limit,) = at(driven.s, route.limit)
        far = (limit[..., 0] * (DT * STEPS) - driven.s[..., -1]).clamp(min=0.0)
        over = (driven.s[..., -1] - stop.unsqueeze(2)).clamp(min=0.0)
        inside = driven.s < (route.exit - 0.5 * ego.length.unsqueeze(1))[..., None, None]
        lane = lane_cost(route, aim, ego.lane).unsqueeze(2).expand_as(far)
        return weighed(
            self.weights,
            progress=far.flatten(1),
            comfort=comfort(flat, ego.accel.unsqueeze(1)),
            collision=hit,
            clearance=near,
            road=off_road(flat, ego, scene.place, inside.flatten(1, 2)),
            rules=speeding(flat, limit.flatten(1, 2)) + over.flatten(1),
            lane=lane.flatten(1),
        )


def lane_cost(route: Route, aim: Tensor, own: Tensor) -> Tensor:
    """What it costs to drive along each path at `aim` (B, L) m beside it, (B, L): being astray, off the middle, and changing lanes.

    own (B,): the lane the ego is in, within which LOOSE m sideways are free.
    """
    way = ((route.d - aim).abs() - torch.where(route.lane == own.unsqueeze(1), LOOSE, 0.0)).clamp(min=0.0)
    return astray(route) + route.toll + CHANGE * way + MIDDLE * aim.abs()


def astray(route: Route) -> Tensor:
    """What it costs to be in each path's lane, (B, L): the more the nearer its end; CLOSED where there is none.

    Where the goal is several lanes away, each change has an equal part of the way to the end, and counts.
    """
    changes = route.need.abs().clamp(min=1)
    urgency = ((URGENT - route.end / changes) / URGENT).clamp(0.0, 1.0) * changes
    return torch.where(route.lane >= 0, ASTRAY * urgency, CLOSED)


def choose(candidates: Trajectory, costs: Costs) -> Plan:
    """The cheapest candidate; the first of equals."""
    totals = costs.total()
    chosen = totals.argmin(1)

    def pick(value: Tensor) -> Tensor:
        return value.gather(1, chosen.view(-1, *(1,) * (value.dim() - 1)).expand(-1, 1, *value.shape[2:])).squeeze(1)

    best = Trajectory(*(pick(value) for value in candidates))
    return Plan(best, Costs(*(pick(value) for value in costs)), candidates, totals, chosen)
