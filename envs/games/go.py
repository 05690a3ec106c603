"""Go on small boards: area scoring, no suicide, and no position of the board may ever come back (positional superko).

Chains are labelled: every stone knows the point that stands for its chain. Whether a chain has one liberty left is told from three sums
over its stones' empty neighbours, their number n, and of their indices the sum and the sum of squares: all are the same point exactly if
n * squares = sum^2 (Cauchy-Schwarz; the idea is that of pgx and of the "pseudo-liberties" of computer Go). Positions are recognised by
a 64-bit hash that adds a random number for each stone (Zobrist 1970, with sums modulo 2^64 in place of exclusive or): two positions of
a game are taken for one another with probability 2^-64.

With numba (extra `games`) compiled code does the same game by game, to the same bits and many times as fast (`envs.games.go_kernels`).

Shapes: B games, P points, T moves at most; point P stands for what is off the board.
"""

from __future__ import annotations

import warnings
from functools import cached_property, reduce
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from envs.games.bits import Words
from envs.games.game import Actions, Flags, merge, nth_legal, square_symmetries, take
from envs.games.text import grid_text, point_name

if TYPE_CHECKING:
    from envs.games.go_compiled import CompiledGo

__all__ = ["Go", "GoState", "area"]

OFF = np.int8(2)  # what lies off the board: neither empty nor of a colour
SIZE_MAX = 9  # the packed sums below are exact up to here
SUM, SQUARES = 2**9, 2**25  # n <= 4 * 81 < 2^9, sum <= 324 * 80 < 2^16, squares <= 324 * 6400 < 2^22: together below 2^53

T = TypeVar("T", bound=np.generic)


class GoState(NamedTuple):
    """Shapes: B games, P points, T moves. Compiled code knows the fields by their order: who changes it empties numba's cache on disk."""

    cells: NDArray[np.int8]  # (B, P + 1) +1 black (player 0), -1 white, 0 empty; the last is OFF
    chain: NDArray[np.int16]  # (B, P + 1) the point that stands for a stone's chain; P: no stone
    history: Words  # (B, T + 1) hashes of the positions so far; 0, that of the empty board, where there is none yet
    moves: NDArray[np.int16]  # (B,) moves played; history[b, moves[b]] is the position now
    captured: Flags  # (B,) whether a stone was ever captured: before that no position can come back
    passed: Flags  # (B,) whether the last move was a pass
    player: NDArray[np.int8]  # (B,) whose turn it is
    done: Flags  # (B,)
    outcome: NDArray[np.int8]  # (B,) +1 black has won, -1 white, 0 not over, or a draw at a whole komi


class Go:
    """Rules of Go on `size` x `size`. Action size * r + c plays in row r from the top and column c from the left; size^2 passes.

    Two passes end the game, or 2 size^2 moves. All stones on the board then count as alive. White gets `komi` points.
    compiled: whether numba computes; None: where it is installed. The results are the same. Raises ValueError for a size that is not 2 to
    9, or a komi that is no multiple of a half, and ModuleNotFoundError where numba is asked for and missing.
    """

    planes = inputs = 4
    line = 0

    def __init__(self, size: int, *, komi: float, compiled: bool | None = None) -> None:
        if not 2 <= size <= SIZE_MAX:
            raise ValueError(f"size={size}: must be 2 to {SIZE_MAX}")
        if 2.0 * komi != round(2.0 * komi):
            raise ValueError(f"komi={komi}: must be a multiple of 0.5")
        self.name = f"go_{size}x{size}"
        self.about = f"Area scoring, komi {komi:g}, positional superko, no suicide."
        self.rows = self.columns = size
        self.komi, self.points = komi, size * size
        self.actions, self.longest = self.points + 1, 2 * self.points
        self.symmetries = square_symmetries(size, others=1)
        self._near = _neighbours(size)  # (P, 4) neighbours of each point; P where there is none
        index = np.append(np.arange(self.points, dtype=np.float64), 0.0)
        self._packed = (1.0 + SUM * index + SQUARES * index**2)[self._near]  # (P, 4) what an empty neighbour adds to the sums
        random = np.random.Generator(np.random.PCG64(20_061_953))  # fixed, so that hashes are the same in every process
        self._stones = random.integers(2**64, size=(2, self.points + 1), dtype=np.uint64)  # (2, P + 1) of black, of white
        self._stones[:, -1] = 0
        self._wanted = compiled
        if compiled:
            self._fast  # noqa: B018  (raises without numba)

    @cached_property
    def _fast(self) -> CompiledGo | None:
        """Looked for when first needed, because numba takes a second to import."""
        if self._wanted is False or (self._wanted is None and find_spec("numba") is None):
            return None
        try:
            from envs.games.go_compiled import CompiledGo
        except ImportError as error:
            if self._wanted:
                raise ModuleNotFoundError(f"compiled rules of Go need numba: pip install 'closedloop[games]' ({error})") from error
            warnings.warn(f"Go is played without numba, which cannot be imported: {error}", stacklevel=2)
            return None
        return CompiledGo(self.rows, self.komi, self._near, self._stones)

    @property
    def compiled(self) -> bool:
        """Whether numba computes."""
        return self._fast is not None

    def initial(self, batch: int) -> GoState:
        """Empty boards, black to move."""
        cells = np.zeros((batch, self.points + 1), dtype=np.int8)
        cells[:, -1] = OFF
        return GoState(
            cells=cells,
            chain=np.full((batch, self.points + 1), self.points, dtype=np.int16),
            history=np.zeros((batch, self.longest + 1), dtype=np.uint64),
            moves=np.zeros(batch, dtype=np.int16),
            captured=np.zeros(batch, dtype=np.bool_),
            passed=np.zeros(batch, dtype=np.bool_),
            player=np.zeros(batch, dtype=np.int8),
            done=np.zeros(batch, dtype=np.bool_),
            outcome=np.zeros(batch, dtype=np.int8),
        )

    def legal(self, state: GoState) -> Flags:
        """(B, P + 1) points where a stone has, joins or makes a liberty and makes no position anew; and the pass."""
        if (fast := self._fast) is not None:
            return fast.legal(state)
        colour = (1 - 2 * state.player)[:, None]
        near = self._sides(state.cells, OFF)
        open_ = [side == 0 for side in near]
        atari = np.take_along_axis(self._in_atari(state, open_), state.chain, axis=1)  # (B, P + 1) of each stone's chain
        last = self._sides(atari, False)
        captures = [(side == -colour) & short for side, short in zip(near, last, strict=True)]
        free = _any([*open_, *captures, *((side == colour) & ~short for side, short in zip(near, last, strict=True))])
        free &= (state.cells[:, : self.points] == 0) & ~state.done[:, None]
        if (rows := np.flatnonzero(state.captured & ~state.done)).size:
            free[rows] &= ~self._repeats(take(state, rows), [taken[rows] for taken in captures])
        return np.concatenate([free, ~state.done[:, None]], axis=1)

    def sensible(self, state: GoState, legal: Flags) -> Flags:
        """(B, P + 1) the legal moves that fill no own eye (a point with own stones or the edge all around); the pass if there is none."""
        if (fast := self._fast) is not None:
            return fast.sensible(state, legal)
        colour = (1 - 2 * state.player)[:, None]
        useful = legal.copy()
        useful[:, :-1] &= _any([(side != colour) & (side != OFF) for side in self._sides(state.cells, OFF)])
        useful[:, -1] &= ~useful[:, :-1].any(axis=1)
        return useful

    def choose(self, state: GoState, numbers: NDArray[np.float64], *, sensible: bool = False) -> Actions:
        """(B,) the move at the share numbers (B,), 0 to below 1, of all that are legal, or sensible, in order; 0 where the game is over."""
        if (fast := self._fast) is not None:
            return fast.choose(state, numbers, sensible)
        legal = self.legal(state)
        return nth_legal(self.sensible(state, legal) if sensible else legal, numbers)

    def play_out(self, state: GoState, numbers: NDArray[np.float64], *, sensible: bool = True) -> GoState:
        """Every game after as many moves as there are numbers (B, M), each chosen by its number, or at its end."""
        if (fast := self._fast) is not None:
            return fast.play_out(state, numbers, sensible)
        for column in numbers.T:
            if state.done.all():
                break
            state = self.step(state, self.choose(state, column, sensible=sensible))
        return state

    def _sides(self, values: NDArray[T], beyond: Any) -> list[NDArray[T]]:
        """Four of (B, P): what values (B, P + 1) has above, below, left and right of each point; `beyond` off the board.

        Slices of a padded board, and four arrays rather than one with a short last axis: numpy is several times faster with both.
        """
        batch, size = len(values), self.rows
        board = np.full((batch, size + 2, size + 2), beyond, dtype=values.dtype)
        board[:, 1:-1, 1:-1] = values[:, :-1].reshape(batch, size, size)
        sides = (board[:, :-2, 1:-1], board[:, 2:, 1:-1], board[:, 1:-1, :-2], board[:, 1:-1, 2:])
        return [side.reshape(batch, size * size) for side in sides]

    def _in_atari(self, state: GoState, open_: list[Flags]) -> Flags:
        """(B, P + 1) whether the chain that a point stands for has exactly one liberty."""
        batch, width = state.chain.shape
        weights = np.zeros((batch, width))
        for k, side in enumerate(open_):
            weights[:, :-1] += side * self._packed[:, k]
        labels = state.chain + np.arange(batch, dtype=np.int64)[:, None] * width
        sums = np.bincount(labels.reshape(-1), weights.reshape(-1), minlength=batch * width).astype(np.int64).reshape(batch, width)
        count, total, squares = sums & (SUM - 1), (sums & (SQUARES - 1)) // SUM, sums // SQUARES
        atari: Flags = (count > 0) & (count * squares == total * total)
        atari[:, -1] = False
        return atari

    def _repeats(self, state: GoState, captures: list[Flags]) -> Flags:
        """(B, P) whether a move there makes a position that has been; captures: four of (B, P), which neighbours it takes."""
        batch, mine = len(state.moves), state.player.astype(np.int64)
        after = state.history[np.arange(batch), state.moves][:, None] + self._stones[mine, :-1]  # (B, P) before anything is taken
        rows, points = np.nonzero(_any(captures))
        if rows.size:
            chains = self._chain_hashes(state)
            taken = np.stack([side[rows, points] for side in captures], axis=1)  # (K, 4)
            labels = state.chain[rows[:, None], self._near[points]]
            for k in range(4):  # each chain once, however many of its stones are neighbours
                new = taken[:, k] & ~((labels[:, :k] == labels[:, k, None]) & taken[:, :k]).any(axis=1)
                after[rows, points] -= np.where(new, chains[rows, labels[:, k]], np.uint64(0))
        again = np.zeros(after.shape, dtype=np.bool_)
        for t in range(int(state.moves.max()) + 1):
            again |= after == state.history[:, t, None]
        return again

    def _chain_hashes(self, state: GoState) -> Words:
        """(B, P + 1) sum of the random numbers of a chain's stones, at the point that stands for it."""
        batch, width = state.chain.shape
        stones = np.where(state.cells == 1, self._stones[0], np.where(state.cells == -1, self._stones[1], np.uint64(0)))
        labels = (state.chain + np.arange(batch, dtype=np.int64)[:, None] * width).reshape(-1)
        low, high = (  # halves of 32 bits, whose sums are exact in float64
            np.bincount(labels, part.reshape(-1).astype(np.float64), minlength=batch * width).astype(np.uint64)
            for part in (stones & np.uint64(2**32 - 1), stones >> np.uint64(32))
        )
        return (low + (high << np.uint64(32))).reshape(batch, width)

    def step(self, state: GoState, action: Actions) -> GoState:
        """One stone, or a pass, in each game."""
        if (fast := self._fast) is not None:
            return fast.step(state, action)
        batch, player = len(action), state.player.astype(np.int64)
        cells, chain, history = state.cells.copy(), state.chain.copy(), state.history.copy()
        now = history[np.arange(batch), state.moves]
        captured = state.captured.copy()
        rows = np.flatnonzero(action != self.points)  # games in which a stone is played
        if rows.size:
            now[rows] += self._stones[player[rows], action[rows]]
            taken = self._place(cells, chain, rows, action[rows], (1 - 2 * state.player)[rows])
            hit = rows[taken.any(axis=1)]
            if hit.size:
                lost = np.where(taken[taken.any(axis=1)], self._stones[1 - player[hit]], np.uint64(0))
                now[hit] -= lost.sum(axis=1, dtype=np.uint64)
                captured[hit] = True
        moves = np.minimum(state.moves + np.int16(1), np.int16(self.longest))
        history[np.arange(batch), moves] = now
        passes = action == self.points
        done = (passes & state.passed) | (moves >= self.longest)
        outcome = np.zeros(batch, dtype=np.int8)
        if done.any():
            outcome[done] = np.sign(area(cells[done], self._near) - self.komi).astype(np.int8)
        after = GoState(cells, chain, history, moves, captured, passes, state.player ^ np.int8(1), done, outcome)
        return merge(state.done, state, after) if state.done.any() else after

    def _place(
        self, cells: NDArray[np.int8], chain: NDArray[np.int16], rows: NDArray[np.int64], point: Actions, colour: NDArray[np.int8]
    ) -> Flags:
        """Put a stone at `point` (R,) of those rows, in place: join chains, take off what has no liberty. (R, P + 1) what was taken."""
        cells[rows, point] = colour
        chain[rows, point] = point
        boards, labels = cells[rows], chain[rows]
        near = self._near[point]  # (R, 4)
        touching = np.take_along_axis(boards, near, axis=1)
        for k in range(4):
            if (r := np.flatnonzero(touching[:, k] == colour)).size:
                old = labels[r, near[r, k]]
                part = labels[r]
                labels[r] = np.where(part == old[:, None], point[r, None].astype(np.int16), part)
        breathes = _any([side == 0 for side in self._sides(boards, OFF)])  # (R, P) has an empty neighbour
        taken = np.zeros(boards.shape, dtype=np.bool_)
        for k in range(4):
            if (r := np.flatnonzero(touching[:, k] == -colour)).size:
                members = labels[r] == labels[r, near[r, k]][:, None]
                dead = ~(members[:, :-1] & breathes[r]).any(axis=1)
                taken[r[dead]] |= members[dead]
        boards[taken], labels[taken] = 0, self.points
        cells[rows], chain[rows] = boards, labels
        return taken

    def observe(self, state: GoState) -> NDArray[np.int8]:
        """(B, 4, size, size) own stones, the opponent's; all ones if black is to move; all ones if the last move was a pass."""
        if (fast := self._fast) is not None:
            return fast.observe(state)
        seen = state.cells[:, : self.points] * (1 - 2 * state.player)[:, None]
        whole = np.ones_like(seen)
        planes = np.stack([seen > 0, seen < 0, whole * (state.player == 0)[:, None], whole * state.passed[:, None]], axis=1)
        return planes.reshape(-1, 4, self.rows, self.columns).astype(np.int8)

    def features(self, state: GoState) -> NDArray[np.int8]:
        """As `observe`."""
        return self.observe(state)

    def action_name(self, action: int) -> str:
        """A1 is the lower left."""
        return "pass" if action == self.points else point_name(action, self.columns, self.rows)

    def board_text(self, state: GoState, row: int = 0) -> str:
        """The board and the letters of the columns."""
        return grid_text(self.observe(state)[row, :2], int(state.player[row]))


def _any(parts: list[Flags]) -> Flags:
    """Whether any of the parts holds."""
    return reduce(np.logical_or, parts)


def _neighbours(size: int) -> NDArray[np.int64]:
    """(P, 4) the points above, below, left and right; P where there is none."""
    board = np.full((size + 2, size + 2), size * size)
    board[1:-1, 1:-1] = np.arange(size * size).reshape(size, size)
    sides = (board[:-2, 1:-1], board[2:, 1:-1], board[1:-1, :-2], board[1:-1, 2:])
    return np.stack([side.reshape(-1) for side in sides], axis=1)


def area(cells: NDArray[np.int8], near: NDArray[np.int64]) -> NDArray[np.int64]:
    """(B,) points of black less those of white: stones, and empty regions that touch stones of one colour only. cells (B, P + 1)."""
    reached = [cells == 1, cells == -1]
    empty = cells[:, :-1] == 0
    for reach in reached:
        while True:
            more = empty & reach[:, near].any(axis=-1) & ~reach[:, :-1]
            if not more.any():
                break
            reach[:, :-1] |= more
    black, white = reached
    return np.asarray((black & ~white).sum(axis=1) - (white & ~black).sum(axis=1), dtype=np.int64)
