"""Matches between players: the same openings from both sides, and Elo ratings from the results. Shapes: G openings, B = 2 G games."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from agents.evaluation.stats import Estimate, mean_interval
from agents.games.players import Player
from envs.games import Game, join, merge, take

__all__ = ["Match", "elo_difference", "openings", "play_match", "ratings"]

ELO = 400.0 / math.log(10.0)  # points for a factor e in the odds


@dataclass(frozen=True, kw_only=True)
class Match:
    """Points of the first player: 1 a game won, a half drawn."""

    first: str
    second: str
    points: NDArray[np.float64]  # (G, 2) of each opening, moving first and moving second
    moves: int  # in all games together

    @property
    def score(self) -> Estimate:
        """Mean points of a game; openings are what is independent, so the interval is over them."""
        return mean_interval([self.points.mean(axis=1)])

    @property
    def results(self) -> dict[str, int]:
        """Games won, drawn and lost."""
        return {name: int((self.points == value).sum()) for name, value in (("won", 1.0), ("drawn", 0.5), ("lost", 0.0))}


def openings(game: Game[Any], count: int, moves: int, random: np.random.Generator) -> Any:
    """`count` games, `moves` random moves in, none of them over; distinct where the game has that many. Raises ValueError if none lasts."""
    found: list[Any] = []
    seen: set[bytes] = set()
    for tries in range(200):
        state = game.initial(count)
        for _ in range(moves):
            legal = game.legal(state)
            state = game.step(state, (random.random(legal.shape) * legal).argmax(axis=1))
        for b in np.flatnonzero(~state.done):
            key = game.observe(take(state, [b])).tobytes()
            if key not in seen or tries >= 20:
                seen.add(key)
                found.append(take(state, [b]))
        if len(found) >= count:
            return join(found[:count])
    raise ValueError(f"{moves} random moves: {game.name} is over before that")


def play_match(
    game: Game[Any], first: Player, second: Player, *, openings_count: int, seed: int | Sequence[int], opening_moves: int = 2
) -> Match:
    """Every opening twice, each player moving first once; all games in step. The same seed gives the same openings and chances."""
    entropy = [seed] if isinstance(seed, int) else list(seed)
    chance, draws = (np.random.Generator(np.random.PCG64([*entropy, stream])) for stream in (1, 2))
    start = openings(game, openings_count, opening_moves, chance)
    state = join([start, start])
    begins = np.repeat([0, 1], openings_count)  # (B,) which player of the board `first` is
    played = 0
    while not state.done.all():
        live = ~state.done
        played += int(live.sum())
        after = state
        for player, turn in ((first, state.player == begins), (second, state.player != begins)):
            if (rows := np.flatnonzero(live & turn)).size:
                part = take(state, rows)
                moved = game.step(part, player.act(part, draws))
                place = np.zeros(len(live), dtype=np.int64)
                place[rows] = np.arange(len(rows))
                after = merge(np.isin(np.arange(len(live)), rows), take(moved, place), after)
        state = after
    outcome = state.outcome * (1 - 2 * begins)
    points = (0.5 + 0.5 * outcome).reshape(2, openings_count).T
    return Match(first=first.name, second=second.name, points=points, moves=played)


def elo_difference(score: float, games: int) -> float:
    """Elo points that a score says, with half a point given to either side so that a clean sheet stays finite."""
    share = (score * games + 0.5) / (games + 1.0)
    return ELO * math.log(share / (1.0 - share))


def ratings(names: Sequence[str], results: Sequence[tuple[str, str, float, int]], *, anchor: str) -> dict[str, float]:
    """Elo ratings (Bradley-Terry, most likely with one virtual draw between any two who met); the anchor has 0.

    results: (first, second, points of the first, games). Raises ValueError for names that are not among `names`.
    """
    index = {name: k for k, name in enumerate(names)}
    if missing := {anchor, *(name for result in results for name in result[:2])} - set(index):
        raise ValueError(f"{', '.join(sorted(missing))}: not among the players")
    rows = [(index[a], index[b], points + 0.5, games + 1.0) for a, b, points, games in results]

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, slope = 1e-6 * float(x @ x), 2e-6 * x
        for a, b, points, games in rows:
            margin = x[a] - x[b]
            total += games * float(np.logaddexp(0.0, margin)) - points * margin
            push = games / (1.0 + math.exp(-margin)) - points
            slope[a] += push
            slope[b] -= push
        return total, slope

    fitted = minimize(loss, np.zeros(len(names)), jac=True).x
    return {name: float(ELO * (fitted[k] - fitted[index[anchor]])) for name, k in index.items()}
