"""`closedloop pretrain predictor`: train the behaviour predictor on simulated traffic, or on people in the rooms of robots."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from perception.prediction.training import Progress

__all__ = ["command"]

UPDATES = {"driving": 6000, "robots": 1200}
STAGES = {"data": "simulating", "fit": "training", "calibrate": "calibrating", "judge": "judging"}


@click.command("predictor")
@click.option(
    "--domain",
    type=click.Choice(list(UPDATES)),
    default="driving",
    show_default=True,
    help="Road users, or people in rooms of diff_drive_nav.",
)
@click.option("--updates", type=click.IntRange(1), help="Minibatches to learn from. [default: 6000; of robots 1200]")
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="Traffic to learn from; may be repeated. [default: every family]")
@click.option("--seed", type=click.IntRange(0, 999_999), default=0, show_default=True, help="Seed of weights and minibatches.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder, new or empty. [default: runs/predictor-<domain>-<time>]"
)
@click.option(
    "--resume", "resume_", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR", help="Go on with the run in DIR."
)
@click.option("--json", "json_", is_flag=True, help="Print the result as JSON on stdout.")
def command(
    domain: str, updates: int | None, names: tuple[str, ...], seed: int, out: Path | None, resume_: Path | None, json_: bool
) -> int:  # fmt: skip
    """Train the behaviour predictor: six futures of five seconds for every road user, with probabilities and uncertainties.

    The folder gets the weights with their card, whose figures are measured on episodes that were not trained on.

    \b
    closedloop pretrain predictor
    closedloop pretrain predictor --scenario highway --scenario merge --updates 1000 --out runs/quick
    closedloop pretrain predictor --domain robots
    """
    import torch

    from agents.commands.output import print_json
    from perception.prediction.training import Pretraining

    if domain == "robots" and names:
        raise click.UsageError("--scenario names traffic to learn from: there is none with --domain robots")
    folder = resume_ or out or Path("runs") / f"predictor-{domain}-{datetime.now():%Y-%m-%d-%H%M%S}"
    if resume_ is None and folder.exists() and any(folder.iterdir()):
        raise FileExistsError(17, "not empty; choose another --out, or go on with the run there: --resume", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    line = shlex.join(["closedloop", "pretrain", *sys.argv[2:]]) if sys.argv[1:2] == ["pretrain"] else ""
    begun = time.monotonic()
    with _Console() as console:
        weights = _recipe(domain, names)(
            folder / f"predictor_{domain}.safetensors",
            config=Pretraining(updates=updates or UPDATES[domain], seed=seed),
            command=line,
            progress=console,
            resume=resume_ is not None,
        )
    if json_:
        print_json({"weights": str(weights), "card": str(weights.with_suffix(".json")), "seconds": time.monotonic() - begun})
    else:
        click.echo(f"Weights: {weights}   card: {weights.with_suffix('.json')}   {(time.monotonic() - begun) / 60:.1f} min")
    return 0


def _recipe(domain: str, names: tuple[str, ...]) -> Callable[..., Path]:
    """What pretrains for a domain, in driving on some scenarios."""
    if domain == "robots":
        from agents.robots.futures import pretrain_robots

        return pretrain_robots
    from envs.driving.pretrain_futures import pretrain_driving

    return partial(pretrain_driving, names=names or None)


class _Console:
    """A bar for each stage on stderr if that is a terminal, else a line every ten seconds."""

    EVERY = 10.0  # s

    def __init__(self) -> None:
        self.bar: Any = None
        self.stage, self.told = "", 0.0

    def __enter__(self) -> _Console:
        return self

    def __call__(self, progress: Progress) -> None:
        stage = STAGES.get(progress.stage, progress.stage)
        if sys.stderr.isatty():
            from tqdm import tqdm  # type: ignore[import-untyped]

            if stage != self.stage:
                self.__exit__()
                self.bar = tqdm(total=progress.total or None, desc=stage, file=sys.stderr, dynamic_ncols=True)
            self.bar.set_postfix_str(progress.note, refresh=False)
            self.bar.update(progress.done - self.bar.n)
        elif stage != self.stage or time.monotonic() - self.told >= self.EVERY:
            self.told = time.monotonic()
            of = f" {progress.done} of {progress.total}" if progress.total > 1 else ""
            click.echo(f"{stage}{of}  {progress.seconds / 60:.1f} min  {progress.note}".rstrip(), err=True)
        self.stage = stage

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
