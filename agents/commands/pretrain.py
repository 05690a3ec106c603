"""`closedloop pretrain`: train the networks of the perception stack on labelled frames and traffic."""

from __future__ import annotations

import os
import shlex
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agents.commands.group import HelpfulGroup
from agents.commands.pretrain_noise import command as noise
from agents.commands.pretrain_predictor import command as predictor

if TYPE_CHECKING:
    from perception.training.detector import DetectorRun, DetectorTraining

__all__ = ["command"]

USUAL = {"games": "tiny"}  # sizes of networks, where it is not the small one


class _Networks(HelpfulGroup):
    noun = "network"


@click.group("pretrain", cls=_Networks)
def command() -> None:
    """Train a network of the perception stack. Each ships with its card; these are the commands that made them.

    \b
    closedloop pretrain detector --domain driving
    closedloop pretrain detector --domain boxes --frames 50k --minutes 3
    """


@command.command("detector")
@click.option(
    "--domain",
    default="driving",
    show_default=True,
    metavar="NAME",
    help="driving, robots, games, boxes, or a stream as package.module:factory.",
)
@click.option(
    "--size",
    type=click.Choice(["tiny", "small", "large"]),
    help="Of the network: large sees a little more. [default: small; of games tiny]",
)
@click.option("--frames", metavar="N", help="Frames to learn from: 500000, 500k. [default: 500k]")
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), help="Most minutes to train; the schedule ends with them. [default: 39]"
)
@click.option("--batch", type=click.IntRange(2), help="Frames a step. [default: 32]")
@click.option("--seed", type=click.IntRange(0, 999), help="Seed of weights and frames. [default: 0]")
@click.option("--threads", type=click.IntRange(1), help="Of the trainer; frames are drawn by another process. [default: 2, if there are]")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder, new or empty. [default: runs/detector-<domain>-<time>]"
)
@click.option(
    "--resume", "resume_", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR", help="Go on with the run in DIR."
)
@click.option("--dry-run", is_flag=True, help="Check everything, print the configuration, train nothing.")
@click.option("--json", "json_", is_flag=True, help="Print the result as JSON on stdout.")
def detector(
    domain: str,
    size: str | None,
    frames: str | None,
    minutes: float | None,
    batch: int | None,
    seed: int | None,
    threads: int | None,
    out: Path | None,
    resume_: Path | None,
    dry_run: bool,
    json_: bool,
) -> int:
    """Train a detector on endlessly drawn frames: classes, boxes, distance, size, heading, state of lights.

    The folder gets the weights with their card, learning curves and a checkpoint. Ctrl-C saves and ends with exit code 130; --resume
    goes on. The card's figures are measured on frames that were not trained on.

    \b
    closedloop pretrain detector --domain driving
    closedloop pretrain detector --domain driving --size large
    closedloop pretrain detector --domain robots --minutes 15 --threads 1
    closedloop pretrain detector --domain driving --frames 100k --minutes 10 --out runs/quick
    closedloop pretrain detector --resume runs/quick
    """
    import torch

    from perception.training.detector import pretrain, read_run

    if resume_ is not None:
        if out or size or frames or minutes or batch or seed is not None:
            raise click.UsageError(
                "a resumed run keeps its configuration: with --resume, only --threads, --dry-run and --json may be given"
            )
        config, folder = read_run(resume_), resume_
    else:
        config = _config(domain, size, frames, minutes, batch, seed)
        folder = out or Path("runs") / f"detector-{domain.rpartition(':')[2].lower()}-{datetime.now():%Y-%m-%d-%H%M%S}"
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(17, "not empty; choose another --out, or go on with the run there: --resume", str(folder))
    if dry_run:
        return _show(config, json_)
    torch.set_num_threads(threads or min(2, os.cpu_count() or 1))
    line = shlex.join(["closedloop", "pretrain", *sys.argv[2:]]) if sys.argv[1:2] == ["pretrain"] else ""
    with _Console() as console:
        run = pretrain(config, out=folder, command=line, resume=resume_ is not None, report=console)
    return _close(run, json_)


def _config(
    domain: str, size: str | None, frames: str | None, minutes: float | None, batch: int | None, seed: int | None
) -> DetectorTraining:
    from perception.detectors.network import SIZES
    from perception.training.detector import DetectorTraining
    from perception.training.learner import Recipe
    from perception.training.stream import open_stream

    given: dict[str, Any] = {"domain": domain, "minutes": minutes, "batch": batch, "network": SIZES[size or USUAL.get(domain, "small")]}
    if frames is not None:
        from agents.learning.config import parse_count

        try:
            given["frames"] = parse_count(frames)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--frames") from None
    open_stream(domain)
    try:
        return DetectorTraining(recipe=Recipe(seed=seed or 0), **{key: value for key, value in given.items() if value is not None})
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _show(config: DetectorTraining, json_: bool) -> int:
    from dataclasses import asdict

    from agents.commands.output import print_json

    if json_:
        print_json(asdict(config))
    else:
        for key, value in asdict(config).items():
            click.echo(f"{key}: {value}")
    return 0


class _Console:
    """A bar on stderr if that is a terminal, else a line every ten seconds."""

    EVERY = 10.0  # s

    def __init__(self) -> None:
        self.bar: Any = None
        self.begun = self.told = time.monotonic()
        self.done = 0

    def __enter__(self) -> _Console:
        return self

    def advance(self, done: int, total: int, figures: str) -> None:
        if sys.stderr.isatty():
            from tqdm import tqdm  # type: ignore[import-untyped]

            self.bar = self.bar or tqdm(total=total, initial=done, unit="frame", unit_scale=True, file=sys.stderr, dynamic_ncols=True)
            self.bar.set_postfix_str(figures, refresh=False)
            self.bar.update(done - self.bar.n)
        elif time.monotonic() - self.told >= self.EVERY:
            self.told = time.monotonic()
            click.echo(f"{100 * done / total:.1f} %  {(self.told - self.begun) / 60:.1f} min  {figures}", err=True)

    def say(self, line: str) -> None:
        if self.bar is not None:
            self.bar.write(line, file=sys.stderr)
        else:
            click.echo(line, err=True)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def _close(run: DetectorRun, json_: bool) -> int:
    """Tell what came of a run; the exit code."""
    from agents.cli import INTERRUPTED
    from agents.commands.output import print_json

    told = {"status": run.status, "folder": str(run.folder), "weights": run.weights and str(run.weights), "frames": run.frames}
    if json_:
        print_json({**told, "seconds": run.seconds, "metrics": run.metrics})
    elif run.weights is not None:
        figures = run.metrics
        click.echo(
            f"finished after {run.frames} frames in {run.seconds / 60:.1f} min: AP50 {figures['ap50']:.3f}, centre error "
            f"{100 * figures['centre_error']:.1f} % of range, heading error {figures['heading_error']:.1f} deg"
        )
        click.echo(f"Weights: {run.weights}   curves: {run.folder / 'curves.png'}")
    if run.status == "interrupted":
        click.echo(f"interrupted; go on: {shlex.join(['closedloop', 'pretrain', 'detector', '--resume', str(run.folder)])}", err=True)
        return INTERRUPTED
    return 0


command.add_command(predictor)
command.add_command(noise)
