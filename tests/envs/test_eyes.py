"""The perception stack in the simulator's loop: what oracle stages make of the truth, resets, batches, saved states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose

import scenarios
from envs.driving import DrivingConfig, DrivingSim, build_bank
from envs.driving.eyes import Eyes, _truth, needs_eyes
from envs.driving.features_objects import belief_names
from envs.driving.lights import light_states
from envs.driving.make import fit
from envs.driving.objects import FORECAST_AT
from envs.driving.observation import flat_size, flatten, observe
from envs.driving.worlds import Worlds
from perception.states import tensors
from scenarios.network import LightState

ORACLE: dict[str, Any] = {"observation": "perceived", "detector": "oracle", "autopilot": True, "ticks_per_step": 4}


def worlds_of(family: str, count: int = 4, **fields: Any) -> DrivingSim:
    scenario = scenarios.load(family)
    episodes = [scenarios.sample(scenario, 40 + k) for k in range(count)]
    config = fit(DrivingConfig(**fields), episodes)
    return DrivingSim(build_bank(episodes, config), config, batch=count)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit, where NaN (nothing known) equals NaN."""
    return bool(((a == b) | ((a != a) & (b != b))).all())


def drive(sim: DrivingSim, eyes: Eyes, steps: int) -> None:
    for _ in range(steps):
        sim.step(torch.zeros(sim.batch, 1, 2))
        eyes.look()


@pytest.mark.parametrize("family", ["highway", "crossing"])
def test_an_oracle_is_told_the_truth_through_tracker_and_predictor(family: str) -> None:
    """With exact detections of everything, the observation is nearly the true one: the same objects at the same places."""
    sim = worlds_of(family, observation="truth", forecasts=2, autopilot=True, ticks_per_step=4)
    eyes = Eyes(sim)
    drive(sim, eyes, 8)
    seen = observe(sim.state, sim.setup, sim.maps, sim.config, eyes.objects)
    true = observe(sim.state, sim.setup, sim.maps, replace(sim.config, forecasts=0))
    extra = len(belief_names(2))
    assert seen.objects.shape[-1] == true.objects.shape[-1] + extra
    assert flatten(seen).shape[-1] == flat_size(sim.config)
    assert torch.equal(seen.objects_mask, true.objects_mask)
    assert seen.objects_mask.any()
    assert_allclose(seen.objects[..., 1:3], true.objects[..., 1:3], atol=0.02)  # x, y / 50 m
    wrong = (seen.objects[..., 7] - true.objects[..., 7]).abs() > 0.05  # speed / 20 m/s
    assert int(wrong.sum()) <= 1  # who has just come is too new to have a speed


def test_forecasts_by_constant_velocity_are_where_things_will_be() -> None:
    sim = worlds_of("highway", observation="truth", forecasts=1, autopilot=True, ticks_per_step=4)
    eyes = Eyes(sim)
    drive(sim, eyes, 6)
    objects = eyes.objects
    belief = objects.belief
    assert belief is not None
    shown = objects.seen[:, 0]
    for k, ahead in enumerate(FORECAST_AT):
        x = objects.x + objects.speed * objects.cos * ahead
        y = objects.y + objects.speed * objects.sin * ahead
        away = torch.hypot(belief.x[:, :, 0, k] - x, belief.y[:, :, 0, k] - y)[shown]
        assert float(away.median()) < 0.5
    assert (belief.sigma[shown] > 0.0).all()
    assert (belief.score[shown] > 0.5).all()


def test_a_world_begins_anew_as_if_it_had_never_driven() -> None:
    sim = worlds_of("roundabout", **ORACLE)
    eyes = Eyes(sim)
    drive(sim, eyes, 5)
    kept = [value[[0, 2]].clone() for _, value in tensors(eyes.state)]
    mask = torch.tensor([False, True, False, True])
    sim.reset_where(mask, torch.tensor([0, 3, 2, 1]))
    eyes.reset_where(mask)
    assert all(same(value[[0, 2]], old) for (_, value), old in zip(tensors(eyes.state), kept, strict=True))
    fresh = worlds_of("roundabout", **ORACLE)
    fresh.reset(torch.tensor([0, 3, 2, 1]))
    other = Eyes(fresh)
    for (name, value), (_, wanted) in zip(tensors(eyes.state), tensors(other.state), strict=True):
        assert same(value[[1, 3]], wanted[[1, 3]]), name
    assert torch.equal(eyes.objects.x[[1, 3]], other.objects.x[[1, 3]])


def test_what_a_world_believes_does_not_depend_on_the_others() -> None:
    together = worlds_of("junction", 6, **ORACLE, forecasts=2)
    eyes = Eyes(together)
    drive(together, eyes, 6)
    alone = DrivingSim(together.bank, together.config, batch=1)
    alone.reset(torch.tensor([4]))
    single = Eyes(alone)
    drive(alone, single, 6)
    for name in ("x", "y", "cos", "sin", "speed", "seen"):
        assert torch.equal(getattr(eyes.objects, name)[4], getattr(single.objects, name)[0]), name


def test_hidden_things_are_believed_only_while_they_are_remembered() -> None:
    """Everything believed by an ego with limited sight was seen once, so it is no more than the truth."""
    sim = worlds_of("junction", 6, **ORACLE)
    eyes = Eyes(sim)
    drive(sim, eyes, 12)
    believed = int(eyes.objects.seen.sum())
    there = int(observe(sim.state, sim.setup, sim.maps, replace(sim.config, observation="truth", nearest=40)).objects_mask.sum())
    assert 0 < believed <= there


def test_a_saved_batch_of_worlds_goes_on_with_what_it_believed() -> None:
    scenario = scenarios.load("highway")
    episodes = [scenarios.sample(scenario, 60 + k) for k in range(3)]
    worlds = Worlds(episodes, DrivingConfig(**ORACLE), batch=3)
    action = torch.zeros(3, 1, 2)
    for _ in range(4):
        worlds.step(action)
    saved = worlds.get_state()
    first = [(worlds.step(action), worlds.observe().objects)[1] for _ in range(3)]
    worlds.set_state(saved)
    again = [(worlds.step(action), worlds.observe().objects)[1] for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(("family", "detector"), [("signals", "oracle"), ("signals/hard", "oracle"), ("signals", "noisy")])
def test_who_waits_at_the_line_sees_by_the_far_head_when_it_is_green(family: str, detector: str) -> None:
    """With the bumper at the line the near head is out of a front camera's view, 80 degrees wide."""
    level: dict[str, Any] = {"observation": "noisy", "noise": "noise_driving"} if detector == "noisy" else ORACLE
    fields: dict[str, Any] = {"ticks_per_step": 4, "autopilot": True, **level, "view_fov": 1.4}
    sim = worlds_of(family, 1, **fields)
    network, specs = sim.bank.episodes[0].network, sim.bank.episodes[0].agents
    lane = next(lane for lane in network.lanes if lane.id == specs[0].lane)
    assert lane.stop is not None
    light = next(i for i, light in enumerate(network.lights) if lane.stop.light == light.id)
    points = torch.tensor(lane.centre)
    ahead = torch.nn.functional.normalize(points[-1] - points[-2], dim=0)
    away = lane.stop.s - float((points[1:] - points[:-1]).norm(dim=1).sum()) - 0.5 * specs[0].length - 0.3
    where = points[-1] + away * ahead
    state = sim.state
    x, y, yaw, speed = state.x.clone(), state.y.clone(), state.yaw.clone(), state.speed.clone()
    x[0, 0], y[0, 0], yaw[0, 0], speed[0, 0] = where[0], where[1], torch.atan2(ahead[1], ahead[0]), 0.0
    sim.state = state._replace(x=x, y=y, yaw=yaw, speed=speed)
    eyes, agree, seen = Eyes(sim), [], set()
    for k in range(100):
        sim.state = sim.state._replace(step=torch.full_like(state.step, 4 * k))
        eyes.look()
        assert eyes.objects.lights is not None
        true, said = int(light_states(sim.maps, sim.setup.map_id, sim.state.step, 0.1)[0, light]), int(eyes.objects.lights[0, light])
        agree.append(true == said)
        seen.add(said)
    assert {LightState.RED, LightState.GREEN} <= seen
    assert sum(agree) > 80, sum(agree)  # a change is believed a little later


def test_nobody_near_is_left_out_where_there_are_many() -> None:
    """More road users than a stack that looks at images could follow: the truth has room for all."""
    sim = worlds_of("crossing/hard", 4, observation="truth", forecasts=1, autopilot=True, ticks_per_step=4)
    eyes = Eyes(sim)
    drive(sim, eyes, 2)
    around = torch.hypot(sim.state.x - sim.state.x[:, :1], sim.state.y - sim.state.y[:, :1])
    there = (sim.state.valid & (around <= sim.config.view_range)).sum(1) - 1
    assert int(there.max()) > 24
    assert torch.equal(eyes.objects.seen[:, 0].sum(1), there)


def test_who_looks_all_around_has_room_for_a_street_of_parked_cars() -> None:
    """Four cameras that draw: 64 tracks and detections, whatever the tracker; one camera as ever."""
    for cameras, rows in (("front", (24, 32)), ("front+left+right+rear", (64, 64))):
        look = Eyes(worlds_of("crossing", 1, observation="perceived", cameras=cameras)).last
        assert (look.tracks.mask.shape[1], look.detections.mask.shape[1]) == rows


def test_what_is_half_hidden_is_told_so() -> None:
    sim = worlds_of("highway", 6, observation="noisy", autopilot=True, ticks_per_step=4)
    labels = _truth(sim.state, sim.setup, sim.maps, sim.config)
    cars = labels.mask & (labels.kind < 6)
    assert bool((labels.occlusion[cars] > 0.3).any())
    assert bool((labels.occlusion[cars] == 0.0).any())


def test_what_cannot_be_is_refused() -> None:
    assert needs_eyes(DrivingConfig(observation="noisy"))
    assert not needs_eyes(DrivingConfig(observation="visible"))
    with pytest.raises(ValueError, match="learners=2"):
        Eyes(worlds_of("highway", 2, learners=2, forecasts=1))
    sim = worlds_of("highway", 2, forecasts=1, autopilot=True)
    with pytest.raises(ValueError, match="forecasts=1"):
        observe(sim.state, sim.setup, sim.maps, sim.config)
    with pytest.raises(ValueError, match="'truth', 'visible', 'noisy', 'perceived'"):
        DrivingConfig(observation="guessed")
    for field, value in (("forecasts", 7), ("latency", -1), ("drop", 1.5), ("perceive_every", 0)):
        with pytest.raises(ValueError, match=field):
            DrivingConfig(**{field: value})
