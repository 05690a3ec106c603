"""Let a policy act on episodes of a robot task, many at once, and lose none.

What an episode comes to depends on its seed and the policy alone: worlds do not know of each other, and networks compute in blocks of a
fixed size. Shapes: B worlds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from agents.evaluation.rollout import EpisodeResult, in_batches
from agents.robots.policies import RobotPolicy
from envs.robots.robots import Diverged, Robots

__all__ = ["BATCH", "rollout_robots"]

BATCH = 64  # worlds at once


def rollout_robots(
    policy: RobotPolicy,
    task: str,
    seeds: Sequence[int],
    *,
    name: str | None = None,
    batch: int = BATCH,
    progress: Callable[[EpisodeResult], None] | None = None,
) -> list[EpisodeResult]:
    """One result a seed, in their order. name: what results call the policy. progress: called once an episode, as they end.

    Metrics: `success` (1: done at the end), `return` (rewards added up), `seconds`, `lasted` (share of the time that the task has) and
    `at_goal` (share of decisions after which it was done). A simulation that blows up has `end` "error", and costs no other episode.
    Raises ConfigError or PolicyError where the policy does not fit the task, or was trained on another one of that name.
    """
    policy.check_exam(task)
    return in_batches(lambda some: _batch(policy, task, some, name or policy.name), seeds, batch, progress)


def _batch(policy: RobotPolicy, task: str, seeds: tuple[int, ...], name: str) -> list[EpisodeResult]:
    """All at once; one by one if a simulation blows up, so that only that one is lost."""
    robots = policy.worlds(task, len(seeds))
    try:
        return _Run(policy, robots, seeds, name).results()
    except Diverged as error:
        if len(seeds) == 1:
            return [EpisodeResult(policy=name, scenario=task, seed=seeds[0], end="error", error=str(error))]
    finally:
        robots.close()
    return [result for seed in seeds for result in _batch(policy, task, (seed,), name)]


class _Run:
    """Episodes of one batch under way. A world whose episode is over goes on with others, which are not counted."""

    def __init__(self, policy: RobotPolicy, robots: Robots, seeds: tuple[int, ...], name: str) -> None:
        self.robots, self.seeds, self.name = robots, seeds, name
        self.player = policy.make(robots)
        self.prints = [hashlib.sha256(str(seed).encode()) for seed in seeds]
        self.at_goal = np.zeros(len(seeds), dtype=np.int64)  # (B,) decisions
        self.open = np.ones(len(seeds), dtype=np.bool_)  # (B,)
        self.found: dict[int, EpisodeResult] = {}

    def results(self) -> list[EpisodeResult]:
        """Of all episodes. Raises Diverged."""
        robots = self.robots
        robots.reset(np.array(self.seeds, dtype=np.int64))
        while self.open.any():
            step = robots.step(self.player.act(robots))
            state = robots.physics.get_state()
            self.at_goal += step.success
            for world in np.flatnonzero(self.open).tolist():
                self.prints[world].update(state[world].tobytes())
            over = step.terminated | step.truncated
            for world in np.flatnonzero(over & self.open).tolist():
                end = "done" if step.success[world] else "failed" if step.terminated[world] else "time"
                self.found[world] = self._result(world, end, bool(step.success[world]))
            self.open &= ~over
            robots.reset_where(over)
        return [self.found[world] for world in range(len(self.seeds))]

    def _result(self, world: int, end: str, success: bool) -> EpisodeResult:
        robots, steps = self.robots, int(self.robots.steps[world])
        total = float(robots.returns[world])
        metrics = {
            "success": float(success),
            "return": total,
            "seconds": steps * robots.dt,
            "lasted": 1.0 if success else steps / robots.task.duration,
            "at_goal": float(self.at_goal[world]) / steps,
        }
        return EpisodeResult(
            policy=self.name, scenario=robots.task.name, seed=self.seeds[world], end=end, metrics=metrics, reward=total,
            fingerprint=self.prints[world].hexdigest(),
        )  # fmt: skip
