"""Go compiled by numba beside Go in numpy: the same states, moves and outcomes to the last bit; and Go without numba."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from agents.games.evaluators import Rollouts, random_moves
from envs.games import game_named, join, nth_legal, take
from envs.games import go as rules
from envs.games.go import Go, GoState

SIZES = [(2, -1.0), (3, 0.5), (4, 2.0), (5, 0.5), (6, 4.0), (7, 8.5), (8, -0.5), (9, 7.5)]  # whole komi: draws


def both(size: int, komi: float) -> tuple[Go, Go]:
    pytest.importorskip("numba")
    return Go(size, komi=komi, compiled=False), Go(size, komi=komi, compiled=True)


def assert_same(a: GoState, b: GoState) -> None:
    for name, x, y in zip(GoState._fields, a, b, strict=True):
        assert x.dtype == y.dtype, name
        np.testing.assert_array_equal(x, y, err_msg=name)


def some_positions(game: Go, count: int, seed: int) -> GoState:
    """Of all ages, over some of them."""
    random, state, kept = np.random.default_rng(seed), game.initial(count), []
    for _ in range(game.longest):
        state = game.step(state, nth_legal(game.legal(state), random.random(count)))
        kept.append(state)
    return take(join(kept), random.integers(count * game.longest, size=count))


@pytest.mark.parametrize(("size", "komi"), SIZES)
def test_random_games(size: int, komi: float) -> None:
    """To their ends, passing seldom; with all that is told on the way."""
    (game, other), batch = both(size, komi), 12
    random, state, forbidden = np.random.default_rng(size), game.initial(batch), 0
    while not state.done.all():
        legal, numbers = game.legal(state), random.random(batch)
        np.testing.assert_array_equal(other.legal(state), legal)
        np.testing.assert_array_equal(other.sensible(state, legal), game.sensible(state, legal))
        np.testing.assert_array_equal(other.observe(state), game.observe(state))
        for sensible in (False, True):
            np.testing.assert_array_equal(other.choose(state, numbers, sensible=sensible), game.choose(state, numbers, sensible=sensible))
        forbidden += int((game.legal(state._replace(captured=np.zeros(batch, bool))) & ~legal).sum())
        weight = random.random(legal.shape) * legal
        weight[:, -1] *= 0.02
        action = weight.argmax(axis=1)
        after = game.step(state, action)
        assert_same(other.step(state, action), after)
        state = after
    assert state.captured.any()
    assert forbidden > 0  # by superko


@pytest.mark.parametrize(("size", "komi"), [(3, 0.5), (5, 0.5), (9, 7.5)])
@pytest.mark.parametrize("sensible", [False, True])
def test_games_played_out(size: int, komi: float, sensible: bool) -> None:
    """From positions of all ages, by the same numbers; what is short of numbers stops on the way."""
    game, other = both(size, komi)
    state = some_positions(game, 12, seed=1)
    for count in (0, 3, game.longest):
        numbers = np.random.default_rng(2).random((12, count))
        after = game.play_out(state, numbers, sensible=sensible)
        assert_same(other.play_out(state, numbers, sensible=sensible), after)
        assert count < game.longest or after.done.all()


@pytest.mark.parametrize("size", [2, 5, 9])
def test_every_move_is_chosen_by_its_share_of_the_numbers(size: int) -> None:
    """n moves: numbers from k / n on choose the k-th, so uniform numbers choose all equally."""
    game, other = both(size, 0.5)
    state = some_positions(game, 8, seed=3)
    for row in np.flatnonzero(~state.done):
        one = take(state, [row])
        for sensible in (False, True):
            legal = game.sensible(one, game.legal(one)) if sensible else game.legal(one)
            moves = np.flatnonzero(legal[0])
            inside = [(np.arange(len(moves)) + part) / len(moves) for part in (1e-9, 0.5, 1 - 1e-9)]
            numbers = np.append(np.concatenate(inside), [0.0, np.nextafter(1.0, 0.0)])
            wanted = [*np.tile(moves, 3), moves[0], moves[-1]]
            many = take(one, np.zeros(len(numbers), dtype=np.int64))
            for rules_ in (game, other):
                np.testing.assert_array_equal(rules_.choose(many, numbers, sensible=sensible), wanted)


def test_rows_and_views_of_a_batch() -> None:
    """Whatever way the arrays lie in memory, and where they must not be written to."""
    game, other = both(5, 0.5)
    state = some_positions(game, 16, seed=4)
    views: list[Any] = [slice(None, None, 2), slice(None, None, -1), [3, 3, 1], slice(0, 0)]
    for rows in views:
        part = take(state, rows)
        for field in part:
            field.flags.writeable = False
        action = game.choose(part, np.full(len(part.done), 0.3))
        np.testing.assert_array_equal(other.legal(part), game.legal(part))
        assert_same(other.step(part, action), game.step(part, action))


def test_moves_that_are_on_no_board_are_refused() -> None:
    """Compiled code would write anywhere."""
    _, game = both(5, 0.5)
    state = game.initial(2)
    for action in ([0, 26], [-1, 0], [0], [[0, 1]]):
        with pytest.raises(IndexError):
            game.step(state, np.array(action))
    with pytest.raises(IndexError, match="numbers of shape"):
        game.choose(state, np.zeros(3))


def test_random_play_is_the_same_from_the_same_seed() -> None:
    """Where numba is missing too."""
    state = some_positions(Go(5, komi=0.5, compiled=False), 10, seed=5)
    state = take(state, ~state.done)
    told = []
    for game in both(5, 0.5):
        random = np.random.default_rng(6)
        moves = random_moves(game, state, random)
        told.append((moves.tolist(), Rollouts(game, random)(state, game.legal(state))[1].tolist(), random.random()))
    assert told[0] == told[1]
    assert set(told[0][1]) == {-1.0, 1.0}


def test_without_numba_numpy_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "find_spec", lambda name: None)
    game = Go(5, komi=0.5)
    assert not game.compiled
    assert game.legal(game.initial(1)).all()


def test_a_numba_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, once, and numpy computes; who asks for compiled rules gets none."""
    monkeypatch.setitem(sys.modules, "envs.games.go_compiled", None)  # importing it fails
    monkeypatch.setattr(rules, "find_spec", lambda name: object())
    game = Go(5, komi=0.5)
    with pytest.warns(UserWarning, match="without numba, which cannot be imported"):
        assert game.legal(game.initial(1)).all()
    assert not game.compiled
    with pytest.raises(ModuleNotFoundError, match=r"closedloop\[games\]"):
        Go(5, komi=0.5, compiled=True)


def test_numba_is_imported_late() -> None:
    code = "import sys; from envs.games import game_named; game_named('go_9x9').initial(1); print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_the_games_that_are_registered_compile_where_they_can() -> None:
    pytest.importorskip("numba")
    game = game_named("go_5x5")
    assert isinstance(game, Go)
    assert game.compiled


def test_what_is_no_game_or_move_of_this_board_is_refused() -> None:
    game, small = Go(9, komi=7.5, compiled=True), Go(5, komi=0.5, compiled=True)
    state = game.initial(2)
    with pytest.raises(IndexError, match="must be whole numbers"):
        game.step(state, np.array([3.7, 4.2]))  # type: ignore[arg-type]
    for wrong in (game.legal, lambda s: game.step(s, np.array([1, 2])), lambda s: game.play_out(s, np.zeros((2, 162)))):
        with pytest.raises(ValueError, match="games on a board of 25 points, not 81"):
            wrong(small.initial(2))
    with pytest.raises(ValueError, match=r"legal moves of shape \(1, 82\)"):
        game.sensible(state, game.legal(state)[:1])
