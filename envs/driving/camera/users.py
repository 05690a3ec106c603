"""Road users as prisms: who is drawn, in what shape and paint, with which lamps lit, and their shadows.

Shapes: B worlds, C cameras, N = B C images (image b C + c), A agents, K road users drawn, P prisms of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.camera.atlas import MATERIALS
from envs.driving.camera.config import SEMANTICS, CameraConfig
from envs.driving.camera.exact import cos_sin, hypot
from envs.driving.camera.prisms import Group, Lens, Prisms, common_palette, in_view, nearest_few, recoloured, to_camera
from envs.driving.camera.scenery import SceneryTables
from envs.driving.camera.shapes import PARTS, VARIANTS
from envs.driving.camera.weather import Weather
from envs.driving.collision import stored
from envs.driving.rng import scrambled
from envs.driving.shapes import BRAKE_ABOVE
from envs.driving.types import Setup, State
from scenarios.kinds import Kind

__all__ = ["agent_heights", "road_users", "shape_rows"]

STREAM_PAINT = 3004  # of random numbers
BLINK = 1.5  # Hz of indicators
BODY, SHADE, HEAD, TAIL, LEFT, RIGHT, SKIN, SECOND, YELLOW = (
    MATERIALS.index(name) for name in ("body", "shade", "headlight", "taillight", "left", "right", "skin", "second", "yellow")
)


def shape_rows(setup: Setup, weather: Weather) -> Tensor:
    """Row of the shape tables of every agent, (B, A) int64: its kind, and a variant by chance."""
    return _variant(setup, _draws(weather, setup.kind.shape[1], 8))


def agent_heights(setup: Setup, weather: Weather, tables: SceneryTables) -> Tensor:
    """Heights m of all agents, (B, A): typical of kind and variant, within 5 %."""
    draws = _draws(weather, setup.kind.shape[1], 8)
    return tables.heights[_variant(setup, draws)] * (0.95 + 0.1 * draws[..., 1])


def _draws(weather: Weather, agents: int, count: int) -> Tensor:
    """(B, A, count) uniform random numbers of each agent."""
    own = scrambled(weather.seed ^ (weather.seed >> 32)) + scrambled(torch.full_like(weather.seed, STREAM_PAINT))
    index = torch.arange(agents * count, device=weather.seed.device)
    word = scrambled(own.unsqueeze(1) + index)
    return stored((word >> 8).to(torch.float32) * 2.0**-24).view(-1, agents, count)


def _variant(setup: Setup, draws: Tensor) -> Tensor:
    return setup.kind * VARIANTS + (draws[..., 0] * VARIANTS).to(torch.int64)


def road_users(
    state: State, setup: Setup, tables: SceneryTables, weather: Weather, config: CameraConfig, lens: Lens, viewer: Tensor, dt: float
) -> tuple[Group, Tensor, Tensor, Tensor]:
    world = lens.world
    x, y = to_camera(lens, state.x[world], state.y[world])  # (N, A)
    radius = 0.5 * hypot(setup.length, setup.width)[world]
    distance, seen = in_view(lens, config, x, y, radius, config.far)
    other = torch.arange(x.shape[1], device=x.device) != viewer[world].unsqueeze(1)
    slot, drawn = nearest_few(distance, seen & state.valid[world] & other, config.agents)  # (N, K)

    def of(value: Tensor) -> Tensor:
        return stored(value[world].gather(1, slot))

    x, y = stored(x.gather(1, slot)), stored(y.gather(1, slot))
    yaw, length, width = of(state.yaw), of(setup.length), of(setup.width)
    wc, ws = map(stored, cos_sin(yaw))
    axis_c, axis_s = lens.cos.unsqueeze(1), lens.sin.unsqueeze(1)
    cos, sin = stored(wc * axis_c + ws * axis_s), stored(ws * axis_c - wc * axis_s)
    draws = _draws(weather, state.x.shape[1], 8)
    variant = of(_variant(setup, draws))
    height = of(agent_heights(setup, weather, tables))
    parts = tables.parts[variant]  # (N, K, 3, 7)
    rear, front, wide, low, high, style, rounding = parts.unbind(-1)
    along = 0.5 * (rear + front) * length.unsqueeze(-1)  # (N, K, 3) m ahead of the middle

    def flat(value: Tensor) -> Tensor:
        return value.expand_as(rear).flatten(1)

    kind = of(setup.kind)
    prisms = Prisms(
        x=flat(x.unsqueeze(-1) + along * cos.unsqueeze(-1)),
        y=flat(y.unsqueeze(-1) + along * sin.unsqueeze(-1)),
        cos=flat(cos.unsqueeze(-1)),
        sin=flat(sin.unsqueeze(-1)),
        half_length=flat(0.5 * (front - rear) * length.unsqueeze(-1)),
        half_width=flat(0.5 * wide * width.unsqueeze(-1)),
        bottom=flat(low * height.unsqueeze(-1)),
        top=flat(high * height.unsqueeze(-1)),
        round=flat(rounding),
        there=flat(drawn.unsqueeze(-1) & (high > low)),
        style=flat(style).to(torch.int64),
        repeat=torch.ones_like(flat(rear)).unsqueeze(-1).expand(-1, -1, 3),
        id=flat(slot.unsqueeze(-1)),
        semantic=flat((kind + SEMANTICS.index("car")).unsqueeze(-1)),
    )
    colour = _agent_colours(state, tables, weather, lens, draws, slot, kind, dt)
    colour = colour.unsqueeze(2).expand(-1, -1, PARTS, -1, -1).flatten(1, 2)
    return (prisms, colour), slot, drawn, _shadows(weather, lens, x, y, cos, sin, length, width, height, drawn)


def _agent_colours(
    state: State, tables: SceneryTables, weather: Weather, lens: Lens, draws: Tensor, slot: Tensor, kind: Tensor, dt: float
) -> Tensor:
    """(N, K, 16, 4)."""
    world = lens.world

    def of(value: Tensor) -> Tensor:
        return stored(value[world].gather(1, slot))

    mine = draws[world].gather(1, slot.unsqueeze(-1).expand(-1, -1, draws.shape[-1]))  # (N, K, 8)
    paint = tables.paints[(mine[..., 2] * mine[..., 2] * 0.5 * 16 + mine[..., 2] * 0.5 * 16).to(torch.int64).clamp(max=15)]
    paint = paint * (0.9 + 0.2 * mine[..., 3:4])
    hue = mine[..., 3:4]
    bright = torch.cat([0.5 + 0.5 * cos_sin(6.2831853 * (hue - shift))[0] for shift in (0.0, 0.33, 0.67)], dim=-1)  # a colour circle
    cloth = (0.15 + 0.75 * mine[..., 4:5]) * (0.35 + 0.65 * bright)
    walks, cycles, rides, bus = ((kind == int(one)).unsqueeze(-1) for one in (Kind.PEDESTRIAN, Kind.BICYCLE, Kind.MOTORCYCLE, Kind.BUS))
    vest = torch.where(mine[..., 7:8] < 0.3, paint.new_tensor([0.80, 0.95, 0.15]), paint.new_tensor([1.0, 0.42, 0.08]))  # seen from afar
    body = torch.where(walks | cycles, cloth, torch.where(bus | rides, 0.25 + 0.7 * bright, paint))
    body = torch.where(cycles & (mine[..., 7:8] < 0.5), vest, body).clamp(0.0, 0.97)
    cargo = torch.where(mine[..., 5:6] < 0.6, 0.75 + 0.2 * mine[..., 6:7].expand_as(body), 0.18 + 0.22 * bright)  # white, or muted
    trousers = mine[..., 5:6] * body.new_tensor([0.30, 0.32, 0.42]) + 0.05
    leather = (0.03 + 0.10 * mine[..., 5:6]).expand_as(body)
    skin = body.new_tensor([0.80, 0.60, 0.48]) * (0.45 + 0.6 * mine[..., 6:7])
    second = torch.where(walks | cycles, trousers, torch.where(rides, leather, cargo))

    lamps = weather.lamps[world].unsqueeze(1)  # (N, 1)
    none = torch.zeros_like(mine[..., 0])
    braking = of(state.accel) < -BRAKE_ABOVE
    changing = of(state.origin) != of(state.lane)
    lit = torch.frac(of(state.step.unsqueeze(1).expand_as(state.lane)).to(torch.float32) * (dt * BLINK)) < 0.5
    leftwards = of(state.d) < 0.0
    white, red, amber = (body.new_tensor(c).expand_as(body) for c in ((1.0, 0.98, 0.90), (1.0, 0.10, 0.07), (1.0, 0.60, 0.08)))
    unlit_red, unlit_amber = body.new_tensor([0.40, 0.05, 0.05]), body.new_tensor([0.60, 0.34, 0.10])
    lamp_on = torch.where(rides[..., 0], 1.0, lamps.expand_as(none))  # a motorcycle's burn by day too (UNECE R53)
    tail = torch.where(braking & ~cycles[..., 0], 1.0, 0.55 * lamp_on)
    palette = common_palette(none)
    palette = recoloured(palette, BODY, body, none)
    palette = recoloured(palette, SHADE, 0.66 * body, none)
    palette = recoloured(palette, SECOND, second, none)
    palette = recoloured(palette, SKIN, skin, none)
    palette = recoloured(
        palette, HEAD, torch.where(lamp_on.unsqueeze(-1) > 0.0, white, body.new_tensor([0.78, 0.80, 0.80])), 1.15 * lamp_on
    )
    palette = recoloured(palette, TAIL, torch.where(tail.unsqueeze(-1) > 0.0, red, unlit_red), tail)
    for material, side in ((LEFT, leftwards), (RIGHT, ~leftwards)):
        on = changing & side & lit
        palette = recoloured(palette, material, torch.where(on.unsqueeze(-1), amber, unlit_amber), torch.where(on, 1.0, 0.0))
    sign = torch.full_like(none, 0.6)  # a bus shows where it goes
    return recoloured(palette, YELLOW, body.new_tensor([0.98, 0.66, 0.10]).expand_as(body), sign)


def _shadows(
    weather: Weather,
    lens: Lens,
    x: Tensor,
    y: Tensor,
    cos: Tensor,
    sin: Tensor,
    length: Tensor,
    width: Tensor,
    height: Tensor,
    drawn: Tensor,
) -> Tensor:
    """(N, K, 6) rectangles on the ground: the box, moved and drawn out away from the sun. Not there: of negative size."""
    sun = weather.sun[lens.world]
    ahead = (sun[:, 0] * lens.cos + sun[:, 1] * lens.sin).unsqueeze(1)
    left = (sun[:, 1] * lens.cos - sun[:, 0] * lens.sin).unsqueeze(1)
    reach = 0.5 * height / sun[:, 2:3].clamp(min=0.3) * (weather.direct[lens.world] * 2.0).clamp(max=1.0).unsqueeze(1)
    sx, sy = -ahead * reach, -left * reach
    along, across = torch.abs(sx * cos + sy * sin), torch.abs(sy * cos - sx * sin)
    half_l = torch.where(drawn, 0.5 * length + 0.5 * along + 0.10, -1.0)
    half_w = torch.where(drawn, 0.5 * width + 0.5 * across + 0.10, -1.0)
    return torch.stack([x + 0.5 * sx, y + 0.5 * sy, cos, sin, half_l, half_w], dim=-1)
