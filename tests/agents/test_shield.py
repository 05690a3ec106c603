"""A shield lets safe actions through untouched, overrides the others, and tells so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.evaluation.report import markdown, rows, shown
from agents.evaluation.rollout import TraceRule, rollout
from agents.planners import shield
from agents.planners.emergency import NONE, OTHERS, ROAD, RULES, line_ahead, others
from agents.planners.rss import LIMITS, same_direction
from agents.planners.rules import stops
from agents.planners.scene import SceneMaker
from agents.planners.shield import Shielded, shielded
from agents.playback.compact import compact, interventions
from agents.playback.trace import Trace, TraceError
from agents.playback.verify import verify
from agents.policies.base import PolicyError, PolicyNeeds, Told, load_policy
from envs.driving.bank import build_bank
from envs.driving.control import BRAKE
from envs.driving.make import sample_episodes
from envs.driving.observation import observe
from envs.driving.sim import DrivingSim
from scenarios import load, sample
from scenarios.kinds import Kind

T = torch.tensor


class Says:
    """Always the same action."""

    def __init__(self, *action: float, kind: str = "continuous", ticks: int = 2) -> None:
        self.action, self.name, self.needs = action, "says", PolicyNeeds(action=kind, ticks_per_step=ticks)

    def act(self, observation: Any, *, seed: Tensor, step: Tensor) -> Tensor:
        if self.needs.action == "discrete":
            return torch.full((len(seed), 1), int(self.action[0]), dtype=torch.int64)
        return T(self.action).expand(len(seed), 1, 2).clone()


def a_sim(scenario: str, policy: Shielded, *, rows: list[int] | None = None, worlds: int = 4, steps: int = 8) -> DrivingSim:
    """Some worlds after a while, driven straight on."""
    config = policy.needs.config(agents=64)
    bank = build_bank(sample_episodes(scenario, worlds, 11), config)
    sim = DrivingSim(bank, config, batch=len(rows or range(worlds)))
    sim.reset(T(rows or list(range(worlds))))
    for _ in range(steps):
        sim.step(torch.zeros(sim.batch, 1, 2) if config.action == "continuous" else torch.zeros(sim.batch, 1, dtype=torch.int64))
    return sim


def told(sim: DrivingSim) -> Told:
    return Told(SceneMaker(sim)(), observe(sim.state, sim.setup, sim.maps, sim.config, None))


def ask(policy: Shielded, sim: DrivingSim) -> tuple[Tensor, Tensor]:
    return policy.decide(told(sim), seed=sim.setup.seed, step=sim.state.step)


def following(gap: float, *, speed: float = 20.0, lead: float = 20.0) -> Told:
    """The ego `gap` m (bumper to bumper) behind somebody on a straight road, nobody else near."""
    policy = shielded(Says(0.0, 0.0))
    sim = a_sim("lane_keep/easy", policy, worlds=1, steps=0)
    scene = told(sim).scene
    ego = scene.ego._replace(speed=T([speed]), accel=T([0.0]), steer=T([0.0]))
    tracks = scene.tracks
    size = tracks.size.clone()
    size[:, 0] = T([4.6, 1.85, 1.5])
    mean, mask = torch.zeros_like(tracks.mean), torch.zeros_like(tracks.mask)
    away = gap + 0.5 * float(ego.length) + 2.3
    mean[:, 0], mask[:, 0] = T([away, 0.0, lead, 0.0]), True
    tracks = tracks._replace(mean=mean, mask=mask, size=size, kind=torch.zeros_like(tracks.kind), yaw=torch.zeros_like(tracks.yaw))
    forecasts = scene.forecasts
    when = forecasts.time.view(1, 1, 1, -1)
    along = (mean[..., :1, None] + mean[..., 2, None, None] * when).expand_as(forecasts.mean[..., 0])
    places = torch.stack([along, torch.zeros_like(along)], dim=-1)
    certain = torch.zeros_like(forecasts.probability)
    certain[..., 0] = 1.0
    route = scene.route
    s = -20.0 + torch.arange(route.x.shape[2]).expand_as(route.x)
    straight = route._replace(
        x=s, y=torch.zeros_like(s), cos=torch.ones_like(s), sin=torch.zeros_like(s), curvature=torch.zeros_like(s),
        d=torch.zeros_like(route.d), lane=T([[-1, 0, -1]]),
    )  # fmt: skip
    forecasts = forecasts._replace(mean=places, probability=certain)
    return Told(scene._replace(ego=ego, tracks=tracks, forecasts=forecasts, route=straight), None)


@pytest.mark.parametrize(("speed", "lead"), [(20.0, 20.0), (18.0, 8.0), (12.0, 0.0)])
def test_behind_a_leader_it_lets_through_what_the_rss_distance_lets_through(speed: float, lead: float) -> None:
    policy = shielded(Says(1.0, 0.0))
    zero = T([0])

    def why(gap: float) -> int:
        return int(policy.decide(following(gap, speed=speed, lead=lead), seed=zero, step=zero).reason)

    # full pedal for one decision, then full brakes, the leader braking at once; 0.3 m are kept clear
    ego = following(50.0).scene.ego
    least = 0.3 + float(
        same_direction(T(speed), T(lead), response=0.2, accel=float(ego.accel_max), brake=float(ego.brake_max), brake_front=8.0)
    )
    assert why(least + 0.7) == NONE
    assert why(least - 0.7) == OTHERS


def test_who_crosses_may_brake_as_he_likes() -> None:
    """A car from the side that has passed if it hurries and stops short if it brakes at full meets the ego if it does neither."""
    scene = following(50.0, speed=25.0).scene
    tracks, forecasts = scene.tracks, scene.forecasts
    mean, yaw = tracks.mean.clone(), tracks.yaw.clone()
    mean[:, 0], yaw[:, 0] = T([44.06, -32.0, 0.0, 20.0]), torch.pi / 2
    up = (mean[..., 1:2, None] + mean[..., 3, None, None] * forecasts.time.view(1, 1, 1, -1)).expand_as(forecasts.mean[..., 0])
    places = torch.stack([mean[..., :1, None].expand_as(up), up], dim=-1)
    crossing = scene._replace(tracks=tracks._replace(mean=mean, yaw=yaw), forecasts=forecasts._replace(mean=places))
    policy, zero = shielded(Says(0.0, 0.0)), T([0])
    assert int(policy.decide(Told(crossing, None), seed=zero, step=zero).reason) == OTHERS
    later = crossing.tracks._replace(mean=mean - T([0.0, 120.0, 0.0, 0.0]))
    far = crossing._replace(tracks=later, forecasts=forecasts._replace(mean=places - T([0.0, 120.0])))
    assert int(policy.decide(Told(far, None), seed=zero, step=zero).reason) == NONE


def test_what_is_safe_goes_through_bit_for_bit() -> None:
    calm, wild = shielded(Says(0.137, 0.0123)), shielded(Says(0.9, -1.0))
    sim = a_sim("lane_keep/easy", calm)
    action, reason = ask(calm, sim)
    assert bool((reason == NONE).all())
    assert torch.equal(action, T([0.137, 0.0123]).expand_as(action))
    overridden = 0
    for scenario in ("lane_keep/easy", "highway"):
        action, reason = ask(wild, a_sim(scenario, wild))
        assert torch.equal((action[:, 0] == T([0.9, -1.0])).all(1), reason == NONE)
        overridden += int((reason != NONE).sum())
    assert overridden


def test_where_it_is_off_the_road_or_over_a_line_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    swerve = shielded(Says(0.0, -1.0))
    _, reason = ask(swerve, a_sim("lane_keep/easy", swerve))
    assert bool((reason == ROAD).any()) and set(reason.tolist()) <= {NONE, ROAD}
    go = shielded(Says(1.0, 0.0))
    scene = following(500.0, speed=10.0).scene
    answers = []
    for line in (3.0, 40.0):  # m to a line; a car at 10 m/s stops in 6.3 m
        monkeypatch.setattr(shield, "line_ahead", lambda _, line=line: T([line]))
        answers.append(int(go.decide(Told(scene, None), seed=T([0]), step=T([0])).reason))
    assert answers == [RULES, NONE]


def test_who_can_stop_before_a_red_light_does_and_who_cannot_goes_on() -> None:
    policy = shielded(Says(1.0, 0.0))
    config = policy.needs.config(agents=64)
    sim = DrivingSim(build_bank(sample_episodes("signals", 8, 11), config), config, batch=8)
    seen = []
    for _ in range(25):
        scene = SceneMaker(sim)()
        rules, line = stops(scene), line_ahead(scene)
        needs = scene.ego.speed**2 / (2.0 * scene.ego.brake_max)
        near = (rules.at > 0.0) & (rules.at < 60.0)
        late = near & (needs > rules.at + 0.2)
        assert bool(torch.isinf(line[late]).all())
        assert torch.equal(line[near & ~late], rules.at[near & ~late])
        seen += [int(near.sum())]
        sim.step(torch.zeros(8, 1, 2))
    assert sum(seen) > 8


@pytest.mark.parametrize(
    ("name", "scenario"),
    [("shield:random", "junction"), ("shield:random_manoeuvres", "highway/hard"), ("shield:pdm", "junction")],
)
def test_a_batch_is_decided_as_one_by_one(name: str, scenario: str) -> None:
    policy = load_policy(name)
    assert isinstance(policy, Shielded)
    sim = a_sim(scenario, policy)

    def decide(sim: DrivingSim) -> tuple[Tensor, Tensor]:
        it = told(sim)
        return policy.decide(it._replace(seen=it.scene) if name == "shield:pdm" else it, seed=sim.setup.seed, step=sim.state.step)

    action, reason = decide(sim)
    for b in range(sim.batch):
        alone = decide(a_sim(scenario, policy, rows=[b]))
        assert torch.equal(alone[0][0], action[b]), b
        assert torch.equal(alone[1][0], reason[b]), b


@pytest.mark.slow
def test_manoeuvres_are_overridden_by_manoeuvres() -> None:
    policy = shielded(Says(1, kind="discrete", ticks=4))  # faster, always
    results = rollout(policy, [sample(load("highway/hard"), seed) for seed in (2000, 2001)], batch=2)
    bare = rollout(policy.policy, [sample(load("highway/hard"), seed) for seed in (2000, 2001)], batch=2)
    assert all(r.metrics["collision_at_fault"] for r in bare)
    assert not any(r.metrics["collision_at_fault"] for r in results)
    assert all(r.metrics["interventions"] > 0 for r in results)


def test_braking_brings_to_rest_in_the_lane() -> None:
    policy = shielded(Says(BRAKE, kind="discrete", ticks=4))
    sim = a_sim("lane_keep/easy", policy, worlds=2, steps=0)
    before = sim.state.speed[:, 0]
    sim.step(torch.full((2, 1), BRAKE))
    assert torch.allclose(sim.state.speed[:, 0], before - 8.0 * 0.4, atol=1e-4)
    for _ in range(20):
        sim.step(torch.full((2, 1), BRAKE))
    assert bool((sim.state.speed[:, 0] == 0.0).all())
    assert bool((sim.state.d[:, 0].abs() < 0.3).all())


def test_walkers_may_stop_or_walk_on_and_drivers_react() -> None:
    it = following(30.0)
    scene = it.scene._replace(tracks=it.scene.tracks._replace(kind=torch.full_like(it.scene.tracks.kind, int(Kind.PEDESTRIAN))))
    when = T([0.5, 4.0])
    car, walker = others(it.scene, LIMITS, when), others(scene, LIMITS, when)
    start = float(it.scene.tracks.mean[0, 0, 0])
    half = car.x.shape[1] * 4 // 5  # the fastest come last
    stops = 20.0 * 20.0 / (2 * 8.0)
    torch.testing.assert_close(car.x[0, 0, 1], T(start + stops), atol=0.01, rtol=0.0)
    reacts = 20.0 * 0.3 + 0.5 * 0.09 + 20.3**2 / 12.0
    torch.testing.assert_close(car.x[0, half, 1], T(start + reacts), atol=0.1, rtol=0.0)
    torch.testing.assert_close(walker.x[0, half, 1], T(start + 80.0), atol=0.1, rtol=0.0)


def test_what_it_refuses() -> None:
    for name, says in (
        ("shield:idm", "there are no actions that a shield could override"),
        ("shield:shield:random", "has a shield already"),
        ("shield:highwey", "did you mean 'highway'"),
    ):
        with pytest.raises(PolicyError, match=says):
            load_policy(name)
    with pytest.raises(PolicyError, match="returns trajectories"):
        shielded(Says(0.0, 0.0, kind="trajectory"))
    both = load_policy("shield:highway~brake_limit=0.9@noisy,latency=1")
    assert both.name.startswith("shield:highway") and both.name.endswith("~brake_limit=0.9@noisy,latency=1")
    assert (both.needs.brake_limit, both.needs.observation, both.needs.latency, both.needs.told) == (0.9, "noisy", 1, True)


def test_actions_of_the_wrong_shape_are_an_error() -> None:
    policy = shielded(Says(0.5, 0.1, 0.0))
    policy.policy.act = lambda observation, *, seed, step: torch.zeros(len(seed), 2)  # type: ignore[method-assign]
    with pytest.raises(PolicyError, match=r"'says' returned actions of shape \(4, 2\); continuous actions are \(4, 1, 2\)"):
        ask(policy, a_sim("highway", policy, steps=1))


def test_tables_traces_and_replays_tell_of_interventions(tmp_path: Path) -> None:
    episodes = [replace(sample(load("merge/easy"), 2000), duration=8.0)]
    kept = rollout(load_policy("shield:random"), episodes, batch=2, traces=TraceRule(folder=tmp_path))
    bare = rollout(load_policy("random"), episodes, batch=2)
    table = rows(kept + bare)
    assert "shielded" in shown(table) and "shielded" not in shown(rows(bare))
    assert "| shielded |" in markdown(kept + bare, title="t") and "shielded |" not in markdown(bare, title="t")
    trace = Trace.load(kept[0].trace)
    assert trace.shield is not None
    assert int((trace.shield > 0).sum()) == kept[0].metrics["interventions"] > 0
    assert verify(trace).ok
    stretches = interventions(trace)
    assert stretches is not None and sum(count for _, _, count, _ in stretches) == kept[0].metrics["interventions"]
    assert {what for *_, what in stretches} <= {"others", "the road", "a line"}
    assert compact(trace)["shield"] == stretches
    assert interventions(Trace.load(Path(__file__).parent / "version1.trace")) is None
    altered = replace(trace, shield=np.zeros_like(trace.shield)).sealed()
    assert altered.digest != trace.digest  # the chain covers it
    with pytest.raises(TraceError, match="no such reason"):
        Trace.load(replace(trace, shield=np.full_like(trace.shield, 9)).save(tmp_path / "bad.trace"))
