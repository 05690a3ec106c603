"""From the state of the worlds to all that stands before each lens.

Shapes: B worlds, C cameras, N = B C images (image b C + c), K road users drawn, P prisms of an image: 3 K of road users, then buildings,
two of every signal head (posts first), two of every sign.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.camera.config import CameraConfig
from envs.driving.camera.furniture import buildings, signal_heads, stop_signs
from envs.driving.camera.prisms import Lens, Prisms, lens_of
from envs.driving.camera.scenery import SceneryTables
from envs.driving.camera.users import road_users
from envs.driving.camera.weather import Weather
from envs.driving.lights import light_states
from envs.driving.types import Maps, Setup, State

__all__ = ["Scene", "build_scene", "lamp_states"]


class Scene(NamedTuple):
    """All that is drawn on N images, apart from ground and sky."""

    lens: Lens
    prisms: Prisms
    colour: Tensor  # (N, P, 16, 4) red, green, blue and how much of it shines by itself, by material
    facing: Tensor  # (N, P, 6) 0..1, cosine of the angle between face and sun, 0 from behind
    slot: Tensor  # (N, K) int64 agent of each road user drawn
    drawn: Tensor  # (N, K) bool
    shadow: Tensor  # (N, K, 6) x, y, cos, sin, half length, half width of the shadows on the ground


def lamp_states(state: State, setup: Setup, maps: Maps, dt: float) -> Tensor:
    """State of every light as in `perception.types.Labels.light`: 0 red, 1 red-yellow, 2 yellow, 3 green, 4 off. (B, GL) int64."""
    states = light_states(maps, setup.map_id, state.step, dt)
    return torch.where(states > 0, states - 1, 4)


def build_scene(
    state: State, setup: Setup, maps: Maps, tables: SceneryTables, weather: Weather, config: CameraConfig, viewer: Tensor, dt: float
) -> Scene:
    """Everything before the lenses. viewer (B,) int64: the agent that carries the cameras, itself not drawn."""
    lens = lens_of(state, weather, config, viewer)
    users, slot, drawn, shadow = road_users(state, setup, tables, weather, config, lens, viewer, dt)
    map_id = setup.map_id[lens.world]
    lamps = lamp_states(state, setup, maps, dt)[lens.world]  # (N, GL)
    groups = [users]
    if config.buildings:
        groups.append(buildings(tables, weather, config, lens, map_id))
    if config.heads:
        groups.append(signal_heads(tables, weather, config, lens, map_id, lamps))
    if config.signs:
        groups.append(stop_signs(tables, weather, config, lens, map_id))
    prisms = Prisms(*(torch.cat(parts, dim=1) for parts in zip(*(group[0] for group in groups), strict=True)))
    colour = torch.cat([group[1] for group in groups], dim=1)
    sun = weather.sun[lens.world]
    ahead, left, up = (value.unsqueeze(1) for value in (
        sun[:, 0] * lens.cos + sun[:, 1] * lens.sin, sun[:, 1] * lens.cos - sun[:, 0] * lens.sin, sun[:, 2],
    ))  # fmt: skip
    front = ahead * prisms.cos + left * prisms.sin
    side = left * prisms.cos - ahead * prisms.sin
    top = up.expand_as(front)
    facing = torch.stack([front, -front, side, -side, top, -top], dim=-1).clamp(min=0.0)
    return Scene(lens=lens, prisms=prisms, colour=colour, facing=facing, slot=slot, drawn=drawn, shadow=shadow)
