"""A stress run from beginning to end: control, search, probability, cases."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from agents.evaluation.stats import proportion
from agents.policies.base import Policy
from agents.stress.cases import Case, chosen, save_cases
from agents.stress.importance import Probability, estimate, importance
from agents.stress.proposal import Proposal, nominal
from agents.stress.references import Reference
from agents.stress.search import Searched, cma_es, cross_entropy, walk
from agents.stress.space import Floats, Space
from agents.stress.splitting import floor_around, split
from agents.stress.trials import Driver, Trial
from scenarios import Scenario

__all__ = ["ESTIMATES", "METHODS", "Found", "Order", "stress"]

METHODS = ("auto", "ce", "walk", "cmaes", "random")
ESTIMATES = ("auto", "is", "splitting")
SEARCH = 0.5  # share of the simulations for the search, the rest is for the probability
TRIAL = 0.5  # share of the search after which "auto" looks how cross-entropy does
WORKS = 0.1  # share of its last population that must fail for it to go on
SMALLEST, POPULATION = 48, 128  # points driven side by side, and fitted at once
Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to do."""

    policy: str  # as load_policy takes it
    scenario: str  # as scenarios.load takes it
    simulations: int
    seed: int = 0
    method: str = "auto"
    estimate: str = "auto"
    rule: str = "any"
    references: tuple[str, ...] = ()
    control: bool = True
    cases: int = 10
    compile: bool = False

    @property
    def search(self) -> int:
        """Simulations of the search."""
        return self.simulations if self.method == "random" else int(SEARCH * self.simulations)


@dataclass(kw_only=True)
class Found:
    """What came of it."""

    order: Order
    space: Space
    trials: list[Trial] = field(default_factory=list)
    proposal: Proposal | None = None
    probability: Probability | None = None  # of a failure that could have been avoided, or of any where nobody was asked
    probability_any: Probability | None = None  # of any failure; by splitting only without references
    control: Probability | None = None  # the same two, from random sampling alone
    control_any: Probability | None = None
    cases: list[Case] = field(default_factory=list)
    families: int = 0  # failures counted for a probability, moved copies of one another once
    asked: int = 0  # simulations of references, beyond those of the policy
    interrupted: bool = False

    def stage(self, *names: str) -> list[Trial]:
        """Trials of these stages, in order."""
        return [trial for trial in self.trials if trial.stage in names]

    @property
    def searched(self) -> list[Trial]:
        """All but the control: as many as were asked for."""
        return [trial for trial in self.trials if trial.stage != "control"]

    @property
    def lost(self) -> list[Trial]:
        """Those that broke, and say nothing about the road."""
        return [trial for trial in self.trials if trial.error]


def stress(
    order: Order,
    scenario: Scenario,
    policy: Policy,
    references: list[Reference],
    space: Space,
    folder: Path,
    progress: Progress | None = None,
) -> Found:
    """Do it. Ctrl-C ends the driving; what was found until then is written and returned, with `interrupted` set."""
    found = Found(order=order, space=space)
    driver = Driver(scenario=scenario, policy=policy, space=space, references=references, rule=order.rule, compile=order.compile)
    found.trials = driver.trials
    control = order.control and order.method != "random"
    try:
        if progress is None:
            _drive(driver, order, found, control)
        else:
            with progress(order.simulations * (1 + control)) as driver.progress:
                _drive(driver, order, found, control)
    except KeyboardInterrupt:
        found.interrupted = True
    found.asked = driver.asked
    moved = np.zeros(len(space.names)) if found.proposal is None else found.proposal.moved
    telling = [name for name, by in zip(space.names, moved, strict=True) if by > 0.0]
    found.cases = save_cases(chosen(found.trials, order.cases), scenario, policy, order.policy, space, folder, order.rule, telling)
    return found


def _drive(driver: Driver, order: Order, found: Found, control: bool) -> None:
    rng = np.random.Generator(np.random.Philox(key=order.seed))
    if order.method == "random" or control:
        _random(driver, order, "search" if order.method == "random" else "control")
        trials = found.stage("search", "control")
        found.control, found.control_any = _share(trials, bool(driver.references)), _share(trials, False)
        if order.method == "random":
            found.probability, found.probability_any = found.control, found.control_any
            found.families = found.control.failures
            return
    searched, found.proposal = _search(driver, order, rng)
    found.families = searched.families
    _estimate(driver, order, found, rng, floor_around(searched.around))


def _search(driver: Driver, order: Order, rng: np.random.Generator) -> tuple[Searched, Proposal | None]:
    """Drive the search. Also returns what importance sampling may draw from; None: cross-entropy was not tried, or came to nothing."""
    simulate, dims = _simulator(driver, "search"), len(driver.space.names)
    population = min(max(order.search // 4, SMALLEST), POPULATION)
    if order.method == "walk":
        return walk(simulate, dims, order.search, rng, population=population), None
    if order.method == "cmaes":
        found = cma_es(simulate, dims, order.search, rng, population=population)
        return found, found.proposal
    budget = order.search if order.method == "ce" else min(max(int(TRIAL * order.search), 3 * population), order.search)
    found = cross_entropy(simulate, dims, budget, rng, population=population)
    works = float((found.margins[-1] <= 0.0).mean()) >= WORKS
    if order.method == "auto" and works:
        found = cross_entropy(simulate, dims, order.search - budget, rng, found=found, population=population)
    elif order.method == "auto":
        walk(simulate, dims, order.search - budget, rng, found=found, population=population)
        return found, found.proposal if order.estimate == "is" else None
    return found, found.proposal


def _simulator(driver: Driver, stage: str) -> Callable[[Floats], Floats]:
    """What a search calls: its first population is the pilot, if it is the scenario's own."""

    def simulate(z: Floats) -> Floats:
        first = not any(trial.stage in ("pilot", "search") for trial in driver.trials)
        return driver.pilot(z) if first else driver.points(z, stage)

    return simulate


def _random(driver: Driver, order: Order, stage: str) -> None:
    for first in range(0, order.simulations, 4 * POPULATION):
        driver.seeds(range(order.seed + first, order.seed + min(first + 4 * POPULATION, order.simulations)), stage)


def _estimate(driver: Driver, order: Order, found: Found, rng: np.random.Generator, floor: float) -> None:
    budget = order.simulations - order.search
    if order.estimate == "splitting" or (order.estimate == "auto" and found.proposal is None):
        result = split(lambda z: driver.points(z, "estimate"), len(driver.space.names), budget, rng, floor=floor)
        found.families += result.families
        found.probability = result.probability()
        found.probability_any = None if driver.references else found.probability
        return
    proposal = found.proposal or nominal(len(driver.space.names))
    margins, weights, plain = importance(lambda z: driver.points(z, "estimate"), proposal, budget, rng, population=4 * POPULATION)
    found.families += int((margins <= 0.0).sum())
    trials = found.stage("estimate")
    found.probability_any = estimate(np.array([t.failed for t in trials], dtype=np.float64), weights, plain)
    avoidable = np.array([t.avoidable for t in trials], dtype=np.float64)
    found.probability = estimate(avoidable, weights, plain) if driver.references else found.probability_any


def _share(trials: list[Trial], avoidable: bool) -> Probability:
    """Failures among episodes as the scenario draws them."""
    count = sum(t.avoidable if avoidable else t.failed for t in trials)
    share = proportion(count, len(trials))
    return Probability(
        value=share.value, low=share.low, high=share.high, n=share.n, failures=count, effective=float(count), method="random sampling"
    )
