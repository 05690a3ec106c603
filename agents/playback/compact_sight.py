"""What was believed as a small JSON value for the HTML player: numbers packed as in `agents.playback.compact`, pictures as WebP.

`player/beliefs.js` is the other end.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agents.playback.beliefs import Beliefs
from agents.playback.compact import packed
from agents.playback.sight import LIGHT, Sight
from agents.playback.storage import Array
from agents.playback.trace import Trace
from envs.driving.palette import BELIEFS, CLASSES
from perception.tracking.config import DRIVING_MODELS
from scenarios.kinds import Kind

__all__ = ["BUDGET", "ELLIPSE", "compact_sight", "ellipses", "pictures"]

BUDGET = 1_000_000  # bytes of all pictures of a page, before base64 makes a third more of them
QUALITIES = (92, 85, 75, 60, 45, 30, 15)  # of WebP, tried in this order
ELLIPSE = 2.1460  # standard deviations to the edge of an ellipse that holds 90 % of a plane normal distribution, sqrt(-2 ln 0.1)
LIKELY = 0.05  # least probability of a path that is shown


def compact_sight(trace: Trace, sight: Sight) -> dict[str, Any]:
    """Everything of the beliefs that the player draws. Strict JSON."""
    beliefs = trace.beliefs
    assert beliefs is not None
    size = [sight.images.shape[3], sight.images.shape[2]]
    return {
        "classes": list(beliefs.about.classes),
        "times": list(beliefs.about.times),
        "cameras": [dict(zip(("focal", "cu", "cv", "x", "y", "z", "yaw"), map(float, row), strict=True)) for row in sight.cameras],
        "names": list(sight.names),
        "size": size,
        "images": pictures(sight.images),
        "steps": packed(value for k in range(trace.steps + 1) for value in _step(beliefs, sight, k)),
        "heights": [DRIVING_MODELS[kind.name.lower()].height for kind in Kind],
        "light": LIGHT,
        "late": round(trace.config.latency * trace.config.ticks_per_step * trace.config.dt, 3),
        "palette": CLASSES,
        "colours": BELIEFS,
    }


def pictures(images: Array, budget: int = BUDGET) -> list[list[str]]:
    """Pictures (S, C, H, W, 3) RGB as base64 of WebP, in the best quality whose bytes stay within the budget, by a sample of them."""
    if not images.size:
        return [[] for _ in images]
    flat = images.reshape(-1, *images.shape[2:])
    sample = flat[:: max(1, len(flat) // 24)]
    for quality in QUALITIES:
        if sum(len(_webp(image, quality)) for image in sample) / len(sample) * len(flat) <= budget:
            break
    return [[base64.b64encode(_webp(image, quality)).decode() for image in row] for row in images]


def _webp(image: Array, quality: int) -> bytes:
    done, data = cv2.imencode(".webp", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise OSError(22, "the picture cannot be encoded")
    return data.tobytes()


def ellipses(covariance: Array) -> NDArray[np.float64]:
    """Half axes m and direction rad of the ellipses that hold 90 %: covariance (..., 3) xx, xy, yy m^2 -> (..., 3)."""
    xx, xy, yy = np.moveaxis(covariance.astype(np.float64), -1, 0)
    middle, spread = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    half = [ELLIPSE * np.sqrt(np.maximum(value, 0.0)) for value in (middle + spread, middle - spread)]
    return np.stack([*half, 0.5 * np.arctan2(2.0 * xy, xx - yy)], axis=-1)


def _step(beliefs: Beliefs, sight: Sight, k: int) -> Iterator[int]:
    """The numbers of one state: tracks, detections, and who was missed; each with their count before them."""
    arrays = {name: value[k] for name, value in beliefs.arrays.items()}
    tracks = np.flatnonzero(arrays["track_mask"])
    shape = ellipses(arrays["track_covariance"])
    yield len(tracks)
    for t in tracks:
        yield from (int(arrays[f"track_{name}"][t]) for name in ("id", "kind", "unseen", "light"))
        yield int(sight.body[k, t])
        metres = [arrays["track_place"][t], arrays["track_velocity"][t], arrays["track_size"][t], shape[t, :2]]
        yield from _whole(np.concatenate(metres), 100)
        yield from _whole(np.array([arrays["track_yaw"][t], shape[t, 2]]), 1000)
        yield from _whole(arrays["track_score"][t : t + 1], 100)
        likely = np.flatnonzero(arrays["path_probability"][t] >= LIKELY) if arrays["path_mask"][t] else ()
        yield len(likely)
        for mode in likely:
            yield from _whole(arrays["path_probability"][t, mode : mode + 1], 100)
            yield from _whole(np.diff(arrays["path"][t, mode], axis=0, prepend=arrays["track_place"][t][None]).ravel(), 10)
    found = np.flatnonzero(arrays["found_mask"])
    yield len(found)
    for d in found:
        yield from (int(arrays[f"found_{name}"][d]) for name in ("camera", "kind", "light"))
        row = sight.track[k, d]
        yield int(arrays["track_id"][row]) if row >= 0 else -1
        yield from _whole(arrays["found_score"][d : d + 1], 100)
        box = arrays["found_box"][d]
        yield from _whole(box if np.isfinite(box).all() and np.abs(box).max() < 1e5 else np.zeros(4), 8)
    missed = sight.missed(k)
    yield len(missed)
    yield from missed


def _whole(values: Array, scale: float) -> Iterator[int]:
    yield from np.round(scale * np.clip(values.astype(np.float64), -1e6, 1e6)).astype(np.int64).tolist()
