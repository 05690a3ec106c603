"""From what an agent wants to what the wheels do: lane tracking, speed tracking, manoeuvres, trajectories.

Shapes: B worlds, A agents, N learners. Curvature is 1/m, left positive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.collision import stored
from envs.driving.dynamics import steer_for_curvature
from envs.driving.lanes import Chain, chain_point, lane_field, project
from envs.driving.types import Maps, Setup, State

__all__ = [
    "BRAKE",
    "FASTER",
    "KEEP",
    "LEFT",
    "RIGHT",
    "SLOWER",
    "STEER_RATE",
    "TRAJECTORY_DT",
    "TRAJECTORY_POINTS",
    "begin_lane_change",
    "lateral_slope",
    "manoeuvre",
    "steer_along_lane",
    "track_speed",
    "track_trajectory",
    "work_off_shift",
]

KEEP, FASTER, SLOWER, LEFT, RIGHT = range(5)
BRAKE = 5  # as hard as needed to rest; for a shield, not offered to policies
SPEED_RATE = 6.0  # m/s^2, how fast FASTER and SLOWER move the set speed
SPEED_OVER = 1.1  # the cruise control's set speed may exceed the limit by 10 %
STEER_RATE = 1.0  # rad/s at the road wheels, a brisk human (Guo & Guan 1993 report up to 1.2)
SHIFT_RATE = 1.4  # m/s sideways in a lane change: 3.6 m in about 2.6 s plus settling, brisk (Toledo & Zohar 2007: 1-13 s)
SHIFT_SLOPE = 0.3  # a lane change never points more than about 17 degrees across the lane
TIME_CONSTANT = 0.5  # s, of speed control
HALT = 2.0  # m/s^2, over the last 1 m/s: a proportional law alone would creep for seconds
LOOK_TIME = 0.6  # s, pure-pursuit look-ahead
LOOK_MIN = 2.5  # m
TRAJECTORY_POINTS = 20
TRAJECTORY_DT = 0.1  # s between the points of a trajectory action
TRAJECTORY_LOOK = 5  # points ahead that steering aims at


def _pursue(state: State, target_x: Tensor, target_y: Tensor, wheelbase: Tensor, steer_max: Tensor) -> Tensor:
    """Pure pursuit (Coulter 1992): the circle through the agent's centre, tangent to its course, and through the target.

    The course differs from the heading by the slip angle, about curvature * wheelbase / 2, which depends on the answer; so, for small
    slip: curvature = 2 (left - ahead curvature wheelbase / 2) / distance^2. With the target behind (reversing) the slip is left out, which
    steers too little in bends tighter than about three wheelbases.
    """
    dx, dy = target_x - state.x, target_y - state.y
    cos, sin = torch.cos(state.yaw), torch.sin(state.yaw)
    ahead, left = dx * cos + dy * sin, dy * cos - dx * sin
    curvature = 2.0 * left / (ahead * ahead + left * left + wheelbase * ahead.clamp(min=0.0)).clamp(min=1.0)
    return torch.minimum(torch.maximum(steer_for_curvature(curvature, wheelbase), -steer_max), steer_max)


def shift_rate(speed: Tensor) -> Tensor:
    """Sideways speed (m/s) of a lane change at `speed`."""
    return (SHIFT_SLOPE * speed.abs()).clamp(max=SHIFT_RATE)


def lateral_slope(speed: Tensor) -> Tensor:
    """Metres sideways per metre forward in a lane change at `speed`."""
    return (SHIFT_RATE / speed.abs().clamp(min=0.1)).clamp(max=SHIFT_SLOPE)


def _shrink(value: Tensor, by: Tensor) -> Tensor:
    """Move towards zero by `by`, stopping there."""
    return torch.sign(value) * (value.abs() - by).clamp(min=0.0)


def work_off_shift(shift: Tensor, speed: Tensor, dt: float) -> Tensor:
    """Lateral reference offset after one tick of a lane change."""
    return _shrink(shift, shift_rate(speed) * dt)


def steer_along_lane(state: State, setup: Setup, maps: Maps, chain: Chain) -> Tensor:
    """Steering (B, A) rad that follows the route, offset by what is left of a lane change."""
    look = (LOOK_TIME * state.speed.abs()).clamp(min=LOOK_MIN)
    x, y, cos, sin = (v.squeeze(-1) for v in chain_point(maps, setup.map_id, chain, look.unsqueeze(-1)))
    offset = _shrink(state.shift, lateral_slope(state.speed) * look)
    return _pursue(state, x - sin * offset, y + cos * offset, setup.wheelbase, setup.steer_max)


def track_speed(speed: Tensor, wanted: Tensor, accel_max: Tensor, brake_max: Tensor) -> Tensor:
    """Proportional speed control with a time constant of 0.5 s, within the vehicle's limits; the last 1 m/s to rest at 2 m/s^2. m/s^2."""
    halt = (wanted == 0.0) & (speed > 0.0) & (speed < 1.0)
    return torch.minimum(torch.maximum(torch.where(halt, -HALT, (wanted - speed) / TIME_CONSTANT), -brake_max), accel_max)


def begin_lane_change(state: State, setup: Setup, maps: Maps, side: Tensor, go: Tensor) -> State:
    """Make the left (side +1) or right (-1) neighbour the lane followed, where `go`. side, go (B, A).

    Neighbours lie side by side, so that equal shares of their lengths do too. The agent keeps its place: `shift` starts at its
    offset from the new lane and is worked off at SHIFT_RATE.
    """
    beside = torch.where(
        side > 0, lane_field(maps.lane_left, setup.map_id, state.lane), lane_field(maps.lane_right, setup.map_id, state.lane)
    )
    beside, go = stored(beside), stored(go & (side != 0) & (beside >= 0) & (state.lane >= 0) & state.valid)
    share = lane_field(maps.lane_length, setup.map_id, beside) / lane_field(maps.lane_length, setup.map_id, state.lane)
    s, d, _, _ = project(maps, setup.map_id, beside, stored(state.s * share), state.x, state.y, steps=0)
    return state._replace(
        lane=torch.where(go, beside, state.lane),
        origin=torch.where(go, state.lane, state.origin),
        s=torch.where(go, s, state.s),
        d=torch.where(go, d, state.d),
        shift=torch.where(go, d, state.shift),
    )


def manoeuvre(state: State, setup: Setup, maps: Maps, action: Tensor, period: float) -> State:
    """Apply a discrete action (B, N) to the learners: set speed and lane. `period` s between decisions."""
    agents = state.x.shape[1]
    padded = torch.nn.functional.pad(action, (0, agents - action.shape[1]), value=KEEP)  # (B, A)
    change = torch.where(padded == FASTER, SPEED_RATE * period, torch.where(padded == SLOWER, -SPEED_RATE * period, 0.0))
    limit = lane_field(maps.lane_limit, setup.map_id, state.lane) * SPEED_OVER
    top = torch.minimum(setup.speed_max, torch.where(state.lane >= 0, limit, setup.speed_max))
    # the set speed runs at most 5 m/s ahead of the true speed, so that a change of mind takes effect at once
    wanted = torch.minimum(torch.maximum(state.set_speed + change, state.speed - 5.0), state.speed + 5.0)
    wanted = torch.where(padded == BRAKE, 0.0, torch.minimum(wanted, top).clamp(min=0.0))
    state = state._replace(set_speed=wanted)
    side = torch.where(padded == LEFT, 1, torch.where(padded == RIGHT, -1, 0))
    settled = state.d.abs() < 0.5 * lane_field(maps.lane_width, setup.map_id, state.lane)
    return begin_lane_change(state, setup, maps, side, settled)


def track_trajectory(state: State, setup: Setup, plan_xyv: Tensor, tick: Tensor, dt: float) -> tuple[Tensor, Tensor]:
    """Acceleration and steering (B, N) that follow a plan (B, N, T, 3) of world x, y and speed.

    tick (0-dim int64): ticks since it was made.
    """
    n, points = plan_xyv.shape[1], plan_xyv.shape[2]
    now = ((tick + 1) * (dt / TRAJECTORY_DT)).round().to(torch.int64)
    at = (now - 1).clamp(0, points - 1)
    aim = (now - 1 + TRAJECTORY_LOOK).clamp(0, points - 1)
    here, there = plan_xyv.index_select(2, at.view(1)).squeeze(2), plan_xyv.index_select(2, aim.view(1)).squeeze(2)  # (B, N, 3)
    ego = state._replace(x=state.x[:, :n], y=state.y[:, :n], yaw=state.yaw[:, :n])
    steer = _pursue(ego, there[..., 0], there[..., 1], setup.wheelbase[:, :n], setup.steer_max[:, :n])
    cos, sin = torch.cos(ego.yaw), torch.sin(ego.yaw)
    far = (there[..., 0] - ego.x) ** 2 + (there[..., 1] - ego.y) ** 2 > 0.3**2
    steer = torch.where(far, steer, state.steer[:, :n])  # nothing to aim at while standing
    behind = (here[..., 0] - ego.x) * cos + (here[..., 1] - ego.y) * sin - state.speed[:, :n] * dt  # m, along-track error at the next tick
    planned = (plan_xyv.index_select(2, (at + 1).clamp(max=points - 1).view(1)).squeeze(2)[..., 2] - here[..., 2]) / TRAJECTORY_DT  # m/s^2
    wanted = here[..., 2] - planned * dt + 0.8 * behind  # now
    # the plan's own acceleration comes on top: without it a car that is to stop would run on for more than a metre
    accel = track_speed(state.speed[:, :n], wanted + TIME_CONSTANT * planned, setup.accel_max[:, :n], setup.brake_max[:, :n])
    return accel, steer
