"""`closedloop export`: a driven episode of an imported scenario as a solution that others can check."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]

FILE = click.Path(dir_okay=False, path_type=Path, exists=True)
COSTS = ("JB1", "SA1", "WX1", "SM1", "SM2", "SM3", "MW1", "TR1")  # those of `agents.playback.solution`, which imports torch


@click.command("export")
@click.argument("trace", type=FILE)
@click.argument("problem", type=FILE, metavar="FILE.xml")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write. [default: solution_ID.xml beside it]")
@click.option("--cost", type=click.Choice(COSTS), default="TR1", show_default=True, help="Cost function by which it is to be ranked.")
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
@click.option("--json", "json_", is_flag=True, help="Print what was written as JSON on stdout.")
def command(trace: Path, problem: Path, out: Path | None, cost: str, force: bool, json_: bool) -> None:
    """Write a trace as a CommonRoad solution of the file that its scenario was imported from.

    The trace is driven again, tick by tick, as the vehicle model KS3. Needs the extra 'commonroad'. Check the result with
    commonroad-drivability-checker. Whoever reacted to the ego (variant reactive) is where the recording has him there.

    \b
    closedloop import USA_US101-3_3_T-1.xml -o imported
    closedloop eval pdm --scenario imported/USA_US101-3_3_T-1.yaml/log --episodes 1 --traces all --out runs/us101
    closedloop export runs/us101/traces/pdm/USA_US101-3_3_T-1-log-0.trace USA_US101-3_3_T-1.xml -o solution.xml
    """
    from agents.commands.output import print_json
    from agents.playback.solution import solution
    from agents.playback.trace import Trace, TraceError
    from scenarios.files import write_atomic
    from scenarios.importers.commonroad_problem import read_problem

    found, read = read_problem(problem), Trace.load(trace)
    target = out or trace.with_name(f"solution_{found.scenario}.xml")
    if target.exists() and not force:
        raise FileExistsError(17, "exists; choose another --out, or give --force", str(target))
    try:
        text = solution(read, found, cost)
    except TraceError:
        raise
    except ValueError as error:
        raise click.UsageError(f"{trace}: {error}") from None
    write_atomic(target, text)
    success = bool(read.metrics.get("success", 0.0))
    if json_:
        print_json({"solution": str(target), "scenario": found.scenario, "problem": found.id, "cost": cost, "success": success})
        return
    click.echo(f"{target}: planning problem {found.id} of {found.scenario}, {read.times[-1]:.1f} s")
    if found.others:
        click.echo(f"  the file has other planning problems, which are not solved: {', '.join(map(str, found.others))}")
    if not success:
        click.echo("  the episode was no success: the solution will not be accepted")
