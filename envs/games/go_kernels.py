"""The rules of Go compiled by numba (extra `games`): what `envs.games.go` says with arrays, game by game. Imported when first needed.

A set of points is two words, bit p of `low` and bit p - 64 of `high`: neighbours are shifts. A chain's liberties are such a set, at the
point that stands for it. Whether a move brings a position back is asked the other way round: for each position that has been, which stone
would lead there, by a table over bits of the hash (`Tables.which`). Helpers are given the arrays they use and no more: each costs.
All is in one file, because numba takes what it has kept on disk for fresh as long as this file is.

Shapes: K games, P points, T moves at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numba.core.options import DefaultOptions
from numpy.typing import NDArray

__all__ = ["BUCKETS", "Board", "Tables", "legal_moves", "observed", "pick_moves", "play_moves", "play_out", "sensible_moves"]

F = TypeVar("F", bound=Callable[..., Any])
State = Any  # of `envs.games.go`, a NamedTuple of arrays; numba sees its fields
Int = Any  # any whole number of numpy's or Python's
Set = tuple[Any, Any]  # of points: words of 64 bits, low and high

ONE, ZERO = np.uint64(1), np.uint64(0)
# References to arrays are not counted, which would take half the time. Numba does not document this option: without it all is the same.
UNCOUNTED: dict[str, Any] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}
BUCKETS = np.uint64(4095)  # of `Tables.which`, less one: all bits set


class Board(NamedTuple):
    """Numbers that depend on the size alone; the words are sets of points."""

    size: int
    points: int
    komi: float
    shift: np.uint64  # of `Tables.which`
    every_low: np.uint64
    every_high: np.uint64
    not_last_low: np.uint64  # in another than the last column
    not_last_high: np.uint64
    not_first_low: np.uint64
    not_first_high: np.uint64


class Tables(NamedTuple):
    """Arrays that depend on the size alone, and room to work in."""

    near: NDArray[np.int64]  # (P, 4) neighbours; P where there is none
    around: NDArray[np.uint64]  # (2, P) the same as sets
    stones: NDArray[np.uint64]  # (2, P + 1) the hash's random numbers
    which: NDArray[np.int16]  # (2, BUCKETS + 1) the point whose number has those bits, from `shift` on; P: none
    liberties: NDArray[np.uint64]  # (2, 2 P + 1) of chains; from P on nobody's
    short: NDArray[np.uint8]  # (P + 1,) whether a chain has one liberty
    gain: NDArray[np.uint64]  # (P,) hash of what a move takes


def compiled(function: F) -> F:
    """By numba when first called, and kept on disk where there is a place for it. The interpreter's lock is held throughout, so the room
    to work in is nobody else's."""
    try:
        return cast(F, numba.njit(cache=True, **UNCOUNTED)(function))
    except RuntimeError:  # nowhere to write
        return cast(F, numba.njit(**UNCOUNTED)(function))


@compiled
def bit(p: Int) -> Set:
    """The set of one point."""
    return (ONE << np.uint64(p), ZERO) if p < 64 else (ZERO, ONE << np.uint64(p - 64))


@compiled
def count(word: Any) -> Int:
    """Bits that are set (Hacker's Delight, 5-1)."""
    word = word - ((word >> ONE) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def lowest(low: Any, high: Any) -> Int:
    """The first point of a set that has one."""
    if low:
        return count((low & (~low + ONE)) - ONE)
    return 64 + count((high & (~high + ONE)) - ONE)


@compiled
def beside(low: Any, high: Any, board: Board) -> Set:
    """The neighbours of a set, which may be in it."""
    size, rest, last = np.uint64(board.size), np.uint64(64 - board.size), np.uint64(63)
    right_low, right_high = low & board.not_last_low, high & board.not_last_high
    left_low, left_high = low & board.not_first_low, high & board.not_first_high
    found_low = (low << size) | (low >> size) | (high << rest) | (right_low << ONE) | (left_low >> ONE) | (left_high << last)
    found_high = (high << size) | (low >> rest) | (high >> size) | (right_high << ONE) | (right_low >> last) | (left_high >> ONE)
    return found_low & board.every_low, found_high & board.every_high


@compiled
def where(values: Any, b: Int, wanted: Int, points: Int) -> Set:
    """The points that have a value."""
    low, high = ZERO, ZERO
    for p in range(min(points, 64)):
        low |= np.uint64(values[b, p] == wanted) << np.uint64(p)
    for p in range(64, points):
        high |= np.uint64(values[b, p] == wanted) << np.uint64(p - 64)
    return low, high


@compiled
def in_atari(chain: Any, b: Int, board: Board, low: Any, high: Any, around: Any, liberties: Any, short: Any) -> Set:
    """The stones whose chain has one liberty, the empty points being given; and fill liberties and short."""
    points = board.points
    for p in range(points):
        liberties[0, p] = ZERO
        liberties[1, p] = ZERO
    for p in range(min(points, 64 + board.size)):
        c = np.uint16(chain[b, p])
        liberties[0, c + np.uint16(p * (c == points))] |= low & around[0, p]  # not all empty points to one place: each waits for the last
    for p in range(64 - board.size, points):
        c = np.uint16(chain[b, p])
        liberties[1, c + np.uint16(p * (c == points))] |= high & around[1, p]
    for p in range(points):
        first, second = liberties[0, p], liberties[1, p]
        more = (first & (first - ONE)) | (second & (second - ONE))
        short[p] = (more == ZERO) & ((first == ZERO) != (second == ZERO))
    found_low, found_high = ZERO, ZERO
    for p in range(min(points, 64)):
        found_low |= np.uint64(short[np.uint16(chain[b, p])]) << np.uint64(p)
    for p in range(64, points):
        found_high |= np.uint64(short[np.uint16(chain[b, p])]) << np.uint64(p - 64)
    return found_low, found_high


@compiled
def captures(chain: Any, b: Int, board: Board, low: Any, high: Any, lost: Any, liberties: Any, gain: Any) -> Set:
    """Where the chains in atari among those stones can be taken, and fill gain. lost (P + 1,): what a stone is in the hash."""
    taken_low, taken_high = ZERO, ZERO
    here_low, here_high = ZERO, ZERO
    for p in range(min(board.points, 64)):
        here_low |= np.uint64(chain[b, p] == p) << np.uint64(p)
    for p in range(64, board.points):
        here_high |= np.uint64(chain[b, p] == p) << np.uint64(p - 64)
    low, high = low & here_low, high & here_high
    gain[:] = ZERO
    while low | high:
        p = lowest(low, high)
        one = bit(p)
        low &= ~one[0]
        high &= ~one[1]
        taken_low |= liberties[0, p]
        taken_high |= liberties[1, p]
        total = ZERO
        for q in range(board.points):
            total += lost[q] if chain[b, q] == p else ZERO
        gain[lowest(liberties[0, p], liberties[1, p])] += total
    return taken_low, taken_high


@compiled
def repeats(history: Any, b: Int, moves: Int, board: Board, stones: Any, which: Any, taken: Set, gain: Any) -> Set:
    """Where a stone brings a position back; taken: the points that capture. stones (P + 1,) and which of whoever is to move."""
    low, high = ZERO, ZERO
    now = history[b, moves]
    for t in range(moves + 1):
        stone = history[b, t] - now
        p = which[(stone >> board.shift) & BUCKETS]
        if stones[p] == stone and p != board.points:
            here = bit(p)
            low |= here[0] & ~taken[0]
            high |= here[1] & ~taken[1]
    left_low, left_high = taken
    while left_low | left_high:
        p = lowest(left_low, left_high)
        here = bit(p)
        left_low &= ~here[0]
        left_high &= ~here[1]
        after = now + stones[p] - gain[p]
        again = False
        for t in range(moves + 1):
            again |= history[b, t] == after
        if again:
            low |= here[0]
            high |= here[1]
    return low, high


@compiled
def legal_points(
    b: Int, board: Board, cells: Any, chain: Any, history: Any, moves: Int, captured: Any, own: Int, tables: Tables
) -> tuple[Any, Any, Any, Any]:
    """Where a stone may be played in a game that is not over; and where it would fill no own eye."""
    colour = 1 - 2 * own
    mine, others = where(cells, b, colour, board.points), where(cells, b, -colour, board.points)
    low, high = board.every_low & ~(mine[0] | others[0]), board.every_high & ~(mine[1] | others[1])
    airy, touched = beside(low, high, board), beside(others[0], others[1], board)
    free_low, free_high = low & airy[0], high & airy[1]
    if free_low != low or free_high != high or captured:
        short = in_atari(chain, b, board, low, high, tables.around, tables.liberties, tables.short)
        joined = beside(mine[0] & ~short[0], mine[1] & ~short[1], board)
        takes = beside(others[0] & short[0], others[1] & short[1], board)
        free_low |= low & (joined[0] | takes[0])
        free_high |= high & (joined[1] | takes[1])
        if captured:
            foe_low, foe_high = others[0] & short[0], others[1] & short[1]
            taken = captures(chain, b, board, foe_low, foe_high, tables.stones[1 - own], tables.liberties, tables.gain)
            again = repeats(history, b, moves, board, tables.stones[own], tables.which[own], taken, tables.gain)
            free_low &= ~again[0]
            free_high &= ~again[1]
    return free_low, free_high, free_low & (airy[0] | touched[0]), free_high & (airy[1] | touched[1])


@compiled
def chosen(low: Any, high: Any, passes: bool, number: float, points: Int) -> Int:
    """The move at the share `number` of a set's, in order; passes: whether the pass is the last of them, which it is in an empty set."""
    first = count(low)
    stones = first + count(high)
    moves = stones + 1 if passes else max(stones, 1)
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
def score(cells: Any, b: Int, board: Board) -> Int:
    """Points of black less those of white."""
    black, white = where(cells, b, 1, board.points), where(cells, b, -1, board.points)
    low, high = board.every_low & ~(black[0] | white[0]), board.every_high & ~(black[1] | white[1])
    ahead, reach = 0, black
    for sign in (1, -1):
        while True:
            more = beside(reach[0], reach[1], board)
            more_low, more_high = low & more[0] & ~reach[0], high & more[1] & ~reach[1]
            if (more_low | more_high) == ZERO:
                break
            reach = (reach[0] | more_low, reach[1] | more_high)
        ahead += sign * (count(reach[0]) + count(reach[1]))
        reach = white
    return ahead


@compiled
def play_stone(b: Int, p: Int, own: Int, board: Board, cells: Any, chain: Any, near: Any, lost: Any) -> tuple[bool, Any]:
    """Put a stone there, join chains, take off what has no liberty: whether something was taken, and its hash. lost: as in `captures`."""
    colour = 1 - 2 * own
    cells[b, p] = colour
    chain[b, p] = p
    held = False
    for k in range(4):
        n = near[p, k]
        if cells[b, n] == colour and chain[b, n] != p:
            old = chain[b, n]
            for q in range(board.points):
                chain[b, q] = p if chain[b, q] == old else chain[b, q]
        elif cells[b, n] == -colour:
            airy = False
            for j in range(4):
                airy |= cells[b, near[n, j]] == 0
            held |= not airy
    gone_low, gone_high = ZERO, ZERO
    if held:  # some neighbour has no liberty of its own
        empty = where(cells, b, 0, board.points)
        air = beside(empty[0], empty[1], board)
        for k in range(4):
            n = near[p, k]
            if cells[b, n] == -colour:
                low, high = where(chain, b, chain[b, n], board.points)
                if ((low & air[0]) | (high & air[1])) == ZERO:
                    gone_low |= low
                    gone_high |= high
    total, any_ = ZERO, (gone_low | gone_high) != ZERO
    while gone_low | gone_high:
        q = lowest(gone_low, gone_high)
        here = bit(q)
        gone_low &= ~here[0]
        gone_high &= ~here[1]
        total += lost[q]
        cells[b, q] = 0
        chain[b, q] = board.points
    return any_, total


@compiled
def play_move(b: Int, action: Int, board: Board, state: State, tables: Tables) -> None:
    """One move in a game that is not over, in place."""
    moves, own, now = np.int64(state.moves[b]), np.int64(state.player[b]), state.history[b, state.moves[b]]
    passes = action == board.points
    if not passes:
        any_, gone = play_stone(b, action, own, board, state.cells, state.chain, tables.near, tables.stones[1 - own])
        now += tables.stones[own, action] - gone
        state.captured[b] |= any_
    state.history[b, moves + 1] = now
    done = (passes and state.passed[b]) or moves + 1 >= 2 * board.points
    state.moves[b] = moves + 1
    state.passed[b] = passes
    state.player[b] = 1 - own
    if done:
        state.done[b] = True
        ahead = score(state.cells, b, board) - board.komi
        state.outcome[b] = 1 if ahead > 0 else (-1 if ahead < 0 else 0)


@compiled
def legal_moves(state: State, board: Board, tables: Tables, out: Any) -> None:
    """Fill out (K, P + 1)."""
    cells, chain, history, moves, captured, _, player, done, _ = state
    for b in range(len(moves)):
        low, high = ZERO, ZERO
        if not done[b]:
            low, high, _, _ = legal_points(b, board, cells, chain, history, moves[b], captured[b], np.int64(player[b]), tables)
        for p in range(min(board.points, 64)):
            out[b, p] = (low >> np.uint64(p)) & ONE
        for p in range(64, board.points):
            out[b, p] = (high >> np.uint64(p - 64)) & ONE
        out[b, board.points] = not done[b]


@compiled
def sensible_moves(state: State, board: Board, tables: Tables, legal: Any, out: Any) -> None:
    """Fill out (K, P + 1) with the legal moves that fill no own eye."""
    for b in range(len(state.moves)):
        opposite, found = 2 * np.int64(state.player[b]) - 1, False
        for p in range(board.points):
            useful = False
            for k in range(4):
                cell = state.cells[b, tables.near[p, k]]
                useful |= (cell == opposite) | (cell == 0)
            out[b, p] = legal[b, p] & useful
            found |= out[b, p]
        out[b, board.points] = legal[b, board.points] & (not found)


@compiled
def pick_moves(state: State, board: Board, tables: Tables, numbers: Any, sensible: bool, out: Any) -> None:
    """Fill out (K,) with a move for each number, 0 in games that are over."""
    cells, chain, history, moves, captured, _, player, done, _ = state
    for b in range(len(moves)):
        out[b] = 0
        if not done[b]:
            low, high, wise_low, wise_high = legal_points(
                b, board, cells, chain, history, moves[b], captured[b], np.int64(player[b]), tables
            )
            if sensible:
                low, high = wise_low, wise_high
            out[b] = chosen(low, high, not sensible, numbers[b], board.points)


@compiled
def play_moves(before: State, board: Board, tables: Tables, action: Any, state: State) -> None:
    """Fill `state` with what one move in every game that is not over makes of `before`."""
    for b in range(len(action)):  # game by game, which stays in the nearest cache
        for p in range(board.points + 1):
            state.cells[b, p] = before.cells[b, p]
        for p in range(board.points + 1):
            state.chain[b, p] = before.chain[b, p]
        for t in range(2 * board.points + 1):
            state.history[b, t] = before.history[b, t]
        state.moves[b], state.captured[b], state.passed[b] = before.moves[b], before.captured[b], before.passed[b]
        state.player[b], state.done[b], state.outcome[b] = before.player[b], before.done[b], before.outcome[b]
        if not state.done[b]:
            play_move(b, action[b], board, state, tables)


@compiled
def play_out(state: State, board: Board, tables: Tables, numbers: Any, sensible: bool) -> None:
    """Every game to its end or that of its numbers (K, M), one for each move, in place."""
    cells, chain, history, moves, captured, _, player, done, _ = state
    for b in range(len(moves)):
        for t in range(numbers.shape[1]):
            if done[b]:
                break
            low, high, wise_low, wise_high = legal_points(
                b, board, cells, chain, history, moves[b], captured[b], np.int64(player[b]), tables
            )
            if sensible:
                low, high = wise_low, wise_high
            play_move(b, chosen(low, high, not sensible, numbers[b, t], board.points), board, state, tables)


@compiled
def observed(state: State, board: Board, out: Any) -> None:
    """Fill out (K, 4, P): own stones, the opponent's, whether black is to move, whether the last move was a pass."""
    for b in range(len(state.moves)):
        colour = 1 - 2 * np.int64(state.player[b])
        for p in range(board.points):
            out[b, 0, p] = state.cells[b, p] == colour
            out[b, 1, p] = state.cells[b, p] == -colour
        out[b, 2] = colour == 1
        out[b, 3] = state.passed[b]
