"""Every environment id: what Gymnasium is told, and what `closedloop list` shows. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gymnasium.envs.registration import register, registry

import scenarios
from envs.games.arcade import ARCADE
from envs.robots.registry import TASKS, robot_id

__all__ = ["DRIVING", "EnvEntry", "entries", "family_id", "register_all"]

DRIVING = "closedloop/Driving-v0"  # any driving scenario: pass scenario="..."


@dataclass(frozen=True, kw_only=True)
class EnvEntry:
    """One environment id."""

    id: str
    entry_point: str  # "module:class" of the gymnasium.Env
    vector_entry_point: str  # "module:class" of the gymnasium.vector.VectorEnv
    options: dict[str, Any] = field(default_factory=dict)  # keyword arguments that the id stands for


def family_id(scenario: str) -> str:
    """Id of a scenario family: "lane_keep" -> "closedloop/LaneKeep-v0"."""
    return f"closedloop/{''.join(part.capitalize() for part in scenario.split('_'))}-v0"


def entries() -> tuple[EnvEntry, ...]:
    """Every environment: the general driving one, one for each scenario family of the library, by name, one for each robot task and
    one for each arcade game."""
    driving: dict[str, Any] = {
        "entry_point": "envs.driving.gym_env:DrivingEnv",
        "vector_entry_point": "envs.driving.vector_env:DrivingVectorEnv",
    }
    families = [EnvEntry(id=family_id(name), options={"scenario": name}, **driving) for name in sorted(scenarios.names())]
    robots: dict[str, Any] = {
        "entry_point": "envs.robots.gym_env:RobotEnv",
        "vector_entry_point": "envs.robots.vector_env:RobotVectorEnv",
    }
    tasks = [EnvEntry(id=robot_id(name), options={"task": name}, **robots) for name in TASKS]
    games = [
        EnvEntry(id=g.id, entry_point=g.entry_point, vector_entry_point=g.vector_entry_point, options=dict(g.options))
        for g in ARCADE.values()
    ]
    return (EnvEntry(id=DRIVING, **driving), *families, *tasks, *games)


def register_all() -> None:
    """Tell Gymnasium about every entry. Ids it already knows are left alone, so calling this twice is harmless."""
    for entry in entries():
        if entry.id not in registry:
            register(id=entry.id, entry_point=entry.entry_point, vector_entry_point=entry.vector_entry_point, kwargs=dict(entry.options))
