"""Real footage through the perception stack: read, draw on, write."""

from __future__ import annotations

__all__: list[str] = []
