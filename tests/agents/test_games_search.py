"""Tree search, alpha-beta and matches: what must come out of them whatever the game."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.games import SearchConfig, play_match, player_named, search
from agents.games.alphabeta import best_moves, move_values
from agents.games.arena import elo_difference, openings, ratings
from agents.games.evaluators import Rollouts, Uniform
from agents.games.players import UnknownPlayer
from agents.games.record import replayed
from agents.games.search import _most_visited, considered_visits, improved_policy
from agents.games.tree import Edges, Evaluator
from envs.games import GAMES, Game, game_named, join, take

ROOTS = ("gumbel", "puct", "uct")


def positions(game: Game[Any], count: int, moves: int, seed: int) -> Any:
    return openings(game, count, moves, np.random.default_rng(seed))


def judge(game: Game[Any], root: str, random: np.random.Generator) -> Evaluator:
    return Rollouts(game, random) if root == "uct" and game.longest <= 50 else Uniform()  # games at random to the end take their time


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("name", list(GAMES))
def test_visits_sum_to_the_simulations(name: str, root: str) -> None:
    """In every game, for legal moves only; the policy sums to one; games that are over get nothing."""
    game, random = game_named(name), np.random.default_rng(0)
    state = game.initial(1)
    while not state.done[0]:
        legal = game.legal(state)
        state = game.step(state, (random.random(legal.shape) * legal).argmax(axis=1))
    batch = join([positions(game, 3, 4, 1), state])
    config = SearchConfig(simulations=20, root=root)  # type: ignore[arg-type]
    for explore in (False, True):
        found = search(game, batch, judge(game, root, random), config, random, explore=explore)
        legal = game.legal(batch)
        assert found.visits.sum(axis=1).tolist() == [20, 20, 20, 0]
        assert not found.visits[~legal].any()
        assert not found.policy[~legal].any()
        np.testing.assert_allclose(found.policy.sum(axis=1), [1, 1, 1, 0], atol=1e-5)
        assert legal[np.arange(3), found.action[:3]].all()
        assert (found.action[3], found.value[3], found.proven[3]) == (0, 0, False)
        assert (np.abs(found.value) <= 1).all()


@cache
def wins_in_two(name: str, moves: int, count: int) -> Any:
    """Positions where no move wins at once, but some (not all) win whatever the answer; alpha-beta says so."""
    game, chosen = game_named(name), list[Any]()
    state = positions(game, 1500 if name == "connect_four" else 200, moves, 2)
    for b in range(len(state.done)):
        one = take(state, [b])
        if np.nanmax(move_values(game, one, 1)) < 1:
            values = move_values(game, one, 3)
            if np.nanmax(values) == 1 and np.nanmin(values) < 1:
                chosen.append(one)
        if len(chosen) == count:
            return join(chosen)
    raise AssertionError(f"only {len(chosen)} such positions")


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(("name", "moves", "count"), [("connect_four", 15, 24), ("tic_tac_toe", 4, 12)])
def test_a_forced_win_in_two_is_always_found(name: str, moves: int, count: int, root: str) -> None:
    """Found, and known to be a win; a longer way to win would do too, if alpha-beta says that it is one."""
    game, random = game_named(name), np.random.default_rng(3)
    state = wins_in_two(name, moves, count)
    # Without any knowledge sequential halving drops moves before it has seen enough of them, so it needs more.
    config = SearchConfig(simulations=1200 if root == "gumbel" else 600, root=root)  # type: ignore[arg-type]
    found = search(game, state, judge(game, root, random), config, random)
    assert found.proven.all()
    assert (found.value == 1).all()
    for b in range(count):
        one, action = take(state, [b]), found.action[b]
        assert move_values(game, one, 3)[action] == 1 or move_values(game, one, 5)[action] == 1


@pytest.mark.parametrize("root", ROOTS)
def test_the_only_defence_is_found(root: str) -> None:
    """Connect Four: all moves but one lose at once."""
    game, random = game_named("connect_four"), np.random.default_rng(4)
    state = positions(game, 600, 11, 5)
    best = best_moves(game, state, 2)
    only = np.flatnonzero(best.sum(axis=1) == 1)[:60]
    only = np.array([b for b in only if np.nanmax(move_values(game, take(state, [b]), 1)) < 1])
    assert len(only) >= 20
    config = SearchConfig(simulations=300, root=root)  # type: ignore[arg-type]
    found = search(game, take(state, only), judge(game, root, random), config, random)
    assert best[only, found.action].all()


def test_what_is_proven_is_true() -> None:
    """Tic-tac-toe, solved from the fifth move by both."""
    game = game_named("tic_tac_toe")
    state = positions(game, 120, 4, 6)
    found = search(game, state, Uniform(), SearchConfig(simulations=600, root="puct"), np.random.default_rng(0))
    assert found.proven.mean() > 0.9
    for b in np.flatnonzero(found.proven):
        values = move_values(game, take(state, [b]), 9)
        assert found.value[b] == np.nanmax(values)
        assert values[found.action[b]] == np.nanmax(values)


class Counting:
    """Holds every position for even, and notes which it was asked about."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __call__(self, state: Any, legal: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.asked.append(state)
        return Uniform()(state, legal)


FOURS = ([20, 21, 22, 23], [22, 31, 40, 49], [20, 30, 40, 50], [58, 50, 42, 34], [1, 2, 3, 4])  # across, down, both diagonals, at an edge


def open_fours() -> Any:
    """Gomoku by hand: four in a row, of the first player or the second, and either of them to move. Whoever has it and is to move wins at
    once, at both ends; in the last four positions both ends are taken."""
    found = list[Any]()
    for four, apart in (*((four, [8, 78, 72, 74]) for four in FOURS), (FOURS[0], [19, 24, 72, 74])):
        pairs = [move for pair in zip(four, apart, strict=True) for move in pair]
        found += [replayed(game_named("gomoku"), moves) for moves in (pairs, [*pairs, 76], [6, *pairs], [6, *pairs, 76])]
    return join(found)


@pytest.mark.parametrize("name", ["connect_four", "tic_tac_toe", "gomoku"])
def test_a_move_ahead_is_seen_in_games_of_lines(name: str) -> None:
    """A single simulation finds a win at once and knows it; the judge is asked only where no move wins at once, and nothing is asked once
    the root is decided. Policies to learn from are of winning moves alone."""
    game, judge_ = game_named(name), Counting()
    depth = 4 if name == "tic_tac_toe" else 12
    state = open_fours() if name == "gomoku" else positions(game, 300, depth, 10)
    values = np.array([move_values(game, take(state, [b]), 1) for b in range(len(state.done))])
    wins = np.nanmax(values, axis=1) == 1
    assert wins.sum() >= 10
    if name == "gomoku":
        assert np.flatnonzero(wins).tolist() == [4 * k + own for k in range(5) for own in (0, 2)]
        assert (np.nansum(values == 1, axis=1)[wins] == 2).all()
    for root in ("gumbel", "puct"):
        found = search(game, state, judge_, SearchConfig(simulations=1, root=root), np.random.default_rng(0))  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.proven & (found.value == 1), wins)
        np.testing.assert_array_equal(values[wins, found.action[wins]], 1)
        assert not found.policy[wins][values[wins] != 1].any()
        np.testing.assert_allclose(found.policy.sum(axis=1), 1.0, atol=1e-5)
    for asked in judge_.asked:
        assert all(np.nanmax(move_values(game, take(asked, [b]), 1)) < 1 for b in range(0, len(asked.done), 7))
    if wins.any():
        judge_.asked.clear()
        search(game, take(state, wins), judge_, SearchConfig(simulations=20), np.random.default_rng(0))
        assert not judge_.asked


@pytest.mark.parametrize("root", ["gumbel", "puct"])
@pytest.mark.parametrize("name", ["connect_four", "go_5x5", "othello"])
def test_a_game_is_searched_as_if_it_were_alone(name: str, root: str) -> None:
    game = game_named(name)
    state = positions(game, 5, 6, 7)
    config = SearchConfig(simulations=40, root=root)  # type: ignore[arg-type]
    together = search(game, state, Uniform(), config, np.random.default_rng(0))
    for b in range(5):
        alone = search(game, take(state, [b]), Uniform(), config, np.random.default_rng(1))
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_[b])


def test_exploring_draws_from_the_seed() -> None:
    game, config = game_named("connect_four"), SearchConfig(simulations=16)
    actions = [search(game, game.initial(64), Uniform(), config, np.random.default_rng(s), explore=True).action for s in (0, 0, 1)]
    np.testing.assert_array_equal(actions[0], actions[1])
    assert (actions[0] != actions[2]).any()
    assert len(set(actions[0])) > 3


def test_sequential_halving() -> None:
    """By hand for 4 moves and 8 simulations; in general every count is reached in order and shares are equal within a round."""
    assert considered_visits(4, 8) == (0, 0, 0, 0, 1, 1, 2, 2)
    assert considered_visits(1, 3) == (0, 1, 2)
    for considered in (2, 3, 7, 16):
        for simulations in (1, 5, 32, 200):
            sequence = considered_visits(considered, simulations)
            assert len(sequence) == simulations
            assert set(sequence) == set(range(max(sequence) + 1))
            assert all(sequence.count(a) >= sequence.count(b) for a, b in pairwise(range(max(sequence) + 1)))
            assert sequence.count(0) == min(considered, simulations)


def test_the_improved_policy_is_better() -> None:
    """With the true values of the moves tried, it expects at least what the evaluator's policy does (Danihelka et al., section 4)."""
    random = np.random.default_rng(8)
    shape = (200, 9)
    legal = random.random(shape) < 0.8
    legal[:, 0] = True
    logits = np.where(legal, random.normal(size=shape), -np.inf).astype(np.float32)
    value = random.uniform(-1, 1, shape).astype(np.float32)
    prior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    own = (prior * value).sum(axis=1)
    edges = Edges(legal, logits, legal.astype(np.int64), value, legal, legal & False, own.astype(np.float32))
    policy, completed = improved_policy(edges, SearchConfig())
    assert ((policy * value).sum(axis=1) >= own - 1e-6).all()
    assert ((completed >= 0) & (completed <= 1)).all()
    assert not policy[~legal].any()


def test_a_lucky_move_is_not_a_proven_one() -> None:
    """A value of 1 from a single visit does not outweigh a hundred visits; a proven one does."""
    visits, value, all_ = np.array([[100, 1, 30]]), np.array([[0.4, 1.0, 0.2]], np.float32), np.ones((1, 3), np.bool_)
    lucky = Edges(all_, np.zeros((1, 3), np.float32), visits, value, all_, ~all_, np.zeros(1, np.float32))
    assert _most_visited(lucky).tolist() == [0]
    assert _most_visited(lucky._replace(certain=value == 1)).tolist() == [1]


def test_alpha_beta_is_plain_minimax() -> None:
    """The same values as without pruning and table, at several depths."""

    def plain(game: Game[Any], state: Any, depth: int) -> int:
        if state.done[0]:
            return int(state.outcome[0]) * (1 - 2 * int(state.player[0]))
        moves = np.flatnonzero(game.legal(state)[0]) if depth else []
        return max((-plain(game, game.step(state, np.array([m])), depth - 1) for m in moves), default=0)

    for name, moves, depth in (("tic_tac_toe", 3, 6), ("connect_four", 14, 3), ("tic_tac_toe", 2, 4)):
        game = game_named(name)
        state = positions(game, 6, moves, 9)
        for b in range(6):
            one = take(state, [b])
            wanted = [-plain(game, game.step(one, np.array([m])), depth - 1) if ok else None for m, ok in enumerate(game.legal(one)[0])]
            assert [None if np.isnan(v) else int(v) for v in move_values(game, one, depth)] == wanted


def test_tic_tac_toe_is_a_draw() -> None:
    game = game_named("tic_tac_toe")
    assert (move_values(game, game.initial(1), 9) == 0).all()
    match = play_match(game, player_named("alphabeta", game), player_named("random", game), openings_count=4, seed=0, opening_moves=1)
    assert match.results["lost"] == 0


def test_a_match_is_fair_and_repeatable() -> None:
    """Whoever plays itself gets half of the points; both sides of an opening are played; the seed decides all."""
    game = game_named("connect_four")
    player = player_named("random", game)
    one, two, other = (play_match(game, player, player, openings_count=150, seed=s, opening_moves=2) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.points, two.points)
    assert not np.array_equal(one.points, other.points)
    assert one.score.low < 0.5 < one.score.high
    assert sum(one.results.values()) == 300
    strong = play_match(game, player_named("alphabeta:3", game), player, openings_count=5, seed=0)
    assert strong.points.mean(axis=0).min() > 0.5  # moving first and moving second


def test_openings_differ_and_are_not_over() -> None:
    state = openings(game_named("connect_four"), 40, 4, np.random.default_rng(0))
    assert len({(int(a), int(b)) for a, b in zip(state.own, state.stones, strict=True)}) == 40
    assert not state.done.any()
    with pytest.raises(ValueError, match="9 random moves: tic_tac_toe is over before that"):
        openings(game_named("tic_tac_toe"), 1, 9, np.random.default_rng(0))


def test_elo() -> None:
    """Three to one is 191 points; ratings are differences, fit what was given, and lean towards none."""
    assert elo_difference(0.75, 10**6) == pytest.approx(190.85, abs=0.01)
    assert elo_difference(0.5, 10) == 0.0
    assert 0 < elo_difference(1.0, 10) < elo_difference(1.0, 100) < 1200
    found = ratings(["a", "b", "c"], [("a", "b", 7500, 10_000), ("b", "c", 7500, 10_000)], anchor="c")
    assert found["c"] == 0.0
    assert found["b"] == pytest.approx(190.85, abs=0.5)
    assert found["a"] == pytest.approx(381.7, abs=1.0)
    with pytest.raises(ValueError, match="d: not among the players"):
        ratings(["a"], [("a", "d", 1, 2)], anchor="a")


@pytest.mark.parametrize(
    ("name", "message"),
    [("mtcs", "did you mean 'mcts'"), ("mcts:none", "whole number"), ("mcts:0", "whole number"), ("random:3", "none for random")],
)
def test_unknown_players_are_told(name: str, message: str) -> None:
    with pytest.raises(UnknownPlayer, match=message):
        player_named(name, game_named("connect_four"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"simulations": 0}, "simulations=0"),
        ({"root": "best"}, "root='best'"),
        ({"considered": 1}, "considered=1"),
        ({"noise_share": 2}, "=2"),
    ],
)
def test_search_settings_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchConfig(**options)
