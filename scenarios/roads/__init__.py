"""Road builders: one file per kind of road, each a pydantic model with `build() -> RoadNetwork`."""

from __future__ import annotations

from scenarios.roads.base import RoadModel
from scenarios.roads.exit import ExitRoad
from scenarios.roads.highway import HighwayRoad
from scenarios.roads.merge import MergeRoad
from scenarios.roads.roundabout import RoundaboutRoad

__all__ = ["ROADS", "RoadModel"]

ROADS: dict[str, type[RoadModel]] = {
    "highway": HighwayRoad,
    "merge": MergeRoad,
    "exit": ExitRoad,
    "roundabout": RoundaboutRoad,
}
