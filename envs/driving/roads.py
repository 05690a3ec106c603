"""The map as predictors see it: lane centrelines cut into short pieces, and the pieces around a pose.

Shapes: M maps, Q pieces of a map (padded), P points of a piece, B worlds, J pieces chosen. World frame in `Pieces`, ego frame in `Roads`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.driving.types import Maps, Setup, State
from perception.types import Roads
from scenarios.network import LaneType

__all__ = ["PIECES", "PIECE_POINTS", "Pieces", "cut", "roads_around", "roads_near"]

PIECES = 64  # J
PIECE_POINTS = 10  # P
PIECE = 22.5  # m, longest piece: points 2.5 m apart
JOINED = 1.0  # m between the end of a piece and the beginning of the next
ALIGNED = 0.9  # cosine of the angle between them
# LaneType -> Roads.kind; recorded paths are no roads
KIND = {int(LaneType.DRIVE): 0, int(LaneType.JUNCTION): 1, int(LaneType.WALKWAY): 2, int(LaneType.OVERTAKE): 3}
FAR = 1e9  # m


class Pieces(NamedTuple):
    """All pieces of all maps."""

    points: Tensor  # (M, Q, P, 4) x, y m, cos, sin
    limit: Tensor  # (M, Q) m/s
    kind: Tensor  # (M, Q) int64 as in Roads
    successor: Tensor  # (M, Q, 3) int64, -1 none
    mask: Tensor  # (M, Q) bool


def cut(maps: Maps) -> Pieces:
    """Cut the lanes of all maps, once; the result lies on the device of `maps`."""
    names = ("points", "lane_start", "lane_count", "lane_step", "lane_type", "lane_limit")
    tables = {name: getattr(maps, name).cpu().numpy() for name in names}
    found = []
    for m in range(len(tables["points"])):
        points, limits, kinds, onward = [], [], [], []
        for lane in range(tables["lane_start"].shape[1]):
            count, kind = int(tables["lane_count"][m, lane]), KIND.get(int(tables["lane_type"][m, lane]))
            if count < 2 or kind is None:
                continue
            start = int(tables["lane_start"][m, lane])
            line = tables["points"][m, start : start + count, :4]
            number = max(1, int(np.ceil((count - 1) * float(tables["lane_step"][m, lane]) / PIECE)))
            at = np.linspace(0, count - 1, number * (PIECE_POINTS - 1) + 1)
            fine = np.stack([np.interp(at, np.arange(count), line[:, c]) for c in range(4)], axis=-1)
            for i in range(number):
                points.append(fine[i * (PIECE_POINTS - 1) : (i + 1) * (PIECE_POINTS - 1) + 1])
                limits.append(float(tables["lane_limit"][m, lane]))
                kinds.append(kind)
                onward.append(i + 1 < number)
        found.append((np.array(points).reshape(-1, PIECE_POINTS, 4), limits, kinds, _successors(points, kinds, onward)))
    size = (len(found), max(1, *(len(kinds) for _, _, kinds, _ in found))) if found else (0, 1)
    pieces = Pieces(
        points=torch.zeros((*size, PIECE_POINTS, 4)),
        limit=torch.zeros(size),
        kind=torch.zeros(size, dtype=torch.int64),
        successor=torch.full((*size, 3), -1, dtype=torch.int64),
        mask=torch.zeros(size, dtype=torch.bool),
    )
    for m, (line, limits, kinds, successor) in enumerate(found):
        n = len(kinds)
        pieces.points[m, :n], pieces.limit[m, :n] = torch.tensor(line, dtype=torch.float32), torch.tensor(limits)
        pieces.kind[m, :n], pieces.successor[m, :n] = torch.tensor(kinds, dtype=torch.int64), torch.from_numpy(successor)
        pieces.mask[m, :n] = True
    return Pieces(*(table.to(maps.points.device) for table in pieces))


def _successors(points: list[NDArray[np.float64]], kinds: list[int], onward: list[bool]) -> NDArray[np.int64]:
    """Pieces that begin where a piece ends, at most 3, (Q, 3) int64. Walkways do not join roads."""
    out = np.full((len(kinds), 3), -1, dtype=np.int64)
    if not kinds:
        return out
    begin, end = np.stack([p[0] for p in points]), np.stack([p[-1] for p in points])
    gap = np.hypot(begin[None, :, 0] - end[:, None, 0], begin[None, :, 1] - end[:, None, 1])
    align = begin[None, :, 2] * end[:, None, 2] + begin[None, :, 3] * end[:, None, 3]
    kind = np.array(kinds)
    walk = kind == KIND[int(LaneType.WALKWAY)]
    fits = (gap < JOINED) & (align > ALIGNED) & (walk[None, :] == walk[:, None])
    for i in range(len(kinds)):
        if onward[i]:
            out[i, 0] = i + 1
            continue
        next_ones = [j for j in np.nonzero(fits[i])[0] if j != i]
        out[i, : min(3, len(next_ones))] = next_ones[:3]
    return out


def roads_near(pieces: Pieces, map_id: Tensor, x: Tensor, y: Tensor, yaw: Tensor, *, count: int = PIECES) -> Roads:
    """The `count` pieces nearest to poses, nearest first, in their frames. map_id, x, y, yaw (B,), world frame.

    Nearest by the closest point of a piece. Pure gathers and one sort: runs compiled and on any device.
    """
    points, mask = pieces.points[map_id], pieces.mask[map_id]  # (B, Q, P, 4), (B, Q)
    dx, dy = points[..., 0] - x.view(-1, 1, 1), points[..., 1] - y.view(-1, 1, 1)
    apart = torch.where(mask, (dx * dx + dy * dy).amin(-1), FAR * FAR)
    total = apart.shape[1]
    if total < count:
        apart = torch.nn.functional.pad(apart, (0, count - total), value=FAR * FAR)
    near, index = torch.sort(apart, dim=1, stable=True)
    near, index = near[:, :count], index[:, :count]  # (B, J)
    there, index = near < FAR, index.clamp(max=total - 1)
    wide = index[..., None, None].expand(-1, -1, *points.shape[2:])
    px, py, pc, ps = points.gather(1, wide).unbind(-1)  # (B, J, P)
    yaw = yaw.contiguous()
    cos, sin = torch.cos(yaw).view(-1, 1, 1), torch.sin(yaw).view(-1, 1, 1)
    px, py = px - x.view(-1, 1, 1), py - y.view(-1, 1, 1)
    local = torch.stack([px * cos + py * sin, py * cos - px * sin, pc * cos + ps * sin, ps * cos - pc * sin], dim=-1)
    # successors: from numbers of the map to places among the chosen
    place = torch.full((x.shape[0], total + 1), -1, dtype=torch.int64, device=x.device)
    slot = torch.arange(count, device=x.device).expand_as(index)
    place = place.scatter(1, torch.where(there, index, total), torch.where(there, slot, -1))
    place[:, total] = -1
    successor = pieces.successor[map_id].gather(1, index.unsqueeze(2).expand(-1, -1, 3))  # (B, J, 3)
    successor = place.gather(1, torch.where(successor >= 0, successor, total).flatten(1)).view_as(successor)
    return Roads(
        points=local * there[..., None, None],
        limit=torch.where(there, pieces.limit[map_id].gather(1, index), 0.0),
        kind=torch.where(there, pieces.kind[map_id].gather(1, index), 0),
        successor=torch.where(there.unsqueeze(2), successor, -1),
        mask=there,
    )


def roads_around(state: State, setup: Setup, pieces: Pieces, *, learner: int = 0, count: int = PIECES) -> Roads:
    """The pieces around one learner of every world, in its ego frame: what a predictor of that learner's perception is given."""
    return roads_near(pieces, setup.map_id, state.x[:, learner], state.y[:, learner], state.yaw[:, learner], count=count)
