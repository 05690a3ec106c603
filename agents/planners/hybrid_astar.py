"""Parking: a path searched once by hybrid A* (Dolgov et al. 2010), then followed; searched anew when something is in its way.

It is for goals to stand at, such as bays. In worlds with another goal it drives as `pdm` does. Searching runs world by world on the CPU, on
the map's rasters and everything that is believed to stand around; following runs batched on the scene's device.

Shapes: B worlds, U tracks, S steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.planners.base import Costs, Plan, Planner, Scene, Trajectory
from agents.planners.following import Progress, follow, foreseen, new_progress
from agents.planners.freespace import Surface, body, make_free_space
from agents.planners.hybrid_search import search
from agents.planners.motions import Pose, Search, Segments
from agents.planners.paths import PAST, Paths, Points, no_paths, put, sample
from agents.planners.pdm import Pdm
from agents.planners.vehicle import action_of
from envs.driving.dynamics import wrap

__all__ = ["HybridAstar", "Memory"]

STEER = 0.92  # of the widest steering angle: the rest is for corrections
MOVES = 0.5  # m/s: who is faster is no obstacle to plan around
ROLLS = 0.3  # m/s: then the path begins in the direction the ego moves in
PATIENCE, DESPAIR = 8, 25  # decisions at rest until a new path is looked for, and again where none was found
NEAR, STRAIGHT = 0.1, math.radians(2.5)  # m, rad: stands well enough
STOP = 1.5  # m/s^2, by which a rolling car stops before it may turn back


class Memory(NamedTuple):
    """What is remembered from decision to decision."""

    paths: Paths
    progress: Progress


@dataclass(frozen=True)
class HybridAstar:
    """Searches the way into the bay, and drives it."""

    how: Search = field(default_factory=Search)
    elsewhere: Planner = field(default_factory=Pdm)  # where the goal is none to stand at
    name: str = "hybrid_astar"

    def plan(self, scene: Scene) -> Plan:
        """See `agents.planners.base.Planner`: a path searched from here, and its first seconds. The cost is the length of the path.

        Where none was found the ego stands, and the cost is infinite.
        """
        stands = scene.spot.wanted
        worlds, device = len(stands), stands.device
        found = {b: self.points(scene, b) for b in torch.nonzero(stands).flatten().tolist()}
        paths = put(no_paths(worlds, device), found)
        mine = foreseen(paths, scene)
        cost = torch.where(stands, torch.where((paths.leg == PAST).all(1), torch.inf, paths.s[:, -1]), 0.0)
        if bool(stands.all()):
            zero = torch.zeros_like(cost)
            costs = Costs(cost, zero, zero, zero, zero, zero, zero)
            return Plan(mine, costs, Trajectory(*(part.unsqueeze(1) for part in mine)), cost.unsqueeze(1), torch.zeros_like(scene.ego.lane))
        theirs = self.elsewhere.plan(scene)
        mine = Trajectory(*(_mixed(stands, a, b) for a, b in zip(mine, theirs.trajectory, strict=True)))
        costs = Costs(*(torch.where(stands, cost if name == "progress" else 0.0, value) for name, value in theirs.costs._asdict().items()))
        every = Trajectory(*(_mixed(stands, a.unsqueeze(1), b) for a, b in zip(mine, theirs.candidates, strict=True)))
        totals = _mixed(stands, cost.unsqueeze(1), theirs.totals)
        return Plan(mine, costs, every, totals, torch.where(stands, 0, theirs.chosen))

    def drive(self, scene: Scene, memory: Memory | None, fresh: Tensor) -> tuple[Tensor, Memory]:
        """See `agents.planners.base.Remembering`."""
        ego, spot = scene.ego, scene.spot
        worlds, device = len(fresh), fresh.device
        if memory is None:
            memory = Memory(no_paths(worlds, device), new_progress(worlds, device))
        halted, none = memory.progress.halted, (memory.paths.leg == PAST).all(1)
        begin = spot.wanted & (fresh | (halted >= torch.where(none, DESPAIR, PATIENCE)))
        paths, progress = memory
        if bool(begin.any()):
            paths = put(paths, {b: self.points(scene, b) for b in torch.nonzero(begin).flatten().tolist()})
            progress = Progress(*(torch.where(begin, 0, value) for value in progress))
        step = follow(paths, progress, scene)
        off = torch.sqrt((ego.x - spot.x) ** 2 + (ego.y - spot.y) ** 2)
        askew = wrap(torch.atan2(ego.sin, ego.cos) - spot.yaw).abs()
        arrived = step.over & (off < NEAR) & (askew < STRAIGHT)
        progress = step.progress._replace(halted=torch.where(arrived, 0, step.progress.halted))
        push = torch.where(step.accel >= 0.0, step.accel / ego.accel_max, step.accel / ego.brake_max)
        action = torch.stack([push, step.steer / ego.steer_max], dim=-1).clamp(-1.0, 1.0).unsqueeze(1)
        if not bool(spot.wanted.all()):
            action = _mixed(spot.wanted, action, action_of(self.elsewhere, self.elsewhere.plan(scene), ego))
        return action, Memory(paths, progress)

    def points(self, scene: Scene, world: int) -> Points | None:
        """The path of one world, from where its ego is; None if there is none."""
        ego, place, spot = scene.ego, scene.place, scene.spot
        x, y, cos, sin, speed, steer, length, width, wheelbase, steer_max = (
            float(getattr(ego, name)[world])
            for name in ("x", "y", "cos", "sin", "speed", "steer", "length", "width", "wheelbase", "steer_max")
        )
        yaw, half = math.atan2(sin, cos), 0.5 * wheelbase
        start = Pose(x - half * cos, y - half * sin, yaw)
        tx, ty, tyaw = (float(value[world]) for value in (spot.x, spot.y, spot.yaw))
        goal = Pose(tx - half * math.cos(tyaw), ty - half * math.sin(tyaw), tyaw)
        maps, mid = place.maps, int(place.map_id[world])
        surface = Surface(
            maps.raster_origin[mid].double().cpu().numpy(), float(maps.raster_step[mid]), maps.sdf[mid].cpu().numpy(),
            maps.headings[mid].cpu().numpy(),
        )  # fmt: skip
        car = body(length, width, wheelbase)
        space = make_free_space(surface, _boxes(scene, world), np.array([start[:2], goal[:2]]))
        rolled = _rolled(start, speed, math.tan(steer) / wheelbase)
        radius = wheelbase / math.tan(STEER * steer_max)
        first = start if rolled is None else rolled[0]
        found = search(space, car, first, goal, radius, self.how, gear=0 if rolled is None else int(math.copysign(1.0, speed)))
        if found is None:
            return None
        if rolled is not None:
            found = Segments(start, np.append(rolled[1], found.lengths), np.append(rolled[2], found.bends), found.expanded)
        return sample(found, space, car)


def _boxes(scene: Scene, world: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(U, 5) x, y, yaw, length, width of what stands around, world frame."""
    ego, tracks = scene.ego, scene.around
    mean = tracks.mean[world].double().cpu()
    stands = (tracks.mask[world].cpu()) & (mean[:, 2].hypot(mean[:, 3]) <= MOVES)
    cos, sin = float(ego.cos[world]), float(ego.sin[world])
    x = float(ego.x[world]) + mean[:, 0] * cos - mean[:, 1] * sin
    y = float(ego.y[world]) + mean[:, 0] * sin + mean[:, 1] * cos
    yaw = tracks.yaw[world].double().cpu() + math.atan2(sin, cos)
    boxes = torch.stack([x, y, yaw, *tracks.size[world, :, :2].double().cpu().unbind(-1)], dim=-1)
    return boxes[stands].numpy(force=True)


def _rolled(start: Pose, speed: float, bend: float) -> tuple[Pose, float, float] | None:
    """Where a rolling car can stop: the pose there, the signed way (m) and its curvature; None for one that stands."""
    if abs(speed) < ROLLS:
        return None
    way = math.copysign(speed * speed / (2.0 * STOP), speed)
    half = 0.5 * way * bend
    chord = way * float(np.sinc(half / math.pi))
    x, y = start.x + chord * math.cos(start.yaw + half), start.y + chord * math.sin(start.yaw + half)
    return Pose(x, y, start.yaw + 2.0 * half), way, bend


def _mixed(mask: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Rows of `one` in the worlds of mask, of `other` elsewhere."""
    return torch.where(mask.view(-1, *[1] * (other.dim() - 1)), one, other)
