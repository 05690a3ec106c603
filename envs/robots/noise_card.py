"""Error models of the robots' detector at rest: one JSON card with the tables and a sha256 over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.checks import ConfigError, unknown
from envs.robots.hidden import SHOWN
from envs.robots.noise import FIELDS, Noise
from envs.robots.task import Task
from perception.storage import WEIGHTS, WeightsError, read_card, write_file

__all__ = ["KIND", "NoiseCard", "load_noise", "save_noise"]

KIND, VERSION = "robots_noise", 1


@dataclass(frozen=True, kw_only=True)
class NoiseCard:
    """Of all tasks: task -> camera -> thing's number -> how much is shown of it -> field -> numbers."""

    path: Path
    tables: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Over the tables."""
        return _digest(self.tables)

    def of(self, task: Task, cameras: Sequence[str]) -> Noise:
        """The model of a task. Raises ConfigError for one that was not measured, WeightsError for tables that do not fit."""
        if task.name not in self.tables:
            raise ConfigError(unknown("errors measured for the robot task", task.name, list(self.tables)))
        try:
            table, things = self.tables[task.name], range(len(task.things))
            parts = {
                name: np.array(
                    [[[table[camera][k][share][name] for share in SHOWN] for k in things] for camera in cameras], dtype=np.float64
                )
                for name in FIELDS
            }
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise WeightsError(f"{self.path}: {task.name}: tables are incomplete: {error}") from None
        for name, shape in FIELDS.items():
            wanted = (len(cameras), len(task.things), len(SHOWN), *shape)
            most = np.inf if name in ("bias", "sigma", "said") else 0.999 if name == "memory" else 1.0
            if parts[name].shape != wanted or not np.isfinite(parts[name]).all():
                raise WeightsError(f"{self.path}: {task.name}: {name} of shape {parts[name].shape}: must be {wanted}, all finite")
            if (name not in ("bias", "memory") and (parts[name] < 0.0).any()) or (np.abs(parts[name]) > most).any():
                raise WeightsError(f"{self.path}: {task.name}: {name} has values that are negative or above {most:g}")
        exact = (parts["sigma"] <= 0.0).any(-1) & ((parts["lost"] < 1.0) | (parts["lasting"] < 1.0))
        if exact.any():
            c, k, share = (int(index) for index in np.argwhere(exact)[0])
            where = f"{task.name}: {cameras[c]}, thing {k}, {SHOWN[share]}"
            raise WeightsError(
                f"{self.path}: {where}: sigma is 0, which is the exact truth, where lost or lasting is below 1: must be above 0"
            )
        return Noise(**parts)


def load_noise(spec: str | Path) -> NoiseCard:
    """From a card's file or the name of one that ships, `robots` meaning `noise_robots`. Raises WeightsError."""
    name = str(spec) if str(spec).startswith("noise_") else f"noise_{spec}"
    path = Path(spec) if str(spec).endswith(".json") else WEIGHTS / f"{name}.json"
    if not path.is_file():
        known = [card.stem for card in sorted(WEIGHTS.glob("*.json")) if read_card(card).get("kind") == KIND]
        raise WeightsError(f"no error model '{spec}' for robots: neither a .json file nor one that ships ({', '.join(known) or 'none'})")
    told = read_card(path)
    if (told.get("kind"), told.get("version")) != (KIND, VERSION) or not isinstance(told.get("tasks"), dict):
        raise WeightsError(f"{path}: is a {told.get('kind')} of version {told.get('version')}, not a {KIND} of version {VERSION}")
    if told.get("sha256") != _digest(told["tasks"]):
        raise WeightsError(f"{path}: its tables do not match its sha256: the file was damaged or changed after it was written")
    return NoiseCard(path=path, tables=told["tasks"])


def save_noise(path: str | Path, tasks: Mapping[str, Any], *, card: Mapping[str, Any]) -> Path:
    """Write a card to `path` (ending .json), atomically. card: data, command, seed, detector, counts, licence. Returns the path."""
    target = Path(path)
    if target.suffix != ".json":
        raise ValueError(f"{target}: error models are kept in files that end in .json")
    told = {"kind": KIND, "version": VERSION, "name": target.stem, "sha256": _digest(tasks), **card, "tasks": tasks}
    write_file(target, (json.dumps(told, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())
    return target


def _digest(tables: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tables, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()
