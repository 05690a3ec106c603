"""A path of arcs and lines as points with speeds: what there is to follow.

A path is cut into legs at its changes of direction; at the end of each the car stands. In between it is as slow as bends, turning wheels
and narrow places ask for. Changes of curvature are spread over the way that wheels need to turn.

Shapes: N points of a path, P points kept of each, B worlds. World frame, poses of the rear axle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.planners.freespace import Body, FreeSpace, room
from agents.planners.motions import Segments

__all__ = ["POINTS", "Paths", "Points", "no_paths", "put", "sample"]

Floats = NDArray[np.float64]
POINTS = 1024  # P
SPACING = 0.1  # m between points; more on paths longer than 90 m
FORWARD, BACKWARD = 3.0, 1.5  # m/s at most
LATERAL = 1.0  # m/s^2 sideways at most
BRAKE = 1.2  # m/s^2, before slower stretches and the ends of legs
CLOSE, OPENING = 0.8, 3.0  # m/s where nothing is left of the room to keep, and m/s more for each metre of it
SPREAD = 0.6  # s over which a change of curvature is spread: 1 rad/s turns the wheels from the middle to the stop in that time
TURNING = 1.2  # m at most over which it is spread
PAST = 1 << 30  # leg of the points that are none


class Points(NamedTuple):
    """One path, (N,) each."""

    x: Floats  # m
    y: Floats
    yaw: Floats  # rad
    bend: Floats  # 1/m, curvature to steer by
    s: Floats  # m driven since the beginning
    speed: Floats  # m/s at most, 0 at the ends of legs
    gear: Floats  # 1 forwards, -1 backwards
    leg: Floats  # 0, 1, ...


class Paths(NamedTuple):
    """What B worlds follow, (B, P) each: points, and then the last one again and again."""

    x: Tensor
    y: Tensor
    yaw: Tensor
    bend: Tensor
    s: Tensor
    speed: Tensor
    gear: Tensor
    leg: Tensor  # int64, PAST after the last point; PAST everywhere: there is no path


def sample(path: Segments, space: FreeSpace, car: Body) -> Points:
    """The points of a path, with speeds."""
    spacing = max(SPACING, float(np.abs(path.lengths).sum()) / (0.9 * POINTS))
    x, y, yaw = path.start
    s, leg, gear = 0.0, -1, 0.0
    parts: list[Floats] = []
    for length, bend in zip(path.lengths, path.bends, strict=True):
        begins = gear != np.sign(length)
        gear = float(np.sign(length))
        leg += int(begins)
        count = max(1, int(np.ceil(abs(length) / spacing)))
        along = np.arange(0 if begins else 1, count + 1) / count * length
        half = 0.5 * along * bend
        chord = along * np.sinc(half / np.pi)
        same = np.ones_like(along)
        columns = (x + chord * np.cos(yaw + half), y + chord * np.sin(yaw + half), yaw + 2.0 * half, bend * same, s + np.abs(along))
        parts.append(np.stack([*columns, gear * same, leg * same], axis=-1))
        x, y, yaw = (float(column[-1]) for column in columns[:3])
        s += abs(length)
    px, py, pyaw, bends, stations, gears, legs = np.concatenate(parts).T
    left = np.maximum(room(space, car, px, py, pyaw), 0.0)
    speed = np.minimum(np.where(gears > 0.0, FORWARD, BACKWARD), CLOSE + OPENING * left)
    speed = np.minimum(speed, np.sqrt(LATERAL / np.maximum(np.abs(bends), 1e-6)))
    speed = np.minimum(speed, _turning(bends, stations, legs))
    ends = np.append(np.diff(legs) != 0.0, True)
    speed = np.where(ends, 0.0, speed)
    for k in range(len(speed) - 2, -1, -1):
        if not ends[k]:
            speed[k] = min(speed[k], np.sqrt(speed[k + 1] ** 2 + 2.0 * BRAKE * (stations[k + 1] - stations[k])))
    for j in range(leg + 1):
        mine = legs == j
        bends[mine] = _spread(bends[mine], stations[mine], speed[mine])
    return Points(px, py, pyaw, bends, stations, speed, gears, legs)


def _turning(bends: Floats, s: Floats, legs: Floats) -> Floats:
    """Speeds at which wheels turn fast enough where the curvature changes, m/s; +inf elsewhere."""
    speed = np.full_like(s, np.inf)
    for k in np.nonzero((np.abs(np.diff(bends)) > 1e-6) & (np.diff(legs) == 0.0))[0]:
        turn = abs(np.arctan(2.8 * bends[k + 1]) - np.arctan(2.8 * bends[k]))  # rad, about, of the wheels of a car
        near = (np.abs(s - s[k]) <= 0.5 * TURNING) & (legs == legs[k])
        speed[near] = np.minimum(speed[near], max(TURNING / max(turn / 0.8, SPREAD), 0.5))
    return speed


def _spread(bends: Floats, s: Floats, speed: Floats) -> Floats:
    """Each curvature averaged over what is driven in SPREAD around it."""
    if len(s) < 2:
        return bends
    cut = 0.5 * (s[1:] + s[:-1])
    edges = np.concatenate([s[:1], cut, s[-1:]])
    integral = np.concatenate([[0.0], np.cumsum(bends * np.diff(edges))])
    wide = np.minimum(np.clip(0.5 * SPREAD * speed, 0.02, 0.5 * TURNING), np.maximum(np.minimum(s - s[0], s[-1] - s), 0.02))
    low, high = np.maximum(s - wide, s[0]), np.minimum(s + wide, s[-1])
    mean: Floats = (np.interp(high, edges, integral) - np.interp(low, edges, integral)) / (high - low)
    return mean


def no_paths(worlds: int, device: torch.device) -> Paths:
    """None for anybody."""
    zero = torch.zeros(worlds, POINTS, device=device)
    columns = dict.fromkeys(Points._fields, zero)
    return Paths(**(columns | {"leg": torch.full((worlds, POINTS), PAST, dtype=torch.int64, device=device)}))


def put(paths: Paths, found: dict[int, Points | None]) -> Paths:
    """Paths with those of some worlds anew; None: there is none. The arguments stay as they are."""
    columns: dict[str, Tensor] = {}
    for name, old in paths._asdict().items():
        new = old.clone()
        for world, points in found.items():
            row = np.zeros(POINTS) if points is None else np.pad(getattr(points, name), (0, POINTS - len(points.s)), mode="edge")
            if name == "leg":
                row[0 if points is None else len(points.s) :] = PAST
            new[world] = torch.from_numpy(row).to(old.device, old.dtype)
        columns[name] = new
    return Paths(**columns)
