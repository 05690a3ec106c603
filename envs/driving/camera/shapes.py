"""What road users are built of: up to three prisms each, by kind and variant.

Lengths along the box are shares of its length (-0.5 rear, 0.5 front), widths and heights shares of the width and the height. The parts of a
vehicle together fill the box that collides; those of two-wheelers, whose box has room for a rider's elbows, fill its length.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.driving.camera.atlas import STYLES
from scenarios.kinds import Kind

__all__ = ["PARTS", "VARIANTS", "part_table"]

PARTS = 3
VARIANTS = 4  # of each kind


class Part(NamedTuple):
    """One prism, as shares of the box."""

    rear: float
    front: float
    width: float
    bottom: float
    top: float
    style: str
    round: float = 0.0  # 1: the outline of every side is an ellipse, 0: a rectangle


def _car(height: float, belt: float, rear: float, front: float, cabin: str = "cabin", wide: float = 0.92) -> tuple[float, tuple[Part, ...]]:
    """height m; belt: where the windows begin; rear, front: of the cabin."""
    span = front - rear
    return height, (
        Part(-0.5, 0.5, 1.0, 0.0, belt, "car"),
        Part(rear, front, wide, belt, 0.94, cabin),
        Part(rear + 0.16 * span, front - 0.22 * span, wide - 0.10, 0.94, 1.0, "roof"),
    )


def _truck(height: float, cab: float, top: float, gap: float) -> tuple[float, tuple[Part, ...]]:
    return height, (
        Part(-0.5, 0.5, 0.96, 0.0, 0.29, "chassis"),
        Part(0.5 - cab, 0.498, 1.0, 0.14, top, "cab"),
        Part(-0.5, 0.5 - cab - gap, 1.0, 0.27, 1.0, "cargo"),
    )


def _bus(height: float, roof: float) -> tuple[float, tuple[Part, ...]]:
    return height, (Part(-0.5, 0.5, 1.0, 0.0, 0.94, "bus"), Part(roof, roof + 0.4, 0.7, 0.94, 1.0, "roof"), Part(0, 0, 0, 0, 0, "roof"))


def _motorcycle(height: float, wide: float, seat: float, chest: float) -> tuple[float, tuple[Part, ...]]:
    """wide: the machine with its fairing and the rider's legs."""
    return height, (
        Part(-0.5, 0.5, wide, 0.0, seat, "motorcycle"),
        Part(-0.28, 0.10, 0.84, 0.90 * seat, chest, "jacket", 0.35),
        Part(-0.10, 0.10, 0.40, chest, 1.0, "visor", 0.9),
    )


def _cyclist(height: float, seat: float, chest: float, head: str) -> tuple[float, tuple[Part, ...]]:
    return height, (
        Part(-0.5, 0.5, 0.14, 0.0, seat, "bicycle"),
        Part(-0.20, 0.10, 0.84, 0.82 * seat, chest, "torso", 0.35),
        Part(-0.08, 0.10, 0.36, chest, 1.0, head, 0.9),
    )


def _walker(height: float, legs: str, wide: float) -> tuple[float, tuple[Part, ...]]:
    return height, (
        Part(-0.36, 0.36, 0.62 * wide, 0.0, 0.48, legs),
        Part(-0.30, 0.30, 0.92 * wide, 0.46, 0.85, "torso", 0.35),
        Part(-0.22, 0.22, 0.36, 0.85, 1.0, "head", 0.9),
    )


# height m and parts; heights are typical of the European fleet
_SHAPES: dict[Kind, tuple[tuple[float, tuple[Part, ...]], ...]] = {
    Kind.CAR: (
        _car(1.46, 0.60, -0.37, 0.19),  # saloon
        _car(1.50, 0.59, -0.48, 0.20),  # hatchback
        _car(1.70, 0.60, -0.48, 0.22, wide=0.95),  # sport utility
        _car(1.98, 0.52, -0.49, 0.32, "van", 0.97),
    ),
    Kind.TRUCK: (
        _truck(3.6, 0.21, 0.82, 0.02),
        _truck(3.3, 0.20, 0.88, 0.02),
        _truck(3.8, 0.22, 0.97, 0.03),
        _truck(3.0, 0.22, 0.92, 0.02),
    ),
    Kind.BUS: (_bus(3.1, -0.3), _bus(3.0, -0.1), _bus(3.2, -0.4), _bus(3.1, 0.0)),
    Kind.MOTORCYCLE: (
        _motorcycle(1.50, 0.72, 0.58, 0.82),
        _motorcycle(1.45, 0.85, 0.62, 0.83),
        _motorcycle(1.55, 0.66, 0.56, 0.82),
        _motorcycle(1.50, 0.78, 0.60, 0.82),
    ),
    Kind.BICYCLE: (
        _cyclist(1.72, 0.46, 0.86, "head"),
        _cyclist(1.68, 0.47, 0.85, "helmet"),
        _cyclist(1.75, 0.45, 0.86, "head"),
        _cyclist(1.70, 0.46, 0.85, "helmet"),
    ),
    Kind.PEDESTRIAN: (
        _walker(1.74, "stride", 1.0),
        _walker(1.66, "legs", 0.92),
        _walker(1.80, "stride", 1.05),
        _walker(1.62, "legs", 0.95),
    ),
}


@cache
def part_table() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Parts (KINDS * VARIANTS, PARTS, 7): rear, front, width, bottom, top, style, round; heights (KINDS * VARIANTS,) m."""
    parts, heights = [], []
    for kind in Kind:
        for height, row in _SHAPES[kind]:
            heights.append(height)
            parts.append([[*part[:5], float(STYLES.index(part.style)), part.round] for part in row])
    return np.array(parts, dtype=np.float32), np.array(heights, dtype=np.float32)
