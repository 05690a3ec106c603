"""A board game in the browser: a page and the small local server that it talks to."""

from __future__ import annotations

from agents.games.web.server import serve
from agents.games.web.table import Table

__all__ = ["Table", "serve"]
