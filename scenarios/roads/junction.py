"""A junction of two streets, with four arms or three, under any of five rules of precedence."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from scenarios.network import Box, Lane, LaneEnd, LaneType, Light, LightState, Mark, RoadNetwork, StopLine
from scenarios.quantities import Between, Count, Flag, Length, OneOf, Ratio, Seconds, Speed
from scenarios.roads.base import RoadModel, single, strip
from scenarios.roads.conflicts import find_conflicts
from scenarios.roads.geometry import comfortable_speed, fillet, trace, turned

__all__ = ["JunctionRoad"]

ARMS = ("south", "east", "north", "west")  # counter-clockwise; arm i is the south arm turned by i quarters
MINOR = ("south", "north")
LINE_GAP = 1.0  # m from the stop line to the end of the approach lane
YELLOW = 3.0  # s, at 50 km/h (RiLSA 2015)
RED_YELLOW = 1.0  # s (RiLSA 2015)
TURN = 10  # priority lost by turning left across oncoming traffic
MAJOR = 20  # priority gained on the major road


class JunctionRoad(RoadModel):
    """A junction. The major street runs west-east, the minor one south-north; a `tee` has no north arm.

    Lanes, for each arm of south, east, north, west: `<arm>_in.<i>` (approach) and `<arm>_out.<i>` (ends the map), i = 0 rightmost;
    through the junction `<from>_<to>.<i>`. With two lanes each way, right turns leave from and into lane 0, left turns from and
    into lane 1, straight on from both.
    Control: `priority` (stop signs on the minor street), `yield` (yield lines there), `all_way` (stop signs everywhere, first
    come first served), `lights`, `uncontrolled` (no lines; first come first served).
    Destinations: the arms `south`, `east`, `north`, `west`. Start on any `<arm>_in.*`; from the south, west is left, north
    straight on, east right.
    """

    kind: Literal["junction"] = "junction"
    shape: Annotated[str, OneOf("cross", "tee")] = "cross"
    control: Annotated[str, OneOf("priority", "yield", "all_way", "lights", "uncontrolled")] = "priority"
    lanes: Annotated[Count, Between(1, 2)] = 1  # each way
    approach_length: Annotated[Length, Between(40, 400)] = 130.0
    lane_width: Annotated[Length, Between(2.75, 5)] = 3.5
    corner_radius: Annotated[Length, Between(6, 20)] = 9.0  # m, of the kerb
    speed_limit: Annotated[Speed, Between(5, 30)] = 50.0 / 3.6
    buildings: Flag = True  # houses at the corners that block the view
    setback: Annotated[Length, Between(2, 40)] = 6.0  # m from the kerb to the houses
    green_major: Annotated[Seconds, Between(5, 120)] = 18.0
    green_minor: Annotated[Seconds, Between(5, 120)] = 14.0
    all_red: Annotated[Seconds, Between(1, 10)] = 2.0
    phase: Ratio = 0.0  # share of the lights' cycle that has passed at time 0; 0: the major street just got green

    def build(self) -> RoadNetwork:
        """See RoadModel."""
        arms = [arm for arm in ARMS if arm != "north" or self.shape == "cross"]
        half = self.lanes * self.lane_width  # m, half the width of a street
        reach = half + self.corner_radius  # m from the centre to where the approaches end
        lanes: list[Lane] = []
        for arm in arms:
            lanes += self._approach(arm, arms, reach)
        for arm in arms:
            lanes += self._movements(arm, arms, reach)
        return RoadNetwork(
            lanes=tuple(lanes),
            lights=self._lights(arms, half, reach) if self.control == "lights" else (),
            conflicts=find_conflicts(lanes),
            areas=tuple(self._quarter(i, arms, half) for i in range(4)),
            occluders=tuple(self._houses(arms, half)) if self.buildings else (),
            destinations={arm: tuple((f"{arm}_out.{i}", float("inf")) for i in range(self.lanes)) for arm in arms},
        )

    def _side(self, lane: int) -> float:
        """m from a street's axis to the centre of a lane."""
        return (self.lanes - lane - 0.5) * self.lane_width

    def _approach(self, arm: str, arms: list[str], reach: float) -> list[Lane]:
        """Lanes towards and away from the junction on one arm."""
        angle = ARMS.index(arm) * np.pi / 2.0
        axis_in = turned(trace((0.0, -reach - self.approach_length, np.pi / 2.0), [(self.approach_length, 0.0, 0.0)]), angle)
        axis_out = turned(trace((0.0, -reach, -np.pi / 2.0), [(self.approach_length, 0.0, 0.0)]), angle)
        first = -self._side(0)
        stop = self._stop(arm)
        lanes = []
        for lane in strip(f"{arm}_in", axis_in, self.lanes, width=self.lane_width, limit=self.speed_limit, first=first):
            i = int(lane.id[-1])
            ahead = tuple(f"{arm}_{to}.{i}" for to in arms if (arm, to, i) in self._allowed(arm, arms))
            lanes.append(replace(lane, successors=ahead, stop=stop, right_mark=Mark.KERB if i == 0 else lane.right_mark))
        lanes += strip(f"{arm}_out", axis_out, self.lanes, width=self.lane_width, limit=self.speed_limit, first=first, end=LaneEnd.EXIT)
        return lanes

    def _stop(self, arm: str) -> StopLine | None:
        s = self.approach_length - LINE_GAP
        if self.control == "lights":
            return StopLine(s=s, light=arm)
        if self.control == "all_way" or (self.control == "priority" and arm in MINOR):
            return StopLine(s=s, must_stop=True)
        return StopLine(s=s) if self.control == "yield" and arm in MINOR else None

    def _allowed(self, arm: str, arms: list[str]) -> list[tuple[str, str, int]]:
        """Movements (from, to, lane) from one arm."""
        left_lane = self.lanes - 1
        moves = []
        for to in arms:
            quarters = (ARMS.index(to) - ARMS.index(arm)) % 4  # 1 right, 2 straight on, 3 left
            moves += [
                (arm, to, i) for i in range(self.lanes) if quarters == 2 or (quarters == 1 and i == 0) or (quarters == 3 and i == left_lane)
            ]
        return moves

    def _movements(self, arm: str, arms: list[str], reach: float) -> list[Lane]:
        """Lanes through the junction from one arm."""
        lanes = []
        for _, to, i in self._allowed(arm, arms):
            side, quarters = self._side(i), (ARMS.index(to) - ARMS.index(arm)) % 4
            end = {1: (reach, -side, 0.0), 2: (side, reach, np.pi / 2.0), 3: (-reach, side, np.pi)}[quarters]
            line = fillet((side, -reach, np.pi / 2.0), end)
            radius = {1: reach - side, 2: np.inf, 3: reach + side}[quarters]
            lanes.append(
                single(
                    f"{arm}_{to}.{i}",
                    turned(line, ARMS.index(arm) * np.pi / 2.0),
                    width=self.lane_width,
                    limit=comfortable_speed(radius, self.speed_limit),
                    then=(f"{to}_out.{i}",),
                    type=LaneType.JUNCTION,
                    left_mark=Mark.NONE,
                    right_mark=Mark.NONE,
                    priority=self._priority(arm, quarters),
                )
            )
        return lanes

    def _priority(self, arm: str, quarters: int) -> int:
        """Left turns give way to oncoming traffic; where the streets differ, the minor gives way to the major."""
        if self.control == "all_way":
            return 0
        major = MAJOR if self.control in ("priority", "yield") and arm not in MINOR else 0
        return major - (TURN if quarters == 3 else 0)

    def _lights(self, arms: list[str], half: float, reach: float) -> tuple[Light, ...]:
        """Two stages, the major street first; nobody has green while traffic that crosses straight on has."""
        cycle = self.green_major + self.green_minor + 2.0 * (YELLOW + self.all_red)
        lights = []
        for arm in arms:
            green, before = (self.green_minor, self.green_major + YELLOW + self.all_red) if arm in MINOR else (self.green_major, 0.0)
            red = cycle - green - YELLOW - RED_YELLOW
            phases = ((LightState.GREEN, green), (LightState.YELLOW, YELLOW), (LightState.RED, red), (LightState.RED_YELLOW, RED_YELLOW))
            angle = ARMS.index(arm) * np.pi / 2.0
            x, y = half + 1.0, -reach - LINE_GAP
            lights.append(
                Light(
                    id=arm,
                    x=float(x * np.cos(angle) - y * np.sin(angle)),
                    y=float(x * np.sin(angle) + y * np.cos(angle)),
                    heading=float(np.angle(np.exp(1j * (angle + np.pi / 2.0)))),
                    phases=phases,
                    offset=float((self.phase * cycle - before) % cycle),
                )
            )
        return tuple(lights)

    def _quarter(self, i: int, arms: list[str], half: float) -> NDArray[np.float64]:
        """Asphalt of one quarter of the junction, with a round kerb where two arms meet. Quarter 0 lies between south and east."""
        reach, radius = half + self.corner_radius, self.corner_radius
        one, two = ARMS[i] in arms, ARMS[(i + 1) % 4] in arms  # here: the south and the east arm
        if one and two:
            around = np.linspace(np.pi / 2.0, np.pi, 17)
            kerb = np.array([reach, -reach]) + radius * np.stack([np.cos(around), np.sin(around)], axis=-1)
            points = np.concatenate([[[0.0, 0.0], [reach, 0.0]], kerb, [[0.0, -reach]]])
        elif two:
            points = np.array([[0.0, 0.0], [reach, 0.0], [reach, -half], [0.0, -half]])
        else:
            points = np.array([[0.0, 0.0], [half, 0.0], [half, -reach], [0.0, -reach]])
        angle = i * np.pi / 2.0
        c, s = np.cos(angle), np.sin(angle)
        rotated: NDArray[np.float64] = points @ np.array([[c, s], [-s, c]])
        return rotated

    def _houses(self, arms: list[str], half: float) -> list[Box]:
        """One block of houses in each corner; across the missing arm of a tee, one along the street."""
        gap, size = half + self.setback, 30.0
        middle = gap + size / 2.0
        boxes = [
            Box(x=sx * middle, y=sy * middle, yaw=0.0, length=size, width=size)
            for sx in (-1, 1)
            for sy in (-1, 1)
            if sy < 0 or "north" in arms
        ]
        if "north" not in arms:
            boxes.append(Box(x=0.0, y=gap + 6.0, yaw=0.0, length=2.0 * (gap + size), width=12.0))
        return boxes
