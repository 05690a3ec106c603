"""What a training run's configuration may say of an arcade game: its level of seeing, its options and its screen's are those of `robot`."""

from __future__ import annotations

from agents.learning.algorithms import Algorithm
from agents.learning.config_robots import RobotSettings
from scenarios.errors import did_you_mean

__all__ = ["arcade_picture", "arcade_problems"]


def arcade_problems(task: str, settings: RobotSettings, algorithm: Algorithm, imitate: str) -> list[str]:
    """What is wrong with a run on an arcade game, a sentence each."""
    from agents.arcade.told import game_config, screen_config
    from envs.checks import ConfigError
    from envs.games.arcade_worlds import LEVELS

    problems = []
    if settings.observation not in LEVELS:
        hint = did_you_mean(settings.observation, LEVELS) or "known: " + ", ".join(LEVELS)
        problems.append(f"robot.observation: no level {settings.observation!r}; {hint}")
    if settings.frames > 1:
        problems.append(f"robot.frames: {settings.frames}; games show the last four pictures on 'pixels'")
    chooses = hasattr(game_config(task), "action")  # else there are only buttons
    if not chooses and "discrete" not in algorithm.actions:
        problems.append(f"algo: {algorithm.name} learns continuous actions; {task} is played by buttons")
    else:
        try:
            action = getattr(game_config(task, settings.options), "action", "discrete")
        except ConfigError as error:
            problems.append(f"robot.options: {error}")
        else:
            if action not in algorithm.actions:
                problems.append(f"robot.options.action: {action}; {algorithm.name} learns {' or '.join(algorithm.actions)} actions")
    try:
        screen_config(task, settings.screen)
    except ConfigError as error:
        problems.append(f"robot.screen: {error}")
    problems += [f"robot.{name}: arcade games have none" for name in ("randomisation", "hindsight") if getattr(settings, name)]
    if imitate:
        problems.append(f"imitate: {imitate!r} cannot be imitated on an arcade game")
    return problems


def arcade_picture(task: str) -> tuple[int, ...]:
    """(channels, height, width) of what is shown on the level `pixels`."""
    from envs.games.arcade import arcade_game

    shape = arcade_game(task).shown.shape
    assert shape is not None
    return shape
