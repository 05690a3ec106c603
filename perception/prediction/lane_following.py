"""IDM along the lane: a track keeps to its lane piece and those that follow, behind whoever is in front of it.

Shapes: B worlds, T tracks, J pieces, P points of a piece, F branches, C pieces of a path, L = C P points of a path, S steps.
IDM: Treiber, Hennecke & Helbing, Phys. Rev. E 62 (2000).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perception.prediction.base import MODES, STEP, STEPS, WALKERS, horizon
from perception.prediction.history import History
from perception.prediction.kinematic import spread
from perception.types import MANOEUVRES, Forecasts, Roads, Tracks

__all__ = ["LaneFollowing"]

BRANCHES = 3  # F: the successors taken at every fork
CHAIN = 8  # C: 180 m of the usual pieces
NEAR = 2.5  # m beside a centreline within which one is on it
ALIGNED = 0.5  # cosine of the angle to it
SIDE = 1.75  # m beside the path within which somebody is in the way
ACCEL, DECEL, HEADWAY, GAP = 1.5, 2.0, 1.5, 2.0  # IDM: m/s^2, m/s^2, s, m
SETTLE = 2.0  # s in which the offset from the centreline is worked off
TICK = 0.25  # s, of the rollout
FAR = 1e6  # m
KEPT = 0.3  # probability that the speed stays as it is
SIDEWAYS = 0.5  # m/s across the lane, from which on one changes lanes
STEEP = 0.02  # the same as a share of the speed along it
FAST = 5.0  # m/s along it, below which nobody is taken to
SURELY = 2.0  # standard deviations by which that is surpassed
BEGUN = -0.3  # m from the centreline towards where one goes: who is further on the other side comes back to it
WIDTH = 3.6  # m to the lane beside


class _Paths(NamedTuple):
    """Where the lanes lead."""

    points: Tensor  # (B, T, F, L, 4)
    station: Tensor  # (B, T, F, L) m from the first point
    last: Tensor  # (B, T, F) m, station of the end of what is known
    distinct: Tensor  # (B, T, F) bool: differs from the branches before it


class LaneFollowing:
    """Modes 0..2 follow the lane and its branches by IDM, 3..5 the same at the present speed; off the road: constant velocity.

    changes: who moves away from the middle of his lane goes on to the one beside.
    """

    name = "idm_along_lane"

    def __init__(self, *, changes: bool = False) -> None:
        self.changes = changes

    def predict(self, history: History, tracks: Tracks, roads: Roads) -> Forecasts:
        """See `Predictor.predict`. The history does not matter."""
        vx, vy = tracks.mean[..., 2], tracks.mean[..., 3]
        speed = torch.sqrt(vx * vx + vy * vy)
        piece, on_lane = _nearest(tracks, roads)
        on_lane = on_lane & (tracks.kind != WALKERS) & tracks.mask
        paths = _paths(roads, piece)
        station, offset = _project(paths.points, paths.station, tracks.mean[..., 0, None], tracks.mean[..., 1, None])  # (B, T, F)
        limit = roads.limit.gather(1, piece)
        gap, leader = _leaders(tracks, paths, station)
        driven = _roll(speed, torch.maximum(limit, speed), gap, leader)  # (B, T, F, S)
        kept = (speed.unsqueeze(-1) * horizon(speed)).unsqueeze(2).expand_as(driven)
        ahead = torch.cat([driven, kept], dim=2)  # (B, T, K, S)
        aside = offset.unsqueeze(-1) * (1.0 - horizon(speed) / SETTLE).clamp(min=0.0)  # (B, T, F, S)
        if self.changes:
            across = _across(tracks, paths, station, offset)
            gone = (offset.unsqueeze(-1) + across.unsqueeze(-1) * horizon(speed)).clamp(-WIDTH, WIDTH)
            aside = torch.where((across != 0.0).unsqueeze(-1), gone, aside)
        wide = _Paths(*(torch.cat([part, part], dim=2) for part in paths))
        at = torch.cat([station, station], 2).unsqueeze(-1) + ahead
        x, y, c, s = _along(wide, at)
        aside = torch.cat([aside, aside], dim=2)
        straight = tracks.mean[..., None, None, :2] + tracks.mean[..., None, None, 2:] * horizon(speed).unsqueeze(-1)
        lane = torch.stack([x - s * aside, y + c * aside], dim=-1)
        which = on_lane[..., None, None, None]
        mean = torch.where(which, lane, straight)
        heading = torch.where(which, torch.stack([c, s], dim=-1), tracks.mean[..., None, None, 2:].expand_as(mean))
        share = wide.distinct.to(mean.dtype)
        share = torch.where(on_lane.unsqueeze(-1), share, share.new_tensor([1.0] + [0.0] * (MODES - 1)))
        share = share * share.new_tensor([1.0 - KEPT] * BRANCHES + [KEPT] * BRANCHES)
        return Forecasts(
            time=horizon(mean),
            mean=mean,
            covariance=spread(self.name, tracks, heading),
            probability=share / _add(share).unsqueeze(-1),
            manoeuvre=torch.full((*speed.shape, len(MANOEUVRES)), torch.nan, device=mean.device, dtype=mean.dtype),
            mask=tracks.mask,
        )


def _across(tracks: Tracks, paths: _Paths, station: Tensor, offset: Tensor) -> Tensor:
    """m/s to the left, (B, T, F), with which those who surely change lanes leave theirs; 0 for all others."""
    vx, vy = tracks.mean[..., 2, None], tracks.mean[..., 3, None]
    _, _, c, s = (part.squeeze(-1) for part in _along(paths, station.unsqueeze(-1)))
    xx, xy, yy = (tracks.covariance[..., i, j].unsqueeze(-1) for i, j in ((2, 2), (2, 3), (3, 3)))
    along, across = vx * c + vy * s, vy * c - vx * s
    sigma = torch.sqrt((xx * s * s - 2.0 * xy * c * s + yy * c * c).clamp(min=0.0))
    least = torch.maximum(STEEP * along, torch.full_like(along, SIDEWAYS)) + SURELY * sigma
    away = offset * torch.sign(across) > BEGUN
    return torch.where((along > FAST) & (across.abs() > least) & away, across, 0.0)


def _add(values: Tensor) -> Tensor:
    """Sum over the last dimension, in a fixed order."""
    total = values[..., 0]
    for i in range(1, values.shape[-1]):
        total = total + values[..., i]
    return total


def _nearest(tracks: Tracks, roads: Roads) -> tuple[Tensor, Tensor]:
    """The piece a track is on, (B, T) int64, and whether it is on one."""
    points = roads.points.unsqueeze(1)  # (B, 1, J, P, 4)
    x, y, vx, vy = (part[..., None, None] for part in tracks.mean.unbind(-1))
    yaw = tracks.yaw[..., None, None]
    speed = torch.sqrt(vx * vx + vy * vy)
    c = torch.where(speed > 0.5, vx / speed.clamp(min=0.5), torch.cos(yaw))
    s = torch.where(speed > 0.5, vy / speed.clamp(min=0.5), torch.sin(yaw))
    dx, dy = x - points[..., 0], y - points[..., 1]
    along, aside = dx * points[..., 2] + dy * points[..., 3], dy * points[..., 2] - dx * points[..., 3]
    gaps = points[:, :, :, 1:, :2] - points[:, :, :, :-1, :2]
    space = torch.sqrt((gaps * gaps).sum(-1)).amax(-1, keepdim=True)  # (B, 1, J, 1) m between points
    beside = torch.where(along.abs() <= 0.6 * space, aside.abs(), FAR)  # (B, T, J, P)
    fits = (c * points[..., 2] + s * points[..., 3] > ALIGNED) & roads.mask[:, None, :, None] & (roads.kind != 2)[:, None, :, None]
    distance, piece = torch.where(fits, beside, FAR).amin(-1).min(-1)
    return piece, distance < NEAR


def _paths(roads: Roads, piece: Tensor) -> _Paths:
    """Follow successors from `piece`, the f-th one at every fork (the first where there are fewer)."""
    batch, rows = piece.shape
    count = roads.points.shape[2]
    flat_points = roads.points.flatten(2)  # (B, J, P * 4)
    chains, ends = [], []
    choices = []
    for f in range(BRANCHES):
        here, alive = piece, torch.ones_like(piece, dtype=torch.bool)
        parts, known, choice = [], [], torch.zeros_like(piece)
        for hop in range(CHAIN):
            parts.append(flat_points.gather(1, here.unsqueeze(2).expand(-1, -1, flat_points.shape[2])).view(batch, rows, count, 4))
            known.append(alive)
            following = roads.successor.gather(1, here.unsqueeze(2).expand(-1, -1, 3))  # (B, T, 3)
            wanted = following[..., f]
            taken = torch.where(wanted >= 0, wanted, following[..., 0])
            if f:
                choice = choice | ((wanted >= 0) & alive & (hop < CHAIN - 1)).to(choice.dtype)
            alive = alive & (taken >= 0)
            here = torch.where(alive, taken, here)
        chains.append(torch.stack(parts, dim=2))  # (B, T, C, P, 4)
        ends.append(torch.stack(known, dim=2))
        choices.append(choice > 0 if f else torch.ones_like(alive))
    points, there = torch.stack(chains, dim=2), torch.stack(ends, dim=2)  # (B, T, F, C, P, 4), (B, T, F, C)
    gaps = points[..., 1:, :2] - points[..., :-1, :2]
    steps = torch.sqrt(gaps[..., 0] ** 2 + gaps[..., 1] ** 2) * there.unsqueeze(-1)  # (B, T, F, C, P - 1)
    steps = torch.cat([torch.zeros_like(steps[..., :1]), steps], dim=-1).flatten(3)  # pieces join: no gap between them
    total, stations = torch.zeros_like(steps[..., 0]), []
    for i in range(steps.shape[-1]):
        total = total + steps[..., i]
        stations.append(total)
    return _Paths(points.flatten(3, 4), torch.stack(stations, dim=-1), total, torch.stack(choices, dim=2))


def _project(points: Tensor, station: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Station and offset (left positive) of (x, y) (B, T, F or 1) at the nearest of points (B, T, F, L, 4)."""
    dx, dy = x.unsqueeze(-1) - points[..., 0], y.unsqueeze(-1) - points[..., 1]
    _, k = (dx * dx + dy * dy).min(-1, keepdim=True)
    c, s = points[..., 2].gather(-1, k), points[..., 3].gather(-1, k)
    dx, dy = dx.gather(-1, k), dy.gather(-1, k)
    return (station.gather(-1, k) + dx * c + dy * s).squeeze(-1), (dy * c - dx * s).squeeze(-1)


def _leaders(tracks: Tracks, paths: _Paths, station: Tensor) -> tuple[Tensor, Tensor]:
    """Bumper gap to whoever is next on each path (B, T, F) m (FAR: nobody), and its speed along the path."""
    best, pace = torch.full_like(station, FAR), torch.zeros_like(station)
    half = torch.nan_to_num(tracks.size[..., 0], nan=4.5) * 0.5
    rows = torch.arange(tracks.kind.shape[1], device=station.device)
    for j in range(tracks.kind.shape[1]):
        x, y, vx, vy = (part[:, j, None, None].expand_as(station) for part in tracks.mean.unbind(-1))
        dx, dy = x.unsqueeze(-1) - paths.points[..., 0], y.unsqueeze(-1) - paths.points[..., 1]
        _, k = (dx * dx + dy * dy).min(-1, keepdim=True)
        c, s = paths.points[..., 2].gather(-1, k), paths.points[..., 3].gather(-1, k)
        dx, dy = dx.gather(-1, k), dy.gather(-1, k)
        at = (paths.station.gather(-1, k) + dx * c + dy * s).squeeze(-1)
        aside = (dy * c - dx * s).squeeze(-1).abs()
        gap = at - station - (half[:, j, None] + half).unsqueeze(2)
        ahead = (at > station + 0.5) & (aside < SIDE) & (at <= paths.last + 1.0)
        ahead = ahead & tracks.mask[:, j, None, None] & (rows != j)[None, :, None]
        nearer = ahead & (gap < best)
        best = torch.where(nearer, gap, best)
        pace = torch.where(nearer, vx * c.squeeze(-1) + vy * s.squeeze(-1), pace)
    return best, pace.clamp(min=0.0)


def _roll(speed: Tensor, wanted: Tensor, gap: Tensor, leader: Tensor) -> Tensor:
    """Metres driven at each step, (B, T, F, S), by IDM behind a leader that keeps its speed."""
    v = speed.unsqueeze(2).expand_as(gap)
    wanted = wanted.clamp(min=1.0).unsqueeze(2)
    root = 2.0 * (ACCEL * DECEL) ** 0.5
    s, out = torch.zeros_like(v), []
    free = gap.clamp(min=0.1)
    every = round(STEP / TICK)
    for i in range(STEPS * every):
        ratio = v / wanted
        desired = GAP + (v * HEADWAY + v * (v - leader) / root).clamp(min=0.0)
        push = desired / free
        accel = (ACCEL * (1.0 - (ratio * ratio) ** 2 - push * push)).clamp(min=-8.0)
        after = (v + accel * TICK).clamp(min=0.0)
        moved = 0.5 * (v + after) * TICK
        s, free, v = s + moved, (free + leader * TICK - moved).clamp(min=0.1), after
        if i % every == every - 1:
            out.append(s)
    return torch.stack(out, dim=-1)


def _along(paths: _Paths, station: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, cos, sin of the paths (B, T, K) at stations (B, T, K, S); straight on before the beginning and past the end."""
    k = (paths.station.unsqueeze(-2) <= station.unsqueeze(-1)).sum(-1).clamp(min=1) - 1  # (B, T, K, S) last point not beyond
    x, y, c, s = (part.gather(-1, k) for part in paths.points.unbind(-1))
    past = station - paths.station.gather(-1, k)
    # along the chord to the next point where there is one, else along the tangent
    after = (k + 1).clamp(max=paths.station.shape[-1] - 1)
    nx, ny = paths.points[..., 0].gather(-1, after), paths.points[..., 1].gather(-1, after)
    dx, dy = nx - x, ny - y
    span = torch.sqrt(dx * dx + dy * dy)
    inner = (span > 0.1) & (station <= paths.last.unsqueeze(-1))
    c_out, s_out = torch.where(inner, dx / span.clamp(min=0.1), c), torch.where(inner, dy / span.clamp(min=0.1), s)
    return x + past * c_out, y + past * s_out, c, s
