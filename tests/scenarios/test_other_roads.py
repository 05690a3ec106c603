"""Roads given lane by lane in the file, roads from a sidecar, and recorded road users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scenarios
from scenarios import ScenarioError
from scenarios.episode import AgentSpec, Log, Role
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.network import Lane, LaneEnd, LaneType, RoadNetwork
from scenarios.serialize import Recording, save_network

TICKS, DT = 51, 0.2
SCENARIO = (
    "version: 1\nname: mine\nduration: 30 s\nmax_agents: 64\nroad: {kind: file, file: mine.npz}\n"
    "ego: {lane: a, s: 10 m, speed: 10 m/s, goal: {destination: end}}\nrecorded: {file: mine.npz, mode: log}\n"
    "variants:\n  reactive: {recorded: {mode: reactive}}\n"
)
CUSTOM = """
version: 1
name: custom
duration: 60 s
road:
  kind: custom
  lanes:
    - {id: main, speed_limit: 50 km/h, points: [[0, 0], [100, 0]], successors: [on, off]}
    - {id: "on", speed_limit: 50 km/h, points: [[100, 0], [200, 0]]}
    - {id: "off", speed_limit: 30 km/h, points: [[100, 0], [130, -1], [160, -8]], width: {uniform: [3 m, 3.5 m]}, smooth: true}
  destinations:
    straight: [{lane: "on"}]
    side: [{lane: "off", s: 40 m}]
ego:
  lane: main
  s: {uniform: [5 m, 20 m]}
  goal: {destination: {choice: [straight, side]}}
traffic:
  - fill: {lanes: [main], count: 2, begin: 40 m, destination: straight}
"""


def log(speed: float, y: float, first: int = 0) -> Log:
    t = np.arange(TICKS) * DT
    full = np.full(TICKS, 0.0)
    return Log(x=40.0 + speed * t, y=full + y, yaw=full, speed=full + speed, valid=np.arange(TICKS) >= first)


def recorded(id: str, log: Log) -> AgentSpec:
    spec = KIND_SPECS[Kind.CAR]
    return AgentSpec(
        id=id, kind=Kind.CAR, role=Role.LOG, length=spec.length, width=spec.width, wheelbase=spec.wheelbase,
        x=float(log.x[0]), y=float(log.y[0]), speed=float(log.speed[0]), log=log,
    )  # fmt: skip


def write(folder: Path, text: str = SCENARIO, name: str = "mine") -> Path:
    lane = Lane(id="a", centre=np.array([[0.0, 0.0], [300.0, 0.0]]), speed_limit=15.0, end=LaneEnd.EXIT)
    network = RoadNetwork(lanes=(lane,), destinations={"end": (("a", np.inf),)})
    agents = (recorded("moving", log(8.0, 0.0)), recorded("late", log(5.0, 3.5, first=10)), recorded("parked", log(0.0, -4.0)))
    save_network(folder / f"{name}.npz", network, Recording(source="test", dt=DT, agents=agents))
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_recorded_agents_replay_their_log(tmp_path: Path) -> None:
    episode = scenarios.sample(scenarios.load(write(tmp_path)), 0)
    assert (episode.dt, episode.goal.destination) == (DT, "end")
    assert [a.id for a in episode.agents] == ["ego", "moving", "late", "parked"]
    assert all(a.role == Role.LOG for a in episode.agents[1:])
    replayed = episode.agents[1].log
    assert replayed is not None
    np.testing.assert_array_equal(replayed.x, log(8.0, 0.0).x)


def test_recorded_agents_react_along_their_path(tmp_path: Path) -> None:
    path = write(tmp_path)
    replay, reactive = scenarios.load(path), scenarios.load(path, "reactive")
    one, two = scenarios.sample(reactive, 0), scenarios.sample(reactive, 1)
    by_id = {a.id: a for a in one.agents}
    moving, late, parked = by_id["moving"], by_id["late"], by_id["parked"]
    assert (moving.role, late.role, parked.role) == (Role.IDM, Role.IDM, Role.STATIC)
    assert late.enter_time == pytest.approx(10 * DT)
    assert moving.lane is not None
    lane = one.network.lane(moving.lane)
    assert lane.type == LaneType.PATH
    np.testing.assert_allclose(lane.centre[0], [moving.x, moving.y], atol=1e-6)
    assert one.network is two.network  # paths are made once
    assert one.network_key == two.network_key != scenarios.sample(replay, 0).network_key


def test_a_changed_recording_is_another_scenario(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = scenarios.load(path).digest
    lane = Lane(id="a", centre=np.array([[0.0, 0.0], [200.0, 0.0]]), speed_limit=15.0, end=LaneEnd.EXIT)
    save_network(tmp_path / "mine.npz", RoadNetwork(lanes=(lane,), destinations={"end": (("a", np.inf),)}), Recording(source="test", dt=DT))
    assert scenarios.load(path).digest != before


def test_what_the_road_lacks_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"mine.yaml:6:13: ego.lane: expected a lane of this road .*; known: a"):
        scenarios.load(write(tmp_path, SCENARIO.replace("lane: a", "lane: zebra")))


def test_a_sidecar_without_a_recording_is_told(tmp_path: Path) -> None:
    path = write(tmp_path)
    lane = Lane(id="a", centre=np.array([[0.0, 0.0], [300.0, 0.0]]), speed_limit=15.0, end=LaneEnd.EXIT)
    save_network(tmp_path / "mine.npz", RoadNetwork(lanes=(lane,), destinations={"end": (("a", np.inf),)}))
    with pytest.raises(ScenarioError, match="holds no usable recording") as caught:
        scenarios.load(path)
    assert caught.value.problems[0].line == 7


def test_a_custom_road() -> None:
    scenario = scenarios.load_text(CUSTOM)
    keys, chosen = set(), set()
    for seed in range(40):
        episode = scenarios.sample(scenario, seed)
        keys.add(episode.network_key)
        chosen.add(episode.goal.destination)
        assert {lane.id for lane in episode.network.lanes} == {"main", "on", "off"}
        assert 3.0 <= episode.network.lane("off").width <= 3.5
        assert 2 <= len(episode.agents) <= 3
    assert len(keys) == scenario.model.maps
    assert chosen == {"straight", "side"}
    assert "road.lanes[2].width" in episode.drawn
