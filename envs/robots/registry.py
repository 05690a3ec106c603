"""Every robot task by name. A task is one file and one line here; no MuJoCo in here, so that listing them costs nothing."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from envs.checks import ConfigError, unknown

if TYPE_CHECKING:
    from envs.robots.task import Task

__all__ = ["TASKS", "robot_id", "task_class", "task_named"]

TASKS = {  # name: "module:class"
    "reach": "envs.robots.tasks.reach:Reach",
    "push_cube": "envs.robots.tasks.push_cube:PushCube",
    "pick_place": "envs.robots.tasks.pick_place:PickPlace",
    "visual_servo": "envs.robots.tasks.visual_servo:VisualServo",
    "ball_catch": "envs.robots.tasks.ball_catch:BallCatch",
    "cart_pole_vision": "envs.robots.tasks.cart_pole_vision:CartPoleVision",
    "quadruped_walk": "envs.robots.tasks.quadruped_walk:QuadrupedWalk",
    "diff_drive_nav": "envs.robots.tasks.diff_drive_nav:DiffDriveNav",
}


def robot_id(name: str) -> str:
    """Gymnasium id of a task: "cart_pole_vision" -> "closedloop/CartPoleVision-v0"."""
    return f"closedloop/{''.join(part.capitalize() for part in name.split('_'))}-v0"


def task_class(name: str) -> type[Task]:
    """The class of a task. Raises ConfigError with a suggestion, or ModuleNotFoundError if MuJoCo is not installed."""
    if name not in TASKS:
        raise ConfigError(unknown("robot task", name, list(TASKS)))
    module, _, attribute = TASKS[name].partition(":")
    found: type[Task] = getattr(import_module(module), attribute)
    return found


def task_named(name: str, **options: Any) -> Task:
    """A task with options changed. Raises as `task_class`, and ConfigError for an option or a value it does not have."""
    kind = task_class(name)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for option in [option for option in options if option not in known]:
        raise ConfigError(unknown(f"option of {name}", option, known))
    return kind(**options)
