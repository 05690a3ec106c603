"""What each track sees of the scene, in a frame of its own: origin at the track, x along its motion.

A network that looks at these alone cannot know where the scene lies nor how it is turned.

Shapes: B worlds, T tracks, P past instants, M others nearby, L lane pieces nearby, Q points of a piece.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perception.prediction.history import History
from perception.types import Roads, Tracks

__all__ = ["INSTANT", "LANES", "OTHERS", "POINTS", "STATIC", "Frame", "Views", "frames", "lane_features", "views_of"]

OTHERS = 8  # M, nearest ones, the ego among them
LANES = 12  # L, nearest pieces
POINTS = 6  # Q kept of each piece
KINDS = 8  # car, truck, bus, motorcycle, bicycle, pedestrian, light, ego
INSTANT = 8  # features of one past instant
STATIC = 4 + KINDS  # features of somebody now: velocity, length, width, kind
FAR = 20.0  # m, positions are divided by it
FAST = 10.0  # m/s
LOOK = 2.0  # s ahead at which lane pieces are looked for, beside those here
SLOW = 0.5  # m/s, below which the frame follows the box, not the motion
NOWHERE = 1e6  # m, where the absent are


class Frame(NamedTuple):
    """Frames of the tracks within the ego frame; (B, T)."""

    x: Tensor
    y: Tensor
    cos: Tensor
    sin: Tensor


class Views(NamedTuple):
    """Inputs of the network; the leading (B, T) may be flattened."""

    me: Tensor  # (B, T, P * INSTANT + STATIC)
    others: Tensor  # (B, T, M, P * INSTANT + STATIC), nearest first
    others_mask: Tensor  # (B, T, M) bool
    lanes: Tensor  # (B, T, L, Q * 4 + 5), nearest first
    lanes_mask: Tensor  # (B, T, L) bool
    velocity: Tensor  # (B, T, 2) m/s in the own frame


def frames(tracks: Tracks) -> Frame:
    """Frames along the velocity, or along the box for whoever is slow."""
    x, y, vx, vy = tracks.mean.unbind(-1)
    speed = torch.sqrt(vx * vx + vy * vy)
    slow = speed < SLOW
    fast = speed.clamp(min=SLOW)
    return Frame(x, y, torch.where(slow, torch.cos(tracks.yaw), vx / fast), torch.where(slow, torch.sin(tracks.yaw), vy / fast))


def views_of(history: History, tracks: Tracks, roads: Roads) -> Views:
    """What each track sees. `history` already holds `tracks` as its newest instant."""
    frame = frames(tracks)
    past = _past(history, tracks)  # (B, T + 1, P, 7): x, y, vx, vy, cos, sin, seen
    now = _now(history, tracks)  # (B, T + 1, 4 + KINDS), velocity still in the ego frame
    rows, instants = history.valid.shape[1:]
    time = (history.stamp - history.stamp[:, -1:]).clamp(-5.0, 0.0)  # (B, P)
    there = torch.cat([tracks.mask, history.ego_valid[:, -1:]], dim=1)  # (B, T + 1)
    dx = past[:, None, :, -1, 0] - frame.x.unsqueeze(2)  # (B, T, T + 1)
    dy = past[:, None, :, -1, 1] - frame.y.unsqueeze(2)
    apart = dx * dx + dy * dy
    itself = torch.eye(rows, rows + 1, dtype=torch.bool, device=apart.device)
    apart = torch.where(there.unsqueeze(1) & ~itself, apart, NOWHERE * NOWHERE)
    near, index = _nearest(apart, OTHERS)  # (B, T, M)
    everyone = torch.cat([past.flatten(2), now], dim=2)  # (B, T + 1, P * 7 + STATIC)
    width = everyone.shape[2]
    flat = index.flatten(1).unsqueeze(2).expand(-1, -1, width)
    others = _local(_rows(everyone.gather(1, flat), OTHERS), frame, time, instants)
    me = _local(everyone[:, :rows].unsqueeze(2), frame, time, instants).squeeze(2)
    others_mask = near < NOWHERE
    lanes, lanes_mask = _lanes(roads, frame, tracks)
    vx, vy = tracks.mean[..., 2], tracks.mean[..., 3]
    velocity = torch.stack([vx * frame.cos + vy * frame.sin, vy * frame.cos - vx * frame.sin], dim=-1)
    return Views(me, others * others_mask.unsqueeze(-1), others_mask, lanes, lanes_mask, velocity)


def _past(history: History, tracks: Tracks) -> Tensor:
    """(B, T + 1, P, 7), the ego last; the newest instant is what the tracker says, whether seen or not. Zero where not seen."""
    x, y = torch.cat([history.x, history.ego[:, None, :, 0]], 1), torch.cat([history.y, history.ego[:, None, :, 1]], 1)
    vx, vy = torch.cat([history.vx, history.ego[:, None, :, 2]], 1), torch.cat([history.vy, history.ego[:, None, :, 3]], 1)
    yaw = torch.cat([history.yaw, history.ego[:, None, :, 4]], 1)
    seen = torch.cat([history.valid, history.ego_valid.unsqueeze(1)], 1).to(x.dtype)
    seen = torch.cat([seen[..., :-1], torch.ones_like(seen[..., -1:])], dim=-1)
    return torch.stack([x, y, vx, vy, torch.cos(yaw), torch.sin(yaw), seen], dim=-1) * seen.unsqueeze(-1)


def _now(history: History, tracks: Tracks) -> Tensor:
    """(B, T + 1, STATIC): vx, vy, length, width, one of KINDS."""
    worlds = tracks.kind.shape[0]
    kind = torch.cat([tracks.kind, torch.full_like(tracks.kind[:, :1], KINDS - 1)], dim=1)
    one = (kind.unsqueeze(-1) == torch.arange(KINDS, device=kind.device)).to(tracks.mean.dtype)
    size = torch.cat([tracks.size[..., :2], tracks.size.new_tensor([4.6, 1.85]).expand(worlds, 1, 2)], dim=1)
    velocity = torch.cat([tracks.mean[..., 2:], history.ego[:, -1:, 2:4]], dim=1)
    return torch.cat([velocity, torch.nan_to_num(size, nan=0.0) / 5.0, one], dim=-1)


def _local(flat: Tensor, frame: Frame, time: Tensor, instants: int) -> Tensor:
    """(B, T, M, P * 7 + STATIC) in the ego frame -> (B, T, M, P * INSTANT + STATIC) in each track's own frame, scaled."""
    past, now = flat[..., : instants * 7].reshape(*flat.shape[:-1], instants, 7), flat[..., instants * 7 :]
    fx, fy, cos, sin = (part[..., None, None] for part in frame)
    x, y, vx, vy, c, s, seen = past.unbind(-1)
    dx, dy = (x - fx) / FAR, (y - fy) / FAR
    steps = time[:, None, None, :].expand_as(seen)
    features = [
        dx * cos + dy * sin,
        dy * cos - dx * sin,
        (vx * cos + vy * sin) / FAST,
        (vy * cos - vx * sin) / FAST,
        c * cos + s * sin,
        s * cos - c * sin,
        steps,
        seen,
    ]
    cos, sin, ux, uy = cos[..., 0], sin[..., 0], now[..., 0] / FAST, now[..., 1] / FAST
    local = torch.stack(features, dim=-1) * seen.unsqueeze(-1)
    return torch.cat([local.flatten(-2), torch.stack([ux * cos + uy * sin, uy * cos - ux * sin], dim=-1), now[..., 2:]], dim=-1)


def lane_features(points: Tensor, limit: Tensor, kind: Tensor) -> Tensor:
    """(..., Q, 4) points in the own frame, (...) limit, (...) kind -> (..., Q * 4 + 5)."""
    one = (kind.unsqueeze(-1) == torch.arange(4, device=kind.device)).to(points.dtype)
    scaled = torch.cat([points[..., :2] / FAR, points[..., 2:]], dim=-1).flatten(-2)
    return torch.cat([scaled, (limit / FAST).unsqueeze(-1), one], dim=-1)


def _lanes(roads: Roads, frame: Frame, tracks: Tracks) -> tuple[Tensor, Tensor]:
    """The nearest lane pieces, (B, T, L, Q * 4 + 5) and (B, T, L) bool."""
    count = roads.points.shape[2]
    chosen = torch.linspace(0, count - 1, POINTS, device=roads.points.device).round().to(torch.int64)
    points = roads.points[:, :, chosen]  # (B, J, Q, 4)
    px, py = points[:, None, ..., 0], points[:, None, ..., 1]  # (B, 1, J, Q)
    later_x, later_y = frame.x + LOOK * tracks.mean[..., 2], frame.y + LOOK * tracks.mean[..., 3]
    here = ((px - frame.x[..., None, None]) ** 2 + (py - frame.y[..., None, None]) ** 2).amin(-1)  # (B, T, J)
    there = ((px - later_x[..., None, None]) ** 2 + (py - later_y[..., None, None]) ** 2).amin(-1)
    apart = torch.where(roads.mask.unsqueeze(1), torch.minimum(here, there), NOWHERE * NOWHERE)
    near, index = _nearest(apart, LANES)  # (B, T, L)
    rows = index.shape[1]
    flat = index.flatten(1)
    picked = points.flatten(2).gather(1, flat.unsqueeze(2).expand(-1, -1, POINTS * 4))
    picked = _rows(picked, LANES).reshape(index.shape[0], rows, LANES, POINTS, 4)
    fx, fy, cos, sin = (part[..., None, None] for part in frame)
    dx, dy, c, s = picked[..., 0] - fx, picked[..., 1] - fy, picked[..., 2], picked[..., 3]
    local = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin, c * cos + s * sin, s * cos - c * sin], dim=-1)
    limit, kind = _rows(roads.limit.gather(1, flat), LANES), _rows(roads.kind.gather(1, flat), LANES)
    mask = near < NOWHERE
    return lane_features(local, limit, kind) * mask.unsqueeze(-1), mask


def _rows(flat: Tensor, count: int) -> Tensor:
    """(B, T * count, ...) -> (B, T, count, ...)."""
    return flat.reshape(flat.shape[0], -1, count, *flat.shape[2:])


def _nearest(squared: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest of squared distances (B, T, X), padded where X is smaller: distances and indices (B, T, count)."""
    if squared.shape[2] < count:
        squared = torch.nn.functional.pad(squared, (0, count - squared.shape[2]), value=NOWHERE * NOWHERE)
        values, index = squared.topk(count, largest=False)
        return values.sqrt(), torch.where(values < NOWHERE, index, 0)
    values, index = squared.topk(count, largest=False)
    return values.sqrt(), index
