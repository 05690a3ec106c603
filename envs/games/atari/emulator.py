"""One emulated console that plays all games of a batch in turn: to load a game costs some thousand times as much as to change places.

`ale-py` (GPL-2.0-only) is the extra `atari`. It is imported where a console is made and nowhere else. Its own chance is switched off: what
is random is drawn by `worlds` from the episode's seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from envs.games.atari.types import Bytes

__all__ = ["Consoles", "load_ale"]


def load_ale() -> ModuleType:
    """`ale_py`, without its banner. Raises ModuleNotFoundError that says what to install."""
    try:
        import ale_py
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ale_py":
            raise
        raise ModuleNotFoundError("Atari games need ale-py: pip install 'closedloop[atari]'", name="ale_py") from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    module: ModuleType = ale_py
    return module


class Consoles:
    """`batch` consoles with the cartridge `game`, as they are after being switched on. buttons: names of the actions."""

    def __init__(self, batch: int, game: str, buttons: Sequence[str]) -> None:
        self._module = load_ale()
        self._ale: Any = self._module.ALEInterface()
        self._ale.setInt("random_seed", 1)  # of what the memory holds when the console is switched on: always the same
        self._ale.setFloat("repeat_action_probability", 0.0)
        self._ale.loadROM(self._module.roms.get_rom_path(game))
        self._ale.reset_game()
        self._buttons = [getattr(self._module.Action, name) for name in buttons]
        self._first = self._ale.cloneState()
        self._states: list[Any] = [self._first] * batch
        self._screens: list[Bytes] = [np.asarray(self._ale.getScreenRGB(), dtype=np.uint8)] * batch
        self._at = 0  # whose game the emulator holds; its entries above are out of date
        self._drawn = False  # the emulator's screen is this game's: a state brings none, the next frame draws it

    def _keep(self) -> None:
        """Bring the entries of the game that the emulator holds up to date."""
        self._states[self._at] = self._ale.cloneState()
        if self._drawn:
            self._screens[self._at] = np.asarray(self._ale.getScreenRGB(), dtype=np.uint8)

    def _take(self, world: int) -> Any:
        """The emulator with the game of `world`."""
        if world != self._at:
            self._keep()
            self._ale.restoreState(self._states[world])
            self._at, self._drawn = world, False
        return self._ale

    def start(self, world: int) -> None:
        """Switch it off and on; the next frame draws its screen."""
        self._take(world).restoreState(self._first)

    def frame(self, world: int, button: int) -> float:
        """One frame with an action; the points that it brings."""
        points = float(self._take(world).act(self._buttons[button]))
        self._drawn = True
        return points

    def over(self, world: int) -> bool:
        """Whether the game has ended."""
        return bool(self._take(world).game_over(with_truncation=False))

    def lives(self, world: int) -> int:
        """Left; 0 in games without."""
        return int(self._take(world).lives())

    def ram(self, world: int) -> Bytes:
        """(128,)"""
        return np.asarray(self._take(world).getRAM(), dtype=np.uint8)

    def put(self, world: int, byte: int, value: int) -> None:
        """Write into the memory; what the screen shows changes with the next frame."""
        self._take(world).setRAM(byte, value)

    def screen(self, world: int) -> Bytes:
        """(210, 160, 3), as the last frame has drawn it."""
        if world == self._at and self._drawn:
            return np.asarray(self._ale.getScreenRGB(), dtype=np.uint8)
        return self._screens[world].copy()

    def grey(self, world: int) -> Bytes:
        """(210, 160). Raises RuntimeError if another game was played since the last frame of this one."""
        if world != self._at or not self._drawn:
            raise RuntimeError(f"world {world}: there is no grey screen but right after a frame")
        return np.asarray(self._ale.getScreenGrayscale(), dtype=np.uint8)

    def save(self) -> tuple[tuple[bytes, Bytes], ...]:
        """All that the future of each game depends on, and its screen."""
        self._keep()
        return tuple((bytes(state.serialize()), screen.copy()) for state, screen in zip(self._states, self._screens, strict=True))

    def load(self, saved: Sequence[tuple[bytes, Bytes]]) -> None:
        """Go on from there."""
        self._states = [self._module.ALEState(state) for state, _ in saved]
        self._screens = [screen.copy() for _, screen in saved]
        self._ale.restoreState(self._states[self._at])
        self._drawn = False
