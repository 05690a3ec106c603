"""Time to collision against shapely, stepped and swept, and by hand."""

from __future__ import annotations

import math

import numpy as np
import shapely
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from envs.driving.collision import corners, overlap
from envs.driving.ttc import time_to_collision

HORIZON, STEP = 4.0, 0.01  # s


def boxes(count: int, seed: int) -> list[Tensor]:
    """x, y, yaw, length, width, vx, vy; velocities in any direction, some of zero, some boxes degenerate."""
    g = np.random.default_rng(seed)
    speed, course = g.uniform(0, 12, count) * (g.random(count) > 0.1), g.uniform(-math.pi, math.pi, count)
    size = g.uniform(0.3, 5, (2, count)) * (g.random((2, count)) > 0.05)
    columns = (
        *(g.uniform(-9, 9, count), g.uniform(-9, 9, count), g.uniform(-math.pi, math.pi, count)),
        *(size[0], size[1], speed * np.cos(course), speed * np.sin(course)),
    )
    return [torch.tensor(c) for c in columns]


def test_against_stepping_with_shapely() -> None:
    """1,500 pairs moved in steps of 10 ms: shapely first sees contact at the step after the closed form's time."""
    one, two = boxes(1500, 0), boxes(1500, 1)
    got = time_to_collision(*one, *two).numpy()
    push = np.stack([(two[5] - one[5]).numpy(), (two[6] - one[6]).numpy()], axis=-1)[:, None]
    solid = (one[3] * one[4] * two[3] * two[4] > 0).numpy()
    still, ring = shapely.polygons(corners(*one[:5]).numpy()), corners(*two[:5]).numpy()
    first = np.full(1500, np.inf)
    for t in np.arange(0.0, HORIZON, STEP)[::-1]:
        first[shapely.intersects(still, shapely.polygons(ring + push * t))] = t
    seen = np.isfinite(first) & solid
    assert 150 < seen.sum() < 1200  # both answers are common
    assert (first[seen] - got[seen] > -1e-9).all()
    assert (first[seen] - got[seen] < STEP + 1e-9).all()
    missed = ~np.isfinite(first) & solid & (got < HORIZON - STEP)
    assert missed.mean() < 0.01  # contacts briefer than a step; the next test judges those as well


def test_against_the_swept_polygon() -> None:
    """They ever meet within the horizon if and only if the hull swept by one box, seen from the other, meets that other."""
    one, two = boxes(3000, 2), boxes(3000, 3)
    got = time_to_collision(*one, *two).numpy()
    ring = corners(*two[:5]).numpy()
    push = np.stack([(two[5] - one[5]).numpy(), (two[6] - one[6]).numpy()], axis=-1)[:, None] * HORIZON
    swept = shapely.convex_hull(shapely.multipoints(np.concatenate([ring, ring + push], axis=1)))
    still = shapely.convex_hull(shapely.multipoints(corners(*one[:5]).numpy()))
    want = shapely.intersects(swept, still)
    sure = np.abs(got - HORIZON) > 1e-9
    assert (want == (got <= HORIZON))[sure].all()
    assert 500 < want.sum() < 2500


def test_boxes_touch_at_that_time_and_not_before() -> None:
    one, two = boxes(3000, 4), boxes(3000, 5)
    got = time_to_collision(*one, *two)

    def at(t: Tensor) -> Tensor:
        now = [[b[0] + b[5] * t, b[1] + b[6] * t, *b[2:5]] for b in (one, two)]
        return overlap(*now[0], *now[1])

    meet = torch.isfinite(got)
    assert at(torch.where(meet, got + 1e-7, 0.0))[meet & (got < 100)].float().mean() > 0.995  # less contacts briefer than 0.1 us
    apart = meet & (got > 1e-6)
    assert not at(torch.where(apart, got - 1e-6, 0.0))[apart].any()
    assert torch.equal(got == 0.0, overlap(*one[:5], *two[:5]))


def test_by_hand() -> None:
    def ttc(one: tuple[float, ...], two: tuple[float, ...]) -> float:
        a, b = ([torch.tensor(v) for v in box] for box in (one, two))
        forward, backward = float(time_to_collision(*a, *b)), float(time_to_collision(*b, *a))
        assert forward == backward
        return forward

    ego = (0.0, 0.0, 0.0, 4.0, 2.0, 10.0, 0.0)
    assert_allclose(ttc(ego, (24.0, 0.0, 0.0, 4.0, 2.0, 0.0, 0.0)), 2.0)  # 20 m of gap at 10 m/s
    assert ttc(ego, (24.0, 0.0, 0.0, 4.0, 2.0, 10.0, 0.0)) == math.inf  # same speed
    assert ttc(ego, (24.0, 0.0, 0.0, 4.0, 2.0, 12.0, 0.0)) == math.inf  # lead pulls away
    assert ttc(ego, (24.0, 2.1, 0.0, 4.0, 2.0, 0.0, 0.0)) == math.inf  # beside the path
    assert_allclose(ttc(ego, (24.0, 2.0, 0.0, 4.0, 2.0, 0.0, 0.0)), 2.0)  # scrapes along
    assert_allclose(ttc(ego, (34.0, 0.0, math.pi, 4.0, 2.0, -5.0, 0.0)), 2.0)  # oncoming
    assert_allclose(ttc(ego, (20.0, -11.0, math.pi / 2, 4.0, 2.0, 0.0, 5.0)), 1.7)  # crossing: side gap 17 m / 10 m/s, front long there
    assert ttc(ego, (20.0, -31.0, math.pi / 2, 4.0, 2.0, 0.0, 5.0)) == math.inf  # crosses behind
    assert ttc(ego, (1.0, 0.5, 0.3, 4.0, 2.0, 0.0, 0.0)) == 0.0  # overlap now
    assert ttc(ego, (4.0, 0.0, 0.0, 4.0, 2.0, 20.0, 0.0)) == 0.0  # touches now, though it pulls away
    assert ttc((*ego[:5], 0.0, 0.0), (5.0, 0.0, 0.0, 4.0, 2.0, 0.0, 0.0)) == math.inf  # both at rest


def test_never_nan_in_float32() -> None:
    one, two = ([t.float() for t in boxes(5000, seed)] for seed in (6, 7))
    for k in (5, 6):  # a third at rest relative to each other
        two[k][::3] = one[k][::3]
    assert not time_to_collision(*one, *two).isnan().any()
