"""A small place with agents where a test wants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch

from envs.driving.bank import build_bank
from envs.driving.core import reset
from envs.driving.make import fit
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Maps, Setup, State
from scenarios.episode import AgentSpec, Driver, Episode, Goal, Role
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.network import Box, Lane, LaneEnd, RoadNetwork

Scene = Callable[..., "World"]
MakeAgent = Callable[..., AgentSpec]
Stage = Callable[..., DrivingSim]


class World(NamedTuple):
    """One world (B = 1) at its start."""

    state: State
    setup: Setup
    maps: Maps
    config: DrivingConfig


@pytest.fixture
def scene() -> Scene:
    """Builds a `World`: `scene([(kind, x, y, yaw, speed), ...], occluders=(), learners=1, agents=8, length=400.0)`.

    The road runs along +x from -length / 2: lane `a.0` on y = 0 and `a.1` on y = 4, both 4 m wide, limit 15 m/s. Agents within
    2 m of a lane's centre are on that lane. The first `learners` are learners, the others static; the goal is to last for 20 s.
    """

    def build(
        rows: Sequence[tuple[Kind, float, float, float, float]],
        *,
        occluders: Sequence[Box] = (),
        learners: int = 1,
        agents: int = 8,
        length: float = 400.0,
    ) -> World:
        config = DrivingConfig(agents=agents, learners=learners)
        lanes = tuple(
            Lane(
                id=f"a.{i}",
                centre=np.array([[-length / 2, 4.0 * i], [length / 2, 4.0 * i]]),
                width=4.0,
                speed_limit=15.0,
                end=LaneEnd.EXIT,
                left="a.1" if i == 0 else None,
                right="a.0" if i == 1 else None,
            )
            for i in range(2)
        )
        specs = []
        for slot, (kind, x, y, yaw, speed) in enumerate(rows):
            spec = KIND_SPECS[kind]
            near = 0 if abs(y) <= 2.0 else 1
            on = abs(y - 4.0 * near) <= 2.0
            specs.append(
                AgentSpec(
                    kind=kind,
                    role=Role.LEARNER if slot < learners else Role.STATIC,
                    **{name: getattr(spec, name) for name in ("length", "width", "wheelbase")},
                    lane=f"a.{near}" if on else None,
                    s=x + length / 2,
                    d=y - 4.0 * near,
                    x=x,
                    y=y,
                    yaw=yaw,
                    speed=speed,
                )
            )
        network = RoadNetwork(lanes=lanes, occluders=tuple(occluders))
        episode = Episode(scenario="test", seed=0, duration=20.0, network=network, network_key="test", agents=tuple(specs), goal=Goal())
        bank = build_bank([episode], config)
        state = reset(bank.setup, learners)
        pose = np.array([row[1:] for row in rows], dtype=np.float32)
        for k, name in enumerate(("x", "y", "yaw", "speed")):  # exactly where the test wants them
            getattr(state, name)[0, : len(rows)] = torch.from_numpy(pose[:, k])
        return World(state, bank.setup, bank.maps, config)

    return build


@pytest.fixture(scope="session")
def agent() -> MakeAgent:
    """Builds an `AgentSpec` of the usual size of its kind: `agent("main.0", s, speed, kind=Kind.CAR, driver={...}, **fields)`.

    The driver wants 30 m/s, never changes lanes, and keeps IDM's usual parameters, unless `driver` says otherwise.
    """

    def build(
        lane: str | None,
        s: float = 0.0,
        speed: float = 0.0,
        *,
        kind: Kind = Kind.CAR,
        driver: dict[str, object] | None = None,
        **fields: object,
    ) -> AgentSpec:
        size = {name: getattr(KIND_SPECS[kind], name) for name in ("length", "width", "wheelbase")}
        wishes = {"desired_speed": 30.0, "changes_lanes": False, **(driver or {})}
        return AgentSpec(kind=kind, lane=lane, s=s, speed=speed, driver=Driver(**wishes), **{**size, **fields})  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="session")
def stage() -> Stage:
    """Builds a `DrivingSim`: `stage(network, worlds, goal=Goal(), duration=60.0, **config)`, one world for each list of agents.

    One tick a step. Unless told otherwise the traffic model drives slot 0 too (autopilot).
    """

    def build(
        network: RoadNetwork,
        worlds: Sequence[Sequence[AgentSpec]],
        *,
        goal: Goal | None = None,
        duration: float = 60.0,
        dt: float = 0.1,
        **config: object,
    ) -> DrivingSim:
        episodes = [
            Episode(
                scenario="test",
                seed=seed,
                duration=duration,
                dt=dt,
                network=network,
                network_key="test",
                agents=tuple(agents),
                goal=goal or Goal(),
            )
            for seed, agents in enumerate(worlds)
        ]
        settings = {"autopilot": True, "ticks_per_step": 1, "dt": dt, **config}
        fitted = fit(DrivingConfig(**settings), episodes)  # type: ignore[arg-type]
        return DrivingSim(build_bank(episodes, fitted), fitted, batch=len(episodes))

    return build
