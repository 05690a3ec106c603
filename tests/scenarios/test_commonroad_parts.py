"""What the real files lack: signs, crosswalks, odd shapes, uncertain and missing states. Small files written here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import scenarios
from agents.commands.import_ import command
from scenarios.episode import Role
from scenarios.importers import import_file, read_file, recorded_agents
from scenarios.importers.centreline import arc_length, smooth
from scenarios.importers.commonroad_lanes import draft_lanes
from scenarios.importers.places import onward
from scenarios.importers.recorded import collisions_among
from scenarios.importers.report import ImportReport
from scenarios.importers.types import Imported
from scenarios.importers.write import scenario_name
from scenarios.kinds import Kind
from scenarios.network import Lane, LaneEnd, LaneType, LightState, Mark, RoadNetwork

pytest.importorskip("commonroad", reason="commonroad-io is not installed")

Points = Sequence[tuple[float, float]]


def _points(points: Points) -> str:
    return "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in points)


def lanelet(
    id: int,
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    width: float = 3.5,
    inside: str = "",
    types: Sequence[str] = ("urban",),
    left: str = "unknown",
    right: str = "unknown",
    **links: object,
) -> str:
    """A straight lanelet; links: predecessor, successor (ids), adjacentLeft, adjacentRight ((id, direction))."""
    a, b = np.array(start), np.array(end)
    side = np.array([-(b - a)[1], (b - a)[0]]) / np.hypot(*(b - a)) * width / 2.0
    text = f'<lanelet id="{id}"><leftBound>{_points([tuple(a + side), tuple(b + side)])}<lineMarking>{left}</lineMarking></leftBound>'
    text += f"<rightBound>{_points([tuple(a - side), tuple(b - side)])}<lineMarking>{right}</lineMarking></rightBound>"
    for name in ("predecessor", "successor"):
        text += "".join(f'<{name} ref="{ref}"/>' for ref in links.get(name, ()))  # type: ignore[attr-defined]
    for name in ("adjacentLeft", "adjacentRight"):
        if name in links:
            text += '<{} ref="{}" drivingDir="{}"/>'.format(name, *links[name])  # type: ignore[misc]
    return text + inside + "".join(f"<laneletType>{name}</laneletType>" for name in types) + "</lanelet>"


def ref(name: str, id: int) -> str:
    return f'<{name} ref="{id}"/>'


def sign(id: int, number: str, value: float | None = None) -> str:
    extra = "" if value is None else f"<additionalValue>{value}</additionalValue>"
    element = f"<trafficSignElement><trafficSignID>{number}</trafficSignID>{extra}</trafficSignElement>"
    return f'<trafficSign id="{id}">{element}<virtual>false</virtual></trafficSign>'


RECTANGLE = "<rectangle><length>4.0</length><width>2.0</width></rectangle>"


def state(
    t: int, x: float, y: float, *, yaw: float | None = 0.0, speed: float | None = 10.0, position: str = "", tag: str = "state"
) -> str:
    text = f"<{tag}><position>{position or _points([(x, y)])}</position>"
    text += "" if yaw is None else f"<orientation><exact>{yaw}</exact></orientation>"
    text += f"<time><exact>{t}</exact></time>"
    return text + ("" if speed is None else f"<velocity><exact>{speed}</exact></velocity>") + f"</{tag}>"


def moving(id: int, states: Sequence[str], *, type: str = "car", shape: str = RECTANGLE, after: str | None = None) -> str:
    """states: the first is the initial one, written with tag initialState."""
    rest = f"<trajectory>{''.join(states[1:])}</trajectory>" if after is None else after
    return f'<dynamicObstacle id="{id}"><type>{type}</type><shape>{shape}</shape>{states[0]}{rest}</dynamicObstacle>'


def driving(id: int, x: float, y: float, steps: int = 10, speed: float = 10.0, **more: str) -> str:
    """Straight along x at constant speed."""
    return moving(
        id, [state(t, x + 0.1 * t * speed, y, speed=speed, tag="state" if t else "initialState") for t in range(steps + 1)], **more
    )


def standing(id: int, x: float, y: float, *, type: str = "parkedVehicle", shape: str = RECTANGLE, yaw: float = 0.0) -> str:
    place = f"<position>{_points([(x, y)])}</position><orientation><exact>{yaw}</exact></orientation><time><exact>0</exact></time>"
    return f'<staticObstacle id="{id}"><type>{type}</type><shape>{shape}</shape><initialState>{place}</initialState></staticObstacle>'


def problem(id: int, goals: str, *, x: float = 10.0, y: float = 0.0, t: int = 0) -> str:
    start = f"<initialState><position>{_points([(x, y)])}</position><velocity><exact>8.0</exact></velocity>"
    start += "<orientation><exact>0.02</exact></orientation><yawRate><exact>0</exact></yawRate><slipAngle><exact>0</exact></slipAngle>"
    start += f"<time><exact>{t}</exact></time></initialState>"
    return f'<planningProblem id="{id}">{start}{goals}</planningProblem>'


def goal(position: str, first: int = 0, last: int = 50) -> str:
    window = f"<time><intervalStart>{first}</intervalStart><intervalEnd>{last}</intervalEnd></time>"
    return f"<goalState>{f'<position>{position}</position>' if position else ''}{window}</goalState>"


def read(folder: Path, *parts: str, dt: float = 0.1) -> Imported:
    return read_file(save(folder, *parts, dt=dt))


def save(folder: Path, *parts: str, dt: float = 0.1, name: str = "DEU_Test-1_1_T-1") -> Path:
    head = f'<commonRoad timeStepSize="{dt}" commonRoadVersion="2020a" author="A" affiliation="B" source="C"'
    head += f' benchmarkID="{name}" date="2024-01-01">'
    location = "<location><geoNameId>1</geoNameId><gpsLatitude>1</gpsLatitude><gpsLongitude>1</gpsLongitude></location><scenarioTags/>"
    path = folder / f"{name}.xml"
    path.write_text(f"<?xml version='1.0' encoding='UTF-8'?>{head}{location}{''.join(parts)}</commonRoad>")
    return path


ROAD = lanelet(1, (0.0, 0.0), (200.0, 0.0))


def said(imported: Imported, *words: str) -> bool:
    """Whether some line of the report has all these words."""
    return any(all(word in line for word in words) for line in imported.report.lines)


def test_stop_and_yield_signs_order_the_junction_behind_them(tmp_path: Path) -> None:
    line = f"<stopLine>{_points([(-1.75, -7.0), (1.75, -7.0)])}<lineMarking>solid</lineMarking>{ref('trafficSignRef', 50)}</stopLine>"
    imported = read(
        tmp_path,
        lanelet(1, (-60.0, 0.0), (-10.0, 0.0), successor=[2], inside=ref("trafficSignRef", 51)),
        lanelet(2, (-10.0, 0.0), (10.0, 0.0), predecessor=[1], successor=[3]),
        lanelet(3, (10.0, 0.0), (60.0, 0.0), predecessor=[2]),
        lanelet(4, (0.0, -60.0), (0.0, -6.0), successor=[5], inside=line + ref("trafficSignRef", 50)),
        lanelet(5, (0.0, -6.0), (0.0, 10.0), predecessor=[4]),
        sign(50, "206"),
        sign(51, "301"),
        '<intersection id="90"><incoming id="91"><incomingLanelet ref="1"/><successorsStraight ref="2"/></incoming></intersection>',
    )
    lanes = {lane.id: lane for lane in imported.network.lanes}
    assert (lanes["2"].type, lanes["5"].type, lanes["1"].type) == (LaneType.JUNCTION, LaneType.JUNCTION, LaneType.DRIVE)
    assert lanes["2"].priority > 0 > lanes["5"].priority
    stop = lanes["4"].stop
    assert stop is not None
    assert stop.must_stop
    assert stop.s == pytest.approx(53.0, abs=1e-6)
    gives_way = {(c.lane, c.other): c.yields for c in imported.network.conflicts}
    assert gives_way == {("2", "5"): False, ("5", "2"): True}
    yielding = read(tmp_path, lanelet(1, (0.0, 0.0), (50.0, 0.0), inside=ref("trafficSignRef", 50)), sign(50, "205"))
    stop = yielding.network.lane("1").stop
    assert stop is not None
    assert (stop.must_stop, stop.light, stop.s) == (False, None, 49.5)


def test_limits_are_inherited_guessed_and_told(tmp_path: Path) -> None:
    imported = read(
        tmp_path,
        lanelet(1, (0.0, 0.0), (50.0, 0.0), successor=[2], inside=ref("trafficSignRef", 50) + ref("trafficSignRef", 51)),
        lanelet(2, (50.0, 0.0), (90.0, 0.0), predecessor=[1], successor=[3]),
        lanelet(3, (90.0, 0.0), (120.0, 0.0), predecessor=[2]),
        lanelet(4, (0.0, 40.0), (90.0, 40.0), types=("highway",)),
        lanelet(5, (0.0, 80.0), (90.0, 80.0)),
        sign(50, "274", 8.5),
        sign(51, "260"),
        driving(70, 0.0, 80.0, speed=21.0),
    )
    limits = {lane.id: lane.speed_limit for lane in imported.network.lanes if lane.type == LaneType.DRIVE}
    assert limits == pytest.approx({"1": 8.5, "2": 8.5, "3": 8.5, "4": 130 / 3.6, "5": 80 / 3.6})  # 21 m/s are 75.6 km/h
    assert said(imported, "take that of the lanelet before", "2, 3 (2)")
    assert said(imported, "get 130 or 80 km/h", "4, 5 (2)")
    assert said(imported, "signs without an effect", "x1")


def test_lights_arrows_and_switched_off_ones(tmp_path: Path) -> None:
    def light(id: int, colours: Sequence[tuple[str, int]], offset: int, more: str = "<active>true</active>") -> str:
        cycle = "".join(f"<cycleElement><duration>{n}</duration><color>{c}</color></cycleElement>" for c, n in colours)
        place = f"<position>{_points([(51.0, 3.0)])}</position>"
        return f'<trafficLight id="{id}"><cycle>{cycle}<timeOffset>{offset}</timeOffset></cycle>{place}{more}</trafficLight>'

    imported = read(
        tmp_path,
        lanelet(1, (0.0, 0.0), (50.0, 0.0), successor=[2], inside=ref("trafficLightRef", 60) + ref("trafficLightRef", 61)),
        lanelet(2, (50.0, 0.0), (90.0, 0.0), predecessor=[1], inside=ref("trafficLightRef", 61)),
        light(60, [("red", 20), ("inactive", 10), ("green", 30)], 7, "<direction>left</direction><active>true</active>"),
        light(61, [("red", 20), ("green", 30)], 0, "<active>false</active>"),
        dt=0.2,
    )
    (ours,) = imported.network.lights
    assert (ours.id, ours.x, ours.y, ours.heading) == ("60", 51.0, 3.0, 0.0)
    assert ours.phases == ((LightState.RED, 4.0), (LightState.NONE, 2.0), (LightState.GREEN, 6.0))
    assert ours.offset == pytest.approx(-1.4)
    stop = imported.network.lane("1").stop
    assert stop is not None
    assert stop.light == "60"
    assert imported.network.lane("2").stop is None
    assert said(imported, "arrow lights", "60")
    assert said(imported, "switched off", "61")


def test_lights_show_at_our_time_0_what_the_file_has_at_the_ego_s_start(tmp_path: Path) -> None:
    """Red for 20 steps, then green for 30, from step 7 on; the ego starts at step 12, 5 steps into the red."""
    cycle = "".join(f"<cycleElement><duration>{n}</duration><color>{c}</color></cycleElement>" for c, n in (("red", 20), ("green", 30)))
    light = f'<trafficLight id="60"><cycle>{cycle}<timeOffset>7</timeOffset></cycle><active>true</active></trafficLight>'
    imported = read(
        tmp_path,
        lanelet(1, (0.0, 0.0), (50.0, 0.0), successor=[2], inside=ref("trafficLightRef", 60)),
        lanelet(2, (50.0, 0.0), (90.0, 0.0), predecessor=[1]),
        light,
        problem(9, goal("", 12, 60), t=12),
    )
    assert imported.network.lights[0].offset == pytest.approx(0.5)
    assert said(imported, "reactive agents", "no lights") == bool(imported.recording.agents)


def test_walkways_shoulders_and_closed_lanelets(tmp_path: Path) -> None:
    walker = state(0, 30.0, -6.0, yaw=1.57, speed=1.3, tag="initialState"), state(1, 30.0, -5.87, yaw=1.57, speed=1.3)
    imported = read(
        tmp_path,
        lanelet(1, (0.0, 0.0), (60.0, 0.0)),
        lanelet(2, (30.0, -8.0), (30.0, 8.0), width=4.0, types=("crosswalk",)),
        lanelet(3, (0.0, -6.0), (60.0, -6.0), types=("sidewalk",)),
        lanelet(4, (0.0, 3.5), (60.0, 3.5), types=("shoulder",)),
        lanelet(5, (0.0, -3.5), (60.0, -3.5), types=("bicycleLane",), adjacentLeft=(1, "same")),
        moving(70, walker, type="pedestrian", shape="<circle><radius>0.3</radius></circle>"),
    )
    lanes = {lane.id: lane for lane in imported.network.lanes if lane.type != LaneType.PATH}
    assert {id: lane.type for id, lane in lanes.items()} == {
        "1": LaneType.DRIVE,
        "2": LaneType.WALKWAY,
        "3": LaneType.WALKWAY,
        "5": LaneType.DRIVE,
    }
    assert [len(polygon) for polygon in imported.network.crosswalks] == [4]
    assert any(np.ptp(area[:, 0]) == pytest.approx(60.0) and area[:, 1].mean() == pytest.approx(3.5) for area in imported.network.areas)
    assert lanes["5"].left is None
    assert said(imported, "type bicycle_lane", "no lane change", "5")
    assert said(imported, "drivable ground without lanes", "4")
    assert {c.yields for c in imported.network.conflicts if (c.lane, c.other) == ("1", "2")} == {
        True
    }  # pedestrians on the crosswalk go first
    (person,) = imported.recording.agents
    assert (person.kind, person.length, person.width) == (Kind.PEDESTRIAN, 0.6, 0.6)
    assert said(imported, "circle", "bounding rectangle", "70")


def test_ground_closed_to_traffic_is_left_out() -> None:
    """Types that only newer versions of commonroad-io know."""

    def stub(id: int, y: float, name: str) -> SimpleNamespace:
        line, side = np.array([[0.0, y], [50.0, y]]), np.array([0.0, 1.5])
        return SimpleNamespace(
            lanelet_id=id, lanelet_type=[SimpleNamespace(name=name)], user_one_way=[], successor=[],
            left_vertices=line + side, right_vertices=line - side, adj_left=None, adj_right=None,
            adj_left_same_direction=None, adj_right_same_direction=None, line_marking_left_vertices=None, line_marking_right_vertices=None,
        )  # fmt: skip

    report = ImportReport()
    drafts, areas = draft_lanes([stub(1, 0.0, "URBAN"), stub(2, 9.0, "RESTRICTED_AREA"), stub(3, 20.0, "PARKING")], np.zeros(2), report)
    assert list(drafts) == ["1"]
    assert [area[:, 1].mean() for area in areas] == [20.0]
    assert any("closed to traffic" in line and "2" in line for line in report.lines)


def test_neighbours_markings_and_lane_ends(tmp_path: Path) -> None:
    imported = read(
        tmp_path,
        lanelet(1, (0.0, 0.0), (100.0, 0.0), left="dashed", right="solid", adjacentLeft=(2, "same")),
        lanelet(
            2, (0.0, 3.5), (100.0, 3.5), left="solid", right="dashed", adjacentLeft=(3, "same"), adjacentRight=(1, "same"), successor=[5]
        ),
        lanelet(3, (0.0, 7.0), (100.0, 7.0), right="solid", adjacentRight=(2, "same"), adjacentLeft=(4, "opposite")),
        lanelet(4, (100.0, 10.5), (0.0, 10.5), adjacentLeft=(3, "opposite")),
        lanelet(5, (100.0, 3.5), (150.0, 3.5), predecessor=[2]),
        lanelet(6, (0.0, 50.0), (100.0, 50.0), adjacentLeft=(7, "same")),
        lanelet(7, (40.0, 53.5), (140.0, 53.5), adjacentRight=(6, "same")),
    )
    lanes = {lane.id: lane for lane in imported.network.lanes}
    assert (lanes["1"].left, lanes["2"].right, lanes["2"].left, lanes["3"].right, lanes["3"].left) == ("2", "1", None, None, None)
    assert (lanes["1"].left_mark, lanes["1"].right_mark, lanes["2"].left_mark) == (Mark.DASHED, Mark.SOLID, Mark.SOLID)
    assert {id: lanes[id].end for id in "123"} == {"1": LaneEnd.BLOCKED, "2": LaneEnd.CONTINUE, "3": LaneEnd.EXIT}
    assert said(imported, "solid line to a neighbour", "2, 3 (2)")
    assert said(imported, "oncoming", "3, 4 (2)")
    assert said(imported, "do not run side by side", "6-7, 7-6")


def test_kinds_and_shapes(tmp_path: Path) -> None:
    polygon = f"<polygon>{_points([(0.0, -1.0), (3.0, -1.0), (3.0, 1.0), (0.0, 1.0)])}</polygon>"
    shifted = (
        "<rectangle><length>6.0</length><width>2.0</width><orientation>0.5</orientation><center><x>1.0</x><y>0.5</y></center></rectangle>"
    )
    yaw = 0.3
    turned = [state(t, 10.0 + t, 80.0, yaw=yaw, tag="state" if t else "initialState") for t in range(3)]
    imported = read(
        tmp_path,
        ROAD,
        *(driving(70 + i, 20.0, 5.0 * i, type=name) for i, name in enumerate(("truck", "bus", "motorcycle", "bicycle", "taxi"))),
        moving(80, turned, shape=shifted),
        standing(81, 50.0, 90.0, shape=polygon, yaw=np.pi / 2),
        standing(82, 90.0, 90.0, type="constructionZone"),
    )
    agents = {agent.id: agent for agent in imported.recording.agents}
    kinds = [agents[str(70 + i)].kind for i in range(5)]
    assert kinds == [Kind.TRUCK, Kind.BUS, Kind.MOTORCYCLE, Kind.BICYCLE, Kind.CAR]
    assert said(imported, "type taxi count as car", "74")
    assert said(imported, "type constructionzone count as car", "82") or said(imported, "type construction_zone count as car", "82")
    log = agents["80"].log
    assert log is not None
    np.testing.assert_allclose(log.x[:3], 10.0 + np.arange(3) + 1.0 * np.cos(yaw) - 0.5 * np.sin(yaw))
    np.testing.assert_allclose(log.y[:3], 80.0 + 1.0 * np.sin(yaw) + 0.5 * np.cos(yaw))
    np.testing.assert_allclose(log.yaw[:3], yaw + 0.5)
    parked = agents["81"]
    assert (parked.role, parked.length, parked.width) == (Role.STATIC, 3.0, 2.0)
    assert (parked.x, parked.y) == pytest.approx((50.0, 91.5))


def test_states_that_are_missing_uncertain_or_sets(tmp_path: Path) -> None:
    box = (
        "<rectangle><length>1.0</length><width>0.5</width><orientation>0.0</orientation><center><x>30.5</x><y>9.0</y></center></rectangle>"
    )
    times = "<time><intervalStart>1</intervalStart><intervalEnd>2</intervalEnd></time>"
    sets = f"<occupancySet><occupancy><shape>{RECTANGLE}</shape>{times}</occupancy></occupancySet>"
    imported = read(
        tmp_path,
        ROAD,
        moving(70, [state(0, 20.0, 0.0, tag="initialState")], after=""),
        moving(71, [state(0, 20.0, 5.0, tag="initialState")], after=sets),
        moving(72, [state(0, 0, 0, position=box, tag="initialState"), state(1, 31.5, 9.0), state(2, 32.5, 9.0)]),
        moving(73, [state(2, 40.0, 20.0, tag="initialState"), state(3, 41.0, 20.0), state(4, 42.0, 20.0)]),
        moving(
            74, [state(0, 40.0, 30.0, tag="initialState"), *(state(t, 40.0 + t, 30.0 + t, yaw=np.pi / 4, speed=None) for t in range(1, 5))]
        ),
    )
    logs = {agent.id: agent.log for agent in imported.recording.agents}
    there = {id: np.nonzero(log.valid)[0].tolist() for id, log in logs.items() if log is not None}
    assert there == {"70": [0], "71": [0], "72": [0, 1, 2], "73": [2, 3, 4], "74": [0, 1, 2, 3, 4]}
    assert all(log is not None and np.isfinite([log.x, log.y, log.yaw, log.speed]).all() for log in logs.values())
    assert logs["72"] is not None
    assert (logs["72"].x[0], logs["72"].y[0]) == (30.5, 9.0)
    assert said(imported, "no trajectory", "70")
    assert said(imported, "set of possible places", "71")
    assert said(imported, "uncertain", "72")
    assert said(imported, "taken from their movement", "74")
    assert logs["74"] is not None
    np.testing.assert_allclose(logs["74"].speed[1:5], np.sqrt(2.0) * 10.0)


def test_the_ego_may_start_later_and_there_may_be_several_problems_and_goals(tmp_path: Path) -> None:
    circle = "<circle><radius>2.0</radius><center><x>100.0</x><y>0.5</y></center></circle>"
    imported = read(
        tmp_path,
        ROAD,
        driving(70, 60.0, 0.0, steps=30),
        moving(71, [state(0, 20.0, 5.0, tag="initialState"), state(1, 21.0, 5.0)]),
        problem(80, goal(circle, 20, 45) + goal("", 0, 99), t=5),
        problem(81, goal("")),
    )
    (agent,) = imported.recording.agents
    assert agent.log is not None
    assert (agent.log.x[0], len(agent.log.x), imported.duration) == (pytest.approx(65.0), 41, pytest.approx(4.0))
    region, wanted = imported.goal.region, imported.goal
    assert region is not None
    assert (region.x, region.y, region.length, region.width) == pytest.approx((100.0, 0.5, 4.0, 4.0))
    assert not said(imported, "crow")
    assert (wanted.time_min, wanted.time_max) == pytest.approx((1.5, 4.0))
    assert imported.network.destinations == {"goal": (("1", pytest.approx(100.0)),)}
    assert (imported.ego.lane, imported.ego.s) == ("1", pytest.approx(10.0))
    for words in (
        ("time step 5",),
        ("only before the ego's start", "71"),
        ("alternative goal states", "2"),
        ("left out", "81"),
        ("fills 79%",),
    ):
        assert said(imported, *words), words


def test_large_coordinates_are_moved_so_that_float32_keeps_millimetres(tmp_path: Path) -> None:
    east, north = 500_000.0, 5_400_000.0  # UTM
    path = save(
        tmp_path,
        lanelet(1, (east, north), (east + 200.0, north)),
        driving(70, east + 60.25, north + 0.125),
        problem(80, goal(f"{ref('lanelet', 1)}"), x=east + 10.0, y=north),
    )
    imported = read_file(path)
    assert imported.recording.offset == (east + 100.0, north)
    assert np.abs(imported.network.lane("1").centre).max() < 200.0
    log = imported.recording.agents[0].log
    assert log is not None
    assert (
        np.abs(log.x.astype(np.float32) + (east + 100.0) - (east + 60.25 + np.arange(len(log.x))) * (np.arange(len(log.x)) <= 10))[
            :11
        ].max()
        < 1e-3
    )
    assert said(imported, "moved by (-500100, -5.4e+06) m")
    episode = scenarios.sample(scenarios.load(import_file(path, tmp_path / "out").scenario), 3)
    assert (episode.agents[0].x, episode.agents[0].y) == pytest.approx((-90.0, 0.0))


def test_at_most_as_many_agents_as_a_world_has_slots(tmp_path: Path) -> None:
    ids = count(100)
    imported = read(tmp_path, ROAD, *(standing(next(ids), 7.0 * i, 20.0) for i in range(70)), problem(80, goal("")))
    assert len(imported.recording.agents) == 63
    kept = {agent.x for agent in imported.recording.agents}
    assert max(kept) == pytest.approx(7.0 * 62)  # the ego starts at x = 10
    assert said(imported, "63 road users", "163", "(7)")
    written = import_file(tmp_path / "DEU_Test-1_1_T-1.xml", tmp_path / "out")
    assert len(scenarios.sample(scenarios.load(written.scenario), 0).agents) == 64


def test_collisions_among_recorded_agents_are_listed_once_with_their_times(tmp_path: Path) -> None:
    imported = read(tmp_path, ROAD, driving(70, 20.0, 0.0), standing(71, 28.5, 0.5), driving(72, 20.0, 40.0))
    (found,) = collisions_among(imported.recording.agents, 0.1)
    assert (found.first, found.second) == ("70", "71")
    assert (found.start, found.end) == pytest.approx((0.5, 1.0))  # at 0.5 s the bumpers are 0.5 m past each other
    assert found.area == pytest.approx(3.5 * 1.5)  # centres 0.5 m apart along, 0.5 m across, at 0.8 and 0.9 s


def test_reactive_agents_keep_their_recorded_headway(tmp_path: Path) -> None:
    imported = read(tmp_path, ROAD, driving(70, 40.0, 0.0, steps=20), driving(71, 24.0, 0.0, steps=20), standing(72, 150.0, 30.0))
    network, agents = recorded_agents(imported.network, imported.recording, "reactive")
    assert network is imported.network  # the sidecar holds the paths already
    by_id = {agent.id: agent for agent in agents}
    follower, leader = by_id["71"].driver, by_id["70"].driver
    assert follower is not None
    assert leader is not None
    assert (follower.headway, follower.min_gap) == pytest.approx((1.0, 2.0))  # 12 m bumper to bumper at 10 m/s, 2 m of them at rest
    assert (leader.headway, leader.desired_speed) == (1.5, 10.0)
    assert by_id["72"].role == Role.STATIC
    with pytest.raises(ValueError, match="mode='replay'"):
        recorded_agents(network, imported.recording, "replay")


def test_paths_go_on_along_the_road(tmp_path: Path) -> None:
    angles = np.linspace(0.0, np.pi / 2, 40)
    bend = np.stack([100.0 + 30.0 * np.sin(angles), 30.0 - 30.0 * np.cos(angles)], axis=-1)
    lanes = (
        Lane(id="a", centre=np.array([[0.0, 0.0], [100.0, 0.0]]), speed_limit=10.0, successors=("b",)),
        Lane(id="b", centre=bend, speed_limit=10.0, type=LaneType.JUNCTION, end=LaneEnd.EXIT),
    )
    points = onward(RoadNetwork(lanes=lanes), 90.0, 1.0, 0.0, 80.0)
    radius = np.hypot(points[:, 0] - 100.0, points[:, 1] - 30.0)
    late = (points[:, 0] > 108.0) & (points[:, 1] < 29.0)
    assert late.sum() > 10
    np.testing.assert_allclose(radius[late], 30.0, atol=0.2)
    assert arc_length(np.concatenate([[[90.0, 1.0]], points]))[-1] == pytest.approx(80.0, abs=2.5)
    np.testing.assert_allclose(points[-1][0], 130.0, atol=0.5)  # straight on behind the end of the map
    np.testing.assert_allclose(onward(RoadNetwork(lanes=lanes), 0.0, 90.0, np.pi, 20.0), [[-20.0, 90.0]], atol=1e-9)


def test_smoothing_keeps_straights_arcs_and_ends() -> None:
    straight = np.array([[0.0, 0.0], [7.0, 0.0], [31.0, 0.0]])
    np.testing.assert_allclose(smooth(straight, None, None)[:, 1], 0.0, atol=1e-12)
    angles = np.linspace(0.0, np.pi / 2, 12)
    arc = 20.0 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    curve = smooth(arc, np.array([0.0, 1.0]), np.array([-1.0, 0.0]))
    np.testing.assert_allclose(np.hypot(*curve.T), 20.0, atol=0.06)
    np.testing.assert_allclose(curve[[0, -1]], arc[[0, -1]])
    heading = np.unwrap(np.arctan2(*np.diff(curve, axis=0).T[::-1]))
    assert np.abs(np.diff(heading)).max() / 0.1 < 0.08  # 1/m; the polygon turns by 8 degrees at each corner


def test_command_writes_reports_and_refuses(tmp_path: Path) -> None:
    path = save(tmp_path, ROAD, driving(70, 20.0, 0.0), standing(71, 28.5, 0.5), problem(80, goal("")))
    out = tmp_path / "out"
    run = CliRunner().invoke(command, [str(path), "-o", str(out), "--mode", "reactive"])
    assert run.exit_code == 0, run.output
    assert "1 lanes, 0 lights, 2 recorded agents, 5.0 s at 0.1 s" in run.output
    assert "recorded agents that overlap in the file itself: 70 and 71 from 0.5 s to 1.0 s" in run.output
    loaded = scenarios.load(out / "DEU_Test-1_1_T-1.yaml")
    assert {agent.role for agent in scenarios.sample(loaded, 0).agents[1:]} == {Role.IDM, Role.STATIC}
    again = CliRunner().invoke(command, [str(path), "-o", str(out)])
    assert isinstance(again.exception, FileExistsError)
    assert "exists already" in str(again.exception)
    forced = CliRunner().invoke(command, [str(path), "-o", str(out), "--force", "--json"])
    (result,) = json.loads(forced.output)
    assert result["agents"] == 2
    assert result["scenario"].endswith("DEU_Test-1_1_T-1.yaml")
    dry = CliRunner().invoke(command, [str(path), "-o", str(tmp_path / "none"), "--dry-run"])
    assert dry.exit_code == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<OpenDRIVE/>", "not a file of a known format; known: CommonRoad"),
        ("", "not a file of a known format"),
        ("<commonRoad", "not a CommonRoad file that commonroad-io can read"),
        ('<commonRoad timeStepSize="0.1" commonRoadVersion="1999a"/>', "not a CommonRoad file"),
    ],
)
def test_files_that_are_no_scenarios_are_refused_in_a_sentence(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        read_file(path)
    assert "x.xml" in str(caught.value)


def test_files_without_roads_or_with_strange_steps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no lanelets"):
        read(tmp_path, driving(70, 0.0, 0.0))
    with pytest.raises(ValueError, match="no lanelet that one may drive on"):
        read(tmp_path, lanelet(1, (0.0, 0.0), (60.0, 0.0), types=("sidewalk",)))
    with pytest.raises(ValueError, match=r"time step 2\.0 s; expected 0\.01 to 0\.5 s"):
        read(tmp_path, ROAD, dt=2.0)
    with pytest.raises(ValueError, match="mode='other'"):
        import_file(save(tmp_path, ROAD), tmp_path, mode="other")


def test_a_missing_extra_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = save(tmp_path, ROAD)
    for name in [name for name in sys.modules if name.split(".")[0] == "commonroad"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "commonroad", None)
    with pytest.raises(ValueError, match=r"pip install 'closedloop\[commonroad\]'"):
        read_file(path)


@pytest.mark.parametrize(
    ("stem", "name"), [("USA_US101-3_1_T-1", "USA_US101-3_1_T-1"), ("1 a.b", "s_1_a_b"), ("ä" * 80, "s__"), ("x" * 90, "x" * 64)]
)
def test_names_fit_scenario_files(stem: str, name: str) -> None:
    assert scenario_name(stem) == name


CIRCLE = "<circle><radius>2.0</radius><center><x>100.0</x><y>0.5</y></center></circle>"


def test_the_ego_starts_turned_as_in_the_file_and_has_a_route_to_its_region(tmp_path: Path) -> None:
    two = (lanelet(1, (0.0, 0.0), (120.0, 0.0), successor=[2]), lanelet(2, (120.0, 0.0), (200.0, 0.0), predecessor=[1]))
    path = save(tmp_path, *two, problem(80, goal(CIRCLE)))
    episode = scenarios.sample(scenarios.load(import_file(path, tmp_path / "out").scenario), 0)
    ego = episode.agents[0]
    assert (ego.lane, ego.yaw) == ("1", pytest.approx(0.02))
    assert ego.destination == episode.goal.destination == "goal"
    assert episode.goal.region is not None
    # whoever passes the region too early is on the way still
    assert dict(episode.network.destinations["goal"]) == {"1": pytest.approx(100.0), "2": 0.0}


def test_a_region_to_which_no_lane_leads_is_reached_as_the_crow_flies(tmp_path: Path) -> None:
    circle = CIRCLE.replace("<y>0.5</y>", "<y>90.5</y>")
    imported = read(tmp_path, ROAD, lanelet(2, (0.0, 90.0), (200.0, 90.0)), problem(80, goal(circle)))
    assert imported.goal.region is not None
    assert imported.goal.destination is None
    assert imported.network.destinations == {}
    assert said(imported, "no lane leads", "crow")


@pytest.mark.parametrize(("asked", "keys"), [("file", {"destination", "region", "time_max"}), ("pass", {"destination"}), ("last", set())])
def test_the_goal_can_be_made_easier_which_is_told(tmp_path: Path, asked: str, keys: set[str]) -> None:
    path = save(tmp_path, ROAD, problem(80, goal(CIRCLE, 0, 45)))
    written = import_file(path, tmp_path / "out", goal=asked)
    assert set(scenarios.load(written.scenario).model.ego.goal.model_dump(exclude_defaults=True)) == keys
    assert said(written.imported, "as asked") == (asked != "file")
    with pytest.raises(ValueError, match="must be one of file, pass, last"):
        import_file(path, tmp_path / "other", goal="none")
