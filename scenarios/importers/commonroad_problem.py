"""What has to be known of a CommonRoad file to say how its planning problem was solved: see `agents.playback.solution`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scenarios.importers.commonroad import shift_of
from scenarios.importers.commonroad_file import read
from scenarios.importers.commonroad_goal import Start, read_start
from scenarios.importers.report import ImportReport
from scenarios.importers.types import ImportFileError

__all__ = ["Problem", "read_problem"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The planning problem of a file: the one that `import_commonroad` imports."""

    file: str  # its name
    scenario: str  # id of the scenario, as USA_US101-3_1_T-1
    version: str  # of the format, as 2020a
    id: int  # of the planning problem
    others: tuple[int, ...]  # ids of those that are not imported
    dt: float  # s between the time steps of the file
    shift: tuple[float, float]  # m, less than the coordinates of the file are those of the imported scenario
    obstacles: frozenset[str]  # ids of everybody and everything recorded
    start: Start  # in coordinates of the imported scenario; its `step` is the file's


def read_problem(path: str | Path) -> Problem:
    """The first planning problem of a CommonRoad file. Raises ImportFileError if it has none or cannot be read, FileNotFoundError."""
    file = read(path)
    if not file.problems:
        raise ImportFileError(f"{path}: the file has no planning problem, so there is nothing to solve")
    shift = shift_of(file.scenario)
    first, *others = file.problems
    return Problem(
        file=file.name,
        scenario=str(file.scenario.scenario_id),
        version=file.version,
        id=int(first),
        others=tuple(map(int, others)),
        dt=float(file.scenario.dt),
        shift=(float(shift[0]), float(shift[1])),
        obstacles=frozenset(str(obstacle.obstacle_id) for obstacle in file.scenario.obstacles),
        start=read_start(file.problems[first], shift, ImportReport()),
    )
