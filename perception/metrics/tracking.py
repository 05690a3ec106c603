"""How well things are followed: HOTA (with DetA and AssA), IDF1 and MOTA, computed by trackeval.

Two questions, each with its own similarity of a track and a label of one frame: `image`, the IoU of the boxes (MOTChallenge), and `ground`,
the distance d of the centres as 1 - d / ZERO, cut at 0, so that the usual threshold of 0.5 stands for 2 m, at which nuScenes matches.

What counts is as for detections: labels that are too small or hidden (see COUNTED) are neither missed nor, when tracked, wrong (as KITTI
and MOTChallenge do it: a track that matches such a label best is left out of that frame). Tracks that coast are predictions, not sightings,
and left out unless asked for. Classes are not compared, save that lights match only lights; figures for each class are beside.

A sequence is one world from one reset to the next; figures of all sequences are combined as trackeval combines them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from perception.detectors import DRIVING_CLASSES
from perception.types import Labels, Tracks

__all__ = ["COUNTED", "SIMILARITIES", "ZERO", "TrackingFigures", "hota_of"]

ZERO = 4.0  # m, distance of similarity 0
COUNTED = (4.0, 0.8)  # px, shortest side; largest share hidden by others
MATCH = 0.5  # similarity from which a track is that of a label that does not count
Array = NDArray[np.float64]
Frame = dict[str, NDArray[Any]]


def _iou(p: Frame, q: Frame) -> Array:
    """(P, Q) of boxes (P, 4), (Q, 4)."""
    a, b = p["box"][:, None], q["box"][None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    total = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    return np.asarray(common / np.maximum(total, 1e-9), np.float64)


def _nearness(p: Frame, q: Frame) -> Array:
    """(P, Q) of places (P, 2), (Q, 2)."""
    distance = np.linalg.norm(p["place"][:, None] - q["place"][None], axis=-1)
    return np.asarray(np.clip(1.0 - distance / ZERO, 0.0, None), np.float64)


SIMILARITIES: dict[str, Callable[[Frame, Frame], Array]] = {"image": _iou, "ground": _nearness}


class TrackingFigures:
    """Collects frames in order (`add`), then tells the figures (`report`). coasted: tracks count while they are not seen, too."""

    def __init__(self, classes: Sequence[str] = DRIVING_CLASSES, *, coasted: bool = False) -> None:
        self.classes, self.coasted = tuple(classes), coasted
        self._done: list[list[tuple[Frame, Frame]]] = []
        self._open: list[list[tuple[Frame, Frame]]] = []

    def add(self, labels: Labels, tracks: Tracks, first: Tensor | None = None) -> None:
        """One frame of B worlds, the same worlds in the same rows every time. first (B,) bool: worlds in which an episode begins.

        Raises ValueError if the number of worlds changes.
        """
        batch = len(labels.mask)
        self._open = self._open or [[] for _ in range(batch)]
        if len(self._open) != batch:
            raise ValueError(f"{batch} worlds after {len(self._open)}: rows must stay the same")
        true = _rows(labels, ("kind", "box", "centre", "source", "occlusion"), labels.mask)
        seen = tracks.mask if self.coasted else tracks.mask & (tracks.unseen == 0)
        told = _rows(tracks, ("kind", "box", "mean", "id"), seen)
        for b in range(batch):
            if first is not None and bool(first[b]) and self._open[b]:
                self._done.append(self._open[b])
                self._open[b] = []
            self._open[b].append((_label_frame(true[b]), _track_frame(told[b])))

    def report(self) -> dict[str, dict[str, Any]]:
        """For each similarity: hota, deta, assa, loca, idf1, mota, switches, counts, and hota by class; shares 0 to 1, NaN: nothing there.

        Raises ValueError if no frame was added.
        """
        sequences = [*self._done, *(sequence for sequence in self._open if sequence)]
        if not sequences:
            raise ValueError("no frames were added")
        out: dict[str, dict[str, Any]] = {}
        for name, similar in SIMILARITIES.items():
            figures = _figures(sequences, similar, self._lamp)
            by_class = {}
            for kind, label in enumerate(self.classes):
                only = [[(_of_kind(p, kind), _of_kind(q, kind)) for p, q in sequence] for sequence in sequences]
                if any(p["counts"].any() for sequence in only for p, _ in sequence):
                    by_class[label] = _figures(only, similar, self._lamp)["hota"]
            out[name] = {**figures, "hota_by_class": by_class}
        return out

    @property
    def _lamp(self) -> int:
        return self.classes.index("light") if "light" in self.classes else -1


def hota_of(
    truth: Sequence[NDArray[np.int64]], told: Sequence[NDArray[np.int64]], similarity: Sequence[Array]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """trackeval's results of one sequence, HOTA, CLEAR and identity: ids of labels and tracks, and their similarity (P, Q), frame by frame.

    Ids are any whole numbers.
    """
    from trackeval.metrics import CLEAR, HOTA, Identity  # type: ignore[import-untyped,unused-ignore]

    def compact(ids: Sequence[NDArray[np.int64]]) -> tuple[list[NDArray[np.int64]], int]:
        known = np.unique(np.concatenate([*ids, np.zeros(0, np.int64)]))
        return [np.searchsorted(known, part) for part in ids], len(known)

    gt, gt_count = compact(truth)
    tr, tr_count = compact(told)
    data = {
        "num_timesteps": len(gt),
        "num_gt_dets": sum(map(len, gt)),
        "num_tracker_dets": sum(map(len, tr)),
        "num_gt_ids": gt_count,
        "num_tracker_ids": tr_count,
        "gt_ids": gt,
        "tracker_ids": tr,
        "similarity_scores": list(similarity),
    }
    quiet = {"THRESHOLD": 0.5, "PRINT_CONFIG": False}
    with contextlib.redirect_stdout(io.StringIO()):
        results = tuple(metric.eval_sequence(data) for metric in (HOTA(), CLEAR(quiet), Identity(quiet)))
    return results[0], results[1], results[2]


def _figures(sequences: list[list[tuple[Frame, Frame]]], similar: Callable[[Frame, Frame], Array], lamp: int) -> dict[str, Any]:
    from trackeval.metrics import CLEAR, HOTA, Identity

    parts: tuple[dict[int, Any], ...] = ({}, {}, {})
    for number, sequence in enumerate(sequences):
        frames = [_counted(p, q, similar, lamp) for p, q in sequence]
        results = hota_of([f[0] for f in frames], [f[1] for f in frames], [f[2] for f in frames])
        for part, result in zip(parts, results, strict=True):
            part[number] = result
    quiet = {"THRESHOLD": MATCH, "PRINT_CONFIG": False}
    with contextlib.redirect_stdout(io.StringIO()):
        hota = HOTA().combine_sequences(parts[0])
        clear = CLEAR(quiet).combine_sequences(parts[1])
        identity = Identity(quiet).combine_sequences(parts[2])
    labels = int(hota["HOTA_TP"][0] + hota["HOTA_FN"][0])
    tracks = int(hota["HOTA_TP"][0] + hota["HOTA_FP"][0])

    def told(value: Any) -> float:
        return float(np.mean(value)) if labels or tracks else float("nan")

    return {
        "hota": told(hota["HOTA"]),
        "deta": told(hota["DetA"]),
        "assa": told(hota["AssA"]),
        "loca": told(hota["LocA"]),
        "idf1": told(identity["IDF1"]),
        "mota": told(clear["MOTA"]) if labels else float("nan"),
        "switches": int(clear["IDSW"]),
        "fragments": int(clear["Frag"]),
        "sequences": len(sequences),
        "labels": labels,
        "tracked": tracks,
    }


def _counted(p: Frame, q: Frame, similar: Callable[[Frame, Frame], Array], lamp: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Ids of what counts in a frame and their similarity."""
    alike = similar(p, q) * ((p["kind"] == lamp)[:, None] == (q["kind"] == lamp)[None])
    alike = np.nan_to_num(alike)
    keep = np.ones(len(q["id"]), np.bool_)
    if not p["counts"].all() and alike.size:
        value = np.where(alike >= MATCH, alike + 1e-3 * p["counts"][:, None], 0.0)
        rows, columns = linear_sum_assignment(value, maximize=True)
        keep[columns[(value[rows, columns] > 0) & ~p["counts"][rows]]] = False
    return p["id"][p["counts"]], q["id"][keep], alike[p["counts"]][:, keep]


def _rows(batch: Any, names: Sequence[str], mask: Tensor) -> list[Frame]:
    chosen = np.asarray(mask.cpu())
    values = {name: np.asarray(getattr(batch, name).cpu()) for name in names}
    return [{name: value[b][chosen[b]] for name, value in values.items()} for b in range(len(chosen))]


def _label_frame(rows: Frame) -> Frame:
    box = rows["box"].astype(np.float64)
    sides = (box[:, 2:] - box[:, :2]).min(-1) if len(box) else np.zeros(0)
    once = _largest_of_each(rows["source"], box)  # what several cameras see counts once
    counts = (np.isnan(sides) | (sides >= COUNTED[0])) & (rows["occlusion"] <= COUNTED[1])
    place = rows["centre"][:, :2].astype(np.float64)
    frame = {"id": rows["source"], "kind": rows["kind"], "box": box, "place": place, "counts": counts}
    return {name: value[once] for name, value in frame.items()}


def _largest_of_each(ids: NDArray[Any], box: Array) -> NDArray[np.int64]:
    area = np.nan_to_num((box[:, 2:] - box[:, :2]).prod(-1))
    order = np.argsort(-area, kind="stable")
    _, first = np.unique(ids[order], return_index=True)
    return np.sort(order[first])


def _track_frame(rows: Frame) -> Frame:
    place = rows["mean"][:, :2].astype(np.float64)
    return {"id": rows["id"], "kind": rows["kind"], "box": rows["box"].astype(np.float64), "place": place}


def _of_kind(frame: Frame, kind: int) -> Frame:
    here = frame["kind"] == kind
    return {name: value[here] for name, value in frame.items()}
