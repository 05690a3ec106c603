"""Games of the network against itself, all in step, and what is learned from each once it is over.

Shapes: G games side by side, L moves of a game at most, C planes of `game.features`, P points, A actions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.games.search import search
from agents.games.tree import Evaluator
from agents.learning.alphazero.config import AlphaZeroConfig
from agents.learning.alphazero.replay import Positions
from envs.games import Game, join, merge, put

__all__ = ["Notes", "Played", "SelfPlay"]


class Notes(NamedTuple):
    """The positions of the running games that are to be learned from."""

    planes: NDArray[np.int8]  # (G, L, C, P)
    legal: NDArray[np.bool_]  # (G, L, A)
    policy: NDArray[np.float32]  # (G, L, A)
    thought: NDArray[np.float32]  # (G, L) the search's value, for the player to move
    certain: NDArray[np.bool_]  # (G, L) whether that is proven
    player: NDArray[np.int8]  # (G, L)
    taken: NDArray[np.int64]  # (G,) positions noted
    moves: NDArray[np.int64]  # (G,) moves played, random ones at the start included


class Played(NamedTuple):
    """What came of some moves."""

    positions: Positions
    games: int  # that ended
    moves: int  # in them
    first: float  # points of who moved first in them
    full: int  # moves with the whole search


class SelfPlay:
    """Running games. All chance comes from `random`, so games, notes and generator are the whole state."""

    def __init__(self, game: Game[Any], config: AlphaZeroConfig, random: np.random.Generator) -> None:
        self.game, self.config, self.random = game, config, random
        games, longest = config.games, game.longest
        self.notes = Notes(
            planes=np.zeros((games, longest, game.inputs, game.rows * game.columns), dtype=np.int8),
            legal=np.zeros((games, longest, game.actions), dtype=np.bool_),
            policy=np.zeros((games, longest, game.actions), dtype=np.float32),
            thought=np.zeros((games, longest), dtype=np.float32),
            certain=np.zeros((games, longest), dtype=np.bool_),
            player=np.zeros((games, longest), dtype=np.int8),
            taken=np.zeros(games, dtype=np.int64),
            moves=np.zeros(games, dtype=np.int64),
        )
        self.state = game.initial(games)
        self._begin(np.arange(games))

    def _begin(self, rows: NDArray[np.int64]) -> None:
        """Start games anew, with some random moves; without any where those would end the game."""
        state = self.game.initial(len(rows))
        wanted = self.random.integers(self.config.opening_moves + 1, size=len(rows))
        for k in range(self.config.opening_moves):
            legal = self.game.legal(state)
            moved = self.game.step(state, (self.random.random(legal.shape) * legal).argmax(axis=1))
            state = merge(wanted > k, moved, state)
        self.notes.taken[rows] = 0
        self.notes.moves[rows] = np.where(state.done, 0, wanted)
        state = merge(state.done, self.game.initial(len(rows)), state)
        put(self.state, rows, state)

    def play(self, evaluate: Evaluator, moves: int) -> Played:
        """`moves` moves in every game; those that end begin anew."""
        parts, games, length, first, full = [], 0, 0, 0.0, 0
        for _ in range(moves):
            thorough = bool(self.random.random() < self.config.full_share)  # for all games alike, so that they stay in step
            full += thorough * self.config.games
            over = self._move(evaluate, thorough)
            if over.size:
                games += len(over)
                length += int(self.notes.moves[over].sum())
                first += float((0.5 + 0.5 * self.state.outcome[over]).sum())
                parts.append(self._gather(over))
                self._begin(over)
        positions = join([self._gather(np.zeros(0, dtype=np.int64)), *parts])  # of none, where no game ended
        return Played(positions, games, length, first, full)

    def _move(self, evaluate: Evaluator, thorough: bool) -> NDArray[np.int64]:
        """One move in every game; the games that are over now."""
        config, notes, every = self.config, self.notes, np.arange(self.config.games)
        settings = config.search if thorough else config.quick
        found = search(self.game, self.state, evaluate, settings, self.random, explore=thorough)
        action = found.action
        if settings.root == "puct":  # by visits in the first moves; the last column of sums is 1, or just below
            sums = np.cumsum(found.policy, axis=1)
            drawn = (self.random.random((config.games, 1)) * sums[:, -1:] < sums).argmax(axis=1)
            action = np.where((notes.moves < config.sample_moves) & thorough, drawn, action)
        if thorough:
            at = (every, notes.taken)
            notes.planes[at] = self.game.features(self.state).reshape(config.games, self.game.inputs, -1)
            notes.legal[at], notes.policy[at] = self.game.legal(self.state), found.policy
            notes.thought[at], notes.certain[at], notes.player[at] = found.value, found.proven, self.state.player
            notes.taken[:] += 1
        self.state = self.game.step(self.state, action)
        notes.moves[:] += 1
        return np.flatnonzero(self.state.done)

    def _gather(self, rows: NDArray[np.int64]) -> Positions:
        """What was noted of those games, which are over."""
        notes = self.notes
        games = np.repeat(rows, notes.taken[rows])
        at = np.concatenate([np.arange(n) for n in notes.taken[rows]]) if len(games) else np.zeros(0, dtype=np.int64)
        side = (1 - 2 * notes.player[rows]).astype(np.float32)  # (rows, L)
        ends, ahead = np.zeros(side.shape, dtype=np.float32), self.state.outcome[rows].astype(np.float32)
        for k in reversed(range(side.shape[1])):  # how it ends for player 0; what is proven sooner counts, whatever was played then
            known = notes.certain[rows, k] & (k < notes.taken[rows])
            ahead = np.where(known, notes.thought[rows, k] * side[:, k], ahead)
            ends[:, k] = ahead
        which = np.repeat(np.arange(len(rows)), notes.taken[rows])
        mix = np.where(notes.certain[games, at], np.float32(1.0), np.float32(self.config.value_mix))
        value = (1 - mix) * ends[which, at] * side[which, at] + mix * notes.thought[games, at]
        return Positions(notes.planes[games, at], notes.legal[games, at], notes.policy[games, at], value)
