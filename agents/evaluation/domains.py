"""What is judged besides scenarios: robot tasks and arcade games. Plans and jobs name one `task:reach` where they would name a scenario.

So a task goes through the same plans, processes, journals and statistics as a scenario does, and only those who load a scenario or a
policy, or make words of one, have to ask which it is. No scenario is called so: its names have no colon, and paths end in .yaml.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

__all__ = [
    "ARCADE_ENDINGS", "PREFIX", "ROBOT_ENDINGS", "are_arcade", "changed_robot_weights", "digest_of", "duration_of", "name_of",
    "task_labels", "task_of", "task_spec",
]  # fmt: skip

PREFIX = "task:"
ROBOT_ENDINGS = ("done", "time", "failed", "error", "interrupted")  # done: with success; time: over without; failed: lost before

ARCADE_ENDINGS = ("won", "lost", "time", "error", "interrupted")  # time: over before somebody had the points


def task_spec(task: str) -> str:
    """How plans name a robot task or an arcade game."""
    return PREFIX + task


def task_of(spec: str) -> str:
    """The task that `spec` names; "" for a scenario."""
    return spec.removeprefix(PREFIX) if spec.startswith(PREFIX) else ""


def name_of(spec: str) -> str:
    """What results call it. Raises ScenarioError, or ConfigError for a task that does not exist."""
    if (task := task_of(spec)) and are_arcade([task]):
        return task
    if task:
        from envs.robots.registry import task_class

        return str(task_class(task).name)
    from scenarios import load

    return load(spec).id


def are_arcade(tasks: Sequence[str]) -> bool:
    """Whether the tasks are arcade games, and no robots'. Raises ConfigError for some of both: they have no figures in common."""
    from envs.checks import ConfigError
    from envs.games.arcade import ARCADE

    games = [task for task in tasks if task in ARCADE]
    if games and len(games) < len(tasks):
        rest = [task for task in tasks if task not in ARCADE]
        raise ConfigError(
            f"arcade games ({', '.join(games)}) and robot tasks ({', '.join(rest)}) have no figures in common: judge them apart"
        )
    return bool(games)


def duration_of(task: str) -> float:
    """s that an episode of a robot task can last. Raises ConfigError for one that does not exist."""
    from envs.robots.physics import compile_model
    from envs.robots.registry import task_named

    found = task_named(task)
    return float(found.duration * found.substeps * compile_model(found.mjcf()).opt.timestep)


def digest_of(task: str) -> str:
    """SHA-256 of a robot task: its options, model and times; what its code does is in the digest of the code. Raises ConfigError."""
    from envs.robots.registry import task_named

    found: Any = task_named(task)
    return hashlib.sha256(repr((found, found.mjcf(), found.duration, found.substeps)).encode()).hexdigest()


def task_labels(specs: list[str], tasks: list[str]) -> dict[str, str]:
    """What tables call each policy of robot tasks or arcade games: its own name, or what the user wrote where two would be called the same.

    Raises PolicyError or BundleError if one cannot act on one of the tasks, or if one is named twice.
    """
    if are_arcade(tasks):
        from agents.arcade.policies import arcade_labels

        return arcade_labels(specs, tasks)
    from agents.policies.base import PolicyError
    from agents.robots.policies import check_fits, load_robot_policy

    if len(set(specs)) < len(specs):
        raise PolicyError(f"a policy is named twice: {', '.join(specs)}")
    names: dict[str, str] = {}
    for spec in specs:
        found = {task: load_robot_policy(spec, task) for task in tasks}
        for task, policy in found.items():
            check_fits(policy, task)
        own: Any = {policy.name for policy in found.values()}
        names[spec] = own.pop() if len(own) == 1 else spec
    return {spec: name if list(names.values()).count(name) == 1 else spec for spec, name in names.items()}


def changed_robot_weights(specs: list[str], tasks: list[str]) -> list[str]:
    """A warning for every policy of robot tasks that sees through other perception weights than those it was trained with."""
    if are_arcade(tasks):
        return []
    from agents.policies.pins import robot_weights_changed
    from agents.robots.policies import load_robot_policy

    found = (robot_weights_changed(load_robot_policy(spec, task)) for spec in specs for task in tasks)
    return [text for text in dict.fromkeys(found) if text]
