"""The positions learned from: a ring in which the oldest are overwritten.

Shapes: N places, C planes of `game.features`, P points, A actions, M drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.games import Game, put, take

__all__ = ["Positions", "Replay", "seen_through"]


class Positions(NamedTuple):
    """What is known of each position. Shapes: M positions."""

    planes: NDArray[np.int8]  # (M, C, P) what the network sees
    legal: NDArray[np.bool_]  # (M, A)
    policy: NDArray[np.float32]  # (M, A) what the search preferred; sums to one
    value: NDArray[np.float32]  # (M,) how it ended for the player to move, mixed with what the search thought


class Replay:
    """A ring of at most `size` positions."""

    def __init__(self, game: Game[Any], size: int) -> None:
        self.size, self.added = size, 0  # `added`: ever
        self.places = Positions(
            planes=np.zeros((size, game.inputs, game.rows * game.columns), dtype=np.int8),
            legal=np.zeros((size, game.actions), dtype=np.bool_),
            policy=np.zeros((size, game.actions), dtype=np.float32),
            value=np.zeros(size, dtype=np.float32),
        )

    def __len__(self) -> int:
        return min(self.added, self.size)

    def add(self, positions: Positions) -> None:
        """Append; of more than `size` the last."""
        count = len(positions.value)
        where = (self.added + np.arange(count)) % self.size
        put(self.places, where[-self.size :], take(positions, slice(-self.size, None)))
        self.added += count

    def draw(self, count: int, random: np.random.Generator) -> Positions:
        """`count` positions, all equally likely, each perhaps more than once. Raises ValueError if there is none."""
        if not len(self):
            raise ValueError("the replay buffer is empty: nothing to draw from")
        return take(self.places, random.integers(len(self), size=count))

    def contents(self) -> Positions:
        """What is filled, place by place."""
        return take(self.places, slice(len(self)))

    def restore(self, contents: Positions, added: int) -> None:
        """Put back what `contents` gave. Raises ValueError if it does not fit."""
        if len(contents.value) != min(added, self.size):
            raise ValueError(f"{len(contents.value)} positions of {added} ever added: a buffer of {self.size} holds another number")
        self.added = added
        put(self.places, slice(len(contents.value)), contents)


def seen_through(game: Game[Any], positions: Positions, which: NDArray[np.int64]) -> Positions:
    """Every position through symmetry which[m] (M,): the board and its policy turned alike, the value the same."""
    points, actions = game.symmetries.points[which], game.symmetries.actions[which]
    return Positions(
        planes=np.take_along_axis(positions.planes, points[:, None, :], axis=2),
        legal=np.take_along_axis(positions.legal, actions, axis=1),
        policy=np.take_along_axis(positions.policy, actions, axis=1),
        value=positions.value,
    )
