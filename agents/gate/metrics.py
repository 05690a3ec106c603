"""Metrics that can be gated, each turned so that 1 is best and 0 worst. Another domain adds its own here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "GateMetric", "MetricError", "goodness", "reading", "share"]


class MetricError(ValueError):
    """A result lacks a figure, or has one that cannot be."""


@dataclass(frozen=True, kw_only=True)
class GateMetric:
    """How a metric of `envs.driving.metrics.episode_metrics`, of `agents.evaluation.rollout_robots` or `rollout_arcade`, is read."""

    better: Literal["higher", "lower"]
    kind: Literal["event", "score"]  # event: it happened in an episode or not; score: any value of a range
    span: float = 1.0  # the range of a score is 0 to this; what is beyond counts as this
    unit: str = ""  # of span


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
    "impact": GateMetric(better="lower", kind="score", span=15.0, unit="m/s"),
    "ttc_min": GateMetric(better="higher", kind="score", span=3.0, unit="s"),
    "lane_offset": GateMetric(better="lower", kind="score", span=0.5, unit="m"),
    "route_progress": _SCORE,
    "speed_ok": _SCORE,
    "nuplan_score": _SCORE,
    "driving_score": _SCORE,
    "lasted": _SCORE,
    "at_goal": _SCORE,
    "share": _SCORE,
}


def goodness(metrics: Mapping[str, float], name: str) -> float:
    """The figure `name` of an episode, from 0 (worst) to 1 (best). Raises MetricError as `share` does."""
    part = share(metrics, name)
    return part if METRICS[name].better == "higher" else 1.0 - part


def share(metrics: Mapping[str, float], name: str) -> float:
    """The figure `name` of an episode as a share of its range, 0 to 1; of an event, whether it happened.

    Raises MetricError if it is missing, no number or out of range. A figure with a unit has no upper end: it counts as the range's.
    """
    if name not in metrics:
        raise MetricError(f"the result has no {name!r}")
    value, metric = metrics[name], METRICS[name]
    if not math.isfinite(value):
        raise MetricError(f"{name}={value}: not a finite number")
    if metric.kind == "event":
        return float(value > 0)
    if metric.unit and value < 0.0:
        raise MetricError(f"{name}={value}: must be at least 0 {metric.unit}")
    if not metric.unit and not -1e-6 <= value <= 1.0 + 1e-6:
        raise MetricError(f"{name}={value}: must be between 0 and 1")
    return min(max(value / metric.span, 0.0), 1.0)


def reading(good: float, name: str) -> float:
    """The metric itself, in its unit, of a figure from 0 (worst) to 1 (best); the inverse of `goodness` within the range. NaN stays NaN."""
    metric = METRICS[name]
    return metric.span * (good if metric.better == "higher" else 1.0 - good)
