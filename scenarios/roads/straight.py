"""A quiet road with gentle bends, for keeping the lane."""

from __future__ import annotations

from typing import Annotated, Literal

from scenarios.network import LaneEnd, RoadNetwork
from scenarios.quantities import Angle, Between, Count, Flag, Length, Speed
from scenarios.roads.base import RoadModel, strip
from scenarios.roads.geometry import Piece, comfortable_speed, trace

__all__ = ["StraightRoad"]

BEND_SHARE = 0.7  # of the road's length lies in bends
RADIUS_MIN = 40.0  # m


class StraightRoad(RoadModel):
    """One carriageway with bends to the left and right in turn; each bend is clothoid, arc, clothoid.

    Lanes: `main.0` (rightmost) to `main.<lanes - 1>`, one section from start to end. Where it ends, agents leave the map.
    Destinations: `through`, the end of any lane. Start anywhere on `main.*`.
    """

    kind: Literal["straight"] = "straight"
    lanes: Annotated[Count, Between(1, 6)] = 1
    length: Annotated[Length, Between(50, 2000)] = 500.0
    bends: Annotated[Count, Between(0, 12)] = 3
    bend_angle: Annotated[Angle, Between(0, 1.6)] = 0.4  # rad turned in each bend
    right_first: Flag = False
    lane_width: Annotated[Length, Between(2.5, 6)] = 3.5
    speed_limit: Annotated[Speed, Between(3, 60)] = 70.0 / 3.6

    def build(self) -> RoadNetwork:
        """See RoadModel. Raises ValueError if the bends are too tight."""
        pieces: list[Piece] = [(self.length, 0.0, 0.0)]
        limit, heading = self.speed_limit, 0.0
        if self.bends and self.bend_angle > 0.0:
            bend = BEND_SHARE * self.length / self.bends
            between = (1.0 - BEND_SHARE) * self.length / (self.bends + 1)
            sharpest = self.bend_angle / (0.75 * bend)  # half the bend is arc, a quarter on each side clothoid
            if 1.0 / sharpest < RADIUS_MIN:
                advice = "a longer road, fewer bends or a smaller bend_angle"
                raise ValueError(
                    f"length={self.length:g}, bends={self.bends}: radius {1.0 / sharpest:.0f} m is below {RADIUS_MIN:g} m; {advice}"
                )
            limit = comfortable_speed(1.0 / sharpest, self.speed_limit)
            pieces = [(between, 0.0, 0.0)]
            for i in range(self.bends):
                k = sharpest if (i % 2 == 0) != self.right_first else -sharpest
                pieces += [(bend / 4.0, 0.0, k), (bend / 2.0, k, k), (bend / 4.0, k, 0.0), (between, 0.0, 0.0)]
            heading = self.bend_angle / 2.0 * (1.0 if self.right_first else -1.0)  # swings evenly around +x
        lanes = strip("main", trace((0.0, 0.0, heading), pieces), self.lanes, width=self.lane_width, limit=limit, end=LaneEnd.EXIT)
        return RoadNetwork(lanes=tuple(lanes), destinations={"through": tuple((lane.id, float("inf")) for lane in lanes)})
