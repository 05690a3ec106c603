"""Small worlds for the tests of planners: an ego, a car, and a road."""

from __future__ import annotations

import torch

from agents.planners.base import Ego, Place, Scene, Spot
from agents.planners.route import make_route
from envs.driving.lanes import lane_point
from envs.driving.maps import compile_maps
from envs.driving.routing import destination_index
from perception.prediction.base import no_roads
from perception.prediction.history import empty_history
from perception.prediction.kinematic import ConstantVelocity
from perception.types import Tracks
from scenarios.network import RoadNetwork

T = torch.tensor


def an_ego(**changes: float) -> Ego:
    """One ego at the origin of the world, facing along +x."""
    values = {"cos": 1.0, "length": 4.6, "width": 1.85, "wheelbase": 2.8, "speed_max": 50.0, "accel_max": 3.5, "brake_max": 8.0}
    values |= {"steer_max": 0.6, **changes}
    whole = ("lane", "goal", "released")
    return Ego(**{f: T([int(values.get(f, 0)) if f in whole else float(values.get(f, 0.0))]) for f in Ego._fields})


def on_lane(network: RoadNetwork, place: Place, name: str, s: float) -> tuple[int, torch.Tensor]:
    lane = next(i for i, lane in enumerate(network.lanes) if lane.id == name)
    return lane, lane_point(place.maps, T([0]), T([[lane]]), T([[s]]))[0, 0]


def a_scene(network: RoadNetwork, mine: tuple[str, float, float], goal: str, theirs: tuple[str, float, float]) -> Scene:
    """An ego and one car, each (lane, m along it, m/s)."""
    place = Place(compile_maps((network,)), T([0]), T([[0]]))
    lane, point = on_lane(network, place, *mine[:2])
    ego = an_ego(lane=lane, s=mine[1], speed=mine[2], goal=destination_index(network, goal), released=-1)
    ego = ego._replace(**{name: point[k : k + 1] for k, name in enumerate(("x", "y", "cos", "sin"))})
    tracks = a_track(point, on_lane(network, place, *theirs[:2])[1], theirs[2])
    forecasts = ConstantVelocity().predict(empty_history(1, 1), tracks, no_roads(1))
    nowhere = Spot(tracks.score[0] < 0.0, ego.x, ego.y, ego.x)
    return Scene(ego, tracks, forecasts, make_route(ego, place), place, tracks, nowhere)


def a_track(point: torch.Tensor, other: torch.Tensor, speed: float) -> Tracks:
    """A car at `other`, as seen from `point` (both (5,), of a lane), driving along its lane, m/s."""
    dx, dy = other[0] - point[0], other[1] - point[1]
    turn = torch.stack([other[2] * point[2] + other[3] * point[3], other[3] * point[2] - other[2] * point[3]])
    there = torch.stack([dx * point[2] + dy * point[3], dy * point[2] - dx * point[3]])
    one, none = torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.int64)
    return Tracks(
        id=none, kind=none, mean=torch.cat([there, speed * turn]).view(1, 1, 4), covariance=torch.zeros(1, 1, 4, 4),
        yaw=torch.atan2(turn[1], turn[0]).view(1, 1), size=T([[[4.6, 1.85, 1.5]]]), score=one, age=none, unseen=none, light=none - 1,
        source=none, box=torch.zeros(1, 1, 4), mask=one > 0.0,
    )  # fmt: skip
