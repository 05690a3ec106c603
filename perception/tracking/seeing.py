"""What a frame's detections measure, and which places the cameras can see.

Shapes: B worlds, C cameras, T tracks, D detections. SI units; ego frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perception.tracking.config import TrackerConfig
from perception.tracking.filter import Symmetric, Target, from_axes
from perception.tracking.state import model_of
from perception.types import Detections, SensorFrame

__all__ = ["Measured", "in_plain_view", "measured"]

SIGMA_ALONG = (0.3, 0.08)  # m + share of the range: of detectors that do not say (monocular depth errs by 5 to 10 %)
SIGMA_ACROSS = (0.2, 0.01)
NEAREST = 0.5  # m in front of the lens, before which nothing is seen
COVERED = 0.8  # share of a body's half width that hides what is behind: rays past its very edge may still meet something
BEHIND = 1.0  # m farther away than the middle of what hides it


class Measured(NamedTuple):
    """Detections as a filter needs them; finite everywhere."""

    usable: Tensor  # (B, D) bool
    x: Tensor  # (B, D) m
    y: Tensor  # (B, D) m
    noise: Symmetric  # (B, D) m^2
    heading: Tensor  # (B, D, 2) unit vector, (1, 0) where not told
    has_yaw: Tensor  # (B, D) bool
    size: Tensor  # (B, D, 3) m, of the class where not told
    has_size: Tensor  # (B, D) bool
    score: Tensor  # (B, D), 0 where not usable
    kind: Tensor  # (B, D) int64
    camera: Tensor  # (B, D) int64


def measured(found: Detections, frame: SensorFrame, fresh: Tensor, config: TrackerConfig) -> Measured:
    """Places with their covariance, turned from the lines of sight of the cameras into the ego frame. fresh (B,) bool: use them."""
    x, y = found.centre[..., 0], found.centre[..., 1]
    usable = found.mask & fresh.unsqueeze(1) & x.isfinite() & y.isfinite()
    x, y = torch.where(usable, x, 0.0), torch.where(usable, y, 0.0)
    lens = found.camera.clamp(0, frame.camera.x.shape[1] - 1)
    sx, sy = x - frame.camera.x.gather(1, lens), y - frame.camera.y.gather(1, lens)
    reach = (sx * sx + sy * sy).sqrt().clamp(min=1e-3)
    along, across = found.sigma.unbind(-1)
    along = torch.where(along.isfinite(), along, SIGMA_ALONG[0] + SIGMA_ALONG[1] * reach).clamp(min=config.sigma_min)
    across = torch.where(across.isfinite(), across, SIGMA_ACROSS[0] + SIGMA_ACROSS[1] * reach).clamp(min=config.sigma_min)
    far = sx.abs() + sy.abs() < 1e-3  # at the lens itself: no line of sight
    cos, sin = torch.where(far, 1.0, sx / reach), torch.where(far, 0.0, sy / reach)
    yaw = found.yaw.contiguous()
    has_yaw = yaw.isfinite()
    yaw = torch.where(has_yaw, yaw, 0.0)
    kind = found.kind.clamp(0, len(config.classes) - 1)
    has_size = found.size.isfinite().all(2) & (found.size > 0.0).all(2)
    row = model_of(kind, config, x)
    usual = torch.stack((row("length"), row("width"), row("height")), -1)
    return Measured(
        usable=usable,
        x=x,
        y=y,
        noise=from_axes(along * along, across * across, cos, sin),
        heading=torch.stack((yaw.cos(), yaw.sin()), -1),
        has_yaw=has_yaw,
        size=torch.where(has_size.unsqueeze(2), found.size, usual),
        has_size=has_size,
        score=torch.where(usable, found.score, 0.0),
        kind=kind,
        camera=found.camera,
    )


def in_plain_view(
    alive: Tensor, target: Target, heading: Tensor, size: Tensor, kind: Tensor, frame: SensorFrame, config: TrackerConfig
) -> Tensor:
    """(B, T) whether some camera looks at a track's place and no other track stands before it. Traffic lights hang above it all."""
    width = frame.image.shape[-1]
    seen = torch.zeros_like(alive)
    hides = alive & (kind != config.light)
    for c in range(frame.camera.x.shape[1]):
        camera = [value[:, c].contiguous().unsqueeze(1) for value in frame.camera]
        focal, cu, _, lens_x, lens_y, _, yaw = camera
        cos, sin = yaw.cos(), yaw.sin()
        px, py = target.x - lens_x, target.y - lens_y
        depth, left = cos * px + sin * py, cos * py - sin * px
        column = cu - focal * left / depth.clamp(min=NEAREST)
        inside = (depth > NEAREST) & (column >= 0.0) & (column <= width)
        seen = seen | (inside & ~(_hidden(px, py, heading, size, hides) & (kind != config.light)))
    return seen & alive


def _hidden(px: Tensor, py: Tensor, heading: Tensor, size: Tensor, hides: Tensor) -> Tensor:
    """(B, T) whether the line from the lens to (px, py) passes through a nearer body."""
    reach = (px * px + py * py).sqrt().clamp(min=NEAREST)
    ux, uy = (px / reach).unsqueeze(2), (py / reach).unsqueeze(2)  # (B, T, 1) lines of sight
    bx, by = px.unsqueeze(1), py.unsqueeze(1)  # (B, 1, T) bodies
    ahead, aside = ux * bx + uy * by, ux * by - uy * bx
    hx, hy = heading[..., 0].unsqueeze(1), heading[..., 1].unsqueeze(1)
    length, width = size[..., 0].unsqueeze(1), size[..., 1].unsqueeze(1)
    half = 0.5 * (length * (ux * hy - uy * hx).abs() + width * (ux * hx + uy * hy).abs())
    before = (ahead > NEAREST) & (ahead + BEHIND < reach.unsqueeze(2))
    return (before & (aside.abs() < COVERED * half) & hides.unsqueeze(1)).any(2)
