"""`closedloop bench`: speed on this machine, of the simulator beside a peer in the same run."""

from __future__ import annotations

from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agents.commands.bench_perception import command as perception
from agents.commands.bench_planners import command as planners
from agents.commands.group import HelpfulGroup

if TYPE_CHECKING:
    from agents.evaluation.speed import Rate

__all__ = ["command"]

WHAT = {
    "drive": "traffic + dynamics",
    "full": "+ all-pairs collision, off-road, metrics each tick; observation each decision (1 Hz)",
    "full15": "the same, decision and observation each tick (15 Hz)",
}


class _Benchmarks(HelpfulGroup):
    noun = "benchmark"


@click.group("bench", cls=_Benchmarks)
def command() -> None:
    """Measure speed.

    \b
    closedloop bench driving
    closedloop bench perception
    closedloop bench planners
    closedloop bench driving --batch 256 --batch 1024 --seconds 5
    """


command.add_command(perception)
command.add_command(planners)


@command.command("driving")
@click.option(
    "--batch", "batches", type=click.IntRange(1), multiple=True, help="Worlds at once; may be repeated. [default: 1 64 256 1024 4096]"
)
@click.option("--seconds", type=click.FloatRange(0.05), default=3.0, show_default=True, help="CPU seconds a measurement.")
@click.option("--backend", type=click.Choice(["eager", "compiled", "both"]), default="both", show_default=True, help="How torch runs it.")
@click.option("--device", default="cpu", show_default=True, help="Where our worlds live: cpu, cuda, cuda:1. A GPU is timed by the clock.")
@click.option("--part", "parts", type=click.Choice([*WHAT]), multiple=True, help="What to measure; may be repeated. [default: all]")
@click.option("--peer/--no-peer", default=True, show_default=True, help="Measure highway-env in the same run (extra `bench`).")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("benchmarks/results"),
    show_default=True,
    help="Folder for the JSON.",
)
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def driving(
    batches: tuple[int, ...], seconds: float, backend: str, device: str, parts: tuple[str, ...], peer: bool, out: Path, json_: bool
) -> int:
    """Agent-steps per second per core: one vehicle on the road, advanced by one physics tick; on one thread, in CPU seconds.

    The task is highway-env's highway-v0: 4 lanes, 51 vehicles, 15 Hz physics, 1 Hz decisions. Compiling takes a minute or two for each
    batch size the first time.

    \b
    closedloop bench driving
    closedloop bench driving --backend eager --batch 64 --no-peer
    closedloop bench driving --device cuda --batch 4096 --batch 65536
    """
    if peer and find_spec("highway_env") is None:
        raise click.UsageError("highway-env is not installed: pip install 'closedloop[bench]', or measure without it: --no-peer")
    import torch

    from agents.commands.compiling import checked_device
    from agents.commands.output import as_json, print_json
    from agents.evaluation.speed import BATCHES, PARTS, machine, measure_ours, measure_peer
    from scenarios.files import write_atomic

    checked_device(device)
    torch.set_num_threads(1)
    backends = ("eager", "compiled") if backend == "both" else (backend,)
    sizes = batches or BATCHES
    rates = []
    if peer:
        rates.append(measure_peer(seconds=max(seconds, 10.0)))
        _say(rates[-1])
    for kind in backends:
        for part in parts or PARTS:
            for worlds in sizes:
                rates.append(measure_ours(part, worlds=worlds, compiled=kind == "compiled", seconds=seconds, device=device))
                _say(rates[-1])
    theirs = rates[0].agent_steps_per_second if peer else None
    record = {
        "task": "highway-env highway-v0: 4 lanes, 51 vehicles, 15 Hz physics, 1 Hz decisions",
        "device": device,
        "unit": "agent-steps per CPU-second of one thread (GPU: per second); an agent-step is one vehicle on the road moved by one tick",
        "parts": WHAT,
        "made": datetime.now().isoformat(timespec="seconds"),
        "machine": machine(),
        "rates": [
            {
                **vars(rate),
                "agent_steps_per_second": rate.agent_steps_per_second,
                "times_highway_env": rate.agent_steps_per_second / theirs if theirs else None,
            }
            for rate in rates
        ],
    }
    path = write_atomic(out / f"driving-{datetime.now():%Y%m%d-%H%M%S}.json", as_json(record) + "\n")
    if json_:
        print_json(record)
    else:
        _table(rates, theirs)
    click.echo(f"Results: {path}", err=True)
    return 0


def _say(rate: Rate) -> None:
    click.echo(f"{rate.part:12} {rate.backend:9} B={rate.worlds:<5} {rate.agent_steps_per_second:14,.0f} agent-steps/s", err=True)


def _table(rates: list[Rate], theirs: float | None) -> None:
    from agents.commands.output import print_table

    body = [
        (
            WHAT.get(rate.part, "highway-env: step"),
            rate.backend,
            f"{rate.worlds}",
            f"{rate.agent_steps_per_second:,.0f}",
            f"{rate.agent_steps_per_second / theirs:,.1f}" if theirs else "-",
        )
        for rate in rates
    ]
    place = next((rate.device for rate in rates if rate.device != "cpu"), "one core")
    print_table(f"agent-steps per second on {place}", ("what", "backend", "worlds", "agent-steps/s", "x highway-env"), body)
