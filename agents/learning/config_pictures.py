"""What pictures that are learned from must be like, and whether they find room in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

__all__ = ["picture_problems"]

SHARE = 0.5  # of the machine's memory, for pictures that are kept


def picture_problems(
    shape: tuple[int, ...], *, steps: int, envs: int, imitate: str, on_policy: bool, hyper: Mapping[str, Any], memory: int | None = None
) -> list[str]:
    """What is wrong with learning from pictures of `shape` (channels, height, width), a sentence each.

    Imitation keeps the pictures of all `steps`, a replay buffer two for each decision, and rollouts are kept in 4 bytes a number.
    memory: bytes of the machine; None: as the system says.
    """
    channels, *sides = shape
    problems = []
    if channels > min(sides):
        problems.append(
            f"robot.frames: {channels} channels in all; Stable-Baselines3 takes no more of them than a picture's side, {min(sides)}"
        )
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if memory is None else memory
    if imitate:
        what, count = f"steps: {steps}; imitation keeps every picture,", steps
    elif on_policy:
        rollout = int(hyper.get("n_steps", 2048))
        what, count = f"hyper.n_steps: {rollout} in {envs} worlds; their pictures are", 4 * rollout * envs
    else:
        buffer = int(hyper.get("buffer_size", 1_000_000))
        what, count = f"hyper.buffer_size: {buffer}; its pictures are", 2 * buffer
    if (need := math.prod(shape) * count) > SHARE * have:
        problems.append(
            f"{what} {need / 1e9:.1f} GB here, and this machine has {have / 1e9:.1f} GB in all: ask for fewer, or fewer robot.frames"
        )
    return problems
