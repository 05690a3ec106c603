"""Ray lengths against shapely and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from numpy.testing import assert_allclose

from envs.driving.collision import corners
from envs.driving.lidar import lidar
from scenarios.kinds import Kind
from scenarios.network import Box

CAR = Kind.CAR


def test_against_shapely(scene: Any) -> None:
    """360 rays of 3 learners in 3 crowds: the distance to the first polygon that shapely finds on the ray, within 1 mm."""
    finite = 0
    for seed in range(3):
        g = np.random.default_rng(seed)
        rows = [(Kind(int(g.integers(0, 6))), g.uniform(-30, 30), g.uniform(-30, 30), g.uniform(-3, 3), 0.0) for _ in range(20)]
        walls = [Box(x=25.0, y=0.0, yaw=0.3, length=1.0, width=10.0), Box(x=0.0, y=-28.0, yaw=1.0, length=9.0, width=2.0)]
        state, setup, maps, config = scene(rows, occluders=walls, learners=3, agents=24)
        got = lidar(state, setup, maps, config, rays=360, reach=50.0)[0].double().numpy()
        ring = corners(state.x, state.y, state.yaw, setup.length, setup.width)[0, :20].double().numpy()
        solid = [shapely.Polygon(r) for r in (*ring, *corners(*maps.occluders[0].unbind(-1)).double().numpy())]
        for i in range(3):
            eye = shapely.Point(float(state.x[0, i]), float(state.y[0, i]))
            shapes = shapely.union_all([s for k, s in enumerate(solid) if k != i])
            angle = float(state.yaw[0, i]) + np.arange(360) * 2 * np.pi / 360
            ends = np.stack([eye.x + 50 * np.cos(angle), eye.y + 50 * np.sin(angle)], axis=-1)
            lines = shapely.linestrings(np.stack([np.broadcast_to([eye.x, eye.y], ends.shape), ends], axis=1))
            cut = shapely.intersection(lines, shapes)
            want = np.where(shapely.is_empty(cut), 50.0, shapely.distance(cut, eye))
            grazing = shapely.length(cut) < 1e-2  # a corner just touched, or just missed
            near = shapely.distance(lines, shapes) < 1e-3
            sure = ~(grazing & near)
            assert_allclose(got[i][sure], want[sure], atol=1e-3)
            assert sure.mean() > 0.98
            finite += int((want < 50.0).sum())
    assert finite > 500


def test_by_hand(scene: Any) -> None:
    """Four rays, turned with the car: ahead a car, left a wall, nothing behind; the first ray points ahead, the second left."""
    wall = Box(x=-6.0, y=0.0, yaw=0.0, length=2.0, width=8.0)
    state, setup, maps, config = scene([(CAR, 0.0, 0.0, math.pi / 2, 0.0), (CAR, 0.0, 20.0, math.pi / 2, 0.0)], occluders=[wall])
    assert_allclose(lidar(state, setup, maps, config, rays=4, reach=40.0)[0, 0], [17.7, 5.0, 40.0, 40.0], atol=1e-5)


def test_inside_a_thing_measures_zero(scene: Any) -> None:
    state, setup, maps, config = scene([(CAR, 0.0, 0.0, 0.0, 0.0), (Kind.BUS, 0.5, 0.1, 0.0, 0.0)])
    assert torch.equal(lidar(state, setup, maps, config, rays=8), torch.zeros(1, 1, 8))


def test_road_edge_of_a_straight_road(scene: Any) -> None:
    """Edges at y = -2 and y = 6: every ray within 5 cm of the closed form, the grazing ones included."""
    for y, yaw in ((0.0, 0.0), (3.1, 0.4), (4.0, -2.0)):
        state, setup, maps, config = scene([(CAR, 0.0, y, yaw, 0.0)])
        got = lidar(state, setup, maps, config, rays=90, reach=60.0, road_edge=True)[0, 0]
        sine = np.sin(yaw + np.arange(90) * 2 * np.pi / 90)
        gap = np.where(sine > 0, 6.0 - y, y + 2.0)
        want = np.minimum(gap / np.maximum(np.abs(sine), 1e-6), 60.0)
        assert_allclose(got, want, atol=0.05)


def test_road_edge_from_off_the_road_is_zero(scene: Any) -> None:
    state, setup, maps, config = scene([(CAR, 0.0, 12.0, 0.0, 0.0)])
    assert torch.equal(lidar(state, setup, maps, config, rays=6, road_edge=True), torch.zeros(1, 1, 6))


def test_bad_arguments_are_refused(scene: Any) -> None:
    world = scene([(CAR, 0.0, 0.0, 0.0, 0.0)])
    for bad in ({"rays": 0}, {"reach": 0.0}):
        with pytest.raises(ValueError, match="rays must be at least 1"):
            lidar(*world, **bad)
