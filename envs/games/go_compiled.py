"""`envs.games.go_kernels` over batches: what `Go` calls where numba is installed. Shapes: K games, P points, T moves at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.games import go_kernels as kernels
from envs.games.game import Actions, Flags

if TYPE_CHECKING:
    from envs.games.go import GoState

__all__ = ["CompiledGo"]


class CompiledGo:
    """Rules of one size. near (P, 4) and stones (2, P + 1) as `Go` has them."""

    def __init__(self, size: int, komi: float, near: NDArray[np.int64], stones: NDArray[np.uint64]) -> None:
        self.size, self.points = size, size * size
        every, shift = np.arange(self.points), _shift(stones[:, :-1])
        which = np.full((2, int(kernels.BUCKETS) + 1), self.points, dtype=np.int16)
        for colour in range(2):
            which[colour, _buckets(stones[colour, :-1], shift)] = every
        sets = (_words(points) for points in (every, every[every % size != size - 1], every[every % size != 0]))
        self.board = kernels.Board(size, self.points, float(komi), np.uint64(shift), *(word for words in sets for word in words))
        self.tables = kernels.Tables(
            near=near,
            around=np.ascontiguousarray(np.stack([_words(side[side < self.points]) for side in near], axis=1)),
            stones=stones,
            which=which,
            liberties=np.zeros((2, 2 * self.points + 1), dtype=np.uint64),
            short=np.zeros(self.points + 1, dtype=np.uint8),
            gain=np.zeros(self.points, dtype=np.uint64),
        )

    def legal(self, state: GoState) -> Flags:
        """(K, P + 1)."""
        out = np.empty((len(self._own(state).done), self.points + 1), dtype=np.bool_)
        kernels.legal_moves(_plain(state), self.board, self.tables, out)
        return out

    def sensible(self, state: GoState, legal: Flags) -> Flags:
        """(K, P + 1)."""
        out = np.empty((len(self._own(state).done), self.points + 1), dtype=np.bool_)
        if legal.shape != out.shape:
            raise ValueError(f"legal moves of shape {legal.shape}: must be {out.shape}")
        kernels.sensible_moves(_plain(state), self.board, self.tables, np.ascontiguousarray(legal), out)
        return out

    def choose(self, state: GoState, numbers: NDArray[np.float64], sensible: bool) -> Actions:
        """(K,)."""
        out = np.empty(len(self._own(state).done), dtype=np.int64)
        kernels.pick_moves(_plain(state), self.board, self.tables, self._numbers(numbers, out.shape), sensible, out)
        return out

    def step(self, state: GoState, action: Actions) -> GoState:
        """Raises IndexError for what is no move of this board: compiled code would write anywhere."""
        if np.asarray(action).dtype.kind not in "iu":
            raise IndexError(f"moves of type {np.asarray(action).dtype}: must be whole numbers")
        moves, after = np.ascontiguousarray(action, dtype=np.int64), type(state)._make(np.empty(a.shape, a.dtype) for a in self._own(state))
        if moves.shape != state.done.shape:
            raise IndexError(f"{len(state.done)} games, moves of shape {moves.shape}")
        if moves.size and not (moves.min() >= 0 and moves.max() <= self.points):
            raise IndexError(f"moves of {self.size}x{self.size} are 0 to {self.points}")
        kernels.play_moves(_plain(state), self.board, self.tables, moves, after)
        return after

    def play_out(self, state: GoState, numbers: NDArray[np.float64], sensible: bool) -> GoState:
        """The ends of games."""
        after = _copy(self._own(state))
        kernels.play_out(after, self.board, self.tables, self._numbers(numbers, (len(state.done), numbers.shape[1])), sensible)
        return after

    def observe(self, state: GoState) -> NDArray[np.int8]:
        """(K, 4, size, size)."""
        out = np.empty((len(self._own(state).done), 4, self.points), dtype=np.int8)
        kernels.observed(_plain(state), self.board, out)
        return out.reshape(-1, 4, self.size, self.size)

    def _own(self, state: GoState) -> GoState:
        """Raises ValueError for games on another board: compiled code would read beyond them."""
        if state.cells.shape[1:] != (self.points + 1,):
            raise ValueError(f"games on a board of {state.cells.shape[1] - 1} points, not {self.points}")
        return state

    def _numbers(self, numbers: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        if numbers.shape != shape:
            raise IndexError(f"numbers of shape {numbers.shape}: must be {shape}")
        return np.ascontiguousarray(numbers, dtype=np.float64)


def _copy(state: GoState) -> GoState:
    """For one kind of array, so that everything is compiled once."""
    return type(state)._make(np.array(field, order="C") for field in state)


def _plain(state: GoState) -> GoState:
    """As it is, if its arrays are of the kind the kernels are compiled for."""
    if all(field.flags.c_contiguous and field.flags.writeable for field in state):
        return state
    return _copy(state)


def _words(points: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(2,) a set of points."""
    total = sum(1 << int(p) for p in points)
    return np.array([total & (2**64 - 1), total >> 64], dtype=np.uint64)


def _buckets(numbers: NDArray[np.uint64], shift: int) -> NDArray[np.uint64]:
    return np.asarray((numbers >> np.uint64(shift)) & kernels.BUCKETS)


def _shift(stones: NDArray[np.uint64]) -> int:
    """Where in the random numbers (2, P) twelve bits are that no two of a colour share. There is such a place for every size."""
    return next(s for s in range(53) if all(len(set(_buckets(row, s).tolist())) == len(row) for row in stones))
