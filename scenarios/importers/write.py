"""An imported scenario as files: `NAME.yaml` for people and `NAME.npz` with roads and recording."""

from __future__ import annotations

import json
import math
import re
import textwrap
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from scenarios.episode import Goal, Region
from scenarios.files import write_atomic
from scenarios.importers import IMPORTERS
from scenarios.importers.report import ImportReport
from scenarios.importers.types import EgoStart, Imported, ImportFileError
from scenarios.serialize import save_network

__all__ = ["GOALS", "MODES", "Written", "import_file", "read_file", "scenario_name", "scenario_text", "write_imported"]

MODES = ("log", "reactive")
GOALS = ("file", "pass", "last")
HEAD = 4096  # bytes in which the mark of a format must appear
WIDTH = 140  # of comments
NAME_MAX = 64


@dataclass(frozen=True, kw_only=True)
class Written:
    """What an import has produced."""

    scenario: Path  # the .yaml
    sidecar: Path  # the .npz
    imported: Imported


def read_file(path: str | Path) -> Imported:
    """Read a file of any known format. Raises ImportFileError for an unknown one or a broken file, OSError."""
    path = Path(path)
    with path.open("rb") as handle:
        head = handle.read(HEAD)
    for mark, module, function in IMPORTERS.values():
        if mark in head:
            imported = getattr(import_module(module), function)(path)
            assert isinstance(imported, Imported)
            return imported
    raise ImportFileError(f"{path}: not a file of a known format; known: {', '.join(IMPORTERS)}")


def import_file(path: str | Path, folder: str | Path, *, mode: str = "log", goal: str = "file", overwrite: bool = False) -> Written:
    """Read a file and write `NAME.yaml` and `NAME.npz` into `folder`, each atomically.

    `mode` says what the scenario does by default, "log" or "reactive"; both are there as variants. `goal`: "file" for the one in the
    file, with its bounds on time, heading and speed; "pass" for passing its place on the road, whenever and however; "last" for
    driving until the recording ends. Raises ValueError for a file that cannot be imported or another mode or goal, FileExistsError if
    there is such a scenario already and `overwrite` is False.
    """
    if mode not in MODES:
        raise ValueError(f"mode={mode!r}: must be one of {', '.join(MODES)}")
    return write_imported(read_file(path), scenario_name(Path(path).stem), folder, mode=mode, goal=goal, overwrite=overwrite)


def write_imported(imported: Imported, name: str, folder: str | Path, *, mode: str, goal: str = "file", overwrite: bool = False) -> Written:
    """Write an imported scenario under `name`. Raises as `import_file` does."""
    imported = with_goal(imported, goal)
    folder = Path(folder)
    scenario, sidecar = folder / f"{name}.yaml", folder / f"{name}.npz"
    for target in (scenario, sidecar):
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target}: exists already; choose another folder or ask to overwrite")
    text = scenario_text(imported, name, mode)
    save_network(sidecar, imported.network, imported.recording)
    write_atomic(scenario, text)
    return Written(scenario=scenario, sidecar=sidecar, imported=imported)


def with_goal(imported: Imported, goal: str) -> Imported:
    """The scenario with its goal as `import_file` explains. Raises ValueError for another."""
    if goal not in GOALS:
        raise ValueError(f"goal={goal!r}: must be one of {', '.join(GOALS)}")
    given = imported.goal
    if goal == "file" or given == Goal():
        return imported
    if goal == "last":
        kept, line = Goal(), "as asked, the goal is to drive until the recording ends, not the one in the file"
    elif given.destination is None:
        kept, line = given, "the goal cannot be passed, for no lane leads to it: it stays as in the file"
    else:
        kept = Goal(destination=given.destination)
        line = "as asked, the goal is to pass the place of the one in the file, without its bounds on time, heading and speed"
    return replace(imported, goal=kept, report=ImportReport(lines=[*imported.report.lines, line]))


def scenario_name(stem: str) -> str:
    """A name that scenario files may have, as like `stem` as possible."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:NAME_MAX]
    return name if re.match(r"[A-Za-z]", name) else f"s_{name}"[:NAME_MAX]


def scenario_text(imported: Imported, name: str, mode: str) -> str:
    """The scenario file. What could not be carried over stands in comments at its top."""
    tree: dict[str, Any] = {
        "version": 1,
        "name": name,
        "description": _printable(imported.title)[:500],
        "duration": max(imported.duration, 1.0),
        "maps": 1,
        "max_agents": 64,
        "road": {"kind": "file", "file": f"{name}.npz"},
        "ego": _ego(imported.ego, imported.goal),
    }
    if imported.recording.agents:
        tree["recorded"] = {"file": f"{name}.npz", "mode": mode}
        tree["variants"] = {other: {"recorded": {"mode": other}} for other in MODES}
    comments = [f"Imported from {imported.source}. What could not be carried over, and what was chosen where the file says nothing:"]
    comments += [f"- {line}" for line in imported.report.lines]
    return "\n".join([*(_comment(line) for line in comments), *_yaml(tree), ""])


def _ego(start: EgoStart, goal: Goal) -> dict[str, Any]:
    ego: dict[str, Any] = {"kind": "car"}
    if start.lane is not None:
        ego |= {"lane": start.lane, "s": start.s, "d": start.d, "heading": start.yaw}
    else:
        ego["pose"] = {"x": start.x, "y": start.y, "heading": start.yaw}
    ego["speed"] = start.speed
    wanted: dict[str, Any] = {}
    if goal.destination is not None:
        wanted["destination"] = goal.destination
    if goal.region is not None:
        wanted["region"] = _region(goal.region)
    if wanted:
        if goal.time_min > 0.0:
            wanted["time_min"] = _round(goal.time_min)
        if math.isfinite(goal.time_max):
            wanted["time_max"] = _round(goal.time_max)
        ego["goal"] = wanted
    return ego


def _region(region: Region) -> dict[str, Any]:
    found = {name: getattr(region, name) for name in ("x", "y", "yaw", "length", "width", "heading", "heading_tolerance")}
    found |= {name: value for name in ("speed_min", "speed_max") if math.isfinite(value := getattr(region, name))}
    return found


def _round(seconds: float) -> float:
    """Times without the rounding of steps times dt."""
    return round(seconds, 6)


def _yaml(tree: dict[str, Any], indent: str = "") -> list[str]:
    """Lines of block YAML; text is quoted as in JSON, which YAML 1.2 reads alike; small leaves stand on one line."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
            lines += [f"{indent}{key}:", *_yaml(value, indent + "  ")]
        elif isinstance(value, dict):
            inside = ", ".join(f"{name}: {_scalar(item)}" for name, item in value.items())
            lines.append(f"{indent}{key}: {{{inside}}}")
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", value) else json.dumps(value, ensure_ascii=False)
    return repr(_round(value)) if isinstance(value, float) and value == _round(value) else repr(value)


def _comment(line: str) -> str:
    indent = "#   " if line.startswith("- ") else "# "
    return textwrap.fill(_printable(line), WIDTH, initial_indent="# ", subsequent_indent=indent, break_long_words=False)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
