"""What a policy is told: a fixed set of named numbers per learner, the same for `truth` and for `visible`.

Shapes: B worlds, N learners, A agents, K objects, R route points. Ego frame: origin at the ego's centre, x forward, y left.

Every number is scaled to about [-1, 1] and clipped to +-LIMIT. Two scalings occur: a plain division by a reference value, and
`squash(v, c) = v / (|v| + c)`, which keeps resolution near zero (half scale at c) and still tells far from very far. Only rational
functions of the state are used besides sin and cos of headings, so a number does not depend on the batch it was computed in.

Objects are described by pose, velocity, size and kind only, and by where that puts them relative to the ego's route: everything a
perception stack with a map can deliver. Nothing of the traffic's intentions or parameters leaks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from envs.driving.features import LANE, ROUTE_AHEAD, SPEED, Frame, look_ahead, pack, route_points, squash, to_ego
from envs.driving.features_lanes import LANE_FEATURES, RULE_FEATURES, lane_features, rule_features
from envs.driving.features_objects import OBJECT_FEATURES, belief_names, object_features
from envs.driving.lanes import lane_field, route_field
from envs.driving.objects import Objects, true_objects
from envs.driving.surface import drivable_distance
from envs.driving.types import DrivingConfig, Maps, Setup, State
from envs.driving.visibility import visible

__all__ = [
    "EGO_FEATURES",
    "GOAL_FEATURES",
    "LANE_FEATURES",
    "LIMIT",
    "OBJECT_FEATURES",
    "ROUTE_AHEAD",
    "ROUTE_FEATURES",
    "RULE_FEATURES",
    "Observation",
    "flat_size",
    "flatten",
    "observe",
    "shapes",
    "shown",
    "space",
]

LIMIT = 4.0  # every number lies within +-LIMIT
ACCEL = 8.0  # m/s^2, an emergency stop
YAW_RATE = 1.0  # rad/s, nuPlan's comfort bound is 0.95
EDGE = 2.0  # m, distance to the drivable edge at which to take care
FAR = 100.0  # m, half scale of the remaining distance
COOLDOWN = 20.0  # ticks, the usual pause between two lane changes
CLOCK = 30.0  # s, half scale of waiting times of goals

EGO_FEATURES = (
    "speed",  # / SPEED
    "accel",  # last applied, / ACCEL
    "lat_accel",  # / ACCEL
    "yaw_rate",  # / YAW_RATE
    "steer",  # / the vehicle's largest angle
    "lateral",  # offset from the followed lane's centre, left positive, / LANE
    "heading_sin",  # heading relative to the lane's
    "heading_cos",
    "set_speed",  # target of the discrete manoeuvres, / SPEED
    "limit",  # posted here, / SPEED
    "over_limit",  # (speed - limit) / SPEED
    "shift",  # lateral way still to go in a lane change, / LANE
    "changing",  # 1 during a lane change
    "cooldown",  # until the next change may start, / COOLDOWN
    "waited",  # squash(ticks at rest, 20)
    "remaining",  # squash(m to the destination, FAR); 1: none or unreachable
    "progress",  # share of the route done, 0..1
    "time_left",  # share of the episode's time left, 0..1
    "on_lane",  # 1 if a lane is followed at all
    "edge_front_left",  # distance of that corner to the drivable edge, inside positive, / EDGE
    "edge_front_right",
    "edge_rear_left",
    "edge_rear_right",
    "length",  # / 10 m
    "width",  # / 3 m
    "accel_max",  # / ACCEL
    "brake_max",  # / ACCEL
    "speed_max",  # / 50 m/s
    "reverse_max",  # / 10 m/s
)
ROUTE_FEATURES = ("x", "y", "cos", "sin")  # ego frame; x, y / 50 m; heading of the route there relative to the ego's
GOAL_FEATURES = (
    "last",  # the episode is won by lasting until its end
    "destination",  # .. by reaching a place along the lane graph
    "region",  # .. by reaching the rectangle below
    "x",  # of the region's centre, ego frame, squash(m, 5)
    "y",
    "x_far",  # the same / 50 m
    "y_far",
    "heading_cos",  # wanted heading relative to the ego's
    "heading_sin",
    "heading_tolerance",  # / pi
    "axis_cos",  # the rectangle's axis relative to the ego's heading
    "axis_sin",
    "length",  # of the rectangle / 10 m
    "width",
    "speed_min",  # / SPEED
    "speed_max",  # / SPEED
    "opens",  # squash(s until arrival counts, CLOCK); 0: now
    "closes",  # squash(s until arrival no longer counts, CLOCK); 1: never
)


class Observation(NamedTuple):
    """All float32, scaled; the meaning of each feature is listed beside its name in the tuples above and in `features`."""

    ego: Tensor  # (B, N, E) EGO_FEATURES
    objects: Tensor  # (B, N, K, F) OBJECT_FEATURES and `belief_names`, nearest first, zero where there is none
    objects_mask: Tensor  # (B, N, K) 1: an object is there
    route: Tensor  # (B, N, R, 4) ROUTE_FEATURES at ROUTE_AHEAD metres
    lanes: Tensor  # (B, N, 3, .) LANE_FEATURES of the left neighbour, the own lane, the right neighbour
    rules: Tensor  # (B, N, .) RULE_FEATURES: the next light, stop line and junction
    goal: Tensor  # (B, N, .) GOAL_FEATURES


def shapes(config: DrivingConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each field of one learner's observation, without (B, N)."""
    return {
        "ego": (len(EGO_FEATURES),),
        "objects": (config.nearest, len(OBJECT_FEATURES) + len(belief_names(config.forecasts))),
        "objects_mask": (config.nearest,),
        "route": (len(ROUTE_AHEAD), len(ROUTE_FEATURES)),
        "lanes": (3, len(LANE_FEATURES)),
        "rules": (len(RULE_FEATURES),),
        "goal": (len(GOAL_FEATURES),),
    }


def space(config: DrivingConfig) -> spaces.Dict:
    """The gymnasium space of one learner's observation."""
    bounds = {name: (0.0, 1.0) if name == "objects_mask" else (-LIMIT, LIMIT) for name in shapes(config)}
    return spaces.Dict({name: spaces.Box(*bounds[name], shape=shape, dtype=np.float32) for name, shape in shapes(config).items()})


def flat_size(config: DrivingConfig) -> int:
    """Length of the flat observation. The mask is left out: `objects[..., 0]` says the same."""
    return sum(int(np.prod(shape)) for name, shape in shapes(config).items() if name != "objects_mask")


def flatten(obs: Observation) -> Tensor:
    """The observation as (B, N, flat_size)."""
    parts = (obs.ego, obs.objects, obs.route, obs.lanes, obs.rules, obs.goal)
    return torch.cat([part.flatten(2) for part in parts], dim=-1)


def observe(state: State, setup: Setup, maps: Maps, config: DrivingConfig, believed: Objects | None = None) -> Observation:
    """What each learner is told now.

    state, setup: (B, A) tensors; maps: compiled maps. Pure; no data-dependent branch, so it runs inside a compiled step.
    Objects are the `config.nearest` nearest ones within `config.view_range` metres, centre to centre; with
    `observation="visible"` those hidden or outside the field of view are left out first. `believed`: what a perception stack makes
    of the surroundings instead of the truth; the ego's own state, the map and the goal are always known. Raises ValueError unless it
    comes with forecasts where `config.forecasts` asks for them.
    """
    n = config.learners
    lane = state.lane[:, :n]
    ahead = look_ahead(maps, setup.map_id, setup.goal[:, :n], lane, state.s[:, :n], setup.length[:, :n])
    frame = Frame(
        x=state.x[:, :n], y=state.y[:, :n], cos=torch.cos(state.yaw)[:, :n], sin=torch.sin(state.yaw)[:, :n], speed=state.speed[:, :n]
    )
    points = route_points(maps, setup.map_id, ahead, frame)
    around = true_objects(state, setup, shown(state, setup, maps, config)) if believed is None else believed
    if bool(config.forecasts) != (around.belief is not None):
        raise ValueError(f"forecasts={config.forecasts}, but the objects come {'with' if around.belief else 'without'} any")
    objects, found = object_features(around, frame, points, ahead, config.nearest)
    lanes = lane_features(maps, setup, ahead, frame, points, found, setup.length[:, :n])
    obs = Observation(
        ego=_ego(state, setup, maps, config, frame, lanes),
        objects=objects,
        objects_mask=objects[..., 0],
        route=points.ahead,
        lanes=lanes,
        rules=rule_features(state, setup, maps, config, ahead, points, around.lights),
        goal=_goal(state, setup, config, frame),
    )
    return Observation(*(field.clamp(-LIMIT, LIMIT) for field in obs))


def shown(state: State, setup: Setup, maps: Maps, config: DrivingConfig) -> Tensor:
    """(B, N, A) bool: agents that may be shown, before the limit of number. What is `visible` is part of what is `truth`."""
    n, agents = config.learners, state.x.shape[1]
    slot = torch.arange(agents, device=state.x.device)
    near = (state.x.unsqueeze(1) - state.x[:, :n].unsqueeze(2)) ** 2 + (state.y.unsqueeze(1) - state.y[:, :n].unsqueeze(2)) ** 2
    there = state.valid.unsqueeze(1) & (slot != slot[:n].unsqueeze(1)) & (near <= config.view_range**2)
    return there & visible(state, setup, maps, config) if config.observation == "visible" else there


def _ego(state: State, setup: Setup, maps: Maps, config: DrivingConfig, frame: Frame, lanes: Tensor) -> Tensor:
    """(B, N, E)"""
    n = config.learners
    lane, s, speed = state.lane[:, :n], state.s[:, :n], state.speed[:, :n]
    on_lane = (lane >= 0).to(speed.dtype)
    own = dict(zip(LANE_FEATURES, lanes[:, :, 1].unbind(-1), strict=True))
    limit = lane_field(maps.lane_limit, setup.map_id, lane) * on_lane
    remaining = route_field(maps.to_go, setup.map_id, setup.goal[:, :n], lane) - s
    remaining = torch.where(lane >= 0, remaining, torch.inf)
    length, width = setup.length[:, :n], setup.width[:, :n]
    ends = torch.stack([length, length, -length, -length], dim=-1) / 2
    sides = torch.stack([width, -width, width, -width], dim=-1) / 2
    c, sn = frame.cos.unsqueeze(-1), frame.sin.unsqueeze(-1)
    corner_x = frame.x.unsqueeze(-1) + ends * c - sides * sn
    corner_y = frame.y.unsqueeze(-1) + ends * sn + sides * c
    edge = drivable_distance(maps, setup.map_id, corner_x, corner_y) / EDGE
    duration = setup.duration.to(speed.dtype)
    time_left = (duration - state.step.to(speed.dtype)) / duration.clamp(min=1.0)
    values = {
        "speed": speed / SPEED,
        "accel": state.accel[:, :n] / ACCEL,
        "lat_accel": state.stats.prev[..., 1] / ACCEL,
        "yaw_rate": state.stats.prev[..., 2] / YAW_RATE,
        "steer": state.steer[:, :n] / setup.steer_max[:, :n].clamp(min=0.01),
        "lateral": own["lateral"],
        "heading_sin": own["heading_sin"],
        "heading_cos": own["heading_cos"],
        "set_speed": state.set_speed[:, :n] / SPEED,
        "limit": limit / SPEED,
        "over_limit": (speed - limit) * on_lane / SPEED,
        "shift": state.shift[:, :n] / LANE,
        "changing": (state.origin[:, :n] != lane).to(speed.dtype),
        "cooldown": state.cooldown[:, :n].to(speed.dtype) / COOLDOWN,
        "waited": squash(state.waited[:, :n].to(speed.dtype), 20.0),
        "remaining": squash(remaining, FAR),
        "progress": state.stats.progress / setup.route_length[:, : state.stats.progress.shape[1]].clamp(min=1.0),
        "time_left": time_left.unsqueeze(1).expand_as(speed),
        "on_lane": on_lane,
        "edge_front_left": edge[..., 0],
        "edge_front_right": edge[..., 1],
        "edge_rear_left": edge[..., 2],
        "edge_rear_right": edge[..., 3],
        "length": length / 10.0,
        "width": width / 3.0,
        "accel_max": setup.accel_max[:, :n] / ACCEL,
        "brake_max": setup.brake_max[:, :n] / ACCEL,
        "speed_max": setup.speed_max[:, :n] / 50.0,
        "reverse_max": setup.reverse_max[:, :n] / 10.0,
    }
    return pack(EGO_FEATURES, values)


def _goal(state: State, setup: Setup, config: DrivingConfig, frame: Frame) -> Tensor:
    """(B, N, .)"""
    kind = setup.goal_kind[:, : frame.x.shape[1]]  # (B, N)
    region = (kind == 2).to(frame.x.dtype)
    rx, ry, yaw, length, width, heading, tolerance, slowest, fastest = (part.unsqueeze(1) for part in setup.region.unbind(-1))
    x, y = to_ego(frame, rx - frame.x, ry - frame.y)
    axis_cos, axis_sin = to_ego(frame, *_direction(yaw))
    heading_cos, heading_sin = to_ego(frame, *_direction(heading))
    until = (setup.goal_window - state.step.unsqueeze(1)).clamp(min=0).to(frame.x.dtype) * config.dt  # (B, 2) s
    values = {
        "x": squash(x, 5.0),
        "y": squash(y, 5.0),
        "x_far": x / 50.0,
        "y_far": y / 50.0,
        "heading_cos": heading_cos,
        "heading_sin": heading_sin,
        "heading_tolerance": tolerance / torch.pi,
        "axis_cos": axis_cos,
        "axis_sin": axis_sin,
        "length": length / 10.0,
        "width": width / 10.0,
        "speed_min": slowest.clamp(-LIMIT * SPEED, LIMIT * SPEED) / SPEED,
        "speed_max": fastest.clamp(-LIMIT * SPEED, LIMIT * SPEED) / SPEED,
    }
    # a goal that is no region leaves these numbers undefined, so select, do not multiply
    values = {name: torch.where(region > 0, value.expand_as(frame.x), 0.0) for name, value in values.items()}
    values |= {"last": (kind == 0).to(region.dtype), "destination": (kind == 1).to(region.dtype), "region": region}
    window = {"opens": squash(until[:, :1], CLOCK), "closes": squash(until[:, 1:], CLOCK)}
    return pack(GOAL_FEATURES, values | {name: value.expand_as(region) for name, value in window.items()})


def _direction(angle: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, of a contiguous copy: a strided view may take another code path and differ in the last bit."""
    angle = angle.contiguous()
    return torch.cos(angle), torch.sin(angle)
