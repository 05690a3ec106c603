"""How far an episode was from failing, as one number: at most 0 where the policy failed, and the lower the worse.

Shapes: B worlds, A agents. The ego is slot 0. SI units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from agents.evaluation.rollout import EpisodeResult
from envs.driving.collision import direction
from envs.driving.sim import DrivingSim
from envs.driving.ttc import time_to_collision
from envs.driving.types import Out
from scenarios.episode import Episode

__all__ = ["FAILURES", "Closeness", "Scales", "failed", "margin", "scales"]

FAILURES = ("any", "collision", "at-fault")  # any: no success, as `closedloop eval` counts it
HORIZON = 3.0  # s: a time to collision of this much is half way between contact and never
SEVERE = 10.0  # m/s: a collision at this relative speed is half way to the worst there is
USUAL = 0.1  # quantile of what is not a failure that is taken for near: it makes seconds and shares of the time comparable


class Closeness:
    """A `Watch`: the smallest time to collision with anybody, and the relative speed of a collision.

    Unlike the metric `ttc_min`, everybody on the road counts, also behind and beside, and there is no horizon: all boxes keep speed and
    heading, and the ego may be at rest.
    """

    def __init__(self, sim: DrivingSim) -> None:
        self.sim = sim
        self.least = torch.full((sim.batch,), torch.inf)  # (B,) s

    def begin(self, worlds: Iterable[int]) -> None:
        """See `Watch`."""
        self.least[list(worlds)] = torch.inf

    @torch.no_grad()
    def add(self, out: Out) -> None:
        """See `Watch`."""
        state, setup = self.sim.state, self.sim.setup
        vx, vy = (state.speed * axis for axis in direction(state.yaw))
        boxes = (state.x, state.y, state.yaw, setup.length, setup.width, vx, vy)
        times = time_to_collision(*(t[:, :1] for t in boxes), *(t[:, 1:] for t in boxes))  # (B, A - 1)
        self.least = torch.minimum(self.least, torch.where(state.valid[:, 1:], times, torch.inf).amin(1))

    def end(self, world: int) -> dict[str, float]:
        """ttc, s; impact, m/s between the ego and what it struck, 0 without a collision."""
        state = self.sim.state
        slot, impact = int(state.stats.collision_slot[world, 0]), 0.0
        if slot >= 0:
            speed, yaw = state.speed[world, [0, slot]].tolist(), state.yaw[world, [0, slot]].tolist()
            impact = math.hypot(*(speed[0] * f(yaw[0]) - speed[1] * f(yaw[1]) for f in (math.cos, math.sin)))
        return {"ttc": float(self.least[world]), "impact": impact}


@dataclass(frozen=True, kw_only=True)
class Scales:
    """What is near for a policy and a scenario; a margin of 1 is that near."""

    closeness: float = 0.5
    slack: float = 0.5


def failed(result: EpisodeResult, rule: str) -> bool:
    """Whether an episode counts as a failure under one of `FAILURES`."""
    if rule == "any":
        return result.failed
    return bool(result.metrics["collision" if rule == "collision" else "collision_at_fault"])


def margin(result: EpisodeResult, episode: Episode, rule: str, scale: Scales) -> float:
    """The margin of an episode that was driven to its end.

    Where it did not fail: the least of closeness, t / (t + 3 s) of the smallest time to collision, and slack, the share of the allowed time
    that was left on arrival (where there is a goal, and lateness is a failure), each over its scale. Where it did: -1 to 0, the worse the
    more of the route was left, or by the relative speed v of the collision -1 - v / (v + 10 m/s): collisions are worse than not arriving.
    """
    if failed(result, rule):
        if result.metrics["collision"]:
            impact = result.watched["impact"]
            return -1.0 - impact / (impact + SEVERE)
        return -max(0.001, 1.0 - result.metrics["route_progress"])
    closeness, slack = _parts(result, episode)
    return max(1e-6, min(closeness / scale.closeness, slack / scale.slack if rule == "any" else math.inf))


def scales(results: Sequence[tuple[EpisodeResult, Episode]], rule: str) -> Scales:
    """From episodes that the scenario itself drew: the lowest tenth of each part, of those that did not fail."""
    parts = np.array([_parts(r, e) for r, e in results if not failed(r, rule)]).reshape(-1, 2)
    if not len(parts):
        return Scales()
    low = np.quantile(parts, USUAL, axis=0, method="lower")
    closeness, slack = (float(min(max(value, 0.02), 1.0)) for value in low)
    return Scales(closeness=closeness, slack=slack)


def _parts(result: EpisodeResult, episode: Episode) -> tuple[float, float]:
    """Closeness and slack, each 0 to 1, 1 far from failing."""
    ttc, goal = result.watched["ttc"], episode.goal
    closeness = 1.0 if math.isinf(ttc) else ttc / (ttc + HORIZON)
    if goal.destination is None and goal.region is None:
        return closeness, 1.0  # where the goal is to last nobody comes late
    allowed = min(episode.duration, goal.time_max)
    return closeness, min(max(1.0 - result.metrics["duration"] / allowed, 0.0), 1.0)
