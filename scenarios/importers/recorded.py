"""Recorded road users as agents of an episode: replaying their log, or reacting along the path they took.

Shapes: T ticks of a log, P points of a path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from scenarios.episode import AgentSpec, Episode, Log, Role
from scenarios.importers.centreline import arc_length, smooth
from scenarios.importers.following import recorded_drivers
from scenarios.importers.places import onward
from scenarios.network import Lane, LaneEnd, LaneType, RoadNetwork
from scenarios.serialize import Recording

__all__ = ["RecordedCollision", "boxes", "collisions_among", "is_parked", "path_id", "recorded_agents", "recorded_collisions", "with_paths"]

Floats = NDArray[np.float64]

STILL = 0.5  # m and m/s: who never moves further nor faster is parked
STRIDE = 0.5  # m, path points closer than this to the last one are jitter of somebody standing
PATH_STEP = 1.0  # m, spacing of path points
LEAVE = 5.0  # m added to the path of somebody whose recording ends before the others'
OVERLAP = 1e-6  # m^2, smaller common areas are rounding


@dataclass(frozen=True, kw_only=True)
class RecordedCollision:
    """Two recorded agents whose boxes overlap in the recording itself."""

    first: str  # agent ids
    second: str
    start: float  # s, first and last time of overlap
    end: float
    area: float  # m^2, largest overlap

    def __str__(self) -> str:
        return f"{self.first} and {self.second} from {self.start:.1f} s to {self.end:.1f} s (up to {self.area:.2f} m²)"


def with_paths(network: RoadNetwork, recording: Recording) -> RoadNetwork:
    """The network with a PATH lane `path.ID` for every agent of the recording that moves.

    An imported sidecar holds them from the start, so that both modes share one network.
    """
    known = {lane.id for lane in network.lanes}
    movers = [agent for agent in recording.agents if agent.log is not None and not is_parked(agent.log)]
    drivers = recorded_drivers(recording.agents)
    paths = [
        _path(network, agent, agent.log, drivers[agent.id].desired_speed, recording.dt)
        for agent in movers
        if agent.log is not None and path_id(agent) not in known
    ]
    return replace(network, lanes=(*network.lanes, *paths)) if paths else network


def path_id(agent: AgentSpec) -> str:
    """Id of the PATH lane of a recorded agent."""
    return f"path.{agent.id}"


def recorded_agents(network: RoadNetwork, recording: Recording, mode: str) -> tuple[RoadNetwork, tuple[AgentSpec, ...]]:
    """The agents of a recording (without ego), and the network they need: the one given, or one with PATH lanes added if some lack.

    mode "log": each agent replays its log; parked ones too, so that they come and go as recorded.
    mode "reactive": each agent that moves becomes an IDM driver on a PATH lane of its own, made from its recording and continued
    along the road; it enters when its recording begins, leaves where its recording ends, and keeps the speed and headway it was seen to
    keep (`following`). Agents that never move become STATIC. Raises ValueError for another mode.
    """
    if mode == "log":
        return network, recording.agents
    if mode != "reactive":
        raise ValueError(f"mode={mode!r}: must be 'log' or 'reactive'")
    network, drivers = with_paths(network, recording), recorded_drivers(recording.agents)
    agents = []
    for agent in recording.agents:
        if agent.log is None:
            agents.append(agent)
        elif is_parked(agent.log):
            agents.append(replace(_at_first(agent, agent.log, recording.dt), role=Role.STATIC, log=None, speed=0.0))
        else:
            start = _at_first(agent, agent.log, recording.dt)
            agents.append(replace(start, role=Role.IDM, log=None, lane=path_id(agent), s=0.0, driver=drivers[agent.id]))
    return network, tuple(agents)


def is_parked(log: Log) -> bool:
    """Whether somebody never moves."""
    x, y, speed = log.x[log.valid], log.y[log.valid], log.speed[log.valid]
    return bool(np.hypot(x - x[0], y - y[0]).max() < STILL and np.abs(speed).max() < STILL)


def _at_first(agent: AgentSpec, log: Log, dt: float) -> AgentSpec:
    """`agent` placed where and when its recording begins."""
    k = int(np.argmax(log.valid))
    return replace(
        agent, x=float(log.x[k]), y=float(log.y[k]), yaw=float(log.yaw[k]), speed=max(float(log.speed[k]), 0.0), enter_time=k * dt
    )


def _path(network: RoadNetwork, agent: AgentSpec, log: Log, wanted: float, dt: float) -> Lane:
    """The lane along which `agent` was recorded, and where it would go from there."""
    points = np.stack([log.x[log.valid], log.y[log.valid]], axis=-1)
    kept = [points[0]]
    for point in points[1:]:
        if np.hypot(*(point - kept[-1])) >= STRIDE:
            kept.append(point)
    x, y = kept[-1]
    further = LEAVE
    if log.valid[-1]:  # still there at the end: as far as it can get at its desired speed
        present = len(log.valid) - int(np.argmax(log.valid))
        further += max(0.0, wanted * dt * present - float(arc_length(np.array(kept))[-1]))
    curve = smooth(np.concatenate([kept, onward(network, x, y, float(log.yaw[log.valid][-1]), further)]), None, None)
    s = arc_length(curve)
    at = np.linspace(0.0, s[-1], max(2, int(np.ceil(s[-1] / PATH_STEP)) + 1))
    centre = np.stack([np.interp(at, s, curve[:, 0]), np.interp(at, s, curve[:, 1])], axis=-1)
    return Lane(id=path_id(agent), centre=centre, width=agent.width, speed_limit=wanted, type=LaneType.PATH, end=LaneEnd.EXIT)


def boxes(agent: AgentSpec, ticks: int) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """The recorded boxes (T,) of polygons of an agent of role LOG or STATIC, and when it is there (T,) bool."""
    if agent.log is not None:
        row = np.minimum(np.arange(ticks), len(agent.log.x) - 1)
        pose = np.stack([agent.log.x[row], agent.log.y[row], agent.log.yaw[row]], axis=-1)
        there = agent.log.valid[row] & (np.arange(ticks) < len(agent.log.x))
    else:
        pose = np.broadcast_to([agent.x, agent.y, agent.yaw], (ticks, 3))
        there = np.ones(ticks, dtype=bool)
    half = np.array([agent.length, agent.width]) / 2.0
    corners = half * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])  # (4, 2)
    cos, sin = np.cos(pose[:, 2, None]), np.sin(pose[:, 2, None])
    x = pose[:, 0, None] + corners[:, 0] * cos - corners[:, 1] * sin  # (T, 4)
    y = pose[:, 1, None] + corners[:, 0] * sin + corners[:, 1] * cos
    polygons: NDArray[np.object_] = shapely.polygons(np.stack([x, y], axis=-1))
    return polygons, there


def recorded_collisions(episode: Episode) -> list[RecordedCollision]:
    """Collisions that the recording contains itself: overlaps among the LOG and STATIC agents of an episode at its ticks.

    The ego is left out, and so is everybody who drives by itself: what they do is decided in the simulation.
    """
    return collisions_among(episode.agents[1:], episode.dt)


def collisions_among(agents: Sequence[AgentSpec], dt: float) -> list[RecordedCollision]:
    """The same for the agents of a recording with rows every `dt` s."""
    agents = [agent for agent in agents if agent.role in (Role.LOG, Role.STATIC)]
    ticks = max((len(agent.log.x) for agent in agents if agent.log is not None), default=1)
    shapes = [boxes(agent, ticks) for agent in agents]
    found = []
    for (a, (box_a, there_a)), (b, (box_b, there_b)) in combinations(zip(agents, shapes, strict=True), 2):
        area = np.where(there_a & there_b, shapely.area(shapely.intersection(box_a, box_b)), 0.0)
        at = np.nonzero(area > OVERLAP)[0]
        if len(at):
            span = (float(at[0] * dt), float(at[-1] * dt))
            found.append(RecordedCollision(first=a.id, second=b.id, start=span[0], end=span[1], area=float(area.max())))
    return found
