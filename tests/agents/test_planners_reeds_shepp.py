"""Reeds-Shepp curves against closed forms, laws, and a numerical search that knows none of the formulas."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.planners.reeds_shepp import TURNS, Curve, best, cusps, length, poses_at, relative, words

Floats = NDArray[np.float64]


def pairs(count: int, reach: float, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-reach, reach, count), rng.uniform(-reach, reach, count), rng.uniform(-np.pi, np.pi, count)


def shortest(x: float, y: float, yaw: float, radius: float = 1.0) -> float:
    return float(best(np.array([x]), np.array([y]), np.array([yaw]), radius)[1][0])


def turned(angle: Floats) -> Floats:
    return np.abs(np.remainder(angle + np.pi, 2.0 * np.pi) - np.pi)


def driven(lengths: Floats, turns: Floats) -> Floats:
    """End pose of segments, by the equations of motion alone; radius 1, lengths and turns (..., 5)."""
    x = y = yaw = np.zeros(lengths.shape[:-1])
    for k in range(lengths.shape[-1]):
        s, turn = lengths[..., k], turns[..., k]
        to = yaw + s * turn
        straight = turn == 0
        x = x + np.where(straight, s * np.cos(yaw), np.where(straight, 0.0, turn * (np.sin(to) - np.sin(yaw))))
        y = y + np.where(straight, s * np.sin(yaw), turn * (np.cos(yaw) - np.cos(to)))
        yaw = to
    return np.stack([x, y, yaw], axis=-1)


@pytest.mark.parametrize(
    ("pose", "expected"),
    [
        ((5.0, 0.0, 0.0), 5.0),
        ((-5.0, 0.0, 0.0), 5.0),
        ((1.0, 1.0, np.pi / 2.0), np.pi / 2.0),  # a quarter circle
        ((1.0, -1.0, -np.pi / 2.0), np.pi / 2.0),
        ((-1.0, 1.0, -np.pi / 2.0), np.pi / 2.0),  # backwards
        ((0.0, 2.0, np.pi), np.pi),  # half a circle
        ((0.0, 0.0, np.pi), np.pi),  # on the spot: three arcs of 60 degrees
        ((2.0, 2.0, 0.0), np.pi),  # two quarter circles
    ],
)
def test_lengths_known_in_closed_form(pose: tuple[float, float, float], expected: float) -> None:
    assert shortest(*pose) == pytest.approx(expected, abs=1e-9)
    x, y, yaw = pose
    assert shortest(3.0 * x, 3.0 * y, yaw, radius=3.0) == pytest.approx(3.0 * expected, abs=1e-8)


def test_there_are_48_different_words_and_each_arrives() -> None:
    x, y, yaw = pairs(4000, 4.0)
    every = words(x, y, yaw, 1.0)
    assert every.shape == (48, 4000, 5)
    seen = set()
    for w, lengths in enumerate(every):
        there = np.isfinite(lengths).all(-1)
        assert there.any(), w
        end = driven(lengths[there], np.broadcast_to(TURNS[w], lengths[there].shape))
        np.testing.assert_allclose(end[:, 0], x[there], atol=1e-7)
        np.testing.assert_allclose(end[:, 1], y[there], atol=1e-7)
        assert turned(end[:, 2] - yaw[there]).max() < 1e-7
        full = lengths[there][(np.abs(lengths[there]) > 1e-3).sum(-1).argmax()]
        seen.add(tuple((int(turn), int(np.sign(s))) for turn, s in zip(TURNS[w], full, strict=True) if s))
    assert len(seen) == 48
    shown = {int(w) for w in length(every).argmin(0)}
    assert len(shown) >= 40  # nearly all of them are the shortest somewhere


def test_symmetries_of_the_shortest_length() -> None:
    """Mirrored, driven backwards, and from the goal to the start: the same length."""
    x, y, yaw = pairs(2000, 5.0, 1)
    plain = best(x, y, yaw, 1.0)[1]
    back = relative(x, y, yaw, np.zeros(1), np.zeros(1), np.zeros(1))
    for other in ((x, -y, -yaw), (-x, y, -yaw), (-x, -y, yaw), back, (x, y, yaw + 2.0 * np.pi)):
        np.testing.assert_allclose(best(*other, 1.0)[1], plain, atol=1e-6)


def test_a_curve_passes_through_its_poses_and_ends_at_the_goal() -> None:
    x, y, yaw = pairs(300, 12.0, 2)
    curve, cost = best(x, y, yaw, 4.5)
    s = np.linspace(0.0, 1.0, 400) * cost[:, None]
    px, py, pyaw, segment = poses_at(curve, s)
    np.testing.assert_allclose(px[:, -1], x, atol=1e-6)
    np.testing.assert_allclose(py[:, -1], y, atol=1e-6)
    assert turned(pyaw[:, -1] - yaw).max() < 1e-6
    step = np.hypot(np.diff(px), np.diff(py))
    assert (step <= np.diff(s) + 1e-9).all()  # a chord is no longer than its arc
    assert (np.abs(np.diff(pyaw)) <= np.diff(s) / 4.5 + 1e-9).all()  # never tighter than the radius
    assert (np.diff(segment) >= 0).all()
    heading = np.arctan2(np.diff(py), np.diff(px))
    inside = (np.diff(segment) == 0) & (step > 1e-6)
    gear = np.sign(np.take_along_axis(curve.lengths, segment, -1))[:, 1:]
    slip = turned(heading - pyaw[:, 1:] - np.where(gear < 0.0, np.pi, 0.0))
    assert slip[inside].max() < 0.1  # moves along its heading, or against it


def test_reversing_costs_what_it_is_said_to() -> None:
    x, y, yaw = pairs(500, 6.0, 3)
    curve, cost = best(x, y, yaw, 1.0, reverse=2.0, cusp=3.0)
    lengths = curve.lengths
    backwards = np.where(lengths < 0.0, -lengths, 0.0).sum(-1)
    np.testing.assert_allclose(cost, length(lengths) + backwards + 3.0 * cusps(lengths))
    assert (cost >= best(x, y, yaw, 1.0)[1] - 1e-9).all()
    assert cusps(lengths).mean() < cusps(best(x, y, yaw, 1.0)[0].lengths).mean()
    assert cusps(np.array([[1.0, 0.0, 2.0, -1.0, 0.0], [1.0, -1.0, 0.0, 0.0, 1.0]])).tolist() == [1, 2]


def test_never_longer_than_dubins_never_shorter_than_the_air_line() -> None:
    x, y, yaw = pairs(1000, 5.0, 4)
    plain = best(x, y, yaw, 1.0)[1]
    assert (plain >= np.hypot(x, y) - 1e-9).all()
    assert (plain >= turned(yaw) - 1e-9).all()
    dubins = np.min([_dubins(x, y, yaw, word) for word in itertools.product((1, -1), (1, 0, -1), (1, -1))], axis=0)
    assert np.isfinite(dubins).all()
    assert (plain <= dubins + 1e-7).all()
    assert (plain < dubins - 0.5).mean() > 0.2


def _dubins(x: Floats, y: Floats, yaw: Floats, word: tuple[int, int, int]) -> Floats:
    """Length of a forward path of two arcs with a line or an arc between them, from the centres of its circles; +inf: none. Radius 1."""
    a, middle, b = word
    if middle != 0 and (a != b or middle == a):
        return np.full_like(x, np.inf)
    dx, dy = x - b * np.sin(yaw), y + b * np.cos(yaw) - a  # from the first circle's centre to the last one's
    d, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    best_of = np.full_like(x, np.inf)
    with np.errstate(invalid="ignore"):
        if middle == 0:
            lean = np.zeros_like(d) if a == b else np.arcsin(2.0 * a / d)
            straight = d if a == b else np.sqrt(d * d - 4.0)
            t = np.remainder(a * (angle + lean), 2.0 * np.pi)
            v = np.remainder(b * (yaw - a * t), 2.0 * np.pi)
            total = t + straight + v
            return np.where(np.isfinite(total), total, np.inf)
        for side in (1.0, -1.0):
            opening = np.arccos(0.25 * d)  # between the line of centres and that to the middle circle
            normal = angle + side * opening  # from the first centre to the middle one
            t = np.remainder(a * (normal + a * 0.5 * np.pi), 2.0 * np.pi)
            mx, my = 2.0 * np.cos(normal), 2.0 * np.sin(normal)
            out = np.arctan2(dy - my, dx - mx)
            u = np.remainder(middle * (out - normal - np.pi), 2.0 * np.pi)
            v = np.remainder(b * (yaw - a * t - middle * u), 2.0 * np.pi)
            total = t + u + v
            best_of = np.where(np.isfinite(total), np.minimum(best_of, total), best_of)
    return best_of


# an independent oracle: words as the theorem states them, solved numerically

PATTERNS = [  # (turns, signs) of the base words; q: a quarter turn, =: as long as the segment before
    ("LSL", "+++"), ("LSR", "+++"), ("LRL", "+-+"), ("LRL", "+--"), ("LRL", "++-"), ("LRLR", "++=-"), ("LRLR", "+-~+"), ("LRSL", "+q--"),
    ("LRSR", "+q--"), ("LSRL", "--q+"), ("RSRL", "--q+"), ("LRSLR", "+q-q+"),
]  # fmt: skip


def _built(pattern: tuple[str, str], free: Floats) -> tuple[Floats, Floats]:
    """Signed lengths and turns (..., 5) of a base word with free lengths (..., 3)."""
    lengths, turns, k = np.zeros((*free.shape[:-1], 5)), np.zeros(5), 0
    for i, (turn, sign) in enumerate(zip(*pattern, strict=True)):
        turns[i] = {"L": 1.0, "S": 0.0, "R": -1.0}[turn]
        if sign == "q":
            lengths[..., i] = -np.pi / 2.0
        elif sign in "=~":
            lengths[..., i] = -lengths[..., i - 1] if sign == "=" else lengths[..., i - 1]
        else:
            lengths[..., i] = free[..., k] if sign == "+" else -free[..., k]
            k += 1
    return lengths, turns


def _searched(x: Floats, y: Floats, yaw: Floats) -> Floats:
    """The shortest of all words to each pose (N,), by Newton's method with damping from a grid of starting points; radius 1."""
    found = np.full_like(x, np.inf)
    for flip, mirror in itertools.product((1.0, -1.0), (1.0, -1.0)):
        goal = np.stack([flip * x, mirror * y, flip * mirror * yaw], axis=-1)[:, None]  # (N, 1, 3)
        for pattern in PATTERNS:
            reach = [np.linspace(0.1, 7.0 if "S" in pattern[0] and i == _line(pattern) else 3.0, 5) for i in range(3)]
            free = np.broadcast_to(np.stack(np.meshgrid(*reach), axis=-1).reshape(1, -1, 3), (len(x), 125, 3))
            for _ in range(25):
                miss = _miss(pattern, free, goal)
                columns = [(_miss(pattern, free + 1e-6 * unit, goal) - miss) / 1e-6 for unit in np.eye(3)]
                slope = np.stack(columns, axis=-1) + 1e-9 * np.eye(3)
                free = free - np.clip(np.linalg.solve(slope, miss[..., None])[..., 0], -0.5, 0.5)
            right = (np.abs(_miss(pattern, free, goal)).max(-1) < 1e-8) & (free > -1e-8).all(-1)
            total = np.abs(_built(pattern, free)[0]).sum(-1)
            found = np.minimum(found, np.where(right, total, np.inf).min(-1))
    return found


def _miss(pattern: tuple[str, str], free: Floats, goal: Floats) -> Floats:
    """By how much a word ends beside the goal."""
    lengths, turns = _built(pattern, free)
    gap: Floats = driven(lengths, np.broadcast_to(turns, lengths.shape)) - goal
    gap[..., 2] = np.remainder(gap[..., 2] + np.pi, 2.0 * np.pi) - np.pi
    return gap


def _line(pattern: tuple[str, str]) -> int:
    """Which free length is that of the line."""
    before = pattern[1][: pattern[0].index("S")]
    return sum(sign in "+-" for sign in before)


def test_no_word_found_by_search_is_shorter_and_the_shortest_is_found() -> None:
    x, y, yaw = pairs(12, 3.0, 5)
    np.testing.assert_allclose(best(x, y, yaw, 1.0)[1], _searched(x, y, yaw), atol=1e-6)


def test_many_at_once_are_as_one_by_one() -> None:
    x, y, yaw = pairs(20, 8.0, 6)
    whole: Curve = best(x, y, yaw, 4.5)[0]
    for b in range(20):
        one = best(x[b], y[b], yaw[b], 4.5)[0]
        assert np.array_equal(one.lengths, whole.lengths[b])
        assert np.array_equal(one.turns, whole.turns[b])


def test_a_radius_has_to_be_positive() -> None:
    with pytest.raises(ValueError, match=r"radius=0\.0: must be positive"):
        words(np.zeros(1), np.zeros(1), np.zeros(1), 0.0)
