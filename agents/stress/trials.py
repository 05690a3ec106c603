"""Driving points of the space: many worlds at once, each judged by its margin, each failure tried again by the references.

Shapes: n points, D coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from agents.evaluation.rollout import BATCH, EpisodeResult, rollout
from agents.policies.base import Policy
from agents.stress.margins import Closeness, Scales, failed, margin, scales
from agents.stress.references import Reference
from agents.stress.space import Floats, Space
from scenarios import Episode, Scenario, ScenarioError, sample
from scenarios.network import RoadNetwork
from scenarios.networks import map_count, place

__all__ = ["Driver", "Trial"]

UNPLACED = "unplaced"  # the draw could not be laid out: no episode, no failure


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One simulation. `end` is how `rollout` names it, or "unplaced"."""

    stage: str  # control, pilot, search, estimate
    seed: int
    draws: dict[str, float] | None  # numbers given by name; None: the seed's own
    u: Floats  # (D,) numbers of the space's coordinates; NaN where the episode has no such number
    end: str
    failed: bool = False
    margin: float = math.inf
    survived: tuple[str, ...] = ()  # references that did not fail in it; asked for failures only
    ttc: float = math.inf  # s, smallest time to collision
    impact: float = 0.0  # m/s, relative speed of a collision
    error: str = ""

    @property
    def avoidable(self) -> bool:
        """Failed, and somebody else did not."""
        return self.failed and bool(self.survived)


@dataclass
class Driver:
    """Drives points and keeps every trial, in order, also of a population that was interrupted."""

    scenario: Scenario
    policy: Policy
    space: Space
    references: Sequence[Reference]
    rule: str  # of `agents.stress.margins.FAILURES`
    compile: bool = False
    progress: Callable[[int], None] | None = None
    scale: Scales = field(default_factory=Scales)
    trials: list[Trial] = field(default_factory=list)
    asked: int = 0  # simulations of references

    def points(self, z: Floats, stage: str) -> Floats:
        """Margins (n,) of points (n, D); +inf where there was no episode, and for failures that no reference survives.

        For a search and a probability only those count that the policy could have avoided; with no references, all do.
        """
        return self._margins(self._drive([self.space.episode(row) for row in z], stage, self.scale))

    def pilot(self, z: Floats) -> Floats:
        """The same for points of the scenario's own distribution, from which the scales of the margins are taken first."""
        return self._margins(self._drive([self.space.episode(row) for row in z], "pilot", None))

    def seeds(self, seeds: Sequence[int], stage: str) -> None:
        """Drive episodes as `closedloop eval` draws them."""
        self._drive([(seed, None) for seed in seeds], stage, self.scale)

    def _margins(self, trials: Sequence[Trial]) -> Floats:
        return np.array([math.inf if t.failed and self.references and not t.avoidable else t.margin for t in trials])

    def _drive(self, cases: Sequence[tuple[int, dict[str, float] | None]], stage: str, scale: Scales | None) -> list[Trial]:
        blank, episodes, ended = list[tuple[Trial, Episode | None]](), dict[int, Episode](), dict[int, EpisodeResult]()
        for seed, draws in cases:
            trial, episode = self._draw(seed, draws, stage, episodes)
            blank.append((trial, episode))
            if episode is not None:
                episodes[trial.seed] = episode

        def keep(result: EpisodeResult) -> None:
            ended[result.seed] = result
            if self.progress:
                self.progress(1)

        if self.progress and len(episodes) < len(blank):
            self.progress(len(blank) - len(episodes))
        start = len(self.trials)
        try:
            self._rollout(list(episodes.values()), keep)
            if scale is None:
                self.scale = scales([(r, episodes[seed]) for seed, r in ended.items() if not r.error], self.rule)
        finally:  # on Ctrl-C what has ended is kept
            self.trials += [
                _judged(trial, ended[trial.seed] if episode else None, episode, self.rule, self.scale)
                for trial, episode in blank
                if episode is None or trial.seed in ended
            ]
        self.trials[start:] = self._tried_again(self.trials[start:], episodes)
        return self.trials[start:]

    def _draw(self, seed: int, draws: dict[str, float] | None, stage: str, taken: Collection[int]) -> tuple[Trial, Episode | None]:
        """The episode of a seed and numbers, under the next seed that is free: results go by seed. Then all its numbers are given."""
        used: dict[str, float] = {}
        episode = None
        try:
            episode = sample(self.scenario, seed, draws=draws, used=used)
            if seed in taken:
                draws = dict(used)
                while seed in taken:
                    seed += 1
                episode = sample(self.scenario, seed, draws=draws)
        except ScenarioError:
            pass
        u = np.array([used.get(name, math.nan) for name in self.space.names])
        return Trial(stage=stage, seed=seed, draws=draws, u=u, end=UNPLACED), episode

    def _rollout(self, episodes: Sequence[Episode], keep: Callable[[EpisodeResult], None]) -> list[EpisodeResult]:
        networks = self._networks() if self.compile else None
        return rollout(self.policy, episodes, progress=keep, compile=self.compile, watch=Closeness, networks=networks)

    def _networks(self) -> dict[str, RoadNetwork]:
        """Every road of the scenario: with all of them in every population, one compiled program serves all populations."""
        places = [place(self.scenario, index) for index in range(map_count(self.scenario))]
        return {found.key: found.network for found in places}

    def _tried_again(self, trials: list[Trial], episodes: dict[int, Episode]) -> list[Trial]:
        """The trials with the references that survive each failure."""
        rows = [i for i, trial in enumerate(trials) if trial.failed]
        survived: dict[int, tuple[str, ...]] = dict.fromkeys(rows, ())
        batch = min(BATCH, 1 << max(2, len(rows) - 1).bit_length())  # for a few failures, neither a wide batch nor another compiled program
        for reference in self.references if rows else ():
            results = rollout(reference.policy, [reference.prepare(episodes[trials[row].seed]) for row in rows], batch=batch)
            self.asked += len(results)
            for row, result in zip(rows, results, strict=True):
                if not result.error and not failed(result, self.rule):
                    survived[row] = (*survived[row], reference.name)
        return [replace(trial, survived=survived.get(i, ())) for i, trial in enumerate(trials)]


def _judged(trial: Trial, result: EpisodeResult | None, episode: Episode | None, rule: str, scale: Scales) -> Trial:
    if result is None or episode is None:
        return trial
    if result.error:
        return replace(trial, end=result.end, error=result.error)
    return replace(
        trial, end=result.end, failed=failed(result, rule), margin=margin(result, episode, rule, scale), ttc=result.watched["ttc"],
        impact=result.watched["impact"],
    )  # fmt: skip
