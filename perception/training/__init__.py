"""Training of the networks that ship, on any labelled stream."""

from __future__ import annotations

__all__: list[str] = []
