"""Telling how a run goes: a bar on a terminal, plain lines elsewhere, always on the error stream so that standard output stays clean."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from agents.learning.validate import Validation

__all__ = ["Console", "show_count", "show_rate"]

EVERY = 10.0  # s between plain lines


class Console:
    """One run's line of progress. `close` it."""

    def __init__(self, total: int, *, done: int = 0, stream: TextIO | None = None, quiet: bool = False) -> None:
        self.stream = stream or sys.stderr
        self.total, self.done, self.first, self.quiet = total, done, done, quiet
        self.begun = self.told = time.monotonic()
        self.bar: Any = None
        if not quiet and self.stream.isatty():
            from tqdm import tqdm  # type: ignore[import-untyped]

            self.bar = tqdm(total=total, initial=done, unit="step", unit_scale=True, file=self.stream, dynamic_ncols=True, smoothing=0.05)

    def advance(self, done: int, figures: str) -> None:
        """`done` steps so far; figures: short text about them."""
        if self.bar is not None:
            self.bar.set_postfix_str(figures, refresh=False)
            self.bar.update(done - self.done)
        self.done = done
        now = time.monotonic()
        if self.bar is None and (now - self.told >= EVERY or done >= self.total):
            self.told = now
            rate = (done - self.first) / max(now - self.begun, 1e-9)
            left = f", {_duration((self.total - done) / rate)} left" if rate > 0 and done < self.total else ""
            self.say(f"{show_count(done)} / {show_count(self.total)} steps  {show_count(int(rate))}/s{left}  {figures}")

    def say(self, line: str) -> None:
        """A line that stays."""
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.write(line, file=self.stream)
        else:
            print(line, file=self.stream, flush=True)

    def validated(self, steps: int, result: Validation, *, best: bool) -> None:
        """The figures of a validation."""
        parts = [f"validation at {show_count(steps)}:"]
        parts += [f"success {show_rate(result.success)}"] if result.success else []
        parts += [f"collision {show_rate(result.collision)}"] if result.collision else []
        parts += [f"return {result.reward:.2f}", f"over {result.episodes} episodes"]
        self.say(" ".join(parts) + (" *best*" if best else ""))

    def close(self) -> None:
        """Leave the terminal in order."""
        if self.bar is not None:
            self.bar.close()


def show_rate(estimate: Any) -> str:
    """'93.5 % [89.2, 96.2]'."""
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def show_count(value: int) -> str:
    """1234567 -> '1.23M'."""
    for factor, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}"
    return str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
