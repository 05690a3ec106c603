"""Where two configurations differ, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["differences"]


def differences(then: Any, now: Any, path: Sequence[str] = ()) -> Iterator[str]:
    """Where two configurations differ: 'alpha: 0.05 then, 0.01 now'."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*then, *now)):
            yield from differences(then.get(key), now.get(key), (*path, str(key)))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (a, b) in enumerate(zip(then, now, strict=True)):
            yield from differences(a, b, (*path, str(index)))
    elif then != now:
        yield f"{'.'.join(path)}: {_short(then)} then, {_short(now)} now"


def _short(value: Any, limit: int = 60) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
