"""Simulations for searches: does the candidate still fail the same way, and the reference still pass? Trials of several searches at once.

What a trial costs is counted: a simulation is one episode driven by one policy. The reference is asked only about trials that the
candidate fails, and only until the first one is found, so most trials cost one simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import to_json

from agents.evaluation.rollout import fitting_batch, rollout
from agents.gate.ddmin import Search
from agents.gate.failures import failure_of
from agents.policies.base import Policy
from scenarios import Episode, Scenario, ScenarioError, sample
from scenarios.schema import ScenarioModel

__all__ = ["TOGETHER", "Hunt", "hunt_all"]

TOGETHER = "trial"  # what the scenarios of all trials are called: those of one name share a simulator


@dataclass(kw_only=True)
class Hunt:
    """One search, and what it has cost so far."""

    scenario: Scenario  # explicit; trials are its model changed
    seed: int
    failure: str  # the class that has to stay the same
    search: Search[ScenarioModel, Any]
    budget: int  # simulations at most
    simulations: int = 0
    spent: bool = False  # trials were left out for want of budget
    found: Any = None
    wanted: Sequence[ScenarioModel] = ()
    known: dict[bytes, bool] = field(default_factory=dict)  # by content

    def answer(self, index: int | None) -> bool:
        """Tell the search which of its trials was the first that holds; whether it goes on."""
        try:
            self.wanted = self.search.send(index)
        except StopIteration as end:
            self.found, self.wanted = end.value, ()
            return False
        return True

    def begin(self) -> bool:
        """Its first trials."""
        return self.answer(None)


@dataclass
class _Trial:
    hunt: Hunt
    index: int
    key: bytes
    episode: Episode | None = None
    fails: bool | None = None  # the candidate, the same way


def hunt_all(hunts: Sequence[Hunt], candidate: Policy, reference: Policy, *, progress: Callable[[int], None] | None = None) -> None:
    """Run all searches to their ends, the trials of one round together. progress: told how many simulations have been made.

    What comes out depends on each search alone, not on its company.
    """
    live = [hunt for hunt in hunts if hunt.begin()]
    while live:
        rounds = {id(hunt): _open(hunt) for hunt in live}
        asked = [trial for trials in rounds.values() for trial in trials if trial.episode is not None]
        for trial, failure in zip(asked, _drive(candidate, asked, progress), strict=True):
            trial.fails = failure == trial.hunt.failure
            if not trial.fails:
                trial.hunt.known[trial.key] = False
        _ask_reference(live, rounds, reference, progress)
        live = [hunt for hunt in live if hunt.answer(_first(hunt))]


def _key(model: ScenarioModel) -> bytes:
    return to_json(model.model_dump(exclude={"name", "description"}))


def _open(hunt: Hunt) -> list[_Trial]:
    """The trials of a round about which something has to be found out, up to the first that is known to hold, within the budget."""
    trials: list[_Trial] = []
    for index, model in enumerate(hunt.wanted):
        key = _key(model)
        if hunt.known.get(key):
            break
        if key in hunt.known or any(trial.key == key for trial in trials):
            continue
        if hunt.simulations + len(trials) + 1 >= hunt.budget:  # one is kept for the reference
            hunt.spent = True
            break
        trial = _Trial(hunt, index, key)
        try:
            drawn = sample(replace(hunt.scenario, model=model), hunt.seed)
            trial.episode = replace(drawn, scenario=TOGETHER)
        except ScenarioError:  # cannot be laid out: no simulation
            hunt.known[key] = False
            continue
        trials.append(trial)
    return trials


def _drive(policy: Policy, trials: Sequence[_Trial], progress: Callable[[int], None] | None) -> list[str]:
    """The class of failure of each trial's episode; "error" where there is no result."""
    if not trials:
        return []
    episodes = [trial.episode for trial in trials if trial.episode is not None]
    results = rollout(policy, episodes, batch=fitting_batch(policy, len(episodes)))
    for trial in trials:
        trial.hunt.simulations += 1
    if progress:
        progress(len(trials))
    return ["error" if result.error else failure_of(result.end, result.metrics) for result in results]


def _ask_reference(
    live: Sequence[Hunt], rounds: dict[int, list[_Trial]], reference: Policy, progress: Callable[[int], None] | None
) -> None:
    """Ask the reference about the first trial of every search that the candidate fails, then about the next of those without luck."""
    open_ = {id(hunt): [trial for trial in rounds[id(hunt)] if trial.fails] for hunt in live}
    while True:
        asked = []
        for hunt in live:
            rest = open_[id(hunt)]
            if rest and hunt.simulations < hunt.budget:
                asked.append(rest.pop(0))
            elif rest:
                hunt.spent = True
        if not asked:
            return
        for trial, failure in zip(asked, _drive(reference, asked, progress), strict=True):
            trial.hunt.known[trial.key] = not failure
            if not failure:
                open_[id(trial.hunt)] = []


def _first(hunt: Hunt) -> int | None:
    """The first of the trials that is known to hold."""
    return next((index for index, model in enumerate(hunt.wanted) if hunt.known.get(_key(model))), None)
