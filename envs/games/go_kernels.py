"""The rules of Go compiled by numba (extra `games`): what `envs.games.go` says with arrays, game by game. Imported when first needed.

A set of points is two words, bit p of `low` and bit p - 64 of `high`. A chain's liberties are such a set, at the point that stands for it.
Whether a move brings a position back is asked the other way round: for each position that has been, which stone would lead there, by a
table over bits of the hash (`Board.which`).

Shapes: K games, P points, T moves at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["BUCKETS", "Board", "legal_moves", "observed", "pick_moves", "play_moves", "play_out", "sensible_moves"]

F = TypeVar("F", bound=Callable[..., Any])
State = Any  # of `envs.games.go`, a NamedTuple of arrays; numba sees its fields
Set = tuple[Any, Any]  # of points: words of 64 bits, low and high

ONE, ZERO = np.uint64(1), np.uint64(0)
BUCKETS = np.uint64(4095)  # of `Board.which`, less one: all bits set


class Board(NamedTuple):
    """What depends on the size alone."""

    size: int
    komi: float
    near: NDArray[np.int64]  # (P, 4) neighbours; P where there is none
    around: NDArray[np.uint64]  # (P, 2) the same as sets
    masks: NDArray[np.uint64]  # (3, 2) all points, those not in the first column, those not in the last
    stones: NDArray[np.uint64]  # (2, P + 1) the hash's random numbers
    which: NDArray[np.int16]  # (2, BUCKETS + 1) the point whose number has those bits; P: none
    shift: np.uint64  # where in the number they are


def compiled(function: F) -> F:
    """By numba when first called, and kept on disk."""
    out: F = numba.njit(cache=True)(function)
    return out


@compiled
def bit(p: int) -> Set:
    """The set of one point."""
    return (ONE << np.uint64(p), ZERO) if p < 64 else (ZERO, ONE << np.uint64(p - 64))


@compiled
def count(word: Any) -> int:
    """Bits that are set (Hacker's Delight, 5-1)."""
    word = word - ((word >> ONE) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def lowest(low: Any, high: Any) -> int:
    """The first point of a set that has one."""
    if low:
        return count((low & (~low + ONE)) - ONE)
    return 64 + count((high & (~high + ONE)) - ONE)


@compiled
def neighbours(low: Any, high: Any, board: Board) -> Set:
    """The points beside a set, which may be in it."""
    size, rest = np.uint64(board.size), np.uint64(64 - board.size)
    masks = board.masks
    right_low, right_high = low & masks[2, 0], high & masks[2, 1]
    left_low, left_high = low & masks[1, 0], high & masks[1, 1]
    found_low = (low << size) | (low >> size) | (high << rest) | (right_low << ONE) | (left_low >> ONE) | (left_high << np.uint64(63))
    found_high = (high << size) | (low >> rest) | (high >> size) | (right_high << ONE) | (right_low >> np.uint64(63)) | (left_high >> ONE)
    return found_low & masks[0, 0], found_high & masks[0, 1]


@compiled
def where(values: Any, b: int, wanted: int, points: int) -> Set:
    """The points that have a value."""
    low, high = ZERO, ZERO
    for p in range(min(points, 64)):
        low |= np.uint64(values[b, p] == wanted) << np.uint64(p)
    for p in range(64, points):
        high |= np.uint64(values[b, p] == wanted) << np.uint64(p - 64)
    return low, high


@compiled
def find_liberties(state: State, b: int, board: Board, low: Any, high: Any, liberties: Any) -> None:
    """Fill liberties (P + 1, 2) of every chain, given the empty points."""
    points = board.size * board.size
    liberties[:] = ZERO
    for p in range(min(points, 64 + board.size)):
        liberties[state.chain[b, p], 0] |= low & board.around[p, 0]
    for p in range(max(64 - board.size, 0), points):
        liberties[state.chain[b, p], 1] |= high & board.around[p, 1]


@compiled
def repeats(state: State, b: int, board: Board, own: int, taken: Set, gain: Any, free: Set) -> Set:
    """Which of the free points would bring a position back; taken: those that capture, gain (P,) the hash of what they take."""
    low, high = ZERO, ZERO
    points, moves = board.size * board.size, state.moves[b]
    now = state.history[b, moves]
    for t in range(moves + 1):
        stone = state.history[b, t] - now
        p = board.which[own, (stone >> board.shift) & BUCKETS]
        if board.stones[own, p] == stone and p != points:
            here = bit(p)
            low |= here[0] & ~taken[0]
            high |= here[1] & ~taken[1]
    left_low, left_high = free[0] & taken[0], free[1] & taken[1]
    while left_low | left_high:
        p = lowest(left_low, left_high)
        here = bit(p)
        left_low &= ~here[0]
        left_high &= ~here[1]
        after = now + board.stones[own, p] - gain[p]
        again = False
        for t in range(moves + 1):
            again |= state.history[b, t] == after
        if again:
            low |= here[0]
            high |= here[1]
    return low, high


@compiled
def legal_points(state: State, b: int, board: Board, liberties: Any, gain: Any) -> tuple[Set, Set]:
    """Where a stone may be played in a game that is not over; and the points beside what is not own, an eye being none of them."""
    points, own = board.size * board.size, np.int64(state.player[b])
    colour = 1 - 2 * own
    mine, others = where(state.cells, b, colour, points), where(state.cells, b, -colour, points)
    low, high = board.masks[0, 0] & ~(mine[0] | others[0]), board.masks[0, 1] & ~(mine[1] | others[1])
    airy = neighbours(low, high, board)
    free_low, free_high = low & airy[0], high & airy[1]
    beside = neighbours(others[0], others[1], board)
    useful = airy[0] | beside[0], airy[1] | beside[1]
    left_low, left_high = low & ~airy[0], high & ~airy[1]
    ko = state.captured[b]
    if (left_low | left_high) != ZERO or ko:
        find_liberties(state, b, board, low, high, liberties)
    while left_low | left_high:  # points without an empty one beside them
        p = lowest(left_low, left_high)
        here = bit(p)
        left_low &= ~here[0]
        left_high &= ~here[1]
        breathes = False
        for k in range(4):
            n = board.near[p, k]
            chain = state.chain[b, n]
            last = (liberties[chain, 0] == here[0]) & (liberties[chain, 1] == here[1])
            breathes |= ((state.cells[b, n] == colour) & ~last) | ((state.cells[b, n] == -colour) & last)
        if breathes:
            free_low |= here[0]
            free_high |= here[1]
    if ko:
        gain[:] = ZERO
        taken_low, taken_high = ZERO, ZERO
        for p in range(points):
            if state.chain[b, p] != p or state.cells[b, p] != -colour:
                continue
            short_low, short_high = liberties[p, 0], liberties[p, 1]
            one = (short_low & (short_low - ONE)) | (short_high & (short_high - ONE)) | np.uint64((short_low != ZERO) & (short_high != ZERO))
            if one == ZERO:
                taken_low |= short_low
                taken_high |= short_high
                lost = ZERO
                for q in range(points):
                    lost += board.stones[1 - own, q] * np.uint64(state.chain[b, q] == p)
                gain[lowest(short_low, short_high)] += lost
        again = repeats(state, b, board, own, (taken_low, taken_high), gain, (free_low, free_high))
        free_low &= ~again[0]
        free_high &= ~again[1]
    return (free_low, free_high), useful


@compiled
def chosen(free: Set, useful: Set, sensible: bool, number: float, points: int) -> int:
    """The move at the share `number` of those that are legal, or of the sensible ones, in order; the pass is the last."""
    low, high = free
    if sensible:
        low, high = low & useful[0], high & useful[1]
    first, stones = count(low), count(low) + count(high)
    moves = max(stones, 1) if sensible else stones + 1
    k = min(np.int64(number * moves), moves - 1)
    if k >= stones:
        return points
    if k >= first:
        k, low = k - first, ZERO
        for _ in range(k):
            high &= high - ONE
    else:
        for _ in range(k):
            low &= low - ONE
    return lowest(low, high)


@compiled
def dies(state: State, b: int, board: Board, chain: int) -> bool:
    """Whether none of a chain's stones has an empty point beside it."""
    points = board.size * board.size
    for p in range(points):
        if state.chain[b, p] == chain:
            for k in range(4):
                if state.cells[b, board.near[p, k]] == 0:
                    return False
    return True


@compiled
def score(state: State, b: int, board: Board) -> int:
    """Points of black less those of white."""
    points = board.size * board.size
    black, white = where(state.cells, b, 1, points), where(state.cells, b, -1, points)
    low, high = board.masks[0, 0] & ~(black[0] | white[0]), board.masks[0, 1] & ~(black[1] | white[1])
    both = 0
    for colour in range(2):
        reach_low, reach_high = black if colour == 0 else white
        while True:
            beside = neighbours(reach_low, reach_high, board)
            more_low, more_high = low & beside[0] & ~reach_low, high & beside[1] & ~reach_high
            if (more_low | more_high) == ZERO:
                break
            reach_low |= more_low
            reach_high |= more_high
        reached = count(reach_low) + count(reach_high)
        both += reached if colour == 0 else -reached
    return both


@compiled
def play_stone(state: State, b: int, board: Board, p: int) -> None:
    """Put a stone there, join chains, take off what has no liberty; the hash of the position now goes to the next place of the history."""
    points, own = board.size * board.size, np.int64(state.player[b])
    colour = 1 - 2 * own
    now = state.history[b, state.moves[b]] + board.stones[own, p]
    state.cells[b, p] = colour
    state.chain[b, p] = p
    for k in range(4):
        n = board.near[p, k]
        if state.cells[b, n] == colour:
            old = state.chain[b, n]
            if old != p:
                for q in range(points):
                    state.chain[b, q] = p if state.chain[b, q] == old else state.chain[b, q]
    dead = (np.int64(-1), np.int64(-1), np.int64(-1), np.int64(-1))
    for k in range(4):
        n = board.near[p, k]
        if state.cells[b, n] == -colour:
            chain = np.int64(state.chain[b, n])
            if chain not in dead and dies(state, b, board, chain):
                dead = (chain, dead[0], dead[1], dead[2])
    for chain in dead:
        if chain >= 0:
            state.captured[b] = True
            for q in range(points):
                if state.chain[b, q] == chain:
                    now -= board.stones[1 - own, q]
                    state.cells[b, q] = 0
                    state.chain[b, q] = points
    state.history[b, state.moves[b] + 1] = now


@compiled
def play_move(state: State, b: int, board: Board, action: int) -> None:
    """One move in a game that is not over, in place."""
    points = board.size * board.size
    passes = action == points
    if passes:
        state.history[b, state.moves[b] + 1] = state.history[b, state.moves[b]]
    else:
        play_stone(state, b, board, action)
    state.moves[b] += 1
    done = (passes and state.passed[b]) or state.moves[b] >= 2 * points
    state.passed[b] = passes
    state.player[b] ^= 1
    state.done[b] = done
    if done:
        ahead = score(state, b, board) - board.komi
        state.outcome[b] = 1 if ahead > 0 else (-1 if ahead < 0 else 0)


@compiled
def legal_moves(state: State, board: Board, out: Any) -> None:
    """Fill out (K, P + 1)."""
    points = board.size * board.size
    liberties, gain = np.empty((points + 1, 2), dtype=np.uint64), np.empty(points, dtype=np.uint64)
    for b in range(len(state.moves)):
        if state.done[b]:
            out[b] = False
            continue
        (low, high), _ = legal_points(state, b, board, liberties, gain)
        for p in range(min(points, 64)):
            out[b, p] = (low >> np.uint64(p)) & ONE
        for p in range(64, points):
            out[b, p] = (high >> np.uint64(p - 64)) & ONE
        out[b, points] = True


@compiled
def sensible_moves(state: State, board: Board, legal: Any, out: Any) -> None:
    """Fill out (K, P + 1) with the legal moves that fill no own eye."""
    points = board.size * board.size
    for b in range(len(state.moves)):
        opposite = 2 * np.int64(state.player[b]) - 1
        any_ = False
        for p in range(points):
            beside = False
            for k in range(4):
                cell = state.cells[b, board.near[p, k]]
                beside |= (cell == opposite) | (cell == 0)
            out[b, p] = legal[b, p] & beside
            any_ |= out[b, p]
        out[b, points] = legal[b, points] & (not any_)


@compiled
def pick_moves(state: State, board: Board, numbers: Any, sensible: bool, out: Any) -> None:
    """Fill out (K,) with a move for each number, 0 in games that are over."""
    points = board.size * board.size
    liberties, gain = np.empty((points + 1, 2), dtype=np.uint64), np.empty(points, dtype=np.uint64)
    for b in range(len(state.moves)):
        if state.done[b]:
            out[b] = 0
        else:
            free, useful = legal_points(state, b, board, liberties, gain)
            out[b] = chosen(free, useful, sensible, numbers[b], points)


@compiled
def play_moves(state: State, board: Board, action: Any) -> None:
    """One move in every game that is not over, in place."""
    for b in range(len(state.moves)):
        if not state.done[b]:
            play_move(state, b, board, action[b])


@compiled
def play_out(state: State, board: Board, numbers: Any, sensible: bool) -> None:
    """Every game to its end, in place, by a number (K, moves left) for each move."""
    points = board.size * board.size
    liberties, gain = np.empty((points + 1, 2), dtype=np.uint64), np.empty(points, dtype=np.uint64)
    for b in range(len(state.moves)):
        for t in range(numbers.shape[1]):
            if state.done[b]:
                break
            free, useful = legal_points(state, b, board, liberties, gain)
            play_move(state, b, board, chosen(free, useful, sensible, numbers[b, t], points))


@compiled
def observed(state: State, board: Board, out: Any) -> None:
    """Fill out (K, 4, P): own stones, the opponent's, whether black is to move, whether the last move was a pass."""
    points = board.size * board.size
    for b in range(len(state.moves)):
        colour = 1 - 2 * np.int64(state.player[b])
        for p in range(points):
            out[b, 0, p] = state.cells[b, p] == colour
            out[b, 1, p] = state.cells[b, p] == -colour
            out[b, 2, p] = colour == 1
            out[b, 3, p] = state.passed[b]
