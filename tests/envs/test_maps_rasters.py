"""Rasters against shapely: signed distance to the drivable edge, and directions of travel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from scipy.ndimage import map_coordinates

from envs.driving.rasters import ALL_HEADINGS, FAR, Raster, drivable, lane_polygon, rasterise
from scenarios.network import Lane, LaneEnd, LaneType, RoadNetwork
from scenarios.roads import ROADS

KINDS = [kind for kind in ROADS if kind != "custom"]
NETWORKS = {kind: ROADS[kind]().build() for kind in KINDS}
RASTERS = {kind: rasterise(network, 0.5) for kind, network in NETWORKS.items()}


def drawn_out(network: RoadNetwork) -> list[Lane]:
    """The drivable lanes, 25 m longer where the map begins or ends."""
    begins = {lane.id for lane in network.lanes} - {name for lane in network.lanes for name in lane.successors}
    lanes = []
    for lane in network.lanes:
        if lane.type in (LaneType.WALKWAY, LaneType.PATH):
            continue
        points = [tuple(point) for point in lane.centre]
        if lane.id in begins:
            (x0, y0), (x1, y1) = points[0], points[1]
            share = 25.0 / np.hypot(x1 - x0, y1 - y0)
            points.insert(0, (x0 - share * (x1 - x0), y0 - share * (y1 - y0)))
        if lane.end == LaneEnd.EXIT:
            (x0, y0), (x1, y1) = points[-2], points[-1]
            share = 25.0 / np.hypot(x1 - x0, y1 - y0)
            points.append((x1 + share * (x1 - x0), y1 + share * (y1 - y0)))
        lanes.append(replace(lane, centre=np.array(points)))
    return lanes


def signed(surface: shapely.Geometry, points: np.ndarray) -> np.ndarray:
    places = shapely.points(points)
    return np.where(shapely.contains(surface, places), 1.0, -1.0) * shapely.distance(surface.boundary, places)


def bilinear(raster: Raster, points: np.ndarray) -> np.ndarray:
    return map_coordinates(raster.sdf.astype(np.float64), ((points - raster.origin) / raster.step).T[::-1], order=1, mode="nearest")


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_hold_the_exact_distance(kind: str) -> None:
    surface, raster = drivable(NETWORKS[kind]), RASTERS[kind]
    rng = np.random.default_rng(1)
    rows, columns = (rng.integers(0, size, 4000) for size in raster.sdf.shape)
    exact = signed(surface, raster.origin + raster.step * np.stack([columns, rows], axis=-1))
    np.testing.assert_allclose(raster.sdf[rows, columns], np.clip(exact, -FAR, FAR), atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_interpolated_distance_is_good_to_two_centimetres_near_the_edge(kind: str) -> None:
    surface, raster = drivable(NETWORKS[kind]), RASTERS[kind]
    rng = np.random.default_rng(2)
    rings = shapely.get_parts(surface.boundary)
    at = shapely.get_coordinates([ring.interpolate(u) for ring in rings for u in rng.uniform(0.0, ring.length, 3000 // len(rings))])
    points = at + rng.normal(0.0, 0.4, at.shape)
    error = np.abs(bilinear(raster, points) - signed(surface, points))
    assert np.quantile(error, 0.95) < 0.02
    assert error.max() < 0.25  # half a pixel, at corners: ends of lanes and the sharp noses where lanes part


def test_drivable_surface_is_the_union_of_lanes_and_areas() -> None:
    for network in NETWORKS.values():
        parts = [lane_polygon(lane) for lane in drawn_out(network)]
        parts += [shapely.Polygon(area).buffer(0) for area in network.areas]
        assert drivable(network).symmetric_difference(shapely.union_all(parts)).area < 1.0  # m^2, slits closed


def test_straight_lane_has_the_closed_form_distance() -> None:
    lane = Lane(id="a", centre=np.array([[0.0, 0.0], [100.0, 0.0]]), width=4.0, speed_limit=10.0)
    raster = rasterise(RoadNetwork(lanes=(lane,)), 0.5)
    y = np.linspace(-8.0, 8.0, 161)
    np.testing.assert_allclose(bilinear(raster, np.stack([np.full_like(y, 50.3), y], axis=-1)), 2.0 - np.abs(y), atol=1e-5)


def test_slits_between_touching_lanes_are_no_edges() -> None:
    centre = np.array([[0.0, 0.0], [100.0, 0.0]])
    lanes = tuple(Lane(id=str(i), centre=centre + np.array([0.0, 3.51 * i]), width=3.5, speed_limit=10.0) for i in range(2))
    raster = rasterise(RoadNetwork(lanes=lanes), 0.25)
    assert bilinear(raster, np.array([[50.0, 1.755]]))[0] == pytest.approx(3.5, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_headings_are_those_of_the_lanes(kind: str) -> None:
    network, raster = NETWORKS[kind], RASTERS[kind]
    rng = np.random.default_rng(3)
    lanes = drawn_out(network)
    lines = [shapely.LineString(lane.centre) for lane in lanes]
    polygons = [lane_polygon(lane) for lane in lanes]
    rows, columns = (rng.integers(0, size, 20000) for size in raster.headings.shape)
    points = raster.origin + raster.step * np.stack([columns, rows], axis=-1)
    keep = shapely.contains_xy(shapely.union_all(polygons).buffer(0.3), *points.T)
    checked = 0
    for row, column, point in zip(rows[keep][:400], columns[keep][:400], points[keep][:400], strict=True):
        place = shapely.Point(point)
        if min(polygon.boundary.distance(place) for polygon in polygons) < 0.02:
            continue  # on the edge of a lane
        wanted, doubtful = 0, 0
        for line, polygon in zip(lines, polygons, strict=True):
            if not polygon.contains(place):
                continue
            s = line.project(place)
            behind, ahead = line.interpolate(max(0.0, s - 0.3)), line.interpolate(min(line.length, s + 0.3))
            heading = np.arctan2(ahead.y - behind.y, ahead.x - behind.x)
            for k in range(16):
                away = np.cos(heading - 2.0 * np.pi * k / 16)
                wanted |= int(away >= 0.0) << k
                doubtful |= int(abs(away) < 0.06) << k  # within 3.4 degrees of square to the lane
        found = int(raster.headings[row, column])
        if wanted == 0:
            assert found == ALL_HEADINGS
        else:
            assert (found ^ wanted) & ~doubtful == 0
        checked += 1
    assert checked > 100


def test_opposite_lanes_allow_opposite_headings_and_overtaking_allows_both() -> None:
    raster, network = RASTERS["two_way"], NETWORKS["two_way"]

    def bits(x: float, y: float) -> set[int]:
        column, row = np.round((np.array([x, y]) - raster.origin) / raster.step).astype(int)
        return {k for k in range(16) if raster.headings[row, column] >> k & 1}

    assert network.lane("in.0").centre[0, 1] == pytest.approx(0.0)
    assert bits(30.0, 0.0) == {0, 1, 2, 3, 4, 12, 13, 14, 15}
    assert bits(30.0, 3.5) == {4, 5, 6, 7, 8, 9, 10, 11, 12}
    assert bits(300.0, 3.5) == set(range(16))  # the overtaking lane lies over the oncoming one
    assert bits(300.0, 15.0) == set(range(16))  # off the road


def test_network_without_drivable_surface() -> None:
    lane = Lane(id="w", centre=np.array([[0.0, 0.0], [20.0, 0.0]]), speed_limit=2.0, type=LaneType.WALKWAY)
    raster = rasterise(RoadNetwork(lanes=(lane,)), 0.5)
    assert (raster.sdf == -FAR).all()
    assert (raster.headings == ALL_HEADINGS).all()
