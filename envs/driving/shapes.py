"""What road users look like from above: each kind as a few polygons, drawn one on the other.

Unit box: x from -0.5 (rear) to 0.5 (front) of the length, y from -0.5 (right) to 0.5 (left) of the width, so that the drawing fills
exactly the box that collides. Used by the raster renderer and by the HTML player.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from scenarios.kinds import KIND_SPECS, Kind

__all__ = ["BRAKE_ABOVE", "ROLES", "Part", "shape"]

# What a part is, from which its colour follows. `body`: the agent's own colour; `shade`: the same, darker; `brake`: bright when braking
ROLES = ("body", "shade", "glass", "dark", "light", "brake", "skin")
BRAKE_ABOVE = 0.5  # m/s^2 of deceleration from which brake lights shine; engine drag alone stays below


@dataclass(frozen=True, kw_only=True)
class Part:
    """One polygon of a drawing."""

    role: str
    outline: NDArray[np.float64]  # (V, 2) in the unit box


def _rounded(x0: float, x1: float, half: float, *, front: float = 0.0, rear: float = 0.0, taper: float = 0.0) -> NDArray[np.float64]:
    """A box from x0 to x1 m, `half` m to each side, with corner radii in m; `taper` m narrower on each side at the front."""
    quarter = np.linspace(0.0, 0.5 * np.pi, 5)
    h = half - taper
    front_left = np.stack([x1 - front + front * np.cos(quarter), h - front + front * np.sin(quarter)], axis=1)
    rear_left = np.stack([x0 + rear - rear * np.sin(quarter), half - rear + rear * np.cos(quarter)], axis=1)
    left = np.concatenate([front_left, rear_left])
    return np.concatenate([left, left[::-1] * [1.0, -1.0]])


def _both(x0: float, x1: float, y0: float, y1: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same box left and right of the axis."""
    box = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return box, box * [1.0, -1.0]


def _quad(x0: float, half0: float, x1: float, half1: float) -> NDArray[np.float64]:
    """A symmetric trapezium: `half0` m to each side at x0, `half1` m at x1."""
    return np.array([[x0, half0], [x1, half1], [x1, -half1], [x0, -half0]])


def _disc(x: float, y: float, rx: float, ry: float) -> NDArray[np.float64]:
    angle = np.linspace(0.0, 2.0 * np.pi, 14, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _car(a: float, w: float) -> list[tuple[str, NDArray[np.float64]]]:
    """a: half the length, w: half the width, m."""
    return [
        ("body", _rounded(-a, a, w, front=0.55, rear=0.38, taper=0.06)),
        *(("dark", side) for side in _both(0.28 * a, 0.38 * a, w - 0.12, w)),  # mirrors
        ("glass", _quad(0.08 * a, 0.74 * w, 0.38 * a, 0.86 * w)),  # windscreen
        ("glass", _quad(-0.80 * a, 0.72 * w, -0.62 * a, 0.70 * w)),  # rear window
        *(("glass", side) for side in _both(-0.58 * a, 0.06 * a, 0.76 * w, 0.86 * w)),
        ("shade", _rounded(-0.62 * a, 0.08 * a, 0.72 * w, front=0.18, rear=0.18)),  # roof
        *(("light", side) for side in _both(a - 0.32, a - 0.10, 0.52 * w, 0.80 * w)),
        *(("brake", side) for side in _both(-a + 0.02, -a + 0.24, 0.46 * w, 0.86 * w)),
    ]


def _truck(a: float, w: float) -> list[tuple[str, NDArray[np.float64]]]:
    cab = a - 2.1  # where the cab begins
    return [
        ("dark", _rounded(-a + 0.1, a - 0.3, 0.55 * w)),  # chassis
        ("shade", _rounded(-a, cab - 0.35, w, front=0.08, rear=0.08)),  # box
        ("body", _rounded(-a + 0.25, cab - 0.6, w - 0.2, front=0.05, rear=0.05)),
        ("body", _rounded(cab, a, w - 0.08, front=0.35, rear=0.12)),  # cab
        ("glass", _quad(a - 0.85, 0.80 * w, a - 0.35, 0.74 * w)),
        *(("dark", side) for side in _both(a - 0.75, a - 0.5, w - 0.1, w)),
        *(("light", side) for side in _both(a - 0.2, a - 0.04, 0.45 * w, 0.72 * w)),
        *(("brake", side) for side in _both(-a, -a + 0.28, 0.55 * w, 0.92 * w)),
    ]


def _bus(a: float, w: float) -> list[tuple[str, NDArray[np.float64]]]:
    return [
        ("body", _rounded(-a, a, w, front=0.45, rear=0.25)),
        ("glass", _quad(a - 0.75, 0.88 * w, a - 0.2, 0.80 * w)),
        *(("glass", side) for side in _both(-a + 0.7, a - 1.1, 0.86 * w, 0.95 * w)),
        ("shade", _rounded(-a + 0.5, a - 1.0, 0.80 * w, front=0.2, rear=0.2)),
        *(("body", _rounded(x - 0.6, x + 0.6, 0.42 * w, front=0.1, rear=0.1)) for x in (-0.5 * a, 0.3 * a)),  # roof hatches
        *(("light", side) for side in _both(a - 0.16, a - 0.03, 0.50 * w, 0.76 * w)),
        *(("brake", side) for side in _both(-a, -a + 0.28, 0.55 * w, 0.92 * w)),
    ]


def _motorcycle(a: float, w: float) -> list[tuple[str, NDArray[np.float64]]]:
    return [
        ("dark", _rounded(-a, a, 0.28 * w, front=0.1, rear=0.1)),  # wheels
        ("dark", _quad(0.42 * a, w, 0.54 * a, w * 0.9)),  # handlebar
        ("body", _rounded(-0.72 * a, 0.62 * a, 0.44 * w, front=0.16, rear=0.12)),
        ("shade", _disc(-0.10 * a, 0.0, 0.30 * a, 0.80 * w)),  # shoulders
        ("glass", _disc(0.02 * a, 0.0, 0.17, 0.16)),  # helmet
        ("light", _disc(0.72 * a, 0.0, 0.09, 0.10)),
        ("brake", _rounded(-a + 0.04, -a + 0.2, 0.30 * w)),
    ]


def _bicycle(a: float, w: float) -> list[tuple[str, NDArray[np.float64]]]:
    return [
        ("dark", _rounded(-a, a, 0.10 * w, front=0.02, rear=0.02)),  # wheels in line
        ("dark", _quad(0.42 * a, w, 0.52 * a, w * 0.94)),  # handlebar
        ("body", _disc(-0.08 * a, 0.0, 0.24 * a, 0.76 * w)),  # shoulders
        ("skin", _disc(0.06 * a, 0.0, 0.15, 0.13)),  # head
        ("brake", _rounded(-a, -a + 0.12, 0.16 * w)),
    ]


def _pedestrian(a: float, w: float) -> list[tuple[str, NDArray[np.float64]]]:
    return [
        *(("dark", _disc(x, y, 0.11, 0.06)) for x, y in ((0.55 * a, 0.4 * w), (-0.45 * a, -0.4 * w))),  # feet, in mid-stride
        ("body", _disc(-0.05, 0.0, 0.62 * a, w)),  # shoulders
        ("skin", _disc(0.02, 0.0, 0.11, 0.11)),  # head
    ]


_DRAWINGS = {
    Kind.CAR: _car,
    Kind.TRUCK: _truck,
    Kind.BUS: _bus,
    Kind.MOTORCYCLE: _motorcycle,
    Kind.BICYCLE: _bicycle,
    Kind.PEDESTRIAN: _pedestrian,
}


@cache
def shape(kind: int) -> tuple[Part, ...]:
    """The polygons of one kind (`scenarios.kinds.Kind`), bottom first. Raises ValueError if there is no such kind."""
    spec = KIND_SPECS[Kind(kind)]
    size = np.array([spec.length, spec.width])
    return tuple(Part(role=role, outline=outline / size) for role, outline in _DRAWINGS[Kind(kind)](0.5 * spec.length, 0.5 * spec.width))
