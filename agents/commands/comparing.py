"""What `closedloop compare` writes and says, whether it is about two policies or two recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agents.evaluation.cluster import RayCrew
    from agents.gate.report import Lost, Report

__all__ = ["closing", "crashed", "crew_for", "duration", "files_of", "guarded", "show", "write"]

MOST = 10  # things that went wrong are named up to here; the report has all


@contextmanager
def crew_for(cluster: str | None) -> Iterator[RayCrew | None]:
    """Who drives: a cluster that is left in the end, or None for the processes of this machine. Raises ModuleNotFoundError without Ray."""
    if cluster is None:
        yield None
        return
    from agents.evaluation.cluster import RayCrew

    with RayCrew() as crew:
        yield crew


def guarded(again: str, run: Callable[[], int]) -> int:
    """What `run` returns; 4 if the journal is damaged or cannot be written. Who interrupts it is told how to go on. again: the command."""
    from agents.gate.journal import JournalError

    try:
        return run()
    except JournalError as error:
        return crashed(str(error))
    except KeyboardInterrupt:
        click.echo(f"\nwhat was driven is kept; to go on: {again} --resume", err=True)
        raise


def files_of(folder: Path) -> str:
    """The files of a report."""
    return f"{', '.join(str(folder / f'report.{kind}') for kind in ('html', 'md', 'json'))}, {folder / 'junit.xml'}"


def write(report: Report, folder: Path, again: str) -> None:
    """All files but report.html. Raises OSError."""
    from agents.gate.pages import junit, markdown
    from scenarios.files import write_atomic

    write_atomic(folder / "report.json", report.text())
    write_atomic(folder / "report.md", markdown(report, command=again))
    write_atomic(folder / "junit.xml", junit(report))


def show(report: Report) -> None:
    """The table, the verdict, and where to look first."""
    from agents.commands.output import print_table
    from agents.gate.pages import HEADINGS, row, told

    names = [str(side.get("name", "")) for side in (report.baseline, report.candidate)]
    print_table(f"{names[1]} against {names[0]} on {report.suite}", HEADINGS, [row(f) for f in told(report)])
    click.echo(f"{report.verdict}: {report.because}")
    if report.worse:
        first = report.worse[0]
        count = f"{report.worse_in_all} pair{'s' * (report.worse_in_all != 1)}"
        click.echo(f"{count} got worse, {first.scenario} seed {first.seed} for one: {first.command}")
    for cluster in report.clusters[:5]:
        click.echo(f"{cluster.count} x {cluster.words}")
    for minimal in report.minimal:
        if minimal.file and not minimal.why:
            click.echo(
                f"small: {minimal.scenario} seed {minimal.seed} with {minimal.others_left} of {minimal.others} others: {minimal.command}"
            )


def closing(lost: Sequence[Lost], incidents: Sequence[str], again: str) -> int:
    """Name what went wrong; 4 if anything did, else 0."""
    from agents.cli import CRASHED

    for each in lost[:MOST]:
        click.echo(f"lost: {each.role}, {each.scenario}, seed {each.seed}: {each.why}", err=True)
    for line in incidents[:MOST]:
        click.echo(f"crashed: {line}", err=True)
    if not lost and not incidents:
        return 0
    if lost:
        click.echo(f"{len(lost)} episodes were lost; to try those again: {again} --resume", err=True)
    else:
        click.echo(f"no episode was lost, but what crashes is no pass; to judge once more: {again} --resume", err=True)
    return CRASHED


def crashed(message: str) -> int:
    """Tell what went wrong; 4."""
    from agents.cli import CRASHED

    click.echo(f"closedloop: {message}", err=True)
    return CRASHED


def duration(seconds: float) -> str:
    """In words."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
