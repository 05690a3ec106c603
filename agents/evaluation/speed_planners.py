"""How fast planners plan: plans per CPU second of one thread, for one world and for many at once.

What is timed is `plan` of scenes that are there: forecasts, routes and tracks are made before (part `scene` is that work by itself). The
scenes are of the same 64 episodes of a scenario however many are planned for at once, in turn, and of several instants, the ego rolling on
as it began. A world's plan is one plan. Measured are whole turns, so that every episode counts alike.

The peer is the exhaustive Frenet planner `fop` of fiss-planner (Sun et al., RA-L 2022 and IROS 2023), written in C++, one world a call: as
many candidates as `lattice` has, over 5 s, twelve vehicles at constant velocity on three lanes, their boxes checked at every 0.1 s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from agents.evaluation.speed import clock
from agents.planners.base import Planner, Remembering, Scene, make_planner
from agents.planners.scene import SceneMaker
from envs.driving.bank import build_bank
from envs.driving.make import fit, sample_episodes
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Setup, State
from perception.states import map_tensors

__all__ = ["BATCHES", "FOR_PARKING", "PEER", "SCENE", "PlanPace", "measure_peer", "measure_plans", "world_of"]

BATCHES = (1, 64, 1024)
SCENE = "scene"  # what a planner is given, made from the simulator
PEER = "fiss-planner: fop"
FOR_PARKING = "hybrid_astar"  # planner that is for goals to stand at
EPISODES, FIRST_SEED = 64, 500_000  # distinct ones
INSTANTS, APART = 4, 5  # scenes, and decisions of 0.2 s between them


@dataclass(frozen=True, kw_only=True)
class PlanPace:
    """One measurement."""

    planner: str  # or SCENE, PEER
    scenario: str
    batch: int  # worlds planned for at once
    plans: int
    seconds: float  # CPU; on a GPU of the clock
    episodes: int = EPISODES  # distinct ones that were planned for
    device: str = "cpu"

    @property
    def per_second(self) -> float:
        """Plans per CPU second of one thread, or per second of a GPU."""
        return self.plans / self.seconds


def world_of(planner: str, scenario: str) -> str:
    """The scenario that a planner is measured on where `scenario` is asked for: `parking` for the one that only parks."""
    return "parking" if planner == FOR_PARKING and not scenario.startswith("parking") else scenario


def measure_plans(planner: str, *, scenario: str, batch: int, seconds: float, device: str = "cpu") -> PlanPace:
    """Plan for `batch` worlds at once, once for every episode and on until `seconds` CPU seconds are over, after a warm-up of one plan.

    planner: a name, or SCENE. Raises PlannerError, ScenarioError for names that do not exist.
    """
    turn = _turn(planner, scenario, batch, device)
    count, spent = 0, 0.0
    with torch.no_grad():
        turn[0]()
        while spent < seconds or not count:
            for plan in turn:
                begun = clock(device)
                plan()
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
    return PlanPace(planner=PEER, scenario="three lanes", batch=1, plans=plans, seconds=spent, episodes=1)


@torch.no_grad()
def _turn(name: str, scenario: str, batch: int, device: str) -> list[Callable[[], object]]:
    """Plans for all episodes, `batch` at once."""
    planner: Planner | None = None if name == SCENE else make_planner(name)
    # who searches anew from every place may take minutes where he would in truth follow a path: from the start alone
    worlds = _worlds(scenario, batch, device, 1 if isinstance(planner, Remembering) else INSTANTS)
    maker = SceneMaker(worlds[0].sim)
    if planner is None:
        return [partial(_scene, maker, world) for world in worlds]
    return [partial(planner.plan, _scene(maker, world)) for world in worlds]


class _Instant(NamedTuple):
    """`batch` worlds at one instant, for a simulator to be put into."""

    sim: DrivingSim
    setup: Setup
    state: State


def _scene(maker: SceneMaker, now: _Instant) -> Scene:
    """What planners are given there."""
    now.sim.setup, now.sim.state = now.setup, now.state
    return maker()


def _worlds(scenario: str, batch: int, device: str, instants: int) -> list[_Instant]:
    """Every episode at least once, and every instant, by turns; worlds share the episodes where there are more of them."""
    episodes = sample_episodes(scenario, EPISODES, FIRST_SEED)
    config = fit(DrivingConfig(action="continuous"), episodes)
    bank = build_bank(episodes, config)
    every = DrivingSim(bank, config, batch=EPISODES, device=device)
    states = [every.state]
    while len(states) < instants:
        for _ in range(APART):
            every.step(torch.zeros(EPISODES, 1, 2, device=device))
        states.append(every.state)
    sim, groups = DrivingSim(bank, config, batch=batch, device=device), -(-EPISODES // batch)
    found = []
    for k in range(max(groups, instants)):
        rows = (k % groups * batch + torch.arange(batch, device=device)) % EPISODES
        pick = partial(_rows, rows)
        found.append(_Instant(sim, map_tensors(pick, every.setup), map_tensors(pick, states[k % instants])))
    return found


def _rows(rows: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return value[rows]
