"""The lanes beside and under the ego with the gaps in them, and the rules of the road ahead.

Shapes: B worlds, N learners, K objects. The three lanes are the left neighbour, the own lane and the right neighbour.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.features import LANE, NEAR, POSITION, SPEED, Ahead, Frame, Points, pack, squash, to_ego
from envs.driving.features_objects import Found
from envs.driving.lanes import chain_point, lane_field, route_field
from envs.driving.lights import governing_light, light_states
from envs.driving.types import DrivingConfig, Maps, Setup, State
from scenarios.network import LaneEnd, LaneType, LightState

__all__ = ["LANE_FEATURES", "RULE_FEATURES", "lane_features", "rule_features"]

CURVE_AHEAD = (0.0, 15.0, 40.0)  # m, where a lane's curvature is told; the first also serves to measure the lateral offset
BEND = 0.02  # 1/m, half scale of curvature: a radius of 50 m
OVERLAP = 0.3  # m, how far a box must reach into a lane to count as being in it
NO_GAP = 2.0  # scaled gap where a lane is free

LANE_FEATURES = (
    "exists",
    "lateral",  # the ego's offset from this lane's centre, left positive, / LANE
    "heading_sin",  # the ego's heading relative to the lane's
    "heading_cos",
    "width",  # / LANE
    "limit",  # / SPEED
    "bend",  # squash(curvature 1/m, BEND), left positive, here and 15 m and 40 m ahead
    "bend_15",
    "bend_40",
    "opposing",  # 1: lies over the oncoming lane, for overtaking only
    "junction",  # 1: inside a junction
    "blocked",  # squash(m to the point where it ends physically, NEAR); 1: it does not
    "change",  # lane change needed from here to reach the destination: +1 left, -1 right
    "change_by",  # squash(m within which that change must be done, POSITION); 1: none needed
    "reachable",  # 1: the destination can be reached from this lane
    "front_gap",  # bumper to bumper to the next object ahead in this lane, / POSITION; 2: none
    "front_speed",  # its speed along the lane minus the ego's, / SPEED
    "rear_gap",
    "rear_speed",
)
RULE_FEATURES = (
    "light_none",  # the light of the next stop line, one-hot; light_none also where there is no line
    "light_red",
    "light_red_yellow",
    "light_yellow",
    "light_green",
    "line",  # squash(m from the front bumper to the next stop line, NEAR); 1: none
    "must_stop",  # 1: a stop sign there, not yet obeyed
    "yield_in",  # squash(m from the front bumper to the next area where the ego gives way, NEAR); 1: none
    "yield_mutual",  # 1: nobody has priority there: first come, first served
    "yield_x",  # that place in the ego frame, / POSITION; 0: none
    "yield_y",
    "priority_in",  # squash(m to the next area where others give way to the ego, NEAR); 1: none
    "inside",  # 1: the ego's box is in such an area now
    "clear_in",  # squash(m until its rear bumper has left it, NEAR); 0: not inside
)
_LIGHTS = tuple((f"light_{each.name.lower()}", int(each)) for each in LightState)  # not made where it is used: that cannot be compiled


def lane_features(maps: Maps, setup: Setup, ahead: Ahead, frame: Frame, points: Points, found: Found, length: Tensor) -> Tensor:
    """Left, own and right lane: geometry, where they lead, and the gaps in them. length (B, N) of the ego. Returns (B, N, 3, .)."""
    lanes, map_id = ahead.lanes, setup.map_id
    exists = lanes >= 0
    offsets = torch.tensor(CURVE_AHEAD, dtype=frame.x.dtype, device=frame.x.device)
    x, y, c, s, bend = chain_point(maps, map_id, ahead.chain, offsets.expand(*lanes.shape, -1), fields=5)  # (B, N, 3, 3)
    x, y = to_ego(frame, x[..., 0] - frame.x.unsqueeze(-1), y[..., 0] - frame.y.unsqueeze(-1))
    c, s = to_ego(frame, c[..., 0], s[..., 0])
    lateral = x * s - y * c  # the ego, at the origin, relative to the lane's centre: left positive
    width = lane_field(maps.lane_width, map_id, lanes)
    kind = lane_field(maps.lane_type, map_id, lanes)

    way, base = torch.stack(ahead.chain.lane, dim=-1), torch.stack(ahead.chain.base, dim=-1)  # (B, N, 3, C)
    end = torch.where(way >= 0, base + lane_field(maps.lane_length, map_id, way), torch.inf)
    blocked = torch.where(lane_field(maps.lane_end, map_id, way) == int(LaneEnd.BLOCKED), end, torch.inf).amin(-1)
    need = route_field(maps.change, map_id, ahead.goal.unsqueeze(-1).expand_as(way), way)  # (B, N, 3, C)
    change_by, first = torch.where(need != 0, end, torch.inf).min(-1)
    change = torch.where(torch.isfinite(change_by), need.gather(-1, first.unsqueeze(-1)).squeeze(-1), 0)

    values = {
        "exists": exists.to(lateral.dtype),
        "lateral": lateral / LANE,
        "heading_sin": -s,
        "heading_cos": c,
        "width": width / LANE,
        "limit": lane_field(maps.lane_limit, map_id, lanes) / SPEED,
        "bend": squash(bend[..., 0], BEND),
        "bend_15": squash(bend[..., 1], BEND),
        "bend_40": squash(bend[..., 2], BEND),
        "opposing": (kind == int(LaneType.OVERTAKE)).to(lateral.dtype),
        "junction": (kind == int(LaneType.JUNCTION)).to(lateral.dtype),
        "blocked": squash(blocked, NEAR),
        "change": change.to(lateral.dtype),
        "change_by": squash(change_by, POSITION),
        "reachable": torch.isfinite(route_field(maps.to_go, map_id, ahead.goal, lanes)).to(lateral.dtype),
        **_gaps(frame, found, lateral, width, length),
    }
    return torch.where(exists.unsqueeze(-1), pack(LANE_FEATURES, values), 0.0)


def _gaps(frame: Frame, found: Found, lateral: Tensor, width: Tensor, length: Tensor) -> dict[str, Tensor]:
    """Bumper-to-bumper gaps and speed differences to the next object ahead and behind in each of the three lanes, (B, N, 3)."""
    centre = lateral[..., 1:2] - lateral  # (B, N, 3) m, the lane's centre left of the route
    reach = (width.unsqueeze(-1) + found.width.unsqueeze(2)) / 2 - OVERLAP  # (B, N, 3, K)
    inside = found.present.unsqueeze(2) & ((found.d.unsqueeze(2) - centre.unsqueeze(-1)).abs() < reach)
    s = found.s.unsqueeze(2)
    gap = s.abs() - (found.length.unsqueeze(2) + length[:, :, None, None]) / 2
    faster = (found.vs - frame.speed.unsqueeze(-1)).unsqueeze(2).expand_as(reach) / SPEED
    out = {}
    for side, there in (("front", s >= 0), ("rear", s < 0)):
        nearest, which = torch.where(inside & there, gap, torch.inf).min(-1)
        free = torch.isinf(nearest)
        out[f"{side}_gap"] = torch.where(free, NO_GAP, nearest / POSITION)
        out[f"{side}_speed"] = torch.where(free, 0.0, faster.gather(-1, which.unsqueeze(-1)).squeeze(-1))
    return out


def rule_features(
    state: State, setup: Setup, maps: Maps, config: DrivingConfig, ahead: Ahead, points: Points, believed: Tensor | None = None
) -> Tensor:
    """The next stop line with its light or sign, and the next conflict areas. Returns (B, N, .).

    believed: (B, GL) states of the lights, if other than they are.
    """
    n = config.learners
    half = setup.length[:, :n] / 2
    released = state.released[:, :n]
    lights = light_states(maps, setup.map_id, state.step, config.dt) if believed is None else believed  # (B, GL)
    way, base = torch.stack(ahead.own.lane, dim=-1), torch.stack(ahead.own.base, dim=-1)  # (B, N, C)
    distance = torch.where(way >= 0, base + lane_field(maps.stop_s, setup.map_id, way), torch.inf) - half.unsqueeze(-1)
    # the nearest that is not behind; a line just under the front wheels is still told
    line, first = torch.where(distance > -2.0, distance, torch.inf).min(-1)
    lane = torch.where(torch.isfinite(line), way.gather(-1, first.unsqueeze(-1)).squeeze(-1), -1)
    light = governing_light(maps, setup.map_id, lights, lane)
    must_stop = lane_field(maps.stop_must, setup.map_id, lane) & (lane >= 0) & (lane != released)
    gives_way = torch.isfinite(ahead.yield_at)
    inside = torch.isfinite(ahead.clear_at)
    values = {
        **{name: (light == value).to(half.dtype) for name, value in _LIGHTS},
        "line": squash(line, NEAR),
        "must_stop": must_stop.to(half.dtype),
        "yield_in": squash(ahead.yield_at - half, NEAR),
        "yield_mutual": (gives_way & (ahead.yield_kind > 1.5)).to(half.dtype),
        "yield_x": torch.where(gives_way, points.meet_x / POSITION, 0.0),
        "yield_y": torch.where(gives_way, points.meet_y / POSITION, 0.0),
        "priority_in": squash(ahead.priority_at - half, NEAR),
        "inside": inside.to(half.dtype),
        "clear_in": torch.where(inside, squash(ahead.clear_at + half, NEAR), 0.0),
    }
    return pack(RULE_FEATURES, values)
