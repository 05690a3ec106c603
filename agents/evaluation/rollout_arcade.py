"""Let a policy play episodes of an arcade game, many at once, and lose none.

What an episode comes to depends on its seed and the policy alone: worlds do not know of each other, and networks compute in blocks of a
fixed size. Shapes: B worlds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from agents.arcade.policies import ArcadePolicy
from agents.evaluation.rollout import EpisodeResult, in_batches

__all__ = ["BATCH", "rollout_arcade"]

BATCH = 64  # worlds at once


def rollout_arcade(
    policy: ArcadePolicy,
    task: str,
    seeds: Sequence[int],
    *,
    name: str | None = None,
    batch: int = BATCH,
    progress: Callable[[EpisodeResult], None] | None = None,
) -> list[EpisodeResult]:
    """One result a seed, in their order. name: what results call the policy. progress: called once an episode, as they end.

    Metrics: those of the worlds. `end` is "won" or "lost", with success or without, where the game was over, else "time".
    Raises ConfigError or PolicyError where the policy does not fit the game, or was trained on another one of that name.
    """
    policy.check_exam(task)
    return in_batches(lambda some: _batch(policy, task, some, name or policy.name), seeds, batch, progress)


def _batch(policy: ArcadePolicy, task: str, seeds: tuple[int, ...], name: str) -> list[EpisodeResult]:
    """All at once. A world whose episode is over goes on with others, which are not counted."""
    worlds = policy.worlds(task, len(seeds))
    player = policy.make(worlds)
    worlds.reset(np.array(seeds, dtype=np.int64))
    prints = [hashlib.sha256(f"{task} {seed}".encode()) for seed in seeds]
    open_, found = np.ones(len(seeds), dtype=np.bool_), dict[int, EpisodeResult]()
    while open_.any():
        step = worlds.step(player.act(worlds))
        told = worlds.traced()
        for world in np.flatnonzero(open_).tolist():
            prints[world].update(np.ascontiguousarray(told[world]).tobytes())
        terminated = step.terminated.cpu().numpy()
        over = terminated | step.truncated.cpu().numpy()
        if over.any():
            figures = worlds.metrics()
            for world in np.flatnonzero(over & open_).tolist():
                metrics = {key: float(value[world]) for key, value in figures.items()}
                won = "won" if metrics["success"] else "lost"
                found[world] = EpisodeResult(
                    policy=name, scenario=task, seed=seeds[world], end=won if terminated[world] else "time", metrics=metrics,
                    reward=metrics["return"], fingerprint=prints[world].hexdigest(),
                )  # fmt: skip
            open_ &= ~over
            worlds.reset_where(over)
    return [found[world] for world in range(len(seeds))]
