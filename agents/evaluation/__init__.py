"""Judging policies: roll out (`rollout`), spread over processes (`jobs`), estimate with intervals (`stats`), report (`report`)."""

from __future__ import annotations

__all__: list[str] = []
