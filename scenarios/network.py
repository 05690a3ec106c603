"""A road network as plain numpy: what a road builder or an importer returns, and what the driving core compiles.

Frame: world metres, x east, y north, angles counter-clockwise. Traffic keeps to the right.
Lanes are directed; `centre` runs in the direction of travel. Lane names read `section.index`, index 0 rightmost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bay", "Box", "Conflict", "Lane", "LaneEnd", "LaneType", "Light", "LightState", "Mark", "RoadNetwork", "StopLine"]

Points = NDArray[np.float64]  # (P, 2) m


class LaneType(IntEnum):
    """What a lane is for."""

    DRIVE = 0
    JUNCTION = 1  # crosses or joins other lanes; right of way applies
    OVERTAKE = 2  # lies over the oncoming lane, for passing; never a place to stay
    WALKWAY = 3  # crosswalks and footpaths; pedestrians only, not drivable surface by itself
    PATH = 4  # the recorded path of one reactive agent; not drivable surface, not a place for others


class LaneEnd(IntEnum):
    """What happens behind the last point of a lane."""

    CONTINUE = 0  # there is a successor
    EXIT = 1  # agents leave the map
    BLOCKED = 2  # the lane ends physically (acceleration lane): change lanes or stop


class Mark(IntEnum):
    """Painted line on one side of a lane, for drawing; permission to change lanes is `Lane.left/right`."""

    NONE = 0
    DASHED = 1
    SOLID = 2
    KERB = 3


class LightState(IntEnum):
    """State of a traffic light. NONE: no light governs here."""

    NONE = 0
    RED = 1
    RED_YELLOW = 2
    YELLOW = 3
    GREEN = 4


@dataclass(frozen=True, kw_only=True)
class StopLine:
    """Where to wait on a lane."""

    s: float  # m along the lane
    light: str | None = None  # id of the light that governs it
    must_stop: bool = False  # a stop sign: come to rest once


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One directed lane."""

    id: str
    centre: Points  # (P, 2) m, P >= 2, in direction of travel
    width: float = 3.5  # m
    speed_limit: float  # m/s
    type: LaneType = LaneType.DRIVE
    end: LaneEnd = LaneEnd.CONTINUE
    successors: tuple[str, ...] = ()
    left: str | None = None  # neighbour on the left into which a lane change is allowed (parallel, side by side over the whole length)
    right: str | None = None
    left_mark: Mark = Mark.DASHED
    right_mark: Mark = Mark.DASHED
    stop: StopLine | None = None
    priority: int = 0  # who goes first where two lanes conflict: the higher; equal: first come, first served
    name: str = ""  # for people


@dataclass(frozen=True, kw_only=True)
class Light:
    """A traffic light with a fixed programme, repeated for ever."""

    id: str
    x: float  # m
    y: float  # m
    heading: float  # rad, direction of travel of the traffic it faces
    phases: tuple[tuple[LightState, float], ...]  # (state, seconds), at most 8
    offset: float = 0.0  # s, added to the clock


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A stretch that two lanes share without being one lane. `lane` is the one that looks; stored for both directions.

    s values are the stretch of each lane's centreline inside the shared area, for vehicles of ordinary width.
    """

    lane: str
    other: str
    s_enter: float  # m along lane
    s_exit: float
    other_enter: float  # m along other
    other_exit: float
    yields: bool  # lane gives way to other
    mutual: bool = False  # neither has priority: first come, first served (then yields is True for both)


@dataclass(frozen=True, kw_only=True)
class Box:
    """An oriented static box beside the road: building, hedge, wall. Blocks sight; nothing collides with it (use static agents)."""

    x: float
    y: float
    yaw: float
    length: float
    width: float
    height: float = 6.0
    kind: str = "building"


@dataclass(frozen=True, kw_only=True)
class Bay:
    """A parking bay, for drawing and as a goal."""

    id: str
    x: float
    y: float
    yaw: float
    length: float
    width: float


@dataclass(frozen=True, kw_only=True)
class RoadNetwork:
    """Everything fixed about the place."""

    lanes: tuple[Lane, ...]
    lights: tuple[Light, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    areas: tuple[Points, ...] = ()  # drivable polygons beside the lanes (shoulder, parking lot), each (V, 2)
    crosswalks: tuple[Points, ...] = ()  # polygons, for drawing
    occluders: tuple[Box, ...] = ()
    bays: tuple[Bay, ...] = ()
    # name -> (lane id, s at which one has arrived) ...; s = inf: the lane's end
    destinations: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)

    def lane(self, id: str) -> Lane:
        """The lane called `id`. Raises KeyError."""
        for lane in self.lanes:
            if lane.id == id:
                return lane
        raise KeyError(id)
