"""Hybrid A* and what follows its paths: free space against exact boxes, paths that can be driven, bays that are reached."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.evaluation.rollout import EpisodeResult, rollout
from agents.planners import reeds_shepp
from agents.planners.base import DT, STEPS, Scene
from agents.planners.following import follow, new_progress
from agents.planners.freespace import CELL, Body, FreeSpace, Surface, body, distance_from, make_free_space, room
from agents.planners.hybrid_astar import HybridAstar
from agents.planners.hybrid_search import search
from agents.planners.motions import Motions, Pose, Search, Segments, joints
from agents.planners.paths import PAST, no_paths, put, sample
from agents.planners.scene import SceneMaker
from agents.planners.shortening import shortened
from agents.policies.base import load_policy
from envs.driving.bank import build_bank
from envs.driving.collision import corners, overlap
from envs.driving.make import sample_episodes
from envs.driving.sim import DrivingSim
from envs.driving.surface import drivable_distance
from scenarios.episode import Episode

Floats = NDArray[np.float64]
CAR = body(4.6, 1.85, 2.8)
RADIUS = 4.5
HARD = "parking/hard"


@cache
def lot(scenario: str = HARD, count: int = 4) -> DrivingSim:
    """Car parks at the start of an episode."""
    config = load_policy("hybrid_astar").needs.config(agents=64)
    return DrivingSim(build_bank(sample_episodes(scenario, count, 900), config), config, batch=count)


def space_of(sim: DrivingSim, world: int) -> tuple[FreeSpace, Pose, Pose, Floats]:
    """The free space of one world, start and goal of the rear axle, and the boxes that stand around."""
    maps, setup, mid = sim.maps, sim.setup, int(sim.setup.map_id[world])
    surface = Surface(
        maps.raster_origin[mid].double().numpy(), float(maps.raster_step[mid]), maps.sdf[mid].numpy(), maps.headings[mid].numpy()
    )
    others = setup.exists[world].clone()
    others[0] = False
    columns = (setup.x, setup.y, setup.yaw, setup.length, setup.width)
    boxes = torch.stack([column[world] for column in columns], dim=-1)[others].double().numpy()
    poses = []
    for x, y, yaw in ([float(column[world, 0]) for column in columns[:3]], setup.region[world, [0, 1, 5]].tolist()):
        poses.append(Pose(x - 1.4 * math.cos(yaw), y - 1.4 * math.sin(yaw), yaw))
    return make_free_space(surface, boxes, np.array([pose[:2] for pose in poses])), *poses, boxes


def dense(path: Segments, spacing: float = 0.05) -> Floats:
    """Poses along a path, (N, 3)."""
    pieces = [
        (s / n, b) for s, b in zip(path.lengths, path.bends, strict=True) for n in [max(1, round(abs(s) / spacing))] for _ in range(n)
    ]
    return np.array(joints(path.start, pieces))


def touches(x: Floats, y: Floats, yaw: Floats, boxes: Floats, grow: float = 0.0) -> NDArray[np.bool_]:
    """Whether the car at rear-axle poses (N,) overlaps any box, exactly."""
    mx, my = x + 1.4 * np.cos(yaw), y + 1.4 * np.sin(yaw)
    mine = [torch.from_numpy(value)[:, None] for value in (mx, my, yaw)]
    size = [torch.tensor(4.6 + 2.0 * grow), torch.tensor(1.85 + 2.0 * grow)]
    theirs = [torch.from_numpy(boxes[:, k])[None] for k in range(5)]
    return overlap(*mine, *size, *theirs).any(1).numpy()


def edge(sim: DrivingSim, world: int, x: Floats, y: Floats, yaw: Floats) -> Floats:
    """Distance of the outermost corner to the edge of the road, (N,) m."""
    mx, my = x + 1.4 * np.cos(yaw), y + 1.4 * np.sin(yaw)
    pose = [torch.from_numpy(value).float() for value in (mx, my, yaw)]
    box = corners(*pose, torch.tensor(4.6), torch.tensor(1.85)).unsqueeze(0)
    return drivable_distance(sim.maps, sim.setup.map_id[world : world + 1], box[..., 0], box[..., 1]).amin(-1)[0].numpy()


# free space


def test_where_there_is_room_nothing_is_touched_and_where_all_is_far_there_is_room() -> None:
    sim, rng = lot(), np.random.default_rng(0)
    free = full = 0
    for world in range(4):
        space, _, goal, boxes = space_of(sim, world)
        x, y = (rng.uniform(at - 12.0, at + 12.0, 4000) for at in goal[:2])
        yaw = rng.uniform(-np.pi, np.pi, 4000)
        left = room(space, CAR, x, y, yaw)
        fits = left >= 0.0
        assert not touches(x[fits], y[fits], yaw[fits], boxes).any()
        assert (edge(sim, world, x[fits], y[fits], yaw[fits]) > -0.2).all()  # 0.3 m off the road end an episode
        easy = ~touches(x, y, yaw, boxes, grow=0.35) & (edge(sim, world, x, y, yaw) > 0.35)
        assert fits[easy].all()
        free, full = free + int(fits.sum()), full + int((~fits).sum())
    assert free > 500
    assert full > 500


def a_plain(size: float = 30.0, wall: tuple[float, float] | None = None, one_way: bool = False) -> FreeSpace:
    """A square of free ground around the origin; wall: a box across at x = 0 from y to y; one_way: only eastwards."""
    count = round(2.0 * size) + 1
    bits = sum(1 << k for k in range(16) if np.cos(2.0 * np.pi * k / 16.0) >= -1e-9) if one_way else (1 << 16) - 1
    surface = Surface(np.full(2, -size), 1.0, np.full((count, count), 10.0, dtype=np.float32), np.full((count, count), bits))
    boxes = np.zeros((0, 5)) if wall is None else np.array([[0.0, 0.5 * sum(wall), np.pi / 2.0, wall[1] - wall[0], 0.5]])
    return make_free_space(surface, boxes, np.array([[-size, -size], [size, size]]))


def test_distances_go_round_walls_and_know_one_way_lanes() -> None:
    start = np.array([-10.0, 0.0])

    def far(space: FreeSpace, x: float, y: float) -> float:
        metres = distance_from(space, CAR, start)
        row, column = (round((value - low) / CELL) for value, low in ((y, space.origin[1]), (x, space.origin[0])))
        return float(metres[row, column])

    assert far(a_plain(), 10.0, 0.0) == pytest.approx(20.0, abs=1e-3)
    assert far(a_plain(), -4.0, 6.0) == pytest.approx(6.0 * math.sqrt(2.0), abs=1e-3)
    around = far(a_plain(wall=(-8.0, 8.0)), 10.0, 0.0)
    assert 2.0 * math.hypot(10.0, 8.9) < around < 2.0 * math.hypot(10.0, 8.9) + 4.0
    assert far(a_plain(wall=(-40.0, 40.0)), 10.0, 0.0) == math.inf
    lane = a_plain(one_way=True)
    assert far(lane, 10.0, 0.0) == pytest.approx(20.0, abs=1e-3)
    assert far(lane, -20.0, 0.0) > 25.0  # against it


# the search


def test_paths_can_be_driven_and_end_in_the_bay() -> None:
    sim = lot()
    for world in range(4):
        space, start, goal, boxes = space_of(sim, world)
        path = search(space, CAR, start, goal, RADIUS, Search(), gear=1)
        assert path is not None
        assert path.lengths[0] > 0.0  # it is rolling forwards
        assert (np.abs(path.bends) <= 1.0 / RADIUS + 1e-9).all()
        poses = dense(path)
        np.testing.assert_allclose(poses[0], start, atol=1e-9)
        np.testing.assert_allclose(poses[-1, :2], goal[:2], atol=1e-6)
        assert math.cos(poses[-1, 2] - goal.yaw) == pytest.approx(1.0, abs=1e-9)
        assert not touches(*poses.T, boxes).any()
        assert (edge(sim, world, *poses.T) > -0.2).all()
        again = search(space, CAR, start, goal, RADIUS, Search(), gear=1)
        assert again is not None
        assert np.array_equal(again.lengths, path.lengths)


def test_without_obstacles_the_path_is_the_curve_of_reeds_and_shepp() -> None:
    how = Search(steer=0.0)
    for goal in (Pose(8.0, 3.0, 1.0), Pose(-6.0, 2.0, 0.5), Pose(0.0, 5.0, 0.0)):
        path = search(a_plain(), CAR, Pose(0.0, 0.0, 0.0), goal, RADIUS, how)
        assert path is not None
        curve, cost = reeds_shepp.best(*(np.array([value]) for value in goal), RADIUS, reverse=how.reverse, cusp=how.cusp)
        assert float(np.abs(path.lengths).sum()) == pytest.approx(float(reeds_shepp.length(curve.lengths)[0]), abs=1e-6)
        driven = np.abs(path.lengths).sum() - (how.reverse - 1.0) * np.minimum(path.lengths, 0.0).sum()
        assert float(driven + how.cusp * (np.diff(np.sign(path.lengths)) != 0.0).sum()) == pytest.approx(float(cost[0]), abs=1e-6)


def test_who_is_there_already_has_a_path_of_no_length() -> None:
    for yaw in (0.3, 0.3 + 2.0 * math.pi):
        path = search(a_plain(), CAR, Pose(0.0, 0.0, yaw), Pose(0.0, 0.0, 0.3), RADIUS, Search())
        assert path is not None and float(np.abs(path.lengths).sum()) < 0.01


def test_no_path_is_none() -> None:
    start, goal = Pose(-10.0, 0.0, 0.0), Pose(10.0, 0.0, 0.0)
    assert search(a_plain(wall=(-40.0, 40.0)), CAR, start, goal, RADIUS, Search()) is None  # no way round
    assert search(a_plain(wall=(-1.0, 1.0)), CAR, start, Pose(-1.4, 0.0, 0.0), RADIUS, Search()) is None  # nowhere to stand
    assert search(a_plain(wall=(-1.0, 1.0)), CAR, start, goal, RADIUS, Search()) is not None


def test_a_dead_end_is_left_backwards() -> None:
    """Between two walls with the nose against a third: there is no room to turn."""
    plain = a_plain()
    boxes = np.array([[0.0, 1.6, 0.0, 14.0, 0.5], [0.0, -1.6, 0.0, 14.0, 0.5], [6.5, 0.0, np.pi / 2.0, 3.0, 0.5]])
    space = make_free_space(plain.surface, boxes, np.array([[-15.0, -15.0], [15.0, 15.0]]))
    path = search(space, CAR, Pose(1.5, 0.0, 0.0), Pose(-14.0, 6.0, math.pi), RADIUS, Search())
    assert path is not None
    assert path.lengths[0] < -3.0
    assert not touches(*dense(path).T, boxes).any()


def test_shortening_takes_out_wiggles_and_keeps_both_ends() -> None:
    motions = Motions(a_plain(), CAR, RADIUS, Search())
    start = Pose(-10.0, 0.0, 0.0)
    wiggles = [(1.0, 1.0 / RADIUS), (2.0, -1.0 / RADIUS), (1.0, 1.0 / RADIUS)] * 4
    end = joints(start, wiggles)[-1]
    path = shortened(motions, start, wiggles, 0)
    np.testing.assert_allclose(dense(path)[-1], end, atol=1e-6)
    assert float(np.abs(path.lengths).sum()) == pytest.approx(math.dist(start[:2], end[:2]), abs=0.05)
    assert sum(abs(s) for s, _ in wiggles) > math.dist(start[:2], end[:2]) + 0.1


# following


def test_points_slow_down_for_the_ends_of_legs_and_turn_wheels_in_time() -> None:
    path = Segments(Pose(0.0, 0.0, 0.0), np.array([6.0, 4.0, -3.0, 5.0]), np.array([0.0, 0.2, -0.2, 0.0]), 0)
    points = sample(path, a_plain(), CAR)
    assert points.leg.tolist() == sorted(points.leg.tolist())
    assert set(points.leg.tolist()) == {0.0, 1.0, 2.0}
    ends = np.append(np.diff(points.leg) != 0.0, True)
    assert (points.speed[ends] == 0.0).all()
    assert (points.speed[~ends] > 0.0).all()
    drop = points.speed[:-1] ** 2 - points.speed[1:] ** 2
    inside = np.diff(points.leg) == 0.0
    assert (drop[inside] <= 2.0 * 1.2 * np.diff(points.s)[inside] + 1e-9).all()
    pace = 0.5 * (points.speed[1:] + points.speed[:-1])
    turning = np.abs(np.diff(np.arctan(2.8 * points.bend))) / np.maximum(np.diff(points.s), 1e-9) * pace
    assert turning[inside].max() < 1.1  # rad/s; wheels manage 1
    assert points.s[-1] == pytest.approx(18.0)
    first, last = points.leg == 0.0, points.leg == 2.0
    assert points.bend[first][0] == pytest.approx(0.0, abs=1e-6)
    assert points.bend[last][-1] == pytest.approx(0.0, abs=1e-6)


def test_somebody_on_the_path_is_waited_for() -> None:
    scene = SceneMaker(lot())()
    planner = HybridAstar()
    points = planner.points(scene, 0)
    assert points is not None
    paths = put(no_paths(4, torch.device("cpu")), {0: points})
    assert (paths.leg[1:] == PAST).all()
    ahead = torch.tensor([4.0, 0.0, 0.0, 0.0])
    mean, mask = scene.around.mean.clone(), scene.around.mask.clone()
    mean[0, 5], mask[0, 5] = ahead, True
    free = follow(paths, new_progress(4, torch.device("cpu")), scene)
    held = follow(paths, new_progress(4, torch.device("cpu")), scene._replace(around=scene.around._replace(mean=mean, mask=mask)))
    assert float(held.accel[0]) < min(-3.0, float(free.accel[0]) - 1.0)
    assert free.over.tolist() == [False, True, True, True]
    assert (scene.ego.speed > 0.5).all()
    assert (free.accel[1:] < -1.0).all()  # no path: to rest


def strict(episode: Episode) -> Episode:
    """The same with the goal of standing within 0.2 m and 5 degrees of the middle of the bay."""
    region = episode.goal.region
    assert region is not None
    exact = replace(region, length=0.4, width=0.4, heading_tolerance=math.radians(5.0), speed_min=-0.05, speed_max=0.05)
    return replace(episode, goal=replace(episode.goal, region=exact))


def parked(policy: str, scenario: str, count: int, seed: int, batch: int = 4) -> list[EpisodeResult]:
    return rollout(load_policy(policy), [strict(episode) for episode in sample_episodes(scenario, count, seed)], batch=batch)


@pytest.mark.slow
def test_bays_are_reached_exactly_and_the_company_does_not_matter() -> None:
    several = parked("hybrid_astar", HARD, 2, 300, batch=2)
    assert [result.end for result in several] == ["arrived"] * 2
    (alone,) = parked("hybrid_astar", HARD, 1, 301, batch=1)
    assert alone.metrics == several[1].metrics


@pytest.mark.slow
def test_crooked_wheels_and_weak_brakes_are_coped_with() -> None:
    assert [result.end for result in parked("hybrid_astar~steer_bias=0.03,brake_limit=0.3", "parking", 2, 40, batch=2)] == ["arrived"] * 2


SEEN_LATE = [1, 3]  # in world 0 the way on leads against a lane: it stands


@pytest.mark.slow
def test_what_is_seen_late_is_driven_round() -> None:
    """Cars farther than 11 m away are not told: paths lead through them at first."""
    bank, planner = lot(), HybridAstar()
    sim = DrivingSim(bank.bank, bank.config, batch=2)
    sim.reset(torch.tensor(SEEN_LATE))
    scenes, memory, fresh, paths = SceneMaker(sim), None, torch.ones(2, dtype=torch.bool), 0
    arrived = torch.zeros(2, dtype=torch.bool)
    for _ in range(300):
        scene: Scene = scenes()
        near = torch.hypot(scene.around.mean[..., 0], scene.around.mean[..., 1]) < 11.0
        scene = scene._replace(around=scene.around._replace(mask=scene.around.mask & near))
        before = memory
        action, memory = planner.drive(scene, memory, fresh)
        paths += 0 if before is None else int((before.paths.s != memory.paths.s).any(1).sum())
        fresh = torch.zeros_like(fresh)
        out = sim.step(action)
        assert not (out.collision | out.off_road | out.wrong_way)[~arrived].any()
        arrived |= out.arrived[:, 0]
        if arrived.all():
            break
    assert arrived.all()
    assert paths > 0


def test_asked_again_about_the_same_moment_it_answers_the_same() -> None:
    sim = lot("parking", 2)
    sim.reset(torch.arange(2))
    policy, scenes = load_policy("hybrid_astar"), SceneMaker(sim)
    for _ in range(30):
        scene = scenes()
        first, second = (policy.act(scene, seed=sim.setup.seed, step=sim.state.step) for _ in range(2))  # type: ignore[arg-type]
        assert torch.equal(first, second)
        sim.step(first)
    sim.reset(torch.arange(2))
    other = load_policy("hybrid_astar")
    anew = [p.act(scenes(), seed=sim.setup.seed, step=sim.state.step) for p in (policy, other)]  # type: ignore[arg-type]
    assert torch.equal(*anew)  # a new episode begins without memory


def test_a_plan_is_the_beginning_of_its_path() -> None:
    sim = lot()
    sim.reset(torch.arange(4))
    scene = SceneMaker(sim)()
    assert scene.spot.wanted.all()
    plan = HybridAstar().plan(scene)
    trajectory = plan.trajectory
    assert trajectory.x.shape == (4, STEPS)
    assert torch.equal(plan.candidates.x[:, 0], trajectory.x)
    moved = torch.hypot(trajectory.x.diff(dim=1), trajectory.y.diff(dim=1))
    between = torch.maximum(trajectory.speed[:, 1:].abs(), trajectory.speed[:, :-1].abs())
    assert (moved <= between * DT * 1.1 + 0.05).all()
    assert (trajectory.x[:, -1] > 3.0).all()
    assert (plan.costs.progress > 15.0).all()


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["parking/easy", "parking", "parking/hard"])
def test_nearly_all_bays_are_reached_exactly(scenario: str) -> None:
    results = parked("hybrid_astar", scenario, 32, 7000, batch=32)
    assert sum(result.end == "arrived" for result in results) >= 31


def test_the_body_covers_the_car() -> None:
    car: Body = body(4.6, 1.85, 2.8)
    x, y = (part.reshape(-1, 1) for part in np.meshgrid(np.linspace(-0.9, 3.7, 60), np.linspace(-0.925, 0.925, 30)))
    gap = np.hypot(x - car.x, y - car.y) - car.radius
    assert gap.min(1).max() < 0.12
    for size in ((10.0, 2.5, 5.8), (1.8, 0.6, 1.1), (0.5, 0.6, 0.35)):
        other = body(*size)
        assert (other.radius > 0.0).all()
        assert float(np.abs(other.x - other.middle).max()) < 0.5 * size[0]
