"""The ground of one road network as a picture from above: shares of each material in every texel, at several resolutions.

A texel is one int32 of five 5-bit shares (paint, grass, walkway, kerb, lot; what is left to 31 is asphalt) and 7 bits of grain. Shares
can be averaged, so coarser levels are means of finer ones, and colours come in when the picture is drawn.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.driving.draw import LINE_WIDTH, _dashes
from envs.driving.scenery import Scenery, scenery
from scenarios.network import Lane, LaneEnd, LaneType, Mark, RoadNetwork

__all__ = ["LEVELS", "MATERIALS", "Ground", "extended", "paint_ground"]

Floats = NDArray[np.float64]
MATERIALS = ("asphalt", "paint", "grass", "walkway", "kerb", "lot")
LEVELS = 6  # each half as fine as the one before
MARGIN = 14.0  # m of terrain around the roads
ONWARD = 60.0  # m by which roads go on where the map ends
SHIFT = 4  # cv2 draws at 1/16 pixel
FINE = 2  # drawn this many times finer, then averaged
KERB = 0.3  # m wide
FOOTPATH = 2.6  # m wide, along the streets of a town
GRAIN = 256  # texels after which the grain repeats


class Ground(NamedTuple):
    """Levels of one map; [row, column] of level l covers step * 2^l m from corner + step * 2^l * (column, row)."""

    corner: Floats  # (2,) m
    step: float  # m
    levels: tuple[NDArray[np.int32], ...]


def extended(network: RoadNetwork) -> RoadNetwork:
    """The network with its roads drawn out straight by ONWARD where the map begins and ends."""
    fed = {name for lane in network.lanes for name in lane.successors}

    def drawn_out(lane: Lane) -> Lane:
        if lane.type not in (LaneType.DRIVE, LaneType.JUNCTION, LaneType.WALKWAY):
            return lane
        centre, stop = np.asarray(lane.centre, dtype=np.float64), lane.stop
        far = ONWARD if lane.type != LaneType.WALKWAY else 0.0
        if lane.end == LaneEnd.EXIT:
            centre = np.concatenate([centre, centre[-1:] + far * _unit(centre[-1] - centre[-2])])
        if lane.id not in fed and lane.type == LaneType.DRIVE and lane.end != LaneEnd.BLOCKED:
            centre = np.concatenate([centre[:1] - far * _unit(centre[1] - centre[0]), centre])
            stop = None if stop is None else replace(stop, s=stop.s + far)
        return replace(lane, centre=centre, stop=stop)

    return replace(network, lanes=tuple(drawn_out(lane) for lane in network.lanes))


def _unit(vector: Floats) -> Floats:
    unit: Floats = vector / max(float(np.hypot(*vector)), 1e-9)
    return unit


def paint_ground(network: RoadNetwork, step: float) -> Ground:
    """All levels of a network's ground."""
    whole = extended(network)
    view = scenery(whole)
    low = np.array(view.bounds[:2]) - MARGIN
    size = np.ceil((np.array(view.bounds[2:]) + MARGIN - low) / step).astype(int)
    urban = bool(network.lights or network.crosswalks or network.occluders)
    classes = _classes(view, low, step / FINE, (int(size[1]) * FINE, int(size[0]) * FINE), urban=urban, lots=len(network.areas))
    masks = ((classes == k).astype(np.uint8) * 255 for k in range(1, len(MATERIALS)))
    layers = [_halved(mask).astype(np.float32) * (31.0 / 255.0) for mask in masks]
    rows, columns = np.arange(size[1]) % GRAIN, np.arange(size[0]) % GRAIN
    layers.append(127.0 * _grain()[rows[:, None], columns])
    levels = []
    for _ in range(LEVELS):
        levels.append(_pack(layers))
        layers = [_halved(layer) for layer in layers]
    return Ground(low, step, tuple(levels))


def _halved(layer: NDArray[Any]) -> NDArray[Any]:
    """Means of 2 x 2; the last row and column count twice if their number is odd."""
    if layer.shape[0] % 2 or layer.shape[1] % 2:
        layer = np.pad(layer, ((0, layer.shape[0] % 2), (0, layer.shape[1] % 2)), mode="edge")
    return np.asarray(cv2.resize(layer, (layer.shape[1] // 2, layer.shape[0] // 2), interpolation=cv2.INTER_AREA))


def _pack(layers: list[NDArray[np.float32]]) -> NDArray[np.int32]:
    """Five shares of 0..31 and a grain of 0..127 as one word. Rounded shares may add up to 32: asphalt is then a little below nothing."""
    word = (layers[5] + 0.5).astype(np.int32) << 25
    for k in range(5):
        word |= (layers[k] + 0.5).astype(np.int32) << (5 * k)
    return np.asarray(word, dtype=np.int32)


@cache
def _grain() -> NDArray[np.float32]:
    """Fine and coarse noise around 0.5, which can be laid side by side."""
    rng = np.random.Generator(np.random.Philox(key=5))
    total = np.zeros((GRAIN, GRAIN), dtype=np.float32)
    for size, weight in ((GRAIN, 0.45), (GRAIN // 4, 0.3), (GRAIN // 16, 0.35), (GRAIN // 64, 0.35)):
        coarse = np.pad(rng.standard_normal((size, size)).astype(np.float32), 2, mode="wrap")
        fine = cv2.resize(coarse, None, fx=GRAIN // size, fy=GRAIN // size, interpolation=cv2.INTER_CUBIC)
        border = 2 * (GRAIN // size)
        total += weight * fine[border : border + GRAIN, border : border + GRAIN]
    grain: NDArray[np.float32] = np.clip(0.5 + 0.2 * total, 0.0, 1.0).astype(np.float32)
    return grain


def _classes(view: Scenery, low: Floats, step: float, shape: tuple[int, int], *, urban: bool, lots: int) -> NDArray[np.uint8]:
    """(H, W) index into MATERIALS."""
    image = np.full(shape, MATERIALS.index("grass"), dtype=np.uint8)

    def pixels(points: Floats) -> NDArray[np.int32]:
        fixed: NDArray[np.int32] = np.rint(((points - low) / step - 0.5) * (1 << SHIFT)).astype(np.int32)
        return fixed

    def fill(points: Floats, material: str) -> None:
        cv2.fillPoly(image, [pixels(points)], MATERIALS.index(material), cv2.LINE_8, SHIFT)

    def stroke(points: Floats, material: str, metres: float) -> None:
        cv2.polylines(image, [pixels(points)], False, MATERIALS.index(material), max(round(metres / step), 1), cv2.LINE_8, SHIFT)

    for points in view.rims if urban else ():
        stroke(points, "walkway", 2.0 * (FOOTPATH + KERB))
    for points in view.walkways:
        fill(points, "walkway")
    for points in view.rims:
        stroke(points, "kerb" if urban else "lot", 2.0 * KERB)
    for i, points in enumerate(view.surfaces):
        fill(points, "lot" if i < lots else "asphalt")
        if i >= lots:  # close the slits between neighbours
            stroke(np.concatenate([points, points[:1]]), "asphalt", 0.06)
    for points in view.bays:
        stroke(np.concatenate([points, points[:1]]), "paint", 0.12)
    for points in (*view.arrows, *view.stripes):
        fill(points, "paint")
    for line in view.lines:
        if line.mark == Mark.KERB:
            stroke(line.points, "kerb", KERB)
        else:
            for piece in _dashes(line.points) if line.mark == Mark.DASHED else (line.points,):
                stroke(piece, "paint", LINE_WIDTH)
    for stop in view.stops:
        fill(stop.outline, "paint")
    return image
