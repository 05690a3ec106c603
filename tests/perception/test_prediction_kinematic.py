"""Kinematic predictors against closed forms and scipy; rows do not depend on the batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from perception.prediction.base import STEP, STEPS, WALKERS, Predictor, at_times, horizon, no_roads
from perception.prediction.examples import tracks_from
from perception.prediction.history import PAST, History, empty_history
from perception.prediction.kinematic import ConstantVelocity, TurnRate, turn_rate
from perception.prediction.lane_following import ACCEL, DECEL, GAP, HEADWAY, WIDTH, LaneFollowing
from perception.types import Forecasts, Roads, Tracks

TIME = np.arange(1, STEPS + 1) * STEP


def cars(mean: torch.Tensor, yaw: torch.Tensor, kind: int = 0) -> Tracks:
    """mean (B, T, 4)"""
    shape = mean.shape[:2]
    size = torch.tensor([4.6, 1.85, 1.5]).expand(*shape, 3)
    return tracks_from(torch.full(shape, kind), mean, yaw, size, torch.ones(shape, dtype=torch.bool))


def arc(rate: float, speed: float, dt: float = 0.2) -> tuple[History, Tracks]:
    """One car on a circle, seen PAST times."""
    t = torch.arange(1 - PAST, 1) * dt
    yaw = 0.3 + rate * t
    r = speed / rate
    x, y = 5.0 + r * (torch.sin(yaw) - math.sin(0.3)), -2.0 - r * (torch.cos(yaw) - math.cos(0.3))
    vx, vy = speed * torch.cos(yaw), speed * torch.sin(yaw)
    tracks = cars(torch.stack([x[-1:], y[-1:], vx[-1:], vy[-1:]], dim=-1)[None], yaw[None, -1:])
    history = empty_history(1, 1)._replace(
        id=tracks.id, **{name: value[None, None] for name, value in (("x", x), ("y", y), ("vx", vx), ("vy", vy), ("yaw", yaw))}
    )
    return history._replace(valid=torch.ones(1, 1, PAST, dtype=torch.bool), stamp=t[None]), tracks


def straight_road(length: float, limit: float, pieces: int = 8, points: int = 10) -> Roads:
    """A road along +x that begins at x = -10, in equal pieces."""
    xs = torch.linspace(-10.0, length, pieces * (points - 1) + 1)
    line = torch.stack([xs, torch.zeros_like(xs), torch.ones_like(xs), torch.zeros_like(xs)], dim=-1)
    parts = torch.stack([line[i * (points - 1) : (i + 1) * (points - 1) + 1] for i in range(pieces)])[None]
    onward = torch.full((1, pieces, 3), -1)
    onward[0, :-1, 0] = torch.arange(1, pieces)
    return Roads(
        parts, torch.full((1, pieces), limit), torch.zeros(1, pieces, dtype=torch.int64), onward, torch.ones(1, pieces, dtype=torch.bool)
    )


def test_constant_velocity_is_a_straight_line() -> None:
    tracks = cars(torch.tensor([[[1.0, 2.0, 3.0, -4.0]]]), torch.zeros(1, 1))
    forecasts = ConstantVelocity().predict(empty_history(1, 1), tracks, no_roads(1))
    expected = np.stack([1.0 + 3.0 * TIME, 2.0 - 4.0 * TIME], axis=-1)
    np.testing.assert_allclose(forecasts.mean[0, 0, 0].numpy(), expected, rtol=1e-6)
    assert forecasts.probability[0, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    covariance = forecasts.covariance[0, 0, 0].double()
    along, across = torch.tensor([0.6, -0.8], dtype=torch.float64), torch.tensor([0.8, 0.6], dtype=torch.float64)
    for axis in (along, across):  # the axes of every ellipse
        length = covariance @ axis @ axis
        torch.testing.assert_close(covariance @ axis, length[:, None] * axis, atol=1e-4, rtol=1e-4)
        assert (length > 0).all() and (length[1:].diff() > 0).all()


@pytest.mark.parametrize("rate", [0.4, -0.25])
def test_a_circle_is_continued_as_a_circle(rate: float) -> None:
    history, tracks = arc(rate, 8.0)
    measured = turn_rate(history)
    spread = float(((history.stamp[0] - history.stamp[0].mean()) ** 2).sum())
    assert float(measured) == pytest.approx(rate * spread / (spread + 0.02), rel=1e-4)  # shrunk by YAW_NOISE, as documented
    w = float(measured)
    yaw0, r = float(tracks.yaw), 8.0 / w
    x = float(tracks.mean[0, 0, 0]) + r * (np.sin(yaw0 + w * TIME) - np.sin(yaw0))
    y = float(tracks.mean[0, 0, 1]) - r * (np.cos(yaw0 + w * TIME) - np.cos(yaw0))
    forecasts = TurnRate().predict(history, tracks, no_roads(1))
    np.testing.assert_allclose(forecasts.mean[0, 0, 0].numpy(), np.stack([x, y], axis=-1), atol=1e-3)


def test_people_and_the_slow_are_not_taken_to_turn() -> None:
    history, tracks = arc(0.5, 8.0)
    straight = ConstantVelocity().predict(history, tracks, no_roads(1)).mean
    walker = tracks._replace(kind=torch.full_like(tracks.kind, WALKERS))
    torch.testing.assert_close(TurnRate().predict(history, walker, no_roads(1)).mean, straight)


def test_idm_alone_follows_its_equation() -> None:
    tracks = cars(torch.tensor([[[0.0, 0.0, 6.0, 0.0]]]), torch.zeros(1, 1))
    forecasts = LaneFollowing().predict(empty_history(1, 1), tracks, straight_road(250.0, 15.0))
    exact = solve_ivp(lambda _, z: [z[1], ACCEL * (1.0 - (z[1] / 15.0) ** 4)], (0.0, 5.0), [0.0, 6.0], t_eval=TIME, rtol=1e-8)
    np.testing.assert_allclose(forecasts.mean[0, 0, 0, :, 0].numpy(), exact.y[0], atol=0.15)
    assert forecasts.mean[0, 0, 0, :, 1].abs().max() < 1e-4
    np.testing.assert_allclose(forecasts.mean[0, 0, 3, :, 0].numpy(), 6.0 * TIME, atol=1e-4)  # mode 3 keeps the speed


def test_idm_keeps_its_distance_to_the_leader() -> None:
    tracks = cars(torch.tensor([[[0.0, 0.0, 12.0, 0.0], [30.0, 0.2, 4.0, 0.0], [15.0, 6.0, 0.0, 0.0]]]), torch.zeros(1, 3))
    forecasts = LaneFollowing().predict(empty_history(1, 3), tracks, straight_road(250.0, 15.0))

    def motion(t: float, z: np.ndarray) -> list[float]:
        gap = max(30.0 - 4.6 + 4.0 * t - z[0], 0.1)
        wanted = GAP + max(0.0, z[1] * HEADWAY + z[1] * (z[1] - 4.0) / (2.0 * math.sqrt(ACCEL * DECEL)))
        return [z[1], max(ACCEL * (1.0 - (z[1] / 15.0) ** 4 - (wanted / gap) ** 2), -8.0)]

    exact = solve_ivp(motion, (0.0, 5.0), [0.0, 12.0], t_eval=TIME, rtol=1e-8, max_step=0.05)
    np.testing.assert_allclose(forecasts.mean[0, 0, 0, :, 0].numpy(), exact.y[0], atol=0.5)


def test_lanes_bend_the_path_and_the_off_road_go_straight() -> None:
    angle = torch.linspace(0.0, 2.0, 73)  # a bend to the left of 40 m radius
    line = torch.stack([40.0 * torch.sin(angle), 40.0 * (1 - torch.cos(angle)), torch.cos(angle), torch.sin(angle)], dim=-1)
    road = straight_road(100.0, 10.0)._replace(points=torch.stack([line[i * 9 : i * 9 + 10] for i in range(8)])[None])
    tracks = cars(torch.tensor([[[0.0, 1.0, 10.0, 0.0], [0.0, -20.0, 10.0, 0.0]]]), torch.zeros(1, 2))
    mean = LaneFollowing().predict(empty_history(1, 2), tracks, road).mean[0]
    radius = torch.hypot(mean[0, 3, :, 0], mean[0, 3, :, 1] - 40.0)  # 1 m inside the bend at first, on the centreline after 2 s
    torch.testing.assert_close(radius[4:], torch.full((6,), 40.0), atol=0.05, rtol=0.0)
    assert mean[1, 0, -1].tolist() == [50.0, -20.0]


def changing(offset: float, across: float, sigma: float = 0.0, along: float = 15.0) -> list[float]:
    """Metres beside the middle of a straight lane at the steps of a forecast."""
    tracks = cars(torch.tensor([[[0.0, offset, along, across]]]), torch.zeros(1, 1))
    covariance = sigma**2 * torch.eye(4).view(1, 1, 4, 4)
    tracks = tracks._replace(covariance=covariance)
    forecasts = LaneFollowing(changes=True).predict(empty_history(1, 1), tracks, straight_road(250.0, 15.0))
    return [float(y) for y in forecasts.mean[0, 0, 3, :, 1]]


def test_who_moves_away_from_the_middle_of_his_lane_goes_on_to_the_next() -> None:
    np.testing.assert_allclose(changing(0.3, 0.9), np.minimum(0.3 + 0.9 * TIME, WIDTH), atol=1e-3)
    np.testing.assert_allclose(changing(-0.3, -0.9), -np.minimum(0.3 + 0.9 * TIME, WIDTH), atol=1e-3)
    stays = LaneFollowing().predict(
        empty_history(1, 1), cars(torch.tensor([[[0.0, 0.3, 15.0, 0.9]]]), torch.zeros(1, 1)), straight_road(250.0, 15.0)
    )
    assert float(stays.mean[0, 0, 3, 4:, 1].abs().amax()) < 1e-3  # not asked for


@pytest.mark.parametrize(
    ("offset", "across", "sigma", "along"), [(0.3, 0.4, 0.0, 15.0), (-1.0, 0.9, 0.0, 15.0), (0.3, 0.9, 0.3, 15.0), (0.3, 0.9, 0.0, 4.0)]
)
def test_drifting_coming_back_doubtful_and_slow_is_no_lane_change(offset: float, across: float, sigma: float, along: float) -> None:
    assert max(abs(y) for y in changing(offset, across, sigma, along)[4:]) < 1e-3


def scene(batch: int) -> tuple[History, Tracks, Roads]:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    tracks = cars(draw(batch, 5, 4) * 10.0, draw(batch, 5))
    history = empty_history(batch, 5)._replace(id=tracks.id, yaw=draw(batch, 5, PAST), valid=draw(batch, 5, PAST) > -0.5)
    history = history._replace(stamp=(torch.arange(1 - PAST, 1) * 0.1).expand(batch, PAST))
    roads = Roads(*(column.expand(batch, *column.shape[1:]).contiguous() for column in straight_road(120.0, 12.0)))
    return history, tracks, roads


@pytest.mark.parametrize("predictor", [ConstantVelocity(), TurnRate(), LaneFollowing()], ids=lambda p: p.name)
def test_rows_are_bitwise_those_of_a_batch_of_one(predictor: Predictor) -> None:
    history, tracks, roads = scene(7)
    whole = predictor.predict(history, tracks, roads)
    for b in range(7):
        one = predictor.predict(
            *(type(part)(*(column[b : b + 1] for column in part)) for part in (history, tracks, roads))  # type: ignore[arg-type]
        )
        for name in Forecasts._fields[1:]:
            assert torch.equal(getattr(one, name)[0].nan_to_num(), getattr(whole, name)[b].nan_to_num()), (b, name)
    torch.testing.assert_close(whole.probability.sum(-1), torch.ones(7, 5))


def test_forecasts_at_other_times_lie_between_the_steps() -> None:
    tracks = cars(torch.tensor([[[1.0, 0.0, 2.0, 1.0]]]), torch.zeros(1, 1))
    forecasts = ConstantVelocity().predict(empty_history(1, 1), tracks, no_roads(1))
    times = torch.tensor([0.2, 0.4, 0.5, 4.8])
    between = at_times(forecasts, tracks, times)
    torch.testing.assert_close(between.mean[0, 0, 0], torch.stack([1.0 + 2.0 * times, times], dim=-1))
    torch.testing.assert_close(between.covariance[0, 0, 0, 2], forecasts.covariance[0, 0, 0, 0])
    assert torch.equal(horizon(times), forecasts.time)
