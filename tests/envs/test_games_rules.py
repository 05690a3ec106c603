"""Board games against published counts, other people's programs and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.games import Game, game_named, merge, perft, play, take
from envs.games.connect_four import ConnectFour


def leaves(game: Game[Any]) -> dict[int, int]:
    """Every game there is, played to its end: how many have each outcome."""
    state, found = game.initial(1), {1: 0, 0: 0, -1: 0}
    while len(state.done):
        parents, action = np.nonzero(game.legal(state))
        state = game.step(take(state, parents), action)
        for outcome in found:
            found[outcome] += int((state.outcome[state.done] == outcome).sum())
        state = take(state, ~state.done)
    return found


def test_every_game_of_tic_tac_toe() -> None:
    """255,168 games: 131,184 won by the first, 77,904 by the second, 46,080 drawn (H. J. Schaeffer 2002, and many since)."""
    assert leaves(game_named("tic_tac_toe")) == {1: 131_184, 0: 46_080, -1: 77_904}


def test_othello_counts() -> None:
    """Perft of Othello from the first position, as published by many (A. Perkins, OEIS A124004)."""
    assert perft(game_named("othello"), 8) == [4, 12, 56, 244, 1396, 8200, 55092, 390216]


def test_connect_four_positions() -> None:
    """Distinct positions after n moves: OEIS A212693."""
    game, counts = ConnectFour(), []
    state = game.initial(1)
    for _ in range(9):
        parents, action = np.nonzero(game.legal(state))
        state = game.step(take(state, parents), action)
        keys = np.stack([state.own, state.stones], axis=1)
        state = take(state, np.unique(keys, axis=0, return_index=True)[1])
        counts.append(len(state.own))
    assert counts == [7, 49, 238, 1120, 4263, 16422, 54859, 184275, 558186]


def test_connect_four_is_pettingzoos() -> None:
    """Observations, masks and results move by move on random games."""
    from pettingzoo.classic.connect_four import connect_four  # type: ignore[import-untyped]

    game, other, random = ConnectFour(), connect_four.env(), np.random.default_rng(0)
    ends = set()
    for _ in range(40):
        other.reset()
        state = game.initial(1)
        while not state.done[0]:
            seen = other.observe(other.agent_selection)
            np.testing.assert_array_equal(game.observe(state)[0].transpose(1, 2, 0), seen["observation"])
            np.testing.assert_array_equal(game.legal(state)[0], seen["action_mask"])
            assert other.agent_selection == f"player_{state.player[0]}"
            action = random.choice(np.flatnonzero(game.legal(state)[0]))
            state = play(game, state, np.array([action]))
            other.step(int(action))
            assert all(other.terminations.values()) == state.done[0]
        assert other.rewards == {"player_0": state.outcome[0], "player_1": -state.outcome[0]}
        ends.add(int(state.outcome[0]))
    assert {-1, 1} <= ends


def test_connect_four_ends_as_a_look_at_all_lines_tells() -> None:
    """The ends of many random games: who has four, looked for cell by cell; draws and wins with the last stone among them."""
    game, random = ConnectFour(), np.random.default_rng(1)
    state = game.initial(20_000)
    while not state.done.all():
        legal = game.legal(state)
        state = game.step(state, (random.random(legal.shape) * legal).argmax(axis=1))
    planes = np.pad(game.observe(state), ((0, 0), (0, 0), (3, 3), (3, 3)))  # (B, 2, 12, 13) with room for lines to run out
    runs = [
        np.logical_and.reduce([np.roll(planes, (k * down, k * right), axis=(2, 3)) for k in range(4)]).any(axis=(2, 3))
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
    ]
    me, other = np.any(runs, axis=0).T  # who is to move never has four: the other has just moved
    assert not me.any()
    np.testing.assert_array_equal(state.outcome, other * (2 * state.player - 1))
    full = planes.sum(axis=(1, 2, 3)) == 42
    np.testing.assert_array_equal(~other, full & (state.outcome == 0))
    assert set(state.outcome[full].tolist()) == {-1, 0}  # the last stone is the second player's, and may win


def test_connect_four_tells_a_network_what_the_rules_say() -> None:
    """The planes beside the stones, cell by cell: where a stone would make four (put there and looked for), where one can be played, and
    the rows of whoever is to move."""
    game, random = ConnectFour(), np.random.default_rng(2)
    state = game.initial(60)
    for k in range(24):
        legal = game.legal(state)
        state = game.step(state, (random.random(legal.shape) * legal).argmax(axis=1))
        if k < 14:
            state = merge(state.done, game.initial(60), state)
    seen, stones = game.features(state), game.observe(state)
    np.testing.assert_array_equal(seen[:, :2], stones)
    empty, count = stones.sum(axis=1) == 0, 0
    for b in np.flatnonzero(~state.done)[:20]:
        for who in (0, 1):
            for r, c in np.argwhere(empty[b]):
                board = np.pad(stones[b, who], 3)
                board[r + 3, c + 3] = 1
                ways = ((0, 1), (1, 0), (1, 1), (1, -1))
                four = any(all(board[r + 3 + (j + k) * y, c + 3 + (j + k) * x] for k in range(4)) for j in range(-3, 1) for y, x in ways)
                assert seen[b, 2 + who, r, c] == four
                count += four
        assert not seen[b, 2:4][:, ~empty[b]].any()
        free = [(max(np.flatnonzero(empty[b, :, c])), c) for c in range(7) if empty[b, :, c].any()]
        assert np.argwhere(seen[b, 4]).tolist() == sorted([int(r), c] for r, c in free)
        assert seen[b, 5, :, 0].tolist() == ([0, 1] if state.player[b] == 0 else [1, 0]) * 3
    assert count > 20


@pytest.mark.parametrize("direction", [(0, 1), (1, 0), (1, 1), (1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 0, 3, 1, 2), (2, 1, 0, 4, 3)])
def test_five_in_a_row(direction: tuple[int, int], order: tuple[int, ...]) -> None:
    """Every line of five on the board, completed in any order, wins; four do not; it makes no difference who."""
    game = game_named("gomoku")
    down, right = direction
    starts = [(r, c) for r in range(9) for c in range(9) if 0 <= r + 4 * down < 9 and 0 <= c + 4 * right < 9]
    lines = np.array([[(r + k * down) * 9 + c + k * right for k in order] for r, c in starts])
    others = np.array([[p for p in (0, 3, 7, 17, 20, 33, 47, 53, 60, 71, 74, 80) if p not in line][:5] for line in lines])
    for second in (False, True):
        state = game.initial(len(lines))
        if second:
            spare = np.array(
                [next(p for p in (2, 24, 40, 78) if p not in line and p not in other) for line, other in zip(lines, others, strict=True)]
            )
            state = play(game, state, spare)
        for k in range(5):
            assert not state.done.any()
            state = play(game, state, lines[:, k])
            if k < 4:
                state = play(game, state, others[:, k])
        assert state.done.all()
        assert (state.outcome == (-1 if second else 1)).all()


def test_othello_passes_and_counts() -> None:
    """Random games: a pass exactly where nothing else goes, never two in a row; the result is the count of stones."""
    game, random = game_named("othello"), np.random.default_rng(2)
    state, passes = game.initial(300), 0
    before = np.zeros(300, dtype=bool)
    while not state.done.all():
        legal, live = game.legal(state), ~state.done
        np.testing.assert_array_equal(legal[:, 64], live & ~legal[:, :64].any(axis=1))
        assert not (legal[:, 64] & before & live).any()
        before = legal[:, 64]
        passes += int(before.sum())
        state = game.step(state, (random.random(legal.shape) * legal).argmax(axis=1))
    own, other = game.observe(state).sum(axis=(2, 3)).T
    np.testing.assert_array_equal(state.outcome, np.sign(own.astype(int) - other) * (1 - 2 * state.player))
    assert passes > 0
