"""How well the network for Connect Four plays that ships, or another.

    python -m benchmarks.connect_four --positions positions.jsonl

Positions: as `agents.games.solved` reads them. Judged are the network alone (its likeliest legal move; then by the mean of what it says of
a position and of its mirror image), with searches, and beside them players that know nothing; then it plays against plain search from the
empty board, every second game as the one who moves first. Prints the figures and writes them to benchmarks/results/connect-four-DATE.json.
Takes some minutes of one core, nearly all of it plain search.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from agents.games import Player, SearchPlayer, play_match, player_named
from agents.games.search import playing
from agents.games.solved import Solved, judge_moves, load_solved
from agents.learning.alphazero import NetworkEvaluator, load_network
from agents.learning.alphazero.shipped import shipped_network
from benchmarks.records import RESULTS, keep
from envs.games import game_named

PORTION = 64  # positions judged together


class Alone:
    """The likeliest legal move of a network, without any search."""

    def __init__(self, name: str, judge: NetworkEvaluator) -> None:
        self.name, self.judge = name, judge

    def act(self, state: Any, random: np.random.Generator) -> Any:
        """(B,) moves."""
        legal = self.judge.game.legal(state)
        return np.where(legal, self.judge(state, legal)[0], -math.inf).argmax(axis=1)


def judged(player: Player, solved: Solved) -> dict[str, Any]:
    """Shares of moves that keep the value, and what that took."""
    begun = time.process_time()
    found = judge_moves(player, solved)
    return {"player": player.name, **{name: asdict(share) for name, share in found.items()}, "core_seconds": time.process_time() - begun}


@click.command()
@click.option("--positions", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option(
    "--network", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A .safetensors. [default: the one that ships]"
)
@click.option("--simulations", type=click.IntRange(1), multiple=True, default=(32, 100, 400), show_default=True)
@click.option("--against", multiple=True, default=("mcts:1000",), show_default=True, help="Whom to play.")
@click.option("--beside", multiple=True, default=("random", "mcts:1000"), show_default=True, help="Whom to judge too.")
@click.option("--games", type=click.IntRange(0), default=200, show_default=True, help="Against each.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: benchmarks/results/connect-four-DATE.json]")
def main(
    positions: Path,
    network: Path | None,
    simulations: tuple[int, ...],
    against: tuple[str, ...],
    beside: tuple[str, ...],
    games: int,
    seed: int,
    out: Path | None,
) -> None:
    """See the module."""
    torch.set_num_threads(1)
    game = game_named("connect_four")
    solved, net = load_solved(positions, game), load_network(network or shipped_network(game.name))

    def asked(symmetric: bool) -> NetworkEvaluator:
        return NetworkEvaluator(net, game, portion=PORTION, symmetric=symmetric)

    def searching(count: int) -> SearchPlayer:
        return SearchPlayer(game, asked(True), playing(count), name=f"network, {count}")

    alone = [Alone("network alone", asked(False)), Alone("both ways round", asked(True))]
    players: list[Player] = [*alone, *map(searching, simulations), *(player_named(name, game) for name in beside)]
    rows, matches = [], []
    for player in players:
        rows.append(judged(player, solved))
        click.echo(f"{player.name:15} all {100 * rows[-1]['all']['value']:.1f} %  critical {100 * rows[-1]['critical']['value']:.1f} %")
    for name in against if games else ():
        begun = time.process_time()
        match = play_match(
            game, searching(max(simulations)), player_named(name, game), openings_count=games // 2, seed=seed, opening_moves=0
        )
        first, second = match.points.mean(axis=0)
        row = {"first": match.first, "second": match.second, "games": match.points.size, "score": asdict(match.score), **match.results}
        matches.append(row | {"moving_first": first, "moving_second": second, "core_seconds": time.process_time() - begun})
        click.echo(f"{match.first} against {name}: {match.score.value:.3f} points a game of {match.points.size}, {match.results}")
    figures = {
        "network": str(network) if network else "the one that ships",
        "positions": {"file": positions.name, "count": len(solved.critical), "critical": int(solved.critical.sum())},
        "judged": rows,
        "matches": matches,
    }
    keep(__doc__, out or RESULTS / f"connect-four-{date.today()}.json", figures)


if __name__ == "__main__":
    main()
