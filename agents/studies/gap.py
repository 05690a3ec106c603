"""What perceiving costs: figures of every arm, its distance to the truth on the same seeds, and the perception gap.

    gap = (truth - level) / (truth - random)

of mean returns over the same episodes: 0 is as good as with the truth, 1 as bad as acting at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.rollout import EpisodeResult
from agents.evaluation.stats import Estimate, mean_interval, of_means, paired_difference, proportion
from agents.studies.arms import ANY, RANDOM, Arm

__all__ = ["Comparison", "Episodes", "Figures", "Outcome", "compare", "difference", "figures", "outcomes", "reference"]

Key = tuple[str, int]  # scenario, seed
Episodes = dict[Key, EpisodeResult]
PARTLY = "interrupted: what was driven is mostly what ended soon, as collisions do"
POINTS = 0.1  # a success this much lower than with the truth is told in so many words


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How an arm did."""

    episodes: int
    lost: int  # to errors, or not driven: in no figure
    success: Estimate
    collision: Estimate
    reward: Estimate  # mean return


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm less another, over the episodes that both drove."""

    episodes: int
    success: Estimate
    collision: Estimate
    reward: Estimate


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An arm with its figures, and what stands between it and the truth."""

    arm: Arm
    figures: Figures
    truth: str = ""  # spec of the arm that had the truth; empty: there is none, or it is this one
    less_truth: Comparison | None = None
    gap: Estimate | None = None  # of returns
    no_gap: str = ""  # why there is none
    within: str = ""  # success at most 10 points below the truth's: yes, no, unclear
    partly: bool = False  # Ctrl-C left episodes undriven
    found: Episodes = field(default_factory=dict, repr=False)


def outcomes(arms: Sequence[Arm], results: dict[str, list[EpisodeResult]]) -> list[Outcome]:
    """One an arm, in order. results: by the arm's spec."""
    found = {arm.spec: {(r.scenario, r.seed): r for r in results[arm.spec] if not r.error} for arm in arms}
    cut = {arm.spec for arm in arms if any(r.end == "interrupted" for r in results[arm.spec])}
    table = []
    for arm in arms:
        mine, truth = found[arm.spec], reference(arm, arms, found)
        figure = figures(mine, lost=len(results[arm.spec]) - len(mine))
        if truth is None or truth == arm:
            table.append(Outcome(arm=arm, figures=figure, partly=arm.spec in cut, found=mine))
            continue
        if cut & {arm.spec, truth.spec, RANDOM}:
            table.append(Outcome(arm=arm, figures=figure, truth=truth.spec, no_gap=PARTLY, partly=arm.spec in cut, found=mine))
            continue
        less = compare(mine, found[truth.spec])
        gap, why = _gap(mine, found[truth.spec], found[RANDOM])
        table.append(
            Outcome(
                arm=arm, figures=figure, truth=truth.spec, less_truth=less, gap=gap, no_gap=why, within=_within(less.success), found=mine
            )
        )
    return table


def reference(arm: Arm, arms: Sequence[Arm], found: dict[str, Episodes]) -> Arm | None:
    """The arm that shows what can be done with the truth: of those driven on it, that which succeeds most. None: no policy was.

    Not the same policy's own: one that learned on another level may not know what to do with the truth.
    """
    if arm.level == ANY:
        return None
    true = [each for each in arms if each.level == "truth" and not each.sweep]
    return max(true, key=lambda each: _success(found[each.spec]), default=None)


def _success(found: Episodes) -> float:
    return sum(_happened(r, "success") for r in found.values()) / max(len(found), 1)


def figures(found: Episodes, *, lost: int = 0) -> Figures:
    """Rates with Wilson's interval, the mean return with a bootstrap within scenarios."""
    return Figures(
        episodes=len(found),
        lost=lost,
        success=proportion(sum(_happened(r, "success") for r in found.values()), len(found)),
        collision=proportion(sum(_happened(r, "collision") for r in found.values()), len(found)),
        reward=mean_interval([[_reward(r) for r in stratum] for stratum in _strata(found, list(found))]),
    )


def compare(mine: Episodes, other: Episodes) -> Comparison:
    """`mine` less `other`, pair by pair."""
    keys = [key for key in mine if key in other]
    tables = [
        np.array([[_reward(mine[key]), _reward(other[key])] for key in stratum], dtype=np.float64).reshape(-1, 2) for stratum in _keys(keys)
    ]
    return Comparison(
        episodes=len(keys),
        success=paired_difference(*([_happened(side[key], "success") for key in keys] for side in (mine, other))),
        collision=paired_difference(*([_happened(side[key], "collision") for key in keys] for side in (mine, other))),
        reward=of_means(tables, lambda m: m[..., 0] - m[..., 1]),
    )


def difference(table: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Every two policies on the same level with the same options, the first less the second; which is better by success, then return."""
    rows = []
    for first, second in combinations([o for o in table if o.arm.level != ANY and not (o.arm.sweep or o.partly)], 2):
        same = (first.arm.level, first.arm.shown) == (second.arm.level, second.arm.shown)
        if not same or first.arm.policy == second.arm.policy:
            continue
        less = compare(first.found, second.found)
        better = _better(less.success) or _better(less.reward)
        names = {1: first.arm.policy, -1: second.arm.policy, 0: ""}
        rows.append({"level": first.arm.shown, "first": first.arm, "second": second.arm, "less": less, "better": names[better]})
    return rows


def _gap(mine: Episodes, truth: Episodes, floor: Episodes) -> tuple[Estimate | None, str]:
    keys = [key for key in mine if key in truth and key in floor]
    if not keys:
        return None, "no episode was driven by all three"
    tables = [np.array([[_reward(side[key]) for side in (truth, mine, floor)] for key in stratum]) for stratum in _keys(keys)]
    room = of_means(tables, lambda m: m[..., 0] - m[..., 2])
    if len(keys) < 2:
        return None, "one episode is too few"
    if not room.low > 0.0:
        return None, f"truth is not clearly better than random: {room.value:.2f} [{room.low:.2f}, {room.high:.2f}]"

    def share(m: NDArray[np.float64]) -> NDArray[np.float64]:
        out: NDArray[np.float64] = (m[..., 0] - m[..., 1]) / np.maximum(m[..., 0] - m[..., 2], 1e-9)
        return out

    return of_means(tables, share), ""


def _within(success: Estimate) -> str:
    return "yes" if success.low >= -POINTS else "no" if success.high < -POINTS else "unclear"


def _better(less: Estimate) -> int:
    """1 if it is clearly above 0, -1 below, 0 unclear."""
    return 1 if less.low > 0.0 else -1 if less.high < 0.0 else 0


def _strata(found: Episodes, keys: Sequence[Key]) -> list[list[EpisodeResult]]:
    return [[found[key] for key in stratum] for stratum in _keys(keys)]


def _keys(keys: Sequence[Key]) -> list[list[Key]]:
    """By scenario."""
    return [[key for key in keys if key[0] == scenario] for scenario in dict.fromkeys(key[0] for key in keys)]


def _happened(result: EpisodeResult, metric: str) -> bool:
    return result.metrics[metric] > 0.0


def _reward(result: EpisodeResult) -> float:
    assert result.reward is not None  # every episode that was driven has one
    return result.reward
