"""What a network is told of a robot's observation: one vector a world.

Of a goal-conditioned task it is the observation and the way from what is achieved to what is desired, which is all that matters of the two:
a network need not learn to subtract. The way is told in units of `UNIT`, so that a centimetre is not lost among metres.

Shapes: B worlds, F numbers, k numbers of a goal.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.policies.spec import ObservationSpec
from envs.checks import ConfigError
from envs.robots.task import Arrays, Task

__all__ = ["UNIT", "flat", "flat_space", "layout", "told_spec"]

UNIT = 0.1  # m
GOAL = ("observation", "achieved_goal", "desired_goal")


def flat(observation: Arrays) -> NDArray[np.float32]:
    """(B, F) float32 of an observation: as it is, or of its parts observation (B, n), achieved_goal and desired_goal (B, k)."""
    if not isinstance(observation, dict):
        return np.asarray(observation, dtype=np.float32)
    own, achieved, desired = (observation[name] for name in GOAL)
    return np.concatenate([own, (desired - achieved) / np.float32(UNIT)], axis=1, dtype=np.float32)


def layout(space: spaces.Space[Any]) -> dict[str, tuple[int, ...]]:
    """The parts of the vector with their shapes: of pictures, what is felt beside them."""
    if isinstance(space, spaces.Dict) and "image" in space.spaces:
        return {name: (int(np.prod(part.shape or ())),) for name, part in space.spaces.items() if name != "image"}
    if isinstance(space, spaces.Box):
        return {"observation": (int(np.prod(space.shape)),)}
    if isinstance(space, spaces.Dict) and set(space.spaces) == set(GOAL):
        parts = {name: space[name].shape for name in GOAL}
        assert parts["observation"] is not None and parts["desired_goal"] is not None
        return {"observation": (parts["observation"][0],), "way": (parts["desired_goal"][0],)}
    raise ConfigError(f"observations of {space}: neither numbers, nor of a goal, nor pictures")


def flat_space(space: spaces.Space[Any]) -> spaces.Box:
    """The space of the vector: that of a Box itself. Raises ConfigError for a space that has none, as pictures."""
    if isinstance(space, spaces.Box):
        return space
    size = layout(space)
    if not isinstance(space, spaces.Dict) or "way" not in size:
        raise ConfigError(f"observations of {space}: these are pictures, and no vector")
    own, desired = space["observation"], space["desired_goal"]
    assert isinstance(own, spaces.Box) and isinstance(desired, spaces.Box)
    high = np.concatenate([own.high, 2.0 * desired.high / UNIT])
    assert len(high) == sum(shape[0] for shape in size.values())
    return spaces.Box(-high.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def told_spec(task: Task, told: spaces.Space[Any] | None = None) -> ObservationSpec:
    """What the vector of a task is made of. Its `features` change with the task, the parts and their bounds.

    told: the space of what is observed, where that is not the task's own: with pictures. Their shape changes `features` too.
    """
    if isinstance(told, spaces.Dict) and "image" in told.spaces:
        parts = layout(told)
        bounds = {name: part.high.tolist() for name, part in told.spaces.items() if isinstance(part, spaces.Box) and name != "image"}
        seen = (task.name, parts, bounds, told["image"].shape)
        return ObservationSpec(size=sum(n for (n,) in parts.values()), features=_sha256(seen), layout=parts)
    space = flat_space(task.observation_space)
    parts = layout(task.observation_space)
    known = (task.name, parts, space.high.tolist(), UNIT)
    return ObservationSpec(size=space.shape[0], features=_sha256(known), layout=parts)


def _sha256(known: object) -> str:
    return hashlib.sha256(repr(known).encode()).hexdigest()
