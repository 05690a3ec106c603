"""Curves against closed forms: circles, Fresnel integrals, fillets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import fresnel

from scenarios.roads.geometry import comfortable_speed, fillet, join, rectangle, trace, trace_back, turned


def test_arc_lies_on_its_circle() -> None:
    line = trace((3.0, -2.0, 0.0), [(25.0, 0.05, 0.05)])
    np.testing.assert_allclose(np.hypot(*(line.points - [3.0, 18.0]).T), 20.0, atol=1e-9)
    assert line.end[2] == pytest.approx(1.25)
    assert line.length == pytest.approx(25.0)


def test_clothoid_is_the_fresnel_integral() -> None:
    length, sharpest = 60.0, 0.02
    line = trace((0.0, 0.0, 0.0), [(length, 0.0, sharpest)])
    scale = np.sqrt(np.pi * length / sharpest)  # s = scale * t
    sine, cosine = fresnel(line.s / scale)
    np.testing.assert_allclose(line.points, scale * np.stack([cosine, sine], axis=-1), atol=1e-6)


def test_tracing_back_ends_where_asked() -> None:
    pieces = [(30.0, 0.0, 0.01), (20.0, 0.01, 0.01), (15.0, 0.01, -0.02)]
    end = (5.0, 7.0, 0.4)
    line = trace_back(end, pieces)
    assert line.end == pytest.approx(end)
    np.testing.assert_allclose(trace(line.start, pieces).points[-1], end[:2], atol=1e-6)


def test_parallel_curve_keeps_its_distance_and_true_length() -> None:
    line = trace((0.0, 0.0, 1.0), [(40.0, 0.02, 0.02)])
    for d in (-3.5, 3.5):
        beside = line.moved(d)
        assert beside.length == pytest.approx(40.0 * (1.0 - 0.02 * d), rel=1e-6)
        np.testing.assert_allclose(np.hypot(*(beside.points - line.points).T), 3.5)


def test_fillet_of_a_right_angle_is_an_arc_of_the_shorter_arm() -> None:
    line = fillet((0.0, 0.0, 0.0), (10.0, 15.0, np.pi / 2.0))
    assert line.end == pytest.approx((10.0, 15.0, np.pi / 2.0))
    assert line.length == pytest.approx(10.0 * np.pi / 2.0 + 5.0)
    np.testing.assert_allclose(np.hypot(*(line.points[line.points[:, 1] < 10.0] - [0.0, 10.0]).T), 10.0, atol=1e-9)


@pytest.mark.parametrize("end", [(-10.0, 0.0, 0.0), (10.0, 3.0, 0.0), (10.0, -15.0, np.pi / 2.0)])
def test_fillet_refuses_what_one_turn_cannot_join(end: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="cannot be joined by one turn"):
        fillet((0.0, 0.0, 0.0), end)


def test_joining_needs_contact() -> None:
    first = trace((0.0, 0.0, 0.0), [(10.0, 0.0, 0.0)])
    both = join(first, trace(first.end, [(10.0, 0.1, 0.1)]))
    assert both.length == pytest.approx(20.0)
    assert (np.diff(both.s) > 0.0).all()
    with pytest.raises(ValueError, match=r"gap of 1\.000 m"):
        join(first, trace((11.0, 0.0, 0.0), [(10.0, 0.0, 0.0)]))


def test_pieces_need_a_length() -> None:
    with pytest.raises(ValueError, match="longer than 0"):
        trace((0.0, 0.0, 0.0), [(0.0, 0.0, 0.0)])


def test_turning_there_and_back() -> None:
    line = trace((1.0, 2.0, 0.3), [(20.0, 0.0, 0.03)])
    np.testing.assert_allclose(turned(turned(line, 0.7), -0.7).points, line.points, atol=1e-12)
    np.testing.assert_allclose(turned(line, np.pi / 2.0).points, np.stack([-line.points[:, 1], line.points[:, 0]], axis=-1), atol=1e-12)


def test_rectangle_and_comfortable_speed() -> None:
    corners = rectangle(1.0, 2.0, np.pi / 2.0, 4.0, 2.0)
    np.testing.assert_allclose(corners, [[2.0, 0.0], [2.0, 4.0], [0.0, 4.0], [0.0, 0.0]], atol=1e-12)
    assert comfortable_speed(10.0, 50.0) == pytest.approx(5.0)
    assert comfortable_speed(-1000.0, 20.0) == 20.0
