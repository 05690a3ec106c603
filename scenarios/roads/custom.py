"""Roads spelled out lane by lane in the scenario file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.interpolate import CubicSpline

from scenarios.network import Bay, Box, Lane, LaneEnd, LaneType, Light, LightState, Mark, RoadNetwork, StopLine
from scenarios.quantities import Angle, Between, Fault, Flag, Length, Number, Offset, OneOf, QuantityModel, Ratio, Seconds, Speed
from scenarios.roads.base import RoadError, RoadModel
from scenarios.roads.conflicts import find_conflicts
from scenarios.roads.custom_checks import Place, beside, beyond, joints, neighbours

__all__ = ["CustomRoad"]

STEP = 1.0  # m, spacing of points on smoothed lines
STRAIGHT_STEP = 4.0  # m, widest spacing on straight ones

Point = Annotated[list[Offset], Field(min_length=2, max_length=2)]


def _names(kind: type[Any]) -> OneOf:
    return OneOf(*(member.name.lower() for member in kind))


class StopModel(QuantityModel):
    """A stop line: `s` metres along the lane, optionally under a light, or with a stop sign."""

    s: Length
    light: str | None = None
    must_stop: Flag = False


class LaneModel(QuantityModel):
    """One lane; the fields of scenarios.network.Lane."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    points: Annotated[list[Point], Field(min_length=2, max_length=2000)]  # m, in direction of travel
    smooth: Flag = True  # a curve through the points, instead of straight pieces between them
    width: Annotated[Length, Between(0.5, 20)] = 3.5
    speed_limit: Annotated[Speed, Between(0.5, 80)]
    type: Annotated[str, _names(LaneType)] = "drive"
    end: Annotated[str, OneOf("exit", "blocked")] = "exit"  # where there are no successors
    successors: Annotated[list[str], Field(default_factory=list)]
    left: str | None = None
    right: str | None = None
    left_mark: Annotated[str, _names(Mark)] = "dashed"
    right_mark: Annotated[str, _names(Mark)] = "dashed"
    stop: StopModel | None = None
    priority: Number = 0.0
    name: str = ""

    def chords(self) -> NDArray[np.float64]:
        """(P - 1,) m between the points of the file. Raises ValueError where two coincide."""
        points = np.array(self.points, dtype=np.float64)
        chords: NDArray[np.float64] = np.hypot(*np.diff(points, axis=0).T)
        if chords.min() < 1e-3:
            x, y = points[chords.argmin()]
            raise ValueError(f"two neighbouring points of lane {self.id!r} coincide, near ({x:g}, {y:g})")
        return chords

    def pieces(self) -> NDArray[np.int64]:
        """(P - 1,) into how many pieces each chord is cut."""
        step = STEP if self.smooth and len(self.points) > 2 else STRAIGHT_STEP
        return np.ceil(self.chords() / step).astype(np.int64)

    def build(self, pieces: NDArray[np.int64]) -> Lane:
        """The lane, with as many pieces to each chord."""
        return Lane(
            id=self.id,
            centre=self._centre(pieces),
            width=self.width,
            speed_limit=self.speed_limit,
            type=LaneType[self.type.upper()],
            end=LaneEnd.CONTINUE if self.successors else LaneEnd[self.end.upper()],
            successors=tuple(self.successors),
            left=self.left,
            right=self.right,
            left_mark=Mark[self.left_mark.upper()],
            right_mark=Mark[self.right_mark.upper()],
            stop=None if self.stop is None else StopLine(s=self.stop.s, light=self.stop.light, must_stop=self.stop.must_stop),
            priority=round(self.priority),
            name=self.name,
        )

    def _centre(self, pieces: NDArray[np.int64]) -> NDArray[np.float64]:
        """Straight pieces through the points, or a natural cubic spline over chord length."""
        points, s = np.array(self.points, dtype=np.float64), np.concatenate([[0.0], np.cumsum(self.chords())])
        at = np.interp(np.arange(pieces.sum() + 1), np.concatenate([[0], np.cumsum(pieces)]), s)
        if self.smooth and len(points) > 2:
            curve: NDArray[np.float64] = CubicSpline(s, points, bc_type="natural")(at)
            return curve
        return np.stack([np.interp(at, s, points[:, 0]), np.interp(at, s, points[:, 1])], axis=-1)


class PhaseModel(QuantityModel):
    """One phase of a light."""

    state: Annotated[str, _names(LightState)]
    duration: Annotated[Seconds, Between(0.1, 600)]


class LightModel(QuantityModel):
    """A traffic light; `phase` is the share of its cycle that has passed at time 0."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    x: Offset
    y: Offset
    heading: Angle = 0.0
    phases: Annotated[list[PhaseModel], Field(min_length=1, max_length=8)]
    phase: Ratio = 0.0

    def build(self) -> Light:
        """The light."""
        phases = tuple((LightState[p.state.upper()], p.duration) for p in self.phases)
        cycle = sum(seconds for _, seconds in phases)
        return Light(id=self.id, x=self.x, y=self.y, heading=self.heading, phases=phases, offset=self.phase * cycle)


class BoxModel(QuantityModel):
    """A building, hedge or wall."""

    x: Offset
    y: Offset
    yaw: Angle = 0.0
    length: Annotated[Length, Between(0.1, 1000)]
    width: Annotated[Length, Between(0.1, 1000)]
    height: Annotated[Length, Between(0.1, 300)] = 6.0
    kind: Annotated[str, OneOf("building", "hedge", "wall")] = "building"


class BayModel(QuantityModel):
    """A parking bay."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    x: Offset
    y: Offset
    yaw: Angle = 0.0
    length: Annotated[Length, Between(1, 30)] = 5.0
    width: Annotated[Length, Between(1, 10)] = 2.5


class PlaceModel(QuantityModel):
    """Where a destination is reached: on a lane, at `s` or at its end."""

    lane: str
    s: Length | None = None


class CustomRoad(RoadModel):
    """Lanes, lights and everything else given in the file; conflicts are found from the geometry and the priorities.

    A lane without successors ends in an exit unless `end: blocked`. If no destinations are given there is one, `through`:
    the end of every exit that vehicles can use. Neighbours (`left`, `right`) have equally many points, each beside one of the other's,
    half the two widths apart; lanes begin where those before them end; stop lines and destinations lie on their lane.
    """

    kind: Literal["custom"] = "custom"
    lanes: Annotated[list[LaneModel], Field(min_length=1, max_length=500)]
    lights: Annotated[list[LightModel], Field(default_factory=list, max_length=64)]
    areas: Annotated[list[Annotated[list[Point], Field(min_length=3, max_length=2000)]], Field(default_factory=list, max_length=200)]
    crosswalks: Annotated[list[Annotated[list[Point], Field(min_length=3, max_length=100)]], Field(default_factory=list, max_length=100)]
    occluders: Annotated[list[BoxModel], Field(default_factory=list, max_length=200)]
    bays: Annotated[list[BayModel], Field(default_factory=list, max_length=500)]
    destinations: Annotated[dict[str, Annotated[list[PlaceModel], Field(min_length=1)]], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _check_names(self) -> CustomRoad:
        """Every name used must be defined, once."""
        lanes, lights = [lane.id for lane in self.lanes], [light.id for light in self.lights]
        problems = [f"{what} {name!r} is defined twice" for what, ids in (("lane", lanes), ("light", lights)) for name in _twice(ids)]
        for lane in self.lanes:
            used = [*lane.successors, *(name for name in (lane.left, lane.right) if name is not None)]
            problems += [f"lane {lane.id!r} names lane {name!r}, which does not exist" for name in used if name not in lanes]
            if lane.stop is not None and lane.stop.light is not None and lane.stop.light not in lights:
                problems.append(f"lane {lane.id!r} names light {lane.stop.light!r}, which does not exist")
        for name, places in self.destinations.items():
            problems += [f"destination {name!r} names lane {p.lane!r}, which does not exist" for p in places if p.lane not in lanes]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def build(self) -> RoadNetwork:
        """See RoadModel. Raises RoadError where lanes do not fit each other, or places lie beyond their lane."""
        _refuse(_uneven(self.lanes))
        lanes = [lane.build(pieces) for lane, pieces in zip(self.lanes, _pieces(self.lanes), strict=True)]
        _refuse([*joints(lanes), *neighbours(lanes), *beyond(lanes, self._places())])
        destinations = {name: tuple((p.lane, np.inf if p.s is None else p.s) for p in places) for name, places in self.destinations.items()}
        if not destinations:
            ends = tuple(
                (lane.id, np.inf) for lane in lanes if lane.end == LaneEnd.EXIT and lane.type in (LaneType.DRIVE, LaneType.JUNCTION)
            )
            destinations = {"through": ends} if ends else {}
        return RoadNetwork(
            lanes=tuple(lanes),
            lights=tuple(light.build() for light in self.lights),
            conflicts=find_conflicts(lanes),
            areas=tuple(np.array(area, dtype=np.float64) for area in self.areas),
            crosswalks=tuple(np.array(walk, dtype=np.float64) for walk in self.crosswalks),
            occluders=tuple(Box(**box.model_dump()) for box in self.occluders),
            bays=tuple(Bay(**bay.model_dump()) for bay in self.bays),
            destinations=destinations,
        )

    def _places(self) -> Iterable[Place]:
        """Stop lines and destinations at an s."""
        for i, lane in enumerate(self.lanes):
            if lane.stop is not None:
                yield ("lanes", i, "stop", "s"), lane.id, lane.stop.s
        for name, places in self.destinations.items():
            yield from ((("destinations", name, k, "s"), place.lane, place.s) for k, place in enumerate(places) if place.s is not None)


def _twice(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _refuse(faults: Iterable[Fault]) -> None:
    if found := list(faults):
        raise RoadError(found)


def _uneven(lanes: list[LaneModel]) -> Iterable[Fault]:
    """Neighbours that do not have one point beside each of the lane's."""
    counts = {lane.id: len(lane.points) for lane in lanes}
    for i, lane in enumerate(lanes):
        for field, name, _ in beside(lane.left, lane.right):
            if counts[name] != counts[lane.id]:
                rule = f"a lane with {counts[lane.id]} points, as many as lane {lane.id!r} has; {name!r} has {counts[name]}"
                yield Fault(("lanes", i, field), name, rule, "give neighbours equally many points, each beside one of the other's")


def _pieces(lanes: list[LaneModel]) -> list[NDArray[np.int64]]:
    """Of each lane, into how many pieces its chords are cut: equally many for neighbours, so that point i lies beside point i."""
    index = {lane.id: i for i, lane in enumerate(lanes)}
    pieces = [lane.pieces() for lane in lanes]
    pairs = [(i, index[name]) for i, lane in enumerate(lanes) for _, name, _ in beside(lane.left, lane.right)]
    for _ in range(len(lanes)):  # across a road of many lanes
        before = [each.sum() for each in pieces]
        for i, j in pairs:
            pieces[i] = pieces[j] = np.maximum(pieces[i], pieces[j])
        if [each.sum() for each in pieces] == before:
            break
    return pieces
