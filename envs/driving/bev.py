"""A bird's-eye raster around each learner, drawn from the state by arithmetic alone (no renderer, any device).

Shapes: B worlds, A agents, N learners (the first N of A), S pixels a side, P = S * S, C channels. SI units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.collision import direction
from envs.driving.lanes import lane_field, preview
from envs.driving.surface import against_traffic, drivable_distance
from envs.driving.types import DrivingConfig, Maps, Setup, State
from scenarios.kinds import Kind

__all__ = ["CHANNELS", "SPEED", "bird_eye"]

CHANNELS = ("drivable", "allowed", "route", "vehicles", "vulnerable", "static", "ego", "vx", "vy")
SPEED = 20.0  # m/s, velocity drawn as 1
ROUTE_STEP = 2.0  # m between the discs that the route is drawn with


def bird_eye(
    state: State,
    setup: Setup,
    maps: Maps,
    config: DrivingConfig,
    *,
    size: int = 64,
    metres: float = 64.0,
    behind: float = 0.25,
    seen: Tensor | None = None,
) -> Tensor:
    """Picture of the surroundings of each learner from above, (B, N, 9, S, S) float32.

    The learner looks up: row 0 is farthest ahead, column 0 farthest left. The picture is `metres` a side, of which the share
    `behind` lies behind the centre of the learner's box. Shapes are drawn with their coverage of the pixel, so that a walker smaller
    than a pixel does not vanish. Channels, in [0, 1] but for the velocities:

    drivable    the road surface
    allowed     a lane here may be driven within 90 deg of the learner's heading (or no direction is prescribed)
    route       the lanes to follow, ahead, in their width
    vehicles    other cars, trucks, buses and motorcycles
    vulnerable  walkers and bicycles
    static      static boxes (buildings, hedges)
    ego         the learner itself
    vx, vy      velocity of whatever agent is there, relative to the learner, forward and left, / 20 m/s, clipped to [-1, 1]

    `seen` (B, N, A) bool: draw only these agents (as from `visibility.visible`); None: all on the road.
    Raises ValueError for a size below 1 or metres that are not positive.
    """
    if size < 1 or metres <= 0.0:
        raise ValueError(f"size={size}, metres={metres}: both must be positive")
    n, pixel = config.learners, metres / size
    axis = (torch.arange(size, device=state.x.device) + 0.5) * pixel  # (S,) m from the top or left side
    forward, left = torch.meshgrid((1.0 - behind) * metres - axis, 0.5 * metres - axis, indexing="ij")
    px, py = forward.reshape(-1), left.reshape(-1)  # (P,) m, ego frame
    ex, ey, eyaw, espeed = (t[:, :n, None] for t in (state.x, state.y, state.yaw, state.speed))  # (B, N, 1)
    cos, sin = direction(eyaw)
    wx, wy = ex + px * cos - py * sin, ey + px * sin + py * cos  # (B, N, P) world

    agents = (state.x, state.y, state.yaw, setup.length, setup.width)
    covered = _coverage(wx, wy, *(t[:, None, None] for t in agents), pixel=pixel)  # (B, N, P, A)
    slot = torch.arange(state.x.shape[1], device=state.x.device)
    shown = state.valid.unsqueeze(1) if seen is None else state.valid.unsqueeze(1) & seen
    covered = covered * (shown & (slot != slot[:n, None])).unsqueeze(2)
    soft = ((setup.kind == int(Kind.PEDESTRIAN)) | (setup.kind == int(Kind.BICYCLE)))[:, None, None]
    vx, vy = (state.speed * axis for axis in direction(state.yaw))
    rx, ry = vx[:, None] - espeed * cos, vy[:, None] - espeed * sin  # (B, N, A) world
    ahead, aside = (rx * cos + ry * sin).unsqueeze(2), (ry * cos - rx * sin).unsqueeze(2)
    still = maps.occluders[setup.map_id]  # (B, O, 5)
    walls = _coverage(wx, wy, *(t[:, None, None] for t in still.unbind(-1)), pixel=pixel) * (still[..., 3] > 0.0)[:, None, None]
    channels = (
        (0.5 + drivable_distance(maps, setup.map_id, wx, wy) / pixel).clamp(0.0, 1.0),
        1.0 - against_traffic(maps, setup.map_id, wx, wy, eyaw.expand_as(wx)).to(wx.dtype),
        _route(state, setup, maps, wx, wy, n, metres, pixel),
        torch.where(soft, 0.0, covered).amax(-1),
        torch.where(soft, covered, 0.0).amax(-1),
        walls.amax(-1),
        _coverage(wx, wy, *(t[:, :n, None, None] for t in agents), pixel=pixel).amax(-1),
        _signed(covered, ahead),
        _signed(covered, aside),
    )
    picture = torch.stack(channels, dim=2)  # (B, N, C, P)
    return picture.reshape(*picture.shape[:-1], size, size)


def _coverage(wx: Tensor, wy: Tensor, x: Tensor, y: Tensor, yaw: Tensor, length: Tensor, width: Tensor, *, pixel: float) -> Tensor:
    """Share of each pixel (B, N, P) that each box (..., K) covers, (B, N, P, K): exact along one axis for boxes along the grid."""
    cos, sin = direction(yaw)
    dx, dy = wx.unsqueeze(-1) - x, wy.unsqueeze(-1) - y
    along = (0.5 + (0.5 * length - torch.abs(dx * cos + dy * sin)) / pixel).clamp(0.0, 1.0)
    across = (0.5 + (0.5 * width - torch.abs(dy * cos - dx * sin)) / pixel).clamp(0.0, 1.0)
    return along * across


def _route(state: State, setup: Setup, maps: Maps, wx: Tensor, wy: Tensor, n: int, metres: float, pixel: float) -> Tensor:
    """Coverage of the pixels by the route ahead, (B, N, P): discs of the lane's width along it."""
    lane = state.lane[:, :n]
    offsets = torch.arange(0.0, metres + ROUTE_STEP, ROUTE_STEP, device=wx.device)
    points = preview(maps, setup.map_id, setup.goal[:, :n], lane, state.s[:, :n], offsets)  # (B, N, K, 5)
    dx, dy = wx.unsqueeze(-1) - points[..., 0].unsqueeze(2), wy.unsqueeze(-1) - points[..., 1].unsqueeze(2)  # (B, N, P, K)
    nearest = torch.sqrt((dx * dx + dy * dy).amin(-1))
    radius = 0.5 * lane_field(maps.lane_width, setup.map_id, lane).unsqueeze(-1)
    return torch.where((lane >= 0).unsqueeze(-1), (0.5 + (radius - nearest) / pixel).clamp(0.0, 1.0), 0.0)


def _signed(covered: Tensor, value: Tensor) -> Tensor:
    """The agents' `value` (B, N, 1, A) where they cover the pixel, (B, N, P); where boxes overlap, the extremes add up."""
    drawn = covered * (value / SPEED).clamp(-1.0, 1.0)
    return drawn.amax(-1).clamp(min=0.0) + drawn.amin(-1).clamp(max=0.0)
