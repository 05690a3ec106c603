"""How well a detector sees: average precision by pycocotools, and what COCO does not ask: place, heading, lights, calibration.

What counts. `all`: every label, that is every thing with at least one visible pixel, boxes including the hidden part. `counted`, the
headline: labels whose box has both sides >= SIDE_MIN px and of which others hide at most HIDDEN_MAX; the rest neither counts as missed
nor, when found, as wrong, and a detection that matches nothing counts as wrong only if its own sides are >= SIDE_MIN px. That is how COCO
treats sizes out of range and KITTI what is "largely occluded".

Shapes: B frames, D detections or labels; after collecting, flat arrays over all of them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from perception.types import Camera, Detections, Labels

__all__ = ["HIDDEN_MAX", "RANGE_MAX", "SIDE_MIN", "DetectionFigures", "Matches", "average_precision", "d_ece", "match"]

SIDE_MIN = 4.0  # px
HIDDEN_MAX = 0.8  # share
RANGE_MAX = 40.0  # m, for the figures about place
IOU_MATCH = 0.5
SCORE_MIN = 0.3  # of detections in D-ECE, as in Kueppers et al. 2020, section 4, and in everything that is not average precision
ELLIPSE_90 = 4.605  # 90 % quantile of chi-squared with 2 degrees of freedom
RANGES = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0)  # m, edges
HIDDEN = (0.0, 0.1, 0.4, 0.8, 1.01)  # edges
Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Detections of all frames beside the labels they were matched with."""

    score: Array  # (P,)
    label: Ints  # (P,) row of the label, -1: none
    found: Bools  # (Q,) labels that were found


class DetectionFigures:
    """Collects frames (`add`), then tells the figures (`report`)."""

    def __init__(self, classes: Sequence[str], conditions: Sequence[str] = ("all",)) -> None:
        self.classes, self.conditions = tuple(classes), tuple(conditions)
        self.frames, self.size = 0, (1, 1)
        self._found: list[dict[str, NDArray[Any]]] = []
        self._true: list[dict[str, NDArray[Any]]] = []
        self._condition: list[Ints] = []

    def add(self, found: Detections, true: Labels, camera: Camera, condition: Any = None) -> None:
        """Frames with what was found in them, whatever its score, and the truth. condition: (B,) index into `conditions`."""
        batch, self.size = len(found.mask), (true.depth.shape[-1], true.depth.shape[-2])
        image = (self.frames + np.arange(batch))[:, None]
        self._found.append(_rows(found, image, ("box", "kind", "score", "centre", "size", "yaw", "sigma", "light", "camera")))
        rows = _rows(true, image, ("box", "kind", "centre", "size", "yaw", "light", "occlusion", "camera"))
        lens = [value.gather(1, true.camera)[true.mask].cpu().numpy() for value in (camera.x, camera.y)]
        rows["lens"] = np.stack(lens, -1).astype(np.float64)
        self._true.append(rows)
        self._condition.append(np.zeros(batch, np.int64) if condition is None else np.asarray(torch.as_tensor(condition).cpu(), np.int64))
        self.frames += batch

    def collected(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]], Ints]:
        """Everything found, everything true, flat over the frames, and the frames' conditions. Labels also have `counted`, `range`."""
        found, true = _join(self._found), _join(self._true)
        sides = (true["box"][:, 2:] - true["box"][:, :2]).min(-1)
        true["counted"] = (sides >= SIDE_MIN) & (true["occlusion"] <= HIDDEN_MAX)
        true["range"] = np.hypot(*(true["centre"][:, :2] - true["lens"]).T)
        return found, true, np.concatenate(self._condition)

    def precision_curves(self) -> dict[str, Array]:
        """class -> precision at 101 recalls from 0 to 1, at IoU 0.5, of the labels that count."""
        found, true, _ = self.collected()
        every = np.ones(self.frames, np.bool_)
        curves: dict[str, Array] = average_precision(found, true, true["counted"], every, self.classes, side_min=SIDE_MIN)["curves"]
        return curves

    def report(self) -> dict[str, Any]:
        """All figures; NaN where there is nothing to tell. Shares are 0 to 1, angles degrees, lengths m."""
        if not self.frames:
            raise ValueError("no frames were added")
        found, true, condition = self.collected()
        counted: Bools = true["counted"]
        frames = np.ones(self.frames, np.bool_)
        everything = average_precision(found, true, np.ones_like(counted), frames, self.classes, side_min=0.0)
        headline = average_precision(found, true, counted, frames, self.classes, side_min=SIDE_MIN)
        sides = (true["box"][:, 2:] - true["box"][:, :2]).min(-1) >= SIDE_MIN
        hidden_too = average_precision(found, true, sides, frames, self.classes, side_min=SIDE_MIN)
        half_hidden = average_precision(found, true, counted & (true["occlusion"] <= 0.5), frames, self.classes, side_min=SIDE_MIN)
        by_condition = {}
        for index, name in enumerate(self.conditions):
            here = condition == index
            if here.any():
                figures = average_precision(found, true, counted, here, self.classes, side_min=SIDE_MIN)
                by_condition[name] = {"frames": int(here.sum()), "ap50": figures["ap50"], "ap": figures["ap"]}
        pairs = match(found, true)
        return {
            "frames": self.frames,
            "labels": len(counted),
            "counted": int(counted.sum()),
            "ap50": headline["ap50"],
            "ap": headline["ap"],
            "ap50_by_class": headline["by_class"],
            "ap50_half_hidden": half_hidden["ap50"],
            "ap50_with_hidden": hidden_too["ap50"],
            "ap50_all": everything["ap50"],
            "ap_all": everything["ap"],
            "conditions": by_condition,
            **_calibration(found, true, pairs, self.size),
            **_place(found, true, pairs, self.classes),
            **_recalls(true, pairs),
        }


def average_precision(
    found: dict[str, NDArray[Any]], true: dict[str, NDArray[Any]], counts: Bools, frames: Bools, classes: Sequence[str], *, side_min: float
) -> dict[str, Any]:
    """COCO's AP (IoU 0.50 to 0.95) and AP50 over the frames (F,) bool, labels that do not count (Q,) being ignored.

    pycocotools knows areas, not sides: what it is given as area is the shorter side, and -1 for labels that do not count.
    The mean is over the classes that occur.
    """
    from pycocotools.coco import COCO  # type: ignore[import-untyped,unused-ignore]
    from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped,unused-ignore]

    with contextlib.redirect_stdout(io.StringIO()):
        truth, guess = COCO(), COCO()
        cameras = 1 + max([0, *found["camera"].tolist(), *true["camera"].tolist()])
        images = [{"id": int(i) * cameras + c} for i in np.flatnonzero(frames) for c in range(cameras)]
        kinds = [{"id": k, "name": name} for k, name in enumerate(classes)]
        area = np.where(counts, (true["box"][:, 2:] - true["box"][:, :2]).min(-1), -1.0)
        truth.dataset = {"images": images, "categories": kinds, "annotations": _annotations(true, area, frames, cameras)}
        area = (found["box"][:, 2:] - found["box"][:, :2]).min(-1)
        guess.dataset = {"images": images, "categories": kinds, "annotations": _annotations(found, area, frames, cameras)}
        truth.createIndex()
        guess.createIndex()
        judge = COCOeval(truth, guess, "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[max(side_min, 0.0), 1e9]], ["counted"]
        judge.params.maxDets = [100]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][..., 0, 0]  # (IoU thresholds, recalls, classes); -1: no label of the class
    each = {name: _mean(precision[0, :, k]) for k, name in enumerate(classes)}
    curves = {name: precision[0, :, k] for k, name in enumerate(classes) if (precision[0, :, k] > -1).any()}
    return {"ap": _mean(precision), "ap50": _mean(precision[0]), "by_class": each, "curves": curves}


def match(found: dict[str, NDArray[Any]], true: dict[str, NDArray[Any]]) -> Matches:
    """Each detection, best first, with the label of its class, camera and frame that it covers best, if by IoU >= 0.5; each label once."""
    label = np.full(len(found["score"]), -1, np.int64)
    taken = np.zeros(len(true["kind"]), np.bool_)
    key_found, key_true = (rows["image"] * 4096 + rows["camera"] * 256 + rows["kind"] for rows in (found, true))
    groups: dict[int, list[int]] = {}
    for row, key in enumerate(key_true.tolist()):
        groups.setdefault(key, []).append(row)
    for row in np.argsort(-found["score"], kind="stable"):
        rows = [q for q in groups.get(int(key_found[row]), ()) if not taken[q]]
        if rows:
            overlap = _iou(found["box"][row], true["box"][rows])
            if overlap.max() >= IOU_MATCH:
                label[row] = rows[int(overlap.argmax())]
                taken[label[row]] = True
    good = found["score"] >= SCORE_MIN
    found_labels = np.zeros_like(taken)
    found_labels[label[good & (label >= 0)]] = True
    return Matches(score=found["score"], label=label, found=found_labels)


def d_ece(score: Array, correct: Bools, position: Array | None = None, *, bins: int = 10, least: int = 8) -> float:
    """Detection expected calibration error (Kueppers et al., "Multivariate Confidence Calibration for Object Detection", 2020, eq. 6).

    Sum over bins of |share correct - mean score| weighted by the share of detections in the bin; bins over the score and, with `position`
    (P, k) in 0..1, over that too. Bins of fewer than `least` detections are left out, as the authors do.
    """
    score = np.asarray(score, np.float64)
    axes = score[:, None] if position is None else np.concatenate((score[:, None], position), 1)
    cell = np.clip((axes * bins).astype(np.int64), 0, bins - 1)
    _, which, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    gap = np.abs(np.bincount(which, correct, len(count)) - np.bincount(which, score, len(count)))  # times the count
    full = count >= least
    return float(gap[full].sum() / count[full].sum()) if full.any() else float("nan")


def _calibration(found: dict[str, NDArray[Any]], true: dict[str, NDArray[Any]], pairs: Matches, size: tuple[int, int]) -> dict[str, float]:
    """D-ECE over detections with score >= SCORE_MIN that match a counted label or no label and are large enough to count."""
    sides = (found["box"][:, 2:] - found["box"][:, :2]).min(-1)
    hit = pairs.label >= 0
    use = (pairs.score >= SCORE_MIN) & np.where(hit, true["counted"][pairs.label], sides >= SIDE_MIN)
    box = found["box"][use]
    shape = np.concatenate((0.5 * (box[:, :2] + box[:, 2:]) / size, (box[:, 2:] - box[:, :2]) / size), 1)
    return {
        "d_ece": d_ece(pairs.score[use], hit[use]),
        "d_ece_with_box": d_ece(pairs.score[use], hit[use], shape, bins=5),
        "precision": float(hit[use].mean()) if use.any() else float("nan"),
    }


def _place(found: dict[str, NDArray[Any]], true: dict[str, NDArray[Any]], pairs: Matches, classes: Sequence[str]) -> dict[str, Any]:
    """Of the counted labels that were found: errors of centre, heading, size and light, and how honest the stated sigmas are."""
    row = np.flatnonzero((pairs.label >= 0) & (pairs.score >= SCORE_MIN))
    row = row[true["counted"][pairs.label[row]]]
    label = pairs.label[row]
    reach = true["range"][label]
    error = found["centre"][row] - true["centre"][label]
    near = reach <= RANGE_MAX
    sight = (true["centre"][label, :2] - true["lens"][label]) / np.maximum(reach, 1e-6)[:, None]
    along = (error[:, :2] * sight).sum(-1)
    across = error[:, 1] * sight[:, 0] - error[:, 0] * sight[:, 1]
    sigma = np.maximum(found["sigma"][row], 1e-9)
    turned = np.degrees(np.abs((found["yaw"][row] - true["yaw"][label] + np.pi) % (2 * np.pi) - np.pi))
    lit = true["light"][label] >= 0
    mine = {name: ~lit & (true["kind"][label] == k) for k, name in enumerate(classes)}
    solid = {name: which for name, which in mine.items() if which.any()}
    sizes = np.abs(found["size"][row] / np.maximum(true["size"][label], 1e-6) - 1.0).mean(-1)
    within = (along / sigma[:, 0]) ** 2 + (across / sigma[:, 1]) ** 2 <= ELLIPSE_90
    distance = np.linalg.norm(error, axis=-1)
    relative = distance / np.maximum(reach, 1e-6)
    return {
        "centre_error": _median(relative[near]),
        "centre_error_p90": _quantile(relative[near], 0.9),
        "centre_error_m": _median(distance[near]),
        "along_error_m": _median(np.abs(along[near])),
        "across_error_m": _median(np.abs(across[near])),
        "heading_error": _median(turned[~lit]),
        "heading_error_p90": _quantile(turned[~lit], 0.9),
        "heading_flipped": _share(turned[~lit] > 90.0),
        "heading_error_by_class": {name: _median(turned[which]) for name, which in solid.items()},
        "heading_flipped_by_class": {name: _share(turned[which] > 90.0) for name, which in solid.items()},
        "size_error": _median(sizes),
        "light_accuracy": _share(found["light"][row][lit] == true["light"][label][lit]),
        "coverage_90": _share(within),
    }


def _recalls(true: dict[str, NDArray[Any]], pairs: Matches) -> dict[str, Any]:
    counted: Bools = true["counted"]
    sides = (true["box"][:, 2:] - true["box"][:, :2]).min(-1) >= SIDE_MIN
    return {
        "recall": _share(pairs.found[counted]),
        "recall_by_range": _by(RANGES, true["range"][counted], pairs.found[counted], "m"),
        "recall_by_hidden": _by(HIDDEN, true["occlusion"][sides], pairs.found[sides], ""),
    }


def _by(edges: Sequence[float], value: NDArray[Any], good: Bools, unit: str) -> dict[str, float]:
    """Share of `good` by `value`, bin by bin."""
    shares = {}
    for low, high in pairwise(edges):
        name = f"{low:g}-{high:g} {unit}" if unit else f"{low:g}-{min(high, 1.0):g}"
        shares[name] = _share(good[(value >= low) & (value < high)])
    return shares


def _rows(batch: Any, image: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Masked rows of a batch, flat, as float64 or int64."""
    mask = np.asarray(batch.mask.cpu())
    rows = {name: np.asarray(getattr(batch, name).cpu())[mask] for name in names}
    rows = {name: value.astype(np.int64 if value.dtype.kind in "iub" else np.float64) for name, value in rows.items()}
    rows["image"] = np.broadcast_to(image, mask.shape)[mask].astype(np.int64)
    return rows


def _join(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _annotations(rows: dict[str, NDArray[Any]], area: NDArray[Any], frames: Bools, cameras: int) -> list[dict[str, Any]]:
    here = frames[rows["image"]]
    picture = rows["image"] * cameras + rows["camera"]
    box = np.concatenate((rows["box"][:, :2], rows["box"][:, 2:] - rows["box"][:, :2]), 1)
    score = rows.get("score", np.ones(len(area)))
    columns = (picture[here].tolist(), rows["kind"][here].tolist(), box[here].tolist(), area[here].tolist(), score[here].tolist())
    return [
        {"id": i + 1, "image_id": image, "category_id": kind, "bbox": b, "area": a, "score": s, "iscrowd": 0}
        for i, (image, kind, b, a, s) in enumerate(zip(*columns, strict=True))
    ]


def _iou(box: NDArray[Any], boxes: NDArray[Any]) -> Array:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - common
    return np.asarray(common / np.maximum(union, 1e-9), np.float64)


def _mean(values: NDArray[Any]) -> float:
    told = values[values > -1]
    return float(told.mean()) if told.size else float("nan")


def _median(values: NDArray[Any]) -> float:
    return _quantile(values, 0.5)


def _quantile(values: NDArray[Any], q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")


def _share(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")
