"""Driving along a path behind whoever is in the way: IDM and pure pursuit, simulated with the bicycle model.

IDM: Treiber, Hennecke & Helbing, Phys. Rev. E 62 (2000), as in `envs.driving.traffic`. Shapes: B worlds, L paths, V speeds, H futures of
obstacles, S steps. Ego frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import DT, STEPS, Ego, Route, Scene, Trajectory
from agents.planners.obstacles import Obstacles, OnPath, obstacles, on_path
from agents.planners.route import columns, places, read, to_path
from agents.planners.rules import Stops, stops
from agents.planners.vehicle import curvature_of, look_ahead, pursue, steer_towards
from envs.driving.control import lateral_slope
from envs.driving.dynamics import bicycle
from envs.driving.traffic import free_road, interaction

__all__ = ["ACCEL", "DECEL", "Driven", "drive", "placed", "stop_of", "take", "Ways", "ways"]

ACCEL, DECEL, HEADWAY, GAP = 2.0, 2.5, 1.2, 2.0  # IDM: m/s^2, m/s^2, s, m
BESIDE = 0.3  # m kept sideways
RUNOUT = 12.0  # m kept before the end of a lane: room to steer out of it from a standstill
REST = 0.5  # m before a line at which to come to rest
ALONGSIDE = 2.0  # m, by which a rear end may be behind the ego's middle and still be ahead: half a car
LIKELY = 0.1  # futures less likely than this are not followed
JERK, HARD = 4.0, -3.5  # m/s^3: pedals are moved no faster (nuPlan's bound of comfort is 4.13), unless braking is to be harder, m/s^2
SETTLE, SETTLE_TIME = 3.0, 0.5  # m/s^2, s: how a speed above the limit is given up, as `envs.driving.traffic`


class Driven(NamedTuple):
    """Simulated proposals, and where they are on their paths; (B, L, V, S) each."""

    trajectory: Trajectory
    s: Tensor  # m
    d: Tensor  # m


def take(route: Route, paths: list[int]) -> Route:
    """Those paths of a route, in that order; some may come twice."""
    return Route(*(value[:, paths].contiguous() for value in route))


class Ways(NamedTuple):
    """Paths to propose something along, and what is on them."""

    around: Obstacles
    route: Route  # (B, L, .) the paths, some of them more than once
    there: OnPath  # (B, L, ...) the obstacles along them
    stop: Tensor  # (B, L) m, as `stop_of`
    aim: Tensor  # (B, L) m beside the path's middle


def ways(scene: Scene, paths: Sequence[int], aside: Sequence[float]) -> Ways:
    """paths: L indices of the route's; aside: m from the middle of each, left positive."""
    rules, rows = stops(scene), list(paths)
    around = obstacles(scene, rules.trusted, rules.stays)
    there = on_path(around, scene.route)
    route = take(scene.route, rows)
    aim = route.d.new_tensor(aside).expand_as(route.d)
    return Ways(around, route, OnPath(*(value[:, rows] for value in there)), stop_of(route, rules, scene.ego), aim)


def stop_of(route: Route, rules: Stops, ego: Ego) -> Tensor:
    """Metres from the front bumper to where one has to rest on each path, (B, L); +inf: nowhere."""
    end = route.end - 0.5 * ego.length.unsqueeze(1) - RUNOUT
    return torch.minimum(rules.at.unsqueeze(1), end.clamp(min=0.0))


def drive(ego: Ego, route: Route, aim: Tensor, share: Tensor, there: OnPath, likely: Tensor, stop: Tensor) -> Driven:
    """Follow L paths at V shares of the limit for S steps.

    aim (B, L) m: offset from the path in the end. share (V,) or (B, L, V). there: obstacles on the same L paths,
    likely (B, H) their weights. stop (B, L) m.
    """
    batch, paths = aim.shape
    shape = (batch, paths, share.shape[-1])
    wide = {name: getattr(ego, name).view(-1, 1, 1) for name in ("length", "width", "wheelbase", "steer_max", "speed_max")}
    x = y = s = aim.new_zeros(shape)
    yaw = torch.zeros_like(s)
    v = ego.speed.clamp(min=0.0).view(-1, 1, 1).expand(shape)
    d, steer = route.d.unsqueeze(2).expand(shape), ego.steer.view(-1, 1, 1).expand(shape)
    accel_max, brake_max = ego.accel_max.view(-1, 1, 1), ego.brake_max.view(-1, 1, 1)
    aside, target = d - aim.unsqueeze(2), aim.unsqueeze(2)
    half = 0.5 * wide["length"]
    root = torch.full_like(s, 2.0 * (ACCEL * DECEL) ** 0.5)
    free, headway, min_gap = (torch.full_like(s, ACCEL), torch.full_like(s, DECEL)), torch.full_like(s, HEADWAY), torch.full_like(s, GAP)
    ahead, pace = _in_the_way(there, route.d, aim, ego.width, likely)
    line = stop.unsqueeze(2) - REST + GAP
    ends = torch.isfinite(line)
    before = ego.accel.view(-1, 1, 1).expand(shape)
    path, limit, cos, sin, out = places(route), columns(route.limit), torch.cos(yaw), torch.sin(yaw), []
    for step in range(STEPS):
        wanted = read(s, limit)[0] * share
        accel = free_road(v, wanted, *free)
        over = ((wanted - v) / SETTLE_TIME).clamp(min=-SETTLE)
        accel = torch.where(v > wanted, torch.minimum(accel, over), accel)
        push = _push(ahead[..., step], pace[..., step], s, v, half)
        held = interaction((line - s).clamp(min=0.0), v, v, headway, min_gap, root)
        held = torch.where(ends, held, 0.0)
        accel = accel - ACCEL * torch.maximum(push, held)
        accel = torch.where(accel < HARD, accel, torch.maximum(accel, before - JERK * DT))
        accel = torch.minimum(accel, before.clamp(min=-ACCEL) + JERK * DT)  # brakes are let go at once
        accel = torch.minimum(torch.maximum(torch.maximum(accel, -brake_max), -v / DT), accel_max)
        look = look_ahead(v)
        way = lateral_slope(v) * look
        offset = torch.sign(aside) * (aside.abs() - way).clamp(min=0.0) + target
        px, py, _, _ = to_path(path, s + look, offset)
        bend = pursue(px - x, py - y, cos, sin, wide["wheelbase"])
        steer = steer_towards(bend, steer, wide["wheelbase"], wide["steer_max"])
        end = bicycle(x, y, yaw, v, accel, steer, wide["wheelbase"], DT, speed_max=wide["speed_max"])
        x, y, yaw, v, before = end.x, end.y, end.yaw, end.speed, end.accel
        cos, sin = torch.cos(yaw), torch.sin(yaw)
        s, d = placed(path, s + 0.5 * (v + v - end.accel * DT) * DT, x, y)
        aside = d - target
        out.append((x, y, cos, sin, v, end.accel, curvature_of(steer, wide["wheelbase"]), s, d))
    parts = [torch.stack(part, dim=-1) for part in zip(*out, strict=True)]
    return Driven(Trajectory(*parts[:7]), parts[7], parts[8])


def placed(route: Route | Tensor, guess: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Frenet coordinates of places close to a guess. route: or its `places`."""
    px, py, c, sn = to_path(route, guess)
    dx, dy = x - px, y - py
    return guess + dx * c + dy * sn, dy * c - dx * sn


def _in_the_way(there: OnPath, d: Tensor, aim: Tensor, width: Tensor, likely: Tensor) -> tuple[Tensor, Tensor]:
    """Rear ends (m along the path) and speeds of what is in the corridor between the ego's place and its aim, (B, L, W, S) each.

    W: as many as on the path with most of them; what is too much elsewhere, or in the way at other steps, is far behind. At the beginning
    of each step: obstacles are told for the end.
    """
    left, right = (pick(d, aim)[..., None, None] for pick in (torch.maximum, torch.minimum))
    reach = 0.5 * width.view(-1, 1, 1, 1) + BESIDE + there.reach_d
    inside = (there.d < left + reach) & (there.d > right - reach) & (likely >= LIKELY)[:, None, :, None]
    rear = torch.where(inside, there.s - DT * there.speed - there.reach_s, -1e4)
    matters = inside.any(3)  # (B, L, H)
    most = max(1, int(matters.sum(2).amax())) if len(d) else 1
    rows = (~matters).to(torch.uint8).sort(dim=2, stable=True).indices[..., :most, None].expand(-1, -1, -1, rear.shape[3])
    return rear.gather(2, rows), there.speed.gather(2, rows)


def _push(rear: Tensor, pace: Tensor, s: Tensor, v: Tensor, half: Tensor) -> Tensor:
    """(s*/s)^2 of the IDM against what is ahead, the worst of all; (B, L, V). rear, pace (B, L, W)."""
    gap = rear.unsqueeze(2) - s.unsqueeze(3)
    speed = v.unsqueeze(3)
    wanted = GAP + (speed * HEADWAY + speed * (speed - pace.unsqueeze(2)) * (0.5 / (ACCEL * DECEL) ** 0.5)).clamp(min=0.0)
    ratio = wanted / (gap - half.unsqueeze(3)).clamp(min=0.1)
    return torch.where(gap > -ALONGSIDE, ratio * ratio, 0.0).amax(3)
