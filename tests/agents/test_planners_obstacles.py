"""Boxes of tracks whose place is not known exactly: nobody is where the ego is, and who lets it go has stopped out of its way."""

from __future__ import annotations

import pytest
import torch

from agents.planners.base import Scene
from agents.planners.obstacles import DOUBT, LEAST, Obstacles, obstacles
from scenarios.roads import ROADS
from tests.agents.planner_scenes import a_scene

T = torch.tensor


def believed(x: float, y: float, yaw: float, sigma: tuple[float, float]) -> Scene:
    """A standing car of 4.6 by 1.85 m, believed there with these standard deviations along the ego's axes; the ego is as large."""
    network = ROADS["straight"]().build()
    scene = a_scene(network, ("main.0", 50.0, 0.0), "through", ("main.0", 70.0, 0.0))
    covariance = torch.zeros(1, 1, 4, 4)
    covariance[..., 0, 0], covariance[..., 1, 1] = sigma[0] ** 2, sigma[1] ** 2
    mean = T([[[x, y, 0.0, 0.0]]])
    forecasts = scene.forecasts
    return scene._replace(
        tracks=scene.tracks._replace(mean=mean, yaw=T([[yaw]]), covariance=covariance),
        forecasts=forecasts._replace(
            mean=mean[:, :, None, None, :2].expand_as(forecasts.mean).contiguous(),
            covariance=covariance[:, :, None, None, :2, :2].expand_as(forecasts.covariance).contiguous(),
        ),
    )


def boxes(scene: Scene, *, stays: bool) -> Obstacles:
    nobody = torch.zeros_like(scene.tracks.mask)
    return obstacles(scene, nobody, torch.full_like(nobody, stays), every=True)


@pytest.mark.parametrize(("x", "y", "yaw"), [(2.1, -1.2, 0.5), (1.8, 0.7, -0.7), (0.4, 1.5, 1.57), (-2.5, 0.2, 3.0)])
def test_who_is_believed_inside_the_ego_is_further_away_on_the_same_line_of_sight(x: float, y: float, yaw: float) -> None:
    scene = believed(x, y, yaw, (2.0, 2.0))
    there = boxes(scene, stays=False)
    mx, my = float(there.x[0, 0, 0]), float(there.y[0, 0, 0])
    assert mx * y == pytest.approx(my * x, abs=1e-4) and mx * x + my * y > 0.0
    reach_x = 2.3 + 2.3 * abs(torch.cos(T(yaw))) + 0.925 * abs(torch.sin(T(yaw)))
    reach_y = 0.925 + 2.3 * abs(torch.sin(T(yaw))) + 0.925 * abs(torch.cos(T(yaw)))
    # by just as much as parts the rectangles
    assert min(float(abs(abs(mx) - reach_x)), float(abs(abs(my) - reach_y))) < 1e-3
    assert float((there.x - mx).abs().amax()) < 1e-4  # all its future


def test_boxes_move_by_no_more_than_the_doubt_allows() -> None:
    sure = boxes(believed(2.1, -1.2, 0.5, (0.0, 0.0)), stays=False)
    assert float(sure.x[0, 0, 0]) == pytest.approx(2.1) and float(sure.y[0, 0, 0]) == pytest.approx(-1.2)
    little = boxes(believed(2.1, -1.2, 0.5, (0.1, 0.1)), stays=False)
    assert torch.hypot(little.x[0, 0, 0] - 2.1, little.y[0, 0, 0] + 1.2) == pytest.approx(0.3 * 2.0**0.5, rel=1e-4)
    beside = boxes(believed(0.0, 3.5, 0.0, (2.0, 2.0)), stays=False)  # no overlap
    assert float(beside.y[0, 0, 0]) == pytest.approx(3.5)


@pytest.mark.parametrize(("yaw", "along", "across"), [(0.0, 0.5, 0.3), (torch.pi / 2, 0.3, 0.5)])
def test_who_lets_the_ego_go_is_smaller_by_what_is_not_known_of_him(yaw: float, along: float, across: float) -> None:
    there = boxes(believed(9.0, 2.0, yaw, (0.5, 0.3)), stays=True)
    assert float(there.half_length[0, 0]) == pytest.approx(2.3 - along, abs=1e-4)
    assert float(there.half_width[0, 0]) == pytest.approx(0.925 - across, abs=1e-4)
    assert float(there.xx.abs().amax()) == float(there.yy.abs().amax()) == 0.0
    others = boxes(believed(9.0, 2.0, yaw, (0.5, 0.3)), stays=False)
    assert float(others.half_length[0, 0]) == pytest.approx(2.3) and float(others.xx.amin()) == pytest.approx(0.25, rel=1e-4)


def test_he_does_not_vanish_whatever_the_doubt() -> None:
    there = boxes(believed(9.0, 2.0, 0.0, (7.0, 7.0)), stays=True)
    assert float(there.half_length[0, 0]) == pytest.approx(2.3 - DOUBT) and float(there.half_width[0, 0]) == pytest.approx(LEAST)
