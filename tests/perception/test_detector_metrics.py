"""The detector's figures: closed forms, perfect and hopeless detectors, and what counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from perception.metrics.detection import DetectionFigures, d_ece
from perception.training.boxes import BoxStream
from perception.training.calibrate import platt
from perception.types import Camera, Detections, Labels

pytest.importorskip("pycocotools")
STREAM = BoxStream()


def truth(seed: int = 0, count: int = 40) -> tuple[Labels, Camera, Tensor]:
    frame, labels, condition = STREAM.sample(seed, count)
    return labels, frame.camera, condition


def seen(labels: Labels, **other: Tensor) -> Detections:
    """Everything, exactly."""
    fields: dict[str, Tensor] = {
        name: getattr(labels, name) for name in ("box", "camera", "kind", "centre", "size", "yaw", "light", "source", "mask")
    }
    one = torch.ones_like(labels.yaw)
    return Detections(**{**fields, "score": 0.9 * one, "sigma": torch.ones(*one.shape, 2), **other})


def figures(found: Detections, labels: Labels, camera: Camera, condition: Tensor | None = None) -> dict[str, Any]:
    collected = DetectionFigures(STREAM.classes, STREAM.conditions)
    collected.add(found, labels, camera, condition)
    return collected.report()


def test_a_perfect_detector() -> None:
    labels, camera, condition = truth()
    report = figures(seen(labels), labels, camera, condition)
    for key in ("ap50", "ap", "ap50_all", "ap_all", "recall", "precision", "light_accuracy", "coverage_90"):
        assert report[key] == pytest.approx(1.0), key
    for key in ("centre_error", "heading_error", "size_error", "heading_flipped"):
        assert report[key] == pytest.approx(0.0, abs=1e-4), key
    assert report["d_ece"] == pytest.approx(0.1, abs=1e-6)  # says 0.9, is always right
    assert {name: row["frames"] for name, row in report["conditions"].items()} == {
        name: int((condition == i).sum()) for i, name in enumerate(STREAM.conditions)
    }


def test_a_blind_detector() -> None:
    labels, camera, _ = truth()
    report = figures(seen(labels, mask=torch.zeros_like(labels.mask)), labels, camera)
    assert report["ap50"] == 0.0 and report["recall"] == 0.0
    assert math.isnan(report["centre_error"]) and math.isnan(report["d_ece"])


def test_half_of_what_is_there_costs_half() -> None:
    """Without false alarms, AP50 is the recall (to the next of COCO's 101 recall steps)."""
    labels, camera, _ = truth(count=200)
    half = labels.mask & (torch.rand(labels.mask.shape, generator=torch.Generator().manual_seed(0)) < 0.5)
    collected = DetectionFigures(STREAM.classes)
    collected.add(seen(labels, mask=half), labels, camera)
    report = collected.report()
    found, true, _ = collected.collected()
    recalls = []
    for kind in range(len(STREAM.classes)):
        here = np.asarray(labels.mask) & (np.asarray(labels.kind) == kind)
        recalls.append((np.asarray(half) & here).sum() / here.sum())
    assert report["ap50_all"] == pytest.approx(float(np.mean(recalls)), abs=0.011)
    assert len(found["score"]) == int(half.sum()) and len(true["kind"]) == int(labels.mask.sum())


def test_known_errors_are_measured() -> None:
    labels, camera, _ = truth()
    lens = torch.stack((camera.x, camera.y), -1)
    sight = labels.centre[..., :2] - lens
    reach = sight.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    farther = torch.cat((labels.centre[..., :2] + 0.04 * sight, labels.centre[..., 2:]), -1)  # 4 % along the line of sight
    report = figures(
        seen(labels, centre=farther, yaw=labels.yaw + math.radians(7.0) - 2 * math.pi, sigma=(0.04 * reach).expand(-1, -1, 2)),
        labels,
        camera,
    )
    assert report["centre_error"] == pytest.approx(0.04, abs=1e-5) and report["across_error_m"] == pytest.approx(0.0, abs=1e-4)
    assert report["heading_error"] == pytest.approx(7.0, abs=1e-3)
    assert report["coverage_90"] == 1.0  # one sigma off
    report = figures(seen(labels, centre=farther, sigma=(0.04 / 2.2 * reach).expand(-1, -1, 2)), labels, camera)
    assert report["coverage_90"] == 0.0  # 2.2 sigma off, the ellipse ends at 2.146


def test_what_is_hidden_or_small_neither_counts_nor_hurts() -> None:
    labels, camera, _ = truth()
    odd = torch.zeros_like(labels.mask)
    odd[:, 0] = True
    labels = labels._replace(occlusion=torch.where(odd, 0.95, 0.0), box=labels.box.round())
    missed = figures(seen(labels, mask=labels.mask & ~odd), labels, camera)
    assert missed["ap50"] == pytest.approx(1.0) and missed["ap50_with_hidden"] < 0.9 and missed["ap50_all"] < 0.9
    assert figures(seen(labels), labels, camera)["ap50"] == pytest.approx(1.0)
    narrow = labels._replace(box=torch.cat((labels.box[..., :2], labels.box[..., :2] + torch.tensor([3.0, 30.0])), -1))
    assert math.isnan(figures(seen(narrow), narrow, camera)["ap50"])  # nothing is left that counts


def test_false_alarms_hurt_unless_they_are_small() -> None:
    labels, camera, _ = truth()
    extra = seen(labels)
    box = torch.tensor([1.0, 80.0, 41.0, 95.0]).expand(40, 1, 4)
    grown = Detections(*(torch.cat((value, value[:, :1]), 1) for value in extra))
    grown.box[:, -1:], grown.score[:, -1], grown.mask[:, -1], grown.kind[:, -1] = box, 0.95, True, 1
    assert figures(grown, labels, camera)["ap50"] < 0.9
    grown.box[:, -1] = torch.tensor([1.0, 80.0, 4.0, 95.0])
    assert figures(grown, labels, camera)["ap50"] == pytest.approx(1.0)


def test_d_ece_of_a_calibrated_and_of_a_boastful_detector() -> None:
    rng = np.random.default_rng(0)
    score = rng.uniform(0.3, 1.0, 50_000)
    assert d_ece(score, rng.random(50_000) < score) < 0.01
    assert d_ece(np.full(1000, 0.8), np.arange(1000) % 2 == 0) == pytest.approx(0.3)
    # calibrated on the whole, but not where things are: left always right, right never
    place = np.repeat([[0.2], [0.8]], 500, 0)
    assert d_ece(np.full(1000, 0.5), place[:, 0] < 0.5) == pytest.approx(0.0)
    assert d_ece(np.full(1000, 0.5), place[:, 0] < 0.5, place) == pytest.approx(0.5)


def test_platt_recovers_what_distorted_the_scores() -> None:
    rng = np.random.default_rng(1)
    logit = rng.normal(0.0, 2.0, 40_000)
    correct = rng.random(40_000) < 1 / (1 + np.exp(-(0.6 * logit + 0.5)))
    scale, bias = platt(1 / (1 + np.exp(-logit)), correct)
    assert (scale, bias) == (pytest.approx(0.6, abs=0.03), pytest.approx(0.5, abs=0.04))
    assert platt(np.ones(10), np.ones(10, bool)) == (1.0, 0.0)
    assert platt(np.full(100, 0.5), np.ones(100, bool)) == (1.0, 0.0)


def test_no_frames() -> None:
    with pytest.raises(ValueError, match="no frames"):
        DetectionFigures(("a",)).report()
