"""Train a policy: `train(TrainConfig(scenario="highway"))`, or `closedloop train --scenario highway`."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from agents.learning.beginning import pinned
from agents.learning.checkpoint import load_checkpoint
from agents.learning.config import TrainConfig, TrainConfigError
from agents.learning.progress import Console
from agents.learning.record import read_config, start_record, write_config, write_json
from agents.learning.run import Run
from agents.learning.worlds import MakeWorlds, worlds_for

__all__ = ["RunResult", "TrainingCrashed", "resume", "resumed_config", "train"]


class TrainingCrashed(RuntimeError):
    """Training failed under way. The run folder holds the last checkpoint, if one was reached; `resume` goes on from it."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came of a run."""

    folder: Path
    status: str  # finished | interrupted
    steps: int
    seconds: float
    policy: Path  # the best on the validation episodes
    final: Path  # the last
    best: dict[str, Any] | None  # validation figures of `policy`; chosen among many, so a little flattering: judge it on other seeds
    last: dict[str, Any] | None  # of `final`

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in vars(self).items()}


def train(config: TrainConfig, *, out: str | Path | None = None, make_worlds: MakeWorlds = worlds_for, quiet: bool = False) -> RunResult:
    """Train from the start into the folder `out` (default: `runs/<scenario>-<algo>-<time>`), which must be new or empty.

    Ctrl-C ends the run after the present step and saves it (status `interrupted`); a second one ends it at once. Progress goes to the
    error stream unless `quiet`. Raises ScenarioError or ValueError if the configuration does not fit the scenario, FileExistsError if
    the folder is taken, TrainingCrashed if training fails under way.
    """
    folder = Path(out) if out is not None else Path("runs") / f"{config.title}-{time.strftime('%Y%m%d-%H%M%S')}"
    config = pinned(config)
    start_record(folder, config)
    return _run(config, folder, make_worlds, quiet=quiet, resumed=False)


def resume(folder: str | Path, *, steps: int | None = None, make_worlds: MakeWorlds = worlds_for, quiet: bool = False) -> RunResult:
    """Go on with the run in `folder`, from its last checkpoint, with its own configuration.

    steps: a new total, to go on beyond what is done. What is restored and what is not: see `agents.learning.checkpoint`. Raises
    TrainConfigError if the folder holds no run, if `steps` are done already, or if the run imitates a planner and is not done: its states
    are not kept. CheckpointError if its checkpoint is missing or damaged; else as `train`.
    """
    folder = Path(folder)
    config = resumed_config(folder, steps)
    if config.steps != read_config(folder).steps:
        write_config(folder, config)
    return _run(config, folder, make_worlds, quiet=quiet, resumed=True)


def resumed_config(folder: Path, steps: int | None = None) -> TrainConfig:
    """The configuration with which `resume` would go on. Raises what it raises."""
    config = read_config(folder)
    done = load_checkpoint(folder / "checkpoint.safetensors").counters["num_timesteps"]
    if steps is not None and steps != config.steps:
        if steps <= done:
            raise TrainConfigError(f"steps={steps}: the run in {folder} has done {done} already; a new total must be larger")
        config = config.model_copy(update={"steps": steps})
    if config.imitate and done < config.steps:
        raise TrainConfigError(
            f"imitate={config.imitate}: the run in {folder} has done {done} of {config.steps} steps and cannot go on: a network is "
            "distilled from all states that it has met, and they are not kept. Begin anew, or learn from rewards from what there is: "
            f"closedloop train --init {shlex.quote(str(folder))}"
        )
    return config


def _run(config: TrainConfig, folder: Path, make_worlds: MakeWorlds, *, quiet: bool, resumed: bool) -> RunResult:
    checkpoint = load_checkpoint(folder / "checkpoint.safetensors") if resumed else None
    done = checkpoint.counters["num_timesteps"] if checkpoint else 0
    begun = time.monotonic()
    with _threads(config.threads):
        console = Console(config.steps, done=done, quiet=quiet)
        drawing = "" if config.task else f"; drawing {config.episodes} episodes"
        console.say(f"{config.title}: {config.steps} steps in {config.envs} worlds, into {folder}{drawing}")
        worlds = make_worlds(config, done)
        run = Run(config, folder, worlds, console, checkpoint=checkpoint, spent=time.monotonic() - begun)
        if config.compile:
            console.say("compiling the simulator, which takes about a minute")
        try:
            with _stops(run):
                run.learn()
                policy, final = run.finish()
        except Exception as error:
            write_json(folder / "result.json", {"status": "crashed", "steps": run.steps, "error": f"{type(error).__name__}: {error}"})
            raise TrainingCrashed(f"training failed after {run.steps} steps: {type(error).__name__}: {error}") from error
        finally:
            console.close()
            run.close()
            worlds.training.close()
            worlds.validation.close()
    result = RunResult(
        folder=folder,
        status="interrupted" if run.stopping else "finished",
        steps=run.steps,
        seconds=round(run.seconds, 1),
        policy=policy,
        final=final,
        best=run.best.figures if run.best else None,
        last=run.current.as_dict() if run.current else None,
    )
    write_json(folder / "result.json", result.as_dict())
    return result


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads (0: as it likes) for the time being."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _stops(run: Run) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks the run to stop between two steps, so that what is saved is whole; the second interrupts it."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if run.stopping:
            raise KeyboardInterrupt
        run.stopping = True
        run.console.say("stopping after this step and saving; once more to stop at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
