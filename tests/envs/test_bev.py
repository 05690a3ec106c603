"""The bird's-eye picture against shapely's areas and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from numpy.testing import assert_allclose

from envs.driving.bev import CHANNELS, SPEED, bird_eye
from envs.driving.collision import corners
from scenarios.kinds import Kind
from scenarios.network import Box

CAR, WALKER = Kind.CAR, Kind.PEDESTRIAN


def picture(world: Any, **options: Any) -> dict[str, torch.Tensor]:
    """Channels of the ego's picture by name, (S, S) each."""
    return dict(zip(CHANNELS, bird_eye(*world, **options)[0, 0], strict=True))


def test_vehicles_cover_their_area(scene: Any) -> None:
    """Four cars and two walls at random poses around a turned ego: coverage differs from shapely's by less than half a pixel's
    worth anywhere, and by less than 2 % in sum."""
    g = np.random.default_rng(1)
    rows = [(CAR, 3.0, -5.0, 0.8, 0.0)] + [(CAR, 3 + 9 * k, -5 + g.uniform(-4, 4), g.uniform(-3, 3), 0.0) for k in (-2, -1, 1, 2)]
    walls = [Box(x=0.0, y=10.0, yaw=0.4, length=12.0, width=2.0)]
    world = scene(rows, occluders=walls)
    got = picture(world, size=80, metres=60.0, behind=0.5)
    pixel = 60.0 / 80
    state, setup = world.state, world.setup
    ring = corners(state.x, state.y, state.yaw, setup.length, setup.width)[0, :5].double().numpy()
    wall = corners(*world.maps.occluders[0].unbind(-1)).double().numpy()
    axis = 30.0 - (np.arange(80) + 0.5) * pixel
    forward, left = np.meshgrid(axis, axis, indexing="ij")
    cos, sin = math.cos(0.8), math.sin(0.8)
    cells = []
    for df, dl in ((0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)):
        ahead, aside = forward + df * pixel, left + dl * pixel
        cells.append(np.stack([3 + ahead * cos - aside * sin, -5 + ahead * sin + aside * cos], axis=-1))
    squares = shapely.polygons(np.stack(cells, axis=-2))
    for name, rings in (("vehicles", ring[1:]), ("static", wall), ("ego", ring[:1])):
        want = shapely.area(shapely.intersection(squares, shapely.union_all([shapely.Polygon(r) for r in rings]))) / pixel**2
        assert_allclose(got[name], want, atol=0.3)
        assert_allclose(float(got[name].sum()), want.sum(), rtol=0.02)


def test_layout(scene: Any) -> None:
    """Ahead is up, left is left, the ego a quarter from the bottom; walkers are apart from vehicles; velocities are relative."""
    rows = [(CAR, 0.0, 0.0, 0.0, 10.0), (CAR, 32.0, 0.0, 0.0, 4.0), (WALKER, 16.0, 8.0, -math.pi / 2, 2.0)]
    got = picture(scene(rows), size=64, metres=64.0)
    assert got["ego"][47:49, 31:33].min() > 0.9
    assert got["vehicles"][15:17, 31:33].min() > 0.9
    assert got["vehicles"][40:].max() == 0.0
    row, column = divmod(int(got["vulnerable"].argmax()), 64)
    assert (row, column) in {(31, 23), (32, 23), (31, 24), (32, 24)}
    assert_allclose(got["vx"][15:17, 31:33], -6.0 / SPEED * got["vehicles"][15:17, 31:33], rtol=1e-4)
    walker = got["vulnerable"] > 0.0
    assert_allclose(got["vy"][walker], -2.0 / SPEED * got["vulnerable"][walker], rtol=1e-4)
    assert_allclose(got["vx"][walker], -10.0 / SPEED * got["vulnerable"][walker], rtol=1e-4)


def test_a_walker_never_vanishes(scene: Any) -> None:
    """Half a metre in pixels of 1.5 m, at any place within a pixel: there is always some of it."""
    for shift in np.linspace(0.0, 1.5, 7):
        got = picture(scene([(CAR, 0, 0, 0, 0), (WALKER, 10.0 + shift, 4.0 + shift / 2, 0.3, 1.0)]), size=32, metres=48.0)
        assert float(got["vulnerable"].max()) > 0.02


def test_road_route_and_direction(scene: Any) -> None:
    """Lanes y = -2 .. 6; the ego on the lower one, whose centre is the route; against the traffic nothing is allowed on the road."""
    got = picture(scene([(CAR, 0.0, 0.0, 0.0, 5.0)]), size=64, metres=32.0)
    y = 16.0 - (np.arange(64) + 0.5) * 0.5
    assert_allclose(got["drivable"], np.broadcast_to((y > -2.0) & (y < 6.0), (64, 64)), atol=0.06)
    ahead = slice(0, 44)
    assert float(got["route"][ahead][:, np.abs(y) < 1.5].min()) == 1.0
    assert float(got["route"][ahead][:, np.abs(y) > 2.3].max()) == 0.0
    assert float(got["route"][52:].max()) == 0.0  # not behind
    assert float(got["allowed"].min()) == 1.0
    turned = picture(scene([(CAR, 0.0, 0.0, math.pi, 5.0)]), size=64, metres=32.0)
    right = -y  # the learner looks back: what is left of the road's axis is on its right
    assert float(turned["allowed"][:, (right > -1.5) & (right < 5.5)].max()) == 0.0


def test_only_the_seen_are_drawn(scene: Any) -> None:
    world = scene([(CAR, 0, 0, 0, 0), (CAR, 12.0, 0.0, 0.0, 0.0), (CAR, 12.0, 4.0, 0.0, 0.0)])
    seen = torch.zeros(1, 1, 8, dtype=torch.bool)
    assert float(picture(world, seen=seen)["vehicles"].sum()) == 0.0
    seen[..., 2] = True
    half, full = (float(picture(world, **o)["vehicles"].sum()) for o in ({"seen": seen}, {}))
    assert_allclose(half, full / 2, rtol=1e-4)


def test_several_learners_and_bad_arguments(scene: Any) -> None:
    world = scene([(CAR, 0, 0, 0, 0), (CAR, 12.0, 0.0, 0.0, 0.0)], learners=2)
    assert bird_eye(*world, size=16).shape == (1, 2, len(CHANNELS), 16, 16)
    with pytest.raises(ValueError, match="size=0"):
        bird_eye(*world, size=0)
