"""Conflicts against brute force: boxes of a car's width slid along both lanes."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import shapely

from scenarios.network import Conflict, Lane, LaneType, RoadNetwork
from scenarios.roads import ROADS
from scenarios.roads.conflicts import find_conflicts

CASES: list[tuple[str, dict[str, Any]]] = [
    ("junction", {}),
    ("junction", {"lanes": 2, "control": "all_way"}),
    ("junction", {"shape": "tee"}),
    ("roundabout", {}),
    ("crossing", {}),
    ("parking", {}),
    ("merge", {}),
    ("exit", {}),
    ("two_way", {}),
]


def build(kind: str, options: dict[str, Any]) -> RoadNetwork:
    return ROADS[kind](**options).build()


def slices(lane: Lane, step: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """s and thin boxes across the lane there, as wide as its users: 2 m, walkers 0.8 m."""
    half = 0.4 if lane.type == LaneType.WALKWAY else 1.0
    line = shapely.LineString(lane.centre)
    s = np.arange(0.05, line.length - 0.05, step)
    ends = [shapely.get_coordinates(line.interpolate(s + shift)) for shift in (-0.05, 0.05)]
    boxes = shapely.buffer(shapely.linestrings(np.stack(ends, axis=1)), half, cap_style="flat")
    return s, boxes


def related(network: RoadNetwork, a: Lane, b: Lane) -> bool:
    common = any(a.id in lane.successors and b.id in lane.successors for lane in network.lanes)
    return common or b.id in (*a.successors, a.left, a.right) or a.id in (*b.successors, b.left, b.right)


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_conflicts_are_where_users_can_touch(kind: str, options: dict[str, Any]) -> None:
    network = build(kind, options)
    stored = {(c.lane, c.other): c for c in network.conflicts}
    assert len(stored) == len(network.conflicts)
    users = [lane for lane in network.lanes if lane.type not in (LaneType.OVERTAKE, LaneType.PATH)]
    swept = {lane.id: slices(lane) for lane in users}
    for a, b in combinations(users, 2):
        conflict = stored.get((a.id, b.id))
        if related(network, a, b) or a.type == b.type == LaneType.WALKWAY:
            assert conflict is None
            continue
        (s_a, boxes_a), (s_b, boxes_b) = swept[a.id], swept[b.id]
        i, j = shapely.STRtree(boxes_b).query(boxes_a, predicate="intersects")
        if conflict is None:
            assert sum(boxes_a[k].intersection(boxes_b[m]).area for k, m in zip(i, j, strict=True)) < 0.1, (a.id, b.id)
            continue
        assert len(i), (a.id, b.id)
        for value, s in ((conflict.s_enter, s_a[i].min()), (conflict.s_exit, s_a[i].max())):
            assert value == pytest.approx(s, abs=0.25)
        for value, s in ((conflict.other_enter, s_b[j].min()), (conflict.other_exit, s_b[j].max())):
            assert value == pytest.approx(s, abs=0.25)


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_both_directions_are_stored_and_agree(kind: str, options: dict[str, Any]) -> None:
    network = build(kind, options)
    stored = {(c.lane, c.other): c for c in network.conflicts}
    for c in network.conflicts:
        back = stored[c.other, c.lane]
        assert (back.s_enter, back.s_exit, back.other_enter, back.other_exit) == (c.other_enter, c.other_exit, c.s_enter, c.s_exit)
        assert c.mutual == back.mutual
        assert (c.yields and back.yields) if c.mutual else (c.yields != back.yields)


def pair(network: RoadNetwork, lane: str, other: str) -> Conflict:
    (found,) = [c for c in network.conflicts if c.lane == lane and c.other == other]
    return found


def test_left_turns_give_way_to_oncoming_and_minor_to_major() -> None:
    network = build("junction", {"control": "yield"})
    assert pair(network, "west_north.0", "east_west.0").yields  # left turn from the major street against oncoming traffic
    assert not pair(network, "east_west.0", "west_north.0").yields
    assert pair(network, "west_north.0", "east_north.0").yields  # and to the oncoming right turn into the same arm
    assert pair(network, "south_north.0", "west_east.0").yields  # minor straight on to major straight on
    assert pair(network, "south_east.0", "west_east.0").yields  # minor right turn, joining
    assert pair(network, "south_north.0", "west_north.0").yields  # minor straight on to the major left turn
    assert pair(network, "south_west.0", "north_south.0").yields  # minor left turn to the oncoming minor
    assert not any(c.mutual for c in network.conflicts if {c.lane, c.other} & {"west_east.0", "east_west.0"})


def test_all_way_stop_has_no_priorities() -> None:
    network = build("junction", {"control": "all_way"})
    assert network.conflicts
    assert all(c.mutual and c.yields for c in network.conflicts)


def test_lanes_that_part_do_not_conflict_but_lanes_that_join_do() -> None:
    network = build("junction", {})
    pairs = {(c.lane, c.other) for c in network.conflicts}
    assert ("south_east.0", "south_north.0") not in pairs
    joined = pair(network, "south_east.0", "west_east.0")
    assert joined.s_exit == pytest.approx(shapely.LineString(network.lane("south_east.0").centre).length, abs=0.15)


def test_entering_a_roundabout_gives_way_to_the_ring() -> None:
    network = build("roundabout", {})
    assert {(c.lane, c.other) for c in network.conflicts if c.yields} == {
        (f"{a}_entry.0", f"ring_{a}.0") for a in ("south", "east", "north", "west")
    }
    entry = network.lane("south_entry.0")
    line = shapely.LineString(entry.centre).interpolate(entry.stop.s if entry.stop else 0.0)
    car = line.buffer(1.0)  # the front corners of a car waiting at the line stay out of the ring traffic's way
    assert not car.intersects(shapely.LineString(network.lane("ring_south.0").centre).buffer(1.0))


def test_walkers_have_priority_on_the_zebra_only() -> None:
    network = build("crossing", {})
    assert pair(network, "mid.0", "walk.0").yields
    assert pair(network, "back_mid.0", "walk.1").yields
    assert not pair(network, "in.0", "stray.0").yields
    assert pair(network, "stray.0", "in.0").yields
    stop = network.lane("mid.0").stop
    assert stop is not None
    assert stop.s < min(pair(network, "mid.0", f"walk.{i}").s_enter for i in (0, 1))


def test_straight_lanes_that_cross_squarely_share_two_metres() -> None:
    lanes = [
        Lane(id="a", centre=np.array([[-20.0, 0.0], [20.0, 0.0]]), speed_limit=10.0, priority=1),
        Lane(id="b", centre=np.array([[0.0, -30.0], [0.0, 30.0]]), speed_limit=10.0),
        Lane(id="far", centre=np.array([[0.0, 50.0], [10.0, 50.0]]), speed_limit=10.0),
    ]
    first, second = find_conflicts(lanes)
    assert (first.lane, first.yields, second.lane, second.yields) == ("a", False, "b", True)
    assert (first.s_enter, first.s_exit) == pytest.approx((19.0, 21.0), abs=0.11)
    assert (first.other_enter, first.other_exit) == pytest.approx((29.0, 31.0), abs=0.11)
