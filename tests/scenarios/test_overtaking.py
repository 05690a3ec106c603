"""Family `oncoming`: there is always time and room to overtake. A constant-speed look ahead, independent of the simulator.

The ego follows the slow vehicle, pulls out at some moment, gains speed at 2.5 m/s^2, and is back in its lane 8 m ahead of it.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import scenarios
from scenarios import Episode

GAIN, SPACE = 2.5, 8.0  # m/s^2, m in front of the one overtaken
NEAR = 15.0  # m, bumper to bumper, never closer to somebody oncoming


def first_arrival(episode: Episode) -> float:
    """s, earliest arrival after overtaking; inf: no chance at all. x runs along the ego's direction from the start of in.0."""
    length = {lane.id: float(np.hypot(*np.diff(lane.centre, axis=0).T).sum()) for lane in episode.network.lanes}
    begin, end = length["in.0"], length["in.0"] + length["main.0"]
    slow = next(agent for agent in episode.agents if agent.id == "slow")
    assert slow.driver is not None
    pace, limit = slow.driver.desired_speed, 0.98 * episode.network.lane("main.0").speed_limit
    slow_x = slow.s + (begin if slow.lane == "main.0" else 0.0)
    half = (slow.length + episode.agents[0].length) / 2.0
    others = [agent for agent in episode.agents if agent.lane == "oncoming.0"]
    for start in np.arange(3.0, episode.duration, 0.5):
        t, x, v = float(start), slow_x + pace * start - half - max(6.0, pace), pace
        if x < begin:
            continue
        clear = True
        while clear and x < slow_x + pace * t + half + SPACE:
            t, v = t + 0.1, min(limit, v + GAIN * 0.1)
            x += v * 0.1
            there = [length["oncoming.0"] - (a.s + a.speed * (t - a.enter_time)) for a in others if t >= a.enter_time]
            clear = x < end - 10.0 and all(abs(place - x) > NEAR + 5.0 for place in there)
        if clear:
            return t + (end + length["out.0"] - x) / limit
    return math.inf


@pytest.mark.parametrize("name", ["oncoming", "oncoming/hard"])
def test_there_is_always_a_gap_in_time(name: str) -> None:
    scenario = scenarios.load(name)
    for seed in range(60):
        episode = scenarios.sample(scenario, seed)
        assert first_arrival(episode) < 0.9 * episode.duration, f"seed {seed}"


@pytest.mark.parametrize("name", ["oncoming", "oncoming/hard"])
def test_staying_behind_is_too_slow(name: str) -> None:
    scenario = scenarios.load(name)
    for seed in range(60):
        episode = scenarios.sample(scenario, seed)
        slow = next(agent for agent in episode.agents if agent.id == "slow")
        assert slow.driver is not None
        way = 60.0 + 700.0 + 100.0 - slow.s
        assert way / slow.driver.desired_speed > episode.duration
