"""Reading CommonRoad files through commonroad-io, and the differences between its versions (tested: 2022.1, 2022.2, 2024.3, 2026.1).

commonroad-io is an extra: it is imported here, late, and nowhere else.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.importers.types import ImportFileError

__all__ = [
    "CommonRoadFile",
    "angle",
    "box",
    "light_programme",
    "number",
    "parts",
    "point",
    "read",
    "type_names",
    "vertices",
]

Floats = NDArray[np.float64]


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
    log = logging.getLogger("commonroad")
    level = log.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            log.setLevel(logging.ERROR)  # it warns of every element in an older notation
            scenario, problems = CommonRoadFileReader(str(path)).open()
    except Exception as error:  # the parser raises whatever its missing checks lead to: AssertionError, AttributeError, lxml errors ...
        raise ImportFileError(f"{path}: not a CommonRoad file that commonroad-io can read ({type(error).__name__}: {error})") from None
    finally:
        log.setLevel(level)
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
        return _xy(value.center), False
    return vertices(value).mean(axis=0), False


def parts(shape: Any) -> list[Any]:
    """The shapes of a group, or the one shape."""
    group = getattr(shape, "shapes", None) or getattr(shape, "occupancies", None)  # the latter from 2026.1 on
    return list(group) if group else [shape]


def vertices(shape: Any) -> Floats:
    """(V, 2) corner points of a shape at its place; a circle becomes its bounding square, a group all its corners."""
    found = []
    for part in parts(shape):
        if hasattr(part, "radius"):
            square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
            found.append(_xy(getattr(part, "center", (0.0, 0.0))) + float(part.radius) * square)
        elif hasattr(part, "vertices"):
            found.append(np.asarray(part.vertices, dtype=np.float64)[:, :2])
        else:  # shapes of vehicles, from 2026.1 on: ask for the ground they cover at the origin
            state = SimpleNamespace(position=np.zeros(2), orientation=0.0)
            covered = part.compute_occupancy_for_state(state).shapely_object
            found.append(np.asarray(covered.envelope.exterior.coords, dtype=np.float64)[:4])
    return np.concatenate(found)


def box(shape: Any) -> tuple[float, float, Floats, float] | None:
    """Length, width, centre (2,) and orientation of a rectangle in the frame of what it belongs to; None: no rectangle."""
    if not (hasattr(shape, "length") and hasattr(shape, "width")):
        return None
    centre = _xy(shape.center) if hasattr(shape, "center") else np.array([-float(getattr(shape, "origin_x_shift", 0.0)), 0.0])
    return float(shape.length), float(shape.width), centre, float(getattr(shape, "orientation", 0.0))


def _xy(place: Any) -> Floats:
    """An array, or a point with x and y (from 2026.1 on)."""
    return np.array([place.x, place.y]) if hasattr(place, "x") else np.asarray(place, dtype=np.float64)[:2]


def type_names(values: Iterable[Any]) -> set[str]:
    """Names of enum members, upper case."""
    return {str(value.name).upper() for value in values}


def light_programme(light: Any) -> tuple[list[tuple[str, int]], int]:
    """((colour, steps) ..., offset in steps) of a traffic light; the cycle starts at the offset."""
    cycle = getattr(light, "traffic_light_cycle", None)  # in newer versions
    if cycle is not None:
        elements, offset = cycle.cycle_elements, cycle.time_offset
    else:
        elements, offset = getattr(light, "cycle", None), getattr(light, "time_offset", 0)
    return [(str(e.state.name).upper(), int(e.duration)) for e in elements or ()], int(offset or 0)
