"""What a training run's configuration may say of an arcade game: its level of seeing and its options are those of `robot`."""

from __future__ import annotations

from agents.learning.algorithms import Algorithm
from agents.learning.config_robots import RobotSettings
from scenarios.errors import did_you_mean

__all__ = ["arcade_problems"]


def arcade_problems(task: str, settings: RobotSettings, algorithm: Algorithm, imitate: str) -> list[str]:
    """What is wrong with a run on an arcade game, a sentence each."""
    from agents.arcade.told import game_config
    from envs.checks import ConfigError
    from envs.games.rally.worlds import LEVELS

    problems = []
    levels = [level for level in LEVELS if level != "pixels"]
    if settings.observation not in levels:
        hint = did_you_mean(settings.observation, levels) or "known: " + ", ".join(levels)
        problems.append(f"robot.observation: a network cannot be trained on {settings.observation!r}; {hint}")
    try:
        action = game_config(task, settings.options).action
    except ConfigError as error:
        problems.append(f"robot.options: {error}")
    else:
        if action not in algorithm.actions:
            problems.append(f"robot.options.action: {action}; {algorithm.name} learns {' or '.join(algorithm.actions)} actions")
    problems += [f"robot.{name}: arcade games have none" for name in ("randomisation", "hindsight") if getattr(settings, name)]
    if imitate:
        problems.append(f"imitate: {imitate!r} cannot be imitated on an arcade game")
    return problems
