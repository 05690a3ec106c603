"""Drivers: usual parameters of the traffic model by kind of road user, and how one driver is drawn."""

from __future__ import annotations

from typing import Any

from scenarios.distributions import Distribution, Normal, Uniform, draw
from scenarios.draws import Source, called
from scenarios.episode import Driver
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.schema import DriversModel, MixModel

__all__ = ["draw_driver", "draw_kind"]


def _normal(mean: float, std: float, low: float, high: float) -> Distribution:
    return Normal(mean=mean, std=std, low=low, high=high)


# Order matters: it is the order of the draws. Headway, gap, acceleration and deceleration: Treiber & Kesting, "Traffic Flow Dynamics"
# (2013), table 11.2 (T 1.0-1.6 s, s0 2 m, a 1.0-1.5, b 1.5-2.0 m/s^2), spread over drivers. Politeness and threshold: Kesting et al.
# (2007).
_USUAL: dict[str, Any] = {
    "desired_speed": None,  # as fast as limit and speed_factor allow
    "speed_factor": _normal(1.0, 0.08, 0.8, 1.2),
    "headway": _normal(1.5, 0.25, 1.0, 2.2),
    "min_gap": _normal(2.0, 0.3, 1.5, 3.0),
    "accel": _normal(1.5, 0.25, 1.0, 2.2),
    "decel": _normal(2.0, 0.25, 1.5, 2.8),
    "politeness": Uniform(low=0.1, high=0.5),
    "change_threshold": 0.2,
    "keep_right": 0.0,
    "safe_decel": 3.0,
    "changes_lanes": True,
    "yields": True,
}
_HEAVY = {"desired_speed": _normal(24.0, 0.8, 22.0, 25.0), "accel": _normal(0.9, 0.1, 0.7, 1.1), "headway": _normal(1.8, 0.2, 1.4, 2.4)}
_BY_KIND: dict[Kind, dict[str, Any]] = {
    Kind.TRUCK: {**_HEAVY, "speed_factor": _normal(0.97, 0.03, 0.9, 1.02)},  # speed limiters: 80 to 90 km/h
    Kind.BUS: {**_HEAVY, "speed_factor": _normal(0.97, 0.03, 0.9, 1.02)},
    Kind.MOTORCYCLE: {"accel": _normal(2.2, 0.3, 1.5, 3.0)},
    # urban cyclists ride 4 to 6 m/s (Parkin & Rotheram 2010)
    Kind.BICYCLE: {
        "desired_speed": _normal(5.0, 0.8, 3.5, 7.0), "accel": 0.8, "decel": 1.5, "headway": 1.0, "min_gap": 1.0, "changes_lanes": False,
    },
    # walking speed 1.34 +- 0.26 m/s (Weidmann 1993)
    Kind.PEDESTRIAN: {
        "desired_speed": _normal(1.34, 0.26, 0.8, 2.0), "accel": 1.0, "decel": 1.0, "headway": 0.4, "min_gap": 0.4, "changes_lanes": False,
    },
}  # fmt: skip


def draw_driver(rng: Source, kind: Kind, *models: DriversModel | None, desired_speed: float | None = None) -> Driver:
    """One driver of a kind. Later `models` override earlier ones where they say something; `desired_speed` overrides all.

    Every driver uses the same count of random numbers or fewer; the order of the draws is fixed.
    """
    source = {**_USUAL, **_BY_KIND.get(kind, {})}
    for model in models:
        if model is not None:
            source.update({name: value for name in _USUAL if (value := getattr(model, name)) is not None})
    values = {name: draw(source[name], called(rng, name)) for name in _USUAL}
    fastest = KIND_SPECS[kind].speed_max
    wanted = desired_speed if desired_speed is not None else values["desired_speed"]
    values["desired_speed"] = fastest if wanted is None else min(wanted, fastest)
    values["accel"] = min(values["accel"], KIND_SPECS[kind].accel_max)
    return Driver(**values)


def draw_kind(rng: Source, mix: MixModel) -> Kind:
    """A kind of road user by its share."""
    u = called(rng, "kind").random() * sum(mix.weights())
    for kind, weight in zip(Kind, mix.weights(), strict=True):
        u -= weight
        if u < 0.0:
            return kind
    return max(kind for kind, weight in zip(Kind, mix.weights(), strict=True) if weight > 0.0)
