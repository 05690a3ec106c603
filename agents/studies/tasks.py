"""The study of perception on robot tasks and arcade games: what acting on what is perceived costs, task by task, on the same episodes.

    gap = (truth - level) / (truth - random)

of mean returns: 0 is as good as with the truth, 1 as bad as acting at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.evaluation.domains import are_arcade, check_task_policy, known_tasks, load_task_policy, rollout_task
from agents.evaluation.rollout import EpisodeResult
from agents.evaluation.stats import LEVEL, Estimate, mean_interval, of_means, paired_difference, proportion
from envs.checks import ConfigError, unknown

if TYPE_CHECKING:
    from agents.arcade.policies import ArcadePolicy
    from agents.robots.policies import RobotPolicy

__all__ = ["Row", "Study", "as_data", "plan_tasks", "study_tasks"]

CHANCE, NO_LEVEL = "random", "-"  # of who looks at nothing
LEVELS = ("truth", "visible", "noisy", "perceived")  # in the order of the ladder


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is to be judged, checked."""

    tasks: tuple[str, ...]
    policies: tuple[str, ...]  # but for chance
    levels: tuple[str, ...]  # in the order of the ladder
    players: dict[tuple[str, str, str], RobotPolicy | ArcadePolicy]  # by task, policy and level

    @property
    def arms(self) -> int:
        """Of each task, chance among them."""
        return 1 + len(self.levels) * len(self.policies)

    def episodes(self, each: int) -> int:
        """In all, where every arm has `each`."""
        return len(self.tasks) * self.arms * each


@dataclass(frozen=True, kw_only=True)
class Row:
    """A policy on a level in a task."""

    task: str
    policy: str
    level: str
    episodes: int  # that there are figures of
    lost: int  # to an error
    success: Estimate
    reward: Estimate  # mean return
    less_truth: Estimate | None  # of success, pair by pair
    gap: Estimate | None  # of returns; none for the truth itself, and where the truth is not clearly better than chance


def plan_tasks(
    tasks: Sequence[str], policies: Sequence[str], levels: Sequence[str], *, detector: str | None = None, noise: str | None = None
) -> Study:
    """Everybody on every level in every task, each tried in one world. detector, noise: others than those that ship for them.

    Raises ConfigError for a task or level that is not known; PolicyError for a policy that is not, or that cannot act on a level;
    WeightsError for a detector or an error model that cannot be had; NoRenderer where it has to be seen and nothing renders.
    """
    for name in levels:
        if name not in LEVELS:
            raise ConfigError(unknown("level", name, LEVELS))
    for name in tasks:
        if name not in (known := known_tasks()):
            raise ConfigError(unknown("robot task or arcade game", name, known))
    arcade = are_arcade(tasks)
    order = tuple(sorted(dict.fromkeys(levels), key=LEVELS.index))
    names = tuple(name for name in dict.fromkeys(policies) if name != CHANCE)
    players = {}
    for task in dict.fromkeys(tasks):
        seeing = _seeing(task if arcade else "", detector, noise)
        for name in names:
            for level in order:
                players[task, name, level] = replace(load_task_policy(f"{name}@{level}", task), **seeing)
                check_task_policy(players[task, name, level], task)
    return Study(tasks=tuple(dict.fromkeys(tasks)), policies=names, levels=order, players=players)


def study_tasks(plan: Study, *, episodes: int, seed: int = 0, progress: Callable[[int], None] | None = None) -> Iterator[Row]:
    """A row a task, policy and level, and one a task for chance; as they are done. An episode that is lost to an error anywhere is left out
    everywhere where it is compared. progress: told how many episodes more are.
    """
    seeds, tell = range(seed, seed + episodes), progress or (lambda count: None)

    def judged(policy: RobotPolicy | ArcadePolicy, task: str) -> list[EpisodeResult]:
        return rollout_task(policy, task, seeds, progress=lambda result: tell(1))

    for task in plan.tasks:
        floor = judged(load_task_policy(CHANCE, task), task)
        yield _row(task, CHANCE, NO_LEVEL, floor, None, None)
        for policy in plan.policies:
            truth: list[EpisodeResult] | None = None
            for level in plan.levels:
                found = judged(plan.players[task, policy, level], task)
                truth = found if level == "truth" else truth
                yield _row(task, policy, level, found, truth if level != "truth" else None, floor)


def _seeing(game: str, detector: str | None, noise: str | None) -> dict[str, Any]:
    """How policies see, as their field of it: on an arcade game, or on robot tasks for ""."""
    given: dict[str, Any] = {name: value for name, value in (("detector", detector), ("noise", noise)) if value}
    if game:
        from agents.arcade.told import screen_config

        return {"screen": found} if (found := screen_config(game, given)) else {}
    from envs.robots.sight import SightConfig

    return {"sight": SightConfig(**given)}


def _row(
    task: str, policy: str, level: str, found: list[EpisodeResult], truth: list[EpisodeResult] | None, floor: list[EpisodeResult] | None
) -> Row:
    kept = [result for result in found if not result.error]
    if not kept:
        nothing = Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
        return Row(
            task=task, policy=policy, level=level, episodes=0, lost=len(found), success=nothing, reward=nothing, less_truth=None, gap=None
        )  # fmt: skip
    success, returns = [bool(result.metrics["success"]) for result in kept], np.array([result.reward for result in kept])
    less, gap = None, None
    pairs = [three for three in zip(truth, found, floor, strict=True) if not any(r.error for r in three)] if truth and floor else []
    if pairs:
        less = paired_difference(*([bool(three[who].metrics["success"]) for three in pairs] for who in (1, 0)))
        table = [np.array([[result.reward for result in three] for three in pairs])]
        if of_means(table, lambda m: m[..., 0] - m[..., 2]).low > 0.0:
            gap = of_means(table, lambda m: (m[..., 0] - m[..., 1]) / np.maximum(m[..., 0] - m[..., 2], 1e-9))
    return Row(
        task=task,
        policy=policy,
        level=level,
        episodes=len(kept),
        lost=len(found) - len(kept),
        success=proportion(sum(success), len(kept)),
        reward=mean_interval([returns]),
        less_truth=less,
        gap=gap,
    )


def as_data(rows: Sequence[Row], *, command: str, seed: int, versions: dict[str, str]) -> dict[str, Any]:
    """For report.json."""
    return {
        "title": "What perceiving costs on tasks",
        "command": command,
        "versions": versions,
        "seed": seed,
        "interval": {"level": LEVEL, "rates": "Wilson score", "returns and gap": "percentile bootstrap, the gap's paired by seed"},
        "gap": "(truth - level) / (truth - random), of mean returns over the same episodes",
        "rows": [{part.name: _plain(getattr(row, part.name)) for part in fields(row)} for row in rows],
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Estimate) else value
