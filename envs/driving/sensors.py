"""Further things to see besides the observation, on request: lidar and a bird's-eye raster, as extra keys of the Dict.

Shapes: B worlds, N learners.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from gymnasium import spaces
from torch import Tensor

from envs.driving.bev import CHANNELS, bird_eye
from envs.driving.lidar import lidar
from envs.driving.make import unknown
from envs.driving.observation import LIMIT, flat_size, space
from envs.driving.pixels import pixel_space
from envs.driving.types import ConfigError, DrivingConfig, Maps, Setup, State
from envs.driving.visibility import visible

__all__ = ["SENSORS", "check_sensors", "is_flat", "observation_space", "sense"]

SENSORS = ("lidar", "bev")
RAYS = 64
REACH = 50.0  # m; shown as 1
PIXELS = 64  # a side, 1 m each


def is_flat(config: DrivingConfig, flat: bool | None) -> bool:
    """Whether the observation is one vector. None: if it can be. Raises ConfigError where it cannot."""
    if flat and config.observation == "pixels":
        raise ConfigError("flat=True: observation='pixels' is a Dict of 'image' and 'state'; leave flat out")
    return config.observation != "pixels" if flat is None else flat


def check_sensors(sensors: Collection[str], *, flat: bool) -> tuple[str, ...]:
    """The names, in our order. Raises ValueError for one that does not exist, or for any with a flat observation."""
    for name in sensors:
        if name not in SENSORS:
            raise ValueError(unknown("sensor", name, SENSORS))
    if sensors and flat:
        raise ValueError(f"sensors={sorted(sensors)} need a Dict observation: leave out flat=True")
    return tuple(name for name in SENSORS if name in sensors)


def observation_space(config: DrivingConfig, *, flat: bool, sensors: Collection[str] = ()) -> spaces.Space[Any]:
    """Of one learner: a Dict of the parts (of image and state at the level `pixels`) and the sensors, or one Box."""
    if flat:
        return spaces.Box(-LIMIT, LIMIT, shape=(flat_size(config),), dtype=np.float32)
    further = {
        "lidar": spaces.Box(0.0, 1.0, shape=(RAYS,), dtype=np.float32),
        "bev": spaces.Box(-1.0, 1.0, shape=(len(CHANNELS), PIXELS, PIXELS), dtype=np.float32),
    }
    parts = pixel_space(config) if config.observation == "pixels" else space(config).spaces
    return spaces.Dict({**parts, **{name: further[name] for name in check_sensors(sensors, flat=flat)}})


def sense(name: str, state: State, setup: Setup, maps: Maps, config: DrivingConfig) -> Tensor:
    """lidar: (B, N, 64) distances / 50 m to boxes and the road's edge. bev: (B, N, 9, 64, 64), see `envs.driving.bev`.

    With `observation="visible"` the raster shows only what is seen; lidar never sees through anything.
    """
    if name == "lidar":
        return lidar(state, setup, maps, config, rays=RAYS, reach=REACH, road_edge=True) / REACH
    seen = visible(state, setup, maps, config) if config.observation == "visible" else None
    return bird_eye(state, setup, maps, config, size=PIXELS, metres=float(PIXELS), seen=seen)
