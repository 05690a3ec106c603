"""The same games in OpenSpiel, move by move at random. Runs where `open_spiel` is installed."""

from __future__ import annotations

import numpy as np
import pytest

from envs.games import game_named
from envs.games.go import Go

pyspiel = pytest.importorskip("pyspiel")

SAME = {"tic_tac_toe": {}, "connect_four": {}, "othello": {}, "gomoku": {"size": 9}}


@pytest.mark.parametrize("name", list(SAME))
def test_random_games(name: str) -> None:
    """Legal moves, turns and results."""
    game, other, random = game_named(name), pyspiel.load_game(name, SAME[name]), np.random.default_rng(0)
    for _ in range(60):
        ours, theirs = game.initial(1), other.new_initial_state()
        while not ours.done[0]:
            legal = np.flatnonzero(game.legal(ours)[0])
            assert legal.tolist() == sorted(theirs.legal_actions())
            assert int(ours.player[0]) == theirs.current_player()
            action = int(random.choice(legal))
            ours = game.step(ours, np.array([action]))
            theirs.apply_action(action)
            assert theirs.is_terminal() == ours.done[0]
        assert theirs.returns() == [ours.outcome[0], -ours.outcome[0]]


@pytest.mark.parametrize(("name", "games"), [("go_5x5", 20), ("go_7x7", 6), ("go_9x9", 3)])
def test_random_games_of_go(name: str, games: int) -> None:
    """Legal moves, what superko forbids included, and results; passing seldom, so that boards fill up and stones are taken again."""
    game = game_named(name)
    assert isinstance(game, Go)
    other = pyspiel.load_game("go", {"board_size": game.rows, "komi": game.komi})
    random, forbidden = np.random.default_rng(0), 0
    for _ in range(games):
        ours, theirs = game.initial(1), other.new_initial_state()
        while not ours.done[0]:
            legal = game.legal(ours)
            assert np.flatnonzero(legal[0]).tolist() == sorted(theirs.legal_actions())
            forbidden += int((game.legal(ours._replace(captured=np.array([False]))) & ~legal).sum())  # without superko
            weight = random.random(game.actions) * legal[0]
            weight[-1] *= 0.02
            action = int(weight.argmax())
            ours = game.step(ours, np.array([action]))
            theirs.apply_action(action)
            assert theirs.is_terminal() == ours.done[0]
        assert theirs.returns() == [ours.outcome[0], -ours.outcome[0]]
    assert forbidden > 0
