"""`closedloop import`: recorded traffic as scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from scenarios.importers import Imported

__all__ = ["command"]


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE.xml...")
@click.option(
    "-o", "--out", default=".", show_default=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the scenarios."
)
@click.option(
    "--mode",
    default="log",
    show_default=True,
    type=click.Choice(["log", "reactive"]),
    help="What the others do by default: replay the recording, or drive along their recorded path and react. Both are there as variants.",
)
@click.option(
    "--goal",
    default="file",
    show_default=True,
    type=click.Choice(["file", "pass", "last"]),
    help="What counts as arriving: the file's goal with its bounds on time, heading and speed; passing its place; lasting until the end.",
)
@click.option("--force", is_flag=True, help="Overwrite scenarios that exist.")
@click.option("--dry-run", is_flag=True, help="Read and report only; write nothing.")
@click.option("--json", "json_", is_flag=True, help="Print the results as JSON on stdout.")
def command(files: tuple[Path, ...], out: Path, mode: str, goal: str, force: bool, dry_run: bool, json_: bool) -> None:
    """Turn recorded traffic (CommonRoad XML) into scenarios: NAME.yaml beside NAME.npz.

    Everything that could not be carried over is listed, and stands at the top of the scenario file too. Needs the extra
    'commonroad'.

    \b
    closedloop import USA_US101-3_1_T-1.xml -o imported
    closedloop eval idm --scenario imported/USA_US101-3_1_T-1.yaml/reactive
    """
    from agents.commands.output import print_json
    from scenarios.importers import read_file
    from scenarios.importers.write import scenario_name, write_imported

    results = []
    for file in files:
        imported = read_file(file)
        paths: dict[str, str] = {}
        if not dry_run:
            written = write_imported(imported, scenario_name(file.stem), out, mode=mode, goal=goal, overwrite=force)
            imported = written.imported
            paths = {"scenario": str(written.scenario), "sidecar": str(written.sidecar)}
        result = summary(imported) | paths
        results.append(result)
        if not json_:
            _show(result)
    if json_:
        print_json(results)


def summary(imported: Imported) -> dict[str, object]:
    """What was imported, as plain data."""
    from scenarios.network import LaneType

    recording = imported.recording
    return {
        "source": imported.source,
        "duration": imported.duration,
        "dt": recording.dt,
        "lanes": sum(lane.type != LaneType.PATH for lane in imported.network.lanes),
        "lights": len(imported.network.lights),
        "agents": len(recording.agents),
        "report": list(imported.report.lines),
    }


def _show(result: dict[str, object]) -> None:
    head = f"{result['source']}: {result['lanes']} lanes, {result['lights']} lights, {result['agents']} recorded agents"
    click.echo(f"{head}, {result['duration']:.1f} s at {result['dt']:g} s" + (f" -> {result['scenario']}" if "scenario" in result else ""))
    report = result["report"]
    assert isinstance(report, list)
    for line in report:
        click.echo(f"  - {line}")
