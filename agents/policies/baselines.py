"""Policies that learn nothing, to read trained ones against. Shapes: B worlds, N learners."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from agents.policies.base import Policy, PolicyNeeds
from envs.driving.observation import Observation
from envs.driving.rng import uniform

__all__ = ["BASELINES", "Constant", "Idm", "Random", "RandomManoeuvres"]

STREAM = 4000  # of the counter-based generator; the simulator uses low numbers
KEEP = 0  # the discrete manoeuvre that changes nothing


class Random:
    """Acceleration and steering drawn evenly over their whole range at every decision. The floor: what no policy may fall below."""

    name = "random"
    needs = PolicyNeeds(action="continuous")

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        """(B, N, 2) in [-1, 1), a function of (seed, step, learner) alone."""
        worlds, learners = observation.ego.shape[:2]
        index = torch.arange(2 * learners, device=seed.device)
        draws = uniform(seed.view(-1, 1), step.view(-1, 1), STREAM, index.view(1, -1), -1.0, 1.0)  # (B, 2 N)
        return draws.view(worlds, learners, 2)


class RandomManoeuvres:
    """One of the manoeuvres keep, faster, slower, left, right, drawn evenly at every decision. Unlike `random` it stays on the road."""

    name = "random_manoeuvres"
    needs = PolicyNeeds(action="discrete", ticks_per_step=4)

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        """(B, N) int64 from 0 to 4, a function of (seed, step, learner) alone."""
        learners = observation.ego.shape[1]
        index = torch.arange(learners, device=seed.device)
        draws = uniform(seed.view(-1, 1), step.view(-1, 1), STREAM + 1, index.view(1, -1), 0.0, 5.0)  # (B, N)
        return draws.floor().clamp(max=4.0).to(torch.int64)


class Idm:
    """The traffic model drives the ego too: IDM (Treiber et al. 2000), MOBIL (Kesting et al. 2007), right of way, lights.

    It is privileged: it reads the simulator's state whatever the observation level is, and knows what the other drivers will yield to.
    """

    name = "idm"
    needs = PolicyNeeds(action="continuous", autopilot=True)

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        """(B, N, 2) zeros, which the simulator ignores under `autopilot`."""
        worlds, learners = observation.ego.shape[:2]
        return torch.zeros(worlds, learners, 2, device=seed.device)


class Constant:
    """Stays in its lane at the speed it starts with and looks at nobody. What it survives is no achievement."""

    name = "constant"
    needs = PolicyNeeds(action="discrete")

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        """(B, N) int64, the manoeuvre `keep`."""
        worlds, learners = observation.ego.shape[:2]
        return torch.full((worlds, learners), KEEP, dtype=torch.int64, device=seed.device)


BASELINES: dict[str, Callable[[], Policy]] = {each.name: each for each in (Random, Idm, Constant, RandomManoeuvres)}
