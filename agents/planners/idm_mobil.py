"""The classical rule-based driver on what is believed of the others: IDM along the lane, MOBIL between lanes.

The simulator's own drivers (`idm`) follow the same rules, but are told everybody's route and wishes. MOBIL: Kesting, Treiber & Helbing,
Transp. Res. Rec. 1999 (2007). Shapes: B worlds, R = 3 lanes (left, own, right), T tracks, S steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import Costs, Plan, Scene, Trajectory
from agents.planners.obstacles import obstacles, on_path
from agents.planners.pdm import URGENT, choose
from agents.planners.proposals import ACCEL, BESIDE, DECEL, GAP, HEADWAY, drive, stop_of
from agents.planners.route import OWN, at, to_frenet
from agents.planners.rules import stops
from envs.driving.traffic import free_road, interaction

__all__ = ["IdmMobil"]

THRESHOLD = 0.4  # m/s^2, gain for which a change is worth its trouble
KEEP_RIGHT = 0.2  # m/s^2
POLITENESS = 0.2
SAFE = 3.0  # m/s^2, braking that the new follower may be put to
MUST, HURRY = 2.5, 6.0  # m/s^2, gain of a change that the route needs: at any time, and more at the end of the lane
LEANS, BEGUN = 0.4, 3.0  # m off the middle and still moving off: the change has begun, and going on is worth so much, m/s^2
NEVER = 1e4  # m/s^2


@dataclass(frozen=True)
class IdmMobil:
    """Rule-based: car following (IDM) and lane changes (MOBIL) on tracks."""

    name: str = "idm_mobil"

    def plan(self, scene: Scene) -> Plan:
        """See `agents.planners.base.Planner`. The costs are MOBIL's gains, negative."""
        ego, route, rules = scene.ego, scene.route, stops(scene)
        around = obstacles(scene, rules.trusted, rules.stays)
        there = on_path(around, route)
        aim = torch.zeros_like(route.d)
        driven = drive(ego, route, aim, aim.new_ones(1), there, around.weight, stop_of(route, rules, ego))
        gain = gains(scene)
        zero = torch.zeros_like(gain)
        return choose(Trajectory(*(value.flatten(1, 2) for value in driven.trajectory)), Costs(zero, zero, zero, zero, zero, zero, -gain))


class _Beside(NamedTuple):
    """Who is next in each lane, (B, R); gaps bumper to bumper, 1e3: nobody."""

    gap: Tensor  # m
    speed: Tensor  # m/s


def _next(scene: Scene, ahead: bool) -> _Beside:
    tracks, ego = scene.tracks, scene.ego
    s, d, c, sn = to_frenet(scene.route, *(part.contiguous() for part in tracks.mean[..., :2].unbind(-1)))  # (B, R, T)
    vx, vy = (part.unsqueeze(1) for part in tracks.mean[..., 2:].unbind(-1))
    reach = 0.5 * (tracks.size[..., 1] + ego.width.unsqueeze(1)).unsqueeze(1) + BESIDE
    there = tracks.mask.unsqueeze(1) & (d.abs() < reach) & ((s > 0.0) if ahead else (s <= 0.0))
    room = s.abs() - 0.5 * (tracks.size[..., 0] + ego.length.unsqueeze(1)).unsqueeze(1)
    gap, which = torch.where(there, room, 1e3).min(-1)
    return _Beside(gap, (vx * c + vy * sn).gather(2, which.unsqueeze(2)).squeeze(2))


def _accel(gap: Tensor, speed: Tensor, lead: Tensor, wanted: Tensor) -> Tensor:
    """IDM acceleration, m/s^2."""
    full = torch.ones_like(gap)
    push = interaction(gap, speed, speed - lead, HEADWAY * full, GAP * full, 2.0 * (ACCEL * DECEL) ** 0.5 * full)
    return free_road(speed, wanted, ACCEL * full, DECEL * full) - ACCEL * torch.where(gap < 1e3, push, 0.0)


def gains(scene: Scene) -> Tensor:
    """What each lane is worth against staying, m/s^2, (B, R); the own lane: THRESHOLD, lanes that may not be entered: -NEVER."""
    ego, route = scene.ego, scene.route
    front, rear = _next(scene, True), _next(scene, False)
    v = ego.speed.unsqueeze(1).expand_as(front.gap)
    zero = torch.zeros_like(route.d)
    wanted, slope = at(zero, route.limit, route.sin)
    mine = _accel(front.gap, v, front.speed, wanted)
    follows = _accel(rear.gap, rear.speed, v, torch.maximum(wanted, rear.speed))
    before = _accel(front.gap + rear.gap + ego.length.unsqueeze(1), rear.speed, front.speed, torch.maximum(wanted, rear.speed))
    loss = torch.where(rear.gap < 1e3, follows - before, 0.0).clamp(max=0.0)
    sides = torch.tensor([1.0, 0.0, -1.0], device=v.device)
    need = torch.sign(route.need[:, OWN : OWN + 1]).to(v.dtype)
    urgency = ((URGENT - route.end[:, OWN : OWN + 1]) / URGENT).clamp(0.0, 1.0)
    must = (need == sides) & (sides != 0.0)
    leaving = torch.isfinite(route.end) & ~torch.isfinite(route.end[:, OWN : OWN + 1])  # a lane that leads away from the goal
    gain = mine - mine[:, OWN : OWN + 1] + POLITENESS * loss - sides * KEEP_RIGHT
    gain = gain + torch.where(must, MUST + HURRY * urgency, 0.0)
    leans = (route.d[:, OWN : OWN + 1] * sides > LEANS) & (slope[:, OWN : OWN + 1] * sides < -0.005)
    gain = gain + torch.where(leans, BEGUN, 0.0)
    room = torch.minimum(front.gap, rear.gap) > 1.0
    safe = torch.where(rear.gap < 1e3, follows, 0.0) > -SAFE - torch.where(must, 2.0 * urgency, 0.0)
    safe = safe & (mine > -0.4 * ego.brake_max.unsqueeze(1))
    allowed = (route.lane >= 0) & room & (safe | leans) & (must | ~leaving)
    gain = torch.where(allowed & (must | leans | (v > 1.0)), gain, -NEVER)
    return torch.where(sides == 0.0, torch.full_like(gain, THRESHOLD), gain)
