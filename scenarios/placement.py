"""Placing vehicles on a road so that the episode starts well: boxes apart, gaps that need no hard braking, speeds that fit the place.

Gap rule: with the IDM (Treiber, Hennecke & Helbing 2000) the deceleration caused by a leader is a (s*/s)^2, so a bumper gap
s >= s* sqrt(a / b) asks for no more than the comfortable b. s* = s0 + max(0, v T + v dv / (2 sqrt(a b))).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from scenarios.episode import AgentSpec, Driver
from scenarios.graph import LaneGraph
from scenarios.network import LaneEnd, LaneType

__all__ = ["Board", "entry_speed", "safe_gap", "spot_speed"]

LOOK = 150.0  # m along the road within which others matter
CLEARANCE = 0.3  # m kept around every box at the start
CALM = 2.0  # m/s^2, braking on which speeds before stop lines and slower lanes are based


def safe_gap(driver: Driver, speed: float, leader_speed: float) -> float:
    """m, smallest comfortable bumper gap behind a leader (module docstring)."""
    closing = speed * (speed - leader_speed) / (2.0 * math.sqrt(driver.accel * driver.decel))
    wanted = driver.min_gap + max(0.0, speed * driver.headway + closing)
    return wanted * max(math.sqrt(driver.accel / driver.decel), 0.7)


def _corners(x: float, y: float, yaw: float, length: float, width: float) -> list[tuple[float, float]]:
    cos, sin = math.cos(yaw), math.sin(yaw)
    half = ((length / 2, width / 2), (-length / 2, width / 2), (-length / 2, -width / 2), (length / 2, -width / 2))
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in half]


def _overlap(one: AgentSpec, other: AgentSpec, margin: float) -> bool:
    """Whether two boxes, each grown by half the margin on every side, overlap: separating axes of two rectangles."""
    reach = (math.hypot(one.length, one.width) + math.hypot(other.length, other.width)) / 2.0 + 2.0 * margin
    if (one.x - other.x) ** 2 + (one.y - other.y) ** 2 > reach * reach:
        return False
    boxes = [_corners(a.x, a.y, a.yaw, a.length + margin, a.width + margin) for a in (one, other)]
    for yaw in (one.yaw, other.yaw):
        for cos, sin in ((math.cos(yaw), math.sin(yaw)), (-math.sin(yaw), math.cos(yaw))):
            spans = [[x * cos + y * sin for x, y in box] for box in boxes]
            if max(spans[0]) <= min(spans[1]) or max(spans[1]) <= min(spans[0]):
                return False
    return True


@dataclass
class Board:
    """Who stands where so far. Agents with an enter_time above 0 take no room."""

    graph: LaneGraph
    agents: list[AgentSpec] = field(default_factory=list)
    _by_lane: dict[str, list[AgentSpec]] = field(default_factory=dict)

    def overlaps(self, agent: AgentSpec, margin: float = CLEARANCE) -> AgentSpec | None:
        """Somebody whose box would be too near, or None."""
        return next((other for other in self.agents if other.enter_time == 0.0 and _overlap(agent, other, margin)), None)

    def add(self, agent: AgentSpec) -> None:
        """Put an agent down, unchecked."""
        self.agents.append(agent)
        if agent.lane is not None and agent.enter_time == 0.0:
            self._by_lane.setdefault(agent.lane, []).append(agent)

    def fits(self, agent: AgentSpec) -> bool:
        """Whether an agent with a driver, on a lane, has room and comfortable gaps to the next ahead and behind on every way."""
        assert agent.lane is not None
        for lane, offset in self.graph.ahead(agent.lane, agent.s + LOOK):
            for other in self._by_lane.get(lane, ()):
                gap = offset + other.s - agent.s - (agent.length + other.length) / 2.0
                ahead = offset + other.s >= agent.s
                if ahead and agent.driver is not None and gap < safe_gap(agent.driver, agent.speed, other.speed):
                    return False
        for lane, offset in self.graph.behind(agent.lane, LOOK):
            for other in self._by_lane.get(lane, ()):
                gap = agent.s - offset - other.s - (agent.length + other.length) / 2.0
                behind = agent.s >= offset + other.s
                if behind and other.driver is not None and gap < safe_gap(other.driver, other.speed, agent.speed):
                    return False
        return self.overlaps(agent) is None


def entry_speed(graph: LaneGraph, lane: str, driver: Driver) -> float:
    """m/s that a driver wants on a lane; walkers mind no limit."""
    if graph.lanes[lane].type == LaneType.WALKWAY:
        return driver.desired_speed
    return min(driver.desired_speed, graph.lanes[lane].speed_limit * driver.speed_factor)


def spot_speed(graph: LaneGraph, lane: str, s: float, driver: Driver, length: float, destination: str | None) -> float:
    """m/s that a driver may have at (lane, s): what it wants there, slow enough to brake calmly for what lies ahead on its way.

    Ahead are slower lanes, stop lines, the end of a blocked lane, and places where it has to give way.
    """
    speed = entry_speed(graph, lane, driver)
    front, offset, here = s + length / 2.0, 0.0, lane
    for _ in range(8):
        stops = [c.s_enter for c in graph.conflicts.get(here, ()) if c.yields]
        line = graph.lanes[here].stop
        if line is not None:
            stops.append(line.s)
        if graph.lanes[here].end is LaneEnd.BLOCKED:
            stops.append(graph.length[here])
        for stop in stops:
            distance = offset + stop - 1.0 - front
            if distance > -1.5 - length:  # already well past it: nothing to stop for
                speed = min(speed, math.sqrt(2.0 * CALM * max(distance, 0.0)))
        offset += graph.length[here]
        following = graph.next(here, destination)
        if following is None or offset - s > LOOK:
            return speed
        limit = entry_speed(graph, following, driver)
        speed = min(speed, math.sqrt(limit * limit + 2.0 * CALM * max(offset - s, 0.0)))
        here = following
    return speed
