"""What lies under an agent: distance to the edge of the drivable surface, and the directions allowed there.

Shapes: any (B, ...). Rasters are in `Maps`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.driving.types import Maps

__all__ = ["HEADINGS", "against_traffic", "drivable_distance"]

HEADINGS = 16  # directions told apart by the heading raster


def _pixel(maps: Maps, map_id: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """World index, and the row and column (fractions) of a world position."""
    world = map_id.view(map_id.shape + (1,) * (x.dim() - 1))
    origin, step = maps.raster_origin[world], maps.raster_step[world]
    return world, (y - origin[..., 1]) / step, (x - origin[..., 0]) / step


def drivable_distance(maps: Maps, map_id: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Metres to the edge of the drivable surface, positive inside, bilinear; clipped to +-10, and -10 far outside the map."""
    height, width = maps.sdf.shape[1], maps.sdf.shape[2]
    world, row, column = _pixel(maps, map_id, x, y)
    beyond = (row < 0) | (column < 0) | (row > height - 1) | (column > width - 1)
    r0, c0 = row.floor().clamp(0, height - 2), column.floor().clamp(0, width - 2)
    fr, fc = (row - r0).clamp(0.0, 1.0), (column - c0).clamp(0.0, 1.0)
    at = (world * height + r0.to(torch.int64)) * width + c0.to(torch.int64)
    flat = maps.sdf.reshape(-1)
    low = flat[at] + fc * (flat[at + 1] - flat[at])
    high = flat[at + width] + fc * (flat[at + width + 1] - flat[at + width])
    return torch.where(beyond, -10.0, low + fr * (high - low))


def against_traffic(maps: Maps, map_id: Tensor, x: Tensor, y: Tensor, yaw: Tensor) -> Tensor:
    """Whether no lane under (x, y) allows travel within 90 degrees of `yaw`. False where no direction is prescribed."""
    height, width = maps.headings.shape[1], maps.headings.shape[2]
    world, row, column = _pixel(maps, map_id, x, y)
    r, c = (row + 0.5).floor().clamp(0, height - 1).to(torch.int64), (column + 0.5).floor().clamp(0, width - 1).to(torch.int64)
    allowed = maps.headings.reshape(-1)[(world * height + r) * width + c]
    k = torch.remainder((yaw * (HEADINGS / (2.0 * math.pi)) + 0.5).floor(), HEADINGS).to(torch.int64)
    return ((allowed >> k) & 1) == 0
