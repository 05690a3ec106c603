"""Train a network by self-play: `train(config)`, or `closedloop train --game connect_four --algo alphazero`.

The run's folder:
config.yaml             the complete configuration            versions.json, git.json   what it ran with
policy.safetensors      the best network, + .json             final.safetensors         the last one, + .json
checkpoint.safetensors  to go on from, exactly (`--resume`)   progress.csv              a row for each round
arena.json              every match and the Elo ratings       curves.png                losses and Elo over moves
result.json             status and figures
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from agents.learning.alphazero.config import AlphaZeroConfig, config_from
from agents.learning.alphazero.half import NEEDS, check_half, runs_here
from agents.learning.alphazero.network import save_network
from agents.learning.alphazero.run import Run
from agents.learning.checkpoint import CheckpointError, decode, encode
from agents.learning.config import TrainConfigError, read_yaml
from agents.learning.export import versions
from agents.learning.progress import Console
from agents.learning.record import as_yaml, git_state, write_json
from agents.learning.trainer import RunResult
from scenarios.files import write_atomic

__all__ = ["check_machine", "read_config", "resume", "train"]

FORMAT, VERSION = "closedloop-alphazero", 2
COLUMNS = (
    "steps", "seconds", "games", "positions", "length", "first", "policy_loss", "policy_entropy", "value_loss",
    "arena", "elo", "selfplay_seconds", "learning_seconds",
)  # fmt: skip


def train(config: AlphaZeroConfig, *, out: str | Path | None = None, quiet: bool = False) -> RunResult:
    """Train from the start into the folder `out` (default: `runs/<game>-alphazero-<time>`), which must be new or empty.

    Ctrl-C ends the run after the present round and saves it (status `interrupted`). Raises FileExistsError if the folder is taken,
    TrainConfigError for `half` where that cannot be.
    """
    check_machine(config)
    folder = Path(out) if out is not None else Path("runs") / f"{config.title}-{time.strftime('%Y%m%d-%H%M%S')}"
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(17, "not empty; choose another --out, or go on with --resume", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "config.yaml", as_yaml(config))
    write_json(folder / "versions.json", {**versions(), "platform": platform.platform(), "cores": os.cpu_count()})
    write_json(folder / "git.json", git_state()[0])
    return _work(Run(config), folder, quiet=quiet)


def resume(folder: str | Path, *, steps: int | None = None, quiet: bool = False) -> RunResult:
    """Go on with the run in `folder` from its last checkpoint, exactly as it would have gone on (to the last bit, on the same machine).

    steps: a new total; the learning rate's fall and the times of judging then change with it. Raises TrainConfigError if the folder holds
    no such run, `steps` are done already or this machine cannot do `half`, CheckpointError if its checkpoint is missing or damaged.
    """
    folder = Path(folder)
    config = read_config(folder)
    check_machine(config)
    if steps is not None and steps != config.steps:
        config = config.model_copy(update={"steps": steps})
    run = Run(config)
    _load(folder / "checkpoint.safetensors", run)
    if run.iteration >= config.iterations and steps is not None:
        raise TrainConfigError(f"steps={steps}: the run in {folder} has done {run.steps} already; a new total must be larger")
    if config.steps != run.totals[-1][1]:
        run.totals.append((run.steps, config.steps))
    write_atomic(folder / "config.yaml", as_yaml(config))
    return _work(run, folder, quiet=quiet)


def check_machine(config: AlphaZeroConfig) -> None:
    """Raises TrainConfigError for what this machine cannot compute: `half`."""
    if config.half:
        check_half(torch.device(config.device).type)


def read_config(folder: Path) -> AlphaZeroConfig:
    """The configuration of a run. Raises TrainConfigError if the folder holds none."""
    if not (folder / "config.yaml").is_file():
        raise TrainConfigError(f"{folder}: no run to resume: it has no config.yaml")
    return config_from(read_yaml(folder / "config.yaml"))


def _work(run: Run, folder: Path, *, quiet: bool) -> RunResult:
    config = run.config
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    console = Console(config.iterations * config.games * config.moves, done=run.steps, quiet=quiet)
    console.say(f"{config.title}: {config.steps} moves in {config.games} games side by side, into {folder}")
    try:
        with _stops(console.say) as stopping:
            while run.iteration < config.iterations and not stopping.is_set():
                row = run.advance()
                console.advance(run.steps, _figures(row))
                if "arena" in row:
                    last = run.contests[-1]
                    console.say(
                        f"arena at {run.steps}: {last.points:g} of {last.games} against round {last.against}: {last.verdict}, "
                        f"Elo {row['elo']:.0f}"
                    )
                if run.save_is_due or stopping.is_set():
                    _save(folder, run)
    finally:
        console.close()
        torch.set_num_threads(before)
    return _finish(folder, run)


def _figures(row: dict[str, float]) -> str:
    names = {"policy_loss": "policy", "value_loss": "value", "length": "length"}
    return "  ".join(f"{short} {row[name]:.3g}" for name, short in names.items() if name in row)


def _finish(folder: Path, run: Run) -> RunResult:
    _save(folder, run)
    finished = run.iteration >= run.config.iterations
    figures = {"elo": run.elo[str(run.best_at)], "iteration": run.best_at}
    result = RunResult(
        folder=folder,
        status="finished" if finished else "interrupted",
        steps=run.steps,
        seconds=round(run.seconds, 1),
        policy=folder / "policy.safetensors",
        final=folder / "final.safetensors",
        best=figures,
        last={"elo": run.elo.get(str(run.iteration), 0.0), "iteration": run.iteration},
    )
    write_json(folder / "result.json", result.as_dict())
    return result


def _save(folder: Path, run: Run) -> None:
    """The checkpoint, both networks and what there is to see of the run."""
    tensors: dict[str, Tensor] = {}
    tree = {"format": FORMAT, "version": VERSION, **{name: encode(value, tensors) for name, value in run.parts().items()}}
    write_atomic(folder / "checkpoint.safetensors", safetensors.torch.save(tensors, {"checkpoint": json.dumps(tree)}))
    for name, network, iteration in (("policy", run.best, run.best_at), ("final", run.network, run.iteration)):
        save_network(folder / f"{name}.safetensors", network, name=f"{run.config.title}", card=_card(run, iteration, f"{name}.safetensors"))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(run.rows)
    write_atomic(folder / "progress.csv", text.getvalue())
    write_json(folder / "arena.json", {"matches": [vars(c) for c in run.contests], "elo": run.elo})
    _draw(folder / "curves.png", run)


def _card(run: Run, iteration: int, file: str) -> dict[str, Any]:
    """What is told of the network of a round: all that has to be known to make it again, and what that takes."""
    return {
        "command": _commands(run),
        "file": f"{file} of that run",
        "data": "games against itself, nothing else",
        "seed": run.config.seed,
        "config": run.config.as_dict(),
        **({"needs": NEEDS} if run.config.half else {}),
        "moves": iteration * run.config.games * run.config.moves,
        "seconds": round(run.seconds, 1),
        "core_seconds": round(run.core_seconds, 1),  # of the whole run so far
        "machine": {
            "processor": platform.machine(),
            "vectors": torch.backends.cpu.get_cpu_capability(),  # the instructions that torch uses
            "bfloat16": runs_here(),
            "cores": os.cpu_count(),
        },
        "elo": run.elo.get(str(iteration), 0.0),
        "versions": versions(),
        "licence": "Apache-2.0",
    }


def _load(path: Path, run: Run) -> None:
    """Put a checkpoint back into a fresh run. Raises CheckpointError."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            tree = json.loads((file.metadata() or {}).get("checkpoint", "null"))
        if not isinstance(tree, dict) or (tree.pop("format", None), tree.pop("version", None)) != (FORMAT, VERSION):
            raise CheckpointError(f"{path}: no checkpoint of self-play of this version of closedloop")
        parts: dict[str, Any] = {name: decode(value, tensors) for name, value in tree.items()}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (safetensors.SafetensorError, json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None
    try:
        run.restore(parts)
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"{path}: does not fit the run's configuration: {error}") from None


def command(config: AlphaZeroConfig) -> str:
    """The command line that begins such a run."""
    both = (config.as_dict(), AlphaZeroConfig(game=config.game).as_dict())
    plain, usual = ({k: v for k, v in c.items() if k != "search"} | {f"search.{k}": v for k, v in c["search"].items()} for c in both)
    words = ["closedloop", "train", "--game", config.game, "--algo", config.algo, "--steps", str(config.steps), "--seed", str(config.seed)]
    for name, value in plain.items():
        if value != usual[name] and name not in ("steps", "seed"):
            words += ["--set", f"{name}={json.dumps(value) if isinstance(value, bool) else value}"]
    return shlex.join(words)


def _commands(run: Run) -> list[str]:
    """The command lines that make a run, one after another: new totals change the learning rate's fall. (Stops between do not matter.)"""
    (_, first), *later = run.totals
    again = (f"closedloop train --resume FOLDER --steps {total}   # after {done} moves" for done, total in later)
    return [command(run.config.model_copy(update={"steps": first})), *again]


def _draw(path: Path, run: Run) -> None:
    """Losses, and the Elo ratings of the networks judged."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, label in (("policy_loss", "policy"), ("policy_entropy", "entropy of the search's policy"), ("value_loss", "value")):
        points = [(row["steps"], row[name]) for row in run.rows if name in row]
        left.plot(*zip(*points, strict=True) if points else ([], []), label=label)
    left.set(xlabel="moves of self-play", ylabel="loss", title="Learning")
    left.legend(frameon=False)
    per = run.config.games * run.config.moves
    elo = run.elo
    right.plot([int(k) * per for k in elo], list(elo.values()), marker="o")
    right.set(xlabel="moves of self-play", ylabel="Elo, untrained = 0", title="Arena")
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)  # type: ignore[no-untyped-call]
    write_atomic(path, data.getvalue())


@contextmanager
def _stops(say: Callable[[str], None]) -> Iterator[threading.Event]:
    """The first SIGINT or SIGTERM asks the run to stop after its round, so that what is saved is whole; the second interrupts it."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield stopping
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        say("stopping after this round and saving; once more to stop at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
