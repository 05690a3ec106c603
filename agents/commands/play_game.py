"""`closedloop play GAME --against PLAYER`: a board game in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agents.games.search import Found
    from envs.games import Game

__all__ = ["is_game", "play_game"]

SHOWN = 3  # moves of the opponent's thoughts that are told


def is_game(name: Path) -> bool:
    """Whether what was to be played is the name of a game, and no file or folder."""
    from envs.games import GAMES

    return str(name) in GAMES and not name.exists()


def play_game(name: str, *, against: str, simulations: int, second: bool, seed: int) -> int:
    """Play one game against somebody; 0. Raises UnknownPlayer, UsageError, WeightsError, click.Abort where the input ends."""
    import numpy as np

    from envs.games import game_named
    from envs.games import play as checked

    game, random = game_named(name), np.random.default_rng(seed)
    think = _opponent(against, game, simulations)
    state, me = game.initial(1), 1 if second else 0
    click.echo(f"{name}: {game.about} You are {'XO'[me]}, {against} is {'OX'[me]}; X moves first. q leaves.")
    while not state.done[0]:
        click.echo(f"\n{game.board_text(state)}\n")
        if int(state.player[0]) == me:
            action = _ask(game, state)
            if action is None:
                return 0
        else:
            action, thoughts = think(state, random)
            click.echo(f"{against} plays {game.action_name(action)}{thoughts}")
        state = checked(game, state, np.array([action]))
    click.echo(f"\n{game.board_text(state)}\n")
    outcome = int(state.outcome[0]) * (1 - 2 * me)
    click.echo({1: "You have won.", 0: "A draw.", -1: f"{against} has won."}[outcome])
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


def _opponent(against: str, game: Game[Any], simulations: int) -> Any:
    """A function of a position and a generator: the move, and what to say with it."""
    from agents.games import SearchConfig, search
    from agents.games.players import UnknownPlayer, player_named, players

    kind = against.partition(":")[0]
    if kind in players():
        player = player_named(against, game)
        return lambda state, random: (int(player.act(state, random)[0]), "")
    if not Path(against).exists():
        raise UnknownPlayer(f"no player {against!r}. Known: {', '.join(players())}, and networks by their run's folder or file")
    from agents.learning.alphazero import network_player

    thinker = network_player(against, game, SearchConfig(simulations=simulations))

    def think(state: Any, random: Any) -> tuple[int, str]:
        found = search(game, state, thinker.evaluate, thinker.config, random)
        return int(found.action[0]), _thoughts(game, found)

    return think


def _thoughts(game: Game[Any], found: Found) -> str:
    """What a search thinks of the position: its chances, and the moves it looked at most."""
    best = found.policy[0].argsort()[::-1][:SHOWN]
    moves = ", ".join(f"{game.action_name(int(a))} {100 * found.policy[0, a]:.0f} %" for a in best if found.policy[0, a] >= 0.005)
    value = float(found.value[0])
    if found.proven[0]:
        return f"   (certain: {'it wins' if value > 0 else 'it loses' if value < 0 else 'a draw'}; {moves})"
    return f"   (expects {50 + 50 * value:.0f} % of the points; {moves})"
