"""`closedloop pretrain noise`: fit the error model of the level `noisy` to a detector."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from perception.stages import Detector
    from perception.training.noise import SequenceStream

__all__ = ["command"]

OWN = ("robots", "games")  # domains with a detector and an error model of their own
WORLDS, LENGTH = 32, 30  # of a sequence, frames
ROBOT_SEED = 500_000  # of the first episode of robots: others than those that figures are published of


@click.command("noise")
@click.option(
    "--domain",
    default="driving",
    show_default=True,
    metavar="NAME",
    help="driving, games, robots: all tasks; or a stream of consecutive labelled frames.",
)
@click.option("--detector", metavar="NAME|FILE", help="Whose errors to learn. [default: detector_<domain>]")
@click.option(
    "--sequences",
    type=click.IntRange(1),
    help="Each of 32 worlds and 30 frames, 0.2 s apart, of games 0.05 s; of robots, episodes a task. [default: 24]",
)
@click.option("--seed", type=click.IntRange(0, 99_999), default=0, show_default=True, help="Of the first sequence.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder, new or empty. [default: runs/noise-<time>]")
@click.option("--json", "json_", is_flag=True, help="Print the result as JSON on stdout.")
def command(domain: str, detector: str | None, sequences: int | None, seed: int, out: Path | None, json_: bool) -> int:
    """Fit an error model to a detector: what it misses, how far it is off, what it invents, by class, range, occlusion and weather.

    The folder gets one JSON card, which `observation=noisy` takes by its name or path. A detector ships; fit anew for your own.

    \b
    closedloop pretrain noise
    closedloop pretrain noise --detector runs/mine/detector_driving.safetensors --sequences 8 --out runs/noise
    closedloop pretrain noise --domain robots
    closedloop pretrain noise --domain games
    """
    import torch

    from agents.commands.output import CountProgress, print_json
    from perception.training.noise import pretrain_noise

    folder = out or Path("runs") / f"noise-{datetime.now():%Y-%m-%d-%H%M%S}"
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(17, "not empty; choose another --out", str(folder))
    sequences, detector = sequences or 24, detector or f"detector_{domain if domain in OWN else 'driving'}"
    if domain == "robots":
        return _robots(detector, sequences, seed, folder, json_)
    made, stream, options = _watched(domain, detector)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    line = _line()
    told = {"detector": detector, "detector_sha256": str(getattr(made, "sha256", ""))}
    target = folder / f"noise_{domain if domain in OWN else 'driving'}.json"
    with CountProgress(sequences * WORLDS * LENGTH, "frame") as tick:
        fit = pretrain_noise(
            stream, made, target, worlds=WORLDS, length=LENGTH, sequences=sequences, seed=seed, command=line, told=told,
            progress=lambda done, total: tick(done - tick.done), **options,
        )  # fmt: skip
    if json_:
        print_json({"card": str(target), "frames": fit.frames, "things": fit.things, "found": fit.found, "false": fit.false})
    else:
        share = 100.0 * fit.found / fit.things
        click.echo(f"{fit.frames} frames: {fit.found} of {fit.things} things found ({share:.1f} %), {fit.false} false detections")
        click.echo(f"Error model: {target}")
    return 0


def _watched(domain: str, detector: str) -> tuple[Detector, SequenceStream, dict[str, Any]]:
    """Who is watched, what it looks at, and what else fitting needs to know. Raises UsageError for what cannot be, WeightsError."""
    from perception.registry import make_detector
    from perception.stages import Detector
    from perception.training.noise import SequenceStream
    from perception.training.stream import FAST, open_stream

    if domain == "games":
        from envs.games.rally.noise import FITTING, GroundDetector, GroundStream
        from envs.games.rally.seeing import load_detector
        from envs.games.rally.stream import SKILLS

        return GroundDetector(load_detector(detector)), GroundStream(), {"tick": SKILLS.dt, "every": 1, "fitting": FITTING}
    made = make_detector(detector)
    if not isinstance(made, Detector):
        raise click.UsageError(f"--detector {detector}: knows the truth; name one that looks at images")
    stream = open_stream(domain, **FAST.get(domain, {}))
    if not isinstance(stream, SequenceStream):
        raise click.UsageError(f"--domain {domain}: has no consecutive frames")
    return made, stream, {}


def _line() -> str:
    """The command line, '' where none started it."""
    return shlex.join(["closedloop", "pretrain", *sys.argv[2:]]) if sys.argv[1:2] == ["pretrain"] else ""


def _robots(detector: str, episodes: int, seed: int, folder: Path, json_: bool) -> int:
    """The same for robots; the exit code."""
    import torch

    from agents.commands.output import CountProgress, print_json
    from agents.robots.frames import PICTURED
    from agents.robots.noise_fitting import fit_robots_noise
    from perception.storage import find, load

    stored = load(find(detector, kind="detector"), kind="detector")
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    card = {"command": _line(), "detector": detector, "detector_sha256": stored.sha256, "torch": torch.__version__}
    with CountProgress(episodes * len(PICTURED), "episode") as tick:
        told = fit_robots_noise(
            folder / "noise_robots.json", detector=detector, episodes=episodes, seed=ROBOT_SEED + seed, card=card, progress=tick
        )
    if json_:
        print_json(told)
    else:
        for row in told["measured"]:
            places = ", ".join(f"{row['cm'][key]:.2f} cm ({name})" for key, name in (("mean", "mean"), ("p95", "95 %")) if row["cm"][key])
            click.echo(f"{row['task']}, {row['thing']}: seen {100 * row['seen']:.1f} %, off by {places or 'nothing measured'}")
        click.echo(f"Error model: {told['card']}")
    return 0
