"""`closedloop pretrain noise`: fit the error model of the level `noisy` to a detector."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path

import click

__all__ = ["command"]

NAME = "noise_driving"
WORLDS, LENGTH = 32, 30  # of a sequence, frames


@click.command("noise")
@click.option("--domain", default="driving", show_default=True, metavar="NAME", help="Stream of consecutive labelled frames.")
@click.option("--detector", default="detector_driving", show_default=True, metavar="NAME|FILE", help="Whose errors to learn.")
@click.option("--sequences", type=click.IntRange(1), default=24, show_default=True, help="Each of 32 worlds and 30 frames, 0.2 s apart.")
@click.option("--seed", type=click.IntRange(0, 99_999), default=0, show_default=True, help="Of the first sequence.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder, new or empty. [default: runs/noise-<time>]")
@click.option("--json", "json_", is_flag=True, help="Print the result as JSON on stdout.")
def command(domain: str, detector: str, sequences: int, seed: int, out: Path | None, json_: bool) -> int:
    """Fit an error model to a detector: what it misses, how far it is off, what it invents, by class, range, occlusion and weather.

    The folder gets one JSON card, which `observation=noisy` takes by its name or path. A detector ships; fit anew for your own.

    \b
    closedloop pretrain noise
    closedloop pretrain noise --detector runs/mine/detector_driving.safetensors --sequences 8 --out runs/noise
    """
    import torch

    from agents.commands.output import CountProgress, print_json
    from perception.registry import make_detector
    from perception.stages import Detector
    from perception.training.noise import SequenceStream, pretrain_noise
    from perception.training.stream import FAST, open_stream

    folder = out or Path("runs") / f"noise-{datetime.now():%Y-%m-%d-%H%M%S}"
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(17, "not empty; choose another --out", str(folder))
    made = make_detector(detector)
    if not isinstance(made, Detector):
        raise click.UsageError(f"--detector {detector}: knows the truth; name one that looks at images")
    stream = open_stream(domain, **FAST.get(domain, {}))
    if not isinstance(stream, SequenceStream):
        raise click.UsageError(f"--domain {domain}: has no consecutive frames")
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    line = shlex.join(["closedloop", "pretrain", *sys.argv[2:]]) if sys.argv[1:2] == ["pretrain"] else ""
    told = {"detector": detector, "detector_sha256": str(getattr(made, "sha256", ""))}
    target = folder / f"{NAME}.json"
    with CountProgress(sequences * WORLDS * LENGTH, "frame") as tick:
        fit = pretrain_noise(
            stream, made, target, worlds=WORLDS, length=LENGTH, sequences=sequences, seed=seed, command=line, told=told,
            progress=lambda done, total: tick(done - tick.done),
        )  # fmt: skip
    if json_:
        print_json({"card": str(target), "frames": fit.frames, "things": fit.things, "found": fit.found, "false": fit.false})
    else:
        share = 100.0 * fit.found / fit.things
        click.echo(f"{fit.frames} frames: {fit.found} of {fit.things} things found ({share:.1f} %), {fit.false} false detections")
        click.echo(f"Error model: {target}")
    return 0
