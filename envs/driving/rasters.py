"""Rasters of a road network: signed distance to the drivable edge, and the directions of travel allowed at each place.

Shapes: H rows (y), W columns (x), E boundary segments, Q pixels asked for. Metres, radians.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from scenarios.network import Lane, LaneEnd, LaneType, RoadNetwork

__all__ = ["ALL_HEADINGS", "FAR", "Raster", "drivable", "lane_polygon", "rasterise"]

Floats = NDArray[np.float64]

FAR = 10.0  # m, distances are clipped here
BINS = 16
ALL_HEADINGS = (1 << BINS) - 1  # no direction is prescribed
SURFACE = (LaneType.DRIVE, LaneType.JUNCTION, LaneType.OVERTAKE)  # lane types one may drive on
RUNWAY = 25.0  # m of road beyond the ends of the map: a lorry, and where it comes to rest, must not count as off the road
SEAM = 0.02  # m, slits narrower than twice this between neighbouring lanes are no edges
SAMPLE = 0.5  # m, spacing of samples on the boundary among which the nearest is looked for


class Raster(NamedTuple):
    """Pixel [row, column] has its centre at origin + step * (column, row)."""

    origin: Floats  # (2,) m
    step: float  # m
    sdf: NDArray[np.float32]  # (H, W) m, positive inside, clipped to +-FAR
    headings: NDArray[np.int64]  # (H, W) bits


def lane_polygon(lane: Lane) -> shapely.Geometry:
    """The surface of a lane: its centreline widened by half its width to both sides, square ends."""
    return shapely.LineString(lane.centre).buffer(lane.width / 2.0, cap_style="flat", join_style="mitre", mitre_limit=2.0)


def _with_runways(network: RoadNetwork) -> list[Lane]:
    """The drivable lanes, drawn out straight by RUNWAY where the map begins and ends: the road goes on, only the map does not."""
    fed = {name for lane in network.lanes for name in lane.successors}
    lanes = []
    for lane in network.lanes:
        if lane.type in SURFACE:
            centre = lane.centre
            if lane.end == LaneEnd.EXIT:
                centre = np.concatenate([centre, centre[-1:] + RUNWAY * _unit(centre[-1] - centre[-2])])
            if lane.id not in fed:
                centre = np.concatenate([centre[:1] - RUNWAY * _unit(centre[1] - centre[0]), centre])
            lanes.append(replace(lane, centre=centre))
    return lanes


def _unit(vector: Floats) -> Floats:
    unit: Floats = vector / max(float(np.hypot(*vector)), 1e-9)
    return unit


def drivable(network: RoadNetwork) -> shapely.Geometry:
    """Union of all lanes one may drive on, with their runways, and of the areas."""
    parts = [lane_polygon(lane) for lane in _with_runways(network)]
    parts += [shapely.make_valid(shapely.Polygon(area)) for area in network.areas]
    parts = [part.buffer(SEAM, join_style="mitre") for part in parts]
    return shapely.union_all(parts).buffer(-SEAM, join_style="mitre")


def rasterise(network: RoadNetwork, resolution: float) -> Raster:
    """Both rasters of a network, with a margin of FAR around the drivable surface."""
    surface = drivable(network)
    everything = np.concatenate([lane.centre for lane in network.lanes])
    low, high = everything.min(axis=0), everything.max(axis=0)
    if not surface.is_empty:
        low, high = np.array(surface.bounds[:2]), np.array(surface.bounds[2:])
    origin = np.floor((low - FAR) / resolution) * resolution
    width, height = (np.ceil((high + FAR - origin) / resolution)).astype(int) + 1
    shape = (int(height), int(width))
    sdf = _signed_distance(surface, origin, resolution, shape)
    return Raster(origin, resolution, sdf, _headings(network, origin, resolution, shape))


def _edges(surface: shapely.Geometry) -> Floats:
    """(E, 2, 2) boundary segments of all rings, end points a, b. The rings stay closed: no segment is left out, however short."""
    segments = []
    for ring in shapely.get_parts(shapely.get_rings(shapely.get_parts(surface))):
        points = shapely.get_coordinates(ring)
        segments.append(np.stack([points[:-1], points[1:]], axis=1))
    return np.concatenate(segments) if segments else np.zeros((0, 2, 2))


def _inside(edges: Floats, origin: Floats, step: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) even-odd fill: a pixel is inside if an odd number of edges cross its row left of it."""
    ends = (edges - origin) / step  # (E, 2, 2) in pixels
    first = np.ceil(ends[:, :, 1].min(axis=1)).astype(int)  # half-open in y: low <= row < high, so corners count once
    last = np.ceil(ends[:, :, 1].max(axis=1)).astype(int)
    edge = np.repeat(np.arange(len(ends)), last - first)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - (last - first), last - first) + first[edge]
    a, b = ends[edge, 0], ends[edge, 1]
    x = a[:, 0] + (row - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
    column = np.ceil(x).astype(int)
    keep = (row >= 0) & (row < shape[0]) & (column < shape[1])
    crossings = np.zeros(shape, dtype=np.int32)
    np.add.at(crossings, (row[keep], np.maximum(column[keep], 0)), 1)
    odd: NDArray[np.bool_] = np.cumsum(crossings, axis=1) % 2 == 1
    return odd


def _segment_distance(points: Floats, edges: Floats) -> Floats:
    """(Q,) distance of each point (Q, 2) to its segment (Q, 2, 2)."""
    a, along = edges[:, 0], edges[:, 1] - edges[:, 0]
    share = ((points - a) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12)
    nearest = a + np.clip(share, 0.0, 1.0)[:, None] * along
    distance: Floats = np.hypot(*(points - nearest).T)
    return distance


def _signed_distance(surface: shapely.Geometry, origin: Floats, step: float, shape: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) m. Pixels near the edge: exact distance to the segments on which their four nearest boundary samples lie."""
    edges = _edges(surface)
    if len(edges) == 0:
        return np.full(shape, -FAR, dtype=np.float32)
    inside = _inside(edges, origin, step, shape)
    rough = np.where(inside, ndimage.distance_transform_edt(inside), ndimage.distance_transform_edt(~inside)) * step
    rows, columns = np.nonzero(rough < FAR + 2.0 * step)
    pixels = origin + step * np.stack([columns, rows], axis=-1)  # (Q, 2)

    spans = np.hypot(*(edges[:, 1] - edges[:, 0]).T)
    pieces = np.maximum(1, np.ceil(spans / SAMPLE)).astype(int)
    edge = np.repeat(np.arange(len(edges)), pieces)
    nth = np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = (nth + 0.5) / pieces[edge]
    samples = edges[edge, 0] + share[:, None] * (edges[edge, 1] - edges[edge, 0])
    _, near = cKDTree(samples).query(pixels, k=min(4, len(samples)), distance_upper_bound=FAR + 3.0 * step + SAMPLE)
    near = near.reshape(len(pixels), -1)
    distance = np.full(len(pixels), FAR)
    for candidate in near.T:
        found = candidate < len(samples)
        distance[found] = np.minimum(distance[found], _segment_distance(pixels[found], edges[edge[candidate[found]]]))

    sdf = np.full(shape, FAR, dtype=np.float32)
    sdf[rows, columns] = distance
    sdf[~inside] *= -1.0
    return sdf


def _headings(network: RoadNetwork, origin: Floats, step: float, shape: tuple[int, int]) -> NDArray[np.int64]:
    """(H, W) bit k set: a lane at this pixel runs within 90 degrees of heading 2 pi k / BINS. Where there is no lane: all bits."""
    bits = np.zeros(shape, dtype=np.int64)
    centres = 2.0 * np.pi * np.arange(BINS) / BINS
    for lane in _with_runways(network):
        polygon = lane_polygon(lane)
        low = np.maximum(np.floor((np.array(polygon.bounds[:2]) - origin) / step).astype(int), 0)
        high = np.minimum(np.ceil((np.array(polygon.bounds[2:]) - origin) / step).astype(int) + 1, shape[::-1])
        window = (int(high[1] - low[1]), int(high[0] - low[0]))
        inside = _inside(_edges(polygon), origin + step * low, step, window)
        rows, columns = np.nonzero(inside)
        pixels = origin + step * (np.stack([columns, rows], axis=-1) + low)
        heading = _heading_at(lane.centre, pixels)
        allowed = np.cos(heading[:, None] - centres) >= -1e-9  # (Q, BINS)
        bits[rows + low[1], columns + low[0]] |= (allowed << np.arange(BINS)).sum(axis=1)
    bits[bits == 0] = ALL_HEADINGS
    return bits


def _heading_at(centre: Floats, pixels: Floats) -> Floats:
    """(Q,) heading of a centreline at the point nearest to each pixel, to within a sample of 0.5 m."""
    delta = np.diff(centre, axis=0)
    spans = np.hypot(*delta.T)
    s = np.concatenate([[0.0], np.cumsum(spans)])
    samples = np.linspace(0.0, s[-1], max(2, int(np.ceil(s[-1] / 0.5)) + 1))
    line = np.stack([np.interp(samples, s, centre[:, 0]), np.interp(samples, s, centre[:, 1])], axis=-1)
    segment = np.clip(np.searchsorted(s, samples, side="right") - 1, 0, len(delta) - 1)
    heading: Floats = np.arctan2(delta[segment, 1], delta[segment, 0])
    _, near = cKDTree(line).query(pixels)
    return heading[near]
