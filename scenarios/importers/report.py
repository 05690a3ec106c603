"""What an import could not carry over, and every choice it made where the file says nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ImportReport"]

SHOWN = 8  # ids named per line


@dataclass
class ImportReport:
    """Grows while a file is read; every line is printed and stored with the imported scenario."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """One fact, said once."""
        if line not in self.lines:
            self.lines.append(line)

    def items(self, line: str, ids: list[str]) -> None:
        """A fact about some things of the file; nothing if there are none. The first few are named, all are counted."""
        ids = list(dict.fromkeys(ids))
        if ids:
            more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            self.add(f"{line}: {', '.join(ids[:SHOWN])}{more} ({len(ids)})")
