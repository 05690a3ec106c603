"""Compiled maps against the networks they come from: tables, centrelines, lights, conflicts, padding."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import shapely
import torch

from envs.driving.maps import _compiled, compile_maps, destination_index, resample
from scenarios.network import Conflict, Lane, LaneEnd, Light, LightState, RoadNetwork, StopLine
from scenarios.roads import ROADS

KINDS = [kind for kind in ROADS if kind != "custom"]
NETWORKS = {kind: ROADS[kind]().build() for kind in KINDS}


def straight(id: str, length: float, **fields: object) -> Lane:
    return Lane(id=id, centre=np.array([[0.0, 0.0], [length, 0.0]]), speed_limit=10.0, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_lane_tables_repeat_the_network(kind: str) -> None:
    network = NETWORKS[kind]
    maps = compile_maps([network])
    ids = [lane.id for lane in network.lanes]
    for i, lane in enumerate(network.lanes):
        assert maps.lane_type[0, i] == lane.type
        assert maps.lane_end[0, i] == lane.end
        assert float(maps.lane_width[0, i]) == pytest.approx(lane.width)
        assert float(maps.lane_limit[0, i]) == pytest.approx(lane.speed_limit)
        for table, other in ((maps.lane_left, lane.left), (maps.lane_right, lane.right)):
            assert table[0, i] == (-1 if other is None else ids.index(other))
            if other is not None:  # point i of one lane lies beside point i of the other
                assert maps.lane_count[0, i] == maps.lane_count[0, ids.index(other)]
        assert float(maps.lane_length[0, i]) == pytest.approx(shapely.LineString(lane.centre).length, rel=1e-5)
        assert float(maps.lane_step[0, i]) * (int(maps.lane_count[0, i]) - 1) == pytest.approx(float(maps.lane_length[0, i]), rel=1e-5)
        assert 0.4 < float(maps.lane_step[0, i]) < 1.6
        assert float(maps.stop_s[0, i]) == pytest.approx(np.inf if lane.stop is None else lane.stop.s)
        assert bool(maps.stop_must[0, i]) == (lane.stop is not None and lane.stop.must_stop)


@pytest.mark.parametrize("kind", KINDS)
def test_points_lie_on_the_centreline_and_point_along_it(kind: str) -> None:
    network = NETWORKS[kind]
    maps = compile_maps([network])
    for i, lane in enumerate(network.lanes):
        line = shapely.LineString(lane.centre)
        first, count, step = int(maps.lane_start[0, i]), int(maps.lane_count[0, i]), float(maps.lane_step[0, i])
        points = maps.points[0, first : first + count].double().numpy()
        s = np.arange(count) * step
        np.testing.assert_allclose(points[:, :2], shapely.get_coordinates(line.interpolate(s)), atol=2e-3)
        np.testing.assert_allclose(np.hypot(points[:, 2], points[:, 3]), 1.0, atol=1e-6)
        ahead = shapely.get_coordinates(line.interpolate(np.minimum(s + 0.3, line.length)))
        behind = shapely.get_coordinates(line.interpolate(np.maximum(s - 0.3, 0.0)))
        direct = np.arctan2(*(ahead - behind).T[::-1])
        error = np.angle(np.exp(1j * (np.arctan2(points[:, 3], points[:, 2]) - direct)))
        assert np.abs(error).max() < np.deg2rad(1.5)


@pytest.mark.parametrize(
    ("kind", "lane", "radius"),
    [("roundabout", "ring_north.0", 20.0), ("roundabout", "south_entry.0", -13.0), ("junction", "south_east.0", -10.75)],
)
def test_curvature_of_arcs(kind: str, lane: str, radius: float) -> None:
    network = NETWORKS[kind]
    maps = compile_maps([network])
    i = [other.id for other in network.lanes].index(lane)
    first, count = int(maps.lane_start[0, i]), int(maps.lane_count[0, i])
    np.testing.assert_allclose(maps.points[0, first : first + count, 4], 1.0 / radius, rtol=0.03)


def test_headings_of_successive_lanes_agree_at_the_joint() -> None:
    for network in NETWORKS.values():
        maps = compile_maps([network])
        ids = [lane.id for lane in network.lanes]
        for i, lane in enumerate(network.lanes):
            end = maps.points[0, int(maps.lane_start[0, i]) + int(maps.lane_count[0, i]) - 1]
            for name in lane.successors:
                start = maps.points[0, int(maps.lane_start[0, ids.index(name)])]
                assert float(torch.hypot(*(end - start)[:2])) < 0.01
                assert float((end[2:4] * start[2:4]).sum()) > np.cos(np.deg2rad(1.5)), (lane.id, name)


def test_resampling_a_coarse_bend_turns_smoothly() -> None:
    angle = np.linspace(0.0, np.pi / 2.0, 10)
    points, step = resample(50.0 * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=-1), 79)
    heading = np.unwrap(np.arctan2(points[:, 3], points[:, 2]))
    np.testing.assert_allclose(heading, np.arange(79) * step / 50.0, atol=0.01)
    np.testing.assert_allclose(points[:, 4], 1.0 / 50.0, rtol=0.02)


def test_a_map_is_the_same_alone_and_in_a_batch() -> None:
    networks = [NETWORKS["highway"], NETWORKS["junction"], NETWORKS["parking"]]
    together = compile_maps(networks)
    for row, network in enumerate(networks):
        alone = compile_maps([network])
        for name in alone._fields:
            part, whole = getattr(alone, name)[0], getattr(together, name)[row]
            assert torch.equal(part, whole[tuple(slice(size) for size in part.shape)]), name


def test_padding_is_inert() -> None:
    together = compile_maps([NETWORKS["highway"], NETWORKS["junction"]])
    lanes = len(NETWORKS["highway"].lanes)
    assert (together.lane_count[0, lanes:] == 0).all()
    assert (together.lane_left[0, lanes:] == -1).all()
    assert torch.isinf(together.stop_s[0, lanes:]).all()
    assert torch.isinf(together.to_go[0, :, lanes:]).all()
    assert (together.next_lane[0, :, lanes:] == -1).all()
    assert torch.isinf(together.conflict[0, ..., 0]).all()
    height = compile_maps([NETWORKS["highway"]]).sdf.shape[1]
    assert (together.sdf[0, height:] == -10.0).all()
    assert (together.headings[0, height:] == 65535).all()
    assert not any(torch.isnan(table).any() for table in together if table.is_floating_point())


def test_types_are_those_of_the_contract() -> None:
    maps = compile_maps([NETWORKS["junction"]])
    integers = {"lane_start", "lane_count", "lane_type", "lane_end", "lane_left", "lane_right", "stop_light"}
    integers |= {"next_lane", "change", "light_states", "conflict_id", "headings"}
    for name, table in maps._asdict().items():
        expected = torch.int64 if name in integers else torch.bool if name == "stop_must" else torch.float32
        assert table.dtype == expected, name


def test_light_programmes() -> None:
    phases = ((LightState.GREEN, 10.0), (LightState.YELLOW, 3.0), (LightState.RED, 7.0))
    light = Light(id="l", x=1.0, y=2.0, heading=0.5, phases=phases, offset=4.0)
    network = RoadNetwork(lanes=(straight("a", 50.0, end=LaneEnd.EXIT, stop=StopLine(s=40.0, light="l")),), lights=(light,))
    maps = compile_maps([network])
    assert maps.light_ends[0, 0].tolist() == [10.0, 13.0, 20.0] + [float("inf")] * 5
    assert maps.light_states[0, 0].tolist() == [4, 3, 1, 0, 0, 0, 0, 0]
    assert (float(maps.light_cycle[0, 0]), float(maps.light_offset[0, 0]), int(maps.stop_light[0, 0])) == (20.0, 4.0, 0)
    assert maps.light_pose[0, 0].tolist() == [1.0, 2.0, 0.5]
    with pytest.raises(ValueError, match="9 phases"):
        compile_maps([RoadNetwork(lanes=network.lanes, lights=(Light(id="l", x=0.0, y=0.0, heading=0.0, phases=phases * 3),))])


def test_conflict_table_repeats_the_conflicts() -> None:
    network = NETWORKS["junction"]
    maps = compile_maps([network])
    ids = [lane.id for lane in network.lanes]
    seen = 0
    for c in network.conflicts:
        row, column = maps.conflict_id[0, ids.index(c.lane)], maps.conflict_id[0, ids.index(c.other)]
        expected = (c.s_enter, c.s_exit, c.other_enter, c.other_exit, 2.0 if c.mutual else float(c.yields))
        np.testing.assert_allclose(maps.conflict[0, row, column], expected, rtol=1e-6)
        seen += 1
    assert seen == int(torch.isfinite(maps.conflict[0, ..., 0]).sum()) > 0


def test_two_stretches_of_one_pair_become_one() -> None:
    lanes = (straight("a", 100.0, end=LaneEnd.EXIT), straight("b", 100.0, end=LaneEnd.EXIT))
    parts = [(10.0, 20.0, 30.0, 40.0), (50.0, 60.0, 5.0, 8.0)]
    conflicts = tuple(
        Conflict(lane="a", other="b", s_enter=p[0], s_exit=p[1], other_enter=p[2], other_exit=p[3], yields=True) for p in parts
    )
    maps = compile_maps([RoadNetwork(lanes=lanes, conflicts=conflicts)])
    assert maps.conflict[0, 0, 1].tolist() == [10.0, 60.0, 5.0, 40.0, 1.0]


def test_destination_index() -> None:
    network = NETWORKS["exit"]
    assert [destination_index(network, name) for name in (None, "exit", "through")] == [0, 1, 2]
    with pytest.raises(KeyError, match="no destination 'moon'; known: exit, through"):
        destination_index(network, "moon")


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no networks"):
        compile_maps([])
    with pytest.raises(ValueError, match="lanes that do not exist: b"):
        compile_maps([RoadNetwork(lanes=(straight("a", 50.0, successors=("b",)),))])


def test_a_network_is_compiled_once_and_forgotten_with_it() -> None:
    network = ROADS["straight"]().build()
    key = (id(network), 0.5)
    compile_maps([network])
    tables = _compiled[key][1]
    compile_maps([network, network])
    assert _compiled[key][1] is tables
    del network
    gc.collect()
    assert key not in _compiled


def test_occluders_and_car_parks() -> None:
    maps = compile_maps([NETWORKS["junction"], NETWORKS["parking"]])
    assert (maps.occluders[0, :, 3] > 0).sum() == 4
    assert (maps.occluders[1, :, 3] > 0).sum() == 0
    assert maps.raster_step.tolist() == [0.5, 0.25]
