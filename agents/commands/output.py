"""What commands print: JSON alone on stdout, everything else readable; logs and progress on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

__all__ = ["CountProgress", "as_json", "print_json", "print_table"]


def as_json(value: Any) -> str:
    """Indented JSON, strict: NaN and infinities, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def print_json(value: Any) -> None:
    """`value` as the only thing on stdout."""
    click.echo(as_json(value))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people, as wide as the terminal; plain text where stdout is not one. Names in the first column stay whole.

    Brackets are printed as they are: nothing in it is Rich's markup.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(escape(column), overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


class CountProgress:
    """A bar on stderr if that is a terminal, else a line every tenth; `unit` is what is counted."""

    def __init__(self, total: int, unit: str = "episode") -> None:
        self.total, self.unit, self.done, self.told = total, unit, 0, 0
        self.terminal = sys.stderr.isatty()

    def __enter__(self) -> CountProgress:
        if self.terminal:
            from tqdm import tqdm  # type: ignore[import-untyped]

            self.bar = tqdm(total=self.total, unit=self.unit, file=sys.stderr, leave=False)
        return self

    def __call__(self, count: int) -> None:
        self.done += count
        if self.terminal:
            self.bar.update(count)
        elif self.done * 10 // self.total > self.told:
            self.told = self.done * 10 // self.total
            click.echo(f"{self.done} of {self.total} {self.unit}s", err=True)

    def __exit__(self, *_: object) -> None:
        if self.terminal:
            self.bar.close()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
