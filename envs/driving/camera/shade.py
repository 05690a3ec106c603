"""Colours of pixels: faces from the atlas, ground from its texels, sky, fog, lamps and lens.

Shapes: N images, W columns, H rows, P prisms; tensors are (N, W, H). Colours are shares of full white.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.camera.atlas import TEXELS
from envs.driving.camera.cast import Columns, ground_spans
from envs.driving.camera.config import SEMANTICS, CameraConfig
from envs.driving.camera.exact import arctan, cos_sin
from envs.driving.camera.ground import LEVELS
from envs.driving.camera.prisms import COLOURS, Lens
from envs.driving.camera.scene import Scene
from envs.driving.camera.scenery import SceneryTables
from envs.driving.camera.weather import Weather
from envs.driving.collision import stored

__all__ = ["Pixels", "shade"]

BEAM = 26.0  # m within which headlights halve
SHADES = (0.86, 0.86, 0.80, 0.80, 1.0, 0.45)  # of the sky's light that faces get
HAZE_FROM = 140.0  # m, the ground fades into the haze of the horizon beyond


class Pixels(NamedTuple):
    """What is seen at each pixel."""

    red: Tensor  # (N, W, H)
    green: Tensor
    blue: Tensor
    depth: Tensor  # (N, W, H) m, +inf: sky
    semantic: Tensor  # (N, W, H) int32


def _per(value: Tensor) -> Tensor:
    """(N,) beside (N, W, H)."""
    return value.view(-1, 1, 1)


def _along(value: Tensor, like: Tensor) -> Tensor:
    """(N,) as (N, 1, H), stored.

    Compiled loops over (image, column, row) and over (image, pixel) are not fused; what depends on a row is always of the first kind. So
    everything about pixels becomes one loop, and what is between input and output stays in registers.
    """
    return stored(value.view(-1, 1, 1).expand(-1, 1, like.shape[-1]).contiguous())


class _Surface(NamedTuple):
    """Colour of a surface before light: red, green, blue, own shine, sun's cosine, sky's share."""

    red: Tensor
    green: Tensor
    blue: Tensor
    shine: Tensor
    sun: Tensor
    sky: Tensor


def _coordinates(scene: Scene) -> tuple[Tensor, ...]:
    """What leads from a pixel to its place on the picture of its prism: nine (N, P), see `_faces`."""
    lens, prisms = scene.lens, scene.prisms
    along, across, upwards = prisms.repeat.unbind(-1)
    kx, ky = 0.5 * along / prisms.half_length.clamp(min=1e-3), 0.5 * across / prisms.half_width.clamp(min=1e-3)
    x0 = 0.5 * along - kx * (prisms.x * prisms.cos + prisms.y * prisms.sin)
    y0 = 0.5 * across - ky * (prisms.y * prisms.cos - prisms.x * prisms.sin)
    tall = 1.0 / (prisms.top - prisms.bottom).clamp(min=1e-3)
    up0 = (lens.z.unsqueeze(1) - prisms.bottom) * tall
    return x0, kx * prisms.cos, kx * prisms.sin, y0, -ky * prisms.sin, ky * prisms.cos, up0, -tall / lens.focal.unsqueeze(1), upwards


def _faces(
    scene: Scene, seen: Columns, tables: SceneryTables, prism: Tensor, slope: Tensor, below: Tensor, inverse: Tensor
) -> tuple[_Surface, Tensor, Tensor]:
    """Colour at each pixel of the prism that is seen there, its depth, and its place among all (N P).

    Where a point is on a prism, in pictures along, across and upwards, is linear in its depth: along = x0 + depth (xa + slope xb), across
    = y0 + depth (ya + slope yb), upwards = up0 + depth below up1.
    """
    n, p, w = seen.enter.shape
    whole = torch.int32
    image = torch.arange(n, device=prism.device, dtype=whole).view(-1, 1, 1)
    across = torch.arange(w, device=prism.device, dtype=whole).view(1, -1, 1)
    at = image * p + prism.clamp(min=0.0).to(whole)
    column = at * w + across
    enter = seen.enter.view(-1)[column]
    depth = torch.maximum(enter, seen.lid.view(-1)[column] * inverse)
    lid = depth > enter * 1.0001

    def of(value: Tensor) -> Tensor:
        return stored(value.contiguous()).view(-1)[at]

    x0, xa, xb, y0, ya, yb, up0, up1, repeat = (of(value) for value in _coordinates(scene))
    x, y = x0 + depth * (xa + slope * xb), y0 + depth * (ya + slope * yb)
    up = up0 + depth * below * up1
    side = torch.where(lid, torch.where(up > 0.5, 4.0, 5.0), seen.face.view(-1)[column]).to(whole)
    u = torch.where(side < 2, y, x)
    v = torch.where(lid, y, up * repeat)
    u = (u.clamp(0.0, 999.9) * TEXELS).to(whole) & (TEXELS - 1)
    v = (v.clamp(0.0, 999.9) * TEXELS).to(whole) & (TEXELS - 1)
    style = of(scene.prisms.style.to(whole) * 6)
    material = tables.atlas[((style + side) * TEXELS + v) * TEXELS + u]
    paint = at * COLOURS + material
    colours = scene.colour.reshape(-1, 4)
    red, green, blue, shine = (colours[:, i][paint] for i in range(4))
    shades = torch.tensor(SHADES, device=prism.device)
    sky = shades[side] * (0.82 + 0.18 * up.clamp(0.0, 1.0))
    sun = scene.facing.reshape(-1)[at * 6 + side]
    return _Surface(red, green, blue, shine, sun, sky), depth, at


class _Rows(NamedTuple):
    """What the ground needs of each row, (N, 1, H)."""

    depth: Tensor  # m
    inverse: Tensor  # texels per m
    x: Tensor  # texels, of the point below the lens
    y: Tensor
    columns: Tensor  # int32, of the level
    most_x: Tensor  # last column
    most_y: Tensor  # last row
    offset: Tensor  # int32, of the level's first texel
    right: Tensor  # int32, to the next column
    up: Tensor  # int32, to the next row


def _rows(tables: SceneryTables, lens: Lens, map_id: Tensor, depth: Tensor) -> _Rows:
    """depth (N, 1, H) m of the ground."""
    step, corner = _per(tables.step[map_id]), tables.corner[map_id]
    # texels as large as a pixel is wide, or a little larger where it is much longer than wide
    across, lengthwise = depth / _per(lens.focal), depth * depth / _per(lens.focal * lens.z)
    size = torch.maximum(across, 0.35 * torch.sqrt(across * lengthwise)) / step
    level = torch.zeros_like(size, dtype=torch.int64)
    for i in range(1, LEVELS):
        level = level + (size > 0.75 * 2.0**i)
    at = stored(map_id.view(-1, 1, 1) * LEVELS + level)
    offset, columns, rows = (stored(table.to(torch.int32)).view(-1)[at] for table in (tables.offset, tables.columns, tables.rows))
    inverse = stored(1.0 / (step * (1 << level).to(torch.float32)))
    return _Rows(
        depth=depth,
        inverse=inverse,
        x=stored((_per(lens.x) - _per(corner[:, 0])) * inverse - 0.5),
        y=stored((_per(lens.y) - _per(corner[:, 1])) * inverse - 0.5),
        columns=stored(columns),
        most_x=stored((columns - 1).to(torch.float32)),
        most_y=stored((rows - 1).to(torch.float32)),
        offset=stored(offset),
        right=stored((columns > 1).to(torch.int32)),
        up=stored((rows > 1).to(torch.int32) * columns),
    )


def _ground(tables: SceneryTables, weather: Weather, lens: Lens, rows: _Rows, slope: Tensor) -> tuple[_Surface, Tensor]:
    """The ground (N, W, H), and the material that makes up most of it (N, W, H) int32. weather (N, ...), slope (N, W, 1)."""
    scale = stored(rows.depth * rows.inverse)
    px = rows.x + scale * stored(_per(lens.cos) - slope * _per(lens.sin))
    py = rows.y + scale * stored(_per(lens.sin) + slope * _per(lens.cos))
    # a hair before the last texel, so that the one after is a texel too
    px = torch.minimum(px, rows.most_x - 1e-3).clamp(min=0.0)
    py = torch.minimum(py, rows.most_y - 1e-3).clamp(min=0.0)
    column, row = torch.floor(px), torch.floor(py)
    fx, fy = px - column, py - row
    here = rows.offset + row.to(torch.int32) * rows.columns + column.to(torch.int32)
    shares = [torch.zeros_like(fx) for _ in range(6)]
    weights = ((1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy)
    for place, weight in zip((here, here + rows.right, here + rows.up, here + rows.right + rows.up), weights, strict=True):
        word = tables.texels[place]
        for i in range(5):
            shares[i] = shares[i] + weight * ((word >> (5 * i)) & 31).to(torch.float32)
        shares[5] = shares[5] + weight * ((word >> 25) & 127).to(torch.float32)
    paint, grass, walkway, kerb = shares[:4]
    damp = (1.0 - 0.38 * weather.wet).unsqueeze(1)  # wet ground is darker
    asphalt = stored(weather.ground[:, 0] * damp)  # (N, 3)
    more = stored((weather.ground[:, 1:] - weather.ground[:, :1]) * (damp * (1.0 / 31.0)).unsqueeze(2))  # (N, 5, 3)
    grain = 1.0 + (shares[5] * (1.0 / 127.0) - 0.5) * (0.30 + (0.9 / 31.0) * grass)
    colours = []
    for c in range(3):
        value = _along(asphalt[:, c], fx)
        for i in range(5):
            value = value + shares[i] * _along(more[:, i, c], fx)
        colours.append(value * grain)
    best, which = 31.0 - (paint + grass + walkway + kerb), torch.full_like(here, SEMANTICS.index("road"))  # asphalt and lots
    for share, name in ((paint, "marking"), (grass, "terrain"), (walkway + kerb, "walkway")):
        which = torch.where(share > best, SEMANTICS.index(name), which)
        best = torch.maximum(best, share)
    ones = torch.ones_like(fx)
    return _Surface(colours[0], colours[1], colours[2], 0.0 * ones, ones * _along(weather.sun[:, 2], fx), ones), which


def _skyline(weather: Weather, lens: Lens, slope: Tensor) -> Tensor:
    """Tangent of the height of the hills on the horizon, (N, W, 1): a sum of four waves around the compass."""
    azimuth = arctan(slope) + _per(_angle(lens.cos, lens.sin))
    line = torch.zeros_like(slope)
    for i, waves in enumerate((3.0, 7.0, 19.0, 53.0)):
        line = line + _per(weather.hills[:, i]) * (0.6 + cos_sin(waves * azimuth + _per(weather.hills[:, 4 + i]))[1])
    return stored(torch.where(line > 0.0, line, -torch.inf))


def _sky(weather: Weather, lens: Lens, slope: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colour of the sky; hills at the horizon hide its foot. weather (N, ...), slope (N, W, 1), tangent (N, 1, H) of the height."""
    rise = tangent.clamp(0.0, 1.0)
    share = stored(1.0 - (1.0 - rise * 1.6).clamp(min=0.0) ** 2)  # of the zenith's colour
    sun = weather.sun
    ahead = sun[:, 0] * lens.cos + sun[:, 1] * lens.sin
    left = sun[:, 1] * lens.cos - sun[:, 0] * lens.sin
    length = torch.rsqrt(stored(1.0 + slope * slope) + stored(tangent * tangent))
    towards = ((stored(_per(ahead) + slope * _per(left)) + stored(tangent * _per(sun[:, 2]))) * length).clamp(min=0.0)
    t2 = towards * towards
    t4 = t2 * t2
    t8 = t4 * t4
    t16 = t8 * t8
    t32 = t16 * t16
    glow = _along(weather.direct, towards) * (0.22 * t8 + 0.5 * (t32 * t32) + torch.where(towards > 0.9992, 1.5, 0.0))
    hill = tangent < _skyline(weather, lens, slope)
    top, low = weather.sky_top, weather.sky_low
    haze = (weather.fog * 700.0 + 0.35).clamp(max=1.0).unsqueeze(1)
    wood = weather.ground[:, 2] * 0.55 * weather.ambient
    far = stored(wood + (low - wood) * haze)  # (N, 3)
    out = []
    for c in range(3):
        air = stored(_per(low[:, c]) + (_per(top[:, c]) - _per(low[:, c])) * share) + glow * (1.0, 0.93, 0.75)[c]
        out.append(torch.where(hill, _along(far[:, c], towards), air))
    return out[0], out[1], out[2]


def _angle(cos: Tensor, sin: Tensor) -> Tensor:
    """Angle of (cos, sin), see `envs.driving.bank`."""
    half = arctan(sin / (torch.sqrt(cos * cos + sin * sin) + torch.abs(cos)).clamp(min=1e-6))
    return torch.where(cos >= 0.0, 2.0 * half, torch.where(sin >= 0.0, torch.pi, -torch.pi) - 2.0 * half)


def _shadow(scene: Scene, slope: Tensor, config: CameraConfig) -> Tensor:
    """0..1, how much of the ground's light bodies take away (N, W, H): soft-edged rectangles."""
    first, last = (value.transpose(1, 2).unsqueeze(3) for value in ground_spans(scene.shadow, scene.lens, slope, config))
    v = torch.arange(config.height, device=slope.device, dtype=torch.float32) + 0.5
    edge = stored(torch.minimum(v - first, last - v).amax(2))  # px inside
    return (0.5 + edge).clamp(0.0, 1.0)


def shade(
    scene: Scene, seen: Columns, prism: Tensor, slope: Tensor, below: Tensor, inverse: Tensor, map_id: Tensor, tables: SceneryTables,
    weather: Weather, config: CameraConfig,
) -> Pixels:  # fmt: skip
    """Every pixel before the sensor. slope (N, W), below and inverse (N, H) as `row_scale` gives them, weather (N, ...) by image."""
    lens = scene.lens
    under = _shadow(scene, slope, config)
    under = under * _along(0.42 + 0.35 * (weather.direct * 2.0).clamp(max=1.0), under)
    slope, below, inverse = slope.unsqueeze(2), below.unsqueeze(1), inverse.unsqueeze(1)
    thing, thing_depth, at = _faces(scene, seen, tables, prism, slope, below, inverse)

    is_thing, is_ground = prism >= 0.0, below > 0.2
    flat = (_per(lens.focal * lens.z) * inverse).clamp(0.0, 4000.0)  # (N, 1, H) depth of the ground
    flat = stored(torch.where(is_ground, flat, 4000.0))
    ground, material = _ground(tables, weather, lens, _rows(tables, lens, map_id, flat), slope)
    depth = torch.where(is_thing, thing_depth, flat)
    direct = _along(weather.direct, flat)

    left = depth * slope
    reach = 1.0 / (1.0 + (depth / BEAM) * (depth / BEAM))
    cone = (1.25 - torch.abs(left) / (1.6 + 0.42 * depth)).clamp(0.0, 1.0)
    beam = _along(weather.night * 1.05, flat) * reach * cone * (0.35 + 0.65 * (depth * 0.25).clamp(max=1.0))

    sky = _sky(weather, lens, slope, stored(-below / _per(lens.focal)))
    air = 1.0 - torch.exp(_along(-weather.fog, flat) * depth)
    air = torch.where(is_thing, air, torch.maximum(air, stored(((flat - HAZE_FROM) / 900.0).clamp(0.0, 1.0))))
    ambient, haze = ([_along(colour[:, c], flat) for c in range(3)] for colour in (weather.ambient, weather.sky_low))
    wet = stored(_per(weather.wet) * (0.10 + 0.5 * (1.0 - below / (0.6 * config.height)).clamp(0.0, 1.0) ** 2))  # (N, 1, H)
    mirror = torch.where(is_thing | (material == SEMANTICS.index("terrain")), 0.0, wet)
    shine = torch.where(is_thing, thing.shine, 0.0)
    sun = torch.where(is_thing, thing.sun, ground.sun * (1.0 - under)) * direct
    share = torch.where(is_thing, thing.sky, 1.0 - 0.7 * under)
    out = []
    for c in range(3):
        base = torch.where(is_thing, (thing.red, thing.green, thing.blue)[c], (ground.red, ground.green, ground.blue)[c])
        light = share * ambient[c] + sun * (1.06, 1.0, 0.88)[c] + beam * (1.0, 0.96, 0.84)[c]
        value = base * (light + (1.0 - light) * shine)
        value = value + (haze[c] * (1.0 - 0.6 * under) - value) * mirror
        value = value + (haze[c] - value) * air * (1.0 - 0.6 * shine)
        out.append(stored(torch.where(is_thing | is_ground, value, sky[c])))
    semantic = torch.where(is_thing, stored(scene.prisms.semantic.to(torch.int32)).view(-1)[at], torch.where(is_ground, material, 0))
    depth = torch.where(is_thing | is_ground, depth, torch.inf)
    return Pixels(out[0], out[1], out[2], depth, semantic)
