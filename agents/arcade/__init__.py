"""Who plays arcade games: scripted experts, chance, and trained networks."""

from agents.arcade.players import EXPERTS, Chance, Player, RallyExpert, players_of

__all__ = ["EXPERTS", "Chance", "Player", "RallyExpert", "players_of"]
