"""How fast perceiving is: the parts of the stack, and whole steps of worlds whose ego perceives. One thread, CPU seconds.

What is timed:
    camera     frames drawn of worlds that go on, one front camera each, uint8 images at 160 x 96, in all weathers; no labels
    detector   images to detections: the network and the decoding
    tracker    worlds: one update with a frame's detections (the oracle's, as many as are visible), and the tracks read
    predictor  worlds: forecasts of all tracks from their past and the lanes around
    truth      world-steps: a decision step of the simulator and the observation of level `truth`, no perception: what the next adds to
    perceived  world-steps: a decision step (two ticks), camera, detector, tracker, predictor, and the observation with two forecasts each
Left out on all lines: resets, and a policy that acts; the traffic model drives the ego. Worlds are episodes of the scenarios given in turn.
On a GPU, times are seconds of the clock, from when it is idle to when it is idle again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.evaluation.speed import clock
from envs.driving.bank import build_bank
from envs.driving.camera.config import CameraConfig
from envs.driving.camera.portions import portions
from envs.driving.camera.rendering import believed_camera, compiled_render, render
from envs.driving.camera.scenery import build_scenery
from envs.driving.camera.weather import draw_weather
from envs.driving.make import fit, sample_episodes
from envs.driving.roads import roads_around
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Setup, State
from envs.driving.worlds import Worlds
from perception.detectors import int8
from perception.detectors.backends import halves
from perception.detectors.centernet import CenterNet
from perception.prediction.history import History
from perception.registry import make_predictor
from perception.types import Detections, Roads, SensorFrame, Tracks

__all__ = ["BACKENDS", "BATCHES", "PARTS", "UNITS", "Pace", "measure", "runs_here"]

BATCHES = (1, 16, 64, 256)
# part -> what is counted
UNITS = {
    "camera": "frames",
    "detector": "frames",
    "tracker": "worlds",
    "predictor": "worlds",
    "truth": "world-steps",
    "perceived": "world-steps",
}
PARTS = tuple(UNITS)
BACKENDS = {  # the parts that are not here run as the camera
    "camera": ("eager", "compiled"), "detector": ("int8", "half", "onnx", "torch", "compiled"), "tracker": ("eager",),
}  # fmt: skip
EPISODES, FIRST_SEED = 24, 950_000  # in the bank, worlds share them; seeds for judging
LOOKS = 12  # instants that the parts are measured on, in turn
STEPS = 25  # decision steps of 0.2 s until worlds begin anew
FORECASTS, PREDICTOR = 2, "predictor_driving"
DRAWN = 16  # frames drawn for the detector, repeated: its work does not depend on what is in them


@dataclass(frozen=True, kw_only=True)
class Pace:
    """One measurement."""

    part: str
    backend: str
    batch: int
    unit: str
    count: int
    seconds: float  # CPU; on a GPU of the clock
    device: str = "cpu"

    @property
    def per_second(self) -> float:
        """Units per CPU-second of one thread, or per second of a GPU."""
        return self.count / self.seconds


class _Instant(NamedTuple):
    """What the stages were given at one look."""

    frame: SensorFrame
    detections: Detections
    history: History
    tracks: Tracks
    roads: Roads


def measure(
    part: str,
    *,
    backend: str,
    batch: int,
    seconds: float,
    scenarios: Sequence[str],
    detector: str = "driving",
    device: str = "cpu",
) -> Pace:
    """Run `part` on `batch` worlds at once for about `seconds` CPU seconds after a warm-up, in which compiled code is compiled.

    scenarios: names; detector: weights, a name or a file. Raises ValueError for a part or backend that does not exist, and as
    `perception.storage.find` and scenarios do.
    """
    if part not in PARTS or backend not in BACKENDS.get(part, BACKENDS["camera"]):
        raise ValueError(f"part={part!r}, backend={backend!r}: parts are {', '.join(PARTS)}; each runs on {BACKENDS}")
    compiled = backend == "compiled"
    runs: dict[str, Callable[..., Any]] = {
        "camera": partial(_camera, compiled=compiled),
        "detector": partial(_detector, backend=backend, detector=detector),
        "tracker": _tracker,
        "predictor": partial(_predictor, compiled=compiled),
        "truth": partial(_steps, compiled=compiled, config=DrivingConfig(autopilot=True)),
        "perceived": partial(_steps, compiled=compiled, config=_perceiving(detector)),
    }
    if part == "detector" and not runs_here(backend, device):
        raise ValueError(f"part='detector', backend={backend!r}: {device} does not compute in it by itself")
    steps = runs[part](scenarios, batch, device)
    count, spent = _timed(steps, seconds, device)
    return Pace(part=part, backend=backend, batch=batch, unit=UNITS[part], count=count * batch, seconds=spent, device=device)


def runs_here(backend: str, device: str) -> bool:
    """Whether a detector's backend is at home on a device: 8 bits and half precision need instructions of the CPU, onnxruntime a CPU."""
    cpu = torch.device(device).type == "cpu"
    here = {"int8": cpu and int8.runs_here(), "half": halves() or not cpu, "onnx": cpu}
    return here.get(backend, True)


def _timed(steps: Iterator[bool], seconds: float, device: str = "cpu") -> tuple[int, float]:
    """Steps taken in `seconds` CPU seconds or little more. Steps that yield False, and the first three, are not counted."""
    for _ in range(3):
        next(steps)
    count, spent = 0, 0.0
    while spent < seconds or not count:
        begun = clock(device)
        counts = next(steps)
        took = clock(device) - begun
        if counts:
            count, spent = count + 1, spent + took
    return count, spent


def _perceiving(detector: str) -> DrivingConfig:
    return DrivingConfig(autopilot=True, observation="perceived", forecasts=FORECASTS, predictor=PREDICTOR, detector=detector)


def _sim(scenarios: Sequence[str], batch: int, device: str) -> DrivingSim:
    episodes = sample_episodes(list(scenarios), EPISODES, FIRST_SEED)
    config = fit(DrivingConfig(autopilot=True), episodes)
    return DrivingSim(build_bank(episodes, config), config, batch=batch, device=device)


def _camera(scenarios: Sequence[str], batch: int, device: str, *, compiled: bool) -> Iterator[bool]:
    sim, camera = _sim(scenarios, batch, device), CameraConfig()
    tables, setup = build_scenery(sim.bank.networks, camera, device=device), sim.setup
    weather, viewer, dt = draw_weather(setup.seed, camera), torch.zeros_like(setup.map_id), sim.config.dt
    quick = compiled_render(camera, dt)
    states = _states(sim)
    with torch.no_grad():
        while True:
            for state in states:
                for s, fixed, look, by in portions(state, setup, weather, viewer):
                    if compiled:
                        quick(s, fixed, sim.maps, tables, look, by)
                    else:
                        render(s, fixed, sim.maps, tables, look, camera, viewer=by, dt=dt)
                yield True


def _states(sim: DrivingSim) -> list[State]:
    action, states = torch.zeros(sim.batch, 1, 2, device=sim.device), []
    for _ in range(LOOKS):
        sim.step(action)
        states.append(sim.state)
    return states


def _detector(scenarios: Sequence[str], batch: int, device: str, *, backend: str, detector: str) -> Iterator[bool]:
    network = CenterNet.load(detector, backend=backend)
    sim, camera = _sim(scenarios, DRAWN, device), CameraConfig()
    tables, setup = build_scenery(sim.bank.networks, camera, device=device), sim.setup
    weather = draw_weather(setup.seed, camera)
    with torch.no_grad():
        images = [render(s, setup, sim.maps, tables, weather, camera, dt=sim.config.dt).image for s in _states(sim)[::4]]
    rows, where = torch.arange(batch, device=device) % DRAWN, believed_camera(batch, camera, device)
    frames = [image[rows] for image in images]
    while True:
        for image in frames:
            network.detect(image, where)
            yield True


def _instants(scenarios: Sequence[str], batch: int, device: str) -> tuple[list[_Instant], Worlds]:
    """What stages are given when the ego sees all that is visible."""
    episodes = sample_episodes(list(scenarios), EPISODES, FIRST_SEED)
    config = DrivingConfig(autopilot=True, observation="visible", forecasts=FORECASTS)
    worlds = Worlds(episodes, config, batch=batch, device=device)
    assert worlds.eyes is not None
    found = []
    for _ in range(LOOKS):
        worlds.step(torch.zeros(batch, 1, 2, device=device))
        look, setup = worlds.eyes.last, worlds.sim.setup
        roads = roads_around(worlds.sim.state, setup, worlds.eyes.pieces)
        found.append(_Instant(look.frame, look.detections, worlds.eyes.state.pipeline.history, look.tracks, roads))
    return found, worlds


def _tracker(scenarios: Sequence[str], batch: int, device: str) -> Iterator[bool]:
    instants, worlds = _instants(scenarios, batch, device)
    assert worlds.eyes is not None
    tracker, fresh = worlds.eyes.pipeline.tracker, torch.ones(batch, dtype=torch.bool, device=device)
    still = torch.zeros(batch, 3, device=device)
    with torch.no_grad():
        while True:
            state = tracker.initial(batch, device)
            for instant in instants:
                state = tracker.update(state, instant.detections, instant.frame, fresh)
                tracker.read(state, still, still[:, 0])
                yield True


def _predictor(scenarios: Sequence[str], batch: int, device: str, *, compiled: bool) -> Iterator[bool]:
    instants, _ = _instants(scenarios, batch, device)
    predictor = make_predictor(PREDICTOR, compile=compiled, device=device)
    while True:
        for instant in instants:
            predictor.predict(instant.history, instant.tracks, instant.roads)
            yield True


def _steps(scenarios: Sequence[str], batch: int, device: str, *, compiled: bool, config: DrivingConfig) -> Iterator[bool]:
    episodes = sample_episodes(list(scenarios), EPISODES, FIRST_SEED)
    worlds = Worlds(episodes, replace(config), batch=batch, compile=compiled, device=device)
    action: Any = torch.zeros(batch, 1, 2, device=device)
    start: tuple[Setup, State, Tensor] = worlds.sim.setup, worlds.sim.state, worlds.sim.rows
    while True:
        for _ in range(STEPS):
            worlds.step(action)
            worlds.observe()
            yield True
        worlds.sim.set(*start)
        if worlds.eyes is not None:
            worlds.eyes.reset()
        yield False
