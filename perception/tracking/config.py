"""What a tracker assumes about the things it follows, and its thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import partial

from perception.detectors import DRIVING_CLASSES

__all__ = ["DRIVING_MODELS", "GROUPS", "PARTS", "KindModel", "TrackerConfig"]

GROUPS = (("car", "truck", "bus"), ("motorcycle", "bicycle"), ("bicycle", "pedestrian"), ("light",))  # what detectors take for each other


@dataclass(frozen=True, kw_only=True)
class KindModel:
    """How a kind of thing moves, and how large it is when nobody says.

    Intensities of white acceleration along and across the heading: velocity variance gained per second. 4 m^2/s^3 means 2 m/s in a second,
    the speed change of ordinary braking; across, what lane changes and turns need.
    """

    along: float  # m^2/s^3
    across: float  # m^2/s^3
    speed_along: float  # m/s, standard deviation of the speed of a thing just met
    speed_across: float  # m/s
    length: float  # m
    width: float  # m
    height: float  # m
    stands: float = 0.0  # probability that a thing just met stands, 0: this kind is never taken to; only with `TrackerConfig.standing`
    parks: float = 0.0  # the same of one beside the roads, where these are known
    wander: float = 0.02  # m^2/s, variance of place gained per second: a filter that grew too sure would not follow slow errors of depth


PARTS = tuple(part.name for part in fields(KindModel))  # rows of `TrackerConfig.table`
_CAR = KindModel(along=4.0, across=1.5, speed_along=15.0, speed_across=1.5, length=4.5, width=1.8, height=1.5, stands=0.1, parks=0.9)
DRIVING_MODELS = {
    "car": _CAR,
    "truck": KindModel(along=2.0, across=1.0, speed_along=12.0, speed_across=1.0, length=8.5, width=2.5, height=3.2, stands=0.1, parks=0.9),
    "bus": KindModel(along=2.0, across=1.0, speed_along=12.0, speed_across=1.0, length=12.0, width=2.5, height=3.2, stands=0.1, parks=0.9),
    "motorcycle": KindModel(
        along=6.0, across=2.0, speed_along=15.0, speed_across=1.5, length=2.2, width=0.8, height=1.5, stands=0.1, parks=0.9
    ),
    "bicycle": KindModel(
        along=1.5, across=1.0, speed_along=5.0, speed_across=1.0, length=1.8, width=0.6, height=1.7, stands=0.1, parks=0.1
    ),
    "pedestrian": KindModel(along=0.6, across=0.6, speed_along=1.5, speed_across=1.5, length=0.5, width=0.5, height=1.75),
    "light": KindModel(along=0.0, across=0.0, speed_along=0.0, speed_across=0.0, length=0.3, width=0.3, height=0.9, wander=0.2),
}


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """Thresholds of `track`. Raises ValueError for a value out of its range."""

    classes: tuple[str, ...] = DRIVING_CLASSES
    slots: int = 24  # T
    high: float = 0.5  # score of detections of the first round; only they begin tracks (Zhang et al., "ByteTrack", 2022, section 3)
    low: float = 0.1  # score of detections that may still continue a track in the second round
    sure: float = 0.95  # score of a detection whose track is confirmed at once
    walkers: tuple[float, float] | None = None  # `high` and `sure` of pedestrians; None: as of the others
    hits: int = 2  # a track is confirmed after this many detections ...
    window: int = 3  # ... in at most this many updates, else dropped
    gate: float = 9.2103  # squared Mahalanobis distance: 99 % of chi-squared with 2 degrees of freedom, -2 ln 0.01
    gate_wide: float = 25.0  # the same in the second round, for tracks seen the last time: 1 % of 99 % gates fails ten times a second
    newcomers: float = 1e-3  # per m^2 and update, density of things not yet tracked and of false detections
    seen_chance: float = 0.85  # that a detector finds a thing in plain view
    hidden_chance: float = 0.1  # that it finds one whose place is hidden or out of view
    coast_visible: float = 1.0  # s a track may last unseen in plain view
    coast_hidden: float = 3.0  # s a track may last unseen in all
    belief_min: float = 0.05  # existence below which a track is dropped
    sigma_max: float = 8.0  # m, uncertainty of place above which a track is dropped
    reach: float = 200.0  # m, beyond which nothing is followed
    sigma_min: float = 0.03  # m, least standard deviation a measurement is believed to have
    yaw_sigma: float = 0.15  # rad, of a measured heading (the learned detector's median error is a few degrees)
    yaw_rate: float = 0.3  # rad/sqrt(s), how fast headings wander
    moving: float = 2.0  # m/s, above which a vehicle's velocity says which end is its front
    kind_penalty: float = 2.0  # cost of a detection of another class of the same group
    tentative_penalty: float = 2.0  # cost of a track not yet confirmed
    light_memory: float = 0.6  # share of the votes for a light's state that lasts from one update to the next
    standing: bool = False  # a second model of things that stand (`standing.py`): place and rest known better, and driving off later
    starts: float = 10.0  # s, mean time until a standing thing drives off
    leaves: float = 100.0  # s, the same of one beside the roads, where these are known
    stops: float = 10.0  # s, mean time until one that hardly moves comes to rest
    news: float = 0.1  # share of a measurement of a standing thing that is independent of those before
    models: dict[str, KindModel] = field(default_factory=lambda: dict(DRIVING_MODELS))
    groups: tuple[tuple[str, ...], ...] = GROUPS  # classes that may be taken for each other

    # Derived. Cost above which a detection is rather something new: the ratio of the densities that it is the track's, or a newcomer's
    # while the track was missed, as -2 ln, the cost being d^2 + ln det S (Blackman and Popoli, "Design and Analysis of Modern Tracking
    # Systems", 1999, section 6.4)
    limit: float = field(init=False)
    highs: tuple[float, ...] = field(init=False, repr=False)  # of every class
    sures: tuple[float, ...] = field(init=False, repr=False)
    light: int = field(init=False)  # index of the class of traffic lights, -1: there is none
    table: tuple[tuple[float, ...], ...] = field(init=False, repr=False)  # rows as PARTS, a column per class; unknown classes are cars
    compatible: tuple[tuple[bool, ...], ...] = field(init=False, repr=False)  # (K, K)

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes={self.classes}: must be different names, at least one")
        if not 1 <= self.slots <= 1024:
            raise ValueError(f"slots={self.slots}: must be 1 to 1024")
        if not 0.0 < self.low <= self.high <= 1.0 or not self.high <= self.sure:
            raise ValueError(f"low={self.low}, high={self.high}, sure={self.sure}: must be 0 < low <= high <= 1 and high <= sure")
        walkers = self.walkers or (self.high, self.sure)
        if self.walkers is not None and not self.low <= walkers[0] <= walkers[1]:
            raise ValueError(f"walkers={self.walkers}: must be `high` and `sure`, low={self.low} <= high <= sure")
        if not 1 <= self.hits <= self.window:
            raise ValueError(f"hits={self.hits}, window={self.window}: must be 1 <= hits <= window")
        for name in ("seen_chance", "hidden_chance", "belief_min", "light_memory"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name}={getattr(self, name)}: must be in [0, 1)")
        times = ("coast_visible", "coast_hidden", "starts", "leaves", "stops")
        for name in ("gate", "gate_wide", "newcomers", *times, "sigma_max", "reach", "sigma_min", "yaw_sigma", "yaw_rate", "moving"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ValueError(f"{name}={getattr(self, name)}: must be positive")
        if not 0.0 < self.news <= 1.0:
            raise ValueError(f"news={self.news}: must be in (0, 1]")
        for model in self.models.values():
            for name in PARTS:
                if not getattr(model, name) >= 0.0:
                    raise ValueError(f"models: {name}={getattr(model, name)} must not be negative")
            for name in ("stands", "parks"):
                if not getattr(model, name) < 1.0:
                    raise ValueError(f"models: {name}={getattr(model, name)} must be below 1")

        set_to = partial(object.__setattr__, self)
        missed = max(1.0 - self.seen_chance, 1e-6) / max(self.seen_chance, 1e-6)
        set_to("limit", -2.0 * math.log(2.0 * math.pi * self.newcomers * missed))
        walks = [name == "pedestrian" for name in self.classes]
        set_to("highs", tuple(walkers[0] if walker else self.high for walker in walks))
        set_to("sures", tuple(walkers[1] if walker else self.sure for walker in walks))
        set_to("light", self.classes.index("light") if "light" in self.classes else -1)
        models = [self.models.get(name, _CAR) for name in self.classes]
        set_to("table", tuple(tuple(float(getattr(model, name)) for model in models) for name in PARTS))
        set_to(
            "compatible", tuple(tuple(a == b or any(a in g and b in g for g in self.groups) for b in self.classes) for a in self.classes)
        )
