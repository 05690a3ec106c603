"""Who plays arcade games: a scripted expert, chance, and trained networks."""

from agents.arcade.players import PLAYERS, Chance, Player, RallyExpert

__all__ = ["PLAYERS", "Chance", "Player", "RallyExpert"]
