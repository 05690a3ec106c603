"""Emulated consoles. All games of a batch begin on one emulator that plays them in turn, since to load a game costs a thousand times as
much as to change places; a batch that plays on gets more of them, until each game has its own. What is played is the same to the last bit.

`ale-py` (GPL-2.0-only) is the extra `atari`. It is imported where a console is made and nowhere else. Its own chance is switched off: what
is random is drawn by `worlds` from the episode's seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from envs.games.atari.types import Bytes

__all__ = ["CHANGES", "Consoles", "load_ale"]

CHANGES = 1300  # changes of places that take as long as to load a game: 75 us and 0.1 s


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
        self._module, self._game = load_ale(), game
        self._shared: Any = self._loaded()
        self._buttons = [getattr(self._module.Action, name) for name in buttons]
        self._first = self._shared.cloneState()
        self._own: list[Any] = [None] * batch  # the emulator that a game has for itself; None: it takes turns on the shared one
        self._at = 0  # whose game the shared emulator holds; its entries below are out of date, as are those of games with their own
        self._states: list[Any] = [self._first] * batch
        self._screens: list[Bytes] = [np.asarray(self._shared.getScreenRGB(), dtype=np.uint8)] * batch
        self._drawn = [False] * batch  # its emulator's screen is this game's: a state brings none, the next frame draws it
        self._changes = 0  # of places, since the last emulator was loaded

    def _loaded(self) -> Any:
        ale = self._module.ALEInterface()
        ale.setInt("random_seed", 1)  # of what the memory holds when the console is switched on: always the same
        ale.setFloat("repeat_action_probability", 0.0)
        ale.loadROM(self._module.roms.get_rom_path(self._game))
        ale.reset_game()
        return ale

    def _keep(self) -> None:
        """Bring the entries of the game that the shared emulator holds up to date."""
        self._states[self._at] = self._shared.cloneState()
        if self._drawn[self._at]:
            self._screens[self._at] = np.asarray(self._shared.getScreenRGB(), dtype=np.uint8)

    def _take(self, world: int) -> Any:
        """An emulator with the game of `world`."""
        own = self._own[world]
        if own is not None:
            return own
        if world == self._at:
            return self._shared
        self._changes += 1
        if self._changes > CHANGES:
            self._changes = 0
            ale = self._own[world] = self._loaded()
        else:
            self._keep()
            ale, self._at = self._shared, world
        ale.restoreState(self._states[world])
        self._drawn[world] = False
        return ale

    def start(self, world: int) -> None:
        """Switch it off and on; the next frame draws its screen."""
        self._take(world).restoreState(self._first)

    def frame(self, world: int, button: int) -> float:
        """One frame with an action; the points that it brings."""
        points = float(self._take(world).act(self._buttons[button]))
        self._drawn[world] = True
        return points

    def play(self, world: int, buttons: Sequence[int], ram: Bytes, grey: Bytes | None = None) -> list[float]:
        """A frame for each of n actions; the points that each brings. ram (n, 128) takes the memory after each, grey (2, 210, 160) the
        screens of the last two."""
        ale, points, last = self._take(world), [], len(buttons) - 1
        for number, button in enumerate(buttons):
            points.append(ale.act(self._buttons[button]))
            ale.getRAM(ram[number])
            if grey is not None and last - number < 2:
                ale.getScreenGrayscale(grey[1 - last + number])
        self._drawn[world] = True
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

    def _shows(self, world: int) -> bool:
        """Whether its emulator's screen is this game's."""
        return self._drawn[world] and (self._own[world] is not None or world == self._at)

    def screen(self, world: int) -> Bytes:
        """(210, 160, 3), as the last frame has drawn it."""
        if self._shows(world):
            return np.asarray(self._take(world).getScreenRGB(), dtype=np.uint8)
        return self._screens[world].copy()

    def grey(self, world: int) -> Bytes:
        """(210, 160). Raises RuntimeError if another game was played since the last frame of this one."""
        if not self._shows(world):
            raise RuntimeError(f"world {world}: there is no grey screen but right after a frame")
        return np.asarray(self._take(world).getScreenGrayscale(), dtype=np.uint8)

    def save(self) -> tuple[tuple[bytes, Bytes], ...]:
        """All that the future of each game depends on, and its screen."""
        self._keep()
        states = [own.cloneState() if own is not None else state for own, state in zip(self._own, self._states, strict=True)]
        return tuple((bytes(state.serialize()), self.screen(world)) for world, state in enumerate(states))

    def load(self, saved: Sequence[tuple[bytes, Bytes]]) -> None:
        """Go on from there."""
        self._states = [self._module.ALEState(state) for state, _ in saved]
        self._screens = [screen.copy() for _, screen in saved]
        for world, state in enumerate(self._states):
            if self._own[world] is not None:
                self._own[world].restoreState(state)
        self._shared.restoreState(self._states[self._at])
        self._drawn = [False] * len(saved)
