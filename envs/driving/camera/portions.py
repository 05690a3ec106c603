"""Worlds in portions of few sizes, with rows of the tables that are theirs alone: what compiled programs draw.

torch.compile makes a program of its own for every size of its arguments. It takes long, and each is one more that must round as the others
do. So there are programs for SIZES worlds only, and fewer worlds are filled up; nor do the maps of a bank show in a program: each world
brings its own rows of every table, filled up to ROOM.

Shapes: B worlds, M maps, C cameras, N = B C images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from envs.driving.camera.scenery import SceneryTables
from envs.driving.camera.weather import Weather
from envs.driving.types import Maps, Setup, State

__all__ = ["ROOM", "SIZES", "filled", "own_rows", "portions", "size_for", "those"]

T = TypeVar("T")
SIZES = {"cpu": (1, 8, 32), "cuda": (1, 16, 256)}  # worlds drawn at once; of 32, what belongs to their pixels stays in a CPU's caches
# rows of a map's tables; a map with more of them gets the next power of two, and with it a program of its own
ROOM = {"statics": 64, "heads": 32, "signs": 16, "light": 16}
ABSENT = {"statics": 0.0, "heads": -1.0, "signs": 0.0}  # what a row without anything holds, see `SceneryTables`


def size_for(batch: int, device: torch.device | str) -> int:
    """The smallest size that holds `batch` worlds, or the largest there is."""
    sizes = SIZES.get(torch.device(device).type, SIZES["cuda"])
    return next((size for size in sizes if batch <= size), sizes[-1])


def portions(
    state: State, setup: Setup, weather: Weather, viewer: Tensor, size: int | None = None
) -> Iterator[tuple[State, Setup, Weather, Tensor]]:
    """The same worlds, `size` (None: as many as fit best) at a time, and at last those that are left."""
    batch, size = len(viewer), size or size_for(len(viewer), viewer.device)
    for first in range(0, batch, size):
        part = slice(first, first + size)
        yield those(state, batch, part), those(setup, batch, part), those(weather, batch, part), viewer[part]


def filled(state: State, setup: Setup, weather: Weather, viewer: Tensor, size: int) -> tuple[State, Setup, Weather, Tensor]:
    """`size` worlds: the given ones, then the first of them again. Raises ValueError for more than that, or none."""
    batch = len(viewer)
    if not 1 <= batch <= size:
        raise ValueError(f"{batch} worlds: from 1 to {size} are drawn at once, see `portions`")
    rows = torch.nn.functional.pad(torch.arange(batch, device=viewer.device), (0, size - batch))
    return those(state, batch, rows), those(setup, batch, rows), those(weather, batch, rows), viewer[rows]


def those(value: T, batch: int, rows: Tensor | slice) -> T:
    """`rows` of every tensor (batch, ...) in a named tuple; others as they are."""

    def pick(part: Any) -> Any:
        if isinstance(part, tuple):
            return type(part)(*map(pick, part))
        return part[rows] if part.shape[:1] == (batch,) else part

    picked: T = pick(value)
    return picked


def own_rows(map_id: Tensor, maps: Maps, tables: SceneryTables) -> tuple[Maps, SceneryTables]:
    """Tables in which map b is that of world b, (B, ROOM, ...) instead of (M, ., ...). Of the maps only what is drawn: their lights."""
    blank = map_id.new_zeros(1)
    lights = {name: _roomy(value[map_id], ROOM["light"]) for name, value in maps._asdict().items() if name.startswith("light_")}
    drawn = {name: getattr(tables, name)[map_id] for name in ("offset", "columns", "rows", "corner", "step")}
    drawn |= {name: _roomy(getattr(tables, name)[map_id], ROOM[name], absent) for name, absent in ABSENT.items()}
    return Maps(**{name: lights.get(name, blank) for name in Maps._fields}), tables._replace(**drawn)


def _roomy(table: Tensor, room: int, value: float = 0.0) -> Tensor:
    """(B, S, ...) with `room` rows, or as many of its doubles as are needed."""
    while room < table.shape[1]:
        room *= 2
    return torch.nn.functional.pad(table, (*(0, 0) * (table.dim() - 2), 0, room - table.shape[1]), value=value)
