"""Model predictive path integral control: random variations of a plan, averaged by what they cost (Williams et al., "Information theoretic
MPC for model-based reinforcement learning", ICRA 2017).

One update draws N variations e of the controls u from a normal distribution and takes u + sum_n w_n e_n with w_n proportional to
exp(-J(u + e_n) / temperature). For a quadratic J and many draws the new mean is (S^-1 + H / T)^-1 (S^-1 u + H u* / T), with S the
covariance of the draws, H the curvature of J and T the temperature: a step towards the optimum u*, the same each time.

As a planner: PDM's plan is where it begins; acceleration and steering are varied, smoothly, through the bicycle model; the result is kept
where it costs less. Shapes: B worlds, N variations, S steps, U controls. Ego frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.planners.base import DT, STEPS, Costs, Ego, Plan, Route, Scene, Trajectory
from agents.planners.costs import Weights, collision, comfort, infeasible, off_road, speeding, weighed
from agents.planners.obstacles import Obstacles, obstacles
from agents.planners.pdm import ASIDE, PATHS, SHARES, Pdm, Proposed, Weigh, as_they_are, choose, lane_cost
from agents.planners.proposals import placed, stop_of
from agents.planners.route import at
from agents.planners.rules import Stops, stops
from agents.planners.vehicle import curvature_of
from envs.driving.control import STEER_RATE
from envs.driving.dynamics import bicycle
from envs.driving.rng import uniform

__all__ = ["Mppi", "noise", "update"]

STREAM = 4020  # of the counter-based generator
SAMPLES = 64  # N
KNOTS = 5  # places of a variation that are drawn; straight lines between
SPREAD = (0.8, 0.02)  # m/s^2 and rad, of the variations
ITERATIONS = 2
TEMPERATURE = 0.3  # in units of cost


def noise(
    samples: int, steps: int, controls: int, *, knots: int | None = None, seed: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal variations (N, S, U), the same every time; the second half mirrors the first, so that their mean is 0.

    knots: so many places in time are drawn and joined by straight lines; None: every step by itself. By Box and Muller.
    """
    places, half = knots or steps, (samples + 1) // 2
    index = torch.arange(2 * half * places * controls, device=device)
    draws = uniform(torch.tensor([[seed]], device=device), torch.tensor([[0]], device=device), STREAM, index.view(1, -1), 1e-6, 1.0)
    one, two = draws.view(2, half, places, controls).unbind(0)
    drawn = torch.sqrt(-2.0 * torch.log(one)) * torch.cos(2.0 * torch.pi * two)
    if knots:
        drawn = torch.nn.functional.interpolate(drawn.transpose(1, 2), size=steps, mode="linear", align_corners=True).transpose(1, 2)
    return torch.cat([drawn, -drawn])[:samples]


def update(controls: Tensor, variations: Tensor, cost: Callable[[Tensor], Tensor], temperature: float) -> Tensor:
    """One MPPI update of controls (B, S, U) by variations (N, S, U); cost: (B, N, S, U) -> (B, N)."""
    tried = controls.unsqueeze(1) + variations
    price = cost(tried)
    weight = torch.exp((price.amin(1, keepdim=True) - price) / temperature)
    share = weight / weight.sum(1, keepdim=True)
    return controls + (share[..., None, None] * variations).sum(1)


@dataclass(frozen=True)
class Mppi:
    """Model predictive path integral control: PDM's plan, improved by random variations through the bicycle model."""

    weights: Weights = field(default_factory=Weights)
    name: str = "mppi"

    def plan(self, scene: Scene) -> Plan:
        """See `agents.planners.base.Planner`. Two candidates: PDM's plan and what became of it."""
        return choose(*self.propose(scene)[:2])

    def propose(self, scene: Scene, weigh: Weigh = as_they_are) -> Proposed:
        """PDM's plan and what became of it, improved by costs that are weighed anew."""
        ego, rules = scene.ego, stops(scene)
        around = obstacles(scene, rules.trusted, rules.stays)
        begin = choose(*Pdm(self.weights).propose(scene, weigh)[:2])
        which = torch.div(begin.chosen, len(SHARES), rounding_mode="floor")
        path, aim = begin.chosen.new_tensor(PATHS)[which], ego.x.new_tensor(ASIDE)[which]  # (B,) both
        route = take_each(scene.route, path)
        steer = torch.atan(begin.trajectory.curvature * ego.wheelbase.unsqueeze(1))
        controls = torch.stack([begin.trajectory.accel, steer], dim=-1)  # (B, S, 2)
        spread = controls.new_tensor(SPREAD)

        def cost(tried: Tensor) -> Tensor:
            driven, costs = self.score(scene, around, rules, route, aim, tried)
            return weigh(costs, driven, path.unsqueeze(1)).total()

        found = controls
        for i in range(ITERATIONS):
            variations = spread * noise(SAMPLES, STEPS, 2, knots=KNOTS, seed=i, device=controls.device)
            found = update(found, variations, cost, TEMPERATURE)
        both, costs = self.score(scene, around, rules, route, aim, torch.stack([controls, found], dim=1))
        path = path.unsqueeze(1).expand(-1, 2)
        return Proposed(both, weigh(costs, both, path), path)

    def score(self, scene: Scene, around: Obstacles, rules: Stops, route: Route, aim: Tensor, controls: Tensor) -> tuple[Trajectory, Costs]:
        """Where controls (B, N, S, 2) lead along one path for each world, and what that costs."""
        ego = scene.ego
        path, s, d = simulate(ego, route, controls)
        hit, near = collision(path, ego, around, self.weights)
        limit = at(s.unsqueeze(1), route.limit)[0].squeeze(1)  # (B, N, S)
        far = (limit[..., 0] * (DT * STEPS) - s[..., -1]).clamp(min=0.0)
        over = (s[..., -1] - stop_of(route, rules, ego)).clamp(min=0.0)
        aside = (d[..., STEPS // 2 :] - aim.view(-1, 1, 1)).abs().mean(-1)
        return path, weighed(
            self.weights,
            progress=far,
            comfort=comfort(path, ego.accel.unsqueeze(1)) + 10.0 * infeasible(path, ego),
            collision=hit,
            clearance=near,
            road=off_road(path, ego, scene.place, s < (route.exit - 0.5 * ego.length.unsqueeze(1)).unsqueeze(2), stride=4),
            rules=speeding(path, limit) + over,
            lane=lane_cost(route, aim.unsqueeze(1), ego.lane) + aside,
        )


def take_each(route: Route, path: Tensor) -> Route:
    """One path (B,) of each world's route, R = 1."""
    return Route(*(value.gather(1, path.view(-1, 1, *(1,) * (value.dim() - 2)).expand(-1, 1, *value.shape[2:])) for value in route))


def simulate(ego: Ego, route: Route, controls: Tensor) -> tuple[Trajectory, Tensor, Tensor]:
    """Drive the bicycle model by acceleration and steering (B, N, S, 2), within its limits: trajectory and Frenet s, d, (B, N, S) each."""
    shape = controls.shape[:2]
    wide = {name: getattr(ego, name).view(-1, 1) for name in ("wheelbase", "steer_max", "speed_max", "accel_max", "brake_max")}
    x = y = s = yaw = controls.new_zeros(shape)
    v, steer = (value.view(-1, 1).expand(shape) for value in (ego.speed.clamp(min=0.0), ego.steer))
    turn, out = STEER_RATE * DT, []
    for step in range(STEPS):
        accel, wanted = controls[:, :, step, 0], controls[:, :, step, 1]
        accel = torch.minimum(torch.maximum(torch.maximum(accel, -wide["brake_max"]), -v / DT), wide["accel_max"])
        steer = torch.minimum(torch.maximum(wanted, steer - turn), steer + turn)
        steer = torch.minimum(torch.maximum(steer, -wide["steer_max"]), wide["steer_max"])
        end = bicycle(x, y, yaw, v, accel, steer, wide["wheelbase"], DT, speed_max=wide["speed_max"])
        guess = s + 0.5 * (v + end.speed) * DT
        x, y, yaw, v = end.x, end.y, end.yaw, end.speed
        s, d = (value.squeeze(1) for value in placed(route, guess.unsqueeze(1), x.unsqueeze(1), y.unsqueeze(1)))
        out.append((x, y, torch.cos(yaw), torch.sin(yaw), v, end.accel, curvature_of(steer, wide["wheelbase"]), s, d))
    columns = [torch.stack(part, dim=-1) for part in zip(*out, strict=True)]
    return Trajectory(*columns[:7]), columns[7], columns[8]
