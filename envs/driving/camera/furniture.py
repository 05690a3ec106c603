"""What stands beside the road, as prisms: buildings, hedges, signal heads with their lamps, stop signs.

Shapes: B worlds, C cameras, N = B C images (image b C + c), A agents, K road users drawn, P prisms of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.camera.atlas import MATERIALS, STYLES
from envs.driving.camera.config import SEMANTICS, CameraConfig
from envs.driving.camera.exact import cos_sin, hypot
from envs.driving.camera.prisms import (
    Group,
    Lens,
    Prisms,
    common_palette,
    in_view,
    join,
    nearest_few,
    placed,
    recoloured,
    rows_of,
    same_prism,
    to_camera,
)
from envs.driving.camera.scenery import BUILDING, LIGHT_IDS, SceneryTables
from envs.driving.camera.weather import Weather

__all__ = ["HEAD_AT", "HEAD_BOX", "LAMP_SEEN", "buildings", "signal_heads", "stop_signs"]

LAMP_SEEN = 0.30  # cosine of the widest angle off its axis at which a signal lamp can be seen: hoods cover it
POLE = 0.16  # m, thickness of posts
HEAD_BOX = (0.30, 0.9, 2.1)  # m, depth, width, height of a signal head with its backplate: twice life size, for 160 pixels to show it
HEAD_AT = 2.3  # m, its lower edge
SIGN_BOX = (0.06, 0.9, 0.9)  # m
SIGN_AT = 1.7  # m
ROOM = (3.4, 3.2)  # m, width and height of what one window takes of a wall
LEAVES = 3.0  # m, of what one picture of leaves takes of a hedge
BODY, SHADE, GLASS, BLACK, SECOND, LIT, RED, YELLOW, GREEN = (
    MATERIALS.index(name) for name in ("body", "shade", "glass", "black", "second", "lit", "red", "yellow", "green")
)


def buildings(tables: SceneryTables, weather: Weather, config: CameraConfig, lens: Lens, map_id: Tensor) -> Group:
    table = tables.statics[map_id]  # (N, O, 8)
    x, y = to_camera(lens, table[..., 0], table[..., 1])
    distance, seen = in_view(lens, config, x, y, 0.5 * hypot(table[..., 3], table[..., 4]), 2.0 * config.far)
    index, there = nearest_few(distance, seen & (table[..., 3] > 0.0), config.buildings)
    table = rows_of(table, index)
    x, y, cos, sin = placed(lens, table)
    length, width, height, style, number = table[..., 3:].unbind(-1)
    house = style == BUILDING
    room, floor = ROOM
    repeats = [torch.where(house, (length / room).round().clamp(min=1.0), (length / LEAVES).round().clamp(min=1.0))]
    repeats += [torch.where(house, (width / room).round().clamp(min=1.0), (width / LEAVES).round().clamp(min=1.0))]
    repeats += [torch.where(house, (height / floor).round().clamp(min=1.0), (height / LEAVES).round().clamp(min=1.0))]
    prisms = same_prism(
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
    palette = common_palette(none)
    palette = recoloured(palette, BODY, body, none)
    palette = recoloured(palette, SHADE, 0.68 * body, none)
    palette = recoloured(
        palette, SECOND, torch.where(house.unsqueeze(-1), body.new_tensor([0.42, 0.34, 0.31]).expand_as(body), 1.25 * body), none
    )
    dark_glass = body.new_tensor([0.24, 0.29, 0.34]).expand_as(body)
    palette = recoloured(palette, GLASS, dark_glass, none)
    is_night = (night > 0.5).expand_as(none)
    lit = torch.where(is_night.unsqueeze(-1), body.new_tensor([0.95, 0.78, 0.42]).expand_as(body), 0.9 * dark_glass)
    return prisms, recoloured(palette, LIT, lit, torch.where(is_night, 0.75, 0.0))


def _post(like: Tensor, base: Prisms, top: float) -> Prisms:
    return base._replace(
        half_length=torch.full_like(like, 0.5 * POLE), half_width=torch.full_like(like, 0.5 * POLE), bottom=torch.zeros_like(like),
        top=torch.full_like(like, top), round=torch.zeros_like(like), style=torch.full_like(base.style, STYLES.index("pole")),
        id=torch.full_like(base.id, -1), semantic=torch.full_like(base.semantic, SEMANTICS.index("pole")),
    )  # fmt: skip


def signal_heads(tables: SceneryTables, weather: Weather, config: CameraConfig, lens: Lens, map_id: Tensor, lamps: Tensor) -> Group:
    table = tables.heads[map_id]  # (N, G, 4)
    x, y = to_camera(lens, table[..., 0], table[..., 1])
    distance, seen = in_view(lens, config, x, y, torch.full_like(x, 0.5 * HEAD_BOX[1]), config.far)
    # those whose lamps can be seen come first
    dx, dy = table[..., 0] - lens.x.unsqueeze(1), table[..., 1] - lens.y.unsqueeze(1)
    cos, sin = cos_sin(table[..., 2])
    towards = (dx * cos + dy * sin) > LAMP_SEEN * hypot(x, y)
    distance = torch.where(towards, distance, distance + 2.0 * config.far)
    index, there = nearest_few(distance, seen & (table[..., 3] >= 0.0), config.heads)
    table = rows_of(table, index)
    x, y, cos, sin = placed(lens, table)
    # what faces the traffic is the side whose normal points against it
    base = same_prism(
        x, x=x, y=y, cos=-cos, sin=-sin, half_length=0.5 * HEAD_BOX[0], half_width=0.5 * HEAD_BOX[1],
        bottom=HEAD_AT, top=HEAD_AT + HEAD_BOX[2],
        there=there, style=STYLES.index("housing"), id=LIGHT_IDS + index, semantic=SEMANTICS.index("light"),
    )  # fmt: skip
    state = lamps.gather(1, table[..., 3].clamp(min=0.0).to(torch.int64))
    away = hypot(x, y).clamp(min=0.1)
    seen_lit = (x * cos + y * sin) > LAMP_SEEN * away
    none = torch.zeros_like(x)
    palette = common_palette(none)
    palette = recoloured(palette, BLACK, x.new_tensor([0.07, 0.08, 0.07]).expand(*x.shape, 3), none)
    lit = {RED: (1.0, 0.12, 0.08), YELLOW: (1.0, 0.74, 0.10), GREEN: (0.10, 1.0, 0.52)}
    on = {RED: (state == 0) | (state == 1), YELLOW: (state == 1) | (state == 2), GREEN: state == 3}
    for material, rgb in lit.items():
        shining = on[material] & seen_lit
        bright = x.new_tensor(rgb)
        colour = torch.where(shining.unsqueeze(-1), bright, 0.13 * bright + 0.03)
        palette = recoloured(palette, material, colour, torch.where(shining, 1.1, 0.0))
    return join(_post(x, base, HEAD_AT), base), torch.cat([palette, palette], dim=1)


def stop_signs(tables: SceneryTables, weather: Weather, config: CameraConfig, lens: Lens, map_id: Tensor) -> Group:
    table = tables.signs[map_id]  # (N, S, 4)
    x, y = to_camera(lens, table[..., 0], table[..., 1])
    distance, seen = in_view(lens, config, x, y, torch.full_like(x, 0.5 * SIGN_BOX[1]), config.far)
    index, there = nearest_few(distance, seen & (table[..., 3] > 0.0), config.signs)
    table = rows_of(table, index)
    x, y, cos, sin = placed(lens, table)
    base = same_prism(
        x, x=x, y=y, cos=-cos, sin=-sin, half_length=0.5 * SIGN_BOX[0], half_width=0.5 * SIGN_BOX[1],
        bottom=SIGN_AT, top=SIGN_AT + SIGN_BOX[2],
        round=0.7, there=there, style=STYLES.index("sign"), semantic=SEMANTICS.index("sign"),
    )  # fmt: skip
    none = torch.zeros_like(x)
    palette = common_palette(none)
    return join(_post(x, base, SIGN_AT), base), torch.cat([palette, palette], dim=1)
