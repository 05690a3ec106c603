"""Traffic lights against a clock in plain Python, and what drivers and judges make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from envs.driving.lights import governing_light, light_states, must_stop_at
from envs.driving.maps import compile_maps
from scenarios.episode import Role
from scenarios.network import Lane, LaneEnd, Light, LightState, RoadNetwork, StopLine

CAR = 4.6  # m
LINE = 150.0  # m, where the stop line is
RED, YELLOW, GREEN = LightState.RED, LightState.YELLOW, LightState.GREEN


def street(phases: tuple[tuple[LightState, float], ...], offset: float = 0.0) -> RoadNetwork:
    """A street along +x with a stop line at 150 m and a light there."""
    lane = Lane(
        id="a", centre=np.array([[0.0, 0.0], [400.0, 0.0]]), speed_limit=50.0, end=LaneEnd.EXIT, stop=StopLine(s=LINE, light="light")
    )
    return RoadNetwork(lanes=(lane,), lights=(Light(id="light", x=LINE, y=3.0, heading=0.0, phases=phases, offset=offset),))


def shown(phases: tuple[tuple[LightState, float], ...], offset: float, time: float) -> LightState:
    """What the light shows at `time`, read off a clock."""
    into = (time + offset) % sum(seconds for _, seconds in phases)
    for state, seconds in phases:
        if into < seconds:
            return state
        into -= seconds
    return phases[0][0]


def edges(phases: tuple[tuple[LightState, float], ...], offset: float, time: float) -> float:
    """Seconds to the nearest change."""
    ends = np.cumsum([0.0, *(seconds for _, seconds in phases)])
    return float(np.abs((time + offset) % ends[-1] - ends).min())


def test_programmes_against_a_clock() -> None:
    """Twelve random programmes of up to eight phases over ten minutes, offsets of either sign; not within 1 ms of a change."""
    rng = np.random.default_rng(0)
    programmes, offsets = [], []
    for k in range(12):
        phases = tuple((LightState(int(rng.integers(1, 5))), float(rng.uniform(0.5, 25.0))) for _ in range(1 + k % 8))
        programmes.append(phases)
        offsets.append(float(rng.uniform(-60.0, 60.0)))
    maps = compile_maps([street(phases, offset) for phases, offset in zip(programmes, offsets, strict=True)])
    differ = 0
    for step in range(0, 6000, 7):
        got = light_states(maps, torch.arange(12), torch.full((12,), step), 0.1)[:, 0].tolist()
        for phases, offset, state in zip(programmes, offsets, got, strict=True):
            if edges(phases, offset, step * 0.1) > 1e-3:
                assert state == shown(phases, offset, step * 0.1)
                differ += state != phases[0][0]
    assert differ > 1000


def test_a_light_per_lane_and_none_elsewhere() -> None:
    lanes = [Lane(id=f"{k}", centre=np.array([[0.0, 5.0 * k], [100.0, 5.0 * k]]), speed_limit=9.0) for k in range(3)]
    lanes[1] = Lane(id="1", centre=lanes[1].centre, speed_limit=9.0, stop=StopLine(s=50.0, light="b"))
    lights = tuple(Light(id=id, x=0.0, y=0.0, heading=0.0, phases=((state, 5.0),)) for id, state in (("a", GREEN), ("b", YELLOW)))
    maps = compile_maps([RoadNetwork(lanes=tuple(lanes), lights=lights)])
    zero = torch.zeros(1, dtype=torch.int64)
    states = light_states(maps, zero, zero, 0.1)
    assert states.tolist() == [[GREEN, YELLOW]]
    lane = torch.tensor([[0, 1, 2, -1]])
    assert governing_light(maps, zero, states, lane).tolist() == [[LightState.NONE, YELLOW, LightState.NONE, LightState.NONE]]


def test_drivers_stop_before_the_line_at_red_and_go_at_green(agent: Any, stage: Any) -> None:
    starts = (10.0, 60.0, 100.0)
    worlds = [
        [agent("a", s, 12.0, driver={"desired_speed": 12.0}), agent("a", s - 9.0, 12.0, driver={"desired_speed": 12.0})] for s in starts
    ]
    sim = stage(street(((RED, 30.0), (GREEN, 60.0))), worlds)
    for tick in range(420):
        nose = sim.state.x[:, 0] + CAR / 2.0
        if tick <= 300:
            assert (nose < LINE).all()
        if tick == 300:
            assert (sim.state.speed[:, :2] < 0.05).all()
            assert (nose > LINE - 1.5).all()
        sim.step(torch.zeros(3, 1, 2))
    assert (sim.state.x[:, :2] > LINE).all()
    assert (sim.state.speed[:, 0] > 8.0).all()


def test_the_dilemma_at_yellow(agent: Any, stage: Any) -> None:
    """At 12 m/s braking at 3 m/s^2 takes 24 m. Whoever is farther off when yellow begins stops, the others go."""
    starts = np.arange(100.0, 146.0, 1.0)
    programme = ((YELLOW, 4.0), (RED, 30.0))
    sim = stage(street(programme), [[agent("a", s, 12.0, driver={"desired_speed": 12.0})] for s in starts])
    for _ in range(150):
        sim.step(torch.zeros(len(starts), 1, 2))
    passed = sim.state.x[:, 0].numpy() + CAR / 2.0 > LINE
    distance = LINE - starts - CAR / 2.0
    np.testing.assert_array_equal(passed, distance <= 24.0)
    assert 5 < passed.sum() < len(starts) - 5
    states = torch.tensor([YELLOW, YELLOW, RED, LightState.RED_YELLOW, GREEN, LightState.NONE])
    metres = torch.tensor([24.1, 23.9, 1.0, 1.0, 100.0, 100.0])
    assert must_stop_at(states, metres, torch.full((6,), 12.0)).tolist() == [True, False, True, True, False, False]


def test_a_red_light_counts_exactly_when_the_front_bumper_crosses_on_red(agent: Any, stage: Any) -> None:
    """A learner rolls on at 10 m/s from many places, through every phase of two cycles; the judge is a clock."""
    phases = ((GREEN, 2.35), (YELLOW, 1.2), (RED, 3.05), (LightState.RED_YELLOW, 0.8))
    starts = np.arange(5.3, 145.0, 2.17)
    sim = stage(street(phases, 0.71), [[agent("a", s, 10.0, role=Role.LEARNER)] for s in starts], autopilot=False)
    crossed = np.full(len(starts), -1)
    counts, reds = [], []
    for tick in range(170):
        before = sim.state.x[:, 0].numpy() + CAR / 2.0
        out = sim.step(torch.zeros(len(starts), 1, 2))
        after = sim.state.x[:, 0].numpy() + CAR / 2.0
        crossed[(before <= LINE) & (after > LINE)] = tick
        counts.append(sim.state.stats.red_light[:, 0].numpy())
        reds.append(out.red_light[:, 0].numpy())
    assert (crossed >= 0).all()
    on_red = np.array([shown(phases, 0.71, 0.1 * tick) in (RED, LightState.RED_YELLOW) for tick in crossed])
    assert 15 < on_red.sum() < len(starts) - 15
    np.testing.assert_array_equal(counts[-1], on_red)
    for b, tick in enumerate(crossed):
        assert [bool(red[b]) for red in reds] == [on_red[b] and k == tick for k in range(170)]
    assert not sim.state.stats.stop_sign.any()
