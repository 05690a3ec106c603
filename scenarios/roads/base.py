"""What every road builder shares: the model's base class and the strip of parallel lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scenarios.network import Lane, LaneEnd, LaneType, Mark, RoadNetwork, StopLine
from scenarios.quantities import Fault, QuantityModel
from scenarios.roads.geometry import Line

__all__ = ["RoadError", "RoadModel", "relink", "single", "strip", "taper"]


class RoadError(ValueError):
    """Fields that fit no road; each fault says at which one (path below the road), what was expected there, and how to put it right."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"expected {fault.expected}" for fault in faults))
        self.faults = tuple(faults)


class RoadModel(QuantityModel):
    """Base of the road builders: a field `kind` tells them apart; every other field is a quantity, possibly a distribution.

    `resolve(rng)` first, then `build()`.
    """

    def build(self) -> RoadNetwork:
        """The network. All distributions must have been drawn.

        Raises ValueError where the fields fit no road; RoadError, which is one, where it can say which of them do not.
        """
        raise NotImplementedError(f"{type(self).__name__}.build")


def strip(
    name: str,
    line: Line,
    count: int,
    *,
    width: float,
    limit: float,
    first: float = 0.0,
    then: str | None = None,
    end: LaneEnd = LaneEnd.CONTINUE,
    type: LaneType = LaneType.DRIVE,
    priority: int = 0,
) -> list[Lane]:
    """`count` parallel lanes `name.0` (rightmost), `name.1`, ... along a line; lane 0 has its centre `first` m left of it.

    Lane i continues in `then.i`. Neighbours may be changed into; outer marks are solid.
    """
    lanes = []
    for i in range(count):
        lanes.append(
            Lane(
                id=f"{name}.{i}",
                centre=line.offset(first + i * width),
                width=width,
                speed_limit=limit,
                type=type,
                end=end,
                successors=(f"{then}.{i}",) if then is not None else (),
                left=f"{name}.{i + 1}" if i + 1 < count else None,
                right=f"{name}.{i - 1}" if i > 0 else None,
                left_mark=Mark.DASHED if i + 1 < count else Mark.SOLID,
                right_mark=Mark.DASHED if i > 0 else Mark.SOLID,
                priority=priority,
            )
        )
    return lanes


def single(
    id: str,
    line: Line,
    *,
    width: float,
    limit: float,
    then: tuple[str, ...] = (),
    end: LaneEnd = LaneEnd.CONTINUE,
    type: LaneType = LaneType.DRIVE,
    left_mark: Mark = Mark.SOLID,
    right_mark: Mark = Mark.SOLID,
    stop: StopLine | None = None,
    priority: int = 0,
) -> Lane:
    """One lane along a line, without neighbours."""
    return Lane(
        id=id,
        centre=line.points,
        width=width,
        speed_limit=limit,
        type=type,
        end=end,
        successors=then,
        left_mark=left_mark,
        right_mark=right_mark,
        stop=stop,
        priority=priority,
    )


def relink(lanes: list[Lane], id: str, **changes: object) -> list[Lane]:
    """The lanes with some fields of one of them replaced. Raises KeyError."""
    if all(lane.id != id for lane in lanes):
        raise KeyError(id)
    return [replace(lane, **changes) if lane.id == id else lane for lane in lanes]  # type: ignore[arg-type]


def taper(line: Line, d: float, width: float, length: float, *, widening: bool = False) -> NDArray[np.float64]:
    """Wedge of asphalt (V, 2) that ends (or, `widening`, begins) a lane on the right of a line.

    The lane's centre lies d m left of the line; the wedge starts at the line's start with the full width and narrows to
    nothing at the inner edge over `length` m. Widening: it ends at the line's end with the full width.
    """
    s = line.s if not widening else line.length - line.s
    near = s <= length
    part = Line(points=line.points[near], heading=line.heading[near], s=line.s[near])
    share = np.clip(s[near] / s[near].max(), 0.0, 1.0)
    outer, inner = part.offset(d - width / 2.0 + share * width), part.offset(d + width / 2.0)
    return np.concatenate([outer, inner[::-1]])
