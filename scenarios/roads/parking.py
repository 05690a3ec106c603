"""A car park: two one-way aisles around two rows of bays, with two more rows outside them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from scenarios.network import Bay, Lane, LaneEnd, LaneType, Mark, RoadNetwork
from scenarios.quantities import Between, Count, Length, Speed
from scenarios.roads.base import RoadModel, single
from scenarios.roads.conflicts import find_conflicts
from scenarios.roads.geometry import Line, comfortable_speed, fillet, join, rectangle, trace

__all__ = ["ParkingRoad"]

TURN_RADIUS = 6.5  # m, of the lanes around the ends of the rows
ROUND = 10  # priority of traffic going round; entering traffic gives way


class ParkingRoad(RoadModel):
    """A car park; the whole lot is drivable.

    Lanes: `entry.0` (from the street, eastwards), `south.0` (aisle eastwards), `east.0` (round the end), `north.0` (aisle westwards),
    then `exit.0` (to the street) or `west.0` (round again, into `south.0`).
    Bays: rows `a` (south of the south aisle), `b` (north of it), `c` (south of the north aisle), `d` (north of it), numbered from
    the west: `a0`, `a1`, ...; a bay's yaw is that of a car parked nose first.
    Destinations: `exit`, the end of `exit.0`. Start on `entry.0`.
    """

    kind: Literal["parking"] = "parking"
    bays: Annotated[Count, Between(2, 24)] = 9  # in each row
    bay_width: Annotated[Length, Between(2.2, 4)] = 2.6
    bay_length: Annotated[Length, Between(4.5, 7)] = 5.2
    aisle_width: Annotated[Length, Between(4, 10)] = 6.5
    entry_length: Annotated[Length, Between(15, 100)] = 30.0
    speed_limit: Annotated[Speed, Between(1, 10)] = 15.0 / 3.6

    def build(self) -> RoadNetwork:
        """See RoadModel. Raises ValueError if the rows are too close together to drive round them."""
        length, aisle = self.bays * self.bay_width, self.aisle_width
        gap = aisle + 2.0 * self.bay_length  # m between the middles of the aisles
        if gap < 2.0 * TURN_RADIUS:
            sizes = f"aisle_width={aisle:g}, bay_length={self.bay_length:g}"
            raise ValueError(f"{sizes}: the aisles are {gap:g} m apart, must be at least {2 * TURN_RADIUS:g} to drive round")
        return RoadNetwork(
            lanes=tuple(lanes := self._lanes(length, gap)),
            conflicts=find_conflicts(lanes),
            areas=(self._lot(length, gap),),
            bays=tuple(self._bays(gap)),
            destinations={"exit": (("exit.0", float("inf")),)},
        )

    def _lanes(self, length: float, gap: float) -> list[Lane]:
        width, limit = min(self.aisle_width, 4.0), self.speed_limit
        slow = comfortable_speed(TURN_RADIUS, limit)
        plain = partial(single, width=width, left_mark=Mark.NONE, right_mark=Mark.NONE)
        entry = trace((-self.entry_length, 0.0, 0.0), [(self.entry_length, 0.0, 0.0)])
        south = trace((0.0, 0.0, 0.0), [(length, 0.0, 0.0)])
        north = trace((length, gap, np.pi), [(length, 0.0, 0.0)])
        leave = trace((0.0, gap, np.pi), [(self.entry_length, 0.0, 0.0)])
        return [
            plain("entry.0", entry, limit=limit, then=("south.0",)),
            plain("south.0", south, limit=limit, then=("east.0",)),
            plain("east.0", _round(length, 0.0, 0.0, gap), limit=slow, then=("north.0",)),
            plain("north.0", north, limit=limit, then=("exit.0", "west.0")),
            plain("west.0", _round(0.0, gap, np.pi, gap), limit=slow, then=("south.0",), type=LaneType.JUNCTION, priority=ROUND),
            plain("exit.0", leave, limit=limit, end=LaneEnd.EXIT),
        ]

    def _lot(self, length: float, gap: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """The asphalt of the lot."""
        side = TURN_RADIUS + 2.5
        low, high = -self.aisle_width / 2.0 - self.bay_length, gap + self.aisle_width / 2.0 + self.bay_length
        return rectangle(length / 2.0, (low + high) / 2.0, 0.0, length + 2.0 * side, high - low)

    def _bays(self, gap: float) -> list[Bay]:
        reach = (self.aisle_width + self.bay_length) / 2.0  # m from the middle of an aisle to the middle of a bay
        rows = {"a": (-reach, -1.0), "b": (reach, 1.0), "c": (gap - reach, -1.0), "d": (gap + reach, 1.0)}
        bays = []
        for row, (y, way) in rows.items():
            for i in range(self.bays):
                x = (i + 0.5) * self.bay_width
                bays.append(Bay(id=f"{row}{i}", x=x, y=y, yaw=way * np.pi / 2.0, length=self.bay_length, width=self.bay_width))
        return bays


def _round(x: float, y: float, heading: float, gap: float) -> Line:
    """Round the end of the rows: two left quarter turns, `gap` m from aisle to aisle."""
    ahead, left = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    middle = np.array([x, y]) + TURN_RADIUS * ahead + gap / 2.0 * left
    goal = np.array([x, y]) + gap * left
    halfway = (float(middle[0]), float(middle[1]), heading + np.pi / 2.0)
    return join(fillet((x, y, heading), halfway), fillet(halfway, (float(goal[0]), float(goal[1]), heading + np.pi)))
