"""How fast planners plan: plans per CPU second of one thread, for one world and for many at once.

What is timed is `plan` of scenes that are there: forecasts, routes and tracks are made before (part `scene` is that work by itself). The
scenes are of several instants of a scenario, in turn, the ego rolling on as it began. A world's plan is one plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from agents.evaluation.speed import clock
from agents.planners.base import Planner, Remembering, Scene, make_planner
from agents.planners.scene import SceneMaker
from envs.driving.bank import build_bank
from envs.driving.make import fit, sample_episodes
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig

__all__ = ["BATCHES", "FOR_PARKING", "SCENE", "PlanPace", "measure_plans", "scenes_of", "world_of"]

BATCHES = (1, 64, 1024)
SCENE = "scene"  # what a planner is given, made from the simulator
FOR_PARKING = "hybrid_astar"  # planner that is for goals to stand at
EPISODES, FIRST_SEED = 64, 500_000  # distinct ones; worlds share them
INSTANTS, APART = 4, 5  # scenes, and decisions of 0.2 s between them


@dataclass(frozen=True, kw_only=True)
class PlanPace:
    """One measurement."""

    planner: str  # or SCENE
    scenario: str
    batch: int  # worlds planned for at once
    plans: int
    seconds: float  # CPU; on a GPU of the clock
    device: str = "cpu"

    @property
    def per_second(self) -> float:
        """Plans per CPU second of one thread, or per second of a GPU."""
        return self.plans / self.seconds


def world_of(planner: str, scenario: str) -> str:
    """The scenario that a planner is measured on where `scenario` is asked for: `parking` for the one that only parks."""
    return "parking" if planner == FOR_PARKING and not scenario.startswith("parking") else scenario


def measure_plans(planner: str, *, scenario: str, batch: int, seconds: float, device: str = "cpu") -> PlanPace:
    """Plan for `batch` worlds at once for about `seconds` CPU seconds, after a warm-up of one plan.

    planner: a name, or SCENE. Raises PlannerError, ScenarioError for names that do not exist.
    """
    plans = _plans(planner, scenario, batch, device)
    next(plans)
    count, spent = 0, 0.0
    while spent < seconds:
        begun = clock(device)
        next(plans)
        spent += clock(device) - begun
        count += batch
    return PlanPace(planner=planner, scenario=scenario, batch=batch, plans=count, seconds=spent, device=device)


@torch.no_grad()
def _plans(name: str, scenario: str, batch: int, device: str) -> Iterator[None]:
    """One batch of plans each time."""
    planner: Planner | None = None if name == SCENE else make_planner(name)
    sim = _sim(scenario, batch, device)
    maker = SceneMaker(sim)
    if planner is None:
        while True:
            maker()
            yield
    # who searches anew from every place may take minutes where he would in truth follow a path: from the start alone
    scenes = scenes_of(sim, maker, 1 if isinstance(planner, Remembering) else INSTANTS)
    while True:
        for scene in scenes:
            planner.plan(scene)
            yield


def _sim(scenario: str, batch: int, device: str) -> DrivingSim:
    episodes = sample_episodes(scenario, min(EPISODES, batch), FIRST_SEED)
    config = fit(DrivingConfig(action="continuous"), episodes)
    return DrivingSim(build_bank(episodes, config), config, batch=batch, device=device)


def scenes_of(sim: DrivingSim, maker: SceneMaker, count: int = INSTANTS) -> list[Scene]:
    """What planners are given at `count` instants, while the ego rolls on; the simulator is moved."""
    scenes = [maker()]
    while len(scenes) < count:
        for _ in range(APART):
            sim.step(torch.zeros(sim.batch, 1, 2, device=sim.device))
        scenes.append(maker())
    return scenes
