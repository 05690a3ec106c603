"""Labelled frames without end: episodes of the whole library, driven by the traffic model, seen in all weathers.

A block is some dozens of episodes, simulated once, with a snapshot every second. A sample draws worlds, instants, who carries the camera,
weather, paint and mount anew, so that a block gives many thousands of different frames. To see enough of what is rare on the road, some
cars are exchanged for other road users, and some people and vehicles are put beside the road (`extras`).

Everything follows from the seed: sample(seed, count) is the same whatever was sampled before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import scenarios
from envs.driving.bank import build_bank
from envs.driving.camera.config import CLASSES, CONDITIONS, MOUNTS, SEMANTICS, CameraConfig
from envs.driving.camera.labelling import labels
from envs.driving.camera.portions import portions
from envs.driving.camera.rendering import Rendered, compiled_render, render, sensor_frame
from envs.driving.camera.scenery import SceneryTables, build_scenery
from envs.driving.camera.weather import Weather, draw_weather
from envs.driving.make import fit, load_scenarios
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Maps, Setup, State
from perception.states import move
from perception.training.stream import Sample
from perception.types import Labels, SensorFrame
from scenarios.episode import Role
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.traffic import limit_agents

__all__ = ["DrivingStream"]

FAMILIES = ("crossing", "signals", "signals", "junction")  # drawn more often than the rest: people, lights, signs
WORLDS = 48  # of a block
BLOCK = 128  # seeds that share a block: simulating one takes as long as drawing ten thousand frames
AGENTS = 32  # road users simulated, those most likely to come before the ego's camera: a camera shows half of them at most
SECONDS = 20  # s simulated
EVERY = 10  # ticks between snapshots
EPISODE_SEED = 3_000_000  # of the first episode: neither those for judging nor those policies are trained on
AROUND = 3  # every so many seeds all four cameras
EXTRAS = 6  # things put beside the road of each world, at most
SLOTS = 64
T = TypeVar("T", Setup, State)
# fields of State and Setup that are (B, A)
PER_AGENT = frozenset(State._fields) | frozenset(Setup._fields)
PER_AGENT -= {"step", "stats", "map_id", "log_id", "seed", "duration", "region", "goal_window"}
# what cars become: kind, share of all cars
EXCHANGE = ((Kind.TRUCK, 0.10), (Kind.BUS, 0.10), (Kind.MOTORCYCLE, 0.10), (Kind.BICYCLE, 0.10))
BESIDE = ((Kind.PEDESTRIAN, 0.4), (Kind.BICYCLE, 0.21), (Kind.MOTORCYCLE, 0.17), (Kind.BUS, 0.10), (Kind.TRUCK, 0.07), (Kind.CAR, 0.05))


class _Block(NamedTuple):
    """Simulated worlds, ready to be looked at. Rows: WORLDS; slots: SLOTS."""

    setup: Setup
    states: tuple[State, ...]  # a snapshot each
    maps: Maps
    tables: SceneryTables
    dt: float


class DrivingStream:
    """Frames of the driving domain, see `perception.training.stream.LabelledStream`.

    Args:
        config: the camera; default: `CameraConfig()`.
        scenario: names or files to draw episodes from; default: the whole library.
        extras: exchange some cars for other road users and put further ones beside the road.
        around: every third seed looks out of four cameras, front, left, right and rear; a sample then has a quarter of the worlds.
        compile: render under torch.compile; pays off from some ten thousand frames on.
        device: where frames are drawn and given; worlds are simulated on the CPU.
        worlds: simulated at once; seconds: for how long. Samples are the same only among streams that agree on these.

    Raises scenarios.ScenarioError for a scenario that does not exist, ValueError for a count, `worlds` or `seconds` below 1.
    """

    classes = CLASSES
    semantics = SEMANTICS
    conditions = CONDITIONS

    def __init__(
        self,
        config: CameraConfig | None = None,
        *,
        scenario: Sequence[str] = (),
        extras: bool = True,
        around: bool = False,
        compile: bool = False,
        device: str = "cpu",
        worlds: int = WORLDS,
        seconds: int = SECONDS,
    ) -> None:
        if worlds < 1 or seconds < 1:
            raise ValueError(f"worlds={worlds}, seconds={seconds}: must be at least 1")
        self.config, self.worlds, self.seconds = config or CameraConfig(), worlds, seconds
        names = tuple(scenario) or (*scenarios.names(), *FAMILIES)
        self._scenarios = load_scenarios(names)
        self.extras, self.compile, self.device = extras, compile, device
        self._around = replace(self.config, cameras=tuple(MOUNTS)) if around else None
        self._held: dict[int, _Block] = {}

    def sample(self, seed: int, count: int) -> Sample:
        """`count` images, each of another world as far as there are enough; of four cameras, each four.

        Raises ValueError for a count below 1, or one that four cameras do not divide.
        """
        config = self._around if self._around is not None and seed % AROUND == AROUND - 1 else self.config
        cameras = len(config.cameras)
        if count < 1 or count % cameras:
            raise ValueError(f"count={count}: must be at least 1 and a multiple of the {cameras} cameras")
        count //= cameras
        block = self._block(seed // BLOCK)
        rng = np.random.Generator(np.random.Philox(key=[seed, 17]))
        worlds = np.concatenate([rng.permutation(self.worlds) for _ in range(-(-count // self.worlds))])[:count]
        instants = rng.integers(0, len(block.states), count)
        setup = Setup(*(column[torch.from_numpy(worlds)] for column in block.setup))
        state = _picked(block.states, instants, worlds)
        viewer = _viewers(rng, setup, state)
        if self.extras:
            setup, state = _dressed(rng, setup, state, viewer)
        look = torch.from_numpy(rng.integers(0, 2**62, count))
        return self._frames(block, config, setup, state, viewer, look, previous=None)

    def frames(self, batch: int, seed: int) -> Iterator[tuple[SensorFrame, Labels]]:
        """Samples of `batch` frames without end."""
        while True:
            frame, truth, _ = self.sample(seed, batch)
            yield frame, truth
            seed += 1

    def sequences(self, batch: int, length: int, seed: int, *, every: int = 1) -> Iterator[list[Sample]]:
        """`length` consecutive frames of `batch` worlds, `every` ticks apart, without end; the ego carries the camera.

        Traffic is as simulated, nothing is exchanged. Raises ValueError for a length or batch below 1.
        """
        if batch < 1 or length < 1 or every < 1:
            raise ValueError(f"batch={batch}, length={length}, every={every}: must be at least 1")
        while True:
            yield self._sequence(batch, length, seed, every)
            seed += 1

    def _sequence(self, batch: int, length: int, seed: int, every: int) -> list[Sample]:
        rng = np.random.Generator(np.random.Philox(key=[seed, 18]))
        sim = self._sim(EPISODE_SEED + 500_000_000 + seed * batch, batch, every, rng)
        action = torch.zeros(batch, 1, 2)
        for _ in range(int(rng.integers(0, 100)) // every):
            sim.step(action)
        block = self._packed(sim, ())
        viewer = torch.zeros(batch, dtype=torch.int64)
        look = torch.from_numpy(rng.integers(0, 2**62, batch))
        out: list[Sample] = []
        previous: State | None = None
        for _ in range(length):
            state = _widened(sim.state)
            out.append(self._frames(block, self.config, block.setup, state, viewer, look, previous=previous))
            previous = state
            sim.step(action)
        return out

    def _frames(
        self, block: _Block, config: CameraConfig, setup: Setup, state: State, viewer: Tensor, look: Tensor, previous: State | None
    ) -> Sample:
        setup, state = move(setup, self.device), move(state, self.device)
        viewer, look = viewer.to(self.device), look.to(self.device)
        previous = None if previous is None else move(previous, self.device)
        weather = draw_weather(look, config)
        images, truths = [], []
        with torch.no_grad():
            for part in portions(state, setup, weather, viewer):
                rendered, truth = self._looked(block, config, *part)
                images.append(rendered.image)
                truths.append(truth)
            truth = Labels(*(torch.cat(parts) for parts in zip(*truths, strict=True))) if len(truths) > 1 else truths[0]
            frame = sensor_frame(torch.cat(images), state, setup, config, previous=previous, viewer=viewer, dt=block.dt)
        return Sample(frame, truth, weather.condition)

    def _looked(
        self, block: _Block, config: CameraConfig, state: State, setup: Setup, weather: Weather, viewer: Tensor
    ) -> tuple[Rendered, Labels]:
        if self.compile:
            rendered = compiled_render(config, block.dt)(state, setup, block.maps, block.tables, weather, viewer)
        else:
            rendered = render(state, setup, block.maps, block.tables, weather, config, viewer=viewer, dt=block.dt)
        return rendered, labels(rendered, state, setup, block.maps, block.tables, weather, config, viewer=viewer, dt=block.dt)

    def _block(self, number: int) -> _Block:
        if number not in self._held:
            rng = np.random.Generator(np.random.Philox(key=[number, 19]))
            sim = self._sim(EPISODE_SEED + number * self.worlds, self.worlds, EVERY, rng)
            action, states = torch.zeros(self.worlds, 1, 2), []
            for _ in range(self.seconds * 10 // EVERY):
                states.append(_widened(sim.state))
                sim.step(action)
            self._held = {number: self._packed(sim, tuple(states))}  # one block at a time: they are large
        return self._held[number]

    def _sim(self, first_seed: int, worlds: int, ticks: int, rng: np.random.Generator) -> DrivingSim:
        """Worlds of scenarios drawn at random, at their start."""
        chosen = rng.permutation(np.arange(max(worlds, len(self._scenarios))) % len(self._scenarios))[:worlds]
        drawn = [scenarios.sample(self._scenarios[int(i)], first_seed + n) for n, i in enumerate(chosen)]
        episodes = [replace(episode, agents=tuple(limit_agents(list(episode.agents), 1, AGENTS))) for episode in drawn]
        config = fit(DrivingConfig(autopilot=True, ticks_per_step=ticks), episodes)
        return DrivingSim(build_bank(episodes, config), config, batch=worlds)

    def _packed(self, sim: DrivingSim, states: tuple[State, ...]) -> _Block:
        """What rendering needs."""
        maps = sim.maps
        nothing = torch.zeros(1)
        slim = {name: getattr(maps, name) if name.startswith("light_") else nothing for name in Maps._fields}
        tables = build_scenery(sim.bank.networks, self.config, device=self.device)
        return _Block(_widened(sim.setup), states, move(Maps(**slim), self.device), tables, sim.config.dt)


def _widened(rows: T) -> T:
    """A copy with SLOTS agents."""
    agents = rows.x.shape[1]
    parts: list[Any] = list(rows)
    wide: list[Any] = [
        torch.nn.functional.pad(value, (0, SLOTS - agents)) if name in PER_AGENT else value
        for name, value in zip(rows._fields, parts, strict=True)
    ]
    return type(rows)(*wide)


def _picked(states: tuple[State, ...], instants: NDArray[np.int64], worlds: NDArray[np.int64]) -> State:
    """World worlds[i] at instants[i]."""
    pairs = list(zip(instants.tolist(), worlds.tolist(), strict=True))
    names = [name for name in State._fields if name != "stats"]
    out: dict[str, Any] = {name: torch.stack([getattr(states[t], name)[w] for t, w in pairs]) for name in names}
    return State(**out, stats=states[0].stats)


def _viewers(rng: np.random.Generator, setup: Setup, state: State) -> Tensor:
    """Who carries the camera: the ego or, as often, any other car that drives."""
    car = (state.valid & (setup.kind == int(Kind.CAR)) & (setup.role != int(Role.STATIC))).numpy()
    viewers = np.zeros(len(car), dtype=np.int64)
    for i, row in enumerate(car):
        slots = np.flatnonzero(row)
        if len(slots) and (not row[0] or rng.random() < 0.5):
            viewers[i] = rng.choice(slots)
    return torch.from_numpy(viewers)


def _kinds(rng: np.random.Generator, shares: tuple[tuple[Kind, float], ...], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Kinds drawn by their shares; -1 for the rest."""
    edges = np.cumsum([share for _, share in shares])
    table = np.array([int(kind) for kind, _ in shares] + [-1])
    return np.asarray(table[np.searchsorted(edges, rng.random(shape), side="right")])


def _dressed(rng: np.random.Generator, setup: Setup, state: State, viewer: Tensor) -> tuple[Setup, State]:
    """Some cars exchanged where there is room, and EXTRAS things put around the viewers."""
    size = np.array([[KIND_SPECS[kind].length, KIND_SPECS[kind].width] for kind in Kind])
    b, a = state.x.shape
    x, y, yaw, valid = (getattr(state, name).numpy().copy() for name in ("x", "y", "yaw", "valid"))
    kind, length, width = (getattr(setup, name).numpy().copy() for name in ("kind", "length", "width"))
    speed, accel = state.speed.numpy().copy(), state.accel.numpy().copy()
    mine = np.arange(a) == viewer.numpy()[:, None]

    def clearance(px: NDArray[np.float32], py: NDArray[np.float32]) -> NDArray[np.float64]:
        """m from points (B, Q) to the nearest other thing's outline circle, that of the thing at the point itself left out."""
        apart = np.hypot(px[:, :, None] - x[:, None], py[:, :, None] - y[:, None]) - 0.5 * length[:, None]
        apart[(np.hypot(px[:, :, None] - x[:, None], py[:, :, None] - y[:, None]) < 1e-6) | ~valid[:, None]] = np.inf
        return np.asarray(apart.min(2))

    wish = _kinds(rng, EXCHANGE, (b, a))
    grown = rng.uniform(0.92, 1.08, (b, a, 2)) * size[wish]
    take = (wish >= 0) & valid & (kind == int(Kind.CAR)) & ~mine & (clearance(x, y) > 0.5 * grown[..., 0])
    kind[take], length[take], width[take] = wish[take], grown[take][:, 0], grown[take][:, 1]

    rows = np.arange(b)
    for _ in range(EXTRAS):
        free = ~valid
        slot = a - 1 - free[:, ::-1].argmax(1)
        wish = _kinds(rng, BESIDE, (b,))
        grown = rng.uniform(0.92, 1.08, (b, 2)) * size[wish]
        ahead, side = 4.0 + 41.0 * rng.random(b) ** 1.5, rng.choice([-1.0, 1.0], b) * rng.uniform(1.8, 12.0, b)
        vx, vy, vyaw = x[rows, viewer], y[rows, viewer], yaw[rows, viewer]
        px, py = vx + ahead * np.cos(vyaw) - side * np.sin(vyaw), vy + ahead * np.sin(vyaw) + side * np.cos(vyaw)
        put = (rng.random(b) < 0.6) & free.any(1) & (clearance(px[:, None], py[:, None])[:, 0] > 0.5 * grown[:, 0] + 0.3)
        turn = np.where(rng.random(b) < 0.5, vyaw + rng.choice([0.0, np.pi], b), rng.uniform(-np.pi, np.pi, b))
        for array, value in ((x, px), (y, py), (yaw, (turn + np.pi) % (2 * np.pi) - np.pi), (length, grown[:, 0]), (width, grown[:, 1])):
            array[rows[put], slot[put]] = value[put]
        kind[rows[put], slot[put]], valid[rows[put], slot[put]] = wish[put], True
        speed[rows[put], slot[put]] = accel[rows[put], slot[put]] = 0.0
    moved: dict[str, Any] = {"x": x, "y": y, "yaw": yaw, "valid": valid, "speed": speed, "accel": accel}
    fixed: dict[str, Any] = {"kind": kind, "length": length, "width": width}
    new_setup: dict[str, Any] = {name: torch.from_numpy(value) for name, value in fixed.items()}
    new_state: dict[str, Any] = {name: torch.from_numpy(value) for name, value in moved.items()}
    return setup._replace(**new_setup), state._replace(**new_state)
