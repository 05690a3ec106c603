"""Traffic lights: the state of every light at a tick, looked up in its fixed programme.

Shapes: B worlds, GL lights, A agents.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.lanes import lane_field
from envs.driving.types import Maps
from scenarios.network import LightState

__all__ = ["governing_light", "light_states", "must_stop_at"]


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
