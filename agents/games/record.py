"""Records of games: which moves were played, by whom, and how it ended. JSON, for people and programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.games import Game, IllegalMove, game_named, play
from envs.games.registry import UnknownGame
from scenarios.files import write_atomic

__all__ = ["GameRecord", "RecordError", "check_place", "load_record", "replayed", "result_of", "write_record"]

FORMAT, VERSION = "closedloop-game", 1


class RecordError(ValueError):
    """A file holds no record of a game. The message says why."""


@dataclass(frozen=True, kw_only=True)
class GameRecord:
    """A game, finished or not."""

    game: str
    moves: tuple[int, ...]  # actions, the first player's first
    players: tuple[str, str]  # who moved first, and the other

    @property
    def result(self) -> str:
        """first, second, draw or unfinished."""
        game = game_named(self.game)
        return result_of(replayed(game, self.moves))


def replayed(game: Game[Any], moves: Sequence[int]) -> Any:
    """The position (a batch of one) after those moves. Raises IllegalMove, which says which move it was; nothing follows the end."""
    state = game.initial(1)
    for number, move in enumerate(moves, start=1):
        if state.done[0]:
            raise IllegalMove(f"move {number}: the game was over before it")
        try:
            state = play(game, state, np.array([move]))
        except IllegalMove as error:
            raise IllegalMove(f"move {number}: {str(error).partition(': ')[2]}") from None
    return state


def result_of(state: Any) -> str:
    """first, second, draw or unfinished, of a batch of one."""
    return {1: "first", -1: "second", 0: "draw"}[int(state.outcome[0])] if state.done[0] else "unfinished"


def check_place(path: str | Path) -> None:
    """Raises FileExistsError where something lies that is no record of a game, and which a record must therefore not replace; OSError."""
    if not Path(path).exists():
        return
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        rows = None
    if not isinstance(rows, dict) or rows.get("format") != FORMAT:
        raise FileExistsError(17, "is no record of a game and is not overwritten; choose another name", str(path))


def write_record(path: str | Path, record: GameRecord) -> Path:
    """Write a record, over an older one if need be. Returns its path. Raises IllegalMove, OSError, and FileExistsError as `check_place`."""
    game = game_named(record.game)
    check_place(path)
    rows = {
        "format": FORMAT,
        "version": VERSION,
        "game": record.game,
        "players": list(record.players),
        "result": record.result,
        "moves": list(record.moves),
        "written": " ".join(game.action_name(move) for move in record.moves),  # as people write them
    }
    return write_atomic(path, json.dumps(rows, indent=1) + "\n")


def load_record(path: str | Path) -> GameRecord:
    """Read a record and check it by playing it again. Raises RecordError, OSError."""
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(rows, dict) or (rows.get("format"), rows.get("version")) != (FORMAT, VERSION):
            raise RecordError(f"{path}: no record of a game of this version of closedloop")
        players = tuple(str(name) for name in rows["players"])
        moves = tuple(rows["moves"])
        if len(players) != 2 or not all(type(move) is int for move in moves):
            raise RecordError(f"{path}: players must be two names, moves whole numbers")
        record = GameRecord(game=str(rows["game"]), moves=moves, players=players)
        if rows["result"] != record.result:
            raise RecordError(f"{path}: the result is said to be {rows['result']!r}, and is {record.result!r}")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, UnknownGame, IllegalMove) as error:
        raise RecordError(f"{path}: {type(error).__name__}: {error}") from None
    return record
