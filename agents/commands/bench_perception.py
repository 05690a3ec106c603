"""`closedloop bench perception`: the speed of camera, detector, tracker, predictor and the whole step, beside MuJoCo's renderer."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agents.evaluation.speed_perception import Pace
    from agents.evaluation.speed_renderer import Drawn

__all__ = ["command"]

PART_NAMES = ("camera", "detector", "tracker", "predictor", "truth", "perceived")
WHAT = {
    "camera": "frames drawn, 160 x 96, all weathers",
    "detector": "images to detections",
    "tracker": "worlds, one update and the tracks read",
    "predictor": "worlds, forecasts of all tracks",
    "truth": "world-steps without perception: simulator, observation",
    "perceived": "world-steps: simulator, camera, detector, tracker, predictor, observation",
}
PEER = "MuJoCo's renderer, 20 boxes on a plane, 160 x 96"


@click.command("perception")
@click.option("--part", "parts", type=click.Choice(PART_NAMES), multiple=True, help="What to measure; may be repeated. [default: all]")
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, help="Worlds at once; may be repeated. [default: 1 16 64 256]")
@click.option("--seconds", type=click.FloatRange(0.05), default=3.0, show_default=True, help="CPU seconds a measurement.")
@click.option("--backend", type=click.Choice(["eager", "compiled", "both"]), default="both", show_default=True, help="How torch runs it.")
@click.option("--device", default="cpu", show_default=True, help="Where everything lives: cpu, cuda, cuda:1. A GPU is timed by the clock.")
@click.option("--detector", default="driving", show_default=True, metavar="NAME|FILE", help="Weights; speed depends on their size alone.")
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="Worlds to measure on; may be repeated. [default: every family]")
@click.option("--peer/--no-peer", default=True, show_default=True, help="Measure MuJoCo's renderer in the same run (extra `bench`).")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("benchmarks/results"), show_default=True, help="Folder."
)
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(
    parts: tuple[str, ...], batches: tuple[int, ...], seconds: float, backend: str, device: str, detector: str, names: tuple[str, ...],
    peer: bool, out: Path, json_: bool,
) -> int:  # fmt: skip
    """Frames, worlds and world-steps per second per core, on one thread, in CPU seconds.

    Compiling takes a minute or two for each batch size the first time. MuJoCo draws by EGL or OSMesa, whichever works; if neither does, its
    line is left out and the reason told.

    \b
    closedloop bench perception
    closedloop bench perception --part camera --backend compiled --batch 256
    closedloop bench perception --device cuda --batch 256 --batch 4096
    """
    import torch

    import scenarios
    from agents.commands.compiling import checked_device
    from agents.commands.output import as_json, print_json
    from agents.evaluation.speed import machine
    from agents.evaluation.speed_perception import BACKENDS, BATCHES, measure, runs_here
    from perception.detectors.backends import fastest
    from perception.storage import find
    from scenarios.files import write_atomic

    checked_device(device)
    torch.set_num_threads(1)
    chosen = parts or PART_NAMES
    if {"detector", "perceived"} & set(chosen):
        detector = str(find(detector, kind="detector"))
    for name in names:
        scenarios.load(name)
    drawn, silent = _peer(seconds) if peer else (None, "not asked for")
    paces: list[Pace] = []
    for part in chosen:
        for kind in BACKENDS.get(part, BACKENDS["camera"]):
            ways = dict.fromkeys(("eager", "int8", "half", "torch"), "eager") | {"compiled": "compiled"}  # onnxruntime in any case
            if part == "detector" and not runs_here(kind, device):
                continue
            if backend != "both" and part != "tracker" and ways.get(kind, backend) != backend:
                continue
            for batch in batches or BATCHES:
                paces.append(
                    measure(
                        part,
                        backend=kind,
                        batch=batch,
                        seconds=seconds,
                        scenarios=names or scenarios.names(),
                        detector=detector,
                        device=device,
                    )
                )
                _say(paces[-1])
    record = {
        "task": f"one front camera at 160 x 96; worlds of {', '.join(names) if names else 'every family in turn'}",
        "device": device,
        "unit": "frames, worlds or world-steps per CPU-second of one thread, on a GPU per second",
        "parts": WHAT,
        "made": datetime.now().isoformat(timespec="seconds"),
        "detector": f"{Path(detector).stem}; in `perceived` it runs by {fastest(torch.device(device))}",
        "machine": machine("torch", "numpy", "onnxruntime", "mujoco"),
        "peer": {"what": PEER, "per_second": drawn.frames / drawn.seconds, **vars(drawn)} if drawn else {"what": PEER, "missing": silent},
        "rates": [{**vars(pace), "per_second": pace.per_second, **_ratios(pace, paces, drawn)} for pace in paces],
    }
    path = write_atomic(out / f"perception-{datetime.now():%Y%m%d-%H%M%S}.json", as_json(record) + "\n")
    if json_:
        print_json(record)
    else:
        _table(paces, drawn, "one core" if device == "cpu" else device)
    click.echo(f"Results: {path}", err=True)
    return 0


def _peer(seconds: float) -> tuple[Drawn | None, str]:
    """MuJoCo's measurement, or why there is none."""
    from agents.evaluation.speed_renderer import RenderError, measure_mujoco

    try:
        drawn = measure_mujoco(width=160, height=96, seconds=seconds)
    except RenderError as error:
        click.echo(f"no peer: {error}", err=True)
        return None, str(error)
    click.echo(f"{'mujoco':10} {drawn.backend:9} B=1    {drawn.frames / drawn.seconds:12,.0f} frames/s  ({drawn.renderer})", err=True)
    return drawn, ""


def _ratios(pace: Pace, paces: list[Pace], drawn: Drawn | None) -> dict[str, Any]:
    """Frames: times MuJoCo's. Perceived steps: how many times as long as a step without perception."""
    found: dict[str, Any] = {}
    if pace.part == "camera":
        found["times_mujoco"] = pace.per_second / (drawn.frames / drawn.seconds) if drawn else None
    if pace.part == "perceived":
        blind = [other for other in paces if (other.part, other.backend, other.batch) == ("truth", pace.backend, pace.batch)]
        found["times_as_long_as_truth"] = blind[0].per_second / pace.per_second if blind else None
    return found


def _say(pace: Pace) -> None:
    click.echo(f"{pace.part:10} {pace.backend:9} B={pace.batch:<4} {pace.per_second:12,.0f} {pace.unit}/s", err=True)


def _table(paces: list[Pace], drawn: Drawn | None, place: str) -> None:
    from agents.commands.output import print_table

    body = []
    if drawn:
        body.append((PEER, f"{drawn.backend}, {drawn.renderer}", "1", f"{drawn.frames / drawn.seconds:,.0f}", "1.0"))
    for pace in paces:
        ratios = _ratios(pace, paces, drawn)
        times, longer = ratios.get("times_mujoco"), ratios.get("times_as_long_as_truth")
        told = f"{times:,.1f} x MuJoCo" if times else f"{longer:,.1f} x as long as truth" if longer else "-"
        body.append((WHAT[pace.part], pace.backend, f"{pace.batch}", f"{pace.per_second:,.0f}", told))
    print_table(f"per second on {place}", ("what", "backend", "worlds", "per second", "ratio"), body)
