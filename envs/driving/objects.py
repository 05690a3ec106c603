"""The things around the ego as the observation is made from them: the simulator's truth, or what a perception stack believes.

Shapes: B worlds, N learners, O objects, M modes of a forecast. World frame, SI units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.types import Setup, State

__all__ = ["FORECAST_AT", "Belief", "Objects", "true_objects"]

FORECAST_AT = (1.0, 2.0, 3.0)  # s ahead


class Belief(NamedTuple):
    """How sure one is of an object, and where it may go."""

    sigma: Tensor  # (B, O, 2) m, standard deviations of its position along and across the ego's heading
    score: Tensor  # (B, O) 0..1, that it exists
    probability: Tensor  # (B, O, M) of the likeliest modes, in falling order
    x: Tensor  # (B, O, M, 3) m, at FORECAST_AT
    y: Tensor  # (B, O, M, 3) m


class Objects(NamedTuple):
    """Everything that may be shown, in any order."""

    x: Tensor  # (B, O) m, centre
    y: Tensor  # (B, O) m
    cos: Tensor  # (B, O) of its heading
    sin: Tensor  # (B, O)
    speed: Tensor  # (B, O) m/s along its heading
    length: Tensor  # (B, O) m
    width: Tensor  # (B, O) m
    kind: Tensor  # (B, O) int64, scenarios.kinds.Kind
    seen: Tensor  # (B, N, O) bool, by which learner
    lights: Tensor | None = None  # (B, GL) int64 states as believed; None: as they are
    belief: Belief | None = None


def true_objects(state: State, setup: Setup, seen: Tensor) -> Objects:
    """All agents as they are; seen (B, N, A) bool."""
    return Objects(
        x=state.x,
        y=state.y,
        cos=torch.cos(state.yaw),
        sin=torch.sin(state.yaw),
        speed=state.speed,
        length=setup.length,
        width=setup.width,
        kind=setup.kind,
        seen=seen,
    )
