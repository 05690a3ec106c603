"""From intent to wheels: following lanes, changing them, manoeuvres, and plans tracked through bends, to rest and in reverse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
import torch

from envs.driving.control import FASTER, KEEP, LEFT, RIGHT, SHIFT_SLOPE, SLOWER, TRAJECTORY_DT, TRAJECTORY_POINTS
from envs.driving.sim import DrivingSim
from scenarios.episode import Action, Role, Script, Trigger
from scenarios.kinds import Kind
from scenarios.network import Lane, LaneEnd, LaneType, RoadNetwork
from scenarios.roads import ROADS


def road(lanes: int = 2, length: float = 1000.0, limit: float = 20.0) -> RoadNetwork:
    """Straight lanes along +x, 3.5 m apart."""
    return RoadNetwork(
        lanes=tuple(
            Lane(
                id=f"main.{i}",
                centre=np.array([[0.0, 3.5 * i], [length, 3.5 * i]]),
                speed_limit=limit,
                end=LaneEnd.EXIT,
                left=f"main.{i + 1}" if i + 1 < lanes else None,
                right=f"main.{i - 1}" if i else None,
            )
            for i in range(lanes)
        )
    )


def field() -> RoadNetwork:
    """A lane in the middle of a large square of asphalt."""
    lane = Lane(id="a", centre=np.array([[-90.0, 0.0], [90.0, 0.0]]), speed_limit=20.0, end=LaneEnd.EXIT)
    return RoadNetwork(lanes=(lane,), areas=(np.array([[-95.0, -95.0], [95.0, -95.0], [95.0, 95.0], [-95.0, 95.0]]),))


TWO, FIELD = road(), field()


@pytest.mark.parametrize(
    ("kind", "room"),
    [("roundabout", 0.3), ("junction", 0.25), ("loop", 0.2), ("straight", 0.1), ("highway", 0.05), ("exit", 0.15), ("crossing", 0.05)],
)
def test_the_traffic_model_keeps_to_its_lane(kind: str, room: float, agent: Any, stage: Any) -> None:
    """One car on each lane, at the lane's limit: shapely's distance from the lanes' centrelines. No box ever leaves its lane."""
    network = ROADS[kind]().build()
    ego = agent(None, x=900.0, y=900.0, role=Role.STATIC)
    starts = [lane for lane in network.lanes if lane.type in (LaneType.DRIVE, LaneType.JUNCTION) and lane.end == LaneEnd.CONTINUE]
    starts = starts or list(network.lanes)
    goals = list(network.destinations)
    worlds = [[ego, agent(lane.id, 0.2, min(lane.speed_limit, 20.0), destination=goals[i % len(goals)])] for i, lane in enumerate(starts)]
    sim = stage(network, worlds)
    centres = [shapely.LineString(lane.centre) for lane in network.lanes]
    worst, reported = 0.0, 0.0
    for _ in range(120):
        sim.step(torch.zeros(len(worlds), 1, 2))
        state = sim.state
        for b in state.valid[:, 1].nonzero().flatten().tolist():
            line = centres[int(state.lane[b, 1])]
            place = shapely.Point(float(state.x[b, 1]), float(state.y[b, 1]))
            if 0.3 < line.project(place) < line.length - 0.3:
                worst = max(worst, line.distance(place))
                reported = max(reported, abs(abs(float(state.d[b, 1])) - line.distance(place)))
    assert worst < room
    assert reported < 0.06  # what the state says about d is true


@pytest.mark.parametrize("speed", [6.0, 15.0, 30.0])
def test_a_lane_change_is_smooth_and_settles(speed: float, agent: Any, stage: Any) -> None:
    script = Script(trigger=Trigger.TIME, value=1.0, action=Action.CHANGE_LEFT)
    sim = stage(road(limit=50.0), [[agent("main.0", 50.0, speed, driver={"desired_speed": speed}, script=script)]])
    y, yaw = [], []
    for _ in range(110):
        y.append(float(sim.state.y[0, 0]))
        yaw.append(float(sim.state.yaw[0, 0]))
        sim.step(torch.zeros(1, 1, 2))
    assert max(map(abs, y[:10])) < 1e-3
    assert min(np.diff(y)) > -0.01  # it swings neither out nor back
    assert max(y) < 3.5 + 0.1
    assert max(yaw) < 1.4 * np.arctan(SHIFT_SLOPE)
    assert abs(y[-1] - 3.5) < 0.05
    assert abs(yaw[-1]) < 0.005
    near = int(np.argmax(np.array(y) > 3.5 - 0.3))
    assert 20 < near - 10 < 60  # 2 to 6 s (Toledo & Zohar 2007: mostly 3 to 8)
    assert int(sim.state.lane[0, 0]) == int(sim.state.origin[0, 0]) == 1


def discrete(agent: Any, stage: Any, speeds: list[float], lane: str = "main.0", **fields: Any) -> DrivingSim:
    worlds = [[agent(lane, 100.0, speed, role=Role.LEARNER, **fields)] for speed in speeds]
    return stage(TWO, worlds, action="discrete", autopilot=False, ticks_per_step=2)


def command(sim: DrivingSim, manoeuvre: int, times: int = 1) -> None:
    for _ in range(times):
        sim.step(torch.full((sim.batch, 1), manoeuvre))


def test_faster_and_slower(agent: Any, stage: Any) -> None:
    """6 m/s^2 of set speed, which stays within 5 m/s of the speed, 10 % of the limit and nothing; the car follows."""
    sim = discrete(agent, stage, [10.0])
    command(sim, KEEP, 5)
    assert float(sim.state.set_speed[0, 0]) == pytest.approx(10.0)
    assert float(sim.state.speed[0, 0]) == pytest.approx(10.0, abs=1e-3)
    command(sim, FASTER)
    assert float(sim.state.set_speed[0, 0]) == pytest.approx(11.2)
    command(sim, KEEP, 20)
    assert float(sim.state.speed[0, 0]) == pytest.approx(11.2, abs=0.05)
    for _ in range(6):
        command(sim, FASTER)
        assert float(sim.state.set_speed[0, 0]) <= float(sim.state.speed[0, 0]) + 5.0
    command(sim, FASTER, 40)
    assert float(sim.state.speed[0, 0]) == pytest.approx(22.0, abs=0.05)
    command(sim, SLOWER)
    assert float(sim.state.set_speed[0, 0]) < 22.0
    command(sim, SLOWER, 60)
    assert float(sim.state.speed[0, 0]) == 0.0
    x = float(sim.state.x[0, 0])
    command(sim, SLOWER, 10)
    assert float(sim.state.x[0, 0]) == x  # it does not reverse


def test_left_and_right(agent: Any, stage: Any) -> None:
    sim = discrete(agent, stage, [8.0, 15.0])
    command(sim, RIGHT)  # there is nothing to the right
    assert sim.state.lane[:, 0].tolist() == [0, 0]
    command(sim, LEFT)
    assert sim.state.lane[:, 0].tolist() == [1, 1]
    command(sim, LEFT)  # neither is there another one to the left
    command(sim, KEEP, 25)
    assert sim.state.lane[:, 0].tolist() == [1, 1]
    np.testing.assert_allclose(sim.state.y[:, 0], 3.5, atol=0.05)
    command(sim, RIGHT)
    command(sim, KEEP, 25)
    np.testing.assert_allclose(sim.state.y[:, 0], 0.0, atol=0.05)
    np.testing.assert_allclose(sim.state.speed[:, 0], [8.0, 15.0], atol=0.05)


def test_a_standing_car_does_not_slide_sideways(agent: Any, stage: Any) -> None:
    sim = discrete(agent, stage, [0.0])
    command(sim, LEFT)
    command(sim, KEEP, 20)
    assert float(sim.state.y[0, 0]) == 0.0


class Plan:
    """A path with a speed at every time: an arc of `curvature` from the origin, heading along +x, covered as `s(t)` says."""

    def __init__(self, curvature: float, speed: Any, seconds: float) -> None:
        self.t = np.arange(0.0, seconds + 3.0, 0.001)
        self.v = np.array([speed(t) for t in self.t])
        self.s = np.concatenate([[0.0], np.cumsum(0.5 * (self.v[1:] + self.v[:-1]) * 0.001)])
        self.k = curvature

    def pose(self, t: float | np.ndarray) -> tuple[Any, Any, Any, Any]:
        """x, y, yaw of the path, and the speed."""
        s = np.interp(t, self.t, self.s)
        yaw = self.k * s
        if self.k == 0.0:
            return s, 0.0 * s, yaw, np.interp(t, self.t, self.v)
        return np.sin(yaw) / self.k, (1.0 - np.cos(yaw)) / self.k, yaw, np.interp(t, self.t, self.v)


def follow(agent: Any, stage: Any, plan: Plan, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """A learner that is given the plan anew every second tick. Returns (x, y, yaw, speed) driven and planned, each (T, 4)."""
    start = float(plan.v[0])
    sim = stage(FIELD, [[agent("a", 90.0, start, role=Role.LEARNER)]], action="trajectory", autopilot=False, ticks_per_step=2)
    driven, planned = [], []
    for step in range(round(seconds / 0.2)):
        x, y, yaw, v = (float(getattr(sim.state, name)[0, 0]) for name in ("x", "y", "yaw", "speed"))
        now = 0.2 * step
        driven.append((x, y, yaw, v))
        planned.append(plan.pose(now))
        px, py, _, pv = plan.pose(now + TRAJECTORY_DT * np.arange(1, TRAJECTORY_POINTS + 1))
        ahead, left = (px - x) * np.cos(yaw) + (py - y) * np.sin(yaw), (py - y) * np.cos(yaw) - (px - x) * np.sin(yaw)
        action = torch.from_numpy(np.stack([ahead, left, pv], axis=-1)).float().view(1, 1, TRAJECTORY_POINTS, 3)
        sim.step(action)
    return np.array(driven), np.array(planned, dtype=np.float64)


@pytest.mark.parametrize(("curvature", "speed"), [(0.0, 12.0), (1 / 40, 10.0), (-1 / 25, 6.0), (1 / 12, 4.0)])
def test_a_plan_is_followed_through_a_bend(curvature: float, speed: float, agent: Any, stage: Any) -> None:
    driven, planned = follow(agent, stage, Plan(curvature, lambda _: speed, 7.0), 7.0)
    apart = np.hypot(*(driven - planned)[:, :2].T)
    assert apart.max() < 0.35  # pure pursuit sets the heading, not the course of the centre, tangent to the path: it cuts in a little
    np.testing.assert_allclose(driven[:, 3], speed, atol=0.3)
    assert np.abs(driven[-1, 2] - planned[-1, 2]) < 0.13


@pytest.mark.parametrize("curvature", [0.0, 1 / 30])
def test_a_plan_that_comes_to_rest(curvature: float, agent: Any, stage: Any) -> None:
    """From 10 m/s, a second later braking at 3 m/s^2; the car stands where the plan ends."""
    driven, planned = follow(agent, stage, Plan(curvature, lambda t: float(np.clip(10.0 - 3.0 * (t - 1.0), 0.0, 10.0)), 8.0), 8.0)
    assert np.hypot(*(driven - planned)[:, :2].T).max() < (0.1 if curvature == 0.0 else 0.3)
    assert np.hypot(*(driven - planned)[-1, :2]) < 0.1
    assert abs(driven[-1, 3]) < 0.02
    assert np.abs(driven[:, 3] - planned[:, 3]).max() < 0.3
    assert driven[:, 3].min() > -0.1  # it need not come back


@pytest.mark.parametrize(("curvature", "room"), [(0.0, 0.05), (1 / 15, 0.8)])
def test_a_plan_in_reverse(curvature: float, room: float, agent: Any, stage: Any) -> None:
    """From rest backwards to -2 m/s, and to rest again."""
    driven, planned = follow(agent, stage, Plan(curvature, lambda t: -float(np.clip(min(t, 6.0 - t), 0.0, 2.0)), 7.0), 7.0)
    assert planned[-1, 0] < -7.0
    assert np.hypot(*(driven - planned)[:, :2].T).max() < room
    assert np.abs(driven[:, 3] - planned[:, 3]).max() < 0.25
    assert abs(driven[-1, 3]) < 0.1


def test_traffic_never_reverses_and_a_truck_not_even_on_demand(agent: Any, stage: Any) -> None:
    sim = stage(TWO, [[agent("main.0", 100.0, 1.0, kind=Kind.TRUCK, role=Role.LEARNER)]], autopilot=False)
    for _ in range(20):
        sim.step(torch.tensor([[[-1.0, 0.0]]]))
        assert float(sim.state.speed[0, 0]) >= 0.0
    assert float(sim.state.speed[0, 0]) == 0.0
