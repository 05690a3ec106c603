"""Reading CommonRoad files through commonroad-io, and the differences between its versions (2022.1 to 2026.1).

commonroad-io is an extra: it is imported here, late, and nowhere else.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CommonRoadFile", "ImportFileError", "angle", "light_programme", "number", "point", "read", "type_names", "vertices"]

Floats = NDArray[np.float64]


class ImportFileError(ValueError):
    """A file that cannot be imported at all; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class CommonRoadFile:
    """One parsed file; the fields are commonroad-io's objects."""

    name: str  # of the file, without folder
    version: str
    scenario: Any
    problems: dict[int, Any]  # planning problems by id, in the order of the file


def read(path: str | Path) -> CommonRoadFile:
    """Parse a CommonRoad XML file (2018b or 2020a).

    Raises ImportFileError if it is no such file or commonroad-io is missing, FileNotFoundError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # commonroad-io uses names that scipy and numpy have deprecated
            from commonroad.common.file_reader import CommonRoadFileReader  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportFileError(f"CommonRoad files need commonroad-io: pip install 'closedloop[commonroad]' ({error})") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scenario, problems = CommonRoadFileReader(str(path)).open()
    except Exception as error:  # the parser raises whatever its missing checks lead to: AssertionError, AttributeError, lxml errors ...
        raise ImportFileError(f"{path}: not a CommonRoad file that commonroad-io can read ({type(error).__name__}: {error})") from None
    if not scenario.lanelet_network.lanelets:
        raise ImportFileError(f"{path}: the file has no lanelets")
    return CommonRoadFile(
        name=path.name,
        version=str(scenario.scenario_id.scenario_version),
        scenario=scenario,
        problems=dict(problems.planning_problem_dict),
    )


def number(value: Any) -> tuple[float, float]:
    """(middle, half width) of an exact number or an interval."""
    if hasattr(value, "start"):
        return (float(value.start) + float(value.end)) / 2.0, (float(value.end) - float(value.start)) / 2.0
    return float(value), 0.0


def angle(value: Any) -> tuple[float, float]:
    """(middle, half width) in rad of an exact angle or an interval; the interval runs counter-clockwise from start to end."""
    if hasattr(value, "start"):
        half = (float(value.end) - float(value.start)) % (2.0 * math.pi) / 2.0
        return float(value.start) + half, half
    return float(value), 0.0


def point(value: Any) -> tuple[Floats, bool]:
    """(x, y) and whether it is exact: a region stands for its centre."""
    if isinstance(value, np.ndarray | list | tuple):
        return np.asarray(value, dtype=np.float64)[:2], True
    if hasattr(value, "center"):
        return np.asarray(value.center, dtype=np.float64)[:2], False
    return vertices(value).mean(axis=0), False


def vertices(shape: Any) -> Floats:
    """(V, 2) corner points of a shape; a circle becomes its bounding square, a group all its corners."""
    if hasattr(shape, "shapes"):
        return np.concatenate([vertices(part) for part in shape.shapes])
    if hasattr(shape, "radius"):
        square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        return np.asarray(shape.center, dtype=np.float64) + float(shape.radius) * square
    return np.asarray(shape.vertices, dtype=np.float64)[:, :2]


def type_names(values: Iterable[Any]) -> set[str]:
    """Names of enum members, upper case."""
    return {str(value.name).upper() for value in values}


def light_programme(light: Any) -> tuple[list[tuple[str, int]], int]:
    """((colour, steps) ..., offset in steps) of a traffic light; the cycle starts at the offset."""
    cycle = getattr(light, "traffic_light_cycle", None)  # from 2023.1 on
    if cycle is not None:
        elements, offset = cycle.cycle_elements, cycle.time_offset
    else:
        elements, offset = getattr(light, "cycle", None), getattr(light, "time_offset", 0)
    return [(str(e.state.name).upper(), int(e.duration)) for e in elements or ()], int(offset or 0)
