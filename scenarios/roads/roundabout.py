"""A single-lane roundabout with four arms."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, NamedTuple

import numpy as np

from scenarios.network import Box, Lane, LaneEnd, LaneType, Mark, RoadNetwork, StopLine
from scenarios.quantities import Between, Flag, Length, Speed
from scenarios.roads.base import RoadModel, relink, single
from scenarios.roads.conflicts import find_conflicts
from scenarios.roads.geometry import Line, comfortable_speed, trace, trace_back, turned

__all__ = ["RoundaboutRoad"]

ARMS = ("south", "east", "north", "west")  # in the order in which the ring meets them
ENTRY, RING = 0, 10  # priorities: entering traffic gives way
LINE_GAP = 2.5  # m between the yield line and the ground shared with the ring


class RoundaboutRoad(RoadModel):
    """A roundabout; traffic circulates counter-clockwise and entering traffic gives way.

    Lanes, for each arm of south, east, north, west: `<arm>_in.0` (approach), `<arm>_entry.0` (joins the ring),
    `<arm>_exit.0` (leaves the ring), `<arm>_out.0` (ends the map); ring: `ring_<arm>.0` in front of an arm, from its exit to its
    entry, and `ring_<arm>_<next>.0` on to the next arm's exit.
    Destinations: `south`, `east`, `north`, `west`, the end of that arm. Start on any `<arm>_in.0`; from the south, east is the
    first exit, north the second, west the third, south the way back.
    """

    kind: Literal["roundabout"] = "roundabout"
    radius: Annotated[Length, Between(14, 40)] = 20.0  # m, of the ring's centreline
    approach_length: Annotated[Length, Between(40, 400)] = 130.0
    lane_width: Annotated[Length, Between(2.75, 5)] = 3.75
    ring_width: Annotated[Length, Between(3.5, 8)] = 5.0  # m, wide enough for a bus's swept path
    island: Annotated[Length, Between(0, 8)] = 2.5  # m, splitter island between an arm's two lanes
    entry_radius: Annotated[Length, Between(9, 30)] = 13.0  # m, of the bend into the ring
    exit_radius: Annotated[Length, Between(9, 40)] = 16.0  # m, of the bend out of it
    speed_limit: Annotated[Speed, Between(5, 30)] = 50.0 / 3.6
    planted: Flag = True  # a hedge in the middle hides the far side

    def build(self) -> RoadNetwork:
        """See RoadModel."""
        south = _arm(self)
        lanes: list[Lane] = []
        for i, name in enumerate(ARMS):
            lanes += self._arm_lanes(south, i, name, ARMS[(i + 1) % 4])
        conflicts = find_conflicts(lanes)
        for name in ARMS:  # the yield line lies just before the ground that the entry shares with the ring
            entry = f"{name}_entry.0"
            shared = min(c.s_enter for c in conflicts if c.lane == entry and c.yields)
            lanes = relink(lanes, entry, stop=StopLine(s=max(0.5, shared - LINE_GAP)))
        mound = Box(x=0.0, y=0.0, yaw=0.0, length=self.radius * 0.6, width=self.radius * 0.6, height=3.0, kind="hedge")
        return RoadNetwork(
            lanes=tuple(lanes),
            conflicts=conflicts,
            occluders=(mound,) if self.planted else (),
            destinations={name: ((f"{name}_out.0", float("inf")),) for name in ARMS},
        )

    def _arm_lanes(self, south: _Arm, i: int, name: str, following: str) -> list[Lane]:
        """The lanes of arm i and the ring from there to the next arm."""
        way_in, entry, leave, way_out, front, onward = (turned(line, i * np.pi / 2.0) for line in south)
        limit, width, ring = self.speed_limit, self.lane_width, self.ring_width
        slow_in, slow_out, slow = (comfortable_speed(r, limit) for r in (self.entry_radius, self.exit_radius, self.radius))
        onto, ahead = f"ring_{name}_{following}.0", (f"{following}_exit.0", f"ring_{following}.0")
        bend = partial(single, type=LaneType.JUNCTION, left_mark=Mark.NONE, right_mark=Mark.NONE)
        circle = partial(bend, width=ring, limit=slow, left_mark=Mark.KERB, priority=RING)
        return [
            single(f"{name}_in.0", way_in, width=width, limit=limit, then=(f"{name}_entry.0",)),
            bend(f"{name}_entry.0", entry, width=width, limit=slow_in, then=(onto,), priority=ENTRY),
            circle(f"ring_{name}.0", front, then=(onto,)),
            circle(onto, onward, then=ahead),
            bend(f"{name}_exit.0", leave, width=width, limit=slow_out, then=(f"{name}_out.0",), priority=RING),
            single(f"{name}_out.0", way_out, width=width, limit=limit, end=LaneEnd.EXIT),
        ]


class _Arm(NamedTuple):
    """Lines of the south arm, in the direction of travel; the other arms are this one turned."""

    way_in: Line
    entry: Line
    leave: Line
    way_out: Line
    front: Line  # ring from the arm's exit to its entry
    onward: Line  # ring from there to the next arm's exit


def _arm(road: RoundaboutRoad) -> _Arm:
    """Each bend is one arc that touches both the straight arm and, from outside, the ring.

    Its centre lies `side + bend radius` from the arm's axis and `ring radius + bend radius` from the roundabout's centre.
    """
    side = (road.lane_width + road.island) / 2.0  # m from the arm's axis to a lane's centre
    r_in, r_out, ring = road.entry_radius, road.exit_radius, road.radius
    joins = np.arccos((side + r_in) / (ring + r_in))  # angle below the horizontal at which the entry touches the ring
    leaves = np.arccos((side + r_out) / (ring + r_out))
    y_in, y_out = -np.sin(joins) * (ring + r_in), -np.sin(leaves) * (ring + r_out)
    up, down = np.pi / 2.0, -np.pi / 2.0
    entry = trace((side, y_in, up), [(r_in * joins, -1.0 / r_in, -1.0 / r_in)])
    leave = trace_back((-side, y_out, down), [(r_out * leaves, -1.0 / r_out, -1.0 / r_out)])
    reach = -min(y_in, y_out) + road.approach_length
    way_in = trace_back(entry.start, [(reach + y_in, 0.0, 0.0)])
    way_out = trace(leave.end, [(reach + y_out, 0.0, 0.0)])
    start, middle, stop = -np.pi + leaves, -joins, -np.pi / 2.0 + leaves  # angles on the ring; the next arm's exit lies a quarter on
    if stop - middle < 0.05:
        sizes = f"radius={ring:g}, entry_radius={r_in:g}, exit_radius={r_out:g}"
        raise ValueError(f"{sizes}: the bends of two arms overlap on the ring; widen the ring or tighten the bends")
    front = trace((ring * np.cos(start), ring * np.sin(start), start + up), [(ring * (middle - start), 1.0 / ring, 1.0 / ring)])
    onward = trace(front.end, [(ring * (stop - middle), 1.0 / ring, 1.0 / ring)])
    return _Arm(way_in, entry, leave, way_out, front, onward)
