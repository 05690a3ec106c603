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
    semantic: Tensor  # (N, W, H) int64


def _per(value: Tensor) -> Tensor:
    """(N,) beside (N, W, H)."""
    return value.view(-1, 1, 1)


class _Surface(NamedTuple):
    """Colour of a surface before light: red, green, blue, own shine, sun's cosine, sky's share."""

    red: Tensor
    green: Tensor
    blue: Tensor
    shine: Tensor
    sun: Tensor
    sky: Tensor


def _faces(
    scene: Scene, seen: Columns, tables: SceneryTables, prism: Tensor, slope: Tensor, rise: Tensor, inverse: Tensor
) -> tuple[_Surface, Tensor, Tensor]:
    """Colour at each pixel of the prism that is seen there, its depth, and its place among all (N P).

    rise (N, 1, H): m up per m of depth.
    """
    n, p, w = seen.enter.shape
    image = torch.arange(n, device=prism.device).view(-1, 1, 1)
    across = torch.arange(w, device=prism.device).view(1, -1, 1)
    at = image * p + prism.clamp(min=0.0).to(torch.int64)
    column = at * w + across
    enter, face = seen.enter.view(-1)[column], seen.face.view(-1)[column]
    depth = torch.maximum(enter, seen.lid.view(-1)[column] * inverse)
    prisms = scene.prisms

    def of(value: Tensor) -> Tensor:
        return value.reshape(-1)[at]

    cos, sin, px, py = of(prisms.cos), of(prisms.sin), of(prisms.x), of(prisms.y)
    ahead, left = depth - px, depth * slope - py  # from the prism's middle
    lid = depth > enter * 1.0001
    z = _per(scene.lens.z) + depth * rise
    low, high = of(prisms.bottom), of(prisms.top)
    x = 0.5 + 0.5 * (ahead * cos + left * sin) / of(prisms.half_length)
    y = 0.5 + 0.5 * (left * cos - ahead * sin) / of(prisms.half_width)
    up = (z - low) / (high - low).clamp(min=1e-3)
    repeat = [of(prisms.repeat[..., i]) for i in range(3)]
    top = torch.where(z > 0.5 * (low + high), 4.0, 5.0)
    face = torch.where(lid, top, face)
    endwise = face < 1.5
    u = torch.where(endwise, y * repeat[1], x * repeat[0])
    v = torch.where(lid, y * repeat[1], up * repeat[2])
    u = (torch.frac(u.clamp(0.0, 0.9999 * 1e3)) * TEXELS).to(torch.int64).clamp(0, TEXELS - 1)
    v = (torch.frac(v.clamp(0.0, 0.9999 * 1e3)) * TEXELS).to(torch.int64).clamp(0, TEXELS - 1)
    side = face.to(torch.int64)
    material = tables.atlas[((of(prisms.style) * 6 + side) * TEXELS + v) * TEXELS + u].to(torch.int64)
    paint = (at * COLOURS + material) * 4
    flat = scene.colour.reshape(-1)
    red, green, blue, shine = (flat[paint + i] for i in range(4))
    sky = torch.full_like(face, SHADES[0])
    for i, share in enumerate(SHADES):
        sky = torch.where(face == float(i), share, sky)
    sky = sky * (0.82 + 0.18 * up.clamp(0.0, 1.0))
    sun = scene.facing.reshape(-1)[at * 6 + side]
    return _Surface(red, green, blue, shine, sun, sky), depth, at


def _ground(
    tables: SceneryTables, weather: Weather, lens: Lens, map_id: Tensor, x: Tensor, y: Tensor, distance: Tensor
) -> tuple[_Surface, Tensor]:
    """The ground at world positions (N, W, H), distance (N, 1, H) m; and the material that makes up most of it (N, W, H) int64."""
    # texels as large as a pixel is wide, or a little larger where it is much longer than wide
    across, lengthwise = distance / _per(lens.focal), distance * distance / _per(lens.focal * lens.z)
    size = torch.maximum(across, 0.35 * torch.sqrt(across * lengthwise)) / _per(tables.step[map_id])
    level = torch.zeros_like(size, dtype=torch.int64)
    for i in range(1, LEVELS):
        level = level + (size > 0.75 * 2.0**i)
    at = map_id.view(-1, 1, 1) * LEVELS + level  # (N, 1, H)
    offset, columns, rows = (table.reshape(-1)[at] for table in (tables.offset, tables.columns, tables.rows))
    inverse = 1.0 / (_per(tables.step[map_id]) * torch.exp2(level.to(torch.float32)))
    corner = tables.corner[map_id]
    px = (x - _per(corner[:, 0])) * inverse - 0.5
    py = (y - _per(corner[:, 1])) * inverse - 0.5
    px = torch.minimum(px.clamp(min=0.0), (columns - 1).to(torch.float32))
    py = torch.minimum(py.clamp(min=0.0), (rows - 1).to(torch.float32))
    column, row = torch.floor(px), torch.floor(py)
    fx, fy = px - column, py - row
    column, row = column.to(torch.int64), row.to(torch.int64)
    right = torch.minimum(column + 1, columns - 1)
    here, above = offset + row * columns, offset + torch.minimum(row + 1, rows - 1) * columns
    shares = [torch.zeros_like(fx) for _ in range(6)]
    weights = ((1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy)
    for place, weight in zip((here + column, here + right, above + column, above + right), weights, strict=True):
        word = tables.texels[place]
        for i in range(5):
            shares[i] = shares[i] + weight * ((word >> (5 * i)) & 31).to(torch.float32)
        shares[5] = shares[5] + weight * ((word >> 25) & 127).to(torch.float32)
    shares = [share * (1.0 / 31.0) for share in shares[:5]] + [shares[5] * (1.0 / 127.0)]
    asphalt = 1.0 - (shares[0] + shares[1] + shares[2] + shares[3] + shares[4])
    palette = weather.ground[lens.world]  # (N, 6, 3)
    grain = 1.0 + (shares[5] - 0.5) * (0.30 + 0.9 * shares[1])
    wet = _per(weather.wet[lens.world])
    damp = 1.0 - 0.38 * wet
    colours = []
    for c in range(3):
        value = asphalt * _per(palette[:, 0, c])
        for i in range(5):
            value = value + shares[i] * _per(palette[:, 1 + i, c])
        colours.append(value * grain * damp)
    best, which = asphalt + shares[4], torch.full_like(at.expand_as(asphalt), SEMANTICS.index("road"))
    for share, name in ((shares[0], "marking"), (shares[1], "terrain"), (shares[2] + shares[3], "walkway")):
        which = torch.where(share > best, SEMANTICS.index(name), which)
        best = torch.maximum(best, share)
    ones = torch.ones_like(asphalt)
    up = weather.sun[lens.world, 2]
    return _Surface(colours[0], colours[1], colours[2], 0.0 * ones, ones * _per(up), ones), which


def _sky(weather: Weather, lens: Lens, slope: Tensor, below: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colour of the sky; hills at the horizon hide its foot. slope (N, W, 1), below (N, 1, H) px."""
    world = lens.world
    tangent = -below / _per(lens.focal)
    rise = tangent.clamp(0.0, 1.0)
    share = 1.0 - (1.0 - rise * 1.6).clamp(min=0.0) ** 2  # of the zenith's colour
    sun = weather.sun[world]
    ahead = sun[:, 0] * lens.cos + sun[:, 1] * lens.sin
    left = sun[:, 1] * lens.cos - sun[:, 0] * lens.sin
    length = torch.rsqrt(1.0 + slope * slope + tangent * tangent)
    towards = ((_per(ahead) + slope * _per(left) + tangent * _per(sun[:, 2])) * length).clamp(min=0.0)
    t2 = towards * towards
    t8 = t2 * t2 * t2 * t2
    t64 = t8 * t8 * t8 * t8 * t8 * t8 * t8 * t8
    glow = _per(weather.direct[world]) * (0.22 * t8 + 0.5 * t64 + torch.where(towards > 0.9992, 1.5, 0.0))
    # the skyline: a sum of four waves around the compass
    azimuth = torch.atan(slope) + _per(_angle(lens.cos, lens.sin))
    hills = weather.hills[world]
    line = torch.zeros_like(slope)
    for i, waves in enumerate((3.0, 7.0, 19.0, 53.0)):
        line = line + _per(hills[:, i]) * (0.6 + torch.sin(waves * azimuth + _per(hills[:, 4 + i])))
    hill = (tangent < line) & (line > 0.0)
    top, low = weather.sky_top[world], weather.sky_low[world]
    ambient, grass = weather.ambient[world], weather.ground[world, 2]
    haze = _per((weather.fog[world] * 700.0 + 0.35).clamp(max=1.0))
    out = []
    for c in range(3):
        air = _per(low[:, c]) + (_per(top[:, c]) - _per(low[:, c])) * share + glow * (1.0, 0.93, 0.75)[c]
        wood = _per(grass[:, c] * 0.55 * ambient[:, c])
        out.append(torch.where(hill, wood + (_per(low[:, c]) - wood) * haze, air))
    return out[0], out[1], out[2]


def _angle(cos: Tensor, sin: Tensor) -> Tensor:
    """Angle of (cos, sin), see `envs.driving.bank`."""
    half = torch.atan(sin / (torch.sqrt(cos * cos + sin * sin) + torch.abs(cos)).clamp(min=1e-6))
    return torch.where(cos >= 0.0, 2.0 * half, torch.where(sin >= 0.0, torch.pi, -torch.pi) - 2.0 * half)


def shade(
    scene: Scene, seen: Columns, prism: Tensor, slope: Tensor, below: Tensor, inverse: Tensor, map_id: Tensor, tables: SceneryTables,
    weather: Weather, config: CameraConfig,
) -> Pixels:  # fmt: skip
    """Every pixel before the sensor. slope (N, W), below and inverse (N, H) as `row_scale` gives them."""
    lens, world = scene.lens, scene.lens.world
    first, last = ground_spans(scene.shadow, lens, slope, config)
    slope, below, inverse = slope.unsqueeze(2), below.unsqueeze(1), inverse.unsqueeze(1)
    v = torch.arange(config.height, device=prism.device, dtype=torch.float32) + 0.5
    rise = -below / _per(lens.focal)
    thing, thing_depth, at = _faces(scene, seen, tables, prism, slope, rise, inverse)

    is_thing, is_ground = prism >= 0.0, below > 0.2
    flat = (_per(lens.focal * lens.z) * inverse).clamp(0.0, 4000.0)  # (N, 1, H) depth of the ground
    flat = torch.where(is_ground, flat, 4000.0)
    gx = _per(lens.x) + flat * (_per(lens.cos) - slope * _per(lens.sin))
    gy = _per(lens.y) + flat * (_per(lens.sin) + slope * _per(lens.cos))
    ground, material = _ground(tables, weather, lens, map_id, gx, gy, flat)
    depth = torch.where(is_thing, thing_depth, flat)

    # soft-edged shadows under bodies
    first, last = (value.transpose(1, 2).unsqueeze(3) for value in (first, last))
    edge = stored(torch.minimum(v - first, last - v).amax(2))  # px inside
    under = (0.5 + edge).clamp(0.0, 1.0)
    direct = _per(weather.direct[world])
    under = under * (0.42 + 0.35 * (direct * 2.0).clamp(max=1.0))

    left = depth * slope
    reach = 1.0 / (1.0 + (depth / BEAM) * (depth / BEAM))
    cone = (1.25 - torch.abs(left) / (1.6 + 0.42 * depth)).clamp(0.0, 1.0)
    beam = _per(weather.night[world]) * 1.05 * reach * cone * (0.35 + 0.65 * (depth * 0.25).clamp(max=1.0))

    sky = _sky(weather, lens, slope, below)
    air = 1.0 - torch.exp(-_per(weather.fog[world]) * depth)
    air = torch.where(is_thing, air, torch.maximum(air, ((depth - HAZE_FROM) / 900.0).clamp(0.0, 1.0)))
    ambient, haze = weather.ambient[world], weather.sky_low[world]
    wet = _per(weather.wet[world]) * (1.0 - (material == SEMANTICS.index("terrain")).to(torch.float32))
    mirror = wet * (0.10 + 0.5 * (1.0 - below / (0.6 * config.height)).clamp(0.0, 1.0) ** 2)
    shine = torch.where(is_thing, thing.shine, 0.0)
    sun = torch.where(is_thing, thing.sun, ground.sun * (1.0 - under)) * direct
    share = torch.where(is_thing, thing.sky, 1.0 - 0.7 * under)
    out = []
    for c in range(3):
        base = torch.where(is_thing, (thing.red, thing.green, thing.blue)[c], (ground.red, ground.green, ground.blue)[c])
        light = share * _per(ambient[:, c]) + sun * (1.06, 1.0, 0.88)[c] + beam * (1.0, 0.96, 0.84)[c]
        value = base * (light + (1.0 - light) * shine)
        value = torch.where(is_thing, value, value + (_per(haze[:, c]) * (1.0 - 0.6 * under) - value) * mirror)
        value = value + (_per(haze[:, c]) - value) * air * (1.0 - 0.6 * shine)
        out.append(torch.where(is_thing | is_ground, value, sky[c]))
    semantic = torch.where(is_thing, scene.prisms.semantic.reshape(-1)[at], torch.where(is_ground, material, 0))
    depth = torch.where(is_thing | is_ground, depth, torch.inf)
    return Pixels(out[0], out[1], out[2], depth, semantic)
