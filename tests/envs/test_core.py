"""The core's judgement of learners, against a plain reading of poses: progress, arrival, lost, off-road, wrong way, stop signs, regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
import torch
from numpy.testing import assert_allclose

import scenarios
from envs.driving import DrivingConfig, DrivingSim, build_bank, sample_episodes
from envs.driving.make import fit
from envs.driving.rasters import drivable
from envs.driving.rng import uniform
from scenarios.episode import Goal, Log, Region, Role
from scenarios.network import Lane, LaneEnd, RoadNetwork, StopLine
from scenarios.roads import ROADS

CAR, WIDE = 4.6, 1.85  # m, size of a car
STREAM = 4012  # of the counter-based generator: actions of this test


def street(length: float = 300.0, stop: StopLine | None = None) -> RoadNetwork:
    """Two lanes along +x, 3.5 m apart and wide, that continue in `on.0` and `off.0`."""
    lanes = [
        Lane(id="a.0", centre=np.array([[0.0, 0.0], [length, 0.0]]), speed_limit=20.0, successors=("on.0",), left="a.1", stop=stop),
        Lane(id="a.1", centre=np.array([[0.0, 3.5], [length, 3.5]]), speed_limit=20.0, successors=("off.0",), right="a.0"),
        Lane(id="on.0", centre=np.array([[length, 0.0], [length + 100.0, 0.0]]), speed_limit=20.0, end=LaneEnd.EXIT),
        Lane(id="off.0", centre=np.array([[length, 3.5], [length + 100.0, 40.0]]), speed_limit=20.0, end=LaneEnd.EXIT),
    ]
    goals = {"on": (("on.0", np.inf),), "near": (("a.0", 220.0),)}
    return RoadNetwork(lanes=tuple(lanes), destinations=goals)


STREET = street()


def step(sim: DrivingSim, accel: float = 0.0, steer: float = 0.0) -> Any:
    return sim.step(torch.tensor([accel, steer]).expand(sim.batch, 1, 2))


def number(tensor: torch.Tensor) -> float:
    return float(tensor.reshape(-1)[0])


def test_progress_is_the_distance_driven(agent: Any, stage: Any) -> None:
    """On a straight road, over a lane's end, with all sorts of acceleration, also standing; never more than the route."""
    sim = stage(STREET, [[agent("a.0", 20.0, 12.0, role=Role.LEARNER)]], goal=Goal(destination="on"), autopilot=False)
    assert number(sim.setup.route_length) == pytest.approx(380.0, abs=0.01)
    rng = np.random.default_rng(0)
    arrived = None
    for tick in range(500):
        out = step(sim, float(rng.uniform(-0.4, 0.8)))
        x, v = number(sim.state.x), number(sim.state.speed)
        if arrived is None:
            assert number(sim.state.stats.progress) == pytest.approx(min(x - 20.0, 380.0), abs=0.02)
            assert number(sim.state.stats.distance) == pytest.approx(x - 20.0, abs=0.02)
            assert bool(out.arrived) == (400.0 - x <= 0.1 * v + 0.1)
        if out.arrived and arrived is None:
            arrived = tick
    assert arrived is not None
    assert number(sim.state.stats.progress) <= 380.0
    assert arrived < 480


def test_arrival_within_a_lane_and_in_time(agent: Any, stage: Any) -> None:
    """A destination in the middle of a lane, with windows of time: too early and too late do not count."""
    worlds = [[agent("a.0", 20.0, 20.0, role=Role.LEARNER)]]
    for window, when in (((0.0, np.inf), 99), ((0.0, 9.0), None), ((12.0, np.inf), 120)):
        sim = stage(STREET, worlds, goal=Goal(destination="near", time_min=window[0], time_max=window[1]), autopilot=False)
        ticks = [tick for tick in range(1, 135) if bool(step(sim).arrived)]
        assert (ticks[0] if ticks else None) == (pytest.approx(when, abs=1) if when else None)
        assert len(ticks) <= 1


def test_who_can_no_longer_reach_the_destination_is_lost(agent: Any, stage: Any) -> None:
    """From a.1 the destination needs a lane change; at its end it is too late. Driving off the end of the map is getting lost as well."""
    sim = stage(STREET, [[agent("a.1", 250.0, 10.0, role=Role.LEARNER)]], goal=Goal(destination="on"), autopilot=False)
    for _ in range(70):
        x = number(sim.state.x)
        out = step(sim)
        assert bool(out.lost) == (number(sim.state.x) > 300.0), x
        assert bool(out.terminated) == bool(out.lost)
    sim = stage(STREET, [[agent("on.0", 80.0, 10.0, role=Role.LEARNER)]], autopilot=False)
    lost = []
    for _ in range(40):
        lost.append((bool(step(sim).lost), number(sim.state.x)))
    assert all(gone == (x > 401.0) for gone, x in lost)


@pytest.mark.parametrize(
    ("kind", "lane"), [("highway", "main.0"), ("straight", "main.0"), ("roundabout", "south_in.0"), ("junction", "south_in.0")]
)
def test_off_road_at_the_first_tick_at_which_a_corner_is_outside(kind: str, lane: str, agent: Any, stage: Any) -> None:
    """Learners steer off to both sides; shapely's distance of the corners from the asphalt, with nuPlan's 0.3 m, says when."""
    network = ROADS[kind]().build()
    surface = drivable(network)
    sim = stage(network, [[agent(lane, 30.0, 12.0, role=Role.LEARNER)]] * 4, autopilot=False)
    action = torch.tensor([[0.0, 0.02], [0.0, -0.02], [0.1, 0.004], [-0.02, -0.01]]).view(4, 1, 2)
    flagged = np.full(4, -1)
    judged = np.full(4, 90)  # after driving the wrong way nothing else counts
    outside = []
    for tick in range(90):
        off = sim.step(action).off_road[:, 0].numpy()
        flagged[off & (flagged < 0)] = tick
        judged[sim.state.stats.wrong_way[:, 0].numpy() & (judged == 90)] = tick
        x, y, yaw = (getattr(sim.state, name)[:, 0].double().numpy()[:, None] for name in ("x", "y", "yaw"))
        along, across = np.array([1, 1, -1, -1]) * CAR / 2.0, np.array([1, -1, 1, -1]) * WIDE / 2.0
        corners = shapely.points(x + along * np.cos(yaw) - across * np.sin(yaw), y + along * np.sin(yaw) + across * np.cos(yaw))
        outside.append(shapely.distance(surface, corners).max(1))
    far = np.array(outside)  # (T, 4)
    assert (flagged > 3).sum() >= 2
    for b, tick in enumerate(flagged):
        until = tick if tick >= 0 else judged[b]
        assert (far[:until, b] < 0.3 + 0.04).all()
        if tick >= 0:
            assert far[tick, b] > 0.3 - 0.04


def test_six_metres_against_the_traffic_are_the_wrong_way(agent: Any, stage: Any) -> None:
    """On the oncoming lane of a two-way road. Standing there is not, nor is going the way of the lane, be it backwards."""
    network = ROADS["two_way"]().build()
    line = shapely.LineString(next(lane for lane in network.lanes if lane.id == "oncoming.0").centre)
    x, y = line.interpolate(line.length - 25.0).coords[0]  # where one may not overtake
    poses = [(0.0, 5.0), (0.0, 0.0), (np.pi, 5.0), (0.0, -3.0)]
    worlds = [[agent(None, x=x, y=y, yaw=yaw, speed=v, role=Role.LEARNER)] for yaw, v in poses]
    sim = stage(network, worlds, autopilot=False)
    ticks = [step(sim).wrong_way[:, 0].tolist() for _ in range(30)]
    assert [[tick[b] for tick in ticks].count(True) for b in range(4)] == [1, 0, 0, 0]
    assert [tick[0] for tick in ticks].index(True) == 12  # 0.5 m a tick: 6.5 m after the 13th


def test_stop_signs(agent: Any, stage: Any) -> None:
    """Rolling through counts as the bumper crosses; resting at the line prevents it, farther off or shorter does not."""
    network = street(stop=StopLine(s=200.0, must_stop=True))
    sim = stage(network, [[agent("a.0", s, 10.0, role=Role.LEARNER)] for s in (190.0, 185.0, 170.0, 185.0)], autopilot=False)
    release = np.array([0, 40, 40, 19])  # tick at which they let go of the brake
    counted: list[list[bool]] = []
    crossed = np.full(4, -1)
    nose = sim.state.x[:, 0].numpy() + CAR / 2.0
    rested = np.zeros(4)
    for tick in range(150):
        push = np.where(tick >= release, 0.6 * (release > 0), np.where(sim.state.speed[:, 0] > 0.0, -0.7, 0.0))
        action = torch.from_numpy(np.stack([push, 0.0 * push], axis=-1)).float().view(4, 1, 2)
        counted.append(sim.step(action).stop_sign[:, 0].tolist())
        before, nose = nose, sim.state.x[:, 0].numpy() + CAR / 2.0
        rested += (sim.state.speed[:, 0].numpy() < 0.1) & (nose < 200.0)
        crossed[(before <= 200.0) & (nose > 200.0)] = tick
    assert (crossed > 0).all()
    assert rested[0] == 0
    assert 0 < rested[3] < 3 < rested[1]
    for b, guilty in enumerate((True, False, True, True)):
        assert [tick for tick in range(150) if counted[tick][b]] == ([crossed[b]] if guilty else []), b


def test_haste_towards_a_stop_sign(agent: Any, stage: Any) -> None:
    """The excess over sqrt(2 b d), the speed from which braking at b = 2 m/s^2 ends at the line; 0 past it, once obeyed, and elsewhere."""
    network = street(stop=StopLine(s=200.0, must_stop=True))
    places = [("a.0", 150.0, 12.0), ("a.0", 190.0, 12.0), ("a.0", 190.0, 5.0), ("a.0", 199.0, 12.0), ("a.1", 190.0, 12.0)]
    sim = stage(network, [[agent(lane, s, v, role=Role.LEARNER)] for lane, s, v in places], autopilot=False)
    got = step(sim).haste[:, 0]
    to_line = 200.0 - sim.state.s[:, 0] - CAR / 2
    excess = (sim.state.speed[:, 0] - torch.sqrt(4.0 * to_line.clamp(min=0.0))).clamp(min=0.0)
    assert_allclose(got[:3], excess[:3], atol=1e-5)
    assert got[0] == got[2] == got[3] == got[4] == 0.0
    assert got[1] > 5.0
    sim.set(sim.setup, sim.state._replace(released=sim.state.lane), sim.rows)
    assert (step(sim).haste == 0.0).all()


def test_a_region_with_heading_and_speed(agent: Any, stage: Any) -> None:
    """Learners roll through a region at constant speed: arrived at the first tick within it, if heading and speed are as asked."""
    region = Region(x=100.0, y=0.2, yaw=0.1, length=12.0, width=3.0, heading=0.0, heading_tolerance=0.2, speed_min=2.0, speed_max=8.0)
    rows = [(5.0, 0.0, 0.0), (9.0, 0.0, 0.0), (1.9, 0.0, 0.0), (7.9, 1.0, 0.0), (5.0, -1.9, 0.0), (7.0, 0.0, 0.19), (7.0, 0.0, 0.21)]
    worlds = [[agent(None, x=85.0, y=y + (-15.0 * np.tan(yaw)), yaw=yaw, speed=v, role=Role.LEARNER)] for v, y, yaw in rows]
    sim = stage(STREET, worlds, goal=Goal(region=region), autopilot=False)
    box = shapely.affinity.rotate(shapely.box(94.0, -1.3, 106.0, 1.7), 0.1, use_radians=True)
    seen = np.zeros(len(rows), dtype=bool)
    for _ in range(120):
        out = step(sim)
        for b, (v, _, yaw) in enumerate(rows):
            inside = box.contains(shapely.Point(float(sim.state.x[b, 0]), float(sim.state.y[b, 0])))
            fits = inside and abs(yaw) <= 0.2 and 2.0 <= v <= 8.0
            gone = bool(sim.state.stats.off_road[b, 0])
            assert bool(out.arrived[b, 0]) == (fits and not seen[b] and not gone)
            seen[b] |= fits
    assert seen.tolist() == [True, False, False, True, False, True, False]


def test_recordings_are_replayed_to_the_centimetre(agent: Any, stage: Any) -> None:
    """Three wavy recordings, one of which is away for a while, at every tick; and afterwards nobody is left."""
    t = np.arange(80) * 0.1
    rng = np.random.default_rng(3)
    logs = []
    for k in range(3):
        x = 20.0 + 12.0 * t + rng.uniform(0.0, 3.0) * np.sin(t)
        y = 1.5 * k + np.sin(0.7 * t + k)
        valid = np.ones(80, dtype=bool)
        valid[30:45] = k != 1
        logs.append(
            Log(x=x, y=y, yaw=np.arctan2(np.gradient(y), np.gradient(x)), speed=np.hypot(np.gradient(x), np.gradient(y)) / 0.1, valid=valid)
        )
    others = [agent(None, role=Role.LOG, log=log, x=log.x[0], y=log.y[0], yaw=log.yaw[0], speed=log.speed[0]) for log in logs]
    sim = stage(STREET, [[agent("a.0", 5.0, role=Role.STATIC), *others]], duration=12.0)
    for tick in range(1, 100):
        step(sim)
        for slot, log in enumerate(logs, start=1):
            there = tick < 80 and bool(log.valid[tick])
            assert bool(sim.state.valid[0, slot]) == there, (tick, slot)
            if there:
                got = [float(getattr(sim.state, name)[0, slot]) for name in ("x", "y", "yaw", "speed")]
                np.testing.assert_allclose(got, [log.x[tick], log.y[tick], log.yaw[tick], log.speed[tick]], atol=0.01)


@pytest.mark.parametrize("family", scenarios.names())
def test_everything_stays_finite_whatever_the_ego_does(family: str) -> None:
    """Full throttle, brake and lock at random; ended worlds are stepped on."""
    episodes = sample_episodes(f"{family}/hard", 3, 91)
    config = fit(DrivingConfig(ticks_per_step=1), episodes)
    sim = DrivingSim(build_bank(episodes, config), config, batch=3)
    ended = torch.zeros(3, dtype=torch.bool)
    for tick in range(100):
        seed, at = sim.setup.seed.view(-1, 1, 1), sim.state.step.view(-1, 1, 1) // 5
        out = sim.step(uniform(seed, at, STREAM, torch.arange(2), -1.5, 1.5))
        ended |= out.terminated[:, 0]
        if tick % 10 == 9:
            values = [value for value in (*sim.state[:-1], *sim.state.stats, *out) if value.is_floating_point()]
            assert all(torch.isfinite(value).all() for value in values)
    assert ended.any() or family == "parking"
    assert (sim.state.step == 100).all()
