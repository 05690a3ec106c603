"""What the page asks: positions, moves of the opponent, what a search thinks, and to keep the game.

The page holds the game, a list of moves; every answer here is a function of such a list, so there is nothing to get out of step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.games.evaluators import Rollouts
from agents.games.players import Player
from agents.games.record import GameRecord, replayed, result_of, write_record
from agents.games.search import SearchConfig, search
from agents.games.tree import Evaluator
from envs.games import Game

__all__ = ["Table"]

Answer = dict[str, Any]  # plain values, for JSON


@dataclass(frozen=True, kw_only=True)
class Table:
    """A game, somebody to play against, and somebody who comments."""

    game: Game[Any]
    opponent: Player
    comment: str  # who comments
    evaluate: Evaluator | None  # of who comments; None: random games to the end
    config: SearchConfig  # of who comments
    out: Path  # where games are kept: a folder, or one file (.json)
    second: bool = False  # whether the one at the page moves second in the first game
    seed: int = 0  # of the opponent's chances; the same moves are answered alike
    record: GameRecord | None = None  # to look at
    gone: str | None = None  # who played in the record, where the opponent plays on in their place

    def about(self) -> Answer:
        """What the page has to know from the start."""
        game, points = self.game, self.game.rows * self.game.columns
        drop = game.actions == game.columns
        return {
            "game": game.name,
            "about": game.about,
            "rows": game.rows,
            "columns": game.columns,
            "names": [game.action_name(a) for a in range(game.actions)],
            "drop": drop,
            "pass": points if game.actions == points + 1 else None,
            "opponent": self.opponent.name,
            "gone": self.gone,
            "second": self.second,
            "comment": self.comment,
            "record": None if self.record is None else {"moves": list(self.record.moves), "players": list(self.record.players)},
        }

    def position(self, moves: Sequence[int]) -> Answer:
        """The board after those moves. Raises IllegalMove."""
        state = replayed(self.game, moves)
        return {
            "board": _stones(self.game, state).tolist(),
            "player": int(state.player[0]),
            "legal": np.flatnonzero(self.game.legal(state)[0]).tolist(),
            "result": result_of(state),
            "line": self._line(moves, state),
        }

    def _line(self, moves: Sequence[int], state: Any) -> list[int]:
        """Points of the lines that won."""
        if not self.game.line or result_of(state) in ("draw", "unfinished"):
            return []
        return _lines(_stones(self.game, state).reshape(self.game.rows, self.game.columns), self.game.line)

    def move(self, moves: Sequence[int]) -> Answer:
        """The opponent's move. Raises IllegalMove, ValueError where the game is over."""
        state = replayed(self.game, moves)
        if state.done[0]:
            raise ValueError("the game is over: there is no move to make")
        return {"action": int(self.opponent.act(state, self._random(moves))[0])}

    def think(self, moves: Sequence[int]) -> Answer:
        """What a search says of the position: for whoever is to move. Raises IllegalMove, ValueError where the game is over."""
        state = replayed(self.game, moves)
        if state.done[0]:
            raise ValueError("the game is over: there is nothing to think about")
        random = self._random(moves)
        found = search(self.game, state, self.evaluate or Rollouts(self.game, random), self.config, random)
        return {
            "policy": [round(float(p), 4) for p in found.policy[0]],
            "action": int(found.action[0]),
            "value": round(float(found.value[0]), 4),  # -1 to 1
            "proven": bool(found.proven[0]),
        }

    def keep(self, moves: Sequence[int], players: Sequence[str]) -> Answer:
        """Write the game; where. Raises IllegalMove, OSError, ValueError for players that are not two."""
        first, second = map(str, players)
        record = GameRecord(game=self.game.name, moves=tuple(int(m) for m in moves), players=(first, second))
        replayed(self.game, record.moves)
        return {"path": str(write_record(self._file(), record))}

    def _file(self) -> Path:
        """A new file in the folder, or the one that was named."""
        if self.out.suffix == ".json":
            return self.out
        stem = f"{self.game.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        names = (f"{stem}.json", *(f"{stem}-{k}.json" for k in range(2, 10_000)))
        return next(self.out / name for name in names if not (self.out / name).exists())

    def _random(self, moves: Sequence[int]) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, *moves]))


def _stones(game: Game[Any], state: Any) -> NDArray[np.int8]:
    """(P,) 0 empty, 1 a stone of who moved first, 2 of the other."""
    own, other = game.observe(state)[0, :2].reshape(2, -1)
    first, second = (own, other) if state.player[0] == 0 else (other, own)
    return np.asarray(first + 2 * second)


def _lines(board: NDArray[np.int8], length: int) -> list[int]:
    """Points of all lines of `length` stones alike on a board (rows, columns), in order."""
    rows, columns = board.shape
    found = set[int]()
    for r, c in np.argwhere(board > 0):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            line = [(r + k * down, c + k * right) for k in range(length)]
            if 0 <= line[-1][0] < rows and 0 <= line[-1][1] < columns and all(board[at] == board[r, c] for at in line):
                found |= {int(y) * columns + int(x) for y, x in line}
    return sorted(found)
