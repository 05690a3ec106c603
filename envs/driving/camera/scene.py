"""From the state of the worlds to what stands before each lens: oriented prisms in the camera's axes.

Shapes: B worlds, C cameras, N = B C images (image b C + c), A agents, K road users drawn, P prisms of an image: 3 K of road users, then
buildings, two of every signal head, two of every sign. Camera axes: x forward (depth), y left, on the ground below the lens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.camera.atlas import MATERIALS, STYLES
from envs.driving.camera.config import MOUNTS, SEMANTICS, CameraConfig
from envs.driving.camera.scenery import BUILDING, LIGHT_IDS, SceneryTables
from envs.driving.camera.shapes import PARTS, VARIANTS
from envs.driving.camera.weather import Weather
from envs.driving.collision import stored
from envs.driving.lights import light_states
from envs.driving.rng import uniform
from envs.driving.shapes import BRAKE_ABOVE
from envs.driving.types import Maps, Setup, State
from scenarios.kinds import Kind

__all__ = ["Lens", "Prisms", "Scene", "agent_heights", "build_scene", "lamp_states", "lens_of", "shape_rows"]

STREAM_PAINT = 3004  # of the counter-based generator
COLOURS = len(MATERIALS)
BODY, SHADE, GLASS, BLACK, GREY, HEAD, TAIL, LEFT, RIGHT, WHITE, SKIN, SECOND, LIT, RED, YELLOW, GREEN = range(COLOURS)
LAMP_SEEN = 0.30  # cosine of the widest angle off its axis at which a signal lamp can be seen: hoods cover it
POLE = 0.16  # m, thickness of posts
HEAD_BOX = (0.30, 0.9, 2.1)  # m, depth, width, height of a signal head with its backplate: twice life size, for 160 pixels to show it
HEAD_AT = 2.3  # m, its lower edge
SIGN_BOX = (0.06, 0.9, 0.9)
SIGN_AT = 1.7  # m
BLINK = 1.5  # Hz of indicators
# night: how brightly materials shine by themselves, times `lamps`
BUILDING_ROOM = (3.4, 3.2)  # m, width and height of what one window takes of a wall


class Lens(NamedTuple):
    """Where the N cameras truly are."""

    world: Tensor  # (N,) int64, row of the world
    focal: Tensor  # (N,) px
    cu: Tensor  # (N,) px
    cv: Tensor  # (N,) px, row of the horizon
    x: Tensor  # (N,) m, world
    y: Tensor  # (N,) m
    z: Tensor  # (N,) m
    cos: Tensor  # (N,) of the optical axis, world
    sin: Tensor  # (N,)


class Prisms(NamedTuple):
    """Upright boxes before the lens, the first 3 K three to a road user."""

    x: Tensor  # (N, P) m, middle
    y: Tensor  # (N, P) m
    cos: Tensor  # (N, P) of its heading
    sin: Tensor  # (N, P)
    half_length: Tensor  # (N, P) m
    half_width: Tensor  # (N, P) m
    bottom: Tensor  # (N, P) m above ground
    top: Tensor  # (N, P) m
    round: Tensor  # (N, P) 0..1, see `envs.driving.camera.shapes`
    there: Tensor  # (N, P) bool
    style: Tensor  # (N, P) int64, of STYLES
    repeat: Tensor  # (N, P, 3) how often the picture is repeated along, across and upwards
    id: Tensor  # (N, P) int64 instance, -1: background
    semantic: Tensor  # (N, P) int64, of SEMANTICS


class Scene(NamedTuple):
    """All that is drawn on N images, apart from ground and sky."""

    lens: Lens
    prisms: Prisms
    colour: Tensor  # (N, P, 16, 4) red, green, blue and how much of it shines by itself, by material
    facing: Tensor  # (N, P, 6) 0..1, cosine of the angle between face and sun, 0 from behind
    slot: Tensor  # (N, K) int64 agent of each road user drawn
    drawn: Tensor  # (N, K) bool
    shadow: Tensor  # (N, K, 6) x, y, cos, sin, half length, half width of the shadows on the ground


def lens_of(state: State, setup: Setup, weather: Weather, config: CameraConfig, viewer: Tensor) -> Lens:
    """The cameras of the agents `viewer` (B,) int64 of each world."""
    batch, cameras = state.x.shape[0], len(config.cameras)
    at = viewer.unsqueeze(1)
    x, y, yaw = (value.gather(1, at) for value in (state.x, state.y, state.yaw))  # (B, 1)
    mounts = [MOUNTS[name] for name in config.cameras]
    error = weather.mount  # (B, C, 6)
    ahead, left, turn = (x.new_tensor([mount[i] for mount in mounts]) for i in range(3))
    dx, dy = ahead + error[..., 2], left + error[..., 3]
    cos, sin = stored(torch.cos(yaw)), stored(torch.sin(yaw))
    angle = (yaw + turn + error[..., 5]).contiguous()

    def flat(value: Tensor) -> Tensor:
        return stored(value.expand(batch, cameras).reshape(-1))

    return Lens(
        world=torch.arange(batch, device=x.device).repeat_interleave(cameras, output_size=batch * cameras),
        focal=flat(config.focal * (1.0 + error[..., 0])),
        cu=flat(x.new_full((1, 1), 0.5 * config.width)),
        cv=flat(config.horizon * config.height + error[..., 1]),
        x=flat(x + cos * dx - sin * dy),
        y=flat(y + sin * dx + cos * dy),
        z=flat(config.mount_height + error[..., 4]),
        cos=flat(torch.cos(angle)),
        sin=flat(torch.sin(angle)),
    )


def _draws(weather: Weather, agents: int, count: int) -> Tensor:
    """(B, A, count) uniform random numbers of each agent."""
    index = torch.arange(agents * count, device=weather.seed.device)
    zero = torch.zeros_like(weather.seed).unsqueeze(1)
    return uniform(weather.seed.unsqueeze(1), zero, STREAM_PAINT, index).view(-1, agents, count)


def shape_rows(setup: Setup, weather: Weather) -> Tensor:
    """Row of the shape tables of every agent, (B, A) int64: its kind, and a variant by chance."""
    return _variant(setup, _draws(weather, setup.kind.shape[1], 8))


def _variant(setup: Setup, draws: Tensor) -> Tensor:
    return setup.kind * VARIANTS + (draws[..., 0] * VARIANTS).to(torch.int64)


def agent_heights(setup: Setup, weather: Weather, tables: SceneryTables) -> Tensor:
    """Heights m of all agents, (B, A): typical of kind and variant, within 5 %."""
    draws = _draws(weather, setup.kind.shape[1], 8)
    return tables.heights[_variant(setup, draws)] * (0.95 + 0.1 * draws[..., 1])


def lamp_states(state: State, setup: Setup, maps: Maps, dt: float) -> Tensor:
    """State of every light as in `perception.types.Labels.light`: 0 red, 1 red-yellow, 2 yellow, 3 green, 4 off. (B, GL) int64."""
    states = light_states(maps, setup.map_id, state.step, dt)
    return torch.where(states > 0, states - 1, 4)


def _nearest(distance: Tensor, seen: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices (N, count) of the nearest that are seen, and whether there are so many."""
    missing = count - distance.shape[1]
    if missing > 0:
        distance = torch.nn.functional.pad(distance, (0, missing))
        seen = torch.nn.functional.pad(seen, (0, missing))
    far, index = torch.sort(torch.where(seen, distance, torch.inf), dim=1, stable=True)
    index = index[:, :count]
    return torch.where(far[:, :count] < torch.inf, index, 0), far[:, :count] < torch.inf


def _in_view(lens: Lens, config: CameraConfig, x: Tensor, y: Tensor, radius: Tensor, far: float) -> tuple[Tensor, Tensor]:
    """Depth of the near side and whether a disc (N, .) in camera axes meets the field of view."""
    slope = 0.5 * config.width / lens.focal.unsqueeze(1)  # tangent of half the field of view
    near = x - radius
    reach = torch.sqrt(1.0 + slope * slope) * radius
    return near, (x + radius > config.near) & (near < far) & (torch.abs(y) - reach < slope * x)


def _to_camera(lens: Lens, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    dx, dy = x - lens.x.unsqueeze(1), y - lens.y.unsqueeze(1)
    cos, sin = lens.cos.unsqueeze(1), lens.sin.unsqueeze(1)
    return dx * cos + dy * sin, dy * cos - dx * sin


def build_scene(
    state: State, setup: Setup, maps: Maps, tables: SceneryTables, weather: Weather, config: CameraConfig, viewer: Tensor, dt: float
) -> Scene:
    """Everything before the lenses. viewer (B,) int64: the agent that carries the cameras, itself not drawn."""
    lens = lens_of(state, setup, weather, config, viewer)
    users, slot, drawn, shadow = _road_users(state, setup, tables, weather, config, lens, viewer, dt)
    map_id = setup.map_id[lens.world]
    lamps = lamp_states(state, setup, maps, dt)[lens.world]  # (N, GL)
    groups = [users]
    if config.buildings:
        groups.append(_buildings(tables, weather, config, lens, map_id))
    if config.heads:
        groups.append(_signal_heads(tables, weather, config, lens, map_id, lamps))
    if config.signs:
        groups.append(_stop_signs(tables, weather, config, lens, map_id))
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


Group = tuple[Prisms, Tensor]


def _palette(like: Tensor, night: Tensor) -> Tensor:
    """(N, ..., 16, 4) the colours that most things share; like (N, ...)."""
    base = [
        (0.5, 0.5, 0.5), (0.4, 0.4, 0.4), (0.10, 0.12, 0.15), (0.05, 0.05, 0.055), (0.55, 0.56, 0.58), (0.80, 0.82, 0.80),
        (0.42, 0.05, 0.05), (0.55, 0.28, 0.05), (0.55, 0.28, 0.05), (0.88, 0.88, 0.86), (0.78, 0.58, 0.46),
        (0.3, 0.3, 0.3), (0.10, 0.12, 0.15),
        (0.72, 0.08, 0.08), (0.95, 0.72, 0.10), (0.10, 0.55, 0.25),
    ]  # fmt: skip
    colours = like.new_tensor([(*c, 0.0) for c in base])
    return colours.expand(*like.shape, COLOURS, 4)


def _with(palette: Tensor, material: int, rgb: Tensor, shine: Tensor) -> Tensor:
    """The palette with one material changed; rgb (..., 3), shine (...)."""
    which = torch.arange(COLOURS, device=palette.device).unsqueeze(1) == material  # (16, 1)
    new = torch.cat([rgb, shine.unsqueeze(-1)], dim=-1).unsqueeze(-2)
    return torch.where(which, new, palette)


def _road_users(
    state: State, setup: Setup, tables: SceneryTables, weather: Weather, config: CameraConfig, lens: Lens, viewer: Tensor, dt: float
) -> tuple[Group, Tensor, Tensor, Tensor]:
    world = lens.world
    x, y = _to_camera(lens, state.x[world], state.y[world])  # (N, A)
    radius = 0.5 * torch.hypot(setup.length, setup.width)[world]
    distance, seen = _in_view(lens, config, x, y, radius, config.far)
    other = torch.arange(x.shape[1], device=x.device) != viewer[world].unsqueeze(1)
    slot, drawn = _nearest(distance, seen & state.valid[world] & other, config.agents)  # (N, K)

    def of(value: Tensor) -> Tensor:
        return stored(value[world].gather(1, slot))

    x, y = stored(x.gather(1, slot)), stored(y.gather(1, slot))
    yaw, length, width = of(state.yaw), of(setup.length), of(setup.width)
    wc, ws = stored(torch.cos(yaw)), stored(torch.sin(yaw))
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
    bright = torch.cat([0.5 + 0.5 * torch.cos(6.2831853 * (hue - shift)) for shift in (0.0, 0.33, 0.67)], dim=-1)  # a colour circle
    cloth = (0.15 + 0.75 * mine[..., 4:5]) * (0.35 + 0.65 * bright)
    person = ((kind == int(Kind.PEDESTRIAN)) | (kind == int(Kind.BICYCLE)) | (kind == int(Kind.MOTORCYCLE))).unsqueeze(-1)
    large = (kind == int(Kind.BUS)).unsqueeze(-1)
    body = torch.where(person, cloth, torch.where(large, 0.25 + 0.7 * bright, paint)).clamp(0.0, 0.97)
    cargo = torch.where(mine[..., 5:6] < 0.6, 0.75 + 0.2 * mine[..., 6:7].expand_as(body), 0.25 + 0.6 * bright)
    trousers = mine[..., 5:6] * body.new_tensor([0.30, 0.32, 0.42]) + 0.05
    skin = body.new_tensor([0.80, 0.60, 0.48]) * (0.45 + 0.6 * mine[..., 6:7])
    second = torch.where(person, trousers, cargo)

    lamps, night = weather.lamps[world].unsqueeze(1), weather.night[world].unsqueeze(1)  # (N, 1)
    none = torch.zeros_like(mine[..., 0])
    braking = of(state.accel) < -BRAKE_ABOVE
    changing = of(state.origin) != of(state.lane)
    lit = torch.frac(of(state.step.unsqueeze(1).expand_as(state.lane)).to(torch.float32) * (dt * BLINK)) < 0.5
    leftwards = of(state.d) < 0.0
    white, red, amber = (body.new_tensor(c).expand_as(body) for c in ((1.0, 0.98, 0.90), (1.0, 0.10, 0.07), (1.0, 0.60, 0.08)))
    unlit_red, unlit_amber = body.new_tensor([0.40, 0.05, 0.05]), body.new_tensor([0.60, 0.34, 0.10])
    tail = torch.where(braking, 1.0, 0.55 * lamps.expand_as(none))
    palette = _palette(none, night)
    palette = _with(palette, BODY, body, none)
    palette = _with(palette, SHADE, 0.66 * body, none)
    palette = _with(palette, SECOND, second, none)
    palette = _with(palette, SKIN, skin, none)
    lamp_on = lamps.expand_as(none)
    palette = _with(palette, HEAD, torch.where(lamp_on.unsqueeze(-1) > 0.0, white, body.new_tensor([0.78, 0.80, 0.80])), 1.15 * lamp_on)
    palette = _with(palette, TAIL, torch.where(tail.unsqueeze(-1) > 0.0, red, unlit_red), tail)
    for material, side in ((LEFT, leftwards), (RIGHT, ~leftwards)):
        on = changing & side & lit
        palette = _with(palette, material, torch.where(on.unsqueeze(-1), amber, unlit_amber), torch.where(on, 1.0, 0.0))
    sign = torch.where(lamp_on > 0.8, 0.6, 0.0)  # a bus shows where it goes
    return _with(palette, YELLOW, body.new_tensor([0.98, 0.66, 0.10]).expand_as(body), sign)


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


def _placed(lens: Lens, table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, cos, sin in camera axes of rows (N, S, ...) that begin with x, y, yaw in the world."""
    x, y = _to_camera(lens, table[..., 0], table[..., 1])
    yaw = table[..., 2].contiguous()
    wc, ws = stored(torch.cos(yaw)), stored(torch.sin(yaw))
    cos, sin = lens.cos.unsqueeze(1), lens.sin.unsqueeze(1)
    return x, y, wc * cos + ws * sin, ws * cos - wc * sin


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows (N, count, F) of (N, S, F)."""
    if table.shape[1] < index.shape[1]:
        table = torch.nn.functional.pad(table, (0, 0, 0, index.shape[1] - table.shape[1]))
    return stored(table.gather(1, index.unsqueeze(-1).expand(-1, -1, table.shape[2])))


def _prism(like: Tensor, **fields: Tensor | float | int) -> Prisms:
    """Prisms (N, S) from fields that are (N, S) or numbers, one piece, no repeats."""
    given: dict[str, Tensor | float | int] = {
        "round": 0.0,
        "id": -1,
        "repeat": torch.ones_like(like).unsqueeze(-1).expand(-1, -1, 3),
        **fields,
    }
    whole = ("style", "id", "semantic")
    out = {}
    for name in Prisms._fields:
        value = given[name]
        if not isinstance(value, Tensor):
            value = torch.full(like.shape, value, dtype=torch.int64 if name in whole else like.dtype, device=like.device)
        out[name] = value.to(torch.int64) if name in whole else value
    return Prisms(**out)


def _buildings(tables: SceneryTables, weather: Weather, config: CameraConfig, lens: Lens, map_id: Tensor) -> Group:
    table = tables.statics[map_id]  # (N, O, 8)
    x, y = _to_camera(lens, table[..., 0], table[..., 1])
    distance, seen = _in_view(lens, config, x, y, 0.5 * torch.hypot(table[..., 3], table[..., 4]), 2.0 * config.far)
    index, there = _nearest(distance, seen & (table[..., 3] > 0.0), config.buildings)
    table = _rows(table, index)
    x, y, cos, sin = _placed(lens, table)
    length, width, height, style, number = table[..., 3:].unbind(-1)
    house = style == BUILDING
    room, floor = BUILDING_ROOM
    repeats = [torch.where(house, (length / room).round().clamp(min=1.0), (length / 3.0).round().clamp(min=1.0))]
    repeats += [torch.where(house, (width / room).round().clamp(min=1.0), (width / 3.0).round().clamp(min=1.0))]
    repeats += [torch.where(house, (height / floor).round().clamp(min=1.0), (height / 3.0).round().clamp(min=1.0))]
    prisms = _prism(
        x, x=x, y=y, cos=cos, sin=sin, half_length=0.5 * length, half_width=0.5 * width, bottom=0.0, top=height,
        round=torch.where(style > 1.5, 0.8, 0.0), there=there, style=style + STYLES.index("building"), repeat=torch.stack(repeats, dim=-1),
        semantic=torch.where(house, SEMANTICS.index("building"), SEMANTICS.index("vegetation")),
    )  # fmt: skip
    tint = torch.frac(number.unsqueeze(-1) * 7.31 + weather.hills[lens.world, 4:5].unsqueeze(1))  # differs from place to place
    warm, cool = x.new_tensor([0.78, 0.66, 0.52]), x.new_tensor([0.66, 0.68, 0.70])
    wall = (warm + (cool - warm) * tint) * (0.75 + 0.35 * torch.frac(tint * 5.7))
    grass = weather.ground[lens.world, 2].unsqueeze(1)
    leaf = grass * (0.62 + 0.25 * tint)
    body = torch.where(house.unsqueeze(-1), wall, leaf)
    none = torch.zeros_like(x)
    night = weather.night[lens.world].unsqueeze(1)
    palette = _palette(none, night)
    palette = _with(palette, BODY, body, none)
    palette = _with(palette, SHADE, 0.68 * body, none)
    palette = _with(
        palette, SECOND, torch.where(house.unsqueeze(-1), body.new_tensor([0.42, 0.34, 0.31]).expand_as(body), 1.25 * body), none
    )
    dark_glass = body.new_tensor([0.24, 0.29, 0.34]).expand_as(body)
    palette = _with(palette, GLASS, dark_glass, none)
    is_night = (night > 0.5).expand_as(none)
    lit = torch.where(is_night.unsqueeze(-1), body.new_tensor([0.95, 0.78, 0.42]).expand_as(body), 0.9 * dark_glass)
    return prisms, _with(palette, LIT, lit, torch.where(is_night, 0.75, 0.0))


def _post(like: Tensor, base: Prisms, top: float) -> Prisms:
    return base._replace(
        half_length=torch.full_like(like, 0.5 * POLE), half_width=torch.full_like(like, 0.5 * POLE), bottom=torch.zeros_like(like),
        top=torch.full_like(like, top), round=torch.zeros_like(like), style=torch.full_like(base.style, STYLES.index("pole")),
        id=torch.full_like(base.id, -1), semantic=torch.full_like(base.semantic, SEMANTICS.index("pole")),
    )  # fmt: skip


def _join(first: Prisms, second: Prisms) -> Prisms:
    return Prisms(*(torch.cat(pair, dim=1) for pair in zip(first, second, strict=True)))


def _signal_heads(tables: SceneryTables, weather: Weather, config: CameraConfig, lens: Lens, map_id: Tensor, lamps: Tensor) -> Group:
    table = tables.heads[map_id]  # (N, G, 4)
    x, y = _to_camera(lens, table[..., 0], table[..., 1])
    distance, seen = _in_view(lens, config, x, y, torch.full_like(x, 0.5 * HEAD_BOX[1]), config.far)
    # those whose lamps can be seen come first
    dx, dy = table[..., 0] - lens.x.unsqueeze(1), table[..., 1] - lens.y.unsqueeze(1)
    yaw = table[..., 2].contiguous()
    towards = (dx * torch.cos(yaw) + dy * torch.sin(yaw)) > LAMP_SEEN * torch.hypot(x, y)
    distance = torch.where(towards, distance, distance + 2.0 * config.far)
    index, there = _nearest(distance, seen & (table[..., 3] >= 0.0), config.heads)
    table = _rows(table, index)
    x, y, cos, sin = _placed(lens, table)
    # what faces the traffic is the side whose normal points against it
    base = _prism(
        x, x=x, y=y, cos=-cos, sin=-sin, half_length=0.5 * HEAD_BOX[0], half_width=0.5 * HEAD_BOX[1],
        bottom=HEAD_AT, top=HEAD_AT + HEAD_BOX[2],
        there=there, style=STYLES.index("housing"), id=LIGHT_IDS + index, semantic=SEMANTICS.index("light"),
    )  # fmt: skip
    state = lamps.gather(1, table[..., 3].clamp(min=0.0).to(torch.int64))
    away = torch.hypot(x, y).clamp(min=0.1)
    seen_lit = (x * cos + y * sin) > LAMP_SEEN * away
    none = torch.zeros_like(x)
    palette = _palette(none, none)
    palette = _with(palette, BLACK, x.new_tensor([0.07, 0.08, 0.07]).expand(*x.shape, 3), none)
    lit = {RED: (1.0, 0.12, 0.08), YELLOW: (1.0, 0.74, 0.10), GREEN: (0.10, 1.0, 0.52)}
    on = {RED: (state == 0) | (state == 1), YELLOW: (state == 1) | (state == 2), GREEN: state == 3}
    for material, rgb in lit.items():
        shining = on[material] & seen_lit
        bright = x.new_tensor(rgb)
        colour = torch.where(shining.unsqueeze(-1), bright, 0.13 * bright + 0.03)
        palette = _with(palette, material, colour, torch.where(shining, 1.1, 0.0))
    return _join(_post(x, base, HEAD_AT), base), torch.cat([palette, palette], dim=1)


def _stop_signs(tables: SceneryTables, weather: Weather, config: CameraConfig, lens: Lens, map_id: Tensor) -> Group:
    table = tables.signs[map_id]  # (N, S, 4)
    x, y = _to_camera(lens, table[..., 0], table[..., 1])
    distance, seen = _in_view(lens, config, x, y, torch.full_like(x, 0.5 * SIGN_BOX[1]), config.far)
    index, there = _nearest(distance, seen & (table[..., 3] > 0.0), config.signs)
    table = _rows(table, index)
    x, y, cos, sin = _placed(lens, table)
    base = _prism(
        x, x=x, y=y, cos=-cos, sin=-sin, half_length=0.5 * SIGN_BOX[0], half_width=0.5 * SIGN_BOX[1],
        bottom=SIGN_AT, top=SIGN_AT + SIGN_BOX[2],
        round=0.7, there=there, style=STYLES.index("sign"), semantic=SEMANTICS.index("sign"),
    )  # fmt: skip
    none = torch.zeros_like(x)
    palette = _palette(none, none)
    return _join(_post(x, base, SIGN_AT), base), torch.cat([palette, palette], dim=1)
