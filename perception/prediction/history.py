"""What is remembered of tracks: their last P states, followed across rows by id and kept in the current ego frame.

Shapes: B worlds, T tracks (rows as in `Tracks`), P remembered instants, the newest last. SI units, ego frame of the newest instant.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from perception.types import Tracks

__all__ = ["PAST", "History", "empty_history", "update_history"]

PAST = 8  # instants: 2.8 s at the 2.5 Hz of recorded pedestrians (their usual 8 observations), 1.4 s at 5 Hz


class History(NamedTuple):
    """The past of every track and of the ego itself. Where not `valid`, values are finite but mean nothing."""

    id: Tensor  # (B, T) int64 as in Tracks
    x: Tensor  # (B, T, P) m
    y: Tensor  # (B, T, P) m
    vx: Tensor  # (B, T, P) m/s over ground
    vy: Tensor  # (B, T, P) m/s
    yaw: Tensor  # (B, T, P) rad
    valid: Tensor  # (B, T, P) bool, seen then
    ego: Tensor  # (B, P, 5) x, y, vx, vy, yaw of the ego, in the same frame
    ego_valid: Tensor  # (B, P) bool
    stamp: Tensor  # (B, P) s, when


def empty_history(batch: int, tracks: int, *, past: int = PAST, device: torch.device | str = "cpu") -> History:
    """Nothing remembered."""
    real, no = torch.zeros((batch, tracks, past), device=device), torch.zeros((batch, tracks, past), dtype=torch.bool, device=device)
    return History(
        id=torch.full((batch, tracks), -1, dtype=torch.int64, device=device),
        x=real.clone(),
        y=real.clone(),
        vx=real.clone(),
        vy=real.clone(),
        yaw=real.clone(),
        valid=no,
        ego=torch.zeros((batch, past, 5), device=device),
        ego_valid=torch.zeros((batch, past), dtype=torch.bool, device=device),
        stamp=torch.zeros((batch, past), device=device),
    )


def update_history(history: History, tracks: Tracks, motion: Tensor, time: Tensor, speed: Tensor) -> History:
    """One instant further.

    tracks: after the tracker's update, in the new ego frame, (B, T) with the T of the history. motion (B, 3) m, m, rad: the new ego
    pose in the old ego frame; time (B,) s; speed (B,) m/s of the ego: `SensorFrame.motion`, `.time`, `.speed`. A track's past is
    found by its id, whatever row it was in; coasting tracks (`unseen` > 0) leave a gap. Pure; no branch on data.
    """
    same = (tracks.id.unsqueeze(2) == history.id.unsqueeze(1)) & (tracks.id >= 0).unsqueeze(2)  # (B, T new, T old)
    found, row = same.any(2), same.to(torch.int64).argmax(2).unsqueeze(2)

    def follow(column: Tensor) -> Tensor:
        """(B, T old, P) -> (B, T new, P - 1), the oldest left out."""
        return column.gather(1, row.expand(-1, -1, column.shape[2]))[..., 1:]

    dx, dy, turn = (part.contiguous() for part in motion.unbind(-1))
    cos, sin = torch.cos(turn).view(-1, 1, 1), torch.sin(turn).view(-1, 1, 1)
    x, y = _turned(follow(history.x) - dx.view(-1, 1, 1), follow(history.y) - dy.view(-1, 1, 1), cos, sin)
    vx, vy = _turned(follow(history.vx), follow(history.vy), cos, sin)
    px, py, pvx, pvy, pyaw = history.ego[:, 1:].unbind(-1)  # (B, P - 1)
    ex, ey = _turned(px - dx.view(-1, 1), py - dy.view(-1, 1), cos[..., 0], sin[..., 0])
    evx, evy = _turned(pvx, pvy, cos[..., 0], sin[..., 0])
    zero = torch.zeros_like(speed)
    ego = torch.stack([ex, ey, evx, evy, _wrap(pyaw - turn.view(-1, 1))], dim=-1)
    seen = tracks.mask & (tracks.unseen == 0)
    now_x, now_y, now_vx, now_vy = (part.unsqueeze(2) for part in tracks.mean.unbind(-1))
    return History(
        id=torch.where(tracks.mask, tracks.id, -1),
        x=torch.cat([x, now_x], dim=2),
        y=torch.cat([y, now_y], dim=2),
        vx=torch.cat([vx, now_vx], dim=2),
        vy=torch.cat([vy, now_vy], dim=2),
        yaw=torch.cat([_wrap(follow(history.yaw) - turn.view(-1, 1, 1)), tracks.yaw.unsqueeze(2)], dim=2),
        valid=torch.cat([follow(history.valid) & found.unsqueeze(2), seen.unsqueeze(2)], dim=2),
        ego=torch.cat([ego, torch.stack([zero, zero, speed, zero, zero], dim=-1).unsqueeze(1)], dim=1),
        ego_valid=torch.cat([history.ego_valid[:, 1:], torch.ones_like(speed, dtype=torch.bool).unsqueeze(1)], dim=1),
        stamp=torch.cat([history.stamp[:, 1:], time.unsqueeze(1)], dim=1),
    )


def _turned(x: Tensor, y: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """A vector in a frame turned by the angle of (cos, sin)."""
    return x * cos + y * sin, y * cos - x * sin


def _wrap(angle: Tensor) -> Tensor:
    """To [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi
