"""How well a network that ships, or another, plays a board game against plain search or anybody else, by who moves first.

    python -m benchmarks.board_match go_5x5 --against mcts:1000

From the empty board, half of the games as the one who moves first. Prints the points a game with 95 % intervals and writes them to
benchmarks/results/GAME-match-DATE.json. Takes minutes of one core, nearly all of it plain search.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

import click
import torch

from agents.evaluation.stats import proportion
from agents.games import SearchPlayer, play_match, player_named
from agents.games.search import playing
from agents.learning.alphazero import NetworkEvaluator, load_network
from agents.learning.alphazero.shipped import shipped_network
from benchmarks.records import RESULTS, keep
from envs.games import game_named

PORTION = 64  # positions judged together


@click.command()
@click.argument("game")
@click.option("--network", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="[default: the one that ships]")
@click.option("--simulations", type=click.IntRange(1), default=400, show_default=True)
@click.option("--against", default="mcts:1000", show_default=True, help="Whom to play.")
@click.option("--games", type=click.IntRange(2), default=100, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: benchmarks/results/GAME-match-DATE.json]")
def main(game: str, network: Path | None, simulations: int, against: str, games: int, seed: int, out: Path | None) -> None:
    """See the module."""
    torch.set_num_threads(1)
    rules = game_named(game)
    judge = NetworkEvaluator(load_network(network or shipped_network(game)), rules, portion=PORTION, symmetric=True)
    player = SearchPlayer(rules, judge, playing(simulations), name=f"network, {simulations}")
    begun = time.process_time()
    match = play_match(rules, player, player_named(against, rules), openings_count=games // 2, seed=seed, opening_moves=0)
    rows = {}
    for name, points in (("moving first", match.points[:, 0]), ("moving second", match.points[:, 1])):
        won = int((points == 1.0).sum())
        rows[name] = {"games": len(points), "points": float(points.mean()), "won": asdict(proportion(won, len(points)))}
        click.echo(f"{name}: {points.mean():.3f} points a game of {len(points)}, {won} won")
    figures = {
        "game": game,
        "about": rules.about,
        "network": str(network) if network else "the one that ships",
        "simulations": simulations,
        "against": against,
        "seed": seed,
        "match": rows,
        "moves": match.moves,
        "core_seconds": time.process_time() - begun,
    }
    keep(__doc__, out or RESULTS / f"{game}-match-{date.today()}.json", figures)


if __name__ == "__main__":
    main()
