"""Motions of a car: paths of arcs and lines, and what they cost among obstacles.

Shapes: K segments of a path, N curves, M poses along one. Poses are of the rear axle, world frame; curvature left positive.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.planners import reeds_shepp
from agents.planners.freespace import WRONG, Body, FreeSpace, against, room

__all__ = ["SHOT", "SPACING", "Motions", "Pose", "Search", "Segments", "joints"]

Floats = NDArray[np.float64]
NEAR = 0.4  # m beyond what has to be kept within which a pose costs more
SPACING = 0.25  # m between poses checked along curves
SHOT = 40.0  # m, longer curves are not tried


class Pose(NamedTuple):
    """Of the rear axle."""

    x: float
    y: float
    yaw: float


class Segments(NamedTuple):
    """A path: arcs and lines one after another from a pose on."""

    start: Pose
    lengths: Floats  # (K,) m, negative: backwards
    bends: Floats  # (K,) 1/m
    expanded: int  # poses looked at until it was found


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched and what it costs. Costs in metres driven forwards."""

    headings: int = 72  # cells of heading
    arc: float = 0.9  # m, length of a primitive: leaves its cell
    steers: int = 3  # curvatures of primitives, straight among them
    reverse: float = 2.0  # of a metre backwards
    cusp: float = 5.0  # of a change of direction: seconds of standing
    against: float = 2.0  # m against traffic at most, in one primitive or curve
    steer: float = 0.4  # of a change of curvature by its largest value
    near: float = 4.0  # a metre that close that nothing is left of NEAR
    beam: int = 48  # poses expanded at once
    shots: int = 12  # of them to which curves are tried
    greed: float = 2.0  # weight of the heuristic
    patience: int = 4  # rounds that go on looking after the first path
    rounds: int = 150  # at most


@dataclass(frozen=True)
class Motions:
    """One car in one place."""

    space: FreeSpace
    car: Body
    radius: float  # m, of its tightest arcs
    how: Search
    squeeze: float = 0.0  # m of the room to keep that may be given up: who stands closer has to get away
    sense: int = 1  # -1: time runs backwards, so that what is called forwards is backwards

    def curves(self, x: Floats, y: Floats, yaw: Floats, to_x: Floats, to_y: Floats, to_yaw: Floats) -> tuple[reeds_shepp.Curve, Floats]:
        """The cheapest Reeds-Shepp curves (N,) from poses to poses as if nothing stood around, and their costs."""
        if self.sense < 0:
            curve, cost = replace(self, sense=1).curves(to_x, to_y, to_yaw, x, y, yaw)
            return curve._replace(lengths=-curve.lengths[..., ::-1], turns=curve.turns[..., ::-1]), cost
        to = reeds_shepp.relative(x, y, yaw, to_x, to_y, to_yaw)
        return reeds_shepp.best(*to, self.radius, reverse=self.how.reverse, cusp=self.how.cusp)

    def room(self, x: Floats, y: Floats, yaw: Floats) -> Floats:
        """m left beyond what has to be kept; negative: it cannot stand there."""
        return room(self.space, self.car, x, y, yaw) + self.squeeze

    def wrong(self, x: Floats, y: Floats, yaw: Floats, gear: Floats) -> NDArray[np.bool_]:
        """Whether it goes against traffic. Backwards is no offence."""
        return against(self.space, self.car, x, y, yaw) & (gear * self.sense > 0.0)

    def price(self, left: Floats, wrong: NDArray[np.bool_], gear: Floats) -> Floats:
        """Cost of a metre."""
        how = self.how
        close = np.clip((NEAR - left) / NEAR, 0.0, 1.0)
        return np.where(gear * self.sense < 0.0, how.reverse, 1.0) + how.near * close * close + np.where(wrong, WRONG - 1.0, 0.0)

    def cost(self, x: Floats, y: Floats, yaw: Floats, curve: reeds_shepp.Curve) -> Floats:
        """What curves from poses (N,) really cost, without cusps at their beginning; +inf: not free. All N are sampled alike."""
        long = reeds_shepp.length(curve.lengths)
        count = int(np.ceil(long.max() / SPACING)) + 1 if len(long) else 1
        s = np.minimum(np.arange(1, count + 1) * SPACING, long[:, None])
        step = np.diff(s, prepend=0.0)
        px, py, pyaw, k = reeds_shepp.poses_at(curve, s)
        cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
        px, py, pyaw = x[:, None] + px * cos - py * sin, y[:, None] + px * sin + py * cos, yaw[:, None] + pyaw
        left = self.room(px, py, pyaw)
        gear = np.sign(np.take_along_axis(curve.lengths, k, -1))
        wrong = self.wrong(px, py, pyaw, gear)
        total = (self.price(left, wrong, gear) * step).sum(-1)
        bends = np.where(np.abs(curve.lengths) > 1e-6, curve.turns, 0)
        total = total + self.how.steer * np.abs(np.diff(bends, axis=-1, prepend=0)).sum(-1)
        total = total + self.how.cusp * reeds_shepp.cusps(curve.lengths)
        free = ((left >= 0.0) | (step <= 0.0)).all(-1) & ((wrong * step).sum(-1) <= self.how.against)
        cost: Floats = np.where(free, total, np.inf)
        return cost


def joints(start: Pose, pieces: list[tuple[float, float]]) -> list[Pose]:
    """The poses between pieces, from the start to the end."""
    poses = [start]
    for s, bend in pieces:
        x, y, yaw = poses[-1]
        half = 0.5 * s * bend
        chord = s * np.sinc(half / np.pi)
        poses.append(Pose(float(x + chord * np.cos(yaw + half)), float(y + chord * np.sin(yaw + half)), float(yaw + 2.0 * half)))
    return poses
