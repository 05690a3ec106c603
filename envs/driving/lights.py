"""Traffic lights: where their signal heads stand, and the state of every light at a tick, looked up in its fixed programme.

Shapes: B worlds, GL lights, A agents.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.driving.lanes import lane_field
from envs.driving.types import Maps
from scenarios.network import Lane, LaneType, LightState, RoadNetwork

__all__ = ["governing_light", "light_heads", "light_states", "must_stop_at"]

FAR_HEAD = 1.5  # m from the end of the junction to the far signal head
NO_SPAN = 12.0  # m from the near one to the far one where the lanes do not tell


def light_states(maps: Maps, map_id: Tensor, step: Tensor, dt: float) -> Tensor:
    """State (LightState) of every light of each world's map at tick `step`. map_id, step (B,). Returns (B, GL) int64."""
    clock = step.unsqueeze(-1).to(maps.light_offset.dtype) * dt + maps.light_offset[map_id]
    cycle = maps.light_cycle[map_id].clamp(min=1e-3)
    into = clock - torch.floor(clock / cycle) * cycle  # (B, GL) s into the cycle
    phase = (into.unsqueeze(-1) >= maps.light_ends[map_id]).sum(-1).clamp(max=maps.light_ends.shape[-1] - 1)
    return maps.light_states[map_id].gather(-1, phase.unsqueeze(-1)).squeeze(-1)


def governing_light(maps: Maps, map_id: Tensor, states: Tensor, lane: Tensor) -> Tensor:
    """State of the light that governs the stop line of `lane` (B, A); NONE where there is none. states (B, GL)."""
    light = lane_field(maps.stop_light, map_id, lane)
    state = states.gather(-1, light.clamp(min=0).reshape(light.shape[0], -1)).reshape(light.shape)
    return torch.where((light >= 0) & (lane >= 0), state, torch.full_like(state, int(LightState.NONE)))


def must_stop_at(state: Tensor, distance: Tensor, speed: Tensor, decel: float = 3.0) -> Tensor:
    """Whether a driver stops: at red, and at yellow if braking at `decel` m/s^2 is enough. distance m to the line, speed m/s."""
    red = (state == int(LightState.RED)) | (state == int(LightState.RED_YELLOW))
    can_stop = speed * speed < 2.0 * decel * distance.clamp(min=0.0)
    return red | ((state == int(LightState.YELLOW)) & can_stop)


def light_heads(network: RoadNetwork) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """(x, y) m of two signal heads a light: at its stop line, and across the junction, where those who wait at the line can see it."""
    lanes = {lane.id: lane for lane in network.lanes}
    heads = []
    for light in network.lights:
        ahead = np.array([np.cos(light.heading), np.sin(light.heading)])
        governed = [lane for lane in network.lanes if lane.stop is not None and lane.stop.light == light.id]
        spans = [span for lane in governed for span in _across(lane, lanes, ahead)]
        far = np.array([light.x, light.y]) + (max(spans) + FAR_HEAD if spans else NO_SPAN) * ahead
        heads.append(((light.x, light.y), (float(far[0]), float(far[1]))))
    return heads


def _across(lane: Lane, lanes: dict[str, Lane], ahead: NDArray[np.float64]) -> list[float]:
    """m from a lane's stop line along `ahead` to the end of each junction lane that follows."""
    assert lane.stop is not None
    points = np.asarray(lane.centre)
    steps = np.hypot(*np.diff(points, axis=0).T)
    s = np.concatenate([[0.0], np.cumsum(steps)])
    line = np.array([np.interp(lane.stop.s, s, points[:, k]) for k in (0, 1)])
    ends = [np.asarray(lanes[name].centre)[-1] for name in lane.successors if lanes[name].type == LaneType.JUNCTION]
    return [float((end - line) @ ahead) for end in ends]
