"""Traces of what was driven: record (`trace`), check (`verify`), and watch as a web page (`page`), video (`video`) or picture (`draw`)."""

from __future__ import annotations

__all__: list[str] = []
