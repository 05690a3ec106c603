"""The networks that come with the package, one a game: agents/weights/games/<game>.safetensors and its card <game>.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.games.players import SearchPlayer, UnknownPlayer
from agents.games.search import playing
from envs.games import Game

__all__ = ["SHIPPED", "shipped_games", "shipped_network", "shipped_player"]

SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "games"


def shipped_games() -> list[str]:
    """Games with a network that ships."""
    return sorted(card.stem for card in SHIPPED.glob("*.json") if card.with_suffix(".safetensors").exists())


def shipped_network(game: str) -> Path:
    """The file of a game's network. Raises UnknownPlayer where none ships."""
    if game not in shipped_games():
        raise UnknownPlayer(
            f"no network for {game} ships, only for {', '.join(shipped_games()) or 'no game'}. Train one with "
            f"`closedloop train --game {game} --algo alphazero --out FOLDER` and play against that FOLDER"
        )
    return SHIPPED / f"{game}.safetensors"


def shipped_player(game: Game[Any], simulations: int, *, portion: int = 32) -> SearchPlayer:
    """Search with the game's network; portion as in `network_player`. Raises UnknownPlayer where none ships."""
    from agents.learning.alphazero.network import network_player

    file, config = shipped_network(game.name), playing(simulations)
    return network_player(file, game, config, portion=portion, name=f"alphazero:{simulations}")
