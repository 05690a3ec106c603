"""Go: captures, suicide, superko and the count, on positions made by hand; and everything against rules written a second time, slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.games import IllegalMove, play
from envs.games.go import Go, area


def action(game: Go, name: str) -> int:
    return next(a for a in range(game.actions) if game.action_name(a) == name)


def play_on(game: Go, state: Any, moves: str) -> Any:
    """Colours take turns, black first; every move is checked."""
    for name in moves.split():
        state = play(game, state, np.array([action(game, name)]))
    return state


def start(game: Go, moves: str) -> Any:
    return play_on(game, game.initial(1), moves)


def allowed(game: Go, state: Any, name: str) -> bool:
    return bool(game.legal(state)[0, action(game, name)])


def stones(game: Go, state: Any) -> str:
    return "\n".join(line.split(maxsplit=1)[1] for line in game.board_text(state).splitlines()[:-1])


@pytest.fixture(params=[False, True], ids=["numpy", "compiled"])
def compiled(request: pytest.FixtureRequest) -> bool:
    if request.param:
        pytest.importorskip("numba")
    return bool(request.param)


@pytest.fixture
def five(compiled: bool) -> Go:
    return Go(5, komi=0.5, compiled=compiled)


def test_a_stone_without_liberties_is_taken(five: Go) -> None:
    state = start(five, "B4 C4 C5 E1 D4 E2 C3")
    assert stones(five, state) == ". . X . .\n. X . X .\n. . X . .\n. . . . O\n. . . . O"


def test_several_chains_are_taken_at_once(five: Go) -> None:
    """White has A5 B5 and A3; black's A4 takes the last liberty of both."""
    state = start(five, "C5 A5 B4 B5 A2 A3 B3 E1 pass E2 A4")
    assert stones(five, state) == ". . X . .\nX X . . .\n. X . . .\nX . . . O\n. . . . O"


def test_suicide_is_refused_and_capture_from_within_is_not(five: Go) -> None:
    state = start(five, "B1 A2 B2 E5 A3")
    assert not allowed(five, state, "A1")  # white A1 A2 would have no liberty
    with pytest.raises(IllegalMove, match="go_5x5, game 0: move 20 is not legal"):
        play_on(five, state, "A1")
    assert allowed(five, play_on(five, state, "E4"), "A1")  # black takes A2


def test_ko(five: Go) -> None:
    """White's C3 has taken D3. Black may not take back at once, but after an exchange elsewhere; then it is white who may not."""
    state = start(five, "C2 D2 B3 E3 C4 D4 D3 C3")
    assert stones(five, state) == ". . . . .\n. . X O .\n. X O . O\n. . X O .\n. . . . ."
    assert not allowed(five, state, "D3")
    state = play_on(five, state, "A1 A5")
    assert allowed(five, state, "D3")
    assert not allowed(five, play_on(five, state, "D3"), "C3")


def test_sending_two_returning_one_is_forbidden(five: Go) -> None:
    """Superko beyond the simple ko: white adds A1 to B1, black's C1 takes both, white's B1 would take C1 and bring the board back."""
    state = start(five, "A2 C2 B2 D1 E5 B1 E4")
    before = stones(five, state)
    assert before == ". . . . X\n. . . . X\n. . . . .\nX X O . .\n. O . O ."
    state = play_on(five, state, "A1 C1")
    assert stones(five, state).splitlines()[-1] == ". . X O ."
    assert not allowed(five, state, "B1")
    assert allowed(five, play_on(five, state, "D5 D4"), "B1")  # with something else on the board it is a new position


def test_two_passes_end_it_and_one_does_not(five: Go) -> None:
    state = play_on(five, five.initial(1), "C3 pass")
    assert not state.done[0]
    state = play_on(five, state, "C2 pass pass")
    assert state.done[0]
    assert state.outcome[0] == 1


@pytest.mark.parametrize(("komi", "outcome"), [(-2.5, 1), (-2.0, 0), (-1.5, -1)])
def test_area_counts_stones_and_what_they_alone_reach(komi: float, outcome: int, compiled: bool) -> None:
    """Black has columns A and B and C1, 11 points; white D and E and C2 to C4, 13; C5 touches both."""
    game = Go(5, komi=komi, compiled=compiled)
    state = start(game, "B1 D1 B2 D2 B3 D3 B4 D4 B5 D5 C1 C2 pass C3 pass C4 pass pass")
    assert int(area(state.cells, game._near)[0]) == 11 - 13
    assert (bool(state.done[0]), int(state.outcome[0])) == (True, outcome)


def test_an_empty_board_is_nobodys() -> None:
    game = Go(5, komi=0.5)
    assert int(area(game.initial(1).cells, game._near)[0]) == 0


@pytest.mark.parametrize(("size", "komi", "message"), [(1, 0.5, "size=1"), (10, 0.5, "size=10"), (5, 0.25, "komi=0.25")])
def test_sizes_and_komi_are_checked(size: int, komi: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Go(size, komi=komi)


class SlowGo:
    """The same rules from scratch, as one would explain them: groups by flood fill, all positions kept as they are."""

    def __init__(self, size: int) -> None:
        self.size, self.board, self.seen = size, {}, [frozenset[Any]()]

    def near(self, point: tuple[int, int]) -> list[tuple[int, int]]:
        r, c = point
        return [(a, b) for a, b in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)) if 0 <= a < self.size and 0 <= b < self.size]

    def group(self, board: dict[Any, int], point: Any) -> tuple[set[Any], set[Any]]:
        inside, edge, liberties = {point}, [point], set()
        while edge:
            for other in self.near(edge.pop()):
                if other not in board:
                    liberties.add(other)
                elif board[other] == board[point] and other not in inside:
                    inside.add(other)
                    edge.append(other)
        return inside, liberties

    def after(self, point: Any, colour: int) -> dict[Any, int] | None:
        if point in self.board:
            return None
        board = {**self.board, point: colour}
        for other in self.near(point):
            if board.get(other) == -colour:
                inside, liberties = self.group(board, other)
                if not liberties:
                    board = {p: c for p, c in board.items() if p not in inside}
        if not self.group(board, point)[1] or frozenset(board.items()) in self.seen:
            return None
        return board

    def score(self) -> int:
        total, empties = sum(self.board.values()), {(r, c) for r in range(self.size) for c in range(self.size)} - set(self.board)
        while empties:
            region, edge, colours = set(), [next(iter(empties))], set()
            while edge:
                point = edge.pop()
                if point in self.board:
                    colours.add(self.board[point])
                elif point not in region:
                    region.add(point)
                    edge += self.near(point)
            empties -= region
            total += sum(colours) * len(region) if len(colours) == 1 else 0
        return total


@pytest.mark.parametrize(("size", "games"), [(5, 12), (7, 4), (9, 2)])
def test_random_games_are_those_of_the_slow_rules(size: int, games: int, compiled: bool) -> None:
    """Legal moves, boards and counts, move by move, passing seldom so that boards fill up and stones are taken again and again."""
    game, random = Go(size, komi=7.5, compiled=compiled), np.random.default_rng(5)
    slow, state, repeats = [SlowGo(game.rows) for _ in range(games)], game.initial(games), 0
    while not state.done.all():
        legal, colour = game.legal(state), 1 - 2 * state.player.astype(int)
        weight = random.random(legal.shape) * legal
        weight[:, -1] *= 0.01
        action = weight.argmax(axis=1)
        for g in np.flatnonzero(~state.done):
            boards = [slow[g].after(divmod(p, game.rows), int(colour[g])) for p in range(game.points)]
            np.testing.assert_array_equal(legal[g], [*(b is not None for b in boards), True])
            if action[g] < game.points:
                slow[g].board = boards[action[g]] or {}
                slow[g].seen.append(frozenset(slow[g].board.items()))
        repeats += int((game.legal(state._replace(captured=np.zeros_like(state.captured))) & ~legal).sum())
        state = game.step(state, action)
        for g in range(games):
            board = {divmod(p, game.rows): int(state.cells[g, p]) for p in np.flatnonzero(state.cells[g, :-1])}
            assert board == slow[g].board
    scores = [each.score() for each in slow]
    np.testing.assert_array_equal(area(state.cells, game._near), scores)
    np.testing.assert_array_equal(state.outcome, np.sign(np.array(scores) - game.komi))
    assert repeats > 0  # superko did forbid something
