"""Box overlap against shapely and by hand."""

from __future__ import annotations

import math

import numpy as np
import shapely
import torch
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from torch import Tensor

from envs.driving.collision import corners, learner_overlap, overlap, pairwise_overlap

Boxes = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # x, y, yaw, length, width


def boxes(count: int, seed: int, spread: float) -> Boxes:
    """Random boxes; a tenth each of zero length, zero width and both."""
    g = np.random.default_rng(seed)
    length, width = g.uniform(0.3, 12, count), g.uniform(0.3, 3, count)
    degenerate = g.integers(0, 10, count)
    length[(degenerate == 0) | (degenerate == 2)] = 0.0
    width[(degenerate == 1) | (degenerate == 2)] = 0.0
    columns = (g.uniform(-spread, spread, count), g.uniform(-spread, spread, count), g.uniform(-math.pi, math.pi, count), length, width)
    x, y, yaw, long, wide = (torch.tensor(c) for c in columns)
    return x, y, yaw, long, wide


def shapes(b: Boxes) -> NDArray[np.object_]:
    """The boxes as shapely polygons, segments or points."""
    out = []
    for ring, length, width in zip(corners(*b).numpy(), b[3].tolist(), b[4].tolist(), strict=True):
        degenerate = length == 0 or width == 0
        out.append(shapely.LineString(ring[[0, 2]]) if degenerate else shapely.Polygon(ring))
    return np.array(out, dtype=object)


def test_random_pairs_against_shapely() -> None:
    """12,000 pairs in double precision: no disagreement."""
    hits = 0
    for seed in range(4):
        one, two = boxes(3000, seed, 4.5), boxes(3000, seed + 100, 4.5)
        want = shapely.intersects(shapes(one), shapes(two))
        assert_array_equal(overlap(*one, *two).numpy(), want)
        hits += int(want.sum())
    assert 3000 < hits < 9000  # both answers are common


def test_float32_agrees_except_within_a_tenth_of_a_millimetre() -> None:
    one, two = boxes(4000, 9, 6.0), boxes(4000, 19, 6.0)
    got = overlap(*(t.float() for t in one), *(t.float() for t in two)).numpy()
    a, b = shapes(one), shapes(two)
    wide, narrow = shapely.distance(a, b) > 1e-4, shapely.distance(a, b) == 0
    assert not got[wide].any()
    grown = tuple(t + 2e-4 if i in (3, 4) else t for i, t in enumerate(two))
    assert overlap(*one, *grown).numpy()[narrow].all()
    assert (got == narrow).mean() > 0.998


def test_touching_contained_identical_and_degenerate() -> None:
    def hit(one: tuple[float, ...], two: tuple[float, ...]) -> bool:
        a, b = ([torch.tensor(v) for v in box] for box in (one, two))
        assert overlap(*a, *b) == overlap(*b, *a)
        return bool(overlap(*a, *b))

    unit = (0.0, 0.0, 0.0, 4.0, 2.0)
    assert hit(unit, unit)
    assert hit(unit, (4.0, 0.0, 0.0, 4.0, 2.0))  # bumper to bumper
    assert hit(unit, (0.0, 2.0, 0.0, 4.0, 2.0))  # side by side
    assert hit(unit, (4.0, 2.0, 0.0, 4.0, 2.0))  # corner to corner
    assert not hit(unit, (4.001, 0.0, 0.0, 4.0, 2.0))
    assert not hit(unit, (4.0, 2.001, 0.0, 4.0, 2.0))
    assert hit(unit, (0.5, 0.2, 1.0, 0.5, 0.5))  # contained
    assert hit(unit, (2.0, 1.0, 0.0, 0.0, 0.0))  # a point in the corner
    assert not hit(unit, (2.01, 1.0, 0.3, 0.0, 0.0))
    assert hit((1.0, 1.0, 0.4, 0.0, 0.0), (1.0, 1.0, 2.0, 0.0, 0.0))  # two equal points
    assert not hit((1.0, 1.0, 0.4, 0.0, 0.0), (1.0, 1.01, 2.0, 0.0, 0.0))
    assert hit((0.0, 0.0, 0.0, 4.0, 0.0), (1.0, 0.0, math.pi / 2, 2.0, 0.0))  # crossing segments
    assert not hit((0.0, 0.0, 0.0, 4.0, 0.0), (1.0, 1.5, math.pi / 2, 2.0, 0.0))
    assert not hit(unit, (3.0, 2.0, math.pi / 4, 2.0, 2.0))  # diamond beside the corner: bounding boxes overlap, boxes do not


def test_pairwise_equals_pairs_and_respects_masks() -> None:
    one = boxes(6 * 16, 5, 8.0)
    x, y, yaw, length, width = (t.reshape(6, 16).float() for t in one)
    valid = torch.rand(6, 16, generator=torch.Generator().manual_seed(0)) > 0.25
    hit = pairwise_overlap(x, y, yaw, length, width, valid)
    columns, rows = (x, y, yaw, length, width), []
    for i in range(16):
        rows.append(overlap(*(t[:, i, None] for t in columns), *columns) & valid[:, i, None] & valid)
        rows[-1][:, i] = False
    assert torch.equal(hit, torch.stack(rows, dim=1))
    assert hit.any()
    assert torch.equal(hit, hit.transpose(1, 2))
    assert not hit.diagonal(dim1=1, dim2=2).any()
    assert torch.equal(learner_overlap(x, y, yaw, length, width, valid, learners=3), hit[:, :3])


def test_invariant_under_rigid_motion_and_mirroring() -> None:
    one, two = boxes(2000, 21, 5.0), boxes(2000, 22, 5.0)
    base = overlap(*one, *two)
    turn, dx, dy = 0.7, 30.0, -12.0

    def moved(b: Boxes) -> Boxes:
        x, y, yaw, length, width = b
        return x * math.cos(turn) - y * math.sin(turn) + dx, x * math.sin(turn) + y * math.cos(turn) + dy, yaw + turn, length, width

    def mirrored(b: Boxes) -> Boxes:
        return b[0], -b[1], -b[2], b[3], b[4]

    assert torch.equal(overlap(*moved(one), *moved(two)), base)
    assert torch.equal(overlap(*mirrored(one), *mirrored(two)), base)


def test_corners_counter_clockwise_from_front_left() -> None:
    ring = corners(*(torch.tensor(v) for v in (1.0, 2.0, math.pi / 2, 4.0, 2.0)))
    assert_allclose(ring, [[0.0, 4.0], [0.0, 0.0], [2.0, 0.0], [2.0, 4.0]], atol=1e-6)
