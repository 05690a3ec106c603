"""Futures of recorded traffic: files that `scenarios.importers` read, as examples for predictors, and the study that leaves one out.

`closedloop eval-perception --stage predictor --recorded DIR` shows it: how the learned predictor does on each of the recorded vehicles
(CommonRoad, USA files) and pedestrians (UCY) of a folder when it has only learned from the others.

Shapes: as in `envs.driving.futures`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from envs.driving.futures import Run, cut_out
from envs.driving.maps import compile_maps
from envs.driving.roads import cut
from perception.prediction.base import STEP, Predictor
from perception.prediction.datasets import UCY
from perception.prediction.examples import Examples
from perception.prediction.learned import load_network
from perception.prediction.leave_one_out import Figures, Recording, evaluate_leave_one_out, people
from scenarios.importers import read_file

__all__ = ["found_in", "read_recorded", "study", "traffic"]

PATTERN = "USA_*.xml"
STRIDES = (1, 2)  # ticks between the remembered instants learned from; judged at the first


def read_recorded(path: str | Path, *, spacing: int = 2, stride: int = 1) -> Examples:
    """Every `spacing`-th tick of a recorded file with all its agents as tracks, for training and evaluation.

    The past is as long as the recording gives, at least two instants. Parked agents are left out. Raises ValueError as
    `scenarios.importers.read_file`, and for a file without recorded agents.
    """
    imported = read_file(path)
    agents = [agent for agent in imported.recording.agents if agent.log is not None]
    logs = [agent.log for agent in agents if agent.log is not None]
    if not logs:
        raise ValueError(f"{path}: no recorded agents in it")
    ticks = max(len(log.x) for log in logs)
    table = {name: np.zeros((ticks, 1, len(logs))) for name in ("x", "y", "yaw", "speed")}
    valid = np.zeros((ticks, 1, len(logs)), dtype=bool)
    for i, log in enumerate(logs):
        for name, values in table.items():
            values[: len(log.x), 0, i] = getattr(log, name)
        valid[: len(log.x), 0, i] = log.valid
    moved = [float(np.hypot(np.ptp(log.x[log.valid]), np.ptp(log.y[log.valid]))) for log in logs]
    real = {name: torch.tensor(values, dtype=torch.float32) for name, values in table.items()}
    count = len(logs)
    run = Run(
        **real,
        valid=torch.from_numpy(valid),
        side=torch.zeros((ticks, 1, count), dtype=torch.int8),
        walkway=torch.zeros((ticks, 1, count), dtype=torch.bool),
        kind=torch.tensor([[int(agent.kind) for agent in agents]]),
        length=torch.tensor([[agent.length for agent in agents]], dtype=torch.float32),
        width=torch.tensor([[agent.width for agent in agents]], dtype=torch.float32),
        parked=torch.tensor([[far < 0.5 for far in moved]]),
        ended=torch.tensor([ticks]),
        map_id=torch.zeros(1, dtype=torch.int64),
        pieces=cut(compile_maps([imported.network])),
        dt=imported.recording.dt,
        has_ego=False,
    )
    tick = torch.arange(1, ticks - round(STEP / run.dt), spacing)
    zero = torch.zeros_like(tick)
    ego = run.valid[tick, 0].to(torch.int8).argmax(1)
    found = cut_out(run, zero, tick, ego, stride=stride, tracks=count, pieces=run.pieces.mask.shape[1], reach=torch.inf)
    moving = ~run.parked[0, found.tracks.id.clamp(min=0)]
    enough = found.history.valid[..., -2]
    return found._replace(there=found.there & (moving & enough).unsqueeze(2), manoeuvre=torch.full_like(found.manoeuvre, -1))


def traffic(folder: str | Path) -> dict[str, Recording]:
    """The recorded traffic of a folder, judged at 3 and 5 s from every other tick. Raises ValueError, OSError."""
    out = {}
    for path in sorted(Path(folder).glob(PATTERN)):
        learn = tuple(read_recorded(path, spacing=1, stride=stride) for stride in STRIDES)
        out[path.stem] = Recording(learn=learn, judge=read_recorded(path))
    if not out:
        raise ValueError(f"{folder}: no files {PATTERN}")
    return out


def found_in(data: str | Path) -> dict[str, Path]:
    """What a folder has of "traffic" (at least two CommonRoad files USA_*.xml) and "people" (the three UCY scenes), in itself or in
    `commonroad/` and `trajectories/`. Raises FileNotFoundError if it has neither."""
    data, out = Path(data), {}
    for folder in (data / "commonroad", data):
        if "traffic" not in out and len(list(folder.glob(PATTERN))) > 1:
            out["traffic"] = folder
    for folder in (data / "trajectories", data):
        if "people" not in out and all((folder / file).is_file() for file in UCY.values()):
            out["people"] = folder
    if not out:
        raise FileNotFoundError(
            2, f"neither two files {PATTERN} nor {', '.join(UCY.values())} in it, commonroad/ or trajectories/", str(data)
        )
    return out


def study(
    data: str | Path,
    *,
    base: str | Path = "predictor_driving",
    people_updates: int = 800,
    rivals: Mapping[str, Predictor] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, dict[str, dict[str, Figures]]]:
    """Leave one recording out, for traffic (the weights `base`, which know simulations only, adapted by the others) and for people (trained
    from scratch on the others).

    data: see `found_in`; rivals, progress: see `evaluate_leave_one_out`. Returns {"traffic": ..., "people": ...}, what there is of them.
    """
    folders, out = found_in(data), {}
    if "traffic" in folders:
        recordings = traffic(folders["traffic"])
        out["traffic"] = evaluate_leave_one_out(recordings, base=load_network(base), updates=0, rivals=rivals, progress=progress)
    if "people" in folders:
        out["people"] = evaluate_leave_one_out(people(folders["people"]), updates=people_updates, rivals=rivals, progress=progress)
    return out
