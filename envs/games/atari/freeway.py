"""Freeway. A chicken crosses ten lanes; each crossing is a point, and a car that hits it throws it back. An episode takes 2 min 16 s.

Bytes (found as in `pong`): 14 the chicken's v, counted up from 193; 108 to 117 the cars' u + 3, from the lowest lane up; they go around at
160. Those of the upper five are drawn a frame late, up to a px to the right. Cars keep the speeds that their lanes have.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.games.atari.moving import HALF, PLACE, later, latest_speed, scaled
from envs.games.atari.types import AHEAD, AtariState, Bytes, Game, Objects, stacked

__all__ = ["FREEWAY", "LANES"]

LANES = 10
SPEEDS = (1 / 5, 1 / 4, 1 / 3, 1 / 2, 1.0, -1.0, -1 / 2, -1 / 3, -1 / 4, -1 / 5)  # px a frame, to the right, from the lowest lane up
LEFT, TOP, RIGHT, BOTTOM = 8.0, 15.0, 160.0, 195.0  # px, where things show
AROUND = 160.0  # px, after which cars come back
CHICKEN = 44.0  # px, left edge of ours
FEATURES = (
    *("own_y", "own_vy"),
    *(f"car_{lane}_{what}" for lane in range(LANES) for what in ("x", "vx", *(f"x_in_{seconds}" for seconds in AHEAD))),
    "crossings",
)
GOAL = 32.0  # crossings, of which hardly anybody makes more


def _boxes(ram: Bytes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Our chicken (6 x 8 px), the cars (8 x 8) from the lowest lane up, the other chicken, which nobody moves."""
    own, cars = ram[..., 14].astype(np.float32), ram[..., 108 : 108 + LANES].astype(np.float32)
    fixed = np.ones_like(own)
    u0 = np.concatenate(((CHICKEN * fixed)[..., None], np.remainder(cars - 3.0, AROUND), (108.0 * fixed)[..., None]), -1)
    lane = np.broadcast_to(172.0 - 16.0 * np.arange(LANES, dtype=np.float32), cars.shape)
    v0 = np.concatenate(((193.0 - own)[..., None], lane, (187.0 * fixed)[..., None]), -1)
    first = np.stack((u0, v0), -1)
    size = np.array([[6.0, 8.0], *[[8.0, 8.0]] * LANES, [6.0, 8.0]], dtype=np.float32)
    return np.concatenate((first, first + size), -1).astype(np.float32), np.ones(first.shape[:-1], dtype=np.bool_)


def _around(u: Tensor) -> Tensor:
    """u (...) of middles as the screen has them: left edges are in [0, 160)."""
    return torch.remainder(u - 4.0, AROUND) + 4.0


def _speed(place: Tensor) -> Tensor:
    """Of chickens by what they did, of cars by their lanes."""
    found = latest_speed(place)
    lanes = torch.tensor(SPEEDS, device=place.device).expand(len(place), -1)
    cars = torch.stack((lanes, torch.zeros_like(lanes)), -1)
    return torch.cat((found[:, :1], cars, torch.zeros_like(found[:, :1])), 1)


def _ahead(place: Tensor, velocity: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Cars go around; chickens stay where the road ends."""
    free = place + velocity * dt
    u = torch.cat((place[..., :1, 0], _around(free[..., 1 : 1 + LANES, 0]), place[..., 1 + LANES :, 0]), -1)
    return torch.stack((u, free[..., 1].clamp(TOP, BOTTOM)), -1), velocity


def _apart(first: Tensor, second: Tensor) -> Tensor:
    """The shorter way around."""
    off = first - second
    return torch.stack((torch.remainder(off[..., 0] + 0.5 * AROUND, AROUND) - 0.5 * AROUND, off[..., 1]), -1)


def _known(state: AtariState) -> Tensor:
    """Points so far; one who plays knows."""
    return (state.won / GOAL).float()[:, None]


def _observe(objects: Objects, facts: Tensor) -> Tensor:
    position, velocity, there = objects
    now = scaled(position, velocity, there)
    own = position[:, :1]

    def from_own(place: Tensor) -> Tensor:
        """(..., LANES) how far to the right of our chicken cars are, half screens, the shorter way around."""
        off = _apart(place[..., 1 : 1 + LANES, :], own)[..., 0] / HALF[0]
        return torch.where(there[:, 1 : 1 + LANES], off, 0.0).clamp(-PLACE, PLACE)

    then = from_own(_ahead(*later(position, velocity))[0])  # (S, B, LANES)
    cars = torch.stack((from_own(position), now.vx[:, 1 : 1 + LANES], *then), -1)
    return stacked([now.y[:, 0], now.vy[:, 0], cars, facts])


FREEWAY = Game(
    name="freeway",
    buttons=("NOOP", "UP", "DOWN"),
    things=("own", *(f"car_{lane}" for lane in range(LANES)), "other"),
    kinds=("chicken", *["car"] * LANES, "chicken"),
    window=(LEFT, TOP, RIGHT, BOTTOM),
    regions=(
        (0.0, TOP, 80.0, BOTTOM),
        *((0.0, 168.0 - 16.0 * lane, 160.0, 184.0 - 16.0 * lane) for lane in range(LANES)),
        (80.0, TOP, 160.0, BOTTOM),
    ),
    gone=(30, *[1_000_000] * LANES, 30),
    memory=(1, *[30] * LANES, 8),
    surprise=(float("inf"), *[8.0] * LANES, float("inf")),
    features=FEATURES,
    facts=("crossings",),
    success=29.6,  # as the human tester
    scores=(0.0, 29.6),
    boxes=_boxes,
    speed=_speed,
    ahead=_ahead,
    apart=_apart,
    known=_known,
    shown=lambda facts, screen: facts,
    observe=_observe,
)
