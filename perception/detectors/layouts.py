"""What the outputs of well-known ONNX detectors mean: NanoDet's and YOLOX's.

Each decoder gives, for one image, boxes (P, 4) px u0, v0, u1, v1 in the network's input and scores (P, K) of the classes.

Shapes: P cells of all strides together, K classes, R + 1 bins of a side, input H x W px.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAYOUTS", "Layout", "LayoutError", "detect_layout", "nanodet", "yolox"]

Array = NDArray[np.float32]
STRIDE_SETS = ((8, 16, 32), (8, 16, 32, 64))


class LayoutError(ValueError):
    """Outputs that no decoder here understands. The message names their shapes."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a family of detectors wants its input and what its outputs mean. Images are BGR, (value - mean) / deviation per channel."""

    name: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    centred: bool  # whether the image lies in the middle of the input or in its upper left corner
    padding: float  # value around it, before the mean is taken off
    decode: Callable[[Sequence[Array], tuple[int, int], int], tuple[Array, Array]]  # outputs, (H, W), K -> boxes, scores


def nanodet(outputs: Sequence[Array], size: tuple[int, int], classes: int) -> tuple[Array, Array]:
    """NanoDet: class scores (sigmoid already) and each side's distance as a distribution over bins (Li et al., "Generalized Focal Loss",
    2020). Pairs (1, P_s, K) and (1, P_s, 4 (R + 1)) a stride, in any order; or, as NanoDet-Plus, one (1, P, K + 4 (R + 1)).

    A cell's middle is at (column + 0.5, row + 0.5) strides, or, in NanoDet-Plus, at (column, row) strides.
    """
    if len(outputs) == 1:
        strides = _strides(outputs[0].shape[1], size)
        scores, sides = outputs[0][0, :, :classes], outputs[0][0, :, classes:]
        column, row, step = _cells(size, strides)
        return _distances(sides, column * step, row * step, step), scores
    boxes, parts = [], []
    for stride, (score, side) in _pairs(outputs, size, classes).items():
        column, row, step = _cells(size, (stride,))
        boxes.append(_distances(side[0], (column + 0.5) * step, (row + 0.5) * step, step))
        parts.append(score[0])
    return np.concatenate(boxes), np.concatenate(parts)


def yolox(outputs: Sequence[Array], size: tuple[int, int], classes: int) -> tuple[Array, Array]:
    """YOLOX (Ge et al. 2021): one (1, P, 5 + K): middle in strides from the cell's corner, log size in strides, objectness and class scores
    (sigmoid already). A model exported with its own decoding gives middle and size in px; its sizes tell: logs are small."""
    found = outputs[0][0, :, : 5 + classes]
    middle, extent = found[:, :2], found[:, 2:4]
    column, row, stride = _cells(size, _strides(len(found), size))
    if not _in_pixels(middle, extent, column * stride, row * stride):
        middle = (middle + np.stack((column, row), -1)) * stride[:, None]
        extent = np.exp(np.minimum(extent, 10.0)) * stride[:, None]
    boxes = np.concatenate((middle - 0.5 * extent, middle + 0.5 * extent), -1)
    return boxes.astype(np.float32), found[:, 4:5] * found[:, 5:]


LAYOUTS: Mapping[str, Layout] = {
    "nanodet": Layout(
        name="nanodet",
        mean=(103.53, 116.28, 123.675),
        deviation=(57.375, 57.12, 58.395),
        centred=True,
        padding=0.0,
        decode=nanodet,
    ),
    "yolox": Layout(name="yolox", mean=(0.0, 0.0, 0.0), deviation=(1.0, 1.0, 1.0), centred=False, padding=114.0, decode=yolox),
}


def detect_layout(shapes: Sequence[Sequence[int]], size: tuple[int, int], classes: int) -> str:
    """The name of the layout that outputs of these shapes have. Raises LayoutError."""
    told = ", ".join(str(tuple(shape)) for shape in shapes)
    if all(len(shape) == 3 and shape[0] == 1 for shape in shapes):
        if len(shapes) == 1:
            rows, columns = shapes[0][1:]
            known = [_cell_count(size, strides) for strides in STRIDE_SETS]
            if rows in known and columns == 5 + classes:
                return "yolox"
            if rows in known and columns > classes and (columns - classes) % 4 == 0:
                return "nanodet"
        elif len(shapes) % 2 == 0 and classes in (widths := {shape[2] for shape in shapes}) and all(w % 4 == 0 for w in widths - {classes}):
            return "nanodet"
    raise LayoutError(
        f"outputs of shapes {told} for an input of {size[1]} x {size[0]} px and {classes} classes are neither NanoDet's nor YOLOX's; "
        f"known layouts: {', '.join(LAYOUTS)}"
    )


def _pairs(outputs: Sequence[Array], size: tuple[int, int], classes: int) -> dict[int, tuple[Array, Array]]:
    """stride -> (class scores, sides). Raises LayoutError."""
    found: dict[int, tuple[Array, Array]] = {}
    for stride in (4, 8, 16, 32, 64, 128):
        pair = [output for output in outputs if output.shape[1] == _cell_count(size, (stride,))]
        scores, sides = [o for o in pair if o.shape[2] == classes], [o for o in pair if o.shape[2] != classes]
        if len(scores) == len(sides) == 1:
            found[stride] = (scores[0], sides[0])
    if 2 * len(found) != len(outputs):
        told = ", ".join(str(output.shape) for output in outputs)
        raise LayoutError(
            f"outputs of shapes {told} are not pairs of {classes} scores and sides for strides of a {size[1]} x {size[0]} input"
        )
    return found


def _distances(sides: Array, u: Array, v: Array, stride: Array) -> Array:
    """(P, 4 (R + 1)) logits of the distances to the left, upper, right and lower side -> boxes: the expectation of each, in strides."""
    bins = sides.reshape(len(sides), 4, -1)
    weight = np.exp(bins - bins.max(-1, keepdims=True))
    distance = (weight * np.arange(bins.shape[-1])).sum(-1) / weight.sum(-1) * stride[:, None]  # (P, 4)
    return np.stack((u - distance[:, 0], v - distance[:, 1], u + distance[:, 2], v + distance[:, 3]), -1).astype(np.float32)


def _in_pixels(middle: Array, extent: Array, u: Array, v: Array) -> bool:
    """Whether middles lie around their own cells in px, as decoded ones do."""
    apart = np.abs(middle - np.stack((u, v), -1)).mean()
    return bool(extent.min() >= 0.0 and apart < np.abs(middle).mean() and extent.max() > 12.0)


def _strides(cells: int, size: tuple[int, int]) -> tuple[int, ...]:
    for strides in STRIDE_SETS:
        if _cell_count(size, strides) == cells:
            return strides
    raise LayoutError(f"{cells} cells do not fit an input of {size[1]} x {size[0]} px at strides {' or '.join(map(str, STRIDE_SETS))}")


def _cell_count(size: tuple[int, int], strides: Sequence[int]) -> int:
    return sum(-(-size[0] // s) * -(-size[1] // s) for s in strides)


def _cells(size: tuple[int, int], strides: Sequence[int]) -> tuple[Array, Array, Array]:
    """column, row and stride (P,) of every cell, stride by stride, row by row."""
    parts = []
    for stride in strides:
        row, column = np.mgrid[: -(-size[0] // stride), : -(-size[1] // stride)]
        parts.append(np.stack((column.ravel(), row.ravel(), np.full(row.size, stride)), -1))
    column, row, stride_ = np.concatenate(parts).astype(np.float32).T
    return column, row, stride_
