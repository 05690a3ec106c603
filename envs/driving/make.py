"""From names to things: scenarios, configurations, episodes and spaces, with errors that help. Used by every shell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

import scenarios
from envs.checks import TRAINING_SEED, ConfigError, seed_from, unknown
from envs.driving.control import TRAJECTORY_POINTS
from envs.driving.types import LEVELS, DrivingConfig
from scenarios.episode import Episode

__all__ = [
    "ACTIONS",
    "OBSERVATIONS",
    "TRAINING_SEED",
    "ScenarioLike",
    "action_space",
    "driving_config",
    "fit",
    "load_scenarios",
    "sample_episodes",
    "seed_from",
    "unknown",
]

ACTIONS = ("continuous", "discrete", "trajectory")
OBSERVATIONS = LEVELS
SLOTS = 8  # agent slots come in eights (see DrivingConfig)
TRAJECTORY_BOX = ((-20.0, -60.0, -5.0), (110.0, 60.0, 50.0))  # x, y m, ego frame, and m/s: what 50 m/s can reach in 2 s

ScenarioLike: TypeAlias = "str | Path | scenarios.Scenario"


def load_scenarios(scenario: ScenarioLike | Sequence[ScenarioLike]) -> tuple[scenarios.Scenario, ...]:
    """One or several scenarios, each a name ("merge", "merge/hard"), a path to a file, or one already loaded.

    Raises scenarios.ScenarioError, with a suggestion, for a name that does not exist or a file with mistakes; ValueError for none at all.
    """
    several = [scenario] if isinstance(scenario, str | Path | scenarios.Scenario) else list(scenario)
    if not several:
        raise ConfigError("no scenario: at least one is needed")
    return tuple(each if isinstance(each, scenarios.Scenario) else scenarios.load(each) for each in several)


def sample_episodes(scenario: ScenarioLike | Sequence[ScenarioLike], count: int, first_seed: int) -> list[Episode]:
    """`count` episodes with seeds first_seed, first_seed + 1, ...; several scenarios take turns.

    Raises ValueError for count < 1, and as `seed_from` does.
    """
    if count < 1:
        raise ConfigError(f"episodes={count}: must be at least 1")
    chosen, first_seed = load_scenarios(scenario), seed_from(first_seed, "first_seed")
    return [scenarios.sample(chosen[i % len(chosen)], first_seed + i) for i in range(count)]


def driving_config(config: DrivingConfig | None = None, **options: Any) -> DrivingConfig:
    """`config` (default: DrivingConfig()) with `options` changed. Options that are None are left alone.

    Raises ValueError for an unknown option or value, with the nearest known one.
    """
    known = {field.name for field in fields(DrivingConfig)}
    options = {name: value for name, value in options.items() if value is not None}
    for name in options.keys() - known:
        raise ConfigError(unknown("option", name, sorted(known)))
    for name, values in (("action", ACTIONS), ("observation", OBSERVATIONS)):
        if name in options and options[name] not in values:
            raise ConfigError(unknown(name, options[name], values))
    return replace(config or DrivingConfig(), **options)


def fit(config: DrivingConfig, episodes: Sequence[Episode]) -> DrivingConfig:
    """`config` with as many agent slots as the episodes need and their tick.

    Only defaults are replaced: `agents` or `dt` of another value was asked for, so it stays (more slots than needed are only slower).
    Raises ValueError where it cannot: slots too few for the road users, a tick that is not the episodes'. Also if the episodes disagree
    on the tick, or have more agents than a world can hold.
    """
    ticks = sorted({episode.dt for episode in episodes})
    if len(ticks) != 1:
        raise ConfigError(f"episodes with ticks of {ticks} s cannot share a batch")
    if config.dt != DrivingConfig.dt and not math.isclose(config.dt, ticks[0]):
        raise ConfigError(f"dt={config.dt}: the scenario ticks every {ticks[0]} s, and so must its worlds; leave dt out")
    most = max(max(len(episode.agents) for episode in episodes), config.learners)
    slots = -(-most // SLOTS) * SLOTS
    if config.agents != DrivingConfig.agents:
        if config.agents < most:
            raise ConfigError(f"agents={config.agents}: an episode has {most} road users; leave agents out, or give at least {slots}")
        slots = config.agents
    return replace(config, agents=slots, dt=ticks[0])


def action_space(config: DrivingConfig) -> spaces.Space[Any]:
    """What one learner may do; see `envs.driving.sim` for the meaning."""
    if config.action == "discrete":
        return spaces.Discrete(5)  # keep, faster, slower, change left, change right
    if config.action == "continuous":
        return spaces.Box(-1.0, 1.0, shape=(2,), dtype=np.float32)  # acceleration, steering
    low, high = (np.tile(np.array(bound, dtype=np.float32), (TRAJECTORY_POINTS, 1)) for bound in TRAJECTORY_BOX)
    return spaces.Box(low, high, dtype=np.float32)
