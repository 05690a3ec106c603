"""What a tracker knows between frames, how it ages, and how it is read.

Shapes: B worlds, T tracks, K classes. SI units; ego frame of the last frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from perception.tracking import filter as kalman
from perception.tracking.config import PARTS, TrackerConfig
from perception.tracking.filter import Motion, Target
from perception.tracking.standing import Standing, combined, interacting
from perception.types import Tracks

__all__ = ["TrackerState", "believed", "coast", "empty_tracks", "extrapolate", "initial_state", "model_of", "read"]


class TrackerState(NamedTuple):
    """All that is known between updates. id -1: the slot is free, other values are finite but mean nothing."""

    id: Tensor  # (B, T) int64
    target: Target  # place and velocity with covariance
    heading: Tensor  # (B, T, 2) unit vector
    heading_var: Tensor  # (B, T) rad^2
    size: Tensor  # (B, T, 3) m
    sizes: Tensor  # (B, T) number of detections in `size`
    belief: Tensor  # (B, T) probability that it exists
    votes: Tensor  # (B, T, K) summed scores
    light_votes: Tensor  # (B, T, 5) fading sums of scores
    age: Tensor  # (B, T) int64 updates since birth
    hits: Tensor  # (B, T) int64 updates that matched
    unseen: Tensor  # (B, T) int64 updates since the last match
    lost: Tensor  # (B, T) s since the last match
    missed: Tensor  # (B, T) s of these in plain view
    confirmed: Tensor  # (B, T) bool
    source: Tensor  # (B, T) int64
    box: Tensor  # (B, T, 4) px
    next_id: Tensor  # (B,) int64
    time: Tensor  # (B,) s of the last frame
    pending: Tensor  # (B,) s since the last update with detections
    started: Tensor  # (B,) bool, there was a frame
    standing: Standing | None = None  # the second model, where `TrackerConfig.standing` asks for one


def initial_state(batch: int, config: TrackerConfig, device: torch.device | str = "cpu") -> TrackerState:
    """Nothing tracked in any of `batch` worlds."""
    shape = (batch, config.slots)

    def real(*more: int) -> Tensor:
        return torch.zeros((*shape, *more), device=device)

    def count(fill: int = 0) -> Tensor:
        return torch.full(shape, fill, dtype=torch.int64, device=device)

    zero = {name: real() for name in Target._fields}
    one = {name: torch.ones(shape, device=device) for name in ("pxx", "pyy", "vxx", "vyy")}
    return TrackerState(
        id=count(-1),
        target=Target(**(zero | one)),
        heading=torch.stack((real() + 1.0, real()), -1),
        heading_var=real() + 1.0,
        size=real(3) + 1.0,
        sizes=real(),
        belief=real(),
        votes=real(len(config.classes)),
        light_votes=real(5),
        age=count(),
        hits=count(),
        unseen=count(),
        lost=real(),
        missed=real(),
        confirmed=torch.zeros(shape, dtype=torch.bool, device=device),
        source=count(-1),
        box=real(4),
        next_id=torch.zeros(batch, dtype=torch.int64, device=device),
        time=torch.zeros(batch, device=device),
        pending=torch.zeros(batch, device=device),
        started=torch.zeros(batch, dtype=torch.bool, device=device),
        standing=Standing(real(), Target(**{name: real() for name in Target._fields}), real()) if config.standing else None,
    )


def coast(state: TrackerState, motion: Tensor, dt: Tensor, config: TrackerConfig) -> TrackerState:
    """Tracks carried `dt` (B,) s on, into the ego frame that is `motion` (B, 3) m, m, rad from theirs. Nothing is counted."""
    dx, dy, turn = (part.contiguous().unsqueeze(1) for part in motion.unbind(-1))
    move = Motion(dx, dy, turn.cos(), turn.sin())
    hx, hy = state.heading.unbind(-1)
    dt = dt.unsqueeze(1)
    row = model_of(state.votes.argmax(2), config, state.belief)
    noise = kalman.from_axes(row("along"), row("across"), hx, hy)
    wander = row("wander") * dt
    target, standing = state.target, state.standing
    if standing is not None:
        target, standing = interacting(
            target, standing, dt, config.starts + (config.leaves - config.starts) * standing.aside, config.stops, row("stands") > 0.0
        )
        at = standing.at._replace(pxx=standing.at.pxx + wander, pyy=standing.at.pyy + wander)
        standing = standing._replace(at=kalman.moved(at, move))
    target = kalman.predicted(target, dt, noise)
    target = kalman.moved(target._replace(pxx=target.pxx + wander, pyy=target.pyy + wander), move)
    heading = torch.stack((hx * move.cos + hy * move.sin, hy * move.cos - hx * move.sin), -1)
    variance = (state.heading_var + config.yaw_rate**2 * dt).clamp(max=1.0)
    return state._replace(target=target, heading=heading, heading_var=variance, standing=standing)


def extrapolate(state: TrackerState, motion: Tensor, dt: Tensor, config: TrackerConfig) -> Tracks:
    """The tracks as they should be `dt` s later, in the ego frame that is `motion` from the state's: what late detections tell of now."""
    return read(coast(state, motion, dt, config), config)


def believed(state: TrackerState) -> Target:
    """Place and velocity (B, T), of all models."""
    return state.target if state.standing is None else combined(state.target, state.standing)


def read(state: TrackerState, config: TrackerConfig) -> Tracks:
    """The confirmed tracks; elsewhere zeros, id, light and source -1."""
    kind, t = state.votes.argmax(2), believed(state)
    mask = (state.id >= 0) & state.confirmed
    lit = mask & (kind == config.light)

    def kept(value: Tensor, other: float = 0.0) -> Tensor:
        return torch.where(mask.view(*mask.shape, *(1,) * (value.dim() - 2)), value, other)

    return Tracks(
        id=torch.where(mask, state.id, -1),
        kind=torch.where(mask, kind, 0),
        mean=kept(torch.stack((t.x, t.y, t.vx, t.vy), -1)),
        covariance=kept(kalman.covariance(t)),
        yaw=kept(_angle(state.heading)),
        size=kept(state.size),
        score=kept(state.belief),
        age=torch.where(mask, state.age, 0),
        unseen=torch.where(mask, state.unseen, 0),
        light=torch.where(lit, state.light_votes.argmax(2), -1),
        source=torch.where(mask, state.source, -1),
        box=kept(state.box),
        mask=mask,
    )


def empty_tracks(batch: int, config: TrackerConfig, device: torch.device | str = "cpu") -> Tracks:
    """No tracks."""
    return read(initial_state(batch, config, device), config)


def model_of(kind: Tensor, config: TrackerConfig, like: Tensor) -> Callable[[str], Tensor]:
    """Lookup of the fields of the `KindModel` of every `kind` (B, T), as tensors of the type of `like`."""
    table = like.new_tensor(config.table)  # (fields, K)
    return lambda name: table[PARTS.index(name)][kind]


def _angle(unit: Tensor) -> Tensor:
    """(..., 2) unit vectors -> rad in [-pi, pi]. By half angles, as atan2 differs in the last bit between vector and scalar code."""
    x, y = unit[..., 0].contiguous(), unit[..., 1].contiguous()
    half = 2.0 * torch.atan(y / (1.0 + x.abs()))
    return torch.where(x >= 0.0, half, torch.where(y >= 0.0, math.pi, -math.pi) - half)
