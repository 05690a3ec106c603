"""How well moves agree with perfect play, on positions that a solver has labelled.

File: a JSON object a line: `moves` (actions from the first position, a digit each), `values` (for each action what it leads to for the one
who plays it with perfect play on both sides: 1, 0, -1; null where it is not legal), `critical` (whether the legal moves differ in value).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.stats import Estimate, proportion
from agents.games.players import Player
from envs.games import Game, IllegalMove, join, play

__all__ = ["Solved", "SolvedError", "judge_moves", "load_solved"]


class SolvedError(ValueError):
    """A file of labelled positions cannot be used. The message says which line and why."""


@dataclass(frozen=True, kw_only=True)
class Solved:
    """Labelled positions. Shapes: K positions, A actions."""

    state: Any  # of the game
    values: NDArray[np.float64]  # (K, A) NaN where not legal
    critical: NDArray[np.bool_]  # (K,)


def load_solved(path: str | Path, game: Game[Any]) -> Solved:
    """Read labelled positions. Raises SolvedError for what is not of the format, or no position of the game; OSError."""
    states, values = [], []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            labels = np.array([np.nan if v is None else float(v) for v in row["values"]])
            state = game.initial(1)
            for move in row["moves"]:
                state = play(game, state, np.array([int(move)]))
            if not np.array_equal(~np.isnan(labels), game.legal(state)[0]) or state.done[0]:
                raise SolvedError(f"values {row['values']} are not those of the legal moves")
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, IllegalMove) as error:
            raise SolvedError(f"{path}:{number}: {type(error).__name__}: {error}") from None
        states.append(state)
        values.append(labels)
    if not states:
        raise SolvedError(f"{path}: no positions")
    table = np.array(values)
    return Solved(state=join(states), values=table, critical=np.nanmax(table, axis=1) > np.nanmin(table, axis=1))


def judge_moves(player: Player, solved: Solved, *, seed: int = 0) -> dict[str, Estimate]:
    """Shares of moves that keep the position's value: over `all` positions, and over those where it matters (`critical`)."""
    action = player.act(solved.state, np.random.Generator(np.random.PCG64(seed)))
    kept = solved.values[np.arange(len(action)), action] == np.nanmax(solved.values, axis=1)
    return {
        name: proportion(int(kept[where].sum()), int(where.sum()))
        for name, where in (("all", np.ones_like(solved.critical)), ("critical", solved.critical))
    }
