"""The part of a training run's configuration that is about robot tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.learning.algorithms import Algorithm
from agents.policies.robot_spec import Option
from scenarios.errors import did_you_mean

__all__ = ["HINDSIGHT", "IMITATED", "RobotSettings", "robot_picture", "robot_problems"]

IMITATED = ("expert", "sampling")  # who can be imitated on a robot task
HINDSIGHT = ("sac", "tqc", "td3", "ddpg")  # algorithms whose replay buffer can relabel goals


class RobotSettings(BaseModel):
    """How a robot task is trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    observation: str = "truth"  # a level of `envs.robots.sight.LEVELS`
    frames: Annotated[int, Field(ge=1, le=8)] = 1  # of pixels: the last so many pictures of each camera
    options: dict[str, Option] = {}  # of the task: control, reward, tolerance, ...
    randomisation: dict[str, float] = {}  # of `envs.robots.Randomisation`: mass, friction, gain, delay, ...
    screen: dict[str, Option] = {}  # of an arcade game, what is made of its screen: detector, noise, latency, ...
    hindsight: Annotated[int, Field(ge=0, le=64)] = 0  # goals made up for each decision that is learned from; 0: only those that there were

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        """Unknown names are refused with a suggestion."""
        if isinstance(data, Mapping) and (strange := [key for key in data if key not in cls.model_fields]):
            known = ", ".join(sorted(cls.model_fields))
            raise ValueError("\n".join(f"{key}: unknown; {did_you_mean(key, cls.model_fields) or 'known: ' + known}" for key in strange))
        return data

    @property
    def told(self) -> dict[str, Option]:
        """The options that a policy has to know of: how the robot is commanded, and what the task is; not how it is rewarded."""
        return {name: value for name, value in self.options.items() if name != "reward"}


def robot_problems(
    task: str, settings: RobotSettings, algorithm: Algorithm, imitate: str, *, envs: int, hyper: Mapping[str, Any]
) -> list[str]:
    """What is wrong with a run on a robot task, a sentence each. Raises ModuleNotFoundError where MuJoCo is not installed."""
    from envs.checks import ConfigError
    from envs.robots.goals import GoalTask
    from envs.robots.randomise import Randomisation
    from envs.robots.registry import TASKS, task_named
    from envs.robots.sight import LEVELS

    if task not in TASKS:
        return [f"task: no robot task {task!r}; {did_you_mean(task, TASKS) or 'known: ' + ', '.join(TASKS)}"]
    problems = ["robot.screen: robots have cameras"] if settings.screen else []
    if "continuous" not in algorithm.actions:
        problems.append(f"algo: {algorithm.name} learns discrete actions; robots are commanded by continuous ones")
    if settings.observation not in LEVELS:
        hint = did_you_mean(settings.observation, LEVELS) or "known: " + ", ".join(LEVELS)
        problems.append(f"robot.observation: no level {settings.observation!r}; {hint}")
    if settings.frames > 1 and settings.observation != "pixels":
        problems.append(f"robot.frames: {settings.frames}; on {settings.observation!r} no pictures are shown")
    try:
        found = task_named(task, **settings.options)
    except (ConfigError, TypeError) as error:
        problems.append(f"robot.options: {error}")
    else:
        if settings.hindsight and not isinstance(found, GoalTask):
            problems.append(f"robot.hindsight: {settings.hindsight}; {task} has no goals that could be made up")
        elif settings.hindsight and settings.observation == "pixels":
            problems.append(f"robot.hindsight: {settings.hindsight}; in pictures goals cannot be changed for others: set it to 0")
        elif settings.hindsight and settings.observation != "truth" and isinstance(found, GoalTask) and not found.feels_goal:
            said = f"on {settings.observation!r} what {task} has achieved is what is believed, while rewards are of the truth"
            problems.append(
                f"robot.hindsight: {settings.hindsight}; {said}: goals made up would mix the two; train on 'truth', or set it to 0"
            )
        elif settings.hindsight and isinstance(starts := hyper.get("learning_starts", 100), int) and starts <= envs * found.duration:
            said = f"with {envs} worlds the first episodes, in which goals are found, end after {envs * found.duration} decisions"
            problems.append(f"hyper.learning_starts: {starts}; {said}: must be more")
    known = [field.name for field in fields(Randomisation)]
    strange = [key for key in settings.randomisation if key not in known]
    problems += [f"robot.randomisation.{key}: unknown; {did_you_mean(key, known) or 'known: ' + ', '.join(known)}" for key in strange]
    if not strange:
        try:
            Randomisation(**settings.randomisation)
        except ConfigError as error:
            problems.append(f"robot.randomisation: {error}")
    if settings.hindsight and algorithm.name not in HINDSIGHT:
        problems.append(f"robot.hindsight: {algorithm.name} has no replay buffer of continuous actions; those have: {', '.join(HINDSIGHT)}")
    if imitate and imitate not in IMITATED:
        hint = did_you_mean(imitate, IMITATED) or "those can: " + ", ".join(IMITATED)
        problems.append(f"imitate: {imitate!r} cannot be imitated on a robot task; {hint}")
    if imitate and not algorithm.on_policy:
        problems.append(f"imitate: {algorithm.name} cannot go on from a distilled policy; ppo, a2c and trpo can")
    return problems


def robot_picture(task: str, settings: RobotSettings) -> tuple[int, ...]:
    """(channels, height, width) of what is shown on the level `pixels`."""
    from envs.robots.registry import task_named
    from envs.robots.sight import SightConfig, picture_shape

    return picture_shape(task_named(task, **settings.options), SightConfig(frames=settings.frames))
