"""A street with parked cars, a zebra crossing, and a place where people step out between the cars."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from scenarios.network import Bay, Box, Lane, LaneEnd, LaneType, Mark, RoadNetwork, StopLine
from scenarios.quantities import Between, Flag, Length, Speed
from scenarios.roads.base import RoadModel, single
from scenarios.roads.conflicts import find_conflicts
from scenarios.roads.geometry import Line, rectangle, trace

__all__ = ["CrossingRoad"]

BAY_LENGTH = 6.0  # m, parallel parking (EAR 05: 5.7 m)
CLEAR = 5.0  # m without parked cars on either side of a zebra (German StVO, paragraph 12)
START = 4.0  # m from the street's ends to the first parked car
SIDEWALK = 2.5  # m from the kerb to where walkers start and end
ZEBRA_WIDTH = 4.0  # m
LINE_GAP = 1.5  # m from the yield line to the zebra
AHEAD, BEHIND = 25.0, 12.0  # m of `mid` before and after the middle of the zebra
WALK_SPEED = 2.0  # m/s
WALKER, CAR, STRAY = 10, 0, -10  # priorities: cars give way on the zebra, people elsewhere give way to cars


class CrossingRoad(RoadModel):
    """A two-way street along +x with a zebra.

    Lanes: `in.0`, `mid.0` (with the zebra), `out.0` eastwards; `back_in.0`, `back_mid.0`, `back_out.0` westwards.
    Walkways, from kerb to kerb: `walk.0` (from the right-hand side, south, northwards) and `walk.1` (southwards) on the zebra;
    `stray.0` and `stray.1` likewise between parked cars about `stray_before` metres west of it, without any right of way.
    Strips of parked cars (type PATH, for placing static cars, in the direction of traffic on their side): `park_right_in.0`,
    `park_right_out.0`, `park_left_in.0`, `park_left_out.0`; `in` lies west of the zebra. Every place is also a bay: `right_in_0`, ...
    Destinations: `through`, the end of `out.0`; `back`, the end of `back_out.0`; `across`, the end of any walkway.
    """

    kind: Literal["crossing"] = "crossing"
    approach_length: Annotated[Length, Between(60, 400)] = 110.0  # m from the start to the zebra
    out_length: Annotated[Length, Between(40, 400)] = 90.0  # m from the zebra to the end
    stray_before: Annotated[Length, Between(30, 300)] = 40.0  # m from there to the zebra
    lane_width: Annotated[Length, Between(2.75, 5)] = 3.25
    parking_width: Annotated[Length, Between(2, 4)] = 2.3
    speed_limit: Annotated[Speed, Between(3, 30)] = 50.0 / 3.6
    buildings: Flag = True

    def build(self) -> RoadNetwork:
        """See RoadModel. Raises ValueError if people would stray off the street's start."""
        if self.stray_before > self.approach_length - 10.0:
            raise ValueError(
                f"stray_before={self.stray_before:g}: must be at least 10 m less than approach_length={self.approach_length:g}"
            )
        width = self.lane_width
        zebra = self.approach_length  # x of the zebra; the street starts at x = 0, its axis is y = 0
        end = zebra + self.out_length
        cuts = (0.0, zebra - AHEAD, zebra + BEHIND, end)
        back_cuts = (end, zebra + AHEAD, zebra - BEHIND, 0.0)
        lanes = _street("", cuts, -width / 2.0, 0.0, width, self.speed_limit, zebra)
        lanes += _street("back_", back_cuts, width / 2.0, np.pi, width, self.speed_limit, zebra)
        reach = width + self.parking_width + SIDEWALK  # m from the axis to where walkers start
        west, east = (START, zebra - ZEBRA_WIDTH / 2.0 - CLEAR), (zebra + ZEBRA_WIDTH / 2.0 + CLEAR, end - START)
        gaps = np.linspace(*west, _places(west[1] - west[0]) + 1)[1:-1]  # x between the bays west of the zebra
        k = int(np.clip(np.abs(gaps - (zebra - self.stray_before)).argmin(), 1, len(gaps) - 1))
        walkway = partial(
            single, width=1.8, limit=WALK_SPEED, type=LaneType.WALKWAY, end=LaneEnd.EXIT, left_mark=Mark.NONE, right_mark=Mark.NONE
        )
        for id, x, way, priority in (
            ("walk.0", zebra + 0.9, 1.0, WALKER),
            ("walk.1", zebra - 0.9, -1.0, WALKER),
            ("stray.0", float(gaps[k]), 1.0, STRAY),
            ("stray.1", float(gaps[k - 1]), -1.0, STRAY),
        ):
            lanes.append(walkway(id, trace((x, -way * reach, way * np.pi / 2.0), [(2.0 * reach, 0.0, 0.0)]), priority=priority))
        conflicts = find_conflicts(lanes)
        bays: list[Bay] = []
        for part, (start, stop) in (("in", west), ("out", east)):
            for side, way in (("right", 1.0), ("left", -1.0)):
                y = -way * (width + self.parking_width / 2.0)
                path = _straight(start, stop, y) if way > 0 else _straight(stop, start, y)
                lanes.append(
                    single(
                        f"park_{side}_{part}.0",
                        path,
                        width=self.parking_width,
                        limit=self.speed_limit,
                        type=LaneType.PATH,
                        end=LaneEnd.EXIT,
                        left_mark=Mark.NONE,
                    )
                )
                bays += self._bays(f"{side}_{part}", path)
        asphalt = np.array([[0.0, -1.0], [end, -1.0], [end, 1.0], [0.0, 1.0]]) * [1.0, width + self.parking_width]
        return RoadNetwork(
            lanes=tuple(lanes),
            conflicts=conflicts,
            areas=(asphalt,),
            crosswalks=(rectangle(zebra, 0.0, 0.0, ZEBRA_WIDTH, 2.0 * (width + self.parking_width)),),
            occluders=self._houses(end, reach) if self.buildings else (),
            bays=tuple(bays),
            destinations={
                "through": (("out.0", float("inf")),),
                "back": (("back_out.0", float("inf")),),
                "across": tuple((f"{name}.{i}", float("inf")) for name in ("walk", "stray") for i in (0, 1)),
            },
        )

    def _bays(self, name: str, path: Line) -> list[Bay]:
        """Places of one strip, in the direction of traffic."""
        count = _places(path.length)
        poses = [path.at((i + 0.5) * path.length / count) for i in range(count)]
        return [
            Bay(id=f"{name}_{i}", x=x, y=y, yaw=yaw, length=BAY_LENGTH, width=self.parking_width) for i, (x, y, yaw) in enumerate(poses)
        ]

    def _houses(self, end: float, reach: float) -> tuple[Box, ...]:
        """Rows of houses behind both sidewalks."""
        depth, front = 12.0, reach + 2.0
        return tuple(
            Box(x=end / 2.0, y=side * (front + depth / 2.0), yaw=0.0, length=end, width=depth, height=10.0) for side in (-1.0, 1.0)
        )


def _places(length: float) -> int:
    """How many cars can park along a strip."""
    return int(length // BAY_LENGTH)


def _straight(x0: float, x1: float, y: float) -> Line:
    return trace((x0, y, 0.0 if x1 > x0 else np.pi), [(abs(x1 - x0), 0.0, 0.0)])


def _street(
    prefix: str, cuts: tuple[float, float, float, float], y: float, heading: float, width: float, limit: float, zebra: float
) -> list[Lane]:
    """Three lanes in a row along x, cut at the given places, with a yield line before the zebra on the middle one."""
    lanes = []
    names = ("in", "mid", "out")
    for i, name in enumerate(names):
        line = trace((cuts[i], y, heading), [(abs(cuts[i + 1] - cuts[i]), 0.0, 0.0)])
        stop = StopLine(s=abs(zebra - cuts[1]) - ZEBRA_WIDTH / 2.0 - LINE_GAP) if name == "mid" else None
        then = (f"{prefix}{names[i + 1]}.0",) if i < 2 else ()
        end = LaneEnd.CONTINUE if i < 2 else LaneEnd.EXIT
        lanes.append(
            single(
                f"{prefix}{name}.0",
                line,
                width=width,
                limit=limit,
                then=then,
                end=end,
                left_mark=Mark.DASHED,
                right_mark=Mark.NONE,
                stop=stop,
                priority=CAR,
            )
        )
    return lanes
