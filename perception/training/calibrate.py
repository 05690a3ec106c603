"""Making a trained detector mean what it says: scores that are probabilities, sigmas that are standard deviations.

Fitted on frames that were not trained on; order and place of detections stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from perception.detectors import int8
from perception.detectors.centernet import CenterNet
from perception.detectors.decode import DecodeSpec
from perception.detectors.network import Network, rays
from perception.metrics.detection import RANGE_MAX, SIDE_MIN, DetectionFigures, match
from perception.training.stream import Sample

__all__ = ["calibrate", "measure_ranges", "platt"]

SCORE_LOW = 0.02
TWO_SIDED_90 = 1.645  # 95 % quantile of the normal distribution


def calibrate(network: Network, spec: DecodeSpec, samples: Iterable[Sample]) -> DecodeSpec:
    """`spec` with score_scale, score_bias, along_scale and across_scale fitted to `samples`."""
    raw = replace(spec, score_scale=1.0, score_bias=0.0, along_scale=1.0, across_scale=1.0)
    detector = CenterNet(network, replace(raw, threshold=SCORE_LOW), backend="torch")
    figures = DetectionFigures(spec.classes)
    for frame, labels, _ in samples:
        figures.add(detector(frame), labels, frame.camera)
    found, true, _ = figures.collected()
    pairs = match(found, true)
    hit = pairs.label >= 0
    sides = (found["box"][:, 2:] - found["box"][:, :2]).min(-1)
    use = np.where(hit, true["counted"][pairs.label], sides >= SIDE_MIN) if len(true["counted"]) else np.zeros_like(hit)
    scale, bias = platt(found["score"][use], hit[use])
    row = np.flatnonzero(hit & (found["score"] >= 0.3))
    row = row[true["counted"][pairs.label[row]] & (true["range"][pairs.label[row]] <= RANGE_MAX)]
    label = pairs.label[row]
    sight = (true["centre"][label, :2] - true["lens"][label]) / np.maximum(true["range"][label], 1e-6)[:, None]
    error = found["centre"][row, :2] - true["centre"][label, :2]
    along = np.abs((error * sight).sum(-1)) / found["sigma"][row, 0]
    across = np.abs(error[:, 1] * sight[:, 0] - error[:, 0] * sight[:, 1]) / found["sigma"][row, 1]
    return replace(raw, score_scale=scale, score_bias=bias, along_scale=_factor(along), across_scale=_factor(across))


def measure_ranges(network: Network, samples: Iterable[Sample]) -> None:
    """Tell a folded network how large its activations are on `samples`, for `detectors.int8`. Raises ValueError without any."""
    frames = [frame for frame, _, _ in samples]
    if not frames:
        raise ValueError("no samples to measure activations on")
    image = torch.cat([frame.image.flatten(0, 1) for frame in frames])
    where = torch.cat([rays(frame.camera, *frame.image.shape[-2:]) for frame in frames])
    int8.measure(network, image, where)


def platt(score: NDArray[Any], correct: NDArray[Any], *, rounds: int = 50) -> tuple[float, float]:
    """scale, bias such that sigmoid(scale * logit(score) + bias) is the probability of `correct` (Platt 1999), by Newton's method.

    1, 0 where nothing can be fitted: fewer than 30 detections, all correct or none.
    """
    if len(score) < 30 or correct.all() or not correct.any():
        return 1.0, 0.0
    p = np.clip(score.astype(np.float64), 1e-6, 1.0 - 1e-6)
    x = np.stack((np.log(p / (1.0 - p)), np.ones_like(p)), -1)
    count = correct.sum()
    wanted = np.where(correct, (count + 1.0) / (count + 2.0), 1.0 / (len(p) - count + 2.0))  # Platt's own guard against certainty
    theta = np.array([1.0, 0.0])
    for _ in range(rounds):
        q = 1.0 / (1.0 + np.exp(-np.clip(x @ theta, -30, 30)))
        curvature = (x * (q * (1.0 - q))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (q - wanted))
        theta = theta - np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return (float(theta[0]), float(theta[1])) if theta[0] > 0 else (1.0, 0.0)


def _factor(normalised: NDArray[Any]) -> float:
    """What the stated spreads must be multiplied by so that 90 % of the errors are within 1.645 of them."""
    if len(normalised) < 30:
        return 1.0
    return float(max(np.quantile(normalised, 0.9) / TWO_SIDED_90, 1e-3))
