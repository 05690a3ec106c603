"""Weather, light, lens and mount of an episode, drawn from its seed.

Shapes: B worlds, C cameras. Colours are shares of full white, red, green, blue.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.camera.config import CONDITIONS, CameraConfig
from envs.driving.rng import normal, uniform

__all__ = ["Weather", "draw_weather"]

STREAM_WEATHER, STREAM_MOUNT = 3001, 3002  # of the counter-based generator
SHARES = (0.4, 0.18, 0.2, 0.22)  # of CONDITIONS, when any may come
# standard deviations of the true mount from the believed one: focal length (relative), horizon px, lens m, yaw rad
MOUNT_SIGMA = (0.004, 0.5, 0.015, 0.003)


class Weather(NamedTuple):
    """What the picture depends on besides the world; constant over an episode."""

    seed: Tensor  # (B,) int64, of paint and noise
    condition: Tensor  # (B,) int64, of CONDITIONS
    sun: Tensor  # (B, 3) unit vector towards the sun (at night: the moon), world frame
    direct: Tensor  # (B,) strength of the sun's light
    ambient: Tensor  # (B, 3) light of the sky
    sky_top: Tensor  # (B, 3)
    sky_low: Tensor  # (B, 3) at the horizon; the fog's colour too
    fog: Tensor  # (B,) 1/m, extinction
    rain: Tensor  # (B,) 0..1, streaks
    wet: Tensor  # (B,) 0..1, road
    night: Tensor  # (B,) 0 or 1: lamps are lit
    lamps: Tensor  # (B,) 0..1, vehicles show their lights (night, rain, fog)
    ground: Tensor  # (B, 6, 3) asphalt, paint, grass, walkway, kerb, lot
    hills: Tensor  # (B, 8) of the skyline: amplitudes rad and phases
    exposure: Tensor  # (B,)
    contrast: Tensor  # (B,)
    blur: Tensor  # (B,) 0..1
    noise: Tensor  # (B,) standard deviation of the sensor's noise
    mount: Tensor  # (B, C, 6) true minus believed: focal (relative), horizon px, x, y, z m, yaw rad


def draw_weather(seed: Tensor, config: CameraConfig) -> Weather:
    """The weather of worlds with `seed` (B,) int64; row b depends on seed b alone."""
    seed = seed.to(torch.int64)
    index = torch.arange(48, device=seed.device)
    u = uniform(seed.unsqueeze(1), torch.zeros_like(seed).unsqueeze(1), STREAM_WEATHER, index)  # (B, 48)

    def span(i: int, low: float | Tensor, high: float | Tensor) -> Tensor:
        return low + u[:, i] * (high - low)

    if config.weather == "any":
        edges = torch.tensor(SHARES, device=seed.device).cumsum(0)[:-1]
        condition = (u[:, :1] >= edges).sum(1)
    else:
        condition = torch.full_like(seed, CONDITIONS.index(config.weather))
    foggy, rainy, dark = (condition == CONDITIONS.index(name) for name in ("fog", "rain", "night"))
    overcast = torch.where(foggy | rainy, span(1, 0.75, 1.0), torch.where(u[:, 1] < 0.3, span(2, 0.3, 1.0), span(2, 0.0, 0.25)))
    night = dark.to(torch.float32)

    azimuth, height = span(3, -torch.pi, torch.pi), span(4, 0.25, 1.2)
    flat = torch.cos(height)
    sun = torch.stack([flat * torch.cos(azimuth), flat * torch.sin(azimuth), torch.sin(height)], dim=-1)
    warm = (1.0 - height / 1.2).unsqueeze(1) * (1.0 - overcast).unsqueeze(1)  # a low sun is yellow
    grey = span(5, 0.62, 0.85).unsqueeze(1) * torch.ones_like(sun)
    blue_top = torch.stack([span(6, 0.20, 0.38), span(7, 0.42, 0.58), span(8, 0.78, 0.95)], dim=-1)
    blue_low = torch.stack([span(9, 0.68, 0.85), span(9, 0.76, 0.88), span(9, 0.86, 0.96)], dim=-1)
    mix = overcast.unsqueeze(1)
    gold = u.new_tensor([0.10, 0.0, -0.14])
    sky_top = blue_top + (grey * 0.92 - blue_top) * mix
    sky_low = blue_low + (grey - blue_low) * mix + gold * warm
    glow = span(10, 0.0, 0.07).unsqueeze(1) * u.new_tensor([1.0, 0.75, 0.5])  # of a town on the horizon
    is_dark = dark.unsqueeze(1)
    sky_top = torch.where(is_dark, u.new_tensor([0.012, 0.016, 0.035]) + 0.02 * u[:, 11:12], sky_top)
    sky_low = torch.where(is_dark, u.new_tensor([0.03, 0.035, 0.06]) + glow, sky_low)

    direct = torch.where(dark, span(12, 0.01, 0.05), span(12, 0.35, 0.6) * (1.0 - 0.9 * overcast))
    ambient = torch.where(dark, span(13, 0.09, 0.17), span(13, 0.42, 0.56) + 0.22 * overcast).unsqueeze(1)
    ambient = ambient * torch.where(is_dark, u.new_tensor([0.85, 0.92, 1.15]), u.new_tensor([0.98, 1.0, 1.03]))

    haze = torch.where(rainy, span(14, 0.004, 0.016), torch.where(dark, span(14, 0.001, 0.006), span(14, 0.0006, 0.003)))
    fog = torch.where(foggy, span(15, 0.018, 0.060), haze)

    shade = span(16, 0.26, 0.46)
    asphalt = torch.stack([shade * span(17, 0.97, 1.04), shade, shade * span(18, 0.97, 1.08)], dim=-1)
    white = span(19, 0.80, 0.98)
    paint = torch.stack([white, white * span(20, 0.94, 1.0), white * span(21, 0.82, 1.0)], dim=-1)
    grass = torch.stack([span(22, 0.22, 0.48), span(23, 0.36, 0.50), span(24, 0.12, 0.26)], dim=-1)
    stone = span(25, 0.52, 0.70)
    walkway = torch.stack([stone * span(26, 1.0, 1.08), stone, stone * span(27, 0.86, 1.0)], dim=-1)
    kerb = walkway * span(28, 0.95, 1.2).unsqueeze(1)
    lot = asphalt * span(29, 0.86, 1.2).unsqueeze(1)
    ground = torch.stack([asphalt, paint, grass, walkway, kerb, lot], dim=1).clamp(0.0, 1.0)

    size = torch.where(u[:, 30] < 0.25, 0.2, 1.0).unsqueeze(1)  # a quarter of the places are nearly flat
    hills = torch.cat([size * u[:, 31:35] * u.new_tensor([0.035, 0.022, 0.012, 0.007]), u[:, 35:39] * (2.0 * torch.pi)], dim=-1)

    drops = torch.where(rainy, span(39, 0.35, 1.0), 0.0)
    exposure = torch.where(dark, span(40, 1.0, 1.5), span(40, 0.82, 1.16))
    contrast = torch.where(rainy | foggy, span(41, 0.82, 1.0), span(41, 0.94, 1.12))
    noise = config.noise * torch.where(dark, span(42, 0.012, 0.035), span(42, 0.004, 0.018))
    lamps = torch.maximum(night, torch.where((rainy | foggy) & (u[:, 43] < 0.8), 0.85, torch.where(u[:, 43] < 0.35, 0.6, 0.0)))
    return Weather(
        seed=seed,
        condition=condition,
        sun=sun,
        direct=direct,
        ambient=ambient,
        sky_top=sky_top,
        sky_low=sky_low,
        fog=fog,
        rain=drops,
        wet=torch.where(rainy, span(44, 0.5, 1.0), torch.where(dark & (u[:, 44] < 0.25), 0.6, 0.0)),
        night=night,
        lamps=lamps,
        ground=ground,
        hills=hills,
        exposure=exposure,
        contrast=contrast,
        blur=(config.blur * span(45, 0.05, 0.75)).clamp(0.0, 1.0),
        noise=noise,
        mount=_mount(seed, config),
    )


def _mount(seed: Tensor, config: CameraConfig) -> Tensor:
    """(B, C, 6); no error is larger than 2.5 standard deviations."""
    cameras = len(config.cameras)
    index = torch.arange(6 * cameras, device=seed.device)
    draw = normal(seed.unsqueeze(1), torch.zeros_like(seed).unsqueeze(1), STREAM_MOUNT, index).clamp(-2.5, 2.5)
    focal, horizon, lens, yaw = MOUNT_SIGMA
    sigma = draw.new_tensor([focal, horizon * config.height / 96.0, lens, lens, lens, yaw])
    return config.jitter * draw.view(-1, cameras, 6) * sigma
