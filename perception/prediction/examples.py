"""What predictors learn from and are judged on: pasts with their futures.

Shapes: B scenes, T tracks, P past instants, S steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from perception.prediction.history import History
from perception.types import MANOEUVRES, Roads, Tracks

__all__ = ["CROSS", "KEEP", "LEFT", "RIGHT", "TURN", "YIELD", "Examples", "join", "label_manoeuvres", "take", "tracks_from"]

KEEP, LEFT, RIGHT, TURN, YIELD, CROSS = range(len(MANOEUVRES))
TURNED = math.radians(25.0)  # change of direction over the horizon that makes a turn
DRIVES, HALTS = 2.0, 1.0  # m/s
E = TypeVar("E", History, Tracks, Roads)


class Examples(NamedTuple):
    """A labelled stream yields these."""

    history: History
    tracks: Tracks
    roads: Roads
    future: Tensor  # (B, T, S, 2) m, where tracks truly went, ego frame of now; steps as in Forecasts.time
    there: Tensor  # (B, T, S) bool, known
    manoeuvre: Tensor  # (B, T) int64, index into MANOEUVRES; -1: unknown


def label_manoeuvres(
    speed: Tensor, direction: Tensor, changed: Tensor, walks: Tensor, on_walkway: Tensor, known: Tensor, parked: Tensor
) -> Tensor:
    """What somebody does over the horizon, (...,) int64 index into MANOEUVRES, -1 where not known to the end.

    speed (..., S + 1) m/s now and at the steps; direction (..., S + 1) rad of the box; changed (...,) int64: the first lane change,
    +1 left, -1 right, 0 none; walks (...,) bool pedestrian; on_walkway (..., S + 1) bool on a crosswalk; known (..., S + 1) bool;
    parked (...,) bool never moves. The first that holds: cross (a pedestrian or rider who moves while on a walkway), left or right
    (a lane change begins), yield (drives now and comes nearly to rest, or stands with the road ahead still to be driven), turn (the
    direction changes by more than 25 degrees), keep.
    """
    moves = speed > 0.3
    crosses = (on_walkway & moves).any(-1)
    swing = (torch.remainder(direction - direction[..., :1] + math.pi, 2.0 * math.pi) - math.pi).abs().amax(-1)
    slowest = speed[..., 1:].amin(-1)
    yields = ((speed[..., 0] > DRIVES) & (slowest < HALTS)) | ((speed[..., 0] < HALTS) & (slowest < HALTS))
    label = torch.where((swing > TURNED) & ~walks, TURN, KEEP)
    label = torch.where(yields & ~parked & ~walks, YIELD, label)
    label = torch.where(changed > 0, LEFT, torch.where(changed < 0, RIGHT, label))
    label = torch.where(crosses, CROSS, label)
    return torch.where(known.all(-1), label, -1)


def tracks_from(kind: Tensor, mean: Tensor, yaw: Tensor, size: Tensor, mask: Tensor, id: Tensor | None = None) -> Tracks:
    """Tracks as an ideal tracker would give them. kind, yaw, mask (B, T), mean (B, T, 4), size (B, T, 3)."""
    shape = kind.shape
    zero, count = torch.zeros(shape, device=mean.device), torch.zeros(shape, dtype=torch.int64, device=mean.device)
    row = torch.arange(shape[1], device=mean.device).expand(shape)
    return Tracks(
        id=torch.where(mask, row if id is None else id, -1),
        kind=kind,
        mean=mean,
        covariance=torch.zeros((*shape, 4, 4), device=mean.device),
        yaw=yaw,
        size=size,
        score=zero + 1.0,
        age=count + 1,
        unseen=count.clone(),
        light=count - 1,
        source=count - 1,
        box=torch.zeros((*shape, 4), device=mean.device),
        mask=mask,
    )


def take(examples: Examples, scenes: Tensor) -> Examples:
    """Some of the scenes, (n,) int64."""

    def of(group: E) -> E:
        return type(group)(*(column[scenes] for column in group))

    history, tracks, roads = of(examples.history), of(examples.tracks), of(examples.roads)
    return Examples(history, tracks, roads, examples.future[scenes], examples.there[scenes], examples.manoeuvre[scenes])


def join(parts: Sequence[Examples]) -> Examples:
    """Scenes of several sets as one; all must have equal shapes but for B. Raises ValueError for none."""
    if not parts:
        raise ValueError("no examples to join")

    def of(groups: Sequence[E]) -> E:
        return type(groups[0])(*(torch.cat(columns) for columns in zip(*groups, strict=True)))

    return Examples(
        of([p.history for p in parts]),
        of([p.tracks for p in parts]),
        of([p.roads for p in parts]),
        torch.cat([p.future for p in parts]),
        torch.cat([p.there for p in parts]),
        torch.cat([p.manoeuvre for p in parts]),
    )
