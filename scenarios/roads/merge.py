"""A motorway that a ramp joins through an acceleration lane."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from scenarios.network import LaneEnd, Mark, RoadNetwork
from scenarios.quantities import Angle, Between, Count, Curvature, Length, Speed
from scenarios.roads.base import RoadModel, relink, strip, taper
from scenarios.roads.geometry import trace, trace_back

__all__ = ["MergeRoad"]


class MergeRoad(RoadModel):
    """A carriageway with a ramp joining from the right.

    Lanes: `in.0..` (main lanes before the ramp) then `main.0..` (beside the acceleration lane) then `out.0..`;
    `ramp.0` continues in `accel.0`, the acceleration lane to the right of `main.0`, which ends blocked.
    Destinations: `through`, the end of any `out` lane. Start on `ramp.0` (or `in.*`).
    """

    kind: Literal["merge"] = "merge"
    lanes: Annotated[Count, Between(1, 6)] = 2
    approach_length: Annotated[Length, Between(50, 1000)] = 300.0  # m, main lanes before the acceleration lane
    ramp_length: Annotated[Length, Between(60, 400)] = 160.0
    accel_length: Annotated[Length, Between(60, 500)] = 220.0  # m, German motorways have 250 m (RAA 2008)
    out_length: Annotated[Length, Between(50, 1000)] = 300.0
    lane_width: Annotated[Length, Between(2.5, 6)] = 3.75
    ramp_angle: Annotated[Angle, Between(0.05, 0.6)] = 0.21  # rad between ramp and main road
    ramp_radius: Annotated[Length, Between(60, 500)] = 180.0  # m, of the bend in which the ramp swings parallel
    curvature: Annotated[Curvature, Between(-0.003, 0.003)] = 0.0
    speed_limit: Annotated[Speed, Between(5, 60)] = 120.0 / 3.6
    ramp_limit: Annotated[Speed, Between(5, 40)] = 80.0 / 3.6

    def build(self) -> RoadNetwork:
        """See RoadModel."""
        k, width = self.curvature, self.lane_width
        total = self.approach_length + self.accel_length + self.out_length
        before = trace((0.0, 0.0, -k * total / 2.0), [(self.approach_length, k, k)])
        beside = trace(before.end, [(self.accel_length, k, k)])
        after = trace(beside.end, [(self.out_length, k, k)])
        lanes = strip("in", before, self.lanes, width=width, limit=self.speed_limit, then="main")
        lanes += strip("main", beside, self.lanes, width=width, limit=self.speed_limit, then="out")
        lanes += strip("out", after, self.lanes, width=width, limit=self.speed_limit, end=LaneEnd.EXIT)

        (accel,) = strip("accel", beside, 1, first=-width, width=width, limit=self.speed_limit, end=LaneEnd.BLOCKED)
        lanes.append(replace(accel, left="main.0", left_mark=Mark.DASHED))
        lanes = relink(lanes, "main.0", right_mark=Mark.DASHED)
        bend = min(self.ramp_radius * self.ramp_angle, 0.6 * self.ramp_length)  # m, length of the ramp's last bend
        turn = -self.ramp_angle / bend + k  # 1/m, relative to the main road's own bend
        ramp = trace_back(beside.moved(-width).start, [(self.ramp_length - bend, k, k), (bend, turn, turn)])
        lanes += strip("ramp", ramp, 1, width=width, limit=self.ramp_limit, then="accel")
        return RoadNetwork(
            lanes=tuple(lanes),
            areas=(taper(after, -width, width, 50.0),),
            destinations={"through": tuple((f"out.{i}", float("inf")) for i in range(self.lanes))},
        )
