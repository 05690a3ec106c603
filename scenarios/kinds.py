"""Kinds of road user: their usual sizes and the limits of their motion.

Sizes are typical European values; limits are those used by the traffic model and the bicycle model, not legal ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["KIND_SPECS", "Kind", "KindSpec"]


class Kind(IntEnum):
    """What an agent is. The integer is the code used in every tensor."""

    CAR = 0
    TRUCK = 1
    BUS = 2
    MOTORCYCLE = 3
    BICYCLE = 4
    PEDESTRIAN = 5


@dataclass(frozen=True, kw_only=True)
class KindSpec:
    """Size and limits of one kind. SI units."""

    length: float  # m, bumper to bumper
    width: float  # m
    wheelbase: float  # m, front to rear axle
    speed_max: float  # m/s
    accel_max: float  # m/s^2, strongest drive
    brake_max: float  # m/s^2, strongest braking, positive
    steer_max: float  # rad, road-wheel angle
    reverse_max: float = 0.0  # m/s, fastest reversing, positive


KIND_SPECS: dict[Kind, KindSpec] = {
    # brake_max 8 m/s^2: dry asphalt, roughly 0.8 g
    Kind.CAR: KindSpec(length=4.6, width=1.85, wheelbase=2.8, speed_max=50.0, accel_max=3.5, brake_max=8.0, steer_max=0.6, reverse_max=4.0),
    Kind.TRUCK: KindSpec(length=10.0, width=2.5, wheelbase=5.8, speed_max=27.0, accel_max=1.5, brake_max=6.0, steer_max=0.65),
    Kind.BUS: KindSpec(length=12.0, width=2.55, wheelbase=6.0, speed_max=27.0, accel_max=1.5, brake_max=6.0, steer_max=0.75),
    Kind.MOTORCYCLE: KindSpec(length=2.2, width=0.8, wheelbase=1.45, speed_max=50.0, accel_max=4.5, brake_max=8.0, steer_max=0.6),
    Kind.BICYCLE: KindSpec(length=1.8, width=0.6, wheelbase=1.1, speed_max=9.0, accel_max=1.2, brake_max=4.0, steer_max=0.7),
    # a walker has no wheels: a short wheelbase and a wide steering angle let the bicycle model turn almost on the spot
    Kind.PEDESTRIAN: KindSpec(length=0.5, width=0.6, wheelbase=0.35, speed_max=2.5, accel_max=1.5, brake_max=3.0, steer_max=1.2),
}
