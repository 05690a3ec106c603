"""What must hold for every board game that is registered, and for its PettingZoo shell."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from envs.games import GAMES, BoardGameEnv, Game, IllegalMove, UnknownGame, env, game_named, join, play, take
from envs.games.bits import bit_mask
from envs.games.othello import Othello, placements

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pettingzoo.test imports one of its own deprecated modules
    from pettingzoo.test import api_test


@pytest.fixture(params=list(GAMES))
def game(request: pytest.FixtureRequest) -> Game[Any]:
    return game_named(request.param)


def random_moves(game: Game[Any], state: Any, random: np.random.Generator) -> np.ndarray:
    """A legal move in each game; move 0 where it is over."""
    legal = game.legal(state)
    return np.asarray((random.random(legal.shape) * legal).argmax(axis=1))


def random_game(game: Game[Any], batch: int, seed: int) -> Iterator[tuple[Any, np.ndarray]]:
    """States and the random moves played in them, until all games are over; then the last state and no moves that count."""
    random, state = np.random.default_rng(seed), game.initial(batch)
    for _ in range(game.longest + 1):
        action = random_moves(game, state, random)
        yield state, action
        if state.done.all():
            return
        state = game.step(state, action)
    raise AssertionError("a game did not end")


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def test_every_game_ends_and_tells_its_shapes(game: Game[Any]) -> None:
    outcomes = set()
    for state, _ in random_game(game, 64, seed=1):
        legal, planes = game.legal(state), game.observe(state)
        assert legal.shape == (64, game.actions)
        assert planes.shape == (64, game.planes, game.rows, game.columns)
        assert planes.dtype == np.int8
        assert set(np.unique(planes)) <= {0, 1}
        assert not (planes[:, 0] & planes[:, 1]).any()
        np.testing.assert_array_equal(legal.any(axis=1), ~state.done)
        assert not state.outcome[~state.done].any()
        outcomes |= set(state.outcome[state.done].tolist())
    assert {-1, 1} <= outcomes


def test_a_row_of_a_batch_is_a_game_of_its_own(game: Game[Any]) -> None:
    alone = game.initial(1)
    for state, action in random_game(game, 5, seed=2):
        assert same(take(state, [3]), alone)
        np.testing.assert_array_equal(game.legal(state)[3:4], game.legal(alone))
        np.testing.assert_array_equal(game.observe(state)[3:4], game.observe(alone))
        alone = game.step(alone, action[3:4])
    assert alone.done.all()


def test_states_are_not_changed_and_finished_games_stay(game: Game[Any]) -> None:
    history, copies = [], []
    for state, action in random_game(game, 16, seed=3):
        history.append(state)
        copies.append(type(state)(*(field.copy() for field in state)))
        over = state.done
        assert same(take(game.step(state, action), over), take(state, over))
    assert all(same(a, b) for a, b in zip(history, copies, strict=True))


def test_joined_batches_are_what_they_were(game: Game[Any]) -> None:
    state = game.step(game.initial(2), np.array([0, 1]) if game.name != "othello" else np.array([19, 26]))
    both = join([game.initial(1), state])
    assert same(take(both, slice(1, None)), state)
    assert same(take(both, [0]), game.initial(1))


def test_the_rules_do_not_notice_symmetries(game: Game[Any]) -> None:
    """The same game turned and mirrored: same legal moves, same boards, same outcome; each map is undone by another."""
    points, moves = game.symmetries
    np.testing.assert_array_equal(points[0], np.arange(game.rows * game.columns))
    for table in (points, moves):
        assert {tuple(np.argsort(row)) for row in table} == {tuple(row) for row in table}
        assert len({tuple(row) for row in table}) == len(table)
    there, every = np.argsort(moves, axis=1), np.arange(len(points))  # where a move goes
    images = _start_seen_through(game, points)
    for state, action in random_game(game, 1, seed=4):
        np.testing.assert_array_equal(game.legal(state)[0][moves], game.legal(images))
        seen = game.observe(state).reshape(game.planes, -1)[:, points].transpose(1, 0, 2)
        np.testing.assert_array_equal(seen, game.observe(images).reshape(len(points), game.planes, -1))
        assert set(images.outcome) == set(state.outcome)
        images = game.step(images, there[every, action[0]])


def _start_seen_through(game: Game[Any], points: np.ndarray) -> Any:
    """The first position, once for each symmetry. That of Othello is not its own image."""
    start = game.initial(len(points))
    if not isinstance(game, Othello):
        return start
    own, other = ([bit_mask(list(np.flatnonzero(plane.reshape(-1)[p]))) for p in points] for plane in game.observe(start)[0])
    turned = np.array(own, dtype=np.uint64), np.array(other, dtype=np.uint64)
    return start._replace(own=turned[0], other=turned[1], moves=placements(*turned))


def test_illegal_moves_are_refused(game: Game[Any]) -> None:
    for state, _ in random_game(game, 1, seed=5):
        refused = np.flatnonzero(~game.legal(state)[0])
        if state.done.all():
            break
        for action in [*refused, -1, game.actions]:
            with pytest.raises(IllegalMove, match=rf"{game.name}, game 0: move {action} is not legal; legal moves: \d"):
                play(game, state, np.array([action]))


def test_moves_have_names_and_boards_are_shown(game: Game[Any]) -> None:
    assert len({game.action_name(a) for a in range(game.actions)}) == game.actions
    *_, (state, _) = random_game(game, 1, seed=6)
    text, planes = game.board_text(state), game.observe(state)[0]
    mine = "XO"[int(state.player[0])]
    assert sum(line.count(mine) for line in text.splitlines()) - ("O" in "ABCDEFGHJ"[: game.columns]) == planes[0].sum()


@pytest.mark.filterwarnings("ignore:Observation")  # that it is a Dict with a mask, which it pardons in PettingZoo's own games by name
def test_pettingzoo_checker(game: Game[Any]) -> None:
    api_test(BoardGameEnv(game.name), num_cycles=200)
    api_test(env(game.name), num_cycles=200)


def test_the_shell_plays_the_game(game: Game[Any]) -> None:
    """Observations of both players, masks, rewards and turns are those of the rules."""
    shell = BoardGameEnv(game.name, render_mode="ansi")
    shell.reset()
    for state, action in random_game(game, 1, seed=7):
        me, other = (shell.possible_agents[(int(state.player[0]) + k) % 2] for k in (0, 1))
        seen = shell.observe(me)
        assert shell.observation_space(me).contains(seen)
        np.testing.assert_array_equal(seen["observation"].transpose(2, 0, 1), game.observe(state)[0])
        np.testing.assert_array_equal(seen["action_mask"], game.legal(state)[0])
        np.testing.assert_array_equal(shell.observe(other)["observation"][..., 0], seen["observation"][..., 1])
        assert not shell.observe(other)["action_mask"].any()
        assert shell.render() == game.board_text(state)
        if state.done.all():
            assert all(shell.terminations.values())
            assert [shell.rewards[agent] for agent in shell.possible_agents] == [state.outcome[0], -state.outcome[0]]
            return
        assert shell.agent_selection == me
        shell.step(int(action[0]))
    raise AssertionError("the game did not end")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_illegal_moves_lose_in_pettingzoo(game: Game[Any]) -> None:
    wrapped = env(game.name)
    wrapped.reset()
    action = int(np.flatnonzero(game.legal(game.initial(1))[0])[0])
    for _ in range(8):  # the same again until it is no longer legal
        mask = wrapped.observe(wrapped.agent_selection)["action_mask"]
        mover = wrapped.agent_selection
        wrapped.step(action)
        if not mask[action]:
            assert wrapped.terminations == {"player_0": True, "player_1": True}
            assert wrapped.rewards[mover] == -1
            return
    raise AssertionError("no move was illegal")


def test_unknown_games_are_told() -> None:
    with pytest.raises(UnknownGame, match="no game 'conect_four'; did you mean 'connect_four'"):
        game_named("conect_four")
