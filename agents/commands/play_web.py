"""`closedloop play GAME --web`, and `closedloop play GAME.json`: a board game in the browser, served from this machine to itself."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agents.games.players import Player
    from agents.games.record import GameRecord
    from agents.games.search import SearchConfig
    from agents.games.tree import Evaluator
    from agents.games.web import Table
    from envs.games import Game

__all__ = ["play_web", "table_for"]

FOLDER = Path("runs") / "games"  # where games are kept, unless --out says otherwise
USUAL = "mcts"  # who plays where nobody is named
SHOWN = 80  # characters of a name from a record that are told
COMMENTS = 400  # simulations of who comments, where the opponent does not think aloud
LONG, FEW = 60, 40  # and where a game has more moves than that, so many: a plain search plays each to its end


def play_web(
    what: Path, *, against: str | None, simulations: int, second: bool, seed: int, out: Path | None, port: int, browser: bool
) -> int:
    """Serve the page of a game, or of a record, until Ctrl-C; 0. Raises UnknownPlayer, RecordError, WeightsError, OSError."""
    from agents.games.web import serve

    table = table_for(what, against=against, simulations=simulations, second=second, seed=seed, out=out or FOLDER)
    server = serve(table, port=port)
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    click.echo(f"{table.game.name}{'' if table.record else f' against {table.opponent.name}'}: {url}   (Ctrl-C ends)")
    if browser:
        webbrowser.open(url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("")
    finally:
        server.server_close()
    return 0


def table_for(what: Path, *, against: str | None, simulations: int, second: bool, seed: int, out: Path) -> Table:
    """A table for the name of a game or the file of a record.

    Where who played in a record is not to be had, somebody else plays on, which is told on stderr. Raises UnknownPlayer, RecordError,
    WeightsError, TrainConfigError, OSError.
    """
    from agents.commands.play_game import is_record
    from agents.games.record import load_record
    from agents.games.web import Table
    from envs.games import game_named

    record = load_record(what) if is_record(what) else None
    game = game_named(record.game if record else str(what))
    before = _named_in(record)
    opponent, replaced = _opponent(against, before, game, simulations)
    comment, evaluate, config = _comments(opponent, game)
    return Table(
        game=game,
        opponent=opponent,
        comment=comment,
        evaluate=evaluate,
        config=config,
        out=out,
        second=second,
        seed=seed,
        record=record,
        gone=before if replaced and record and "you" in record.players and record.result == "unfinished" else None,
    )


def _opponent(against: str | None, before: str | None, game: Game[Any], simulations: int) -> tuple[Player, bool]:
    """Who plays, and whether in place of who played `before`. A record's player who is not to be had is replaced by plain search, so that
    the game can be looked at all the same; one asked for by `against` has to be there. Raises as `table_for`."""
    from agents.commands.play_game import opponent_named
    from agents.games.players import UnknownPlayer, player_named
    from agents.learning.config import TrainConfigError
    from perception.storage import WeightsError

    if against or before is None:
        return opponent_named(against or USUAL, game, simulations), before not in (None, against)
    try:
        return opponent_named(before, game, simulations), False
    except (UnknownPlayer, WeightsError, TrainConfigError, OSError) as error:
        opponent = player_named(USUAL, game)
        click.echo(f"{before[:SHOWN]}, who played this game, is not to be had; {opponent.name} stands in. ({str(error)[:300]})", err=True)
        return opponent, True


def _named_in(record: GameRecord | None) -> str | None:
    """Against whom a recorded game was played."""
    others = [name for name in record.players if name != "you"] if record else []
    return others[0] if others else None


def _comments(opponent: Player, game: Game[Any]) -> tuple[str, Evaluator | None, SearchConfig]:
    """Who comments: the opponent if it searches with a network, else the game's own network, else a plain search."""
    from agents.games import SearchConfig, SearchPlayer
    from agents.learning.alphazero.shipped import shipped_games

    if not isinstance(opponent, SearchPlayer) and game.name in shipped_games():
        from agents.commands.play_game import opponent_named

        opponent = opponent_named("alphazero", game, COMMENTS)
    if isinstance(opponent, SearchPlayer):
        return opponent.name, opponent.evaluate, opponent.config
    return "plain search", None, SearchConfig(simulations=FEW if game.longest > LONG and not game.line else COMMENTS, root="uct")
