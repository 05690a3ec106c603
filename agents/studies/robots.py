"""The study of perception on robots: what acting on what is perceived costs, task by task, on the same episodes.

    gap = (truth - level) / (truth - random)

of mean returns: 0 is as good as with the truth, 1 as bad as acting at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.stats import LEVEL, Estimate, mean_interval, of_means, paired_difference, proportion
from agents.robots.experts import Expert, expert_for
from agents.robots.seen import play
from envs.checks import ConfigError, unknown
from envs.robots.physics import Floats
from envs.robots.registry import task_named
from envs.robots.rng import Draws
from envs.robots.robots import Robots
from envs.robots.sight import LEVELS, SightConfig

__all__ = ["PLAYERS", "Row", "as_data", "study_robots"]

CHANCE = 3001  # stream of random actions
BATCH = 50  # worlds at once
NO_LEVEL = "-"  # of who looks at nothing


class Chance:
    """Every number of an action drawn evenly from its range."""

    def __init__(self, robots: Robots) -> None:
        pass

    def act(self, robots: Robots) -> Floats:
        """A function of episode and decision alone."""
        return Draws(robots.seeds, robots.steps).uniform(CHANCE, robots.task.action_size, -1.0, 1.0)


PLAYERS: dict[str, Callable[[Robots], Expert]] = {"expert": expert_for, "random": Chance}  # sampling tries out the truth on every level


@dataclass(frozen=True, kw_only=True)
class Row:
    """A policy on a level in a task."""

    task: str
    policy: str
    level: str
    episodes: int
    success: Estimate
    reward: Estimate  # mean return
    less_truth: Estimate | None  # of success, pair by pair
    gap: Estimate | None  # of returns; none for the truth itself, and where the truth is not clearly better than chance


def study_robots(
    tasks: Sequence[str],
    policies: Sequence[str],
    levels: Sequence[str],
    *,
    episodes: int,
    seed: int = 0,
    sight: SightConfig | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Row]:
    """A row a task, policy and level, and one a task for chance; as they are done. progress: told how many episodes more are.

    Raises ConfigError for a name that is not known.
    """
    for what, given, known in (("policy", policies, [*PLAYERS]), ("level", levels, [name for name in LEVELS if name != "pixels"])):
        for name in given:
            if name not in known:
                raise ConfigError(unknown(what, name, known))
    made = {name: task_named(name) for name in tasks}
    tell = progress or (lambda count: None)
    for task in made:
        floor = _episodes(task, "random", "truth", episodes, seed, sight, tell)
        yield _row(task, "random", NO_LEVEL, floor, None, None)
        for policy in dict.fromkeys(name for name in policies if name != "random"):
            truth: tuple[NDArray[Any], NDArray[Any]] | None = None
            for level in sorted(dict.fromkeys(levels), key=LEVELS.index):
                found = _episodes(task, policy, level, episodes, seed, sight, tell)
                truth = found if level == "truth" else truth
                yield _row(task, policy, level, found, truth if level != "truth" else None, floor)


def _episodes(
    task: str, policy: str, level: str, episodes: int, seed: int, sight: SightConfig | None, tell: Callable[[int], None]
) -> tuple[NDArray[np.bool_], Floats]:
    """Success and return of each, (episodes,)."""
    parts = []
    for first in range(seed, seed + episodes, BATCH):
        seeds = np.arange(first, min(first + BATCH, seed + episodes))
        robots = Robots(task_named(task), batch=len(seeds), observation=level, sight=sight)
        try:
            parts.append(play(robots, seeds, PLAYERS[policy]))
        finally:
            robots.close()
        tell(len(seeds))
    success, returns = zip(*parts, strict=True)
    return np.concatenate(success), np.concatenate(returns)


def _row(task: str, policy: str, level: str, found: Any, truth: Any, floor: Any) -> Row:
    success, returns = found
    less, gap = None, None
    if truth is not None:
        less = paired_difference(success.tolist(), truth[0].tolist())
        table = [np.stack([truth[1], returns, floor[1]], axis=1)]
        if of_means(table, lambda m: m[..., 0] - m[..., 2]).low > 0.0:
            gap = of_means(table, lambda m: (m[..., 0] - m[..., 1]) / np.maximum(m[..., 0] - m[..., 2], 1e-9))
    return Row(
        task=task,
        policy=policy,
        level=level,
        episodes=len(success),
        success=proportion(int(success.sum()), len(success)),
        reward=mean_interval([returns]),
        less_truth=less,
        gap=gap,
    )


def as_data(rows: Sequence[Row], *, command: str, seed: int, versions: dict[str, str]) -> dict[str, Any]:
    """For report.json."""
    return {
        "title": "What perceiving costs on robots",
        "command": command,
        "versions": versions,
        "seed": seed,
        "interval": {"level": LEVEL, "rates": "Wilson score", "returns and gap": "percentile bootstrap, the gap's paired by seed"},
        "gap": "(truth - level) / (truth - random), of mean returns over the same episodes",
        "rows": [{part.name: _plain(getattr(row, part.name)) for part in fields(row)} for row in rows],
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Estimate) else value
