"""`closedloop train --game`: learn a board game by self-play."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agents.learning.alphazero.config import AlphaZeroConfig
    from agents.learning.trainer import RunResult

__all__ = ["is_game_run", "resume_game", "train_game"]


def is_game_run(folder: Path) -> bool:
    """Whether the run in a folder is one of self-play. False for what holds no run."""
    from agents.learning.config import read_yaml

    path = folder / "config.yaml"
    return path.is_file() and "game" in read_yaml(path)


def train_game(settings: dict[str, Any], *, out: Path | None, dry_run: bool, json_: bool) -> int:
    """Train from the start; the exit code. Raises TrainConfigError, FileExistsError."""
    from agents.commands.compiling import checked_device
    from agents.learning.alphazero import config_from, train
    from agents.learning.alphazero.trainer import check_machine

    config = config_from(settings)
    checked_device(config.device)
    check_machine(config)
    return _show(config, json_) if dry_run else _close(train(config, out=out), json_)


def resume_game(folder: Path, steps: int | None, *, dry_run: bool, json_: bool) -> int:
    """Go on with a run; the exit code. Raises TrainConfigError, CheckpointError."""
    from agents.learning.alphazero import resume
    from agents.learning.alphazero.trainer import check_machine, read_config

    if dry_run:
        config = read_config(folder)
        check_machine(config)
        return _show(config.model_copy(update={"steps": steps or config.steps}), json_)
    return _close(resume(folder, steps=steps), json_)


def _show(config: AlphaZeroConfig, json_: bool) -> int:
    from agents.commands.output import print_json
    from agents.learning.record import as_yaml

    if json_:
        print_json(config.as_dict())
    else:
        click.echo(as_yaml(config), nl=False)
    return 0


def _close(result: RunResult, json_: bool) -> int:
    """Tell what came of a run; the exit code."""
    from agents.cli import INTERRUPTED
    from agents.commands.output import print_json

    stopped = result.status == "interrupted"
    if json_:
        print_json(result.as_dict())
    else:
        best = result.best or {}
        figures = f"best in round {best['iteration']}, Elo {best['elo']:.0f}"
        click.echo(f"{result.status} after {result.steps} moves in {result.seconds:.0f} s: {figures}")
        click.echo(f"Network: {result.policy}   curves: {result.folder / 'curves.png'}")
        if stopped:
            click.echo(f"Go on: {shlex.join(['closedloop', 'train', '--resume', str(result.folder)])}", err=True)
    return INTERRUPTED if stopped else 0
