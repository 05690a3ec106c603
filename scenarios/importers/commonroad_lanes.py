"""Lanelets -> lanes: geometry, neighbours, limits, and what each lane is for.

One lanelet becomes one lane of the same id. Shapes: P points of a lane.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from scenarios.importers.centreline import arc_length, polyline, smooth
from scenarios.importers.commonroad_file import type_names
from scenarios.importers.report import ImportReport
from scenarios.network import LaneType, Mark

__all__ = ["LaneDraft", "draft_lanes", "leftovers"]

Floats = NDArray[np.float64]

STEP = 1.0  # m, spacing of the centreline points that are stored
STEADY = 0.5  # m, lanelets whose width varies less are lanes of their mean width
NARROWEST = 2.0  # m, no lane is made narrower than a car needs
SNAP = 0.5  # m, ends of lanelets that follow one another are joined up to this gap
SHARP = np.deg2rad(60.0)  # a joint that turns more than this is a corner, not a curve
DRIFT = 3.0  # m, neighbours whose points of equal share of length are further apart along the road do not run side by side
BESIDE = (1.0, 8.0)  # m, sideways distance of the centrelines of neighbours
SLIVER = 0.05  # m^2, smaller remainders of a lanelet beside its lane are not kept

WALKWAYS = {"SIDEWALK", "CROSSWALK"}
SURFACES = {"SHOULDER", "PARKING", "BUS_STOP"}  # drivable ground without traffic along it
CLOSED = {"BORDER", "RESTRICTED_AREA"}
SPECIAL = {"BUS_LANE", "BICYCLE_LANE", "RESTRICTED"}
MARKS = {"DASHED": Mark.DASHED, "BROAD_DASHED": Mark.DASHED, "DASHED_SOLID": Mark.DASHED, "SOLID_DASHED": Mark.DASHED}
MARKS |= {"SOLID": Mark.SOLID, "BROAD_SOLID": Mark.SOLID, "SOLID_SOLID": Mark.SOLID, "NO_MARKING": Mark.NONE}
MARKS |= {"CURB": Mark.KERB, "LOWERED_CURB": Mark.KERB}


@dataclass
class LaneDraft:
    """A lane in the making."""

    id: str
    lanelet: Any
    type: LaneType
    ground: Floats  # (V, 2) the lanelet's own outline
    width: float
    steady: bool
    line: Floats  # (P, 2) polyline from the file, then the smooth centreline
    centre: Floats = field(default_factory=lambda: np.zeros((0, 2)))  # (P, 2)
    successors: list[str] = field(default_factory=list)
    left: str | None = None
    right: str | None = None
    left_mark: Mark = Mark.SOLID
    right_mark: Mark = Mark.SOLID
    assumed: set[str] = field(default_factory=set)  # sides ("left_mark") whose solid line is a guess: the file says nothing
    turn: float = 0.0  # rad, heading change from start to end

    @property
    def length(self) -> float:
        return float(arc_length(self.centre)[-1])


def draft_lanes(lanelets: list[Any], shift: Floats, report: ImportReport) -> tuple[dict[str, LaneDraft], list[Floats]]:
    """Lanes by id, and the outlines of lanelets that are ground rather than lanes. `shift` (2,) is subtracted from all points."""
    drafts: dict[str, LaneDraft] = {}
    areas: list[Floats] = []
    odd: dict[str, list[str]] = defaultdict(list)
    for lanelet in lanelets:
        names = type_names(lanelet.lanelet_type)
        left, right = (np.asarray(v, dtype=np.float64)[:, :2] - shift for v in (lanelet.left_vertices, lanelet.right_vertices))
        ground = np.concatenate([left, right[::-1]])
        if names & CLOSED:
            odd["lanelets closed to traffic, left out"].append(str(lanelet.lanelet_id))
        elif names & SURFACES:
            areas.append(ground)
            odd["shoulders, parking and bus stops are drivable ground without lanes"].append(str(lanelet.lanelet_id))
        else:
            draft = _draft(lanelet, names, left, right, ground)
            drafts[draft.id] = draft
            for name in names & SPECIAL:
                odd[f"lanelets of type {name.lower()} are ordinary lanes, reached by no lane change"].append(draft.id)
    for line, ids in odd.items():
        report.items(line, ids)
    for draft in drafts.values():
        draft.successors = [str(i) for i in draft.lanelet.successor if str(i) in drafts]
    _curves(drafts, report)
    _neighbours(drafts, report)
    return drafts, areas


def _draft(lanelet: Any, names: set[str], left: Floats, right: Floats, ground: Floats) -> LaneDraft:
    line, width, s = polyline(left, right)
    pedestrian = bool(names & WALKWAYS) or type_names(lanelet.user_one_way) == {"PEDESTRIAN"}
    steady = float(np.ptp(width)) <= STEADY
    mean = float(np.trapezoid(width, s) / s[-1])
    return LaneDraft(
        id=str(lanelet.lanelet_id),
        lanelet=lanelet,
        type=LaneType.WALKWAY if pedestrian else LaneType.DRIVE,
        ground=ground,
        width=mean if steady or pedestrian else max(float(width.min()), NARROWEST),
        steady=steady,
        line=line,
    )


def _curves(drafts: dict[str, LaneDraft], report: ImportReport) -> None:
    """Give every draft its smooth curve (in `line`), about 0.1 m between points."""
    joints = _Joints(drafts)
    sharp, gaps = [], []
    tangents: dict[tuple[str, int], Floats] = {}
    for members in joints.groups():
        ends = np.array([drafts[id].line[end] for id, end in members])
        middle = ends.mean(axis=0)
        if np.hypot(*(ends - middle).T).max() > SNAP:
            gaps.append(members[0][0])
            continue
        headings = {}
        for id, end in members:
            line = drafts[id].line
            line[end] = middle
            delta = line[1] - line[0] if end == 0 else line[-1] - line[-2]
            headings[id, end] = delta / max(float(np.hypot(*delta)), 1e-9)
        into = [d for (_, end), d in headings.items() if end == -1]
        out = [d for (_, end), d in headings.items() if end == 0]
        shared = np.mean(into, axis=0) + np.mean(out, axis=0)
        shared /= max(float(np.hypot(*shared)), 1e-9)
        for key, heading in headings.items():
            if float(heading @ shared) > np.cos(SHARP / 2.0):
                tangents[key] = shared
            else:
                sharp.append(key[0])
    report.items("lanelets that follow one another with a gap of more than 0.5 m are left apart", gaps)
    report.items("lanelets that meet at a sharp corner keep it", sorted(set(sharp)))
    for id, draft in drafts.items():
        draft.line = smooth(draft.line, tangents.get((id, 0)), tangents.get((id, -1)))
        delta = np.diff(draft.line, axis=0)
        heading = np.unwrap(np.arctan2(delta[:, 1], delta[:, 0]))
        draft.turn = float(heading[-1] - heading[0])


class _Joints:
    """Which lane ends (-1) and starts (0) meet."""

    def __init__(self, drafts: dict[str, LaneDraft]) -> None:
        self.parent: dict[tuple[str, int], tuple[str, int]] = {}
        for id, draft in drafts.items():
            for other in draft.successors:
                self.parent[self._root((id, -1))] = self._root((other, 0))

    def _root(self, key: tuple[str, int]) -> tuple[str, int]:
        while self.parent.setdefault(key, key) != key:
            key = self.parent[key]
        return key

    def groups(self) -> list[list[tuple[str, int]]]:
        found: dict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
        for key in self.parent:
            found[self._root(key)].append(key)
        return list(found.values())


def _neighbours(drafts: dict[str, LaneDraft], report: ImportReport) -> None:
    """Neighbours into which one may change, painted lines, and centrelines with as many points as their neighbours'."""
    refused, painted, oncoming = [], [], []
    sides = {"left": ("adj_left", "adj_left_same_direction", "line_marking_left_vertices"),
             "right": ("adj_right", "adj_right_same_direction", "line_marking_right_vertices")}  # fmt: skip
    wanted: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for draft in drafts.values():
        for side, (adjacent, same, marking) in sides.items():
            other = drafts.get(str(getattr(draft.lanelet, adjacent)))
            beside = other is not None and bool(getattr(draft.lanelet, same)) and other.type == draft.type == LaneType.DRIVE
            name = str(getattr(getattr(draft.lanelet, marking), "name", "UNKNOWN")).upper()
            mark = MARKS.get(name, Mark.DASHED if beside else Mark.SOLID)
            setattr(draft, f"{side}_mark", mark)
            if name not in MARKS and mark == Mark.SOLID:
                draft.assumed.add(f"{side}_mark")
            if other is not None and not beside and other.type == LaneType.DRIVE:
                oncoming.append(draft.id)
            special = any(type_names(d.lanelet.lanelet_type) & SPECIAL for d in (draft, other) if d is not None)
            if not beside or other is None or special:
                continue
            if mark in (Mark.SOLID, Mark.KERB):
                painted.append(draft.id)
            else:
                wanted[draft.id].append((side, other.id))
    _resample(drafts, wanted)
    for id, pairs in wanted.items():
        for side, other_id in pairs:
            if _side_by_side(drafts[id].centre, drafts[other_id].centre, side):
                setattr(drafts[id], side, other_id)
            else:
                refused.append(f"{id}-{other_id}")
    report.items("adjacent lanelets that do not run side by side: no lane changes between them", refused)
    report.items("lanelets with a solid line to a neighbour: no lane changes over it", painted)
    report.items("lanelets beside oncoming ones: overtaking over the oncoming lane is not offered", sorted(set(oncoming)))


def _resample(drafts: dict[str, LaneDraft], wanted: dict[str, list[tuple[str, str]]]) -> None:
    """Stored centrelines: evenly spaced, about STEP apart, and equally many points in lanes that are neighbours."""
    group = {id: id for id in drafts}

    def root(id: str) -> str:
        while group[id] != id:
            id = group[id]
        return id

    for id, pairs in wanted.items():
        for _, other in pairs:
            group[root(id)] = root(other)
    count: dict[str, int] = defaultdict(int)
    for id, draft in drafts.items():
        count[root(id)] = max(count[root(id)], max(2, int(np.ceil(arc_length(draft.line)[-1] / STEP)) + 1))
    for id, draft in drafts.items():
        s = arc_length(draft.line)
        at = np.linspace(0.0, s[-1], count[root(id)])
        draft.centre = np.stack([np.interp(at, s, draft.line[:, 0]), np.interp(at, s, draft.line[:, 1])], axis=-1)


def _side_by_side(own: Floats, other: Floats, side: str) -> bool:
    """Whether point i of `other` lies beside point i of `own` everywhere; both (P, 2)."""
    if len(own) != len(other):
        return False
    ahead = np.gradient(own, axis=0)
    ahead /= np.hypot(*ahead.T)[:, None]
    delta = other - own
    along = (delta * ahead).sum(axis=1)
    across = (ahead[:, 0] * delta[:, 1] - ahead[:, 1] * delta[:, 0]) * (1.0 if side == "left" else -1.0)
    return bool((np.abs(along) <= DRIFT).all() and (across >= BESIDE[0]).all() and (across <= BESIDE[1]).all())


def leftovers(draft: LaneDraft) -> list[Floats]:
    """Outlines of the parts of a lanelet that its lane of constant width does not cover: drivable ground."""
    if draft.steady or draft.type == LaneType.WALKWAY:
        return []
    ground = shapely.make_valid(shapely.Polygon(draft.ground))
    strip = shapely.LineString(draft.centre).buffer(draft.width / 2.0 - 0.02, cap_style="flat", join_style="mitre")
    rest = shapely.get_parts(ground.difference(strip))
    return [shapely.get_coordinates(part.exterior)[:-1] for part in rest if part.geom_type == "Polygon" and part.area > SLIVER]
