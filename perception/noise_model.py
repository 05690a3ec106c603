"""The tables of the error model of a detector; `perception.noise` says what they mean and draws from them.

Shapes: G groups of classes, R bins of range, O bins of occlusion, K classes, Q quantiles, W weathers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from perception.detectors import DRIVING_CLASSES

__all__ = ["GROUPS", "HIDDEN", "QUANTILES", "RANGES", "STATES", "NoiseModel", "even_noise"]

RANGES = (0.0, 10.0, 20.0, 30.0, 45.0, 60.0, 80.0, 120.0)  # m, edges of R bins, the last one open
HIDDEN = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # share, edges of O bins
GROUPS = (("car", "truck", "bus"), ("motorcycle", "bicycle", "pedestrian"), ("light",))
QUANTILES = 9
STATES = 5  # of lights


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseModel:
    """Tables of the error model; float32 tensors. Raises ValueError for a table of a wrong shape or with values out of its range."""

    classes: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]  # every class is in exactly one
    ranges: Tensor  # (R + 1,) m, ascending
    hidden: Tensor  # (O + 1,) ascending
    interval: float  # s between the steps it was fitted to
    miss: Tensor  # (G, R, O) probability
    miss_memory: float  # correlation of z from one step to the next
    along: Tensor  # (G, R, 2) mean and standard deviation of the error of range, share of the range
    across: Tensor  # (G, R, 2) the same across the line of sight, rad
    spread_hidden: Tensor  # (O,) factor on both standard deviations
    place_memory: float
    size: Tensor  # (G, 3, 2) mean and standard deviation of the logarithm of the ratio
    yaw: Tensor  # (G, R, 2) standard deviation in rad, probability of being turned round
    kind: Tensor  # (K, K) row: the class, column: probability of being called that
    light: Tensor  # (5, 5) the same of lights' states
    score: Tensor  # (G, R, Q) quantiles of the scores of true detections, at 0, 1/8, ..., 1
    false_rate: float  # false detections per frame
    false_life: int  # steps they last
    false_kind: Tensor  # (K,) adds up to 1
    false_range: Tensor  # (R,) adds up to 1
    false_bearing: float  # rad, largest
    false_score: Tensor  # (Q,)
    weathers: tuple[str, ...] = ("all",)
    weather: Tensor = field(default_factory=lambda: torch.zeros(1))  # (W,) shift of the threshold for misses, in deviations of z
    weather_share: Tensor = field(default_factory=lambda: torch.zeros(0))  # (W,) how often each comes, adds up to 1; empty: all as often

    def __post_init__(self) -> None:
        if not len(self.weather_share):
            object.__setattr__(self, "weather_share", torch.full((len(self.weathers),), 1.0 / len(self.weathers)))
        flat = [name for group in self.groups for name in group]
        if sorted(flat) != sorted(self.classes):
            raise ValueError(f"groups={self.groups}: every one of {self.classes} must be in exactly one")
        g, k, r, o = len(self.groups), len(self.classes), len(self.ranges) - 1, len(self.hidden) - 1
        shapes: dict[str, tuple[int, ...]] = {
            "miss": (g, r, o), "along": (g, r, 2), "across": (g, r, 2), "spread_hidden": (o,), "size": (g, 3, 2), "yaw": (g, r, 2),
            "kind": (k, k), "light": (STATES, STATES), "score": (g, r, QUANTILES), "false_kind": (k,), "false_range": (r,),
            "false_score": (QUANTILES,), "weather": (len(self.weathers),), "weather_share": (len(self.weathers),),
        }  # fmt: skip
        for name, shape in shapes.items():
            value = getattr(self, name)
            if tuple(value.shape) != shape or not bool(value.isfinite().all()):
                raise ValueError(f"{name}: shape {tuple(value.shape)}; expected {shape}, all values finite")
        for name in ("ranges", "hidden"):
            if len(getattr(self, name)) < 2 or not bool((getattr(self, name).diff() > 0).all()):
                raise ValueError(f"{name}={getattr(self, name).tolist()}: must ascend, at least two edges")
        for name in ("miss", "kind", "light", "score", "false_kind", "false_range", "false_score", "weather_share"):
            if not bool(((getattr(self, name) >= 0.0) & (getattr(self, name) <= 1.0)).all()):
                raise ValueError(f"{name}: has values outside 0 to 1")
        for name in ("kind", "light", "false_kind", "false_range", "weather_share"):
            if not bool(((getattr(self, name).sum(-1) - 1.0).abs() < 1e-3).all()):
                raise ValueError(f"{name}: probabilities must add up to 1")
        if not bool((self.along[..., 1] >= 0).all() and (self.across[..., 1] >= 0).all() and (self.yaw >= 0).all()):
            raise ValueError("along, across, yaw: standard deviations and probabilities must not be negative")
        if not (0.0 <= self.miss_memory < 1.0 and 0.0 <= self.place_memory < 1.0):
            raise ValueError(f"miss_memory={self.miss_memory}, place_memory={self.place_memory}: must be in [0, 1)")
        if not (0.0 <= self.false_rate <= 32.0 and 1 <= self.false_life <= 1000 and self.interval > 0.0):
            raise ValueError(
                f"false_rate={self.false_rate}, false_life={self.false_life}, interval={self.interval}: "
                "must be 0 to 32 per frame, 1 to 1000 steps, more than 0 s"
            )

    def to_json(self) -> dict[str, Any]:
        """Tables as lists."""
        return {part.name: _plain(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> NoiseModel:
        """What `to_json` gave. Raises ValueError with what is missing, unknown or wrong."""
        names = {part.name: part for part in fields(cls)}
        if missing := sorted(names.keys() - told.keys()):
            raise ValueError(f"is missing {', '.join(missing)}")
        if unknown := sorted(told.keys() - names.keys()):
            raise ValueError(f"does not know {', '.join(unknown)}")
        values: dict[str, Any] = {}
        for name, part in names.items():
            try:
                values[name] = _typed(str(part.type), told[name])
            except (TypeError, ValueError, OverflowError, RuntimeError) as error:
                raise ValueError(f"{name}: {error}") from None
        return cls(**values)

    def to(self, device: torch.device | str) -> NoiseModel:
        """The same on another device."""
        moved = {part.name: getattr(self, part.name).to(device) for part in fields(self) if isinstance(getattr(self, part.name), Tensor)}
        return replace(self, **moved)


def even_noise(
    classes: Sequence[str] = DRIVING_CLASSES,
    *,
    miss: float = 0.0,
    miss_memory: float = 0.0,
    along: float = 0.03,
    across: float = 0.005,
    place_memory: float = 0.0,
    size: float = 0.05,
    yaw: float = 0.1,
    flip: float = 0.0,
    false_rate: float = 0.0,
    false_life: int = 1,
    interval: float = 0.1,
) -> NoiseModel:
    """The same errors at every range: assumed, not fitted; to see how much a policy stands."""
    g, r, o, k = len(GROUPS), len(RANGES) - 1, len(HIDDEN) - 1, len(classes)
    groups = tuple(tuple(name for name in group if name in classes) for group in GROUPS)
    rest = tuple(name for name in classes if not any(name in group for group in groups))
    pair = torch.tensor
    return NoiseModel(
        classes=tuple(classes),
        groups=((*groups[0], *rest), *groups[1:]),
        ranges=torch.tensor(RANGES),
        hidden=torch.tensor(HIDDEN),
        interval=interval,
        miss=torch.full((g, r, o), miss),
        miss_memory=miss_memory,
        along=pair((0.0, along)).expand(g, r, 2).clone(),
        across=pair((0.0, across)).expand(g, r, 2).clone(),
        spread_hidden=torch.ones(o),
        place_memory=place_memory,
        size=pair((0.0, size)).expand(g, 3, 2).clone(),
        yaw=pair((yaw, flip)).expand(g, r, 2).clone(),
        kind=torch.eye(k),
        light=torch.eye(STATES),
        score=torch.linspace(0.5, 1.0, QUANTILES).expand(g, r, -1).clone(),
        false_rate=false_rate,
        false_life=false_life,
        false_kind=torch.full((k,), 1.0 / k),
        false_range=torch.full((r,), 1.0 / r),
        false_bearing=0.6,
        false_score=torch.linspace(0.3, 0.7, QUANTILES),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value


def _typed(wanted: str, value: Any) -> Any:
    if wanted == "Tensor":
        return torch.tensor(value, dtype=torch.float32)
    if wanted == "float":
        return float(value)
    if wanted == "int":
        if int(value) != value:
            raise ValueError(f"{value} is no whole number")
        return int(value)
    if wanted == "tuple[str, ...]":
        return tuple(str(part) for part in value)
    return tuple(tuple(str(name) for name in part) for part in value)
