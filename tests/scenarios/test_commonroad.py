"""Real CommonRoad files become scenarios that say what the files say; the oracle is commonroad-io itself."""

from __future__ import annotations

import warnings
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

import scenarios
from scenarios.episode import Episode, Role
from scenarios.importers import Written, import_file, recorded_collisions
from scenarios.importers.commonroad import import_commonroad
from scenarios.importers.types import Imported
from scenarios.network import Lane, LaneEnd, LaneType, LightState, Mark
from scenarios.serialize import load_recording

pytest.importorskip("commonroad", reason="commonroad-io is not installed")

NAMES = (
    "ARG_Carcarana-4_5_T-1",
    "DEU_A9-3_1_T-1",
    "DEU_Starnberg-1_1_T-1",
    "USA_Lanker-1_1_T-1",
    "USA_US101-3_1_T-1",
    "USA_US101-3_3_T-1",
    "USA_US101-4_1_T-1",
    "ZAM_Tjunction-1_18_T-1",
)
SHIFTED = {"DEU_A9-3_1_T-1": (843.0, -5884.0)}  # m, the only file with coordinates beyond 1 km


@cache
def _parsed(path: Path) -> tuple[Any, Any]:
    """commonroad-io's own view of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from commonroad.common.file_reader import CommonRoadFileReader

        return CommonRoadFileReader(str(path)).open()


@pytest.fixture(scope="module", params=NAMES)
def source(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    path = shared_data / "commonroad" / f"{request.param}.xml"
    assert path.is_file()
    return path


@pytest.fixture(scope="module")
def written(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return import_file(source, tmp_path_factory.mktemp("imported"))


@pytest.fixture(scope="module")
def imported(written: Written) -> Imported:
    return written.imported


@pytest.fixture(scope="module")
def episode(written: Written) -> Episode:
    return scenarios.sample(scenarios.load(written.scenario), 0)


def _shift(source: Path) -> np.ndarray:
    return np.array(SHIFTED.get(source.stem, (0.0, 0.0)))


def _centre(value: Any) -> np.ndarray:
    return np.asarray(value if isinstance(value, np.ndarray) else value.center, dtype=float)


def _middle(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else (float(value.start) + float(value.end)) / 2.0


def _length(lane: Lane) -> float:
    return float(np.hypot(*np.diff(lane.centre, axis=0).T).sum())


def test_every_file_is_loaded_and_sampled_with_all_its_obstacles(source: Path, episode: Episode) -> None:
    scenario, _ = _parsed(source)
    assert episode.dt == scenario.dt
    assert {agent.id for agent in episode.agents[1:]} == {str(o.obstacle_id) for o in scenario.obstacles}
    assert episode.agents[0].role == Role.LEARNER
    last = max((o.prediction.final_time_step for o in scenario.dynamic_obstacles if o.prediction), default=0)
    assert episode.duration >= last * scenario.dt - 1e-9


def test_logs_match_the_file_within_a_centimetre_at_every_step(source: Path, episode: Episode) -> None:
    scenario, _ = _parsed(source)
    shift = _shift(source)
    logged = {agent.id: agent for agent in episode.agents if agent.log is not None}
    for obstacle in scenario.dynamic_obstacles:
        agent = logged[str(obstacle.obstacle_id)]
        log = agent.log
        assert log is not None
        assert (agent.length, agent.width) == (obstacle.obstacle_shape.length, obstacle.obstacle_shape.width)
        assert len(log.x) == round(episode.duration / episode.dt) + 1
        for t in range(len(log.x)):
            state = obstacle.state_at_time(t)
            assert log.valid[t] == (state is not None)
            if state is not None:
                x, y = _centre(state.position) - shift
                for dtype in (np.float64, np.float32):  # the simulator holds positions in float32
                    assert np.hypot(dtype(log.x[t]) - x, dtype(log.y[t]) - y) < (1e-9 if dtype is np.float64 else 0.01)
                assert log.yaw[t] == pytest.approx(_middle(state.orientation), abs=1e-9)
                assert log.speed[t] == pytest.approx(_middle(state.velocity), abs=1e-9)


def test_every_lanelet_becomes_a_lane_in_the_same_place(source: Path, imported: Imported) -> None:
    scenario, _ = _parsed(source)
    shift = _shift(source)
    lanes = {lane.id: lane for lane in imported.network.lanes if lane.type != LaneType.PATH}
    assert set(lanes) == {str(lanelet.lanelet_id) for lanelet in scenario.lanelet_network.lanelets}
    apart = []
    for lanelet in scenario.lanelet_network.lanelets:
        lane = lanes[str(lanelet.lanelet_id)]
        true, ours = shapely.LineString(lanelet.center_vertices - shift), shapely.LineString(lane.centre)
        apart.append(shapely.hausdorff_distance(ours, true))
        assert set(lane.successors) == {str(i) for i in lanelet.successor}
        width = np.hypot(*(lanelet.left_vertices - lanelet.right_vertices).T)
        assert max(width.min(), 1.99) - 0.01 <= lane.width <= width.max() + 0.01
        assert (lane.end == LaneEnd.CONTINUE) == bool(lanelet.successor)
    assert max(apart) < 0.6  # a corner of 33 degrees in one lanelet, rounded
    assert np.percentile(apart, 95) < 0.2


def test_lanes_join_without_gaps_or_kinks(imported: Imported) -> None:
    lanes = {lane.id: lane for lane in imported.network.lanes}
    for lane in lanes.values():
        ahead = lane.centre[-1] - lane.centre[-2]
        for name in lane.successors:
            after = lanes[name].centre
            assert np.hypot(*(after[0] - lane.centre[-1])) < 0.01
            turn = np.angle(complex(*(after[1] - after[0])) / complex(*ahead))
            assert abs(turn) < np.deg2rad(16.0)  # between chords of 1 m in the tightest bend; in the file joints turn by up to 28 degrees


def test_neighbours_run_side_by_side(source: Path, imported: Imported) -> None:
    scenario, _ = _parsed(source)
    lanes = {lane.id: lane for lane in imported.network.lanes}
    for lane in lanes.values():
        for side, sign in (("left", 1.0), ("right", -1.0)):
            name = getattr(lane, side)
            if name is None:
                continue
            lanelet = scenario.lanelet_network.find_lanelet_by_id(int(lane.id))
            assert str(getattr(lanelet, f"adj_{side}")) == name
            assert getattr(lanelet, f"adj_{side}_same_direction")
            other = lanes[name].centre
            assert len(other) == len(lane.centre)
            ahead = np.gradient(lane.centre, axis=0)
            delta = other - lane.centre
            across = sign * (ahead[:, 0] * delta[:, 1] - ahead[:, 1] * delta[:, 0]) / np.hypot(*ahead.T)
            assert across.min() > 1.0
            assert across.max() < 8.0


def test_drivable_surface_is_that_of_the_lanelets(source: Path, imported: Imported) -> None:
    scenario, _ = _parsed(source)
    shift = _shift(source)
    outlines = [np.concatenate([p.left_vertices, p.right_vertices[::-1]]) - shift for p in scenario.lanelet_network.lanelets]
    true = shapely.union_all([shapely.make_valid(shapely.Polygon(outline)) for outline in outlines])
    strips = [
        shapely.LineString(lane.centre).buffer(lane.width / 2, cap_style="flat")
        for lane in imported.network.lanes
        if lane.type != LaneType.PATH
    ]
    ours = shapely.union_all([*strips, *(shapely.make_valid(shapely.Polygon(area)) for area in imported.network.areas)])
    assert ours.intersection(true).area / ours.union(true).area > 0.97
    assert true.difference(ours.buffer(0.4)).area < 1.0  # nothing of the road is missing


def test_speed_limits_are_those_of_the_signs(source: Path, imported: Imported) -> None:
    scenario, _ = _parsed(source)
    signs = {sign.traffic_sign_id: sign for sign in scenario.lanelet_network.traffic_signs}
    signed = 0
    for lanelet in scenario.lanelet_network.lanelets:
        values = [
            float(element.additional_values[0])
            for id in lanelet.traffic_signs
            for element in signs[id].traffic_sign_elements
            if element.traffic_sign_element_id.name == "MAX_SPEED"
        ]
        if values:
            signed += 1
            assert imported.network.lane(str(lanelet.lanelet_id)).speed_limit == min(values)
    unsigned = len(scenario.lanelet_network.lanelets) - signed
    said = [line for line in imported.report.lines if "speed limit" in line]
    assert sum(int(line.rsplit("(", 1)[1].rstrip(")")) for line in said) == unsigned  # each one is accounted for


def test_the_ego_starts_where_the_planning_problem_says(source: Path, imported: Imported, episode: Episode) -> None:
    _, problems = _parsed(source)
    ego = episode.agents[0]
    assert ego.lane is not None
    if not problems.planning_problem_dict:
        assert any("no planning problem" in line for line in imported.report.lines)
        return
    start = next(iter(problems.planning_problem_dict.values())).initial_state
    assert np.hypot(ego.x - (start.position[0] - _shift(source)[0]), ego.y - (start.position[1] - _shift(source)[1])) < 0.001
    assert ego.speed == start.velocity
    assert abs(np.angle(np.exp(1j * (ego.yaw - start.orientation)))) < 1e-9


def test_goal_regions_are_reached_exactly_when_commonroad_says_so(source: Path, imported: Imported) -> None:
    _, problems = _parsed(source)
    goals = [p.goal for p in problems.planning_problem_dict.values()]
    if not goals or imported.goal.region is None:
        assert (
            not goals
            or getattr(goals[0].state_list[0], "position", None) is None
            or any("bent lanelet" in line for line in imported.report.lines)
        )
        return
    from commonroad.scenario.trajectory import State

    region, goal = imported.goal.region, goals[0]
    rng = np.random.default_rng(0)
    dt, agree, reached = imported.recording.dt, 0, 0
    for _ in range(400):
        along, across = rng.uniform(-0.6, 0.6, 2) * (region.length, region.width)
        cos, sin = np.cos(region.yaw), np.sin(region.yaw)
        x, y = region.x + along * cos - across * sin, region.y + along * sin + across * cos
        yaw = region.heading + rng.uniform(-1.5, 1.5) * min(region.heading_tolerance, 1.0)
        speed, step = rng.uniform(0.0, 22.0), int(rng.integers(0, 101))
        true = goal.is_reached(State(position=np.array([x, y]) + _shift(source), orientation=yaw, velocity=speed, time_step=step))
        ours = (
            abs(along) <= region.length / 2
            and abs(across) <= region.width / 2
            and abs(yaw - region.heading) <= region.heading_tolerance
            and region.speed_min <= speed <= region.speed_max
            and imported.goal.time_min - 1e-9 <= step * dt <= imported.goal.time_max + 1e-9
        )
        agree, reached = agree + (ours == true), reached + true
    assert agree >= 396  # lanelets used as goals fill a little less than their rectangle
    assert imported.network.destinations["goal"]


def test_traffic_lights_show_what_commonroad_shows(source: Path, imported: Imported) -> None:
    scenario, _ = _parsed(source)
    lights = {light.id: light for light in imported.network.lights}
    assert set(lights) == {str(light.traffic_light_id) for light in scenario.lanelet_network.traffic_lights}
    for light in scenario.lanelet_network.traffic_lights:
        ours = lights[str(light.traffic_light_id)]
        ends = np.cumsum([seconds for _, seconds in ours.phases])
        for step in range(0, 700, 3):
            clock = ((step + 0.5) * scenario.dt + ours.offset) % ends[-1]
            state = ours.phases[int(np.searchsorted(ends, clock, side="right"))][0]
            assert state == LightState[light.get_state_at_time_step(step).name]
    lit = {lane.id: lane.stop for lane in imported.network.lanes if lane.stop is not None and lane.stop.light is not None}
    wanted = {str(p.lanelet_id): p for p in scenario.lanelet_network.lanelets if p.traffic_lights and p.successor}
    assert set(lit) == set(wanted)
    for id, stop in lit.items():
        assert {stop.light} == {str(i) for i in wanted[id].traffic_lights}
        assert 0.0 <= stop.s <= _length(imported.network.lane(id))


def test_reactive_agents_start_as_recorded_on_paths_along_their_recording(written: Written, episode: Episode) -> None:
    if episode.agents[1:] == ():
        return
    reactive = scenarios.sample(scenarios.load(written.scenario, "reactive"), 0)
    logs = {agent.id: agent.log for agent in load_recording(written.sidecar).agents}
    assert [a.id for a in reactive.agents] == [a.id for a in episode.agents]
    for agent in reactive.agents[1:]:
        log = logs[agent.id]
        assert log is not None
        first, there = int(np.argmax(log.valid)), log.valid
        assert (agent.x, agent.y, agent.speed) == (log.x[first], log.y[first], log.speed[first])
        assert agent.enter_time == pytest.approx(first * episode.dt)
        if agent.role == Role.STATIC:
            assert np.hypot(log.x - agent.x, log.y - agent.y)[there].max() < 0.5
            continue
        assert agent.role == Role.IDM
        assert agent.driver is not None
        lane = reactive.network.lane(agent.lane or "")
        assert lane.type == LaneType.PATH
        path = shapely.LineString(lane.centre)
        assert shapely.distance(path, shapely.points(log.x[there], log.y[there])).max() < 0.6  # jitter of the standing is not followed
        assert agent.driver.desired_speed >= log.speed[there].max()
        assert path.length >= agent.driver.desired_speed * (there.sum() - 1) * episode.dt or not there[-1]


def test_collisions_within_the_recordings_are_found(source: Path, episode: Episode) -> None:
    """The same by commonroad-io's shapes, step by step."""
    scenario, _ = _parsed(source)
    true: set[tuple[str, str]] = set()
    for t in range(round(episode.duration / episode.dt) + 1):
        there = [(o.obstacle_id, o.occupancy_at_time(t)) for o in scenario.dynamic_obstacles if o.state_at_time(t) is not None]
        boxes = []
        for id, occupancy in there:
            shape = occupancy.shape
            if source.stem.startswith("DEU_A9"):  # uncertain states: occupancies are not the vehicles' boxes
                return
            boxes.append((id, shape.shapely_object))
        for (a, box_a), (b, box_b) in combinations(boxes, 2):
            if box_a.intersection(box_b).area > 1e-6:
                true.add((str(a), str(b)))
    assert {(c.first, c.second) for c in recorded_collisions(episode)} == true
    assert bool(true) == source.stem.startswith("USA_Lanker")


def test_sidecars_and_scenario_files_are_reproducible(source: Path, written: Written, tmp_path: Path) -> None:
    again = import_file(source, tmp_path)
    assert again.sidecar.read_bytes() == written.sidecar.read_bytes()
    assert again.scenario.read_text() == written.scenario.read_text()
    for line in again.imported.report.lines:
        assert " ".join(line.split()) in " ".join(written.scenario.read_text().replace("\n#", " ").split())


def test_junctions_have_right_of_way(shared_data: Path) -> None:
    """The T-junction: from the west one may go straight on or left, across those who come from the east."""
    network = import_commonroad(shared_data / "commonroad" / "ZAM_Tjunction-1_18_T-1.xml").network
    table = {lane.id: lane for lane in network.lanes}
    meets = {(c.lane, c.other): c for c in network.conflicts}
    assert all((b, a) in meets for a, b in meets)
    assert {table[id].type for pair in meets for id in pair} == {LaneType.JUNCTION}
    left, straight = "50209", "50213"
    for id, turn in ((left, np.deg2rad(50.0)), (straight, 0.0)):
        ahead, end = np.diff(table[id].centre, axis=0)[[0, -1]]
        assert np.angle(complex(*end) / complex(*ahead)) == pytest.approx(turn, abs=np.deg2rad(45.0))
    assert {mark for pair in meets for id in pair for mark in (table[id].left_mark, table[id].right_mark)} == {Mark.NONE}
    assert table["50195"].right_mark == Mark.SOLID  # before the junction
    assert meets[left, straight].yields
    assert not meets[straight, left].yields
