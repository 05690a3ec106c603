"""From options to worlds: what the shells do alike. Used by them and by nobody else."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from envs.checks import ConfigError, unknown
from envs.games.rally.types import RallyConfig

__all__ = ["rally_config"]


def rally_config(config: RallyConfig | None = None, *, render_mode: str | None = None, **options: Any) -> RallyConfig:
    """The configuration with options changed. Raises ConfigError, with a suggestion, for options and values that do not exist."""
    if render_mode not in (None, "rgb_array"):
        raise ConfigError(f"render_mode={render_mode!r}: must be None or 'rgb_array'")
    known = [part.name for part in fields(RallyConfig)]
    for option in options:
        if option not in known:
            raise ConfigError(unknown("option of rally", option, known))
    return replace(config or RallyConfig(), **options)
