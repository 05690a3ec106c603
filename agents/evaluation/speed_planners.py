"""How fast planners plan: plans per CPU second of one thread, for one world and for many at once.

What is timed is `plan` of scenes that are there: forecasts, routes and tracks are made before (part `scene` is that work by itself). The
scenes are of several instants of a scenario, in turn, the ego rolling on as it began. A world's plan is one plan.

The peer is the exhaustive Frenet planner `fop` of fiss-planner (Sun et al., RA-L 2022 and IROS 2023), written in C++, one world a call: as
many candidates as `lattice` has, over 5 s, twelve vehicles at constant velocity on three lanes, their boxes checked at every 0.1 s.
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

__all__ = ["BATCHES", "FOR_PARKING", "PEER", "SCENE", "PlanPace", "measure_peer", "measure_plans", "scenes_of", "world_of"]

BATCHES = (1, 64, 1024)
SCENE = "scene"  # what a planner is given, made from the simulator
PEER = "fiss-planner: fop"
FOR_PARKING = "hybrid_astar"  # planner that is for goals to stand at
EPISODES, FIRST_SEED = 64, 500_000  # distinct ones; worlds share them
INSTANTS, APART = 4, 5  # scenes, and decisions of 0.2 s between them


@dataclass(frozen=True, kw_only=True)
class PlanPace:
    """One measurement."""

    planner: str  # or SCENE, PEER
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


def measure_peer(*, seconds: float) -> PlanPace:
    """The peer for about `seconds` CPU seconds. Raises ModuleNotFoundError without fiss-planner."""
    import fiss_planner as peer

    line = peer.ReferenceLine([5.0 * k for k in range(121)], [0.0] * 121)
    corridor = peer.Corridor.parallel_lanes(0.0, line.length, 3.5, 1, 1)
    planner = peer.make_planner(peer.make_config("fop", num_width=4, num_speed=6, num_t=3))  # on each of three lanes: 216
    others = [
        peer.predict_constant_velocity(k, 20.0 + 15.0 * k, 3.5 * (k % 3 - 1), 0.0, 12.0 + k % 4, 4.6, 1.85, 5.0, 0.1) for k in range(12)
    ]
    plans, spent = 0, 0.0
    while spent < seconds:
        begun = clock("cpu")
        for k in range(10):
            planner.plan(peer.FrenetState(s=10.0 + k, s_d=14.0), line, corridor, others, target_speed=20.0)
        spent += clock("cpu") - begun
        plans += 10
    return PlanPace(planner=PEER, scenario="three lanes", batch=1, plans=plans, seconds=spent)


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
