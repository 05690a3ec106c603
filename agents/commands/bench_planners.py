"""`closedloop bench planners`: how many plans a second each planner makes, for one world and for many at once."""

from __future__ import annotations

from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agents.evaluation.speed_planners import PlanPace

__all__ = ["command"]

SCENE = "scene"


@click.command("planners")
@click.option(
    "--planner", "planners", multiple=True, metavar="NAME", help="May be repeated; `scene` is what they are given. [default: all]"
)
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, help="Worlds at once; may be repeated. [default: 1 64 1024]")
@click.option("--scenario", default="merge/hard", show_default=True, metavar="NAME", help="Worlds to plan in; hybrid_astar parks.")
@click.option("--seconds", type=click.FloatRange(0.05), default=3.0, show_default=True, help="CPU seconds a measurement.")
@click.option("--device", default="cpu", show_default=True, help="Where the worlds live: cpu, cuda, cuda:1. A GPU is timed by the clock.")
@click.option("--peer/--no-peer", default=True, show_default=True, help="Measure fiss-planner, in C++, in the same run.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("benchmarks/results"), show_default=True, help="Folder."
)
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(
    planners: tuple[str, ...], batches: tuple[int, ...], scenario: str, seconds: float, device: str, peer: bool, out: Path, json_: bool
) -> int:  # fmt: skip
    """Plans per second per core: one plan of one world, on one thread, in CPU seconds.

    What planners are given, tracks, forecasts and routes, is made before and told apart (`scene`). hybrid_astar searches world by world, so
    it is measured on the fewest at once that are asked for. The peer is the Frenet planner fop of fiss-planner (pip install fiss-planner).

    \b
    closedloop bench planners
    closedloop bench planners --planner pdm --planner lattice --batch 64
    """
    if peer and find_spec("fiss_planner") is None:
        raise click.UsageError("fiss-planner is not installed: pip install fiss-planner, or measure without it: --no-peer")
    import torch

    import scenarios
    from agents.commands.compiling import checked_device
    from agents.commands.output import as_json, print_json
    from agents.evaluation.speed import machine
    from agents.evaluation.speed_planners import BATCHES, FOR_PARKING, measure_peer, measure_plans, world_of
    from agents.planners.base import PLANNERS, make_planner
    from scenarios.files import write_atomic

    checked_device(device)
    scenarios.load(scenario)
    chosen, sizes = planners or (SCENE, *PLANNERS), batches or BATCHES
    for name in chosen:
        if name != SCENE:
            make_planner(name)
    torch.set_num_threads(1)
    paces: list[PlanPace] = []
    if peer:
        paces.append(measure_peer(seconds=seconds))
        _say(paces[-1])
    for name in chosen:
        for batch in (min(sizes),) if name == FOR_PARKING else sizes:
            paces.append(measure_plans(name, scenario=world_of(name, scenario), batch=batch, seconds=seconds, device=device))
            _say(paces[-1])
    record = {
        "task": f"worlds of {scenario}; hybrid_astar: of {world_of(FOR_PARKING, scenario)}",
        "device": device,
        "unit": "plans per CPU-second of one thread, on a GPU per second, of all `episodes` in turn; what they are given is made before",
        "made": datetime.now().isoformat(timespec="seconds"),
        "machine": machine("torch", "numpy", "fiss-planner"),
        "rates": [{**vars(pace), "per_second": pace.per_second} for pace in paces],
    }
    path = write_atomic(out / f"planners-{datetime.now():%Y%m%d-%H%M%S}.json", as_json(record) + "\n")
    if json_:
        print_json(record)
    else:
        _table(paces, "one core" if device == "cpu" else device)
    click.echo(f"Results: {path}", err=True)
    return 0


def _say(pace: PlanPace) -> None:
    told = f"{pace.per_second:10,.0f} plans/s   {1e3 / pace.per_second:8.3f} ms a plan"
    click.echo(f"{pace.planner:18} B={pace.batch:<5} {told}", err=True)


def _table(paces: list[PlanPace], place: str) -> None:
    from agents.commands.output import print_table

    body = [(pace.planner, pace.scenario, f"{pace.batch}", f"{pace.per_second:,.0f}", f"{1e3 / pace.per_second:.3f}") for pace in paces]
    print_table(f"plans per second on {place}", ("planner", "worlds of", "at once", "plans/s", "ms a plan"), body)
