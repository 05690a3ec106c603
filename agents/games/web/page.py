"""The page as one text: its parts lie in `page/`, and a content security policy names the only script and style sheet it may use."""

from __future__ import annotations

import html
import re
from importlib.resources import files
from typing import Any

from agents.playback.page import embedded_json, source_hash

__all__ = ["page"]

SCRIPTS = ("board.js", "table.js")


def page(about: dict[str, Any]) -> str:
    """The page for what `Table.about` says."""
    style, script = _part("style.css"), '"use strict";\n(() => {\n' + "\n".join(_part(name) for name in SCRIPTS) + "\n})();\n"
    values = {
        "title": html.escape(about["game"].replace("_", " ").capitalize()),
        "style": style,
        "style_hash": source_hash(style),
        "script": script,
        "script_hash": source_hash(script),
        "data": embedded_json(about),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _part("page.html"))


def _part(name: str) -> str:
    return (files("agents.games.web") / "page" / name).read_text(encoding="utf-8")
