"""Road networks compiled to the fixed-size tables and rasters of the driving core.

Shapes: M maps, L lanes, P centreline points of a map, G destinations, GL lights, X lanes with conflicts, O occluders; see `Maps`.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.driving.lights import light_heads
from envs.driving.rasters import ALL_HEADINGS, FAR, rasterise
from envs.driving.routing import destination_index, routes
from envs.driving.types import Maps
from scenarios.network import Lane, LightState, RoadNetwork

__all__ = ["compile_maps", "destination_index", "resample"]

Floats = NDArray[np.float64]
Tables = dict[str, NDArray[Any]]

POINT_STEP = 1.0  # m, wanted spacing of centreline points
PHASES = 8
FINE_BELOW = 120.0  # m, a place with parking bays and no longer than this gets a raster twice as fine
# what fills the tables of a map that has fewer rows than another
PADDING: dict[str, float] = {
    "lane_step": 1.0, "lane_length": 1.0, "lane_width": 3.5, "lane_limit": 1.0, "lane_left": -1, "lane_right": -1,
    "stop_s": np.inf, "stop_light": -1, "next_lane": -1, "to_go": np.inf, "light_ends": np.inf, "light_cycle": 1.0,
    "conflict_id": -1, "sdf": -FAR, "headings": ALL_HEADINGS,
}  # fmt: skip

_compiled: dict[tuple[int, float], tuple[weakref.ref[RoadNetwork], Tables]] = {}


def compile_maps(networks: Sequence[RoadNetwork], *, resolution: float = 0.5) -> Maps:
    """Tables of several networks, padded to common sizes, on the CPU.

    Lane indices are positions in `network.lanes`; destination indices are those of `destination_index`. `resolution` is the
    raster's step in m. Each network object is compiled once. Raises ValueError without networks, and for a network whose
    lanes name others that do not exist.
    """
    if not networks:
        raise ValueError("no networks: at least one map is needed")
    tables = [_cached(network, resolution) for network in networks]
    stacked = {}
    for name in Maps._fields:
        parts = [table[name] for table in tables]
        shape = tuple(max(sizes) for sizes in zip(*(part.shape for part in parts), strict=True))
        whole = np.full((len(parts), *shape), PADDING.get(name, 0), dtype=parts[0].dtype)
        if name == "conflict":
            whole[..., 0] = np.inf  # the mark of no conflict
        for i, part in enumerate(parts):
            corner: tuple[int | slice, ...] = (i, *(slice(size) for size in part.shape))
            whole[corner] = part
        stacked[name] = torch.from_numpy(whole.astype(np.float32) if whole.dtype == np.float64 else whole)
    return Maps(**stacked)


def _cached(network: RoadNetwork, resolution: float) -> Tables:
    key = (id(network), resolution)
    known = _compiled.get(key)
    if known is not None and known[0]() is network:
        return known[1]
    tables = _compile(network, resolution)
    _compiled[key] = (weakref.ref(network, lambda _: _compiled.pop(key, None)), tables)
    return tables


def _compile(network: RoadNetwork, resolution: float) -> Tables:
    """Tables of one network, without the leading M."""
    tables: Tables = {}
    tables |= _lanes(network)
    tables |= routes(network)._asdict()
    tables |= _lights(network)
    tables |= _conflicts(network)
    extent = np.ptp(np.concatenate([lane.centre for lane in network.lanes]), axis=0).max()
    raster = rasterise(network, resolution / 2.0 if network.bays and extent < FINE_BELOW else resolution)
    tables |= {"raster_origin": raster.origin, "raster_step": np.array(raster.step), "sdf": raster.sdf, "headings": raster.headings}
    boxes = [(box.x, box.y, box.yaw, box.length, box.width) for box in network.occluders]
    tables["occluders"] = np.array(boxes or [(0.0,) * 5], dtype=np.float64)
    return tables


def resample(centre: Floats, count: int) -> tuple[Floats, float]:
    """A centreline at `count` points evenly spaced along it.

    Returns (count, 5) x, y, cos, sin, curvature, and the spacing in m. Headings are interpolated between the middles of the
    given segments, so they turn smoothly along coarse lines too.
    """
    steps = np.hypot(*np.diff(centre, axis=0).T)
    centre = centre[np.concatenate([[True], steps > 1e-6])]
    delta = np.diff(centre, axis=0)
    steps = np.hypot(*delta.T)
    s = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0.0, s[-1], count)
    headings = np.unwrap(np.arctan2(delta[:, 1], delta[:, 0]))  # (P - 1,)
    middles = (s[:-1] + s[1:]) / 2.0
    if len(headings) > 1:  # continue the turn to both ends
        slope = np.diff(headings) / np.diff(middles)
        headings = np.concatenate([[headings[0] - slope[0] * middles[0]], headings, [headings[-1] + slope[-1] * (s[-1] - middles[-1])]])
        middles = np.concatenate([[0.0], middles, [s[-1]]])
    heading = np.interp(at, middles, headings)
    curvature = np.gradient(heading, at)
    x, y = np.interp(at, s, centre[:, 0]), np.interp(at, s, centre[:, 1])
    return np.stack([x, y, np.cos(heading), np.sin(heading), curvature], axis=-1), float(at[1])


def _beside(lanes: tuple[Lane, ...], index: dict[str, int]) -> list[int]:
    """For each lane the first lane of its group of neighbours."""
    group = list(range(len(lanes)))
    for i, lane in enumerate(lanes):
        for other in (lane.left, lane.right):
            if other is not None:
                low, high = sorted((group[i], group[index[other]]))
                group = [low if g == high else g for g in group]
    return group


def _lanes(network: RoadNetwork) -> Tables:
    lanes = network.lanes
    index = {lane.id: i for i, lane in enumerate(lanes)}
    named = [name for lane in lanes for name in (*lane.successors, lane.left, lane.right) if name is not None]
    named += [name for goals in network.destinations.values() for name, _ in goals]
    missing = sorted({name for name in named if name not in index})
    if missing:
        raise ValueError(f"lanes that do not exist: {', '.join(missing)}")
    light_index = {light.id: i for i, light in enumerate(network.lights)}
    lengths = np.array([np.hypot(*np.diff(lane.centre, axis=0).T).sum() for lane in lanes])
    group = _beside(lanes, index)
    # neighbours get equally many points, so that point i lies beside point i
    counts = [max(2, round(max(lengths[j] for j in range(len(lanes)) if group[j] == group[i]) / POINT_STEP) + 1) for i in range(len(lanes))]
    sampled = [resample(lane.centre, count) for lane, count in zip(lanes, counts, strict=True)]
    stops = [lane.stop for lane in lanes]
    integers = {
        "lane_start": np.cumsum([0, *counts[:-1]]),
        "lane_count": counts,
        "lane_type": [lane.type for lane in lanes],
        "lane_end": [lane.end for lane in lanes],
        "lane_left": [-1 if lane.left is None else index[lane.left] for lane in lanes],
        "lane_right": [-1 if lane.right is None else index[lane.right] for lane in lanes],
        "stop_light": [-1 if stop is None or stop.light is None else light_index[stop.light] for stop in stops],
    }
    floats = {
        "points": np.concatenate([points for points, _ in sampled]),
        "lane_step": [step for _, step in sampled],
        "lane_length": [step * (count - 1) for (_, step), count in zip(sampled, counts, strict=True)],
        "lane_width": [lane.width for lane in lanes],
        "lane_limit": [lane.speed_limit for lane in lanes],
        "stop_s": [np.inf if stop is None else stop.s for stop in stops],
    }
    tables: Tables = {name: np.array(values, dtype=np.int64) for name, values in integers.items()}
    tables |= {name: np.array(values, dtype=np.float64) for name, values in floats.items()}
    tables["stop_must"] = np.array([stop is not None and stop.must_stop for stop in stops])
    return tables


def _lights(network: RoadNetwork) -> Tables:
    """Programmes of the lights; a map without lights gets one that is never asked."""
    count = max(1, len(network.lights))
    ends, states = np.full((count, PHASES), np.inf), np.full((count, PHASES), int(LightState.NONE), dtype=np.int64)
    cycle, offset, pose = np.ones(count), np.zeros(count), np.zeros((count, 3))
    for i, light in enumerate(network.lights):
        if not 1 <= len(light.phases) <= PHASES:
            raise ValueError(f"light {light.id!r} has {len(light.phases)} phases: must be 1 to {PHASES}")
        ends[i, : len(light.phases)] = np.cumsum([seconds for _, seconds in light.phases])
        states[i, : len(light.phases)] = [state for state, _ in light.phases]
        cycle[i], offset[i], pose[i] = ends[i, len(light.phases) - 1], light.offset, (light.x, light.y, light.heading)
    far = np.array([head for _, head in light_heads(network)] or [(0.0, 0.0)])
    return {
        "light_ends": ends, "light_states": states, "light_cycle": cycle, "light_offset": offset, "light_pose": pose, "light_far": far,
    }  # fmt: skip


def _conflicts(network: RoadNetwork) -> Tables:
    """Conflicts as a square table; several stretches of one pair become the one that spans them."""
    index = {lane.id: i for i, lane in enumerate(network.lanes)}
    involved = sorted({index[c.lane] for c in network.conflicts} | {index[c.other] for c in network.conflicts})
    rows = np.full(len(network.lanes), -1, dtype=np.int64)
    rows[involved] = np.arange(len(involved))
    size = max(1, len(involved))
    table = np.zeros((size, size, 5))
    table[..., 0] = np.inf
    for c in network.conflicts:
        cell = table[rows[index[c.lane]], rows[index[c.other]]]
        seen = np.isfinite(cell[0])
        code = 2.0 if c.mutual else float(c.yields)
        cell[:] = (
            min(cell[0], c.s_enter),
            max(cell[1], c.s_exit),
            min(cell[2], c.other_enter) if seen else c.other_enter,
            max(cell[3], c.other_exit),
            max(cell[4], code),
        )
    return {"conflict_id": rows, "conflict": table}
