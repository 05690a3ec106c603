"""Metrics that can be gated, each turned so that 1 is best and 0 worst. Another domain adds its own here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "GateMetric", "MetricError", "goodness"]


class MetricError(ValueError):
    """A result lacks a figure, or has one that cannot be."""


@dataclass(frozen=True, kw_only=True)
class GateMetric:
    """How a metric of `envs.driving.metrics.episode_metrics` is read."""

    better: Literal["higher", "lower"]
    kind: Literal["event", "score"]  # event: it happened in an episode or not; score: 0 to 1


_EVENT_UP, _EVENT_DOWN = GateMetric(better="higher", kind="event"), GateMetric(better="lower", kind="event")
_SCORE = GateMetric(better="higher", kind="score")
METRICS: dict[str, GateMetric] = {
    "success": _EVENT_UP,
    "collision": _EVENT_DOWN,
    "collision_at_fault": _EVENT_DOWN,
    "off_road": _EVENT_DOWN,
    "wrong_way": _EVENT_DOWN,
    "red_light": _EVENT_DOWN,
    "stop_sign": _EVENT_DOWN,
    "ttc_ok": _EVENT_UP,
    "comfort": _EVENT_UP,
    "route_progress": _SCORE,
    "speed_ok": _SCORE,
    "nuplan_score": _SCORE,
    "driving_score": _SCORE,
}


def goodness(metrics: Mapping[str, float], name: str) -> float:
    """The figure `name` of an episode, from 0 (worst) to 1 (best). Raises MetricError if it is missing, no number or out of range."""
    if name not in metrics:
        raise MetricError(f"the result has no {name!r}")
    value, metric = metrics[name], METRICS[name]
    if not math.isfinite(value):
        raise MetricError(f"{name}={value}: not a finite number")
    if metric.kind == "event":
        happened = value > 0
        return float(happened if metric.better == "higher" else not happened)
    if not -1e-6 <= value <= 1.0 + 1e-6:
        raise MetricError(f"{name}={value}: must be between 0 and 1")
    value = min(max(value, 0.0), 1.0)
    return value if metric.better == "higher" else 1.0 - value
