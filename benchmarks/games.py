"""How fast board games are: rules beside OpenSpiel and PettingZoo in the same run, search and self-play.

    python -m benchmarks.games

Rules: moves per second of processor time, every move drawn from all that are legal, one thread. Ours are batches (`--batch` games; one that
is over begins anew), OpenSpiel is played through its Python bindings and PettingZoo without wrappers, a game at a time. Our Go is measured
as compiled by numba and in numpy, and compiled also with whole games to their ends in one call. The contestants take turns, `--rounds`
times; told are their medians.

Search: positions added per second to the trees of 128 games, Gumbel, 32 a move, from a few random moves on; without a network (`Uniform`)
and with one of random weights that remembers nothing of the searches before. Self-play: moves and games per second, at AlphaZero's own
settings, over the first 128 games that end.

What is not installed is left out (pip install open_spiel; PettingZoo's Go needs pygame-ce too). Prints the figures and writes them to
benchmarks/results/games-speed-DATE.json.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import click
import numpy as np
import torch

from agents.evaluation.speed import machine
from agents.games.evaluators import Uniform
from agents.games.search import SearchConfig, search
from agents.learning.alphazero.config import AlphaZeroConfig
from agents.learning.alphazero.network import GameNetwork, NetworkEvaluator
from agents.learning.alphazero.selfplay import SelfPlay
from benchmarks.records import RESULTS, keep
from benchmarks.robots_peers import per_second
from envs.games import GAMES, Game, game_named, nth_legal, put
from envs.games.go import Go

OPEN_SPIEL = {"tic_tac_toe": "tic_tac_toe", "connect_four": "connect_four", "gomoku": "gomoku", "othello": "othello"}
PETTING_ZOO = {"tic_tac_toe": "tictactoe_v3", "connect_four": "connect_four_v3"}
SEARCHED = ("connect_four", "go_5x5")
AT_ONCE, SIMULATIONS, PORTION = 128, 32, 128  # games searched in step, waves a move, positions that go through the network together
CHANNELS, BLOCKS = 32, 4


def stepping(game: Game[Any], batch: int) -> Callable[[], int]:
    """One random move in every game of a batch."""
    random, state = np.random.default_rng(0), game.initial(batch)

    def run() -> int:
        nonlocal state
        numbers = random.random(batch)
        state = game.step(state, game.choose(state, numbers) if isinstance(game, Go) else nth_legal(game.legal(state), numbers))
        if (over := np.flatnonzero(state.done)).size:
            put(state, over, game.initial(len(over)))
        return batch

    return run


def whole_games(game: Go, batch: int) -> Callable[[], int]:
    """Random games to their ends in one call; counted are moves."""
    random, start = np.random.default_rng(0), game.initial(batch)
    return lambda: int(game.play_out(start, random.random((batch, game.longest)), sensible=False).moves.sum())


def open_spiel(game: Game[Any]) -> Callable[[], int] | None:
    """A random game of OpenSpiel's; None without it."""
    if find_spec("pyspiel") is None:
        return None
    spiel, draw = import_module("pyspiel"), Random(0).random
    if isinstance(game, Go):
        other = spiel.load_game("go", {"board_size": game.rows, "komi": game.komi})
    else:
        other = spiel.load_game(OPEN_SPIEL[game.name], {"size": game.rows} if game.name == "gomoku" else {})

    def run() -> int:
        state, moves = other.new_initial_state(), 0
        while not state.is_terminal():
            legal = state.legal_actions()
            state.apply_action(legal[int(draw() * len(legal))])
            moves += 1
        return moves

    return run


def petting_zoo(game: Game[Any]) -> Callable[[], int] | None:
    """A random game of PettingZoo's; None where it has none, or is not installed."""
    name = "go_v5" if isinstance(game, Go) else PETTING_ZOO.get(game.name)
    if name is None or find_spec("pettingzoo") is None or find_spec("pygame") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        module = import_module(f"pettingzoo.classic.{name}")
        env = module.raw_env(board_size=game.rows, komi=game.komi) if isinstance(game, Go) else module.raw_env()
    draw = Random(0).random

    def run() -> int:
        env.reset()
        moves = 0
        while True:
            seen, _, terminated, truncated, _ = env.last()
            if terminated or truncated:
                return moves
            legal = np.flatnonzero(seen["action_mask"])
            env.step(int(legal[int(draw() * len(legal))]))
            moves += 1

    return run


def rules(name: str, batch: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Moves per second of a game's rules, ours and others', and how many times theirs ours are."""
    game = game_named(name)
    who: dict[str, Callable[[], int] | None] = {"ours": stepping(game, batch)}
    if isinstance(game, Go) and game.compiled:
        who["whole games"] = whole_games(game, batch)
        who["numpy"] = stepping(Go(game.rows, komi=game.komi, compiled=False), batch)
    who |= {"OpenSpiel": open_spiel(game), "PettingZoo": petting_zoo(game)}
    there = {each: run for each, run in who.items() if run is not None}
    seen = [{each: per_second(run, time.process_time, seconds) for each, run in there.items()} for _ in range(rounds)]
    rates = {each: median(row[each] for row in seen) for each in there}
    row = {"game": name, "moves_per_second": rates, "rounds": seen}
    for each in ("ours", "whole games"):
        if each in rates:
            row[f"{each}, times"] = {peer: rates[each] / rates[peer] for peer in ("OpenSpiel", "PettingZoo") if peer in rates}
    return row


def searches(name: str, seconds: float) -> dict[str, Any]:
    """Positions added to trees, and self-play, per second."""
    game, random = game_named(name), np.random.default_rng(0)
    state, config = game.initial(AT_ONCE), SearchConfig(simulations=SIMULATIONS)
    for _ in range(4):
        state = game.step(state, nth_legal(game.legal(state), random.random(AT_ONCE)))
    torch.manual_seed(0)
    network = GameNetwork(game, channels=CHANNELS, blocks=BLOCKS).eval()

    def asked() -> NetworkEvaluator:
        return NetworkEvaluator(network, game, portion=PORTION)

    def grow(judge: Any) -> int:
        search(game, state, judge or asked(), config, random, explore=True)
        return AT_ONCE * SIMULATIONS

    settings = AlphaZeroConfig(game=name, games=AT_ONCE, channels=CHANNELS, blocks=BLOCKS)
    play, judge, moves, ended, length, begun = SelfPlay(game, settings, random), asked(), 0, 0, 0, time.process_time()
    while ended < AT_ONCE:
        played = play.play(judge, 2)
        moves, ended, length = moves + 2 * AT_ONCE, ended + played.games, length + played.moves
    rate = moves / (time.process_time() - begun)
    return {
        "game": name,
        "simulations_per_second": {
            "no network": per_second(lambda: grow(Uniform()), time.process_time, seconds),
            "network": per_second(lambda: grow(None), time.process_time, seconds),
        },
        "self_play": {"moves_per_second": rate, "games_per_second": rate * ended / length, "settings": settings.as_dict()},
    }


@click.command()
@click.option("--game", "names", type=click.Choice(list(GAMES)), multiple=True, help="May be repeated. [default: all]")
@click.option("--batch", type=click.IntRange(1), default=1024, show_default=True, help="Of our games.")
@click.option("--seconds", type=click.FloatRange(0.05), default=1.0, show_default=True, help="CPU seconds a measurement.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--search/--no-search", "searching", default=True, show_default=True, help="Search and self-play too.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: benchmarks/results/games-speed-DATE.json]")
def main(names: tuple[str, ...], batch: int, seconds: float, rounds: int, searching: bool, out: Path | None) -> None:
    """See the module."""
    torch.set_num_threads(1)
    for module, how in (("pyspiel", "open_spiel"), ("pygame", "pygame-ce, for PettingZoo's"), ("numba", "closedloop[games]")):
        if find_spec(module) is None:
            click.echo(f"{module} is not installed, so that is left out: pip install {how}")
    rows, found = [], []
    for name in names or GAMES:
        rows.append(rules(name, batch, seconds, rounds))
        told = "  ".join(f"{each} {rate / 1e6:.3g} M" for each, rate in rows[-1]["moves_per_second"].items())
        click.echo(f"{name:13} moves/s: {told}")
        for each in ("ours", "whole games"):
            if times := rows[-1].get(f"{each}, times"):
                click.echo(f"{'':13} {each}: " + "  ".join(f"{rate:.3g}x {peer}" for peer, rate in times.items()))
    for name in (name for name in names or SEARCHED if searching):
        found.append(searches(name, seconds))
        simulations, played = found[-1]["simulations_per_second"], found[-1]["self_play"]
        told = "  ".join(f"{each} {rate:,.0f}" for each, rate in simulations.items())
        speed = f"{played['moves_per_second']:.0f} moves/s, {played['games_per_second']:.1f} games/s"
        click.echo(f"{name:13} simulations/s: {told}  self-play: {speed}")
    figures = {
        "unit": "per second of processor time of one thread",
        "machine": {"cores": os.cpu_count(), **machine("numpy", "numba", "torch", "open_spiel", "pettingzoo")},
        "settings": {"batch": batch, "seconds": seconds, "rounds": rounds, "searched at once": AT_ONCE, "simulations": SIMULATIONS}
        | {"channels": CHANNELS, "blocks": BLOCKS},
        "rules": rows,
        "search": found,
    }
    keep(__doc__, out or RESULTS / f"games-speed-{date.today()}.json", figures)


if __name__ == "__main__":
    main()
