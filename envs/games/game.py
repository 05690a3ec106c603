"""What a board game is here: its rules as pure functions over a whole batch of games.

Two players with opposite interests take turns, nothing is hidden and nothing is random. Player 0 moves first. A state is a NamedTuple of
arrays whose first dimension is the batch; every row is a game of its own, so rows can be picked, joined and stepped together, and row b
of a batch is what it would be alone. No function changes a state it is given.

Shapes: B games, A actions, P points of the board, row by row from the top left as it is printed, C planes, I planes for a network, S
symmetries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Actions",
    "Flags",
    "Game",
    "IllegalMove",
    "Position",
    "Symmetries",
    "check_legal",
    "join",
    "merge",
    "nth_legal",
    "perft",
    "play",
    "put",
    "square_symmetries",
    "take",
]

Flags = NDArray[np.bool_]
Actions = NDArray[np.int64]


class IllegalMove(ValueError):
    """A move that the rules do not allow. The message names the game of the batch, the move and those that are legal."""


class Position(Protocol):
    """What the states of all games share."""

    @property
    def player(self) -> NDArray[np.int8]:
        """(B,) whose turn it is: 0, who moved first, or 1. Of a game that is over: whose turn it would be."""

    @property
    def done(self) -> Flags:
        """(B,) whether the game is over."""

    @property
    def outcome(self) -> NDArray[np.int8]:
        """(B,) +1 player 0 has won, -1 player 1 has won, 0 a draw or not over."""


class Symmetries(NamedTuple):
    """Maps of the board onto itself that the rules do not notice; the first is the identity."""

    points: NDArray[np.int64]  # (S, P) planes[..., points[s]] is the board seen through s
    actions: NDArray[np.int64]  # (S, A) policy[..., actions[s]] is a policy seen through s


S = TypeVar("S", bound=Position)
T = TypeVar("T", bound=tuple[NDArray[Any], ...])


class Game(Protocol[S]):
    """The rules of one game."""

    name: str
    about: str  # in a line, for lists
    rows: int
    columns: int
    actions: int  # A
    planes: int  # C
    inputs: int  # I, planes of `features`
    longest: int  # a game is over after this many moves at the latest
    line: int  # so many in a row win, with a single move: searches then look a move ahead everywhere. 0: no game of lines
    symmetries: Symmetries

    def initial(self, batch: int) -> S:
        """`batch` games before the first move."""

    def legal(self, state: S) -> Flags:
        """(B, A) which moves may be played; none where the game is over, at least one elsewhere."""

    def step(self, state: S, action: Actions) -> S:
        """The state after one move in each game; action (B,). Games that are over stay as they are.

        The moves are not checked, for speed: what an illegal one leads to is undefined. `play` checks.
        """

    def observe(self, state: S) -> NDArray[np.int8]:
        """(B, C, rows, columns) of 0 and 1: own stones of the player to move, the opponent's, then facts that are the same for both."""

    def features(self, state: S) -> NDArray[np.int8]:
        """(B, I, rows, columns) of 0 and 1, what a network is shown: `observe`, and what else the rules say of the position."""

    def action_name(self, action: int) -> str:
        """A move as people write it."""

    def board_text(self, state: S, row: int = 0) -> str:
        """The board of one game, for people: X is player 0, O player 1."""


def take(state: T, rows: Any) -> T:
    """Those games of a batch; rows: indices or a mask, as numpy takes them."""
    return type(state)(*(field[rows] for field in state))


def put(store: T, rows: Any, part: T) -> None:
    """Overwrite those games of `store`, which is changed, with `part`."""
    for field, values in zip(store, part, strict=True):
        field[rows] = values


def merge(where: Flags, first: T, second: T) -> T:
    """Rows of `first` where `where` (B,) holds, else those of `second`."""
    fields = zip(first, second, strict=True)
    return type(first)(*(np.where(where.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in fields))


def join(parts: Sequence[T]) -> T:
    """Batches one after another as one."""
    return type(parts[0])(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def check_legal(game: Game[Any], state: Any, action: Actions) -> None:
    """Raises IllegalMove for the first game that is not over and whose move is not legal."""
    legal = game.legal(state)
    for b in np.flatnonzero(~np.asarray(state.done)):
        move = int(action[b])
        if not (0 <= move < game.actions and legal[b, move]):
            allowed = ", ".join(str(a) for a in np.flatnonzero(legal[b]))
            raise IllegalMove(f"{game.name}, game {b}: move {move} is not legal; legal moves: {allowed}")


def play(game: Game[S], state: S, action: Actions) -> S:
    """As `game.step`, but an illegal move raises IllegalMove."""
    check_legal(game, state, action)
    return game.step(state, action)


def nth_legal(legal: Flags, numbers: NDArray[np.float64]) -> Actions:
    """(B,) the move at the share numbers (B,), 0 to below 1, of those that are legal (B, A), in order: with uniform numbers all are equally
    likely. 0 where none is."""
    count = np.count_nonzero(legal, axis=1)
    k = np.minimum((numbers * count).astype(np.int64), count - 1)
    return np.asarray((np.cumsum(legal, axis=1, dtype=np.int16) > k[:, None]).argmax(axis=1))


def perft(game: Game[Any], depth: int) -> list[int]:
    """How many move sequences there are of length 1, 2, ... depth: the usual check of a move generator. All are held at once."""
    state, counts = game.initial(1), []
    for _ in range(depth):
        parents, action = np.nonzero(game.legal(state))
        state = game.step(take(state, parents), action)
        counts.append(len(action))
    return counts


def square_symmetries(size: int, others: int = 0) -> Symmetries:
    """The eight of a square board whose moves are its points, followed by `others` moves that stay what they are (a pass)."""
    board = np.arange(size * size).reshape(size, size)
    turned = [np.rot90(b, k).reshape(-1) for b in (board, board[:, ::-1]) for k in range(4)]
    points = np.stack(turned)
    rest = np.tile(np.arange(size * size, size * size + others), (8, 1))
    return Symmetries(points=points, actions=np.concatenate([points, rest], axis=1))
