"""Simulated and recorded futures: scenes against the run they were cut from, road pieces against shapely."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import shapely  # type: ignore[import-untyped]
import torch

import scenarios
from envs.driving.bank import build_bank
from envs.driving.futures import Run, cut_out, simulate, stream
from envs.driving.maps import compile_maps
from envs.driving.recorded_futures import read_recorded
from envs.driving.roads import PIECE_POINTS, cut, roads_around, roads_near
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig
from perception.prediction.examples import KEEP, YIELD, label_manoeuvres
from perception.prediction.history import PAST
from perception.prediction.lane_following import LaneFollowing
from perception.prediction.training import judge
from scenarios.network import LaneType


@pytest.fixture(scope="module")
def run() -> Run:
    return simulate("merge", [1, 2], seconds=16.0)


def test_pieces_around_are_the_nearest_and_lie_on_their_lanes() -> None:
    network = scenarios.sample(scenarios.load("junction"), 3).network
    pieces = cut(compile_maps([network]))
    x, y, yaw = torch.tensor([3.0, -25.0]), torch.tensor([-4.0, 2.0]), torch.tensor([0.4, -2.0])
    roads = roads_near(pieces, torch.zeros(2, dtype=torch.int64), x, y, yaw, count=20)
    lanes = shapely.MultiLineString([lane.centre for lane in network.lanes if lane.type != LaneType.PATH])
    all_points = pieces.points[0][pieces.mask[0]].numpy()
    for b in range(2):
        c, s = math.cos(float(yaw[b])), math.sin(float(yaw[b]))
        local = roads.points[b].double().numpy()
        px, py = local[..., 0], local[..., 1]
        world = np.stack([px * c - py * s + float(x[b]), px * s + py * c + float(y[b])], axis=-1)
        off = [shapely.Point(p).distance(lanes) for p in world.reshape(-1, 2)]
        assert max(off) < 0.05
        here = shapely.Point(float(x[b]), float(y[b]))
        every = np.sort([here.distance(shapely.MultiPoint(p[:, :2])) for p in all_points])
        found = [here.distance(shapely.MultiPoint(p)) for p in world]
        np.testing.assert_allclose(found, every[:20], atol=1e-3)
        directions = np.hypot(local[..., 2], local[..., 3])
        np.testing.assert_allclose(directions, 1.0, atol=1e-2)


def test_successors_begin_where_a_piece_ends() -> None:
    networks = [scenarios.sample(scenarios.load(name), 3).network for name in ("junction", "highway")]
    pieces = cut(compile_maps(networks))
    assert pieces.points.shape[2] == PIECE_POINTS
    for m in range(2):
        for q in pieces.mask[m].nonzero().squeeze(1).tolist():
            for j in pieces.successor[m, q].tolist():
                if j >= 0:
                    assert (pieces.points[m, j, 0, :2] - pieces.points[m, q, -1, :2]).norm() < 1.0
    # within a few pieces of the middle, what follows in the map follows in the selection
    near = roads_near(pieces, torch.tensor([1]), pieces.points[1, 3, :1, 0], pieces.points[1, 3, :1, 1], torch.zeros(1), count=12)
    linked = 0
    for j in range(12):
        for k in near.successor[0, j].tolist():
            if k >= 0:
                linked += 1
                assert (near.points[0, k, 0, :2] - near.points[0, j, -1, :2]).norm() < 1.0
    assert linked >= 3


def test_roads_do_not_depend_on_the_batch_and_follow_the_learner() -> None:
    episodes = [scenarios.sample(scenarios.load("merge"), seed) for seed in range(3)]
    config = DrivingConfig(agents=max(8, -(-max(len(e.agents) for e in episodes) // 8) * 8))
    sim = DrivingSim(build_bank(episodes, config), config, batch=3)
    pieces = cut(sim.maps)
    roads = roads_around(sim.state, sim.setup, pieces)
    own = roads.points[..., :2].norm(dim=-1).amin((1, 2))
    assert (own < 2.0).all()  # the ego starts on a lane
    for b in range(3):
        state, setup = sim.state, sim.setup
        one = roads_near(pieces, setup.map_id[b : b + 1], state.x[b : b + 1, 0], state.y[b : b + 1, 0], state.yaw[b : b + 1, 0])
        assert all(torch.equal(x[0], y[b]) for x, y in zip(one, roads, strict=True))


def test_scenes_are_what_happened(run: Run) -> None:
    world, tick, ego = torch.tensor([0, 1, 1]), torch.tensor([60, 45, 100]), torch.tensor([0, 0, 0])
    scene = cut_out(run, world, tick, ego, stride=2)
    assert scene.tracks.mask.sum() > 3
    for b in range(3):
        w, t = int(world[b]), int(tick[b])
        ox, oy, oyaw = (float(v[t, w, 0]) for v in (run.x, run.y, run.yaw))
        turn = np.array([[math.cos(oyaw), math.sin(oyaw)], [-math.sin(oyaw), math.cos(oyaw)]])
        last = 0.0
        for row in scene.tracks.mask[b].nonzero().squeeze(1).tolist():
            slot = int(scene.tracks.id[b, row])
            assert slot != 0

            def place(at: int, w: int = w, slot: int = slot) -> np.ndarray:
                return turn @ (np.array([float(run.x[at, w, slot]), float(run.y[at, w, slot])]) - [ox, oy])  # noqa: B023

            np.testing.assert_allclose(scene.tracks.mean[b, row, :2].numpy(), place(t), atol=1e-3)
            assert np.hypot(*place(t)) >= last - 1e-3  # the nearest first
            last = float(np.hypot(*place(t)))
            for p in range(PAST):
                if scene.history.valid[b, row, p]:
                    at = t - 2 * (PAST - 1 - p)
                    np.testing.assert_allclose([scene.history.x[b, row, p], scene.history.y[b, row, p]], place(at), atol=1e-3)
            for s in range(10):
                at = t + 5 * (s + 1)
                assert bool(scene.there[b, row, s]) <= (at < len(run.x))
                if scene.there[b, row, s]:
                    np.testing.assert_allclose(scene.future[b, row, s].numpy(), place(at), atol=1e-3)


@pytest.mark.slow
def test_a_stream_serves_predictors() -> None:
    batches = list(stream(["merge"], worlds=2, scenes=30, seed=5, restless=0.5))
    assert [len(b.future) for b in batches] == [10, 10, 10]
    assert torch.equal(batches[0].future, next(stream(["merge"], worlds=2, scenes=30, seed=5, restless=0.5)).future)
    found = judge(LaneFollowing(), batches)
    assert found["count@3"] > 20 and found["minADE@3"] < 6.0


def test_manoeuvres_are_told_apart() -> None:
    steps = 11

    def label(speed: list[float], direction: float = 0.0, changed: int = 0, walks: bool = False, crossing: bool = False) -> int:
        swing = torch.linspace(0.0, direction, steps)
        flags = torch.full((steps,), crossing)
        known = torch.ones(steps, dtype=torch.bool)
        pace = torch.from_numpy(np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, len(speed)), speed)).float()
        return int(label_manoeuvres(pace, swing, torch.tensor(changed), torch.tensor(walks), flags, known, torch.tensor(False)))

    assert label([10.0, 10.0]) == KEEP
    assert label([10.0, 0.0]) == YIELD
    assert label([10.0, 10.0], changed=1) == 1 and label([10.0, 10.0], changed=-1) == 2
    assert label([6.0, 6.0], direction=1.4) == 3
    assert label([1.2, 1.2], walks=True, crossing=True) == 5 and label([0.0, 0.0], walks=True, crossing=True) == KEEP


def test_recorded_traffic_is_read(shared_data: Path) -> None:
    examples = read_recorded(shared_data / "commonroad" / "USA_US101-3_1_T-1.xml")
    assert examples.future.shape[1:] == (35, 10, 2)
    assert examples.there.any(-1).sum() > 300
    known = examples.there[..., 0]
    step = (examples.future[..., 0, :] - examples.tracks.mean[..., :2]).norm(dim=-1)[known]
    speed = examples.tracks.mean[..., 2:].norm(dim=-1)[known]
    assert ((step / 0.5 - speed).abs() < 3.0).float().mean() > 0.95  # they go where they say they go
    assert (examples.roads.points[..., :2][examples.roads.mask].norm(dim=-1) < 2000.0).all()
