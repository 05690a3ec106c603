"""From options to a configuration: what the shells do alike."""

from __future__ import annotations

from typing import Any

from envs.games.options import with_options
from envs.games.rally.types import RallyConfig

__all__ = ["rally_config"]


def rally_config(config: RallyConfig | None = None, *, render_mode: str | None = None, **options: Any) -> RallyConfig:
    """The configuration with options changed. Raises ConfigError, with a suggestion, for options and values that do not exist."""
    return with_options(config or RallyConfig(), options, game="rally", render_mode=render_mode)
