"""Traces of what was driven: record (`recorder`), keep (`trace`), check (`verify`), watch (`page`, `video`, `draw`)."""

from __future__ import annotations

__all__: list[str] = []
