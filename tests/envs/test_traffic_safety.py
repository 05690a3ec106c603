"""The traffic model never collides with itself: dense randomly drawn traffic, everybody driven by IDM and MOBIL, the ego too.

Boxes are the full boxes of `pairwise_overlap`, looked at after every physics tick.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from envs.driving import DrivingConfig, DrivingSim, build_bank, sample_episodes
from envs.driving.collision import pairwise_overlap
from envs.driving.make import fit
from scenarios.episode import Episode, Role

FAMILIES = ("highway", "merge", "roundabout")
FIRST_SEED = 700_000


class Traffic(NamedTuple):
    """What was driven, and what went wrong."""

    collisions: list[str]  # "family, seed, slots, at which second", once for each pair
    agent_seconds: float  # lived by all agents
    metres: float  # driven by all agents


def drive(scenarios: list[str], worlds: int, seconds: float, first_seed: int, *, batch: int, compile: bool = False) -> Traffic:
    """`worlds` fresh worlds, the scenarios taking turns, for `seconds`, whatever the length of their episodes; `batch` at once."""
    episodes = sample_episodes(scenarios, worlds, first_seed)
    config = fit(DrivingConfig(autopilot=True, ticks_per_step=1), episodes)
    sim = DrivingSim(build_bank(episodes, config), config, batch=batch, compile=compile)
    parts = []
    for first in range(0, worlds, batch):
        sim.reset(torch.arange(first, first + batch))
        parts.append(_driven(sim, episodes[first : first + batch], seconds))
    return Traffic([one for part in parts for one in part.collisions], sum(p.agent_seconds for p in parts), sum(p.metres for p in parts))


def _driven(sim: DrivingSim, episodes: list[Episode], seconds: float) -> Traffic:
    """The worlds of a simulator that has just been reset, for `seconds`."""
    rest, dt = torch.zeros(sim.batch, 1, 2), sim.config.dt
    drives = sim.setup.exists & (sim.setup.role <= int(Role.IDM))
    known = torch.zeros(sim.batch, sim.config.agents, sim.config.agents, dtype=torch.bool)
    found, lived, metres = [], 0.0, 0.0
    for _ in range(round(seconds / dt) + 1):
        state = sim.state
        there = state.valid & drives
        lived += float(there.sum()) * dt
        metres += float(state.speed[there].sum()) * dt
        touching = pairwise_overlap(state.x, state.y, state.yaw, sim.setup.length, sim.setup.width, there).triu()
        for b, i, j in (touching & ~known).nonzero().tolist():
            found.append(f"{episodes[b].scenario} seed {episodes[b].seed}: slots {i} and {j} at {int(state.step[b]) * dt:.1f} s")
        known |= touching
        sim.step(rest)
    return Traffic(found, lived, metres)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_traffic_model_does_not_collide_with_itself(family: str) -> None:
    traffic = drive([f"{family}/hard", family], 40, 15.0, FIRST_SEED, batch=40)
    assert not traffic.collisions
    assert traffic.metres > 40 * 15.0 * 20.0  # busy: on average several agents of a world move


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_nor_does_it_in_a_thousand_worlds_of_half_a_minute(family: str) -> None:
    """1,000 worlds of each family, one half as it is and one half hard, in ten batches."""
    traffic = drive([family, f"{family}/hard"], 1000, 30.0, FIRST_SEED + 1000, batch=100, compile=True)
    hours, km = traffic.agent_seconds / 3600.0, traffic.metres / 1000.0
    print(f"{family}: {len(traffic.collisions)} collisions in 1000 worlds, {hours:.0f} agent hours, {km:.0f} km")
    assert traffic.collisions == []
