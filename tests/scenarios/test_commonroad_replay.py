"""Imported recordings in the simulator: what it shows at every tick is what the file says."""

from __future__ import annotations

import warnings
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from shapely.affinity import rotate, translate

import scenarios
from envs.driving.bank import build_bank
from envs.driving.collision import pairwise_overlap
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig
from scenarios.episode import Episode
from scenarios.importers import import_file
from scenarios.serialize import load_recording

pytest.importorskip("commonroad", reason="commonroad-io is not installed")

RECORDED = (
    "ARG_Carcarana-4_5_T-1",
    "DEU_A9-3_1_T-1",
    "USA_Lanker-1_1_T-1",
    "USA_US101-3_1_T-1",
    "USA_US101-3_3_T-1",
    "USA_US101-4_1_T-1",
    "ZAM_Tjunction-1_18_T-1",
)
EMPTY = "DEU_Starnberg-1_1_T-1"  # a map and an ego, nobody else
OVERLAPS = {"USA_Lanker-1_1_T-1": {("1247", "1266"): 2}}  # ticks for which a recording itself has two boxes overlap


def _start(episode: Episode) -> DrivingSim:
    config = DrivingConfig(agents=-(-len(episode.agents) // 8) * 8, dt=episode.dt, ticks_per_step=1, autopilot=True)
    sim = DrivingSim(build_bank([episode], config), config, batch=1)
    sim.reset(torch.zeros(1, dtype=torch.int64))
    return sim


def test_every_file_at_hand_is_covered(shared_data: Path) -> None:
    assert {path.stem for path in (shared_data / "commonroad").glob("*.xml")} == {*RECORDED, EMPTY}


def test_a_file_without_road_users_gives_an_episode_without_any(shared_data: Path, tmp_path: Path) -> None:
    written = import_file(shared_data / "commonroad" / f"{EMPTY}.xml", tmp_path)
    scenario = scenarios.load(written.scenario)
    assert scenario.variants == ()
    episode = scenarios.sample(scenario, 0)
    assert [agent.id for agent in episode.agents] == ["ego"]
    sim = _start(episode)
    for _ in range(20):
        sim.step(torch.zeros(1, 1, 2))
    assert sim.state.valid.sum() == 1
    assert sim.state.stats.progress[0, 0] > 1.0


@pytest.mark.parametrize("name", RECORDED)
def test_replayed_agents_are_where_the_file_has_them_at_every_tick(name: str, shared_data: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from commonroad.common.file_reader import CommonRoadFileReader

        scenario, _ = CommonRoadFileReader(str(shared_data / "commonroad" / f"{name}.xml")).open()
    written = import_file(shared_data / "commonroad" / f"{name}.xml", tmp_path)
    episode = scenarios.sample(scenarios.load(written.scenario, "log"), 0)
    offset = np.array(load_recording(written.sidecar).offset)
    slots = {agent.id: i for i, agent in enumerate(episode.agents)}
    sim = _start(episode)
    states, overlaps, meant = 0, Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for t in range(round(episode.duration / episode.dt) + 1):
        boxes = []
        for obstacle in scenario.dynamic_obstacles:
            i, state = slots[str(obstacle.obstacle_id)], obstacle.state_at_time(t)
            assert bool(sim.state.valid[0, i]) == (state is not None)
            if state is not None:
                place = state.position if isinstance(state.position, np.ndarray) else state.position.center
                ours = np.array([sim.state.x[0, i].item(), sim.state.y[0, i].item()]) + offset
                assert np.hypot(*(ours - place)) < 0.01
                boxes.append((str(obstacle.obstacle_id), _box(obstacle.obstacle_shape, place, state.orientation)))
        states += len(boxes)
        overlaps.update(_overlapping(sim, episode))
        meant.update((min(i, j), max(i, j)) for (i, one), (j, other) in combinations(boxes, 2) if one.intersects(other))
        sim.step(torch.zeros(1, 1, 2))
    assert states > 100
    assert states == sum(1 + len(o.prediction.trajectory.state_list) if o.prediction else 1 for o in scenario.dynamic_obstacles)
    assert overlaps == meant == OVERLAPS.get(name, {})


def _box(shape: Any, place: Any, orientation: Any) -> shapely.Polygon:
    """The vehicle's rectangle in the file's frame; of an uncertain orientation the middle."""
    yaw = orientation if isinstance(orientation, float) else (orientation.start + orientation.end) / 2.0
    box = shapely.box(-shape.length / 2.0, -shape.width / 2.0, shape.length / 2.0, shape.width / 2.0)
    return translate(rotate(box, yaw, origin=(0, 0), use_radians=True), *place)


def _overlapping(sim: DrivingSim, episode: Episode) -> list[tuple[str, str]]:
    """The pairs of road users, without the ego, whose boxes overlap now."""
    state, setup = sim.state, sim.setup
    pairs = pairwise_overlap(state.x, state.y, state.yaw, setup.length, setup.width, state.valid)[0].triu().nonzero().tolist()
    ids = [agent.id for agent in episode.agents]
    return [(min(ids[i], ids[j]), max(ids[i], ids[j])) for i, j in pairs if i]


@pytest.mark.parametrize("name", RECORDED)
def test_reactive_agents_stay_near_their_recorded_path_and_keep_moving(name: str, shared_data: Path, tmp_path: Path) -> None:
    written = import_file(shared_data / "commonroad" / f"{name}.xml", tmp_path)
    episode = scenarios.sample(scenarios.load(written.scenario, "reactive"), 0)
    lanes = {lane.id: lane.centre for lane in episode.network.lanes}
    sim = _start(episode)
    driven = np.zeros(len(episode.agents))
    for _ in range(round(episode.duration / episode.dt)):
        sim.step(torch.zeros(1, 1, 2))
        valid = sim.state.valid[0].numpy()
        x, y, speed = (getattr(sim.state, name)[0].numpy() for name in ("x", "y", "speed"))
        for i, agent in enumerate(episode.agents[1:], 1):
            if valid[i] and agent.lane is not None:
                assert np.hypot(*(lanes[agent.lane] - (x[i], y[i])).T).min() < 1.2  # points 1 m apart, and what steering takes to settle
                driven[i] += speed[i] * episode.dt
    recorded = [
        float((agent.log.speed * agent.log.valid).sum()) * episode.dt
        for agent in load_recording(written.sidecar).agents
        if agent.log is not None
    ]
    assert 0.5 < driven[1:].sum() / sum(recorded) < 1.5


def test_the_idm_ego_sees_replayed_vehicles_beside_it_before_it_changes_lanes(shared_data: Path, tmp_path: Path) -> None:
    """At the start one drives up beside the ego, on no lane that the map has."""
    written = import_file(shared_data / "commonroad" / "USA_Lanker-1_1_T-1.xml", tmp_path, goal="last")
    for seed in range(3):
        sim = _start(scenarios.sample(scenarios.load(written.scenario, "log"), seed))
        for _ in range(int(sim.setup.duration[0])):
            sim.step(torch.zeros(1, 1, 2))
        assert not sim.state.stats.collision.any()
