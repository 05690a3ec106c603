"""Upright boxes before the lens, and what is common to all that is built of them.

Shapes: B worlds, C cameras, N = B C images (image b C + c), A agents, K road users drawn, P prisms of an image.
Camera axes: x forward (depth), y left, on the ground below the lens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.driving.camera.atlas import MATERIALS
from envs.driving.camera.config import MOUNTS, CameraConfig
from envs.driving.camera.exact import cos_sin
from envs.driving.camera.weather import Weather
from envs.driving.collision import stored
from envs.driving.types import State

__all__ = [
    "COLOURS", "Group", "Lens", "Prisms", "common_palette", "in_view", "join", "lens_of", "nearest_few", "placed", "recoloured",
    "rows_of", "same_prism", "to_camera",
]  # fmt: skip

COLOURS = len(MATERIALS)


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


Group = tuple[Prisms, Tensor]  # prisms and their colours (N, ., 16, 4): red, green, blue, and how much shines by itself, by material


def lens_of(state: State, weather: Weather, config: CameraConfig, viewer: Tensor) -> Lens:
    """The cameras of the agents `viewer` (B,) int64 of each world."""
    batch, cameras = state.x.shape[0], len(config.cameras)
    at = viewer.unsqueeze(1)
    x, y, yaw = (value.gather(1, at) for value in (state.x, state.y, state.yaw))  # (B, 1)
    mounts = [MOUNTS[name] for name in config.cameras]
    error = weather.mount  # (B, C, 6)
    ahead, left, turn = (x.new_tensor([mount[i] for mount in mounts]) for i in range(3))
    dx, dy = ahead + error[..., 2], left + error[..., 3]
    cos, sin = map(stored, cos_sin(yaw))
    axis = cos_sin(yaw + turn + error[..., 5])

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
        cos=flat(axis[0]),
        sin=flat(axis[1]),
    )


def to_camera(lens: Lens, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    dx, dy = x - lens.x.unsqueeze(1), y - lens.y.unsqueeze(1)
    cos, sin = lens.cos.unsqueeze(1), lens.sin.unsqueeze(1)
    return dx * cos + dy * sin, dy * cos - dx * sin


def in_view(lens: Lens, config: CameraConfig, x: Tensor, y: Tensor, radius: Tensor, far: float) -> tuple[Tensor, Tensor]:
    """Depth of the near side and whether a disc (N, .) in camera axes meets the field of view."""
    slope = 0.5 * config.width / lens.focal.unsqueeze(1)  # tangent of half the field of view
    near = x - radius
    reach = torch.sqrt(1.0 + slope * slope) * radius
    return near, (x + radius > config.near) & (near < far) & (torch.abs(y) - reach < slope * x)


def nearest_few(distance: Tensor, seen: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices (N, count) of the nearest that are seen, and whether there are so many."""
    missing = count - distance.shape[1]
    if missing > 0:
        distance = torch.nn.functional.pad(distance, (0, missing))
        seen = torch.nn.functional.pad(seen, (0, missing))
    far, index = torch.sort(torch.where(seen, distance, torch.inf), dim=1, stable=True)
    index = index[:, :count]
    return torch.where(far[:, :count] < torch.inf, index, 0), far[:, :count] < torch.inf


def rows_of(table: Tensor, index: Tensor) -> Tensor:
    """Rows (N, count, F) of (N, S, F)."""
    if table.shape[1] < index.shape[1]:
        table = torch.nn.functional.pad(table, (0, 0, 0, index.shape[1] - table.shape[1]))
    return stored(table.gather(1, index.unsqueeze(-1).expand(-1, -1, table.shape[2])))


def placed(lens: Lens, table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, cos, sin in camera axes of rows (N, S, ...) that begin with x, y, yaw in the world."""
    x, y = to_camera(lens, table[..., 0], table[..., 1])
    wc, ws = map(stored, cos_sin(table[..., 2]))
    cos, sin = lens.cos.unsqueeze(1), lens.sin.unsqueeze(1)
    return x, y, wc * cos + ws * sin, ws * cos - wc * sin


def same_prism(like: Tensor, **fields: Tensor | float | int) -> Prisms:
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


def join(first: Prisms, second: Prisms) -> Prisms:
    return Prisms(*(torch.cat(pair, dim=1) for pair in zip(first, second, strict=True)))


def common_palette(like: Tensor) -> Tensor:
    """(N, ..., 16, 4) the colours that most things share; like (N, ...)."""
    base = [
        (0.5, 0.5, 0.5), (0.4, 0.4, 0.4), (0.10, 0.12, 0.15), (0.05, 0.05, 0.055), (0.55, 0.56, 0.58), (0.80, 0.82, 0.80),
        (0.42, 0.05, 0.05), (0.55, 0.28, 0.05), (0.55, 0.28, 0.05), (0.88, 0.88, 0.86), (0.78, 0.58, 0.46),
        (0.3, 0.3, 0.3), (0.10, 0.12, 0.15),
        (0.72, 0.08, 0.08), (0.95, 0.72, 0.10), (0.10, 0.55, 0.25),
    ]  # fmt: skip
    colours = like.new_tensor([(*c, 0.0) for c in base])
    return colours.expand(*like.shape, COLOURS, 4)


def recoloured(palette: Tensor, material: int, rgb: Tensor, shine: Tensor) -> Tensor:
    """The palette with one material changed; rgb (..., 3), shine (...)."""
    which = torch.arange(COLOURS, device=palette.device).unsqueeze(1) == material  # (16, 1)
    new = torch.cat([rgb, shine.unsqueeze(-1)], dim=-1).unsqueeze(-2)
    return torch.where(which, new, palette)
