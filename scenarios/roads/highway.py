"""One carriageway of a motorway, straight or in one wide bend."""

from __future__ import annotations

from typing import Annotated, Literal

from scenarios.network import LaneEnd, RoadNetwork
from scenarios.quantities import Between, Count, Curvature, Length, Speed
from scenarios.roads.base import RoadModel, strip
from scenarios.roads.geometry import trace

__all__ = ["HighwayRoad"]


class HighwayRoad(RoadModel):
    """A motorway carriageway.

    Lanes: `main.0` (rightmost) to `main.<lanes - 1>`, one section from start to end. Where it ends, agents leave the map.
    Destinations: `through`, the end of any lane. Start anywhere on `main.*`.
    """

    kind: Literal["highway"] = "highway"
    lanes: Annotated[Count, Between(1, 8)] = 3
    length: Annotated[Length, Between(100, 3000)] = 1000.0
    lane_width: Annotated[Length, Between(2.5, 6)] = 3.75  # m, usual on motorways in Europe
    # 1/m, left positive; the tightest is a radius of 125 m
    curvature: Annotated[Curvature, Between(-0.008, 0.008)] = 0.0
    speed_limit: Annotated[Speed, Between(5, 60)] = 120.0 / 3.6

    def build(self) -> RoadNetwork:
        """See RoadModel."""
        # turned so that the chord runs along +x: the raster around it stays small
        heading = -self.curvature * self.length / 2.0
        line = trace((0.0, 0.0, heading), [(self.length, self.curvature, self.curvature)])
        lanes = strip("main", line, self.lanes, width=self.lane_width, limit=self.speed_limit, end=LaneEnd.EXIT)
        return RoadNetwork(lanes=tuple(lanes), destinations={"through": tuple((lane.id, float("inf")) for lane in lanes)})
