"""A CommonRoad lanelet network -> our road network: signs, lights, right of way, ends, conflicts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from scenarios.importers.commonroad_file import light_programme, type_names
from scenarios.importers.commonroad_lanes import LaneDraft, draft_lanes, leftovers
from scenarios.importers.report import ImportReport
from scenarios.network import Conflict, Lane, LaneEnd, LaneType, Light, LightState, Mark, RoadNetwork, StopLine
from scenarios.roads.conflicts import find_conflicts

__all__ = ["build_network"]

Floats = NDArray[np.float64]

KMH = 1.0 / 3.6
DEFAULT_LIMITS = {"HIGHWAY": 130 * KMH, "INTERSTATE": 130 * KMH, "RURAL": 100 * KMH, "COUNTRY": 100 * KMH}  # m/s, Germany (StVO § 3)
URBAN_LIMIT = 50 * KMH  # m/s, everywhere else and where the file does not say
WALK = 2.5  # m/s, limit of walkways; nobody walks faster
LINE_BEFORE_END = 0.5  # m, where one stops on a lanelet without a painted line
TURNING = np.deg2rad(30.0)  # heading change from which a lane turns
CROSSWALK_PRIORITY = 10  # pedestrians on a crosswalk go first
COLOURS = {"RED": LightState.RED, "YELLOW": LightState.YELLOW, "RED_YELLOW": LightState.RED_YELLOW, "GREEN": LightState.GREEN}
YIELD, STOP, FIRST = {"YIELD"}, {"STOP"}, {"PRIORITY", "RIGHT_OF_WAY"}


def build_network(scenario: Any, shift: Floats, fastest: float, report: ImportReport) -> RoadNetwork:
    """The road network of a commonroad-io scenario, moved by -`shift` (2,).

    `fastest` m/s is the highest recorded speed: no guessed limit is lower. Raises ValueError if nothing drivable is left.
    """
    source = scenario.lanelet_network
    drafts, areas = draft_lanes(list(source.lanelets), shift, report)
    if not any(draft.type == LaneType.DRIVE for draft in drafts.values()):
        raise ValueError("no lanelet that one may drive on")
    signs = _signs(source, drafts, report)
    limits = _limits(drafts, signs, fastest, report)
    lights, lit = _lights(source, drafts, shift, scenario.dt, report)
    stops = {id: _stop(draft, signs[id], lit.get(id), shift) for id, draft in drafts.items()}
    junction = _in_intersections(source, drafts)
    before: dict[str, list[str]] = defaultdict(list)
    for id, draft in drafts.items():
        for name in draft.successors:
            before[name].append(id)
    lanes = [_lane(draft, limits[id], stops[id], id in junction, _priority(id, drafts, before[id], signs)) for id, draft in drafts.items()]
    conflicts = _without_parting(lanes, find_conflicts(lanes))
    _report_rules(lanes, conflicts, report)
    lanes = _mark_junctions(lanes, conflicts, drafts)
    for draft in drafts.values():
        areas += leftovers(draft)
    crosswalks = tuple(d.ground for d in drafts.values() if "CROSSWALK" in type_names(d.lanelet.lanelet_type))
    return RoadNetwork(lanes=tuple(lanes), lights=tuple(lights), conflicts=conflicts, areas=tuple(areas), crosswalks=crosswalks)


# ---------------------------------------------------------------- lanes


def _lane(draft: LaneDraft, limit: float, stop: StopLine | None, junction: bool, priority: int) -> Lane:
    walkway = draft.type == LaneType.WALKWAY
    return Lane(
        id=draft.id,
        centre=draft.centre,
        width=draft.width,
        speed_limit=WALK if walkway else limit,
        type=LaneType.JUNCTION if junction and not walkway else draft.type,
        end=LaneEnd.CONTINUE if draft.successors else LaneEnd.EXIT,
        successors=tuple(draft.successors),
        left=draft.left,
        right=draft.right,
        left_mark=draft.left_mark,
        right_mark=draft.right_mark,
        stop=stop,
        priority=CROSSWALK_PRIORITY if walkway else priority,
    )


def _mark_junctions(lanes: list[Lane], conflicts: tuple[Conflict, ...], drafts: dict[str, LaneDraft]) -> list[Lane]:
    """Lanes that cross or join others are junctions, without paint that the file does not mention.

    A lane that ends beside one that goes on is blocked.
    """
    table = {lane.id: lane for lane in lanes}
    crossing = {c.lane for c in conflicts if table[c.other].type != LaneType.WALKWAY}
    done = []
    for lane in lanes:
        changes: dict[str, Any] = {}
        if lane.id in crossing and lane.type == LaneType.DRIVE:
            changes["type"] = LaneType.JUNCTION
        if changes or lane.type == LaneType.JUNCTION:
            changes |= dict.fromkeys(drafts[lane.id].assumed, Mark.NONE)
        beside = [table[id] for id in (lane.left, lane.right) if id is not None]
        if lane.end == LaneEnd.EXIT and any(other.successors for other in beside):
            changes["end"] = LaneEnd.BLOCKED
        done.append(Lane(**{**vars(lane), **changes}))
    return done


def _without_parting(lanes: list[Lane], conflicts: tuple[Conflict, ...]) -> tuple[Conflict, ...]:
    """Conflicts without those of lanes that are still parting: they overlap from their starts on, as did the lanes before them."""
    before: dict[str, set[str]] = defaultdict(set)
    for lane in lanes:
        for name in lane.successors:
            before[name].add(lane.id)

    def parting(a: str, b: str, depth: int = 4) -> bool:
        if before[a] & before[b]:
            return True
        return depth > 0 and any(parting(p, q, depth - 1) for p in before[a] for q in before[b])

    return tuple(c for c in conflicts if not (c.s_enter < 1.0 and c.other_enter < 1.0 and parting(c.lane, c.other)))


# ---------------------------------------------------------------- signs


def _signs(source: Any, drafts: dict[str, LaneDraft], report: ImportReport) -> dict[str, dict[str, list[str]]]:
    """{lane: {sign name: its values}} of the signs that the lanelets refer to."""
    known = {sign.traffic_sign_id: sign for sign in source.traffic_signs}
    found: dict[str, dict[str, list[str]]] = {id: {} for id in drafts}
    unused: Counter[str] = Counter()
    for id, draft in drafts.items():
        line = draft.lanelet.stop_line
        for sign_id in {*draft.lanelet.traffic_signs, *(getattr(line, "traffic_sign_ref", None) or ())}:
            for element in known[sign_id].traffic_sign_elements if sign_id in known else ():
                name = str(element.traffic_sign_element_id.name).upper()
                found[id].setdefault(name, []).extend(str(v) for v in element.additional_values)
                if name not in {"MAX_SPEED"} | YIELD | STOP | FIRST:
                    unused[name.lower()] += 1
    report.items("traffic signs without an effect here", [f"{name} x{n}" for name, n in sorted(unused.items())])
    return found


def _limits(drafts: dict[str, LaneDraft], signs: dict[str, dict[str, list[str]]], fastest: float, report: ImportReport) -> dict[str, float]:
    """m/s per lane: its own sign, else that of the lanes before it, else a default."""
    limits = {id: min(float(v) for v in found["MAX_SPEED"]) for id, found in signs.items() if found.get("MAX_SPEED")}
    limits = {id: value for id, value in limits.items() if 0.0 < value <= 200.0}
    before: dict[str, list[str]] = defaultdict(list)
    for id, draft in drafts.items():
        for other in draft.successors:
            before[other].append(id)
    inherited, changed = [], True
    while changed:  # each round reaches one lane further
        step = {id: [limits[p] for p in before[id] if p in limits] for id in drafts if id not in limits}
        new = {id: min(values) for id, values in step.items() if values}
        changed = bool(new)
        inherited += list(new)
        limits |= new
    guessed = [id for id, draft in drafts.items() if id not in limits and draft.type == LaneType.DRIVE]
    for id in guessed:
        names = type_names(drafts[id].lanelet.lanelet_type)
        usual = max((DEFAULT_LIMITS[name] for name in names if name in DEFAULT_LIMITS), default=URBAN_LIMIT)
        limits[id] = max(usual, math.ceil(fastest * 3.6 / 10.0) * 10.0 * KMH)
    report.items("lanelets without a speed limit take that of the lanelet before", inherited)
    values = sorted({f"{limits[id] * 3.6:.0f}" for id in guessed})
    report.items(f"lanelets without a known speed limit get {' or '.join(values)} km/h (50 in town, at least the recorded speeds)", guessed)
    return {id: limits.get(id, WALK) for id in drafts}


def _priority(id: str, drafts: dict[str, LaneDraft], before: list[str], signs: dict[str, dict[str, list[str]]]) -> int:
    """Higher goes first: by sign (on the lane or on one leading to it), then straight on before right before left."""
    names = set(signs[id]).union(*(signs[other] for other in before))
    level = -1 if names & (YIELD | STOP) else 1 if names & FIRST else 0
    turn = drafts[id].turn
    return 3 * level + (2 if abs(turn) < TURNING else 0 if turn > 0.0 else 1)


def _stop(draft: LaneDraft, signs: dict[str, list[str]], light: str | None, shift: Floats) -> StopLine | None:
    """The place to wait: the painted line, else just before the end of a lanelet with a light, a stop or a yield sign."""
    line = draft.lanelet.stop_line
    must_stop = bool(STOP & signs.keys())
    if line is None and light is None and not must_stop and not YIELD & signs.keys():
        return None
    s = max(draft.length - LINE_BEFORE_END, 0.0)
    if line is not None and getattr(line, "start", None) is not None and line.end is not None:
        middle = (np.asarray(line.start, dtype=np.float64)[:2] + np.asarray(line.end, dtype=np.float64)[:2]) / 2.0 - shift
        s = float(np.clip(shapely.line_locate_point(shapely.LineString(draft.centre), shapely.Point(middle)), 0.0, s))
    return StopLine(s=s, light=light, must_stop=must_stop)


# ---------------------------------------------------------------- lights and junctions


def _lights(
    source: Any, drafts: dict[str, LaneDraft], shift: Floats, dt: float, report: ImportReport
) -> tuple[list[Light], dict[str, str]]:
    """The lights, and which of them governs each lane."""
    lit: dict[str, str] = {}
    users: dict[str, list[str]] = defaultdict(list)
    known = {str(light.traffic_light_id): light for light in source.traffic_lights}
    several, pointless = [], []
    for id, draft in drafts.items():
        refs = {*draft.lanelet.traffic_lights, *(getattr(draft.lanelet.stop_line, "traffic_light_ref", None) or ())}
        mine = sorted(str(ref) for ref in refs if str(ref) in known and known[str(ref)].active)
        if mine and not draft.successors:
            pointless.append(id)
        elif mine:
            lit[id] = mine[0]
            users[mine[0]].append(id)
        if len(mine) > 1 and id not in pointless:
            several.append(id)
    report.items("lanelets with several lights obey the first", several)
    report.items("traffic lights of lanelets that lead nowhere are ignored", pointless)
    lights, bad, arrows = [], [], []
    for id, light in known.items():
        colours, offset = light_programme(light)
        phases = _phases([(COLOURS.get(colour, LightState.NONE), steps * dt) for colour, steps in colours])
        if not phases or len(phases) > 8 or not users[id] or sum(seconds for _, seconds in phases) <= 0.0:
            bad.append(id)
            continue
        if str(getattr(light.direction, "name", "ALL")).upper() != "ALL":
            arrows.append(id)
        end = drafts[users[id][0]].centre
        place = end[-1] if light.position is None else np.asarray(light.position, dtype=np.float64)[:2] - shift
        heading = float(np.arctan2(*(end[-1] - end[-2])[::-1]))
        # the file's cycle starts at the offset; ours adds the offset to the clock
        lights.append(Light(id=id, x=float(place[0]), y=float(place[1]), heading=heading, phases=tuple(phases), offset=-offset * dt))
    report.items("traffic lights switched off, without a programme, with more than 8 phases or facing no lanelet: left out", bad)
    report.items("arrow lights govern all directions of their lanelets", arrows)
    return lights, {lane: id for lane, id in lit.items() if id not in bad}


def _phases(phases: Iterable[tuple[LightState, float]]) -> list[tuple[LightState, float]]:
    """Phases of no length dropped, equal ones in a row made one."""
    merged: list[tuple[LightState, float]] = []
    for state, seconds in phases:
        if seconds > 0.0 and merged and merged[-1][0] == state:
            merged[-1] = (state, merged[-1][1] + seconds)
        elif seconds > 0.0:
            merged.append((state, seconds))
    return merged


def _in_intersections(source: Any, drafts: dict[str, LaneDraft]) -> set[str]:
    """Lanes inside the intersections that the file declares."""
    inside: set[str] = set()
    for intersection in source.intersections:
        for arm in intersection.incomings:
            for turn in ("right", "straight", "left"):
                ways = getattr(arm, f"successors_{turn}", None) or getattr(arm, f"outgoing_{turn}", None)  # the latter in newer versions
                inside |= {str(id) for id in ways or ()}
    return inside & drafts.keys()


def _report_rules(lanes: list[Lane], conflicts: tuple[Conflict, ...], report: ImportReport) -> None:
    signed = [lane.id for lane in lanes if not 0 <= lane.priority <= 2 and lane.type != LaneType.WALKWAY]
    if conflicts and not signed:
        report.add("no priority signs: where lanes meet, straight on goes before right before left; equals go first come, first served")
    ends = [lane.id for lane in lanes if lane.end == LaneEnd.EXIT and lane.type != LaneType.WALKWAY]
    report.items("lanelets without a successor are exits of the map", ends)
