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
SPREAD_MIN, SPREAD = 0.4, 0.73  # m, m/rad: way over which a turn of the wheels is spread; from stop to stop 1.2 m, 3 cm off the path
TURN_RATE = 0.8  # rad/s at which wheels are turned on the way; they manage 1 (`envs.driving.control.STEER_RATE`)
CRAWL = 0.15  # m/s
WHEELBASE = 2.8  # m, of a car: how far wheels are turned for a curvature, about
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
    slow, way = _turns(bends, stations, legs)
    speed = np.minimum(speed, slow)
    ends = np.append(np.diff(legs) != 0.0, True)
    speed = np.where(ends, 0.0, speed)
    for k in range(len(speed) - 2, -1, -1):
        if not ends[k]:
            speed[k] = min(speed[k], np.sqrt(speed[k + 1] ** 2 + 2.0 * BRAKE * (stations[k + 1] - stations[k])))
    for j in range(leg + 1):
        mine = legs == j
        bends[mine] = _spread(bends[mine], stations[mine], way[mine])
        pyaw[mine] = _headings(pyaw[mine], bends[mine], stations[mine], gears[mine])
    return Points(px, py, pyaw, bends, stations, speed, gears, legs)


def _turns(bends: Floats, s: Floats, legs: Floats) -> tuple[Floats, Floats]:
    """Speeds at most (m/s) and ways over which the curvature is averaged (m) where it changes; +inf and 0 elsewhere."""
    speed, way = np.full_like(s, np.inf), np.zeros_like(s)
    for k in np.nonzero((np.abs(np.diff(bends)) > 1e-6) & (np.diff(legs) == 0.0))[0]:
        turn = abs(np.arctan(WHEELBASE * bends[k + 1]) - np.arctan(WHEELBASE * bends[k]))  # rad
        mine = legs == legs[k]
        ends = min(s[k] - s[mine][0], s[mine][-1] - s[k])  # wheels are turned at a standstill there, and not on the way
        wide = max(min(SPREAD_MIN + SPREAD * turn, 2.0 * ends), 2.0 * SPACING)
        near = mine & (np.abs(s - s[k]) <= 0.5 * wide + SPACING)
        speed[near] = np.minimum(speed[near], max(wide * TURN_RATE / turn, CRAWL))
        way[near] = np.maximum(way[near], wide)
    return speed, way


def _spread(bends: Floats, s: Floats, way: Floats) -> Floats:
    """Each curvature averaged over a way around it."""
    if len(s) < 2:
        return bends
    cut = 0.5 * (s[1:] + s[:-1])
    edges = np.concatenate([s[:1], cut, s[-1:]])
    integral = np.concatenate([[0.0], np.cumsum(bends * np.diff(edges))])
    half = np.maximum(np.minimum(0.5 * way, np.minimum(s - s[0], s[-1] - s)), 0.01)
    low, high = np.maximum(s - half, s[0]), np.minimum(s + half, s[-1])
    mean: Floats = (np.interp(high, edges, integral) - np.interp(low, edges, integral)) / (high - low)
    return mean


def _headings(yaw: Floats, bends: Floats, s: Floats, gears: Floats) -> Floats:
    """The headings that go with spread curvatures, from the first heading to the last; places stay, being off by 3 cm at most."""
    turned = np.concatenate([[0.0], np.cumsum(0.5 * (bends[1:] + bends[:-1]) * gears[1:] * np.diff(s))])
    short = yaw[-1] - yaw[0] - turned[-1]
    headings: Floats = yaw[0] + turned + short * (s - s[0]) / max(float(s[-1] - s[0]), 1e-9)
    return headings


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
