"""From options to a game's configuration: what the shells of all arcade games do alike."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from envs.checks import ConfigError, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["with_options"]

C = TypeVar("C", bound="DataclassInstance")


def with_options(config: C, options: dict[str, Any], *, game: str, render_mode: str | None = None) -> C:
    """The configuration with options changed. Raises ConfigError, with a suggestion, for options and values that do not exist."""
    if render_mode not in (None, "rgb_array"):
        raise ConfigError(f"render_mode={render_mode!r}: must be None or 'rgb_array'")
    known = [part.name for part in fields(config)]
    for option in options:
        if option not in known:
            raise ConfigError(unknown(f"option of {game}", option, known))
    return replace(config, **options)
