"""Plane curves from which roads are made: straights, arcs and clothoids traced from a pose, offset sideways.

Shapes: P points. A pose is (x, y, heading); angles in rad counter-clockwise from +x; curvature in 1/m, left positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COMFORT_LATERAL",
    "Line",
    "Piece",
    "Pose",
    "comfortable_speed",
    "fillet",
    "join",
    "rectangle",
    "trace",
    "trace_back",
    "turned",
]

Floats = NDArray[np.float64]
Pose = tuple[float, float, float]  # x m, y m, heading rad
Piece = tuple[float, float, float]  # length m, curvature at its start, curvature at its end (1/m); linear between (clothoid)

COMFORT_LATERAL = 2.5  # m/s^2, lateral acceleration at which drivers choose to take a bend; about 0.25 g (Reymond et al. 2001)
STEP = 1.0  # m, widest spacing of points where a line bends
STRAIGHT_STEP = 4.0  # m, widest spacing where it does not
TURN_STEP = 0.025  # rad, most heading change between points: keeps the kink between two chords below 1.5 degrees


@dataclass(frozen=True, kw_only=True)
class Line:
    """A sampled curve with its exact headings."""

    points: Floats  # (P, 2) m
    heading: Floats  # (P,) rad, not wrapped
    s: Floats  # (P,) m along the curve, from 0

    @property
    def length(self) -> float:
        return float(self.s[-1])

    @property
    def start(self) -> Pose:
        return float(self.points[0, 0]), float(self.points[0, 1]), float(self.heading[0])

    @property
    def end(self) -> Pose:
        return float(self.points[-1, 0]), float(self.points[-1, 1]), float(self.heading[-1])

    def offset(self, d: float | Floats) -> Floats:
        """Points (P, 2) shifted d metres to the left; d is one number or one per point."""
        normal = np.stack([-np.sin(self.heading), np.cos(self.heading)], axis=-1)  # (P, 2)
        shifted: Floats = self.points + np.broadcast_to(np.asarray(d, dtype=np.float64), self.s.shape)[:, None] * normal
        return shifted

    def reversed(self) -> Line:
        """The same curve travelled the other way."""
        return Line(points=self.points[::-1].copy(), heading=self.heading[::-1] - np.pi, s=self.length - self.s[::-1])

    def moved(self, d: float) -> Line:
        """The parallel curve d metres to the left; point i lies beside point i of this one."""
        points = self.offset(d)
        steps = np.hypot(*np.diff(points, axis=0).T)
        turn = np.abs(np.diff(self.heading))
        # chord -> arc, so that lengths of parallel lanes are those of the true curves
        arcs = steps * np.where(turn > 1e-9, (turn / 2) / np.sin(np.maximum(turn / 2, 1e-9)), 1.0)
        return Line(points=points, heading=self.heading, s=np.concatenate([[0.0], np.cumsum(arcs)]))

    def at(self, s: float) -> Pose:
        """Pose at s, between the points by linear interpolation."""
        x = np.interp(s, self.s, self.points[:, 0])
        y = np.interp(s, self.s, self.points[:, 1])
        return float(x), float(y), float(np.interp(s, self.s, self.heading))


def trace(start: Pose, pieces: Sequence[Piece]) -> Line:
    """Curve that starts at a pose and follows pieces of linearly changing curvature (straight, arc, clothoid).

    Positions are integrals of (cos, sin) of the heading, by three-point Gauss-Legendre quadrature over each step: exact to far
    below a millimetre at these spacings. Raises ValueError if a piece has no length.
    """
    x, y, heading = start
    points, headings, distances = [np.array([[x, y]])], [np.array([heading])], [np.zeros(1)]
    travelled = 0.0
    nodes, weights = np.polynomial.legendre.leggauss(3)
    for length, k0, k1 in pieces:
        if not length > 0.0:
            raise ValueError(f"length={length}: a piece of road must be longer than 0 m")
        bend = max(abs(k0), abs(k1))
        spacing = STRAIGHT_STEP if bend == 0.0 else min(STEP, TURN_STEP / bend)
        count = max(2, int(np.ceil(length / spacing)))
        edges = np.linspace(0.0, length, count + 1)
        h = length / count
        inside = edges[:-1, None] + (nodes + 1.0) * h / 2.0  # (count, 3)
        rate = (k1 - k0) / length
        theta = heading + k0 * inside + rate * inside**2 / 2.0
        dx = (np.cos(theta) * weights).sum(-1) * h / 2.0
        dy = (np.sin(theta) * weights).sum(-1) * h / 2.0
        px, py = x + np.cumsum(dx), y + np.cumsum(dy)
        points.append(np.stack([px, py], axis=-1))
        headings.append(heading + k0 * edges[1:] + rate * edges[1:] ** 2 / 2.0)
        distances.append(travelled + edges[1:])
        x, y, heading = float(px[-1]), float(py[-1]), float(headings[-1][-1])
        travelled += length
    return Line(points=np.concatenate(points), heading=np.concatenate(headings), s=np.concatenate(distances))


def trace_back(end: Pose, pieces: Sequence[Piece]) -> Line:
    """Curve that ends at a pose; pieces in the order of travel, as for `trace`."""
    mirrored = [(length, -k1, -k0) for length, k0, k1 in reversed(pieces)]
    return trace((end[0], end[1], end[2] + np.pi), mirrored).reversed()


def fillet(start: Pose, end: Pose) -> Line:
    """Straight, one arc, straight from pose to pose: the widest such turn. Parallel poses in line give a straight.

    Raises ValueError if the poses do not meet in one turn ahead of the start and behind the end.
    """
    turn = float(np.angle(np.exp(1j * (end[2] - start[2]))))
    gap = np.array([end[0] - start[0], end[1] - start[1]])
    ahead = np.array([np.cos(start[2]), np.sin(start[2])])
    left = np.array([-ahead[1], ahead[0]])
    along, across = float(gap @ ahead), float(gap @ left)
    if abs(turn) < 1e-6 and abs(across) < 1e-6 and along > 0.0:
        return trace(start, [(along, 0.0, 0.0)])
    if abs(np.sin(turn)) < 1e-6:
        raise ValueError(f"poses {start} and {end}: cannot be joined by one turn")
    after = across / np.sin(turn)  # m from the crossing of the two tangents to the end
    before = along - after * np.cos(turn)  # m from the start to that crossing
    if before <= 0.0 or after <= 0.0:
        raise ValueError(f"poses {start} and {end}: cannot be joined by one turn")
    tangent = min(before, after)
    radius = tangent / np.tan(abs(turn) / 2.0)
    curvature = np.sign(turn) / radius
    pieces: list[Piece] = [(before - tangent, 0.0, 0.0), (radius * abs(turn), curvature, curvature), (after - tangent, 0.0, 0.0)]
    return trace(start, [piece for piece in pieces if piece[0] > 1e-3])


def join(*lines: Line) -> Line:
    """Lines one after another as one line. Raises ValueError if they do not touch."""
    points, headings, s = [lines[0].points], [lines[0].heading], [lines[0].s]
    for before, after in pairwise(lines):
        gap = float(np.hypot(*(after.points[0] - before.points[-1])))
        if gap > 0.01:
            raise ValueError(f"gap of {gap:.3f} m between two lines: they must touch")
        full_turns = np.round((headings[-1][-1] - after.heading[0]) / (2 * np.pi)) * 2 * np.pi
        points.append(after.points[1:])
        headings.append(after.heading[1:] + full_turns)
        s.append(after.s[1:] + s[-1][-1])
    return Line(points=np.concatenate(points), heading=np.concatenate(headings), s=np.concatenate(s))


def comfortable_speed(radius: float, limit: float) -> float:
    """Speed at which a bend of this radius takes COMFORT_LATERAL, v = sqrt(a R), at most `limit` (m/s)."""
    return float(min(limit, np.sqrt(COMFORT_LATERAL * abs(radius))))


def rectangle(x: float, y: float, yaw: float, length: float, width: float) -> Floats:
    """Corners (4, 2) of an oriented rectangle, counter-clockwise."""
    corners = np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2.0
    c, s = np.cos(yaw), np.sin(yaw)
    turned: Floats = corners @ np.array([[c, s], [-s, c]]) + np.array([x, y])
    return turned


def turned(line: Line, angle: float) -> Line:
    """The line rotated about the origin."""
    c, s = np.cos(angle), np.sin(angle)
    return Line(points=line.points @ np.array([[c, s], [-s, c]]), heading=line.heading + angle, s=line.s)
