"""Learning board games by self-play (Silver et al. 2018; Danihelka et al. 2022 for the search).

    from agents.learning.alphazero import config_from, train
    result = train(config_from({"game": "connect_four", "steps": 200_000}), out="runs/four")

Importing the package is cheap; torch is imported with the first name taken from it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.learning.alphazero.config import AlphaZeroConfig, config_from
    from agents.learning.alphazero.network import GameNetwork, NetworkEvaluator, load_network, network_player
    from agents.learning.alphazero.trainer import resume, train

__all__ = ["AlphaZeroConfig", "GameNetwork", "NetworkEvaluator", "config_from", "load_network", "network_player", "resume", "train"]

_HOMES = {
    "AlphaZeroConfig": "config",
    "GameNetwork": "network",
    "NetworkEvaluator": "network",
    "config_from": "config",
    "load_network": "network",
    "network_player": "network",
    "resume": "trainer",
    "train": "trainer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"agents.learning.alphazero.{_HOMES[name]}"), name)
