"""A country road with one lane each way, on which one may overtake over the oncoming lane."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from scenarios.network import LaneEnd, LaneType, Mark, RoadNetwork
from scenarios.quantities import Between, Curvature, Length, Speed
from scenarios.roads.base import RoadModel, single
from scenarios.roads.geometry import join, trace

__all__ = ["TwoWayRoad"]


class TwoWayRoad(RoadModel):
    """A two-way road.

    Lanes: `in.0`, `main.0`, `out.0` one after another in the ego's direction; `pass.0` (type OVERTAKE) lies over the oncoming lane
    beside `main.0`, is its left neighbour, leads back into it and ends blocked; `oncoming.0` comes the other way all along.
    Destinations: `through`, the end of `out.0`; `back`, the end of `oncoming.0`. Start on `in.0` or `main.0`.
    """

    kind: Literal["two_way"] = "two_way"
    approach_length: Annotated[Length, Between(20, 500)] = 60.0  # m before overtaking is allowed
    pass_length: Annotated[Length, Between(100, 2000)] = 600.0  # m over which it is
    out_length: Annotated[Length, Between(20, 500)] = 120.0
    lane_width: Annotated[Length, Between(2.75, 5)] = 3.5
    curvature: Annotated[Curvature, Between(-0.004, 0.004)] = 0.0
    speed_limit: Annotated[Speed, Between(5, 40)] = 90.0 / 3.6

    def build(self) -> RoadNetwork:
        """See RoadModel."""
        k, width, limit = self.curvature, self.lane_width, self.speed_limit
        total = self.approach_length + self.pass_length + self.out_length
        before = trace((0.0, 0.0, -k * total / 2.0), [(self.approach_length, k, k)])
        beside = trace(before.end, [(self.pass_length, k, k)])
        after = trace(beside.end, [(self.out_length, k, k)])
        oncoming = join(before, beside, after).moved(width).reversed()
        main = single("main.0", beside, width=width, limit=limit, then=("out.0",), left_mark=Mark.DASHED)
        over = single(
            "pass.0", beside.moved(width), width=width, limit=limit, type=LaneType.OVERTAKE, end=LaneEnd.BLOCKED, right_mark=Mark.DASHED
        )
        lanes = (
            single("in.0", before, width=width, limit=limit, then=("main.0",)),
            replace(main, left="pass.0"),
            single("out.0", after, width=width, limit=limit, end=LaneEnd.EXIT),
            replace(over, right="main.0"),
            single("oncoming.0", oncoming, width=width, limit=limit, end=LaneEnd.EXIT, left_mark=Mark.NONE),
        )
        return RoadNetwork(lanes=lanes, destinations={"through": (("out.0", float("inf")),), "back": (("oncoming.0", float("inf")),)})
