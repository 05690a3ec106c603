"""What `benchmarks.gate_faults` breaks: the list of faults, and the command that is run while something is broken.

A fault is a function of a folder that holds a suite of two strata, `suite.yaml` and `brief.yaml`. It runs in a process of its own, so it
may spoil anything; it ends by running the command line and returns its exit code. Processes are really killed, files really spoilt, the
file size really limited; a full disk is an `OSError(ENOSPC)` in place of what the system call returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import cli
from agents.gate import journal

__all__ = ["BRIEF", "FAULTS", "SUITE", "Fault", "compare", "fault", "stop_after"]

SUITE = """
version: 1
name: suite
episodes: 5
metrics:
  - {metric: success, margin: 0.25, priority: 1}
  - {metric: route_progress, margin: 0.3}
entries:
  - {scenario: brief.yaml}
  - {scenario: brief.yaml/easy, family: short}
"""
BRIEF = """
version: 1
name: brief
duration: 2 s
maps: 2
road: {kind: highway, lanes: 2, length: {uniform: ["300 m", "400 m"]}}
ego: {lane: main.0, s: {uniform: ["20 m", "60 m"]}, speed: 15 m/s}
traffic:
  - fill: {lanes: [main.0, main.1], spacing: 60 m}
variants:
  easy: {duration: 1 s}
"""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`says`: what has to be found in what the command prints or in its report."""

    kind: str
    name: str
    code: int  # that the command has to end with
    says: str
    run: Callable[[Path], int]


FAULTS: list[Fault] = []


def fault(kind: str, name: str, says: str, code: int = 4) -> Callable[[Callable[[Path], int]], Callable[[Path], int]]:
    """Puts a function on the list."""

    def listed(run: Callable[[Path], int]) -> Callable[[Path], int]:
        FAULTS.append(Fault(kind=kind, name=name, code=code, says=says, run=run))
        return run

    return listed


def compare(
    folder: Path, *more: str, baseline: str = "constant", candidate: str = "constant", workers: int = 1, suite: str = "suite.yaml"
) -> int:
    """The command, in `folder`, on policies that are the same unless told otherwise: without the fault it passes."""
    os.chdir(folder)
    sides = [baseline, candidate] if baseline else [candidate]
    return cli.run(["compare", *sides, "--suite", "suite.yaml", "--out", "out", "--workers", str(workers), "--shrink", "0", *more])


def stop_after(records: int) -> None:
    """Ctrl-C when the journal has so many records, once."""
    append, count = journal.Journal.append, [0]

    def counting(self: journal.Journal, body: dict[str, Any]) -> None:
        append(self, body)
        count[0] += 1
        if count[0] == records:
            journal.Journal.append = append  # type: ignore[method-assign]
            raise KeyboardInterrupt

    journal.Journal.append = counting  # type: ignore[method-assign]
