"""Whether the lanes of a custom road fit each other. Every fault names the field of the file, the rule, and what would help."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from scenarios.network import Lane
from scenarios.quantities import Fault

__all__ = ["Place", "beside", "beyond", "joints", "neighbours"]

GAP_MAX = 0.01  # m between a lane's end and its successor's start
KINK_MAX = np.deg2rad(2.0)  # turn from one lane's last chord to the next lane's first
ASIDE_MAX = 0.25  # of half the summed widths: how far a neighbour's points may be from their places beside the lane's

Place: TypeAlias = tuple[tuple[str | int, ...], str, float]  # where it stands in the file, lane, s


def beside(left: str | None, right: str | None) -> Iterable[tuple[str, str, float]]:
    """(field, name, +1 left or -1 right) of a lane's neighbours."""
    return ((field, name, side) for field, name, side in (("left", left, 1.0), ("right", right, -1.0)) if name is not None)


def joints(lanes: list[Lane]) -> Iterable[Fault]:
    """What is wrong where lanes meet."""
    by_id = {lane.id: lane for lane in lanes}
    for i, lane in enumerate(lanes):
        for k, after in enumerate(by_id[name] for name in lane.successors):
            gap = float(np.hypot(*(after.centre[0] - lane.centre[-1])))
            last, first = lane.centre[-1] - lane.centre[-2], after.centre[1] - after.centre[0]
            turn = abs(float(np.arctan2(last[0] * first[1] - last[1] * first[0], last @ first)))
            at, (x, y) = ("lanes", i, "successors", k), lane.centre[-1]
            if gap > GAP_MAX:
                rule = f"a lane that starts where lane {lane.id!r} ends; {after.id!r} starts {gap:.2f} m from there"
                yield Fault(at, after.id, rule, f"begin its points with [{x:g}, {y:g}]")
            elif turn > KINK_MAX:
                rule = f"a lane that goes on as lane {lane.id!r} ends, within {np.degrees(KINK_MAX):.0f} degrees"
                yield Fault(at, after.id, f"{rule}; {after.id!r} starts at an angle of {np.degrees(turn):.1f}", "bend one of the two")


def neighbours(lanes: list[Lane]) -> Iterable[Fault]:
    """Neighbours that do not lie beside the lane all along: point i half the summed widths to the side of point i."""
    by_id = {lane.id: lane for lane in lanes}
    for i, lane in enumerate(lanes):
        tangent = np.gradient(lane.centre, axis=0)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1) / np.hypot(*tangent.T)[:, None]
        for field, name, side in beside(lane.left, lane.right):
            other = by_id[name]
            apart = (lane.width + other.width) / 2.0
            off = np.hypot(*(other.centre - (lane.centre + side * apart * normal)).T)  # (P,) m
            k = int(off.argmax())
            if off[k] > ASIDE_MAX * apart:
                (x, y), there = lane.centre[k], other.centre[k]
                rule = f"a lane {apart:.2f} m to the {field} of lane {lane.id!r}, half the two widths, all along"
                found = f"beside ({x:.1f}, {y:.1f}), {name!r} is at ({there[0]:.1f}, {there[1]:.1f}), {off[k]:.2f} m from its place"
                yield Fault(("lanes", i, field), name, f"{rule}; {found}", f"move its points, or say no '{field}'")


def beyond(lanes: list[Lane], places: Iterable[Place]) -> Iterable[Fault]:
    """Places behind the end of their lane."""
    lengths = {lane.id: float(np.hypot(*np.diff(lane.centre, axis=0).T).sum()) for lane in lanes}
    for at, name, s in places:
        if s > lengths[name]:
            rule = f"a place on lane {name!r}, which is {lengths[name]:.1f} m long"
            yield Fault(at, s, rule, f"say at most {lengths[name]:.1f} m")
