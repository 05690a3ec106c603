"""The driving camera: pictures of B worlds at once, as uint8 images and as `SensorFrame`s.

    tables = build_scenery(bank.networks, camera)
    weather = draw_weather(setup.seed, camera)              # once per episode
    rendered = render(state, setup, maps, tables, weather, camera)
    frame = sensor_frame(rendered.image, state, setup, camera)

Shapes: B worlds, C cameras, N = B C images, W x H pixels, P prisms. Pure functions of their arguments; they run on any device, under
`torch.compile(fullgraph=True)`, and give every world the same bits in any batch.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from envs.driving.camera.cast import Columns, column_slope, columns, nearest, row_scale
from envs.driving.camera.config import MOUNTS, CameraConfig
from envs.driving.camera.portions import filled, own_rows, size_for, those
from envs.driving.camera.scene import Scene, build_scene
from envs.driving.camera.scenery import GRAIN, SceneryTables
from envs.driving.camera.shade import Pixels, shade
from envs.driving.camera.weather import Weather
from envs.driving.collision import stored
from envs.driving.dynamics import yaw_rate
from envs.driving.rng import scrambled
from envs.driving.types import Maps, Setup, State
from perception.types import Camera, SensorFrame

__all__ = ["Rendered", "believed_camera", "compiled_render", "render", "sensor_frame"]

STREAM_NOISE, STREAM_RAIN = 3005, 3006  # of random numbers


class Rendered(NamedTuple):
    """Pictures, and what labels are made from."""

    image: Tensor  # (B, C, 3, H, W) uint8 RGB
    scene: Scene
    seen: Columns
    prism: Tensor  # (N, W, H) float32, index of the prism seen, -1: none
    depth: Tensor  # (N, W, H) m along the optical axis, +inf: sky
    semantic: Tensor  # (N, W, H) int32, of SEMANTICS


def believed_camera(batch: int, config: CameraConfig, device: str | torch.device = "cpu") -> Camera:
    """The cameras as calibration says they are mounted, (B, C)."""
    shape = (batch, len(config.cameras))

    def same(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device).expand(shape).contiguous()

    mounts = [MOUNTS[name] for name in config.cameras]
    every = len(mounts)
    return Camera(
        focal=same([config.focal] * every),
        cu=same([0.5 * config.width] * every),
        cv=same([config.horizon * config.height] * every),
        x=same([mount[0] for mount in mounts]),
        y=same([mount[1] for mount in mounts]),
        z=same([config.mount_height] * every),
        yaw=same([mount[2] for mount in mounts]),
    )


def render(
    state: State,
    setup: Setup,
    maps: Maps,
    tables: SceneryTables,
    weather: Weather,
    config: CameraConfig,
    *,
    viewer: Tensor | None = None,
    dt: float = 0.1,
) -> Rendered:
    """Pictures of what the cameras of one agent in each world see.

    viewer (B,) int64: the agent that carries them, itself not drawn; None: slot 0, the ego. dt: tick in s.
    """
    if viewer is None:
        viewer = torch.zeros_like(setup.map_id)
    seen = _seen(state, setup, maps, tables, weather, viewer, config, dt)
    return _drawn(seen, state, setup, tables, config, _pixels, _sensor)


class _Seen(NamedTuple):
    """What is where on the image."""

    scene: Scene
    columns: Columns
    prism: Tensor  # (N, W, H)
    look: Weather  # (N, ...) of each image's world


def _seen(
    state: State, setup: Setup, maps: Maps, tables: SceneryTables, weather: Weather, viewer: Tensor, config: CameraConfig, dt: float
) -> _Seen:
    scene = build_scene(state, setup, maps, tables, weather, config, viewer, dt)
    lens = scene.lens
    seen = columns(scene.prisms, lens, column_slope(lens, config), config)
    prism = nearest(seen, row_scale(lens, config)[1], config)
    return _Seen(scene, seen, prism, Weather(*(stored(value[lens.world]) for value in weather)))


def _pixels(seen: _Seen, map_id: Tensor, tables: SceneryTables, config: CameraConfig) -> Pixels:
    lens = seen.scene.lens
    below, inverse = row_scale(lens, config)
    slope = column_slope(lens, config)
    return shade(seen.scene, seen.columns, seen.prism, slope, below, inverse, map_id[lens.world], tables, seen.look, config)


def _drawn(
    seen: _Seen,
    state: State,
    setup: Setup,
    tables: SceneryTables,
    config: CameraConfig,
    pixels_of: Callable[..., Pixels],
    sensor: Callable[..., Tensor],
) -> Rendered:
    pixels = pixels_of(seen, setup.map_id, tables, config)
    image = sensor(pixels, state.step[seen.scene.lens.world], tables, seen.look, config)
    shape = (state.x.shape[0], len(config.cameras), 3, config.height, config.width)
    return Rendered(image.view(shape), seen.scene, seen.columns, seen.prism, pixels.depth, pixels.semantic)


def _sensor(pixels: Pixels, step: Tensor, tables: SceneryTables, weather: Weather, config: CameraConfig) -> Tensor:
    """(N, 3, H, W) uint8: rain, lens, exposure and noise. step (N,), weather (N, ...) by image."""
    n, w, h = pixels.red.shape
    column = torch.arange(w, device=step.device)
    row = torch.arange(h, device=step.device, dtype=torch.float32)
    own = scrambled(weather.seed ^ (weather.seed >> 32)) + scrambled(step + STREAM_NOISE)  # of each image
    place = own.unsqueeze(1) + (torch.arange(n, device=step.device).unsqueeze(1) % len(config.cameras)) * w + column
    start = stored(scrambled(place))  # (N, W) where each column begins in the table of noise
    drop, speed = stored(scrambled(start ^ STREAM_RAIN)), stored(scrambled(start + STREAM_RAIN))
    rain = weather.rain.view(-1, 1)
    # streaks: in some columns, a bright piece
    begin = (drop % 256).to(torch.float32) * (h * 1.2 / 256.0) - 0.2 * h
    length = ((drop >> 8) % 64).to(torch.float32) * (h * 0.3 / 64.0) + 3.0
    there = ((speed >> 4) % 256).to(torch.float32) < rain * 80.0
    begin, end = stored(begin).unsqueeze(2), stored(torch.where(there, begin + length, -1.0)).unsqueeze(2)
    streak = torch.where((row > begin) & (row < end), _per(stored(weather.rain * 0.16)), 0.0)
    gain = _per(stored(weather.exposure * weather.contrast))
    lift = _per(stored(0.5 * (1.0 - weather.contrast) * (1.0 - weather.night)))
    grain = stored(torch.cat([tables.grain, tables.grain[:h]])).unfold(0, h, 1)  # (GRAIN + 1, H): a column of noise from every place on
    channels = []
    for c, raw in enumerate((pixels.red, pixels.green, pixels.blue)):
        soft = _blurred(raw, _per(stored(weather.blur * 0.8)))
        value = soft + (0.85 - soft) * streak
        begins = stored((start >> (8 * c)) & (GRAIN - 1))
        value = value * gain + lift + grain[begins] * _per(weather.noise)
        channels.append((value.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8).transpose(1, 2))
    return torch.stack(channels, dim=1)


def _per(value: Tensor) -> Tensor:
    """(N,) beside (N, W, H)."""
    return value.view(-1, 1, 1)


def _blurred(raw: Tensor, share: Tensor) -> Tensor:
    """Mixed with the mean of itself and its four neighbours; edges repeat."""
    w, h = raw.shape[1:]
    column, row = torch.arange(w, device=raw.device), torch.arange(h, device=raw.device)
    around = raw[:, (column - 1).clamp(min=0)] + raw[:, (column + 1).clamp(max=w - 1)]
    above, beneath = torch.nn.functional.pad(raw, (1, -1)), torch.nn.functional.pad(raw, (-1, 1))
    around = around + torch.where(row > 0, above, raw) + torch.where(row < h - 1, beneath, raw)
    return raw + (around * 0.25 - raw) * share


@cache
def compiled_render(config: CameraConfig, dt: float, size: int | None = None) -> Callable[..., Rendered]:
    """`render` under torch.compile, for one configuration: call it with (state, setup, maps, tables, weather, viewer) of a portion.

    size: worlds for which it makes a program, fewer being filled up to it; None: as many of `portions.SIZES` as hold those of a call.
    What it draws of a world is the same to the last bit whatever worlds and maps are beside it, and for every size.
    """
    torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)  # one entry per number of agents
    torch._inductor.config.assert_indirect_indexing = False  # indices come from our own tables; the checks forbid vectorising

    _keep_memory()

    def compiled(function: Callable[..., Any]) -> Any:
        return torch.compile(function, fullgraph=True, dynamic=False)

    # three programs: one is longer in compiling than they are together
    seen_of, pixels_of, sensor = compiled(_seen), compiled(_pixels), compiled(_sensor)

    def rendered(state: State, setup: Setup, maps: Maps, tables: SceneryTables, weather: Weather, viewer: Tensor) -> Rendered:
        worlds = len(viewer)
        state, setup, weather, viewer = filled(state, setup, weather, viewer, size or size_for(worlds, viewer.device))
        maps, tables = own_rows(setup.map_id, maps, tables)
        setup = setup._replace(map_id=torch.arange(len(viewer), device=viewer.device))
        torch._dynamo.mark_dynamic(tables.texels, 0)  # other maps, the same program
        seen = seen_of(state, setup, maps, tables, weather, viewer, config, dt)
        drawn = _drawn(seen, state, setup, tables, config, pixels_of, sensor)
        rest = those(drawn._replace(image=drawn.prism), len(drawn.prism), slice(worlds * len(config.cameras)))
        return rest._replace(image=drawn.image[:worlds])

    return rendered


def _keep_memory() -> None:
    """Have glibc keep freed memory: else the buffers of every call go back and come anew page by page, which takes a third of the time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # of malloc.h
        mallopt(mmap_threshold, 32 << 20)  # bytes; glibc takes no more
        mallopt(trim_threshold, 1 << 30)


def sensor_frame(
    image: Tensor,
    state: State,
    setup: Setup,
    config: CameraConfig,
    *,
    previous: State | None = None,
    viewer: Tensor | None = None,
    dt: float = 0.1,
) -> SensorFrame:
    """What the sensors of the viewer deliver: `image` (B, C, 3, H, W) as rendered, and how the viewer moves.

    previous: the state at the frame before; None, or a world begun since: no motion.
    """
    at = (torch.zeros_like(setup.map_id) if viewer is None else viewer).unsqueeze(1)

    def of(value: Tensor) -> Tensor:
        return value.gather(1, at).squeeze(1)

    speed = of(state.speed)
    if previous is None:
        motion = torch.zeros(speed.shape[0], 3, device=speed.device)
    else:
        dx, dy, yaw = of(state.x) - of(previous.x), of(state.y) - of(previous.y), of(previous.yaw)
        turn = of(state.yaw) - yaw
        turn = turn - 2.0 * torch.pi * torch.round(turn / (2.0 * torch.pi))
        cos, sin = torch.cos(yaw), torch.sin(yaw)
        motion = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin, turn], dim=-1)
        motion = torch.where((state.step > previous.step).unsqueeze(1), motion, 0.0)
    return SensorFrame(
        image=image,
        camera=believed_camera(speed.shape[0], config, speed.device),
        time=state.step.to(torch.float32) * dt,
        speed=speed,
        yaw_rate=yaw_rate(speed, of(state.steer), of(setup.wheelbase)),
        motion=motion,
    )
