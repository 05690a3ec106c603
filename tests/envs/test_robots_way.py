"""The way to the goal of `diff_drive_nav`, which a planner on the map tells: how far it is, where it leads, and what is made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from envs.robots import Robots, task_named
from envs.robots.room import BASE, HALF, HALVES, distance
from envs.robots.tasks.diff_drive_nav import FORWARD, NEAR, DiffDriveNav
from envs.robots.way import AHEAD, CELL, CLOSE, FADE, SIDE, Maps, between, chart, further, left, ways

AWAY = np.full((1, 5, 2), 50.0)  # no obstacles


def rooms(batch: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], Robots]:
    """Obstacles, goals and bases of the first episodes, and their worlds."""
    robots = Robots(task_named("diff_drive_nav"), batch=batch, threads=1)
    robots.reset(np.arange(batch))
    task = robots.task
    assert isinstance(task, DiffDriveNav)
    return task.places(robots.physics), task.goal(robots.physics), robots.physics.site("base")[:, :2].copy(), robots


def test_ways_lead_round_obstacles() -> None:
    """In an empty room about as far as the straight line; behind a box farther; in it there is none."""
    goal = np.array([3.0, 0.0])
    line = (np.arange(SIDE) + 0.5) * CELL - HALF
    x, y = np.meshgrid(line, line)
    straight = np.hypot(x - goal[0], y - goal[1])
    empty = ways(AWAY[0], goal)[0]
    inner = (np.abs(x) < 3.0) & (np.abs(y) < 3.0)
    assert (empty >= straight - CELL)[inner].all()
    assert (empty <= 1.06 * straight + 0.2)[inner].all()
    places = AWAY[0].copy()
    places[2] = 0.0  # a box of 0.6 m by 1.1 m in the middle
    around, room = ways(places, goal)
    row, column = SIDE // 2, int((-1.0 + HALF) / CELL)
    assert around[row, column] > empty[row, column] + 0.15
    assert around[row, SIDE // 2] > 20.0
    assert room[row, SIDE // 2] < 0.0


def test_the_way_round_a_column_is_two_tangents_and_an_arc() -> None:
    """Farther than a thread that is pulled tight round it, and no farther than one round a wider column, at the price of so close a way."""
    places, clear = AWAY.copy(), np.linspace(0.0, 0.5, 51)
    places[0, 1] = 0.0

    def thread(radius: Any, off: float) -> Any:
        """m, from one side to the other."""
        radius = np.minimum(radius, off)
        return 2.0 * np.sqrt(off**2 - radius**2) + radius * (np.pi - 2.0 * np.arccos(radius / off))

    radius, price = HALVES[1, 0] + BASE, 1.0 + CLOSE * np.exp(-clear / FADE)
    for off in (1.0, 2.0, 3.0):
        for angle in (0.0, 0.4, 0.8):
            at = off * np.array([[np.cos(angle), np.sin(angle)]])
            told = float(left(places, -at, at)[0])
            assert thread(radius, off) - CELL < told < 1.03 * (thread(radius + clear, off) * price).min() + 2.0 * CELL
            assert told > float(left(AWAY, -at, at)[0]) + 0.2


def test_between_cells_is_bilinear() -> None:
    rng = np.random.default_rng(0)
    rasters, which = rng.uniform(size=(4, SIDE, SIDE, 2)), np.array([3, 0, 3])
    x, y = rng.uniform(-3.9, 3.9, (2, 3, 5))
    told = between(rasters, x, y, which)
    assert told.shape == (3, 5, 2)
    for world, raster in enumerate(which):
        cells = (np.stack([y[world], x[world]]) + HALF) / CELL - 0.5
        for part in range(2):
            np.testing.assert_allclose(told[world, :, part], map_coordinates(rasters[raster, ..., part], cells, order=1), atol=1e-12)
    np.testing.assert_array_equal(between(rasters[which, ..., 0], x, y), told[..., 0])


def test_in_the_open_the_way_is_the_straight_line() -> None:
    rng = np.random.default_rng(1)
    goal, at = np.repeat(rng.uniform(-2.0, 2.0, (4, 2)), 50, axis=0), rng.uniform(-2.0, 2.0, (200, 2))
    places = np.repeat(AWAY, 200, axis=0)
    straight = np.sqrt(((goal - at) ** 2).sum(-1))
    place, far = further(places, goal, at), straight > AHEAD
    np.testing.assert_allclose(place[~far], goal[~far], atol=1e-9)
    gone = place[far] - at[far]
    np.testing.assert_allclose(np.sqrt((gone**2).sum(-1)), AHEAD, atol=0.01)
    across = ((goal - at)[far] * gone[:, ::-1] * [1.0, -1.0]).sum(-1) / straight[far]
    assert np.abs(across).max() < np.sin(np.radians(13.3))  # between two of the raster's sixteen directions
    told = left(places, goal, at)
    assert (told > straight - CELL).all()
    assert (told < 1.03 * straight + CELL).all()


def test_who_goes_where_the_way_leads_arrives_and_touches_nothing() -> None:
    """5 cm at a time towards the place that is told: it comes nearer by the way at every step, and turns smoothly."""
    places, goal, at, _ = rooms(16)
    heading, worst = np.full(16, np.nan), np.zeros(16)
    before = left(places, goal, at)
    for _ in range(260):
        to = further(places, goal, at) - at
        size = np.sqrt((to**2).sum(-1, keepdims=True))
        now = np.arctan2(to[:, 1], to[:, 0])
        open_ = np.sqrt(((goal - at) ** 2).sum(-1)) > NEAR
        turned = np.abs(np.arctan2(np.sin(now - heading), np.cos(now - heading)))
        worst, heading = np.fmax(worst, np.where(open_, turned, 0.0)), now
        at = at + open_[:, None] * 0.05 * to / np.maximum(size, 1e-9)
        told = left(places, goal, at)
        assert (told < before)[open_].all()
        before = told
        assert (distance(at[:, None], places)[:, 0] > BASE).all()
    assert np.sqrt(((goal - at) ** 2).sum(-1)).max() <= NEAR
    assert worst.max() < np.radians(6.0)


def test_the_mirrored_room_has_the_mirrored_way() -> None:
    places, goal, at, _ = rooms(8)
    mirror = np.array([1.0, -1.0])
    np.testing.assert_allclose(left(places * mirror, goal * mirror, at * mirror), left(places, goal, at), atol=1e-9)
    np.testing.assert_allclose(further(places * mirror, goal * mirror, at * mirror), further(places, goal, at) * mirror, atol=1e-9)


def test_what_is_kept_changes_no_answer() -> None:
    """With room for few maps, asked for again and again in other batches; what was given before is never written to."""
    places, goal, _, _ = rooms(6)
    maps, rng = Maps(kept=4), np.random.default_rng(0)
    true = [chart(*one) for one in zip(places, goal, strict=True)]
    given = []
    for _ in range(12):
        rows = rng.integers(0, 6, rng.integers(1, 3))
        charts, which = maps(places[rows], goal[rows])
        given.append((charts, which, rows))
        assert len(charts) <= 4
        assert len(maps.rows) <= len(maps.charts)
    for charts, which, rows in given:
        np.testing.assert_array_equal(charts[which], [true[row] for row in rows])
    assert len({id(charts) for charts, _, _ in given}) > 1


def test_progress_is_along_the_way() -> None:
    """The reward's term is what is left before less what is left after, adds up to what was gained, and has no jumps at walls."""
    places, goal, start, robots = rooms(8)
    task, physics, rng = robots.task, robots.physics, np.random.default_rng(0)
    assert isinstance(task, DiffDriveNav)
    first, total, push = left(places, goal, start), np.zeros(8), rng.uniform(-1.0, 1.0, (8, 2))
    push[:, 0] = 1.0
    for k in range(40):
        before = task.left(physics)
        step = robots.step(push * [1.0, 0.0 if k > 15 else 1.0])  # in a bow, then straight on, through whatever is there
        np.testing.assert_array_equal(step.terms["progress"], before - task.left(physics))
        clear = distance(physics.site("base")[:, None, :2], places)[:, 0] > BASE
        assert np.abs(step.terms["progress"])[clear].max(initial=0.0) < 1.6 * (1.0 + CLOSE) * FORWARD * robots.dt
        assert np.abs(step.terms["progress"]).max() < 1.0
        total += step.terms["progress"]
    np.testing.assert_allclose(total, first - task.left(physics), atol=1e-9)
    assert np.ptp(total) > 1.0


def test_the_place_is_told_as_the_base_sees_it() -> None:
    """Ahead and to the left; on every level the same, for the map is known."""
    places, goal, at, robots = rooms(4)
    axes = robots.physics.frame("base")[:, :2, :2]
    told = robots.observe()
    assert isinstance(told, np.ndarray)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", axes, told[:, 3:5]) + at, further(places, goal, at), atol=1e-5)
    np.testing.assert_allclose(told[:, 5], left(places, goal, at), rtol=1e-6)
    visible = Robots(task_named("diff_drive_nav"), batch=4, threads=1, observation="visible")
    visible.reset(np.arange(4))
    other = visible.observe()
    assert isinstance(other, np.ndarray)
    np.testing.assert_array_equal(other[:, :40], told[:, :40])
