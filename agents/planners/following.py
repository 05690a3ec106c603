"""Following a path forwards and backwards, to a few centimetres.

The rear axle is steered by the path's own curvature, a little ahead, and by feedback of what is left beside and askew. Over the distance
driven, not over time, errors die away like those of a critically damped spring, forwards and backwards alike:

    bend = path's - e / l^2 - 2 gear a / l        e m left of the path, a rad askew, l m
    e' = gear a,  a' = gear (bend - path's)       for each metre driven

Between legs the wheels are turned at a standstill. Places ahead that somebody will be at are stopped for.

Shapes: B worlds, P points of a path, U tracks, K places looked ahead, S steps. Poses of the rear axle, world frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import DT, STEPS, Ego, Scene, Trajectory
from agents.planners.paths import BRAKE, PAST, Paths
from envs.driving.collision import overlap
from envs.driving.dynamics import wrap

__all__ = ["Follow", "Progress", "follow", "foreseen", "new_progress"]

PUSH, HARD = 1.0, 4.0  # m/s^2: to get going, and at most for what is in the way
AHEAD = 0.2  # s by which steering is ahead: half a decision, and wheels take their time
LENGTH, DAMP = 1.0, 0.8  # m, s: l is the longer of LENGTH and what is driven in DAMP
ASIDE = 0.5  # m, errors beyond are corrected no harder
REACHED, STANDS = 0.03, 0.03  # m, m/s: a leg has been driven
READY, TURNED = 0.05, 8  # rad by which wheels may be off when a leg is begun; decisions in which they are turned in any case
BESIDE = 0.01  # m all round the car where others are in the way
PLACES, EVERY = 12, 0.5  # K, m between them
GAP = 0.6  # m to keep before what is in the way
SOON = 3.0  # s, others are thought to go on as they do for no longer
STRAY = 0.6  # m beside the path: it is not followed any more
TURN = 1.0  # m^2, by which a point of the other heading is farther


class Progress(NamedTuple):
    """How far the worlds are. All (B,)."""

    leg: Tensor  # int64, of the path
    halted: Tensor  # int64, decisions at rest without having arrived or being on the way
    stood: Tensor  # int64, decisions at rest


class Follow(NamedTuple):
    """What to do now. All (B,)."""

    accel: Tensor  # m/s^2 along the heading
    steer: Tensor  # rad
    progress: Progress
    over: Tensor  # bool, the path has been driven to its end, or there is none


class _Foot(NamedTuple):
    """The ego beside its leg. All (B,)."""

    s: Tensor  # m driven since the beginning
    aside: Tensor  # m left
    askew: Tensor  # rad left
    left: Tensor  # m to the end of the leg
    gear: Tensor
    first: Tensor  # int64, indices of the leg's points
    last: Tensor


def new_progress(worlds: int, device: torch.device) -> Progress:
    """At the beginning."""
    zero = torch.zeros(worlds, dtype=torch.int64, device=device)
    return Progress(zero, zero, zero)


def _at(table: Tensor, index: Tensor) -> Tensor:
    """Columns index (B,) or (B, K) of a table (B, P)."""
    return table.gather(1, index if index.dim() == 2 else index.unsqueeze(1)).view(index.shape)


def _foot(paths: Paths, leg: Tensor, x: Tensor, y: Tensor, yaw: Tensor) -> _Foot:
    on = paths.leg == leg.unsqueeze(1)
    dx, dy = x.unsqueeze(1) - paths.x, y.unsqueeze(1) - paths.y
    off = dx * dx + dy * dy + TURN * (1.0 - torch.cos(yaw.unsqueeze(1) - paths.yaw))
    near = torch.where(on, off, torch.inf).argmin(1)
    gear, heading = _at(paths.gear, near), _at(paths.yaw, near)
    gear = torch.where(gear == 0.0, 1.0, gear)  # there is no path
    dx, dy, cos, sin = _at(dx, near), _at(dy, near), torch.cos(heading), torch.sin(heading)
    along = (dx * cos + dy * sin) * gear
    first, last = (paths.leg < leg.unsqueeze(1)).sum(1), (paths.leg <= leg.unsqueeze(1)).sum(1) - 1
    last = last.clamp(min=0)
    s = _at(paths.s, near) + along
    heading = heading + gear * _at(paths.bend, near) * along.clamp(-0.1, 0.1)
    return _Foot(s, dy * cos - dx * sin, wrap(yaw - heading), _at(paths.s, last) - s, gear, torch.minimum(first, last), last)


def _index(paths: Paths, foot: _Foot, s: Tensor) -> Tensor:
    """The points of the leg at or before stations (B, K), (B, K) int64."""
    found = torch.searchsorted(paths.s, s.contiguous(), right=True) - 1
    return torch.minimum(torch.maximum(found, foot.first.unsqueeze(1)), foot.last.unsqueeze(1))


def follow(paths: Paths, progress: Progress, scene: Scene) -> Follow:
    """One decision of DT."""
    ego = scene.ego
    x, y, yaw = _rear(ego)
    leg, v = progress.leg, ego.speed
    final = torch.where(paths.leg == PAST, -1, paths.leg).amax(1)
    foot = _foot(paths, leg, x, y, yaw)
    done = (foot.left < REACHED) & (v.abs() < STANDS) & (final >= 0)
    over = (final < 0) | (done & (leg >= final))
    leg = torch.where(done & ~over, leg + 1, leg)
    foot = _foot(paths, leg, x, y, yaw)
    pace = v * foot.gear  # m/s in the direction of the leg

    ahead = _at(paths.bend, _index(paths, foot, (foot.s + AHEAD * pace.abs()).unsqueeze(1)).squeeze(1))
    reach = (DAMP * v.abs()).clamp(min=LENGTH)
    back = foot.aside.clamp(-ASIDE, ASIDE) / (reach * reach) + 2.0 * foot.gear * foot.askew / reach
    steer = torch.atan(ego.wheelbase * (ahead - back))
    steer = torch.minimum(torch.maximum(steer, -ego.steer_max), ego.steer_max)

    where = blocked_after(paths, foot, scene)
    wanted = _pace(paths, foot, pace, where)
    astray = foot.aside.abs() > STRAY
    stands = v.abs() < STANDS
    turning = stands & ((steer - ego.steer).abs() > READY) & (progress.stood < TURNED)
    waits = over | astray | turning
    wanted = torch.where(waits, 0.0, wanted)
    wanted = torch.maximum(torch.minimum(wanted, pace + PUSH * DT), pace - HARD * DT)
    accel = foot.gear * torch.where(pace < 0.0, -pace, wanted - pace) / DT  # still rolling the other way: to rest first
    steer = torch.where(over, ego.steer, steer)
    stuck = over | astray | torch.isfinite(where)
    halted = torch.where(stands & stuck, progress.halted + 1, 0)
    return Follow(accel, steer, Progress(leg, halted, torch.where(stands, progress.stood + 1, 0)), over)


def _pace(paths: Paths, foot: _Foot, pace: Tensor, where: Tensor) -> Tensor:
    """Speed to have after DT, m/s: that of the path there, and one from which the end of the leg is met exactly.

    After a step at the mean of both speeds, braking with b has to end at the stop: v1^2 = 2 b (left - (v0 + v1) DT / 2). The last two steps
    are made so that they end there.
    """
    v0 = pace.clamp(min=0.0)
    there = _at(paths.speed, _index(paths, foot, (foot.s + v0 * DT).unsqueeze(1)).squeeze(1))
    here = _at(paths.speed, _index(paths, foot, foot.s.unsqueeze(1)).squeeze(1))
    close = foot.left < 1.0  # there the rule below is exact, the points are not
    wanted = torch.where(close, torch.maximum(there, here), there)
    for left, b in ((foot.left, BRAKE), (where - GAP, 0.5 * HARD)):
        left = left.clamp(min=0.0)
        root = torch.sqrt((b * b * DT * DT + 4.0 * b * (2.0 * left - v0 * DT)).clamp(min=0.0))
        rule = (0.5 * (root - b * DT)).clamp(min=0.0)
        wanted = torch.minimum(wanted, torch.minimum(rule, (left / DT - 0.5 * v0).clamp(min=0.0)))
    return wanted


def _rear(ego: Ego) -> tuple[Tensor, Tensor, Tensor]:
    """Pose of the rear axle."""
    half = 0.5 * ego.wheelbase
    return ego.x - half * ego.cos, ego.y - half * ego.sin, torch.atan2(ego.sin, ego.cos)


def blocked_after(paths: Paths, foot: _Foot, scene: Scene) -> Tensor:
    """Metres along the leg until the ego would meet somebody, (B,); +inf: nobody within sight. Others keep their velocity for a while."""
    ego, tracks = scene.ego, scene.around
    steps = EVERY * torch.arange(1, PLACES + 1, device=ego.x.device, dtype=ego.x.dtype)  # (K,)
    index = _index(paths, foot, foot.s.unsqueeze(1) + steps)
    x, y, yaw = (_at(table, index) for table in (paths.x, paths.y, paths.yaw))  # (B, K)
    half = 0.5 * ego.wheelbase.unsqueeze(1)
    x, y = x + half * torch.cos(yaw), y + half * torch.sin(yaw)
    when = (steps / ego.speed.abs().clamp(min=1.0).unsqueeze(1)).clamp(max=SOON)  # (B, K) s
    cos, sin = ego.cos.view(-1, 1, 1), ego.sin.view(-1, 1, 1)
    mx, my, vx, vy = (part.unsqueeze(1) for part in tracks.mean.unbind(-1))  # (B, 1, U)
    mx, my = mx + vx * when.unsqueeze(2), my + vy * when.unsqueeze(2)  # (B, K, U)
    heading = torch.atan2(ego.sin, ego.cos).view(-1, 1, 1) + tracks.yaw.unsqueeze(1)
    hit = overlap(
        x.unsqueeze(2),
        y.unsqueeze(2),
        yaw.unsqueeze(2),
        (ego.length + 2.0 * BESIDE).view(-1, 1, 1),
        (ego.width + 2.0 * BESIDE).view(-1, 1, 1),
        ego.x.view(-1, 1, 1) + mx * cos - my * sin,
        ego.y.view(-1, 1, 1) + mx * sin + my * cos,
        heading,
        tracks.size[..., 0].unsqueeze(1),
        tracks.size[..., 1].unsqueeze(1),
    )
    moves = (vx * vx + vy * vy) > 0.25  # m^2/s^2; who stands was there when the path was made, or is met for certain
    beyond = (steps > foot.left.unsqueeze(1) + EVERY).unsqueeze(2)  # the end of the leg again and again
    hit = hit & tracks.mask.unsqueeze(1) & (moves | ~beyond)
    return torch.where(hit.any(2), steps, torch.inf).amin(1)


def foreseen(paths: Paths, scene: Scene) -> Trajectory:
    """The next STEPS * DT seconds along the paths from their beginning, (B, S), ego frame. Wheels turn at once between legs."""
    ego = scene.ego
    leg = torch.zeros_like(ego.lane)
    final = torch.where(paths.leg == PAST, -1, paths.leg).amax(1)
    s, pace = torch.zeros_like(ego.x), ego.speed * paths.gear[:, 0]
    v, out = ego.speed, []
    for _ in range(STEPS):
        first, last = (paths.leg < leg.unsqueeze(1)).sum(1), ((paths.leg <= leg.unsqueeze(1)).sum(1) - 1).clamp(min=0)
        end = _at(paths.s, last)
        zero = torch.zeros_like(s)
        foot = _Foot(s, zero, zero, end - s, _at(paths.gear, torch.minimum(first, last)), torch.minimum(first, last), last)
        wanted = torch.where(final < 0, 0.0, _pace(paths, foot, pace, torch.full_like(s, torch.inf)))
        new = torch.maximum(torch.minimum(wanted, pace + PUSH * DT), pace - HARD * DT)
        s = torch.minimum(s + (0.5 * (pace + new) * DT).clamp(min=0.0), end)
        index = _index(paths, foot, s.unsqueeze(1)).squeeze(1)
        x, y, yaw, bend = (_at(table, index) for table in (paths.x, paths.y, paths.yaw, paths.bend))
        past = (s - _at(paths.s, index)) * foot.gear  # m beyond the point
        x, y, yaw = x + past * torch.cos(yaw), y + past * torch.sin(yaw), yaw + past * bend
        speed = new * foot.gear
        half = 0.5 * ego.wheelbase
        dx, dy = x + half * torch.cos(yaw) - ego.x, y + half * torch.sin(yaw) - ego.y
        turn = yaw - torch.atan2(ego.sin, ego.cos)
        rows = (dx * ego.cos + dy * ego.sin, dy * ego.cos - dx * ego.sin, torch.cos(turn), torch.sin(turn), speed, (speed - v) / DT, bend)
        still = final < 0
        rest = (zero, zero, zero + 1.0, zero, zero, -v / DT, zero)
        out.append([torch.where(still, b, a) for a, b in zip(rows, rest, strict=True)])
        v = torch.where(still, 0.0, speed)
        arrived = (end - s < REACHED) & (new < STANDS) & (leg < final)
        leg, pace = torch.where(arrived, leg + 1, leg), torch.where(arrived, 0.0, new)
    return Trajectory(*(torch.stack(part, dim=-1) for part in zip(*out, strict=True)))
