"""Whoever acts in the worlds of a robot task, by name: experts, sampling, chance, and trained policies.

A player is made for a batch of worlds and then asked for their actions at every decision. Shapes: B worlds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agents.robots.driving import DiffDriveExpert
from agents.robots.experts import Expert, expert_for
from agents.robots.sampling import SamplingPlanner
from envs.checks import ConfigError, unknown
from envs.robots.physics import Floats
from envs.robots.rng import Draws
from envs.robots.robots import Robots

__all__ = ["PLAYERS", "PREDICTOR", "Chance", "MakePlayer", "expert_forecasts", "player_named", "players_of"]

STREAM = 3001  # of the counter-based generator; `agents.robots.sampling` uses the one before
PREDICTOR = "predictor_robots"  # whose forecasts `expert_forecasts` heeds
MakePlayer = Callable[[Robots], Expert]


class Chance:
    """Every number of an action drawn evenly from its range at every decision. The floor: what no policy may fall below."""

    def __init__(self, robots: Robots) -> None:
        pass

    def act(self, robots: Robots) -> Floats:
        """Actions (B, n) in [-1, 1), a function of episode and decision alone."""
        return np.asarray(Draws(robots.seeds, robots.steps).uniform(STREAM, robots.task.action_size, -1.0, 1.0))


def expert_forecasts(robots: Robots) -> Expert:
    """The expert of `diff_drive_nav`, people going where the learned predictor says in place of straight on.

    Raises ConfigError for a task with nobody to be foreseen, WeightsError where the network cannot be had.
    """
    if robots.task.name not in FORESEEN:
        raise ConfigError(f"nobody's future matters in {robots.task.name!r}: expert_forecasts is of {', '.join(FORESEEN)}; take expert")
    from agents.robots.forecasting import Forecaster
    from perception.prediction.learned import Learned

    return DiffDriveExpert(robots, Forecaster(robots, Learned.from_file(PREDICTOR)))


PLAYERS: dict[str, MakePlayer] = {
    "random": Chance,
    "expert": expert_for,
    "expert_forecasts": expert_forecasts,
    "sampling": SamplingPlanner,
}
FORESEEN = ("diff_drive_nav",)  # tasks with people in them


def players_of(task: str) -> list[str]:
    """Names of those who act on a task."""
    return [name for name, make in PLAYERS.items() if make is not expert_forecasts or task in FORESEEN]


def player_named(name: str) -> MakePlayer:
    """One that needs no training. Raises ConfigError for a name that is not known."""
    if name not in PLAYERS:
        raise ConfigError(unknown("player of robot tasks", name, list(PLAYERS)))
    return PLAYERS[name]
