"""The driving camera: pictures of B worlds at once, as uint8 images and as `SensorFrame`s.

    tables = build_scenery(bank.networks, camera)
    weather = draw_weather(setup.seed, camera)              # once per episode
    rendered = render(state, setup, maps, tables, weather, camera)
    frame = sensor_frame(rendered, state, previous, setup, dt)

Shapes: B worlds, C cameras, N = B C images, W x H pixels, P prisms. Pure functions of their arguments; they run on any device, under
`torch.compile(fullgraph=True)`, and give every world the same bits in any batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from envs.driving.camera.cast import Columns, column_slope, columns, nearest, row_scale
from envs.driving.camera.config import MOUNTS, CameraConfig
from envs.driving.camera.scene import Scene, build_scene
from envs.driving.camera.scenery import GRAIN, SceneryTables
from envs.driving.camera.shade import Pixels, shade
from envs.driving.camera.weather import Weather
from envs.driving.dynamics import yaw_rate
from envs.driving.rng import bits
from envs.driving.types import Maps, Setup, State
from perception.types import Camera, SensorFrame

__all__ = ["Rendered", "believed_camera", "compiled_render", "render", "sensor_frame"]

STREAM_NOISE, STREAM_RAIN = 3005, 3006  # of the counter-based generator


class Rendered(NamedTuple):
    """Pictures, and what labels are made from."""

    image: Tensor  # (B, C, 3, H, W) uint8 RGB
    scene: Scene
    seen: Columns
    prism: Tensor  # (N, W, H) float32, index of the prism seen, -1: none
    depth: Tensor  # (N, W, H) m along the optical axis, +inf: sky
    semantic: Tensor  # (N, W, H) int64


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
    scene = build_scene(state, setup, maps, tables, weather, config, viewer, dt)
    lens = scene.lens
    slope = column_slope(lens, config)
    below, inverse = row_scale(lens, config)
    seen = columns(scene.prisms, lens, slope, config)
    prism = nearest(seen, inverse, config)
    pixels = shade(scene, seen, prism, slope, below, inverse, setup.map_id[lens.world], tables, weather, config)
    image = _sensor(pixels, state.step, tables, weather, lens.world, config)
    shape = (state.x.shape[0], len(config.cameras), 3, config.height, config.width)
    return Rendered(image.view(shape), scene, seen, prism, pixels.depth, pixels.semantic)


def _sensor(pixels: Pixels, step: Tensor, tables: SceneryTables, weather: Weather, world: Tensor, config: CameraConfig) -> Tensor:
    """(N, 3, H, W) uint8: rain, lens, exposure and noise."""
    n, w, h = pixels.red.shape
    column = torch.arange(w, device=step.device)
    row = torch.arange(h, device=step.device)
    seed, tick = weather.seed[world].unsqueeze(1), step[world].unsqueeze(1)
    camera = torch.arange(n, device=step.device).unsqueeze(1) % len(config.cameras) * w
    start, coarse = bits(seed, tick, STREAM_NOISE, camera + column)  # (N, W) where each column begins in the table of noise
    drop, speed = bits(seed, tick, STREAM_RAIN, camera + column)
    rain, blur = weather.rain[world].view(-1, 1, 1), weather.blur[world].view(-1, 1, 1)
    # streaks: in some columns, a bright piece
    begin = (drop % 256).unsqueeze(2).to(torch.float32) * (h * 1.2 / 256.0) - 0.2 * h
    length = ((drop >> 8) % 64).unsqueeze(2).to(torch.float32) * (h * 0.3 / 64.0) + 3.0
    there = ((speed >> 4) % 256).unsqueeze(2).to(torch.float32) < rain * 80.0
    v = row.to(torch.float32)
    streak = torch.where(there & (v > begin) & (v < begin + length), rain * 0.16, 0.0)
    gain = (weather.exposure * weather.contrast)[world].view(-1, 1, 1)
    lift = 0.5 * (1.0 - weather.contrast)[world].view(-1, 1, 1) * (1.0 - weather.night[world].view(-1, 1, 1))
    sigma = weather.noise[world].view(-1, 1, 1)
    channels = []
    for c, raw in enumerate((pixels.red, pixels.green, pixels.blue)):
        soft = _blurred(raw, blur)
        value = soft + (0.85 - soft) * streak
        index = ((start if c != 1 else coarse) >> (7 * (c // 2))).unsqueeze(2) + row  # (N, W, H)
        noise = tables.grain[index & (GRAIN - 1)]
        value = value * gain + lift + noise * sigma
        channels.append((value.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8).transpose(1, 2))
    return torch.stack(channels, dim=1)


def _blurred(raw: Tensor, share: Tensor) -> Tensor:
    """Mixed with the mean of itself and its four neighbours; edges repeat."""
    wide = torch.cat([raw[:, :1], raw, raw[:, -1:]], dim=1)
    high = torch.cat([raw[..., :1], raw, raw[..., -1:]], dim=2)
    around = wide[:, :-2] + wide[:, 2:] + high[..., :-2] + high[..., 2:]
    return raw + (around * 0.25 - raw) * (share * 0.8)


@cache
def compiled_render(config: CameraConfig, dt: float) -> Callable[..., Rendered]:
    """`render` under torch.compile, for one configuration: call it with (state, setup, maps, tables, weather, viewer)."""
    torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)  # one entry per batch size and bank
    torch._inductor.config.assert_indirect_indexing = False  # indices come from our own tables; the checks forbid vectorising

    def bound(state: State, setup: Setup, maps: Maps, tables: SceneryTables, weather: Weather, viewer: Tensor) -> Rendered:
        return render(state, setup, maps, tables, weather, config, viewer=viewer, dt=dt)

    compiled: Any = torch.compile(bound, fullgraph=True, dynamic=False)
    return compiled  # type: ignore[no-any-return]


def sensor_frame(
    rendered: Rendered,
    state: State,
    setup: Setup,
    config: CameraConfig,
    *,
    previous: State | None = None,
    viewer: Tensor | None = None,
    dt: float = 0.1,
) -> SensorFrame:
    """What the sensors of the viewer deliver. previous: the state at the frame before; None, or a world begun since: no motion."""
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
        image=rendered.image,
        camera=believed_camera(speed.shape[0], config, speed.device),
        time=state.step.to(torch.float32) * dt,
        speed=speed,
        yaw_rate=yaw_rate(speed, of(state.steer), of(setup.wheelbase)),
        motion=motion,
    )
