"""Episodes turned into tensors: one bank row per episode, each distinct road network and recording held once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from envs.driving.lanes import lane_field, lane_point, route_field
from envs.driving.maps import compile_maps, destination_index
from envs.driving.traffic import Features
from envs.driving.types import DrivingConfig, Logs, Maps, Setup
from scenarios.episode import Action, AgentSpec, Driver, Episode, Role, Trigger
from scenarios.kinds import KIND_SPECS
from scenarios.network import LaneType, RoadNetwork

__all__ = ["Bank", "build_bank"]

AREA_MARGIN = 0.5  # m beside a lane within which a recorded agent still counts as on it
FACING = np.deg2rad(60.0)  # largest angle between a recorded agent and the lane it is put on


@dataclass(frozen=True, kw_only=True)
class Bank:
    """A set of episodes, ready to run. Rows R."""

    episodes: tuple[Episode, ...]
    networks: tuple[RoadNetwork, ...]
    setup: Setup  # (R, ...)
    maps: Maps
    logs: Logs
    features: Features

    def __len__(self) -> int:
        return len(self.episodes)


def build_bank(episodes: Sequence[Episode], config: DrivingConfig, also: Mapping[str, RoadNetwork] | None = None) -> Bank:
    """Compile episodes for `config`. also: road networks by key to hold even if no episode needs them, so that banks are of one shape.

    Raises ValueError for no episodes, more agents than `config.agents`, a tick unlike `config.dt`, unknown lanes or destinations.
    """
    if not episodes:
        raise ValueError("no episodes: at least one is needed")
    networks = dict(also or {})
    for episode in episodes:
        networks.setdefault(episode.network_key, episode.network)
    keys = {key: i for i, key in enumerate(networks)}
    places = tuple(networks.values())
    maps = compile_maps(places)
    lanes = [{lane.id: i for i, lane in enumerate(place.lanes)} for place in places]
    logs, log_ids = _logs(episodes, [keys[e.network_key] for e in episodes], places, config.agents)
    rows = []
    for i, episode in enumerate(episodes):
        m = keys[episode.network_key]
        rows.append(_row(episode, m, int(log_ids[i]), places[m], lanes[m], config))
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    setup = _placed(Setup(**{n: _tensor(columns[n]) for n in Setup._fields}), maps, config.dt)
    return Bank(episodes=tuple(episodes), networks=places, setup=setup, maps=maps, logs=logs, features=_features(setup, maps))


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32) if values.dtype == np.float64 else values)


def _row(
    episode: Episode, m: int, log_id: int, network: RoadNetwork, lanes: dict[str, int], config: DrivingConfig
) -> dict[str, NDArray[np.generic]]:
    """One episode as arrays; poses of agents placed on lanes are filled in by `_placed`."""
    where = f"{episode.scenario} (seed {episode.seed})"
    if len(episode.agents) > config.agents:
        raise ValueError(f"{where}: {len(episode.agents)} agents do not fit into agents={config.agents}")
    if abs(episode.dt - config.dt) > 1e-9:
        raise ValueError(f"{where}: recorded at dt={episode.dt} s, the simulator is set to dt={config.dt} s")
    a, dt = config.agents, episode.dt
    ticks = round(episode.duration / dt)
    floats = {
        name: np.zeros(a)
        for name in (
            "x y yaw speed s d desired_speed script_magnitude script_until trigger_value politeness change_threshold keep_right"
            " safe_decel reverse_max"
        ).split()
    }
    # an empty slot holds harmless numbers, so that arithmetic on it stays finite
    floats |= {
        name: np.ones(a)
        for name in (
            "route_length length width wheelbase speed_max accel_max brake_max steer_max speed_factor headway min_gap accel decel"
        ).split()
    }
    integers = {name: np.zeros(a, dtype=np.int64) for name in "kind enter goal trigger script".split()}
    integers |= {"role": np.full(a, int(Role.STATIC)), "lane": np.full(a, -1), "goal_kind": np.ones(a, dtype=np.int64)}
    flags = {name: np.zeros(a, dtype=bool) for name in "exists changes_lanes yields reckless".split()}
    out: dict[str, NDArray[np.generic]] = {**floats, **integers, **flags}
    for i, agent in enumerate(episode.agents):
        for name, value in _agent(agent, network, lanes, dt, where).items():
            out[name][i] = value
    goal, region = episode.goal, np.array([0, 0, 0, 1, 1, 0, np.pi, -np.inf, np.inf], dtype=np.float64)
    if goal.region is not None:
        r = goal.region
        region = np.array([r.x, r.y, r.yaw, r.length, r.width, r.heading, r.heading_tolerance, r.speed_min, r.speed_max])
    kind = 2 if goal.region is not None else 1 if goal.destination is not None else 0
    out["goal_kind"][0], out["goal"][0] = kind, destination_index(network, goal.destination)
    latest = ticks if not np.isfinite(goal.time_max) else min(ticks, round(goal.time_max / dt))
    out |= {
        "map_id": np.array(m),
        "log_id": np.array(log_id),
        "seed": np.array(episode.seed),
        "duration": np.array(ticks),
        "region": region,
        "goal_window": np.array([round(goal.time_min / dt), latest]),
    }
    return out


def _agent(agent: AgentSpec, network: RoadNetwork, lanes: dict[str, int], dt: float, where: str) -> dict[str, float | int | bool]:
    """The columns of one agent."""
    if agent.lane is not None and agent.lane not in lanes:
        raise ValueError(f"{where}: agent {agent.id!r} is on lane {agent.lane!r}, which the map does not have")
    spec, script = KIND_SPECS[agent.kind], agent.script
    driver = agent.driver or Driver(desired_speed=spec.speed_max)
    valid_at_start = agent.log is None or bool(agent.log.valid[0])
    return {
        "exists": True,
        "kind": int(agent.kind),
        "role": int(agent.role),
        "length": agent.length,
        "width": agent.width,
        "wheelbase": agent.wheelbase,
        "speed_max": spec.speed_max,
        "accel_max": spec.accel_max,
        "brake_max": spec.brake_max,
        "steer_max": spec.steer_max,
        "reverse_max": spec.reverse_max,
        "x": agent.x,
        "y": agent.y,
        "yaw": agent.yaw,
        "speed": agent.speed,
        "lane": -1 if agent.lane is None else lanes[agent.lane],
        "s": agent.s,
        "d": agent.d,
        "enter": round(agent.enter_time / dt) if valid_at_start else 1,
        "goal": destination_index(network, agent.destination),
        **{
            name: getattr(driver, name)
            for name in (
                "desired_speed speed_factor headway min_gap accel decel politeness change_threshold keep_right safe_decel"
                " changes_lanes yields"
            ).split()
        },
        "trigger": int(Trigger.NONE if script is None else script.trigger),
        "trigger_value": 0.0 if script is None else script.value,
        "script": int(Action.NONE if script is None else script.action),
        "script_magnitude": 0.0 if script is None else script.magnitude,
        "script_until": 0.0 if script is None else script.until,
        "reckless": script is not None and script.reckless,
    }


def _angle(cos: Tensor, sin: Tensor) -> Tensor:
    """Angle of (cos, sin) in [-pi, pi], by half the angle to the nearer of +x and -x.

    Not atan2: it rounds differently in a batch's tail.
    """
    half = torch.atan(sin / (torch.hypot(cos, sin) + cos.abs()).clamp(min=1e-6))
    return torch.where(cos >= 0.0, 2.0 * half, torch.where(sin >= 0.0, torch.pi, -torch.pi) - 2.0 * half)


def _placed(setup: Setup, maps: Maps, dt: float) -> Setup:
    """Poses of the agents that were placed on lanes, and the lengths of the routes."""
    p = lane_point(maps, setup.map_id, setup.lane, setup.s)
    on = (setup.lane >= 0) & (setup.role != int(Role.LOG)) & (setup.x == 0.0) & (setup.y == 0.0) & (setup.yaw == 0.0)
    setup = setup._replace(
        x=torch.where(on, p[..., 0] - p[..., 3] * setup.d, setup.x),
        y=torch.where(on, p[..., 1] + p[..., 2] * setup.d, setup.y),
        yaw=torch.where(on, _angle(p[..., 2], p[..., 3]), setup.yaw),
    )
    route = route_field(maps.to_go, setup.map_id, setup.goal, setup.lane) - setup.s
    straight = torch.hypot(setup.region[:, :1] - setup.x, setup.region[:, 1:2] - setup.y)
    allowed = torch.where(setup.lane >= 0, lane_field(maps.lane_limit, setup.map_id, setup.lane) * setup.speed_factor, torch.inf)
    lasting = torch.minimum(setup.desired_speed, allowed) * setup.duration.unsqueeze(1) * dt
    length = torch.where((setup.goal_kind == 2) & (setup.goal == 0), straight, route)
    length = torch.where(setup.goal_kind == 0, lasting, torch.where(torch.isfinite(length), length, straight))
    return setup._replace(route_length=length.clamp(min=1.0))


def _features(setup: Setup, maps: Maps) -> Features:
    """What can occur in these episodes at all."""
    idm = setup.exists & (setup.role <= int(Role.IDM))
    return Features(
        conflicts=bool(torch.isfinite(maps.conflict[..., 0]).any()),
        lights=bool((maps.stop_light >= 0).any()),
        logs=bool((setup.log_id >= 0).any()),
        scripts=bool((setup.script > 0).any()),
        lane_changes=bool((idm & setup.changes_lanes).any()) and bool(((maps.lane_left >= 0) | (maps.lane_right >= 0)).any()),
        paths=bool(((lane_field(maps.lane_type, setup.map_id, setup.lane) == int(LaneType.PATH)) & (setup.lane >= 0)).any()),
        regions=bool((setup.goal_kind == 2).any()),
        entries=bool(((setup.enter > 0) & (setup.role != int(Role.LOG))).any()),
    )


def _logs(episodes: Sequence[Episode], maps: Sequence[int], networks: Sequence[RoadNetwork], agents: int) -> tuple[Logs, NDArray[np.int64]]:
    """Distinct recordings as tensors, and the row of each episode (-1: none). Episodes that share Log objects share a row."""
    found: dict[tuple[int, ...], int] = {}
    chosen: list[tuple[Episode, int]] = []
    rows = np.full(len(episodes), -1, dtype=np.int64)
    for i, episode in enumerate(episodes):
        if any(agent.role == Role.LOG for agent in episode.agents):
            key = tuple(id(agent.log) for agent in episode.agents)
            if key not in found:
                found[key] = len(chosen)
                chosen.append((episode, maps[i]))
            rows[i] = found[key]
    ticks = max((len(a.log.x) for e, _ in chosen for a in e.agents if a.log is not None), default=1)
    size = (max(1, len(chosen)), agents, ticks)
    pose, valid = np.zeros((*size, 4)), np.zeros(size, dtype=bool)
    lane, s = np.full(size, -1, dtype=np.int64), np.zeros(size)
    for r, (episode, m) in enumerate(chosen):
        finder = _LaneFinder(networks[m])
        for i, agent in enumerate(episode.agents):
            if agent.role != Role.LOG:
                continue
            if agent.log is None:
                raise ValueError(f"{episode.scenario}: agent {agent.id!r} has the role LOG but no recording")
            log, t = agent.log, len(agent.log.x)
            pose[r, i, :t] = np.stack([log.x, log.y, log.yaw, log.speed], axis=-1)
            pose[r, i, t:] = pose[r, i, t - 1]
            valid[r, i, :t] = log.valid
            lane[r, i, :t], s[r, i, :t] = finder(log.x, log.y, log.yaw)
    return Logs(pose=_tensor(pose), lane=_tensor(lane), s=_tensor(s), valid=_tensor(valid)), rows


class _LaneFinder:
    """Nearest lane with a fitting direction, for recorded poses."""

    def __init__(self, network: RoadNetwork) -> None:
        points, lanes, along, headings, widths = [], [], [], [], []
        for i, lane in enumerate(network.lanes):
            if lane.type in (LaneType.PATH, LaneType.OVERTAKE):
                continue
            delta = np.diff(lane.centre, axis=0)
            steps = np.hypot(*delta.T)
            s = np.concatenate([[0.0], np.cumsum(steps)])
            at = np.linspace(0.0, s[-1], max(2, int(s[-1]) + 1))
            points.append(np.stack([np.interp(at, s, lane.centre[:, 0]), np.interp(at, s, lane.centre[:, 1])], axis=-1))
            segment = np.clip(np.searchsorted(s, at, side="right") - 1, 0, len(delta) - 1)
            headings.append(np.arctan2(delta[segment, 1], delta[segment, 0]))
            along.append(at)
            lanes.append(np.full(len(at), i))
            widths.append(np.full(len(at), lane.width))
        self.empty = not points
        if not self.empty:
            self.tree = cKDTree(np.concatenate(points))
            self.lane, self.s = np.concatenate(lanes), np.concatenate(along)
            self.heading, self.width = np.concatenate(headings), np.concatenate(widths)

    def __call__(
        self, x: NDArray[np.float64], y: NDArray[np.float64], yaw: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Lane index (-1 none) and s, each (T,)."""
        if self.empty:
            return np.full(len(x), -1, dtype=np.int64), np.zeros(len(x))
        k = min(12, len(self.lane))
        distance, index = self.tree.query(np.stack([x, y], axis=-1), k=k)
        distance, index = np.asarray(distance).reshape(len(x), k), np.asarray(index).reshape(len(x), k)
        turn = np.abs((self.heading[index] - yaw[:, None] + np.pi) % (2 * np.pi) - np.pi)
        fits = (turn < FACING) & (distance < 0.5 * self.width[index] + AREA_MARGIN)
        best = np.where(fits, distance, np.inf).argmin(1)
        row = np.arange(len(x))
        found = fits[row, best]
        chosen = index[row, best]
        return np.where(found, self.lane[chosen], -1), np.where(found, self.s[chosen], 0.0)
