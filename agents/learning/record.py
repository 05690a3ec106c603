"""The run folder: what was run, with what, and what came of it. Every file but TensorBoard's is written whole or not at all.

config.yaml            the complete configuration             seeds.json       every seed range of the run
versions.json          machine, Python, libraries             git.json         commit, branch, what was changed
changes.diff           uncommitted changes, if any            progress.csv     one row per report
policy.safetensors     the best policy (validation), + .json  final.safetensors  the last one, + .json
checkpoint.safetensors to go on from (`--resume`)             curves.png       learning curves
tensorboard/           events for TensorBoard                 result.json      status and final figures
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from ruamel.yaml import YAML

from agents.learning.config import TrainConfig, TrainConfigError, config_from, read_yaml
from agents.learning.export import versions
from scenarios.files import write_atomic

__all__ = ["COLUMNS", "Settings", "as_yaml", "read_config", "read_progress", "start_record", "write_config", "write_json", "write_progress"]

DIFF_MAX = 2**20  # bytes of changes.diff

COLUMNS = (
    "steps", "seconds", "steps_per_second",
    "reward", "reward_p10", "reward_p90", "length", "success", "collision",  # of the training episodes that ended lately
    "val_success", "val_success_low", "val_success_high", "val_collision", "val_collision_low", "val_collision_high",
    "val_reward", "val_length", "best", "loss", "policy_loss", "value_loss", "entropy", "kl", "explained_variance", "learning_rate",
    "imitation_error",  # of a policy that learns from a planner: root mean square, of actions
)  # fmt: skip


def start_record(folder: Path, config: TrainConfig) -> None:
    """Create the run folder and write what is known before the first step. Raises FileExistsError if it holds a run already."""
    if (folder / "config.yaml").exists() or (folder.exists() and any(folder.iterdir())):
        raise FileExistsError(17, "not empty; choose another --out, or go on with --resume", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, config)
    write_json(folder / "seeds.json", asdict(config.seeds))
    machine = {"platform": platform.platform(), "machine": platform.machine(), "cores": os.cpu_count()}
    write_json(folder / "versions.json", {**versions(), **machine})
    state, diff = git_state()
    write_json(folder / "git.json", state)
    if diff:
        write_atomic(folder / "changes.diff", diff)


class Settings(Protocol):
    """A configuration that can be written down."""

    def as_dict(self) -> dict[str, Any]: ...


def as_yaml(config: Settings) -> str:
    """The complete configuration as YAML."""
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(config.as_dict(), text)
    return text.getvalue()


def write_config(folder: Path, config: TrainConfig) -> None:
    """config.yaml."""
    write_atomic(folder / "config.yaml", as_yaml(config))


def read_config(folder: Path) -> TrainConfig:
    """The configuration of a run. Raises TrainConfigError if the folder holds none."""
    path = folder / "config.yaml"
    if not path.is_file():
        raise TrainConfigError(f"{folder}: no run to resume: it has no config.yaml")
    return config_from(read_yaml(path), complete=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Indented JSON, no NaN."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_progress(path: Path, rows: Sequence[Mapping[str, float | int | str]]) -> None:
    """progress.csv: COLUMNS, empty where a row has no such value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def read_progress(path: Path) -> list[dict[str, float]]:
    """The rows of progress.csv, without what is empty; [] if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items() if key in COLUMNS and value} for row in csv.DictReader(file)]


def git_state() -> tuple[dict[str, Any], bytes]:
    """Commit, branch and changed files of the source this runs from, and its uncommitted changes; all None and b"" outside git."""
    root = Path(__file__).resolve().parents[2]
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "branch": None, "changed": None}, b""
    changed = (_git(root, "status", "--porcelain") or b"").decode(errors="replace").splitlines()
    branch = (_git(root, "rev-parse", "--abbrev-ref", "HEAD") or b"").decode().strip()
    return {"commit": commit.decode().strip(), "branch": branch, "changed": changed}, (_git(root, "diff", "HEAD") or b"")[:DIFF_MAX]


def _git(root: Path, *arguments: str) -> bytes | None:
    if not (root / ".git").exists():  # installed: an enclosing repository is not ours
        return None
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
