"""A motorway with an exit: a deceleration lane and an off-ramp."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from scenarios.network import LaneEnd, Mark, RoadNetwork
from scenarios.quantities import Angle, Between, Count, Curvature, Length, Speed
from scenarios.roads.base import RoadModel, relink, strip, taper
from scenarios.roads.geometry import trace

__all__ = ["ExitRoad"]


class ExitRoad(RoadModel):
    """A carriageway with an off-ramp to the right.

    Lanes: `in.0..` then `main.0..` (beside the deceleration lane) then `out.0..`; `decel.0`, to the right of `main.0` and
    reached by a lane change from it, continues in `ramp.0`.
    Destinations: `exit`, the end of the ramp; `through`, the end of any `out` lane. Start on `in.*`.
    """

    kind: Literal["exit"] = "exit"
    lanes: Annotated[Count, Between(1, 6)] = 3
    approach_length: Annotated[Length, Between(50, 2000)] = 400.0  # m, main lanes before the deceleration lane
    decel_length: Annotated[Length, Between(60, 500)] = 250.0  # m, as on German motorways (RAA 2008)
    ramp_length: Annotated[Length, Between(60, 400)] = 160.0
    out_length: Annotated[Length, Between(50, 1000)] = 200.0
    lane_width: Annotated[Length, Between(2.5, 6)] = 3.75
    ramp_angle: Annotated[Angle, Between(0.05, 0.6)] = 0.21  # rad between ramp and main road
    ramp_radius: Annotated[Length, Between(60, 500)] = 180.0  # m, of the bend in which the ramp swings away
    curvature: Annotated[Curvature, Between(-0.003, 0.003)] = 0.0
    speed_limit: Annotated[Speed, Between(5, 60)] = 120.0 / 3.6
    ramp_limit: Annotated[Speed, Between(5, 40)] = 80.0 / 3.6

    def build(self) -> RoadNetwork:
        """See RoadModel."""
        k, width = self.curvature, self.lane_width
        total = self.approach_length + self.decel_length + self.out_length
        before = trace((0.0, 0.0, -k * total / 2.0), [(self.approach_length, k, k)])
        beside = trace(before.end, [(self.decel_length, k, k)])
        after = trace(beside.end, [(self.out_length, k, k)])
        lanes = strip("in", before, self.lanes, width=width, limit=self.speed_limit, then="main")
        lanes += strip("main", beside, self.lanes, width=width, limit=self.speed_limit, then="out")
        lanes += strip("out", after, self.lanes, width=width, limit=self.speed_limit, end=LaneEnd.EXIT)

        (decel,) = strip("decel", beside, 1, first=-width, width=width, limit=self.speed_limit, then="ramp")
        lanes.append(replace(decel, left="main.0", left_mark=Mark.DASHED))
        lanes = relink(lanes, "main.0", right="decel.0", right_mark=Mark.DASHED)
        bend = min(self.ramp_radius * self.ramp_angle, 0.6 * self.ramp_length)  # m, length of the ramp's first bend
        turn = -self.ramp_angle / bend + k  # 1/m, relative to the main road's own bend
        ramp = trace(beside.moved(-width).end, [(bend, turn, turn), (self.ramp_length - bend, k, k)])
        lanes += strip("ramp", ramp, 1, width=width, limit=self.ramp_limit, end=LaneEnd.EXIT)
        return RoadNetwork(
            lanes=tuple(lanes),
            areas=(taper(before, -width, width, 50.0, widening=True),),
            destinations={"exit": (("ramp.0", float("inf")),), "through": tuple((f"out.{i}", float("inf")) for i in range(self.lanes))},
        )
