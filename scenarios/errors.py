"""What is wrong with a scenario file, said so that it can be put right: where, what, what was expected, what was perhaps meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Problem", "ScenarioError", "did_you_mean", "dotted", "show"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong. Lines and columns count from 1; line 0: about the whole file."""

    file: str
    line: int = 0
    column: int = 0
    path: str = ""  # dotted: traffic[0].flow.rate
    value: str = ""  # as shown to people
    expected: str  # what was expected, or what is wrong
    hint: str = ""  # "did you mean 'ramp_length'?"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        what = f" {self.path}:" if self.path else ""
        got = f" (got {self.value})" if self.value else ""
        return f"{place}:{what} {self.expected}{got}" + (f"; {self.hint}" if self.hint else "")

    def as_dict(self) -> dict[str, str | int]:
        """For `--json`."""
        return dict(vars(self))


class ScenarioError(ValueError):
    """A scenario or suite that cannot be used. `problems` has all that is wrong, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems = tuple(sorted(unique, key=lambda p: (p.file, p.line, p.column)))
        super().__init__("\n".join(str(p) for p in self.problems))


def did_you_mean(value: Any, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """'did you mean 'x'?' for the closest known word, or ''."""
    words = list(known)
    lower = {word.lower(): word for word in words}
    close = difflib.get_close_matches(str(value)[:80].lower(), lower, n=1, cutoff=cutoff)
    return f"did you mean '{lower[close[0]]}'?" if close else ""


def dotted(path: Iterable[str | int]) -> str:
    """('traffic', 0, 'flow') -> 'traffic[0].flow'."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def show(value: Any, limit: int = 60) -> str:
    """A value as a reader would find it in the file, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
