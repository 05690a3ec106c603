"""Planning by trying out on the physics itself: no learning, no gradients, no expert.

Predictive sampling (Howell et al., "Predictive sampling: real-time behaviour synthesis with MuJoCo", 2022): add noise to the plan so far,
roll each candidate out, keep the best. With a temperature the candidates are averaged by the exponential of their return instead, which is
model-predictive path integral control (Williams et al., "Information theoretic MPC", 2017).

Shapes: B worlds, S samples, H decisions ahead, P knots of a plan, n numbers in an action.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.goals import GoalTask
from envs.robots.rng import Draws
from envs.robots.robots import Robots
from envs.robots.task import Task

__all__ = ["SamplingConfig", "SamplingPlanner"]

STREAM = 3000  # of the counter-based generator: noise of plans
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How hard to search. Raises ConfigError on nonsense."""

    samples: int = 16  # candidates a decision; the plan so far and keeping still are among them
    horizon: int = 12  # decisions ahead
    knots: int = 3  # of a plan; between them it is linear
    noise: float = 0.5  # standard deviation of what is added to each knot; actions are in [-1, 1]
    temperature: float = 0.0  # of returns, 0: the best candidate wins

    def __post_init__(self) -> None:
        least = {"samples": 3, "horizon": 1, "knots": 2, "noise": 0.0, "temperature": 0.0}
        for field in fields(self):
            value = getattr(self, field.name)
            if not least[field.name] <= value < np.inf:
                raise ConfigError(f"{field.name}={value}: must be {least[field.name]} or more")


class SamplingPlanner:
    """Acts in the worlds of a `Robots` by trying out candidates on a copy of them.

    It knows the true state and the model as it is without randomisation. It keeps the plan of each world from one decision to the next
    and forgets it when an episode begins; its noise is a function of (episode, decision), so an episode is the same in any batch.

    Raises ConfigError where the copy could not be one: worlds whose commands come late.
    """

    def __init__(self, robots: Robots, config: SamplingConfig | None = None, *, threads: int = 0) -> None:
        self.config = config or SamplingConfig()
        if robots.randomisation.delay:
            raise ConfigError(f"delay={robots.randomisation.delay}: a sampling planner's copies of the worlds know no late commands")
        self.copies = Robots(graded(robots.task), batch=robots.batch * self.config.samples, threads=threads)
        self.plan = np.zeros((robots.batch, self.config.knots, robots.task.action_size))  # (B, P, n)

    def act(self, robots: Robots) -> Floats:
        """Actions (B, n). The worlds are not touched."""
        config = self.config
        self.plan[robots.steps == 0] = 0.0
        spacing = max(config.horizon - 1, 1) / (config.knots - 1)  # decisions from knot to knot
        candidates = self._candidates(robots)
        returns = self._returns(robots, interpolated(candidates, np.arange(config.horizon) / spacing))  # (B, S)
        chosen = choose(candidates, returns, config.temperature)
        self.plan = interpolated(chosen[:, None], np.arange(config.knots) + 1.0 / spacing)[:, 0]  # a decision later
        return chosen[:, 0]

    def _candidates(self, robots: Robots) -> Floats:
        """(B, S, P, n) in [-1, 1]; the first is the plan so far, the second to keep still.

        The others are the plan with noise, in turn as much as configured, a half, a quarter and an eighth of it: much to get somewhere,
        little to stay there.
        """
        batch, config = robots.batch, self.config
        count = config.samples - 2
        noise = Draws(robots.seeds, robots.steps).normal(STREAM, count * config.knots * robots.task.action_size)
        scale = config.noise * 0.5 ** (np.arange(count) % 4)
        varied = self.plan[:, None] + scale[:, None, None] * noise.reshape(batch, count, *self.plan.shape[1:])
        return np.asarray(np.clip(np.concatenate([self.plan[:, None], np.zeros_like(self.plan[:, None]), varied], axis=1), -1.0, 1.0))

    def _returns(self, robots: Robots, actions: Floats) -> Floats:
        """(B, S) sums of rewards over actions (B, S, H, n)."""
        copies, samples = self.copies, self.config.samples
        copies.physics.set_state(np.repeat(robots.physics.get_state(), samples, axis=0))
        copies.steps, copies.seeds = np.repeat(robots.steps, samples), np.repeat(robots.seeds, samples)
        total, (over, lost) = np.zeros(copies.batch), np.zeros((2, copies.batch), dtype=np.bool_)
        for k in range(self.config.horizon):
            step = copies.step(actions[:, :, k].reshape(copies.batch, -1))
            total += np.where(over, 0.0, step.reward)
            lost |= step.terminated & ~step.success & ~over
            over |= step.terminated
            total -= np.where(lost, 1.0, 0.0)  # a decision that a lost episode does without; one that is done needs none
        return total.reshape(robots.batch, samples)


def graded(task: Task) -> Task:
    """The task with a reward that says how near one is: sparse rewards are the same for all candidates far from the goal."""
    return replace(task, reward="dense") if isinstance(task, GoalTask) else task


def interpolated(plans: Floats, at: NDArray[np.floating[Any]]) -> Floats:
    """Plans (B, S, P, n) at places `at` (H,) in units of knots, (B, S, H, n); beyond the last knot it stays."""
    last = plans.shape[2] - 1
    place = np.clip(at, 0.0, last)
    low = np.minimum(place.astype(np.int64), last - 1)
    part = (place - low)[:, None]
    return np.asarray(plans[:, :, low] * (1.0 - part) + plans[:, :, low + 1] * part)


def choose(candidates: Floats, returns: Floats, temperature: float) -> Floats:
    """(B, P, n) of candidates (B, S, P, n): the best by returns (B, S), or their mean weighted with exp(return / temperature)."""
    if temperature == 0.0:
        return np.asarray(candidates[np.arange(len(candidates)), returns.argmax(1)])
    weight = np.exp((returns - returns.max(1, keepdims=True)) / temperature)
    weight = weight / weight.sum(1, keepdims=True)
    return np.asarray((candidates * weight[:, :, None, None]).sum(1))
