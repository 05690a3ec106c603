"""A mirrored world runs mirrored: nothing in the physics or the traffic model knows left from right, except the rule to keep right.

Drivers consider the left lane in some ticks and the right lane in others, in turn. The mirrored world therefore starts half a turn
later: its clock reads `LATER` ticks more, and all that its episodes do at fixed times they do that much later.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from envs.driving import DrivingConfig, DrivingSim, build_bank, sample_episodes
from envs.driving.make import fit
from envs.driving.rng import uniform
from envs.driving.traffic import SUBSETS
from scenarios.episode import Action, AgentSpec, Episode, Trigger
from scenarios.network import Lane, RoadNetwork

ACROSS = np.array([1.0, -1.0])  # the mirror is the x axis
OTHER = {Action.CHANGE_LEFT: Action.CHANGE_RIGHT, Action.CHANGE_RIGHT: Action.CHANGE_LEFT}
LATER = SUBSETS  # ticks
STREAM = 4011  # of the counter-based generator: actions of this test


def mirrored_network(network: RoadNetwork, late: float) -> RoadNetwork:
    """The network seen in a mirror, its lights `late` s later: left neighbours become right ones."""

    def lane(one: Lane) -> Lane:
        return replace(one, centre=one.centre * ACROSS, left=one.right, right=one.left, left_mark=one.right_mark, right_mark=one.left_mark)

    def posed(things: Any) -> Any:
        return tuple(replace(thing, y=-thing.y, yaw=-thing.yaw) for thing in things)

    return replace(
        network,
        lanes=tuple(lane(one) for one in network.lanes),
        lights=tuple(replace(light, y=-light.y, heading=-light.heading, offset=light.offset - late) for light in network.lights),
        areas=tuple(area * ACROSS for area in network.areas),
        crosswalks=tuple(walk * ACROSS for walk in network.crosswalks),
        occluders=posed(network.occluders),
        bays=posed(network.bays),
    )


def mirrored(episode: Episode, late: float) -> Episode:
    """The episode seen in a mirror, everything in it `late` s later."""

    def agent(one: AgentSpec) -> AgentSpec:
        script = one.script and replace(one.script, action=OTHER.get(one.script.action, one.script.action))
        if script and script.trigger == Trigger.TIME:
            script = replace(script, value=script.value + late)
        enter = one.enter_time + late if one.enter_time > 0.0 else 0.0
        return replace(one, y=-one.y, yaw=-one.yaw, d=-one.d, script=script, enter_time=enter)

    region = episode.goal.region
    region = region and replace(region, y=-region.y, yaw=-region.yaw, heading=-region.heading)
    return replace(
        episode,
        network=mirrored_network(episode.network, late),
        network_key=f"{episode.network_key} mirrored",
        agents=tuple(agent(one) for one in episode.agents),
        duration=episode.duration + late,
        goal=replace(episode.goal, region=region, time_min=episode.goal.time_min + late, time_max=episode.goal.time_max + late),
    )


def impartial(episode: Episode) -> Episode:
    """Without the rule to keep right."""
    agents = (one if one.driver is None else replace(one, driver=replace(one.driver, keep_right=0.0)) for one in episode.agents)
    return replace(episode, agents=tuple(agents))


def test_a_mirrored_world_runs_mirrored(family: str) -> None:
    """Six seconds with the ego steering at random and the others as the traffic model has it."""
    episodes = [impartial(episode) for episode in sample_episodes(family, 3, 31)]
    config = fit(DrivingConfig(), episodes)
    others = [mirrored(episode, LATER * config.dt) for episode in episodes]
    sims = [DrivingSim(build_bank(side, config), config, batch=3) for side in (episodes, others)]
    sims[1].set(sims[1].setup, sims[1].state._replace(step=sims[1].state.step + LATER), sims[1].rows)
    for _ in range(30):
        seed, step = sims[0].setup.seed.view(-1, 1, 1), sims[0].state.step.view(-1, 1, 1)
        action = uniform(seed, step, STREAM, torch.arange(2)) * torch.tensor([0.4, 0.1])
        outs = [sim.step(action * torch.tensor([1.0, sign])) for sim, sign in zip(sims, (1.0, -1.0), strict=True)]
    one, two = (sim.state for sim in sims)
    assert torch.equal(one.valid, two.valid)
    assert torch.equal(one.lane, two.lane)
    there = one.valid
    for name in ("x", "y", "yaw", "speed", "d"):
        sign = -1.0 if name in ("y", "yaw", "d") else 1.0
        difference = (getattr(one, name) - sign * getattr(two, name))[there].abs()
        if name == "yaw":
            difference = torch.minimum(difference, (difference - 2 * np.pi).abs())
        assert difference.max() < 1e-3, name
    assert torch.equal(outs[0].touched, outs[1].touched)
    assert torch.equal(one.stats.collision, two.stats.collision)
    assert torch.allclose(one.stats.progress, two.stats.progress, atol=1e-3)


def test_the_mirror_is_one() -> None:
    (episode,) = sample_episodes("roundabout", 1, 1)
    twice = mirrored(mirrored(episode, 0.0), 0.0)
    assert twice.agents == episode.agents
    for one, two in zip(twice.network.lanes, episode.network.lanes, strict=True):
        assert (one.left, one.right) == (two.left, two.right)
        np.testing.assert_array_equal(one.centre, two.centre)
    assert not np.allclose(mirrored(episode, 0.0).network.lanes[0].centre, episode.network.lanes[0].centre)
