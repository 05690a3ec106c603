"""Who is seen: against shapely on crowds, and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
import torch
from numpy.testing import assert_array_equal

from envs.driving.collision import corners
from envs.driving.types import DrivingConfig
from envs.driving.visibility import sight_blocked, visible
from scenarios.kinds import Kind
from scenarios.network import Box


def crowd(scene: Any, seed: int, count: int = 24) -> Any:
    """Agents of all kinds at random poses among three walls; the last slots empty."""
    g = np.random.default_rng(seed)
    kinds = [Kind(int(k)) for k in g.integers(0, 6, count)]
    rows = [(k, g.uniform(-40, 40), g.uniform(-40, 40), g.uniform(-math.pi, math.pi), 0.0) for k in kinds]
    walls = [Box(x=g.uniform(-30, 30), y=g.uniform(-30, 30), yaw=g.uniform(0, 3), length=12.0, width=1.0) for _ in range(3)]
    return scene(rows, occluders=walls, learners=4, agents=32)


def test_against_shapely(scene: Any) -> None:
    """Every learner and agent of six crowds: seen if a point in range and in view is joined by a segment that meets no hiding box."""
    seen_total = hidden_total = 0
    for seed in range(6):
        state, setup, maps, config = crowd(scene, seed)
        config = DrivingConfig(agents=32, learners=4, view_range=45.0, view_fov=4.0)
        got = visible(state, setup, maps, config)[0].numpy()
        ring = corners(state.x, state.y, state.yaw, setup.length, setup.width)[0].double().numpy()
        walls = corners(*maps.occluders[0].unbind(-1)).double().numpy()
        kind, valid = setup.kind[0].numpy(), state.valid[0].numpy()
        opaque = valid & (kind != Kind.PEDESTRIAN) & (kind != Kind.BICYCLE)
        want = np.zeros_like(got)
        for i in range(4):
            eye = np.array([float(state.x[0, i]), float(state.y[0, i])])
            for j in np.flatnonzero(valid):
                if i == j:
                    continue
                points = np.concatenate([ring[j], ring[j].mean(0, keepdims=True)])
                away = points - eye
                bearing = np.arctan2(away[:, 1], away[:, 0]) - float(state.yaw[0, i])
                turn = np.abs((bearing + np.pi) % (2 * np.pi) - np.pi)
                looked = (np.hypot(*away.T) <= 45.0) & (turn <= 2.0)
                hiders = [ring[k] for k in np.flatnonzero(opaque) if k not in (i, j)] + list(walls)
                shapes = shapely.union_all([shapely.Polygon(h) for h in hiders])
                lines = [shapely.LineString([eye, p]) for p in points]
                want[i, j] = any(look and not line.intersects(shapes) for look, line in zip(looked, lines, strict=True))
        assert_array_equal(got, want)
        seen_total += int(got.sum())
        hidden_total += int((valid[None] & ~got).sum())
    assert seen_total > 100 and hidden_total > 100  # both answers are common


def test_by_hand(scene: Any) -> None:
    """A bus hides the car behind it; a walker hides nobody; a long vehicle is seen past a wall by its tail."""

    def seen(rows: list[tuple[Kind, float, float, float, float]], *walls: Box, **view: float) -> list[bool]:
        state, setup, maps, _ = scene(rows, occluders=walls)
        return visible(state, setup, maps, DrivingConfig(agents=8, **view))[0, 0, 1 : len(rows)].tolist()

    ego = (Kind.CAR, 0.0, 0.0, 0.0, 0.0)
    bus, car, walker = (Kind.BUS, 15.0, 0.0, 0.0, 0.0), (Kind.CAR, 30.0, 0.0, 0.0, 0.0), (Kind.PEDESTRIAN, 15.0, 0.0, 0.0, 0.0)
    assert seen([ego, bus, car]) == [True, False]
    assert seen([ego, walker, car]) == [True, True]
    assert seen([ego, bus, (Kind.CAR, 30.0, 4.0, 0.0, 0.0)]) == [True, True]  # its left side peeps out
    wall = Box(x=10.0, y=0.0, yaw=math.pi / 2, length=8.0, width=0.5)
    assert seen([ego, car], wall) == [False]
    assert seen([ego, (Kind.BUS, 30.0, 8.0, math.pi / 2, 0.0)], wall) == [True]
    assert seen([ego, car], view_range=27.0) == [False]
    assert seen([ego, car], view_range=27.8) == [True]  # the rear corners are in range
    behind = (Kind.CAR, -30.0, 0.0, 0.0, 0.0)
    assert seen([ego, behind], view_fov=math.pi) == [False]
    assert seen([ego, behind]) == [True]


def test_a_learner_does_not_see_itself_nor_the_absent(scene: Any) -> None:
    state, setup, maps, config = crowd(scene, 0)
    got = visible(state, setup, maps, config)
    assert not got.diagonal(dim1=1, dim2=2).any()
    assert not got[:, :, 24:].any()


def test_segment_against_box() -> None:
    """Touching counts; a flat box stops nothing."""

    def meets(*numbers: float) -> bool:
        eye_and_target = [torch.tensor(v) for v in numbers[:4]]
        return bool(sight_blocked(*eye_and_target, *(torch.tensor([v]) for v in numbers[4:])))

    assert meets(0, 0, 10, 0, 5, 0, 0, 2, 2)
    assert meets(0, 0, 10, 0, 5, 1, 0, 2, 2)  # along its side
    assert not meets(0, 0, 10, 0, 5, 1.01, 0, 2, 2)
    assert not meets(0, 0, 4, 0, 5.5, 0, 0, 2, 2)  # ends before it
    assert not meets(0, 0, 10, 0, 5, 0, 0, 0, 2)
    assert meets(0, 0, 3, 3, 2.3, 1, 0.785, 2, 2)  # 0.92 m beside the centre of a diamond
    assert not meets(0, 0, 3, 3, 2.5, 1, 0.785, 2, 2)  # 1.06 m
