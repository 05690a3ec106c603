"""Figures that say how well each stage of a perception stack works."""

from __future__ import annotations

__all__: list[str] = []
