"""Labelled frames of Atari games, endlessly: what a detector for their screens is trained and judged on (`perception.training.stream`).

Half of the frames are of games played at random; in the others things are put anywhere by writing into the memory, so that none is known
by where it usually is. Labels are read from the memory either way.

Shapes: B frames, K things.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from envs.checks import ConfigError
from envs.games.atari.breakout import BITS, BYTES, bricks
from envs.games.atari.emulator import Consoles
from envs.games.atari.games import GAMES, find_game
from envs.games.atari.picture import CLASSES, SIZE, frame_of, labels_of, picture
from envs.games.atari.types import HEIGHT, RAM, WIDTH, Bytes
from perception.training.stream import Sample
from perception.types import Labels

__all__ = ["AtariStream", "scatter"]

BEGIN, PAUSE = 400, 24  # frames, at most: played before the first one is shown, and between one that is shown and the next
SETTLE = 2  # frames until the screen shows what was written into the memory: Freeway draws half of its cars a frame late
SCATTERED = 0.5  # share of frames in which things are anywhere
Random = np.random.Generator


def _pong(random: Random, ram: Bytes) -> dict[int, int]:
    places = {49: (60, 205), 54: (46, 206), 51: (38, 204), 50: (36, 206), 13: (0, 21), 14: (0, 21)}
    return {byte: int(random.integers(*range_)) for byte, range_ in places.items()}


def _breakout(random: Random, ram: Bytes) -> dict[int, int]:
    places = {99: (58, 198), 101: (24, 180), 72: (55, 192)}
    found = {byte: int(random.integers(*range_)) for byte, range_ in places.items()}
    gone = bricks(ram) & (random.random(BYTES.shape) < random.random())
    left = ram.copy()
    for byte, bit in zip(BYTES[gone].tolist(), BITS[gone].tolist(), strict=True):
        left[byte] &= ~np.uint8(3 << bit)
    return found | {byte: int(left[byte]) for byte in np.unique(BYTES).tolist()}


def _freeway(random: Random, ram: Bytes) -> dict[int, int]:
    return {14: int(random.integers(6, 178))} | {byte: int(random.integers(0, 160)) for byte in range(108, 118)}


SCATTER: dict[str, Callable[[Random, Bytes], dict[int, int]]] = {"pong": _pong, "breakout": _breakout, "freeway": _freeway}


def scatter(game: str, random: Random, ram: Bytes) -> dict[int, int]:
    """Values of bytes with which the things of a game are anywhere, from memory (128,)."""
    return SCATTER[game](random, ram)


class AtariStream:
    """Frames of games, in turn of each. The same seed and count give the same sample. Raises ConfigError for games that do not exist or
    none, ModuleNotFoundError without ale-py."""

    classes = CLASSES

    def __init__(self, *, games: Sequence[str] = tuple(GAMES)) -> None:
        if isinstance(games, str) or not games:
            raise ConfigError(f"games={games!r}: must be a list of one or more of {', '.join(GAMES)}")
        self.games = [find_game(name) for name in games]
        self.conditions = tuple(games)
        self.consoles = [Consoles(1, game.name, game.buttons) for game in self.games]
        self.slots = max(len(game.things) for game in GAMES.values())

    def sample(self, seed: int, count: int) -> Sample:
        """`count` frames."""
        condition = torch.arange(count) % len(self.games)
        screens, told = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8), []
        turns = [np.arange(number, count, len(self.games)) for number in range(len(self.games))]
        for number, (game, mine) in enumerate(zip(self.games, turns, strict=True)):
            screens[mine], memory = self._play(number, seed, len(mine))
            told.append(labels_of(game, torch.from_numpy(memory), slots=self.slots))
        order = torch.from_numpy(np.argsort(np.concatenate(turns)))
        rows: Mapping[str, Tensor] = {name: torch.cat([getattr(each, name) for each in told])[order] for name in Labels._fields[:-3]}
        one = torch.ones((count, 1, 1, 1)).expand(-1, -1, *SIZE)
        labels = Labels(**rows, depth=one, instance=-one.long(), semantic=0 * one.long())
        return Sample(frame_of(picture(torch.from_numpy(screens)), torch.zeros(count)), labels, condition)

    def _play(self, number: int, seed: int, count: int) -> tuple[Bytes, Bytes]:
        """Screens (n, 210, 160, 3) and memories (n, 128) of one game, some moments apart."""
        game, console, random = self.games[number], self.consoles[number], np.random.default_rng([seed, number])
        screens, memory = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8), np.zeros((count, RAM), np.uint8)
        console.start(0)
        pause = int(random.integers(8, BEGIN))
        for row in range(count):
            while pause > 0:
                button = int(random.integers(len(game.buttons)))
                for _ in range(min(pause, int(random.integers(1, 12)))):
                    console.frame(0, button)
                    pause -= 1
            if console.over(0):
                console.start(0)
            pause = int(random.integers(1, PAUSE))
            kept = console.save() if random.random() < SCATTERED else None
            if kept:
                for byte, value in scatter(game.name, random, console.ram(0)).items():
                    console.put(0, byte, value)
                for _ in range(SETTLE):
                    console.frame(0, 0)
            screens[row], memory[row] = console.screen(0), console.ram(0)
            if kept:
                console.load(kept)
        return screens, memory
