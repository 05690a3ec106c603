"""From names to worlds: what the three shells do alike. Used by them and by nobody else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.registry import task_named
from envs.robots.robots import Bools, Robots
from envs.robots.task import Arrays, Task

__all__ = ["RENDER_SIZE", "chosen_task", "row", "score"]

RENDER_SIZE = (480, 360)  # of pictures for people, pixels


def chosen_task(task: Task | str, options: dict[str, Any], render_mode: str | None) -> Task:
    """A task by its name with options, or as it is. Raises ValueError for a render mode that does not exist, options for a ready task."""
    if render_mode not in (None, "rgb_array"):
        raise ConfigError(f"render_mode={render_mode!r}: must be None or 'rgb_array'")
    if isinstance(task, str):
        return task_named(task, **options)
    if options:
        raise ConfigError(f"options {', '.join(sorted(options))} beside a task that is ready: make it with them")
    return task


def row(arrays: Arrays, world: int) -> Arrays:
    """The observation of one world, copied."""
    if isinstance(arrays, dict):
        return {name: part[world].copy() for name, part in arrays.items()}
    return np.array(arrays[world])


def score(robots: Robots, success: Bools) -> dict[str, NDArray[Any]]:
    """Figures of the episodes as they are now, (B,) each: success, return, seconds."""
    return {
        "success": success.astype(np.float64),
        "return": robots.returns.copy(),
        "seconds": robots.steps * robots.dt,
    }
