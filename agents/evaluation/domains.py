"""What is judged besides scenarios: robot tasks and arcade games. Plans and jobs name one `task:reach` where they would name a scenario.

So a task goes through the same plans, processes, journals and statistics as a scenario does, and only those who load a scenario or a
policy, or make words of one, have to ask which it is. No scenario is called so: its names have no colon, and paths end in .yaml.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.arcade.policies import ArcadePolicy
    from agents.evaluation.rollout import EpisodeResult
    from agents.policies.spec import Stage
    from agents.robots.policies import RobotPolicy

__all__ = [
    "ARCADE_ENDINGS", "PREFIX", "ROBOT_ENDINGS", "are_arcade", "changed_task_weights", "check_task_policy", "digest_of", "duration_of",
    "known_tasks", "load_task_policy", "name_of", "rollout_task", "task_labels", "task_of", "task_spec", "task_weights",
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
    """s that an episode of a task can last. Raises ConfigError for one that does not exist."""
    if are_arcade([task]):
        from agents.arcade.told import game_config

        game = game_config(task)
        return float(game.duration * game.dt)
    from envs.robots.physics import compile_model
    from envs.robots.registry import task_named

    found = task_named(task)
    return float(found.duration * found.substeps * compile_model(found.mjcf()).opt.timestep)


def digest_of(task: str) -> str:
    """SHA-256 of a task: its options, a robot's model and times; what its code does is in the digest of the code. Raises ConfigError."""
    known: Any
    if are_arcade([task]):
        from agents.arcade.told import game_config

        known = (task, game_config(task))
    else:
        from envs.robots.registry import task_named

        found = task_named(task)
        known = (found, found.mjcf(), found.duration, found.substeps)
    return hashlib.sha256(repr(known).encode()).hexdigest()


def known_tasks() -> list[str]:
    """Every robot task and arcade game."""
    from envs.games.arcade import ARCADE
    from envs.robots.registry import TASKS

    return [*TASKS, *ARCADE]


def load_task_policy(spec: str, task: str) -> RobotPolicy | ArcadePolicy:
    """Who is meant by `spec` on a task, as `load_robot_policy` and `load_arcade_policy` say."""
    if are_arcade([task]):
        from agents.arcade.policies import load_arcade_policy

        return load_arcade_policy(spec, task)
    from agents.robots.policies import load_robot_policy

    return load_robot_policy(spec, task)


def check_task_policy(policy: RobotPolicy | ArcadePolicy, task: str) -> None:
    """Raises PolicyError if the policy cannot act on the task, or was trained on another one of that name; NoRenderer, WeightsError if it
    cannot see."""
    if are_arcade([task]):
        from agents.arcade.policies import check_fits as check_arcade

        check_arcade(policy, task)  # type: ignore[arg-type]  # of that domain
        return
    from agents.robots.policies import check_fits

    check_fits(policy, task)  # type: ignore[arg-type]


def rollout_task(
    policy: RobotPolicy | ArcadePolicy,
    task: str,
    seeds: Sequence[int],
    *,
    name: str | None = None,
    progress: Callable[[EpisodeResult], None] | None = None,
) -> list[EpisodeResult]:
    """One result a seed, as `rollout_robots` and `rollout_arcade` say."""
    if are_arcade([task]):
        from agents.evaluation.rollout_arcade import rollout_arcade

        return rollout_arcade(policy, task, seeds, name=name, progress=progress)  # type: ignore[arg-type]  # of that domain
    from agents.evaluation.rollout_robots import rollout_robots

    return rollout_robots(policy, task, seeds, name=name, progress=progress)  # type: ignore[arg-type]


def task_weights(policy: RobotPolicy | ArcadePolicy, task: str) -> dict[Stage, str]:
    """The sha256 of what a policy of a task sees through. Raises WeightsError."""
    from agents.policies.pins import arcade_weights, robot_weights

    if are_arcade([task]):
        return arcade_weights(task, policy.observation, getattr(policy, "screen", None))
    return robot_weights(policy.observation)


def task_labels(specs: list[str], tasks: list[str]) -> dict[str, str]:
    """What tables call each policy of robot tasks or arcade games: its own name, or what the user wrote where two would be called the same.

    Raises PolicyError or BundleError if one cannot act on one of the tasks, or if one is named twice.
    """
    from agents.policies.base import PolicyError

    are_arcade(tasks)
    if len(set(specs)) < len(specs):
        raise PolicyError(f"a policy is named twice: {', '.join(specs)}")
    names: dict[str, str] = {}
    for spec in specs:
        found = {task: load_task_policy(spec, task) for task in tasks}
        for task, policy in found.items():
            check_task_policy(policy, task)
        own: Any = {policy.name for policy in found.values()}
        names[spec] = own.pop() if len(own) == 1 else spec
    return {spec: name if list(names.values()).count(name) == 1 else spec for spec, name in names.items()}


def changed_task_weights(specs: list[str], tasks: list[str]) -> list[str]:
    """A warning for every policy of tasks that sees through other perception weights than those it was trained with."""
    from agents.policies.pins import arcade_weights_changed, robot_weights_changed

    def changed(policy: Any, task: str) -> str:
        return arcade_weights_changed(policy, task) if are_arcade([task]) else robot_weights_changed(policy)

    found = (changed(load_task_policy(spec, task), task) for spec in specs for task in tasks)
    return [text for text in dict.fromkeys(found) if text]
