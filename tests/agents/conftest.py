"""Two hand-made episodes with made-up motion, for the tests of traces, pictures and the player: no simulator involved."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from agents.playback.beliefs import BELIEF_FIELDS, About, Beliefs, hashes
from agents.playback.sight import Sight
from agents.playback.trace import OUT_FIELDS, STATE_FIELDS, Trace
from envs.driving.scenery import light_states_at
from envs.driving.types import DrivingConfig
from scenarios.episode import AgentSpec, Episode, Goal, Role
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.network import Bay, Box, Lane, LaneEnd, LaneType, Light, LightState, Mark, RoadNetwork, StopLine

SLOTS = 32
Path = Callable[[float], tuple[float, float, float]]  # time s -> x, y, speed


def _spec(kind: Kind, role: Role, name: str) -> AgentSpec:
    size = KIND_SPECS[kind]
    return AgentSpec(kind=kind, role=role, id=name, length=size.length, width=size.width, wheelbase=size.wheelbase)


def make_trace(
    episode: Episode, paths: list[Path], *, steps: int, events: dict[str, int] | None = None, gone: dict[int, int] | None = None
) -> Trace:
    """A sealed trace of agents that follow `paths`. events: Out flag -> step; gone: slot -> state from which it has left."""
    config = DrivingConfig(agents=SLOTS, ticks_per_step=2)
    dt, count, n = config.dt * config.ticks_per_step, steps + 1, len(paths)
    shapes = {"A": SLOTS, "N": 1, "GL": len(episode.network.lights)}
    states = {name: np.zeros((count, *(shapes[a] for a in axes)), dtype) for name, (dtype, axes) in STATE_FIELDS.items()}
    outs = {name: np.zeros((steps, *(shapes[a] for a in axes)), dtype) for name, (dtype, axes) in OUT_FIELDS.items()}
    for k in range(count):
        t = k * dt
        states["step"][k] = 2 * k
        states["lights"][k] = light_states_at(episode.network, t)
        for i, path in enumerate(paths):
            (x, y, speed), (x1, y1, speed1), (x0, y0, _) = path(t), path(t + 0.05), path(t - 0.05)
            states["x"][k, i], states["y"][k, i], states["speed"][k, i] = x, y, speed
            states["accel"][k, i] = (speed1 - speed) / 0.05
            moving = math.hypot(x1 - x0, y1 - y0) > 1e-3
            states["yaw"][k, i] = math.atan2(y1 - y0, x1 - x0) if moving else states["yaw"][max(k - 1, 0), i]
    states["valid"][:, :n] = True
    states["lane"][:] = -1
    states["lane"][:, :n] = 0
    for slot, k in (gone or {}).items():
        states["valid"][k:, slot] = False
    for name, k in (events or {}).items():
        outs[name][k - 1] = True
    outs["progress"][:, 0] = np.hypot(np.diff(states["x"][:, 0]), np.diff(states["y"][:, 0]))
    metrics = {"success": 1.0, "collision": 0.0, "route_progress": 0.97, "ttc_min": math.inf, "driving_score": 0.95, "comfort": 1.0}
    return Trace(
        episode=episode,
        config=config,
        actions=np.zeros((steps, 1, 2), np.float32),
        states=states,
        outs=outs,
        metrics=metrics,
        policy="idm",
        closedloop="0.1.0",
        torch="2.13.0",
        command=f"closedloop eval idm --scenario {episode.scenario} --seed {episode.seed}",
    ).sealed()


def _bend(x: float, y0: float) -> tuple[float, float, float]:
    """A road that winds: a lane y0 m left of the middle line. Returns x, y and heading."""
    heading = math.atan(0.9 * math.cos(x / 90.0) * 0.55)
    return x - y0 * math.sin(heading), 0.55 * 0.9 * 90.0 * math.sin(x / 90.0) + y0 * math.cos(heading), heading


def _highway(name: str) -> Episode:
    lanes = []
    for i in range(3):
        centre = np.array([_bend(x, 3.5 * (i - 1))[:2] for x in np.arange(0.0, 701.0, 4.0)])
        lanes.append(
            Lane(
                id=f"road.{i}",
                centre=centre,
                speed_limit=30.0,
                end=LaneEnd.EXIT,
                left=f"road.{i + 1}" if i < 2 else None,
                right=f"road.{i - 1}" if i > 0 else None,
                left_mark=Mark.DASHED if i < 2 else Mark.SOLID,
                right_mark=Mark.DASHED if i > 0 else Mark.SOLID,
            )
        )
    network = RoadNetwork(lanes=tuple(lanes), destinations={"end": (("road.0", math.inf), ("road.1", math.inf), ("road.2", math.inf))})
    kinds = [Kind.CAR, Kind.CAR, Kind.TRUCK, Kind.CAR, Kind.BUS, Kind.MOTORCYCLE, *[Kind.CAR] * 14]
    agents = tuple(_spec(k, Role.LEARNER if i == 0 else Role.IDM, f"v{i}") for i, k in enumerate(kinds))
    return Episode(scenario=name, seed=42, duration=24.0, network=network, network_key="h", agents=agents, goal=Goal(destination="end"))


def _highway_paths() -> list[Path]:
    def follow(start: float, speed: float, lane: Callable[[float], float]) -> Path:
        def path(t: float) -> tuple[float, float, float]:
            ramp = max(t, 0.0) if start == 60.0 else 0.0
            v = speed - 4.0 * math.sin(0.5 * ramp) ** 2
            x = start + speed * t - (2.0 * ramp - 2.0 * math.sin(ramp))
            return (*_bend(x * 0.93, lane(t))[:2], v)

        return path

    def change(t: float) -> float:
        u = min(max((t - 6.0) / 4.0, 0.0), 1.0)
        return 3.5 * (3 * u * u - 2 * u**3)

    paths = [
        follow(60.0, 24.0, change),
        follow(95.0, 21.0, lambda t: 0.0),
        follow(70.0, 18.0, lambda t: -3.5),
        follow(50.0, 27.0, lambda t: 3.5),
    ]
    paths += [follow(20.0, 19.0, lambda t: -3.5), follow(110.0, 26.0, lambda t: 3.4)]
    return paths + [follow(10.0 + 37.0 * k, 20.0 + k % 3 * 2, lambda t, k=k: 3.5 * (k % 3 - 1)) for k in range(1, 15)]  # type: ignore[misc]


def _junction(name: str) -> Episode:
    lanes, lights, crosswalks = [], [], []
    for arm in range(4):
        c, s = math.cos(arm * math.pi / 2), math.sin(arm * math.pi / 2)
        turn = np.array([[c, s], [-s, c]])
        for label, points, end in (
            ("in", [[70.0, 1.75], [12.0, 1.75]], LaneEnd.CONTINUE),
            ("out", [[12.0, -1.75], [70.0, -1.75]], LaneEnd.EXIT),
        ):
            stop = StopLine(s=54.0, light=f"l{arm}") if label == "in" else None
            centre = np.array(points) @ turn
            lanes.append(
                Lane(id=f"{label}{arm}.0", centre=centre, speed_limit=13.9, end=end, left_mark=Mark.SOLID, right_mark=Mark.KERB, stop=stop)
            )
        for target, bulge in ((2, 0.0), (1, 8.0), (3, -8.0)):
            other = (arm + target) % 4 * math.pi / 2
            a, b = (
                np.array([12.0, 1.75]) @ turn,
                np.array([[12.0, -1.75]]) @ np.array([[math.cos(other), math.sin(other)], [-math.sin(other), math.cos(other)]]),
            )
            u = np.linspace(0.0, 1.0, 25)[:, None]
            middle = np.zeros(2) if bulge else 0.5 * (a + b[0])
            points_ = (1 - u) ** 2 * a + 2 * u * (1 - u) * middle + u**2 * b[0]
            lanes.append(
                Lane(
                    id=f"x{arm}{target}.0",
                    centre=points_,
                    speed_limit=9.0,
                    type=LaneType.JUNCTION,
                    left_mark=Mark.NONE,
                    right_mark=Mark.NONE,
                )
            )
        red, green = (LightState.RED, 12.0), (LightState.GREEN, 9.0)
        phases = (green, (LightState.YELLOW, 2.0), red, (LightState.RED_YELLOW, 1.0))
        x, y = np.array([15.0, 4.6]) @ turn
        lights.append(Light(id=f"l{arm}", x=x, y=y, heading=arm * math.pi / 2 + math.pi, phases=phases, offset=12.0 * (arm % 2)))
        crosswalks.append(np.array([[13.0, -3.5], [13.0, 3.5], [15.5, 3.5], [15.5, -3.5]])[:, :] @ turn)
        walk = np.array([[14.25, -9.0], [14.25, 9.0]]) @ turn
        lanes.append(
            Lane(
                id=f"walk{arm}.0", centre=walk, width=2.5, speed_limit=2.0, type=LaneType.WALKWAY, left_mark=Mark.NONE, right_mark=Mark.NONE
            )
        )
    boxes = tuple(Box(x=24.0 * i, y=22.0 * j, yaw=0.1 * i * j, length=20.0, width=16.0) for i in (-1, 1) for j in (-1, 1))
    hedge = Box(x=45.0, y=-7.0, yaw=0.0, length=20.0, width=1.6, height=1.5, kind="hedge")
    network = RoadNetwork(
        lanes=tuple(lanes),
        lights=tuple(lights),
        crosswalks=tuple(crosswalks),
        occluders=(*boxes, hedge),
        areas=(np.array([[40.0, 3.5], [62.0, 3.5], [62.0, 9.0], [40.0, 9.0]]),),
        bays=tuple(Bay(id=f"b{i}", x=42.0 + 2.6 * i, y=6.3, yaw=math.pi / 2, length=5.2, width=2.5) for i in range(8)),
        destinations={"west": (("out2.0", 50.0),)},
    )
    kinds = [Kind.CAR, Kind.CAR, Kind.BUS, Kind.BICYCLE, Kind.MOTORCYCLE, Kind.PEDESTRIAN, Kind.PEDESTRIAN, Kind.TRUCK, Kind.CAR]
    roles = [Role.LEARNER, *[Role.IDM] * 7, Role.STATIC]
    agents = tuple(_spec(k, r, f"v{i}") for i, (k, r) in enumerate(zip(kinds, roles, strict=True)))
    return Episode(scenario=name, seed=7, duration=20.0, network=network, network_key="j", agents=agents, goal=Goal(destination="west"))


def _junction_paths() -> list[Path]:
    def ego(t: float) -> tuple[float, float, float]:
        v, brake = 9.0, 2.5
        t_stop = v / brake
        if t < 2.0:
            return 48.0 - v * t, 1.75, v
        if t < 2.0 + t_stop:
            u = t - 2.0
            return 48.0 - 18.0 - v * u + 0.5 * brake * u * u, 1.75, v - brake * u
        u = max(t - 9.0, 0.0)
        return 48.0 - 18.0 - 0.5 * v * t_stop - u * u, 1.75, 2.0 * u

    def straight(x: float, y: float, vx: float, vy: float) -> Path:
        return lambda t: (x + vx * t, y + vy * t, math.hypot(vx, vy))

    return [
        ego,
        straight(-70.0, -1.75, 7.0, 0.0),
        straight(1.75, -68.0, 0.0, 6.0),
        straight(2.9, -30.0, 0.0, 4.0),
        straight(-1.75, 60.0, 0.0, -8.0),
        straight(14.3, -8.0, 0.0, 1.2),
        straight(-14.3, 8.5, 0.0, -1.0),
        straight(-1.75, 90.0, 0.0, -7.0),
        straight(44.6, 6.3, 0.0, 1e-9),
    ]


@pytest.fixture(scope="session")
def highway_trace() -> Trace:
    """20 road users on three winding lanes, 24 s; the ego changes lanes."""
    return make_trace(_highway("highway/hard"), _highway_paths(), steps=120, events={"arrived": 120}, gone={19: 60})


@pytest.fixture(scope="session")
def junction_trace() -> Trace:
    """A crossing with lights, crosswalks, buildings and one of each kind, 20 s; the ego stops and goes."""
    return make_trace(_junction("signals"), _junction_paths(), steps=75, events={"red_light": 64, "arrived": 75})


@pytest.fixture(scope="session")
def rename() -> Callable[[str], Trace]:
    """The junction under another scenario name."""
    return lambda name: make_trace(_junction(name), _junction_paths(), steps=20)


BRIEF = """
version: 1
name: brief
duration: 2 s
maps: 2
road: {kind: highway, lanes: 2, length: {uniform: ["300 m", "400 m"]}}
ego: {lane: main.0, s: {uniform: ["20 m", "60 m"]}, speed: 15 m/s}
traffic:
  - fill: {lanes: [main.0, main.1], spacing: 60 m}
variants:
  easy: {duration: 1 s}
  hard: {duration: 3 s}
"""


@pytest.fixture
def brief(tmp_path: pathlib.Path) -> str:
    """A scenario file of our own whose episodes are soon over."""
    (tmp_path / "brief.yaml").write_text(BRIEF)
    return str(tmp_path / "brief.yaml")


GHOST, CARRIED, FOUND = (21.0, -8.0), (40.0, 9.0), (62.0, 30.0, 92.0, 52.0)  # an invented track, one not seen now, m; a box, px
TINT = (40, 120, 200)  # RGB of every picture


def _eyes_of(trace: Trace) -> tuple[Beliefs, Sight]:
    """Agent 1 is believed half a metre ahead of where it is, agent 7 missed; track 99 is invented, track 50 not seen now."""
    about = About(T=4, D=3, M=2, C=1, times=(1.0, 2.0, 3.0), classes=(*(kind.name.lower() for kind in Kind), "light"))
    count, sizes = trace.steps + 1, about.sizes()
    shapes = {name: tuple(a if isinstance(a, int) else sizes[a] for a in axes) for name, (_, axes) in BELIEF_FIELDS.items()}
    arrays = {name: np.zeros((count, *shapes[name]), dtype) for name, (dtype, _) in BELIEF_FIELDS.items()}
    picture = np.broadcast_to(np.array(TINT, np.uint8), (count, 1, 96, 160, 3)).copy()
    arrays["image"][:] = hashes(np.moveaxis(picture[0], -1, 1))
    arrays["track_light"][:] = arrays["found_light"][:] = -1
    arrays["track_mask"][:, :3], arrays["track_id"][:, :3] = True, (11, 99, 50)
    arrays["track_score"][:, :3], arrays["track_size"][:, :3] = (0.9, 0.6, 0.7), (4.6, 1.9, 1.5)
    arrays["track_covariance"][:, :3] = (4.0, 0.0, 1.0)
    arrays["track_unseen"][:, 2] = 3
    x, y, yaw = (trace.states[name][:, :2].astype(np.float64) for name in ("x", "y", "yaw"))
    dx, dy, cos, sin = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0], np.cos(yaw[:, 0]), np.sin(yaw[:, 0])
    arrays["track_yaw"][:, 0] = yaw[:, 1] - yaw[:, 0]
    arrays["track_place"][:, 0] = np.stack([dx * cos + dy * sin + 0.5, dy * cos - dx * sin], axis=-1)
    arrays["track_place"][:, 1], arrays["track_place"][:, 2] = GHOST, CARRIED
    arrays["path_mask"][:, :2], arrays["path_probability"][:, :2] = True, (0.95, 0.05)
    arrays["path"][:, 1] = GHOST + np.array([[0.0, 5.0], [0.0, 10.0], [0.0, 15.0]])
    steps = np.array([[12.0, 0.0], [24.0, 0.0], [36.0, 0.0]])
    arrays["path"][:, 0] = arrays["track_place"][:, 0, None, None] + np.stack([steps, steps + np.array([[0, 1], [0, 3], [0, 6]])])
    arrays["found_mask"][:, 0], arrays["found_score"][:, 0] = True, 0.93
    arrays["found_box"][:, 0] = arrays["track_box"][:, 0] = FOUND
    visible = np.zeros((count, len(trace.episode.agents)), bool)
    visible[:, [1, 7]] = True
    body, track = np.full((count, 4), -2), np.full((count, 3), -1)
    body[:, :3], track[:, 0] = (1, -1, 3), 0
    camera = np.array([[95.3, 80.0, 40.3, 0.6, 0.0, 1.45, 0.0]])
    sight = Sight(images=picture, same=True, names=("front",), cameras=camera, visible=visible, body=body, track=track)
    return Beliefs(about=about, arrays=arrays), sight


@pytest.fixture(scope="session")
def sighted(highway_trace: Trace) -> tuple[Trace, Sight]:
    """The highway with made-up beliefs, and what there was to be seen."""
    beliefs, sight = _eyes_of(highway_trace)
    return dataclasses.replace(highway_trace, beliefs=beliefs).sealed(), sight


MINI = """
version: 1
name: mini
episodes: 12
metrics:
  - {metric: success, margin: 0.25, priority: 1}
  - {metric: route_progress, margin: 0.3}
entries:
  - {scenario: brief.yaml}
  - {scenario: brief.yaml/easy, family: short}
"""


@pytest.fixture
def mini(brief: str, tmp_path: pathlib.Path) -> str:
    """A suite of two strata in two families, 24 pairs of episodes that are soon over."""
    (tmp_path / "mini.yaml").write_text(MINI)
    return str(tmp_path / "mini.yaml")
