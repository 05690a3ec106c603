"""Playing board games: tree search over many games in step, opponents, and matches between them. No torch in here.

from agents.games import SearchConfig, player_named, play_match
match = play_match(game, player_named("mcts", game), player_named("random", game), openings_count=100, seed=0)
"""

from __future__ import annotations

from agents.games.arena import Match, play_match
from agents.games.players import Player, SearchPlayer, player_named, players
from agents.games.search import Found, SearchConfig, search

__all__ = ["Found", "Match", "Player", "SearchConfig", "SearchPlayer", "play_match", "player_named", "players", "search"]
