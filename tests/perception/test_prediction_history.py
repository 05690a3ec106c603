"""The history follows tracks by id through rows and through the ego's motion."""

from __future__ import annotations

import math

import numpy as np
import torch

from perception.prediction.examples import tracks_from
from perception.prediction.history import PAST, History, empty_history, update_history
from perception.types import Tracks

DT = 0.2  # s


def world_tracks(step: int, ego: tuple[float, float, float], order: list[int]) -> Tracks:
    """Three agents on straight lines in the world, as seen from the ego's pose, in rows as `order` says."""
    start = np.array([[10.0, 2.0], [-5.0, 7.0], [30.0, -4.0]])
    velocity = np.array([[3.0, 0.5], [-1.0, 2.0], [0.0, 8.0]])
    ex, ey, yaw = ego
    turn = np.array([[math.cos(yaw), math.sin(yaw)], [-math.sin(yaw), math.cos(yaw)]])
    place = (start + velocity * DT * step - [ex, ey]) @ turn.T
    speed = velocity @ turn.T
    mean = torch.tensor(np.concatenate([place, speed], axis=1)[order], dtype=torch.float32)[None]
    heading = torch.tensor(np.arctan2(speed[:, 1], speed[:, 0])[order], dtype=torch.float32)[None]
    ids = torch.tensor([[100, 200, 300]])[:, order]
    return tracks_from(torch.zeros(1, 3, dtype=torch.int64), mean, heading, torch.ones(1, 3, 3), torch.ones(1, 3, dtype=torch.bool), ids)


def drive(steps: int, orders: list[list[int]]) -> tuple[History, Tracks]:
    """The ego drives on an arc; its pose at each step is exact."""
    history, before = empty_history(1, 3), (0.0, 0.0, 0.0)
    tracks = world_tracks(0, before, orders[0])
    for step in range(steps):
        yaw = 0.15 * step
        ego = (20.0 * math.sin(yaw), 20.0 * (1.0 - math.cos(yaw)), yaw)
        c, s = math.cos(before[2]), math.sin(before[2])
        dx, dy = ego[0] - before[0], ego[1] - before[1]
        motion = torch.tensor([[dx * c + dy * s, dy * c - dx * s, ego[2] - before[2]]])
        tracks = world_tracks(step, ego, orders[step % len(orders)])
        history = update_history(history, tracks, motion, torch.tensor([step * DT]), torch.tensor([15.0]))
        before = ego
    return history, tracks


def test_straight_tracks_stay_straight_while_rows_change_and_the_ego_turns() -> None:
    history, tracks = drive(12, [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]])
    assert history.valid.all()
    back = history.stamp - history.stamp[:, -1:]
    torch.testing.assert_close(back, (torch.arange(1 - PAST, 1) * DT)[None], atol=1e-5, rtol=0.0)
    expected_x = tracks.mean[..., 0:1] + tracks.mean[..., 2:3] * back[:, None]
    expected_y = tracks.mean[..., 1:2] + tracks.mean[..., 3:4] * back[:, None]
    torch.testing.assert_close(history.x, expected_x, atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(history.y, expected_y, atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(history.vx, tracks.mean[..., 2:3].expand_as(history.vx), atol=1e-4, rtol=1e-5)
    turned = torch.remainder(history.yaw - tracks.yaw.unsqueeze(2) + math.pi, 2 * math.pi) - math.pi
    assert turned.abs().max() < 1e-4


def test_the_ego_past_lies_on_its_arc() -> None:
    history, _ = drive(12, [[0, 1, 2]])
    radius = torch.hypot(history.ego[0, :, 0], history.ego[0, :, 1] - 20.0)  # the centre of the arc is 20 m to the left
    torch.testing.assert_close(radius, torch.full((PAST,), 20.0), atol=1e-3, rtol=0.0)
    torch.testing.assert_close(history.ego[0, :, 4], torch.arange(1 - PAST, 1) * 0.15, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(torch.hypot(history.ego[0, :, 2], history.ego[0, :, 3]), torch.full((PAST,), 15.0), atol=1e-4, rtol=0.0)


def test_a_new_id_has_no_past_and_a_coasting_track_leaves_a_gap() -> None:
    history, tracks = drive(10, [[0, 1, 2]])
    new = tracks._replace(id=torch.tensor([[100, 999, 300]]), unseen=torch.tensor([[0, 0, 2]]))
    history = update_history(history, new, torch.zeros(1, 3), torch.tensor([2.0]), torch.tensor([0.0]))
    assert history.valid[0, 0].all()
    assert history.valid[0, 1].tolist() == [False] * (PAST - 1) + [True]
    assert history.valid[0, 2].tolist() == [True] * (PAST - 1) + [False]
