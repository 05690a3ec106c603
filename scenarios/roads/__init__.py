"""Road builders: one file per kind of road, each a pydantic model with `build() -> RoadNetwork`."""

from __future__ import annotations

from scenarios.roads.base import RoadModel
from scenarios.roads.crossing import CrossingRoad
from scenarios.roads.custom import CustomRoad
from scenarios.roads.exit import ExitRoad
from scenarios.roads.highway import HighwayRoad
from scenarios.roads.junction import JunctionRoad
from scenarios.roads.loop import LoopRoad
from scenarios.roads.merge import MergeRoad
from scenarios.roads.parking import ParkingRoad
from scenarios.roads.roundabout import RoundaboutRoad
from scenarios.roads.straight import StraightRoad
from scenarios.roads.two_way import TwoWayRoad

__all__ = ["ROADS", "RoadModel"]

ROADS: dict[str, type[RoadModel]] = {
    "straight": StraightRoad,
    "highway": HighwayRoad,
    "merge": MergeRoad,
    "exit": ExitRoad,
    "roundabout": RoundaboutRoad,
    "junction": JunctionRoad,
    "two_way": TwoWayRoad,
    "crossing": CrossingRoad,
    "parking": ParkingRoad,
    "loop": LoopRoad,
    "custom": CustomRoad,
}
