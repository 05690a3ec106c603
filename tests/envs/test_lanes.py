"""Places along lanes against shapely, on every kind of road."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
import torch

from envs.driving.lanes import lane_point, preview, project
from envs.driving.maps import compile_maps
from scenarios.network import LaneEnd, RoadNetwork
from scenarios.roads import ROADS

KINDS = [kind for kind in ROADS if kind != "custom"]
NETWORKS = {kind: ROADS[kind]().build() for kind in KINDS}
COUNT = 400  # random places on each road


def places(network: RoadNetwork, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random lanes (COUNT,) and s on them."""
    rng = np.random.default_rng(seed)
    lanes = rng.integers(0, len(network.lanes), COUNT)
    lengths = np.array([shapely.LineString(lane.centre).length for lane in network.lanes])
    return lanes, rng.uniform(0.02, 0.98, COUNT) * lengths[lanes]


def as_row(values: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None]
    return tensor.float() if tensor.is_floating_point() else tensor


ZERO = torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize("kind", KINDS)
def test_points_of_lanes(kind: str) -> None:
    network = NETWORKS[kind]
    maps, (lanes, s) = compile_maps([network]), places(network, 1)
    got = lane_point(maps, ZERO, as_row(lanes), as_row(s))[0].double().numpy()
    lines = [shapely.LineString(network.lanes[i].centre) for i in lanes]
    want = shapely.get_coordinates([line.interpolate(at) for line, at in zip(lines, s, strict=True)])
    assert np.hypot(*(got[:, :2] - want).T).max() < 0.02
    step = 0.5
    ahead = shapely.get_coordinates([line.interpolate(at + step) for line, at in zip(lines, s, strict=True)])
    behind = shapely.get_coordinates([line.interpolate(max(0.0, at - step)) for line, at in zip(lines, s, strict=True)])
    chord = (ahead - behind) / np.hypot(*(ahead - behind).T)[:, None]
    cos = (got[:, 2:4] / np.hypot(got[:, 2], got[:, 3])[:, None] * chord).sum(-1)
    assert np.rad2deg(np.arccos(np.clip(cos, -1.0, 1.0))).max() < 1.5


@pytest.mark.parametrize("kind", KINDS)
def test_projections(kind: str) -> None:
    """From up to 2 m beside the lane and a guess up to 3 m off, shapely's projection is found again."""
    network = NETWORKS[kind]
    maps, (lanes, s) = compile_maps([network]), places(network, 2)
    rng = np.random.default_rng(3)
    at = lane_point(maps, ZERO, as_row(lanes), as_row(s))[0].double().numpy()
    d = rng.uniform(-2.0, 2.0, COUNT)
    x, y = at[:, 0] - d * at[:, 3], at[:, 1] + d * at[:, 2]
    guess = np.maximum(s + rng.uniform(-3.0, 3.0, COUNT), 0.0)
    got_s, got_d, cos, sin = (t[0].double().numpy() for t in project(maps, ZERO, *(as_row(v) for v in (lanes, guess, x, y))))
    lines = [shapely.LineString(network.lanes[i].centre) for i in lanes]
    points = shapely.points(x, y)
    want_s = np.array([line.project(point) for line, point in zip(lines, points, strict=True)])
    want_d = np.array([line.distance(point) for line, point in zip(lines, points, strict=True)])
    inside = (want_s > 0.1) & (want_s < np.array([line.length for line in lines]) - 0.1)  # at the ends shapely stops, a lane goes on
    assert inside.mean() > 0.85
    assert np.abs(got_s - want_s)[inside].max() < 0.15
    assert np.abs(np.abs(got_d) - want_d)[inside].max() < 0.03
    assert (np.sign(got_d) == np.sign(d))[inside & (np.abs(d) > 0.1)].all()
    np.testing.assert_allclose(np.hypot(cos, sin), 1.0, atol=5e-3)  # a chord between unit vectors, 9 degrees apart at 6.4 m radius


@pytest.mark.parametrize("kind", KINDS)
def test_the_road_ahead(kind: str) -> None:
    """Points up to 90 m ahead against the polyline of the lane and those that follow it on the way to each destination."""
    network = NETWORKS[kind]
    maps, (lanes, s) = compile_maps([network]), places(network, 4)
    rng = np.random.default_rng(5)
    goals = rng.integers(0, maps.next_lane.shape[1], COUNT)
    offsets = np.array([0.0, 4.3, 17.0, 41.7, 90.0])
    got = preview(maps, ZERO, as_row(goals), as_row(lanes), as_row(s), as_row(offsets)[0])[0].double().numpy()
    checked = 0
    for k in range(COUNT):
        chain, lane = [int(lanes[k])], int(lanes[k])
        while len(chain) < 4 and (lane := int(maps.next_lane[0, goals[k], lane])) >= 0:
            chain.append(lane)
        path = shapely.LineString(np.concatenate([network.lanes[i].centre for i in chain]))
        for j, offset in enumerate(offsets):
            if s[k] + offset < path.length:
                want = path.interpolate(s[k] + offset)
                assert np.hypot(got[k, j, 0] - want.x, got[k, j, 1] - want.y) < 0.06
                checked += 1
    assert checked > COUNT


def test_agents_are_placed_on_lanes_of_any_direction(agent: Any, stage: Any) -> None:
    """Whatever way a lane runs, exactly along an axis too, an agent put on it stands on it and looks along it."""
    for kind in ("junction", "roundabout", "loop"):
        network = NETWORKS[kind]
        drivable = [lane for lane in network.lanes if lane.end != LaneEnd.BLOCKED]
        worlds = [[agent(lane.id, 0.4 * shapely.LineString(lane.centre).length, d=0.7)] for lane in drivable]
        setup = stage(network, worlds).setup
        for b, lane in enumerate(drivable):
            line = shapely.LineString(lane.centre)
            at, near = line.interpolate(0.4, normalized=True), line.interpolate(0.4 * line.length + 0.2)
            yaw = np.arctan2(near.y - at.y, near.x - at.x)
            assert abs(np.angle(np.exp(1j * (float(setup.yaw[b, 0]) - yaw)))) < np.deg2rad(1.5), lane.id
            assert abs(float(setup.x[b, 0]) - (at.x - 0.7 * np.sin(yaw))) < 0.05
            assert abs(float(setup.y[b, 0]) - (at.y + 0.7 * np.cos(yaw))) < 0.05
