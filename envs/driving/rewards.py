"""The default reward: route progress, and infractions that end the episode.

Few, unshaped terms that add up to about 1 over a perfect episode (plus the bonus for arriving): simple rewards scale with the amount
of training where heavily shaped ones do not (Jaeger et al., "CaRL: Learning scalable planning policies with simple rewards",
arXiv 2504.17838). Time appears nowhere: discounting and the episode's end are what makes haste worthwhile.

Shapes: B worlds, N learners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from envs.driving.dynamics import lateral_accel
from envs.driving.metrics import COMFORT
from envs.driving.types import Out, Setup, State

__all__ = ["RewardWeights", "reward_terms", "total"]


@dataclass(frozen=True, kw_only=True)
class RewardWeights:
    """Weight of each term of `reward_terms`. Raises ValueError for one that is not finite."""

    progress: float = 1.0  # for the whole route
    arrived: float = 1.0
    collision: float = -1.0
    off_road: float = -1.0
    wrong_way: float = -1.0
    lost: float = -1.0
    red_light: float = -0.5  # does not end the episode
    stop_sign: float = -0.5
    stopped: float = 0.25  # for obeying a stop sign: coming to rest at the line is rare by chance, and hard to find otherwise
    haste: float = 0.0  # per m/s too fast towards a red light or a stop sign; leads to stopping where it is hard to find by chance
    comfort: float = 0.0  # per m/s^2 beyond the bounds in a step, use a small negative weight; off by default

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value):
                raise ValueError(f"weight of {field.name}: {value} is not finite")


def reward_terms(out: Out, state: State, setup: Setup) -> dict[str, Tensor]:
    """Unweighted terms of one decision step, each (B, N) float32, named as in `RewardWeights`.

    progress: share of the route gained in this step; adds up to 1 over the route.
    haste: m/s too fast at the end of the step to come calmly to rest where a red light or a stop sign asks for it (`Out.haste`).
    comfort: by how much the accelerations at the end of the step exceed nuPlan's bounds, m/s^2 (0 inside them).
    The others: 1 in the step in which it happened, else 0.
    """
    n = out.progress.shape[1]
    speed, accel = state.speed[:, :n], state.accel[:, :n]
    sideways = lateral_accel(speed, state.steer[:, :n], setup.wheelbase[:, :n])
    (_, brake, drive), (_, right, left) = COMFORT[:2]
    return {
        "progress": out.progress / setup.route_length[:, : out.progress.shape[1]],
        "arrived": out.arrived.to(torch.float32),
        "collision": out.collision.to(torch.float32),
        "off_road": out.off_road.to(torch.float32),
        "wrong_way": out.wrong_way.to(torch.float32),
        "lost": out.lost.to(torch.float32),
        "red_light": out.red_light.to(torch.float32),
        "stop_sign": out.stop_sign.to(torch.float32),
        "stopped": out.stopped.to(torch.float32),
        "haste": out.haste,
        "comfort": torch.abs(accel - accel.clamp(brake, drive)) + torch.abs(sideways - sideways.clamp(right, left)),
    }


def total(terms: dict[str, Tensor], weights: RewardWeights) -> Tensor:
    """Weighted sum of the terms, (B, N), in the order of the weights. Raises KeyError for a missing term."""
    names = [f.name for f in fields(weights)]
    reward = torch.zeros_like(terms[names[0]])
    for name in names:
        reward = reward + getattr(weights, name) * terms[name]
    return reward
