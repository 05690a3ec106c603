"""Where lanes share ground without being one lane: crossings and joins, found from their geometry.

Two lanes conflict where the strips swept by vehicles of ordinary width overlap. Lanes that follow one another, part from a common
predecessor, or run side by side do not conflict; lanes that join the same successor do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from scenarios.network import Conflict, Lane, LaneType

__all__ = ["corridor", "find_conflicts"]

VEHICLE_HALF = 1.0  # m, half the width of an ordinary car with a little air (1.85 m wide)
WALKER_HALF = 0.4  # m, half the width of a pedestrian with a little air
AREA_MIN = 0.05  # m^2, overlaps smaller than this come from touching corners
FINE = 0.1  # m, spacing at which the ends of a stretch are looked for


def _half(lane: Lane) -> float:
    return WALKER_HALF if lane.type == LaneType.WALKWAY else VEHICLE_HALF


def corridor(lane: Lane) -> shapely.Geometry:
    """The ground swept by an ordinary user that follows the lane's centreline from end to end."""
    return shapely.LineString(lane.centre).buffer(_half(lane), cap_style="flat", join_style="mitre")


def find_conflicts(lanes: Sequence[Lane]) -> tuple[Conflict, ...]:
    """All conflicts among the lanes, each in both directions; who yields follows from `Lane.priority`.

    Lanes of type OVERTAKE and PATH take no part: they lie over other lanes by nature. Two walkways do not conflict either.
    """
    taking_part = [lane for lane in lanes if lane.type not in (LaneType.OVERTAKE, LaneType.PATH)]
    strips = [corridor(lane) for lane in taking_part]
    shapely.prepare(strips)
    before = _predecessors(lanes)
    found = []
    for i, j in shapely.STRtree(strips).query(strips, predicate="intersects").T:
        a, b = taking_part[i], taking_part[j]
        if i >= j or _related(a, b, before) or a.type == b.type == LaneType.WALKWAY:
            continue
        shared = strips[i].intersection(strips[j])
        if shared.area < AREA_MIN:
            continue
        a_enter, a_exit = _stretch(a, strips[j], shared)
        b_enter, b_exit = _stretch(b, strips[i], shared)
        mutual = a.priority == b.priority
        found.append(_conflict(a, b, (a_enter, a_exit), (b_enter, b_exit), yields=a.priority <= b.priority, mutual=mutual))
        found.append(_conflict(b, a, (b_enter, b_exit), (a_enter, a_exit), yields=b.priority <= a.priority, mutual=mutual))
    return tuple(found)


def _conflict(lane: Lane, other: Lane, own: tuple[float, float], theirs: tuple[float, float], *, yields: bool, mutual: bool) -> Conflict:
    return Conflict(
        lane=lane.id,
        other=other.id,
        s_enter=own[0],
        s_exit=own[1],
        other_enter=theirs[0],
        other_exit=theirs[1],
        yields=yields,
        mutual=mutual,
    )


def _predecessors(lanes: Sequence[Lane]) -> dict[str, set[str]]:
    before: dict[str, set[str]] = {lane.id: set() for lane in lanes}
    for lane in lanes:
        for name in lane.successors:
            before.setdefault(name, set()).add(lane.id)
    return before


def _related(a: Lane, b: Lane, before: dict[str, set[str]]) -> bool:
    """One follows the other, both part from the same lane, or both run side by side."""
    follows = b.id in a.successors or a.id in b.successors
    parts = bool(before[a.id] & before[b.id])
    beside = b.id in (a.left, a.right) or a.id in (b.left, b.right)
    return follows or parts or beside


def _stretch(lane: Lane, strip: shapely.Geometry, shared: shapely.Geometry) -> tuple[float, float]:
    """First and last s at which the cross-section of a user of `lane` touches the other's strip, to FINE."""
    centre = shapely.LineString(lane.centre)
    near = shapely.line_locate_point(centre, shapely.points(shapely.get_coordinates(shared)))
    low, high = max(0.0, float(near.min()) - 2 * FINE), min(float(centre.length), float(near.max()) + 2 * FINE)
    s = np.linspace(low, high, max(2, int(np.ceil((high - low) / FINE)) + 1))
    touches = np.nonzero(shapely.intersects(strip, _cross_sections(lane.centre, s, _half(lane))))[0]
    if len(touches) == 0:  # thinner than FINE
        return low, high
    return float(s[touches[0]]), float(s[touches[-1]])


def _cross_sections(centre: NDArray[np.float64], s: NDArray[np.float64], half: float) -> NDArray[np.object_]:
    """One segment across the lane at each s, (S,) of LineString."""
    delta = np.diff(centre, axis=0)
    spans = np.hypot(*delta.T)
    knots = np.concatenate([[0.0], np.cumsum(spans)])
    point = np.stack([np.interp(s, knots, centre[:, 0]), np.interp(s, knots, centre[:, 1])], axis=-1)
    segment = np.clip(np.searchsorted(knots, s, side="right") - 1, 0, len(delta) - 1)
    ahead = delta[segment] / spans[segment][:, None]
    across = half * np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    sections: NDArray[np.object_] = shapely.linestrings(np.stack([point - across, point + across], axis=1))
    return sections
