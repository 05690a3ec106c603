"""Everything the camera sees that stands still, compiled per bank: ground, buildings, signal heads, stop signs.

Shapes: M maps, L levels of the ground, O static boxes, G signal heads, S signs.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from envs.driving.camera.atlas import atlas
from envs.driving.camera.config import CameraConfig
from envs.driving.camera.ground import LEVELS, Ground, paint_ground
from envs.driving.camera.shapes import part_table
from envs.driving.lights import light_heads
from envs.driving.rng import normal
from scenarios.network import RoadNetwork

__all__ = ["BUILDING", "GRAIN", "HEDGE", "LIGHT_IDS", "TREE", "SceneryTables", "build_scenery", "move_scenery"]

LIGHT_IDS = 1000  # instance id of signal head g; road users have their slot, which is below 64
SIGN_BESIDE = 0.9  # m from the lane's edge to the post
BUILDING, HEDGE, TREE = 0, 1, 2  # styles of static boxes
GRAIN = 1 << 14  # random numbers of the sensor's noise
STREAM_GRAIN = 3003  # of the counter-based generator
# what cars are painted: shares of white; the first ones are the most common (white, greys, black, then colours)
PAINTS = (
    (0.92, 0.92, 0.91), (0.90, 0.90, 0.92), (0.66, 0.68, 0.70), (0.45, 0.47, 0.50), (0.28, 0.30, 0.33), (0.09, 0.10, 0.11),
    (0.06, 0.06, 0.07), (0.12, 0.22, 0.48), (0.20, 0.36, 0.62), (0.66, 0.10, 0.10), (0.80, 0.16, 0.12), (0.45, 0.08, 0.12),
    (0.16, 0.34, 0.24), (0.72, 0.64, 0.50), (0.90, 0.66, 0.10), (0.86, 0.42, 0.12),
)  # fmt: skip
TREE_BELOW = 6.0  # m, a hedge with both sides shorter is drawn as a tree


class SceneryTables(NamedTuple):
    """Tables of a bank's maps. Texels lie one after another: map by map, level by level, row by row."""

    texels: Tensor  # (T,) int32, see `envs.driving.camera.ground`
    offset: Tensor  # (M, L) int64, of a level's first texel
    columns: Tensor  # (M, L) int64
    rows: Tensor  # (M, L) int64
    corner: Tensor  # (M, 2) m, world position of the ground's lower left corner
    step: Tensor  # (M,) m per texel of the finest level
    # m and rad: x, y, yaw, length, width, height, style, random number; length 0: none
    statics: Tensor  # (M, O, 8)
    # every light has a near and a far head: x, y, heading of the traffic it faces, light index; -1: none
    heads: Tensor  # (M, G, 4)
    signs: Tensor  # (M, S, 4) x, y, heading of the traffic it faces, 1 (0: none)
    # the same for every bank
    atlas: Tensor  # (STYLES * 6 * 32 * 32,) int32, see `envs.driving.camera.atlas`
    parts: Tensor  # (24, 3, 7) see `envs.driving.camera.shapes`
    heights: Tensor  # (24,) m
    paints: Tensor  # (16, 3) of vehicles
    grain: Tensor  # (GRAIN,) of a standard normal distribution


_KNOWN: dict[tuple[int, float], tuple[weakref.ref[RoadNetwork], Ground]] = {}


def _ground(network: RoadNetwork, step: float) -> Ground:
    key = (id(network), step)
    known = _KNOWN.get(key)
    if known is not None and known[0]() is network:
        return known[1]
    ground = paint_ground(network, step)
    _KNOWN[key] = (weakref.ref(network, lambda _: _KNOWN.pop(key, None)), ground)
    return ground


def move_scenery(tables: SceneryTables, device: str | torch.device) -> SceneryTables:
    """The same tables on another device."""
    return SceneryTables(*(table.to(device) for table in tables))


def build_scenery(networks: Sequence[RoadNetwork], config: CameraConfig, *, device: str | torch.device = "cpu") -> SceneryTables:
    """Tables of several networks, in their order: that of `Setup.map_id`. Each network object is painted once.

    Raises ValueError without networks.
    """
    if not networks:
        raise ValueError("no networks: at least one map is needed")
    grounds = [_ground(network, config.texture_step) for network in networks]
    sizes = np.array([[level.shape for level in ground.levels] for ground in grounds])  # (M, L, 2)
    counts = sizes.prod(-1)
    tables = SceneryTables(
        texels=torch.from_numpy(np.concatenate([level.ravel() for ground in grounds for level in ground.levels])),
        offset=torch.from_numpy((np.cumsum(counts.ravel()) - counts.ravel()).reshape(len(grounds), LEVELS)),
        columns=torch.from_numpy(sizes[..., 1].copy()),
        rows=torch.from_numpy(sizes[..., 0].copy()),
        corner=torch.from_numpy(np.stack([ground.corner for ground in grounds]).astype(np.float32)),
        step=torch.tensor([ground.step for ground in grounds], dtype=torch.float32),
        statics=_padded([_statics(network) for network in networks], 8, 0.0),
        heads=_padded([_heads(network) for network in networks], 4, -1.0),
        signs=_padded([_signs(network) for network in networks], 4, 0.0),
        **_constants(),
    )
    return move_scenery(tables, device)


@cache
def _constants() -> dict[str, Tensor]:
    parts, heights = part_table()
    noise = normal(torch.tensor(0), torch.tensor(0), STREAM_GRAIN, torch.arange(GRAIN))
    codes = torch.from_numpy(atlas().astype(np.int32).ravel())
    paints = torch.tensor(PAINTS, dtype=torch.float32)
    return {"atlas": codes, "parts": torch.from_numpy(parts), "heights": torch.from_numpy(heights), "paints": paints, "grain": noise}


def _padded(rows: list[list[tuple[float, ...]]], fields: int, value: float) -> Tensor:
    """(M, most, fields) float32, at least one row."""
    out = np.full((len(rows), max([1, *(len(row) for row in rows)]), fields), value, dtype=np.float32)
    for i, row in enumerate(rows):
        if row:
            out[i, : len(row)] = np.array(row)
    return torch.from_numpy(out)


def _statics(network: RoadNetwork) -> list[tuple[float, ...]]:
    boxes: list[tuple[float, ...]] = []
    for i, box in enumerate(network.occluders):
        style = BUILDING
        if box.kind != "building":
            style = TREE if max(box.length, box.width) < TREE_BELOW else HEDGE
        boxes.append((box.x, box.y, box.yaw, box.length, box.width, box.height, style, (0.37 * (i + 1)) % 1.0))
    return boxes


def _heads(network: RoadNetwork) -> list[tuple[float, ...]]:
    """Head 2 g is the near one of light g, head 2 g + 1 the far one."""
    return [
        (x, y, light.heading, g)
        for g, (light, heads) in enumerate(zip(network.lights, light_heads(network), strict=True))
        for x, y in heads
    ]


def _signs(network: RoadNetwork) -> list[tuple[float, ...]]:
    """A stop sign right of every lane that has one; lanes side by side share that of the rightmost."""
    signs: list[tuple[float, ...]] = []
    for lane in network.lanes:
        if lane.stop is None or not lane.stop.must_stop or lane.right is not None:
            continue
        points = np.asarray(lane.centre)
        delta = np.diff(points, axis=0)
        s = np.concatenate([[0.0], np.cumsum(np.hypot(*delta.T))])
        at = min(int(np.searchsorted(s, lane.stop.s, side="right")) - 1, len(delta) - 1)
        heading = float(np.arctan2(delta[at, 1], delta[at, 0]))
        x, y = (float(np.interp(lane.stop.s, s, points[:, k])) for k in (0, 1))
        beside = 0.5 * lane.width + SIGN_BESIDE
        signs.append((x + beside * np.sin(heading), y - beside * np.cos(heading), heading, 1.0))
    return signs
