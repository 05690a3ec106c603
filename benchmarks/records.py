"""What the benchmarks write: figures with what was measured, when, on what."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import click

from agents.commands.output import as_json
from agents.evaluation.report import versions
from scenarios.files import write_atomic

__all__ = ["RESULTS", "keep"]

RESULTS = Path("benchmarks") / "results"


def keep(doc: str | None, path: Path, figures: dict[str, Any]) -> None:
    """Write the figures as JSON, with the first line of a benchmark's `doc`, date, machine and versions before them; and say where.

    What stands in `figures` under one of those names counts. Raises OSError.
    """
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "machine": platform.machine()}
    about = {"what": (doc or "").splitlines()[0], "date": str(date.today()), "machine": machine, "versions": versions()}
    write_atomic(path, as_json(about | figures) + "\n")
    click.echo(f"written: {path}")
