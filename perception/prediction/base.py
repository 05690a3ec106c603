"""What a predictor is, and the horizon all of them share."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from perception.prediction.history import History
from perception.types import Forecasts, Roads, Tracks

__all__ = ["MODES", "STEP", "STEPS", "WALKERS", "Predictor", "at_times", "covariances", "horizon", "no_roads"]

MODES = 6  # K
STEPS = 10  # S
STEP = 0.5  # s between steps: 5 s in all
WALKERS = 5  # track kind of pedestrians (car, truck, bus, motorcycle, bicycle, pedestrian, light)


class Predictor(Protocol):
    """Where tracks will be."""

    name: str

    def predict(self, history: History, tracks: Tracks, roads: Roads) -> Forecasts:
        """Forecasts of all tracks, K = MODES modes of STEPS steps. `history` already holds `tracks` as its newest instant."""
        ...


def horizon(like: Tensor) -> Tensor:
    """(S,) s ahead, on the device of `like`."""
    return torch.arange(1, STEPS + 1, device=like.device, dtype=like.dtype) * STEP


def covariances(xx: Tensor, xy: Tensor, yy: Tensor) -> Tensor:
    """Symmetric matrices (..., 2, 2) from their entries (...)."""
    return torch.stack([torch.stack([xx, xy], dim=-1), torch.stack([xy, yy], dim=-1)], dim=-2)


def no_roads(batch: int, device: torch.device | str = "cpu") -> Roads:
    """A map with nothing on it, for scenes without one."""
    return Roads(
        points=torch.zeros((batch, 1, 2, 4), device=device),
        limit=torch.zeros((batch, 1), device=device),
        kind=torch.zeros((batch, 1), dtype=torch.int64, device=device),
        successor=torch.full((batch, 1, 3), -1, dtype=torch.int64, device=device),
        mask=torch.zeros((batch, 1), dtype=torch.bool, device=device),
    )


def at_times(forecasts: Forecasts, tracks: Tracks, times: Tensor) -> Forecasts:
    """Forecasts at other times (S2,) s, 0 < t <= the last step: linear between steps, starting from where the tracks are now."""
    grid = torch.cat([torch.zeros_like(forecasts.time[:1]), forecasts.time])
    k = torch.searchsorted(grid, times.contiguous()).clamp(1, len(grid) - 1)
    share = (times - grid[k - 1]) / (grid[k] - grid[k - 1])  # (S2,)
    now = tracks.mean[..., None, None, :2].expand(*forecasts.mean.shape[:3], 1, 2)
    mean = torch.cat([now, forecasts.mean], dim=3)
    covariance = torch.cat([torch.zeros_like(forecasts.covariance[:, :, :, :1]), forecasts.covariance], dim=3)
    by, by2 = share[:, None], share[:, None, None]
    return forecasts._replace(
        time=times,
        mean=mean[..., k - 1, :] * (1.0 - by) + mean[..., k, :] * by,
        covariance=covariance[..., k - 1, :, :] * (1.0 - by2) + covariance[..., k, :, :] * by2,
    )
