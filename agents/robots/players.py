"""Whoever acts in the worlds of a robot task, by name: experts, sampling, chance, and trained policies.

A player is made for a batch of worlds and then asked for their actions at every decision. Shapes: B worlds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agents.robots.experts import Expert, expert_for
from agents.robots.sampling import SamplingPlanner
from envs.checks import ConfigError, unknown
from envs.robots.physics import Floats
from envs.robots.rng import Draws
from envs.robots.robots import Robots

__all__ = ["PLAYERS", "Chance", "MakePlayer", "player_named"]

STREAM = 3001  # of the counter-based generator; `agents.robots.sampling` uses the one before
MakePlayer = Callable[[Robots], Expert]


class Chance:
    """Every number of an action drawn evenly from its range at every decision. The floor: what no policy may fall below."""

    def __init__(self, robots: Robots) -> None:
        pass

    def act(self, robots: Robots) -> Floats:
        """Actions (B, n) in [-1, 1), a function of episode and decision alone."""
        return np.asarray(Draws(robots.seeds, robots.steps).uniform(STREAM, robots.task.action_size, -1.0, 1.0))


PLAYERS: dict[str, MakePlayer] = {"random": Chance, "expert": expert_for, "sampling": SamplingPlanner}


def player_named(name: str) -> MakePlayer:
    """One that needs no training. Raises ConfigError for a name that is not known."""
    if name not in PLAYERS:
        raise ConfigError(unknown("player of robot tasks", name, list(PLAYERS)))
    return PLAYERS[name]
