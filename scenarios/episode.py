"""One concrete episode: a scenario with every distribution drawn. Plain data, no torch; the driving core compiles it.

Slot 0 is the ego. Times in s, lengths in m, speeds in m/s, angles in rad, world frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scenarios.kinds import Kind
from scenarios.network import RoadNetwork

__all__ = ["Action", "AgentSpec", "Driver", "Episode", "Goal", "Log", "Region", "Role", "Script", "Trigger"]


class Role(IntEnum):
    """Who moves an agent."""

    LEARNER = 0  # the policy
    IDM = 1  # the traffic model: IDM + MOBIL along lanes, right of way, lights
    LOG = 2  # replays its recording, whatever happens
    STATIC = 3  # never moves (parked car, obstacle)


class Trigger(IntEnum):
    """When a script fires. `value` is in the unit given."""

    NONE = 0
    TIME = 1  # s since the start
    DISTANCE = 2  # m, centre to centre, to the ego: fires when closer
    AHEAD = 3  # m: fires when the agent is less than `value` ahead of the ego along the ego's heading (negative: behind)
    TTC = 4  # s: fires when (distance along ego heading) / (ego's closing speed) drops below


class Action(IntEnum):
    """What a fired script does."""

    NONE = 0
    CHANGE_LEFT = 1  # change to the left neighbour lane now, without asking (cut-in)
    CHANGE_RIGHT = 2
    BRAKE = 3  # brake at `magnitude` m/s^2 down to `until` m/s and stay there
    GO = 4  # start moving to the desired speed (step-out): before it fires the agent stands still
    SPEED = 5  # new desired speed `magnitude` m/s


@dataclass(frozen=True, kw_only=True)
class Script:
    """One scripted event of an agent."""

    trigger: Trigger
    value: float
    action: Action
    magnitude: float = 0.0
    until: float = 0.0
    reckless: bool = False  # after firing, the agent ignores others (a child running out, a hard cut-in)


@dataclass(frozen=True, kw_only=True)
class Driver:
    """Parameters of the traffic model for one agent (Treiber et al. 2000; Kesting et al. 2007)."""

    desired_speed: float  # m/s, v0; also bounded by the lane's speed limit times speed_factor
    speed_factor: float = 1.0  # times the posted limit
    headway: float = 1.5  # s, T
    min_gap: float = 2.0  # m, s0
    accel: float = 1.5  # m/s^2, a
    decel: float = 2.0  # m/s^2, comfortable b
    politeness: float = 0.3  # p
    change_threshold: float = 0.2  # m/s^2, gain needed to change lanes
    keep_right: float = 0.0  # m/s^2, bias to the right lane
    safe_decel: float = 3.0  # m/s^2, most a lane change may cost the new follower
    changes_lanes: bool = True
    yields: bool = True  # False: ignores right of way (a reckless driver)


@dataclass(frozen=True, kw_only=True)
class Log:
    """A recording, one row per tick of the episode's dt, starting at the episode's time 0."""

    x: NDArray[np.float64]  # (T,) m
    y: NDArray[np.float64]  # (T,)
    yaw: NDArray[np.float64]  # (T,) rad
    speed: NDArray[np.float64]  # (T,) m/s
    valid: NDArray[np.bool_]  # (T,)


@dataclass(frozen=True, kw_only=True)
class AgentSpec:
    """One agent at the start of the episode. Placed on a lane (lane, s, d) or, where lane is None, at (x, y, yaw)."""

    kind: Kind = Kind.CAR
    role: Role = Role.IDM
    id: str = ""
    length: float  # m
    width: float  # m
    wheelbase: float  # m
    lane: str | None = None
    s: float = 0.0
    d: float = 0.0  # m, left positive
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    speed: float = 0.0
    destination: str | None = None  # a name in RoadNetwork.destinations; None: any exit
    enter_time: float = 0.0  # s; later entrants wait outside until their place is clear
    driver: Driver | None = None  # needed for IDM; for the ego it is used by the IDM baseline
    script: Script | None = None
    log: Log | None = None  # needed for LOG


@dataclass(frozen=True, kw_only=True)
class Region:
    """An oriented rectangle to reach, with optional heading and speed bounds."""

    x: float
    y: float
    yaw: float = 0.0
    length: float  # m along yaw
    width: float  # m
    heading: float = 0.0  # rad, wanted heading
    heading_tolerance: float = np.pi  # rad, pi: any
    speed_min: float = -np.inf  # m/s
    speed_max: float = np.inf


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What counts as arriving: a destination along the lane graph, a region, or, with neither, lasting until the end."""

    destination: str | None = None
    region: Region | None = None
    time_min: float = 0.0  # s; arriving earlier does not count
    time_max: float = np.inf  # s; arriving later does not count


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A concrete episode."""

    scenario: str  # name, with the variant: "merge/hard"
    seed: int
    duration: float  # s; the episode is truncated then
    dt: float = 0.1  # s, physics tick
    network: RoadNetwork
    network_key: str  # equal keys mean equal networks: maps are compiled once per key
    agents: tuple[AgentSpec, ...]  # [0] is the ego, at most 64
    goal: Goal
    drawn: dict[str, bool | float | str] = field(default_factory=dict)  # the parameters that were drawn, by path, for reports
