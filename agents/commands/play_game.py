"""`closedloop play GAME --against PLAYER`: a board game in the terminal, or in the browser (`play_web`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agents.games.players import Player
    from agents.games.search import Found
    from envs.games import Game

__all__ = ["has_network", "is_game", "is_record", "opponent_named", "play_game"]

SHOWN = 3  # moves of the opponent's thoughts that are told
ALONE = 4  # positions that go through a network together: in a single game most are alone


def is_game(name: Path) -> bool:
    """Whether what was to be played is the name of a game, and no file or folder."""
    from envs.games import GAMES

    return str(name) in GAMES and not name.exists()


def is_record(name: Path) -> bool:
    """Whether what was to be played is a file with the record of a game."""
    return name.suffix == ".json" and name.is_file()


def has_network(against: str) -> bool:
    """Whether that player is a network whose name leaves open how many simulations it is given."""
    from agents.games.players import NETWORK, players

    return against == NETWORK or against.partition(":")[0] not in players()


def play_game(name: str, *, against: str, simulations: int, second: bool, seed: int, out: Path | None = None) -> int:
    """Play one game against somebody; 0. out: where to write its record.

    Raises UnknownPlayer, UsageError, WeightsError, OSError, click.Abort where the input ends.
    """
    import numpy as np

    from agents.games.record import GameRecord, write_record
    from envs.games import game_named
    from envs.games import play as checked

    game, random = game_named(name), np.random.default_rng(seed)
    opponent = opponent_named(against, game, simulations)
    state, me, moves = game.initial(1), 1 if second else 0, list[int]()
    click.echo(f"{name}: {game.about} You are {'XO'[me]}, {against} is {'OX'[me]}; X moves first. q leaves.")
    while not state.done[0]:
        click.echo(f"\n{game.board_text(state)}\n")
        if int(state.player[0]) == me:
            action = _ask(game, state)
            if action is None:
                break
        else:
            action, thoughts = _think(opponent, game, state, random)
            click.echo(f"{against} plays {game.action_name(action)}{thoughts}")
        state = checked(game, state, np.array([action]))
        moves.append(action)
    if state.done[0]:
        click.echo(f"\n{game.board_text(state)}\n")
        outcome = int(state.outcome[0]) * (1 - 2 * me)
        click.echo({1: "You have won.", 0: "A draw.", -1: f"{against} has won."}[outcome])
    if out is not None:
        players = ("you", against) if me == 0 else (against, "you")
        click.echo(f"Saved: closedloop play {write_record(out, GameRecord(game=name, moves=tuple(moves), players=players))}")
    return 0


def _ask(game: Game[Any], state: Any) -> int | None:
    """A legal move from the one at the terminal; None to leave."""
    names = {game.action_name(int(a)).lower(): int(a) for a in game.legal(state)[0].nonzero()[0]}
    while True:
        text = click.prompt("Your move", prompt_suffix=": ").strip().lower()
        if text in ("q", "quit"):
            return None
        if text in names:
            return names[text]
        shown = list(names) if len(names) <= 10 else [*list(names)[:9], "..."]
        click.echo(f"{text!r} is not a legal move. Moves: {', '.join(shown)}")


def opponent_named(against: str, game: Game[Any], simulations: int) -> Player:
    """As `player_named`, or a network by its run's folder or file; `simulations` are those of networks for which the name says none.

    Raises UnknownPlayer, WeightsError, TrainConfigError.
    """
    from agents.games.players import UnknownPlayer, player_named, players

    if against.partition(":")[0] in players():
        return player_named(against, game, simulations=simulations, portion=ALONE)
    if not Path(against).exists():
        raise UnknownPlayer(f"no player {against!r}. Known: {', '.join(players())}, and networks by their run's folder or file")
    from agents.games.search import playing
    from agents.learning.alphazero import network_player

    return network_player(against, game, playing(simulations), portion=ALONE)


def _think(opponent: Player, game: Game[Any], state: Any, random: Any) -> tuple[int, str]:
    """The opponent's move, and what to say with it."""
    from agents.games import SearchPlayer, search

    if not isinstance(opponent, SearchPlayer):
        return int(opponent.act(state, random)[0]), ""
    found = search(game, state, opponent.evaluate, opponent.config, random)
    return int(found.action[0]), _thoughts(game, found)


def _thoughts(game: Game[Any], found: Found) -> str:
    """What a search thinks of the position: its chances, and the moves it looked at most."""
    best = found.policy[0].argsort()[::-1][:SHOWN]
    moves = ", ".join(f"{game.action_name(int(a))} {100 * found.policy[0, a]:.0f} %" for a in best if found.policy[0, a] >= 0.005)
    value = float(found.value[0])
    if found.proven[0]:
        return f"   (certain: {'it wins' if value > 0 else 'it loses' if value < 0 else 'a draw'}; {moves})"
    return f"   (expects {50 + 50 * value:.0f} % of the points; {moves})"
