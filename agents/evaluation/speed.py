"""How fast the driving simulator runs, beside highway-env on the same task in the same process.

The task is highway-env's `highway-v0` as it comes: a straight road of 4 lanes of 4 m, 50 other vehicles and the ego, physics at 15 Hz,
one decision a second. An *agent-step* is one vehicle on the road advanced by one physics tick; empty slots do not count.

What is timed:
    drive    everyone's controls (IDM, lane changes by MOBIL, gaps along the lanes), the bicycle model, where each is on the lane graph
    full     drive, and at every tick: overlap of all pairs of boxes, off-road and wrong-way of the ego through the rasters, time to
             collision, comfort, progress and every other metric; at every decision: the ego's observation (`truth`), flat
    full15   full, with a decision and an observation at every tick
    highway-env   its `step`: control, traffic model, all-pairs collisions, its kinematic observation and reward at every decision
Resets are left out on both sides. Times are CPU seconds of one thread, so other load on the machine does not slow either side; on a GPU
they are seconds of the clock, from when it is idle to when it is idle again.
"""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.driving import core
from envs.driving.bank import Bank, build_bank
from envs.driving.lights import light_states
from envs.driving.observation import flatten, observe
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, State
from scenarios.episode import AgentSpec, Driver, Episode, Goal, Role
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.roads.highway import HighwayRoad

__all__ = ["BATCHES", "PARTS", "TICK_RATE", "Rate", "clock", "highway_episode", "machine", "measure_ours", "measure_peer"]

BATCHES = (1, 64, 256, 1024, 4096)
PARTS = ("drive", "full", "full15")
TICK_RATE, OTHERS, LANES = 15, 50, 4  # Hz, vehicles, lanes: highway-env's defaults
EPISODES = 16  # distinct ones in the bank; worlds share them
RESET_EVERY = 20  # decisions of 1 s: nobody reaches the end of the 3 km road


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One measurement."""

    part: str
    backend: str  # eager | compiled | python
    worlds: int
    agent_steps: int  # counted
    decisions: int  # of all worlds
    seconds: float  # CPU; on a GPU of the clock
    device: str = "cpu"

    @property
    def agent_steps_per_second(self) -> float:
        """Agent-steps per CPU-second of one thread, or per second of a GPU."""
        return self.agent_steps / self.seconds


def highway_episode(seed: int) -> Episode:
    """51 cars on 4 lanes, spaced as on a busy motorway, drawn from `seed`."""
    rng = np.random.default_rng(seed)
    road = HighwayRoad(lanes=LANES, length=3000.0, lane_width=4.0, speed_limit=30.0)
    size = KIND_SPECS[Kind.CAR]
    agents = []
    for i in range(OTHERS + 1):
        speed = float(rng.uniform(21.0, 27.0))
        driver = Driver(desired_speed=float(rng.uniform(24.0, 32.0)), politeness=0.0)
        agents.append(
            AgentSpec(
                role=Role.LEARNER if i == 0 else Role.IDM,
                length=size.length,
                width=size.width,
                wheelbase=size.wheelbase,
                lane=f"main.{i % LANES}",
                s=40.0 + 45.0 * (i // LANES) + float(rng.uniform(-8.0, 8.0)),
                speed=speed,
                driver=driver,
            )
        )
    return Episode(
        scenario="bench",
        seed=seed,
        duration=3600.0,
        dt=1.0 / TICK_RATE,
        network=road.build(),
        network_key="bench",
        agents=tuple(agents),
        goal=Goal(),
    )


def _config(ticks: int) -> DrivingConfig:
    return DrivingConfig(agents=56, dt=1.0 / TICK_RATE, ticks_per_step=ticks, action="discrete")


def measure_ours(part: str, *, worlds: int, compiled: bool, seconds: float, device: str = "cpu") -> Rate:
    """Run `part` for about `seconds` CPU seconds (on a GPU, seconds), after a warm-up. Raises ValueError for an unknown part."""
    if part not in PARTS:
        raise ValueError(f"part={part!r}: must be one of {', '.join(PARTS)}")
    config = _config(1 if part == "full15" else TICK_RATE)
    bank = build_bank([highway_episode(seed) for seed in range(EPISODES)], config)
    sim = DrivingSim(bank, config, batch=worlds, compile=compiled, device=device)
    decide = _drive(sim, bank, config, compiled) if part == "drive" else _full(sim, config, compiled)
    start, keep = sim.state, torch.zeros(worlds, 1, dtype=torch.int64, device=device)
    before_reset = RESET_EVERY * TICK_RATE // config.ticks_per_step

    def run() -> Iterator[tuple[int, int]]:
        while True:
            sim.state = start
            for _ in range(before_reset):
                yield decide(keep), worlds

    return _timed(run(), part, "compiled" if compiled else "eager", worlds, seconds, device)


def _full(sim: DrivingSim, config: DrivingConfig, compiled: bool) -> Callable[[Tensor], int]:
    def see(state: State) -> Tensor:
        return flatten(observe(state, sim.setup, sim.maps, config))

    observation = torch.compile(see, fullgraph=True, dynamic=False) if compiled else see

    def decide(action: Tensor) -> int:
        with torch.no_grad():
            sim.step(action)
            observation(sim.state)
        return int(sim.state.valid.sum()) * config.ticks_per_step

    return decide


def _drive(sim: DrivingSim, bank: Bank, config: DrivingConfig, compiled: bool) -> Callable[[Tensor], int]:
    def tick(state: State, command: Tensor, index: Tensor) -> State:
        lights = light_states(sim.maps, sim.setup.map_id, state.step, config.dt)
        before, accel, steer = core._controls(state, sim.setup, sim.maps, lights, command, index, config, bank.features)
        after = core._move(before, sim.setup, accel, steer, config.dt)
        return core._locate(after._replace(step=state.step + 1), sim.setup, sim.maps, config, bank.features)

    advance = torch.compile(tick, fullgraph=True, dynamic=False) if compiled else tick
    indices = [torch.tensor(i, device=sim.device) for i in range(config.ticks_per_step)]

    def decide(action: Tensor) -> int:
        with torch.no_grad():
            state, command = core.begin(sim.state, sim.setup, sim.maps, action, config)
            for index in indices:
                state = advance(state, command, index)
        sim.state = state
        return int(state.valid.sum()) * config.ticks_per_step

    return decide


def measure_peer(*, seconds: float) -> Rate:
    """highway-env's `highway-v0` as it comes, driven by its IDLE action. Raises ModuleNotFoundError without the extra `bench`."""
    import gymnasium
    import highway_env  # noqa: F401  (registers its environments)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        env = gymnasium.make("highway-v0")
        world: Any = env.unwrapped
        settings = {"vehicles_count": OTHERS, "lanes_count": LANES, "simulation_frequency": TICK_RATE, "policy_frequency": 1}
        wrong = {key: world.config[key] for key, value in settings.items() if world.config[key] != value}
        if wrong:
            raise RuntimeError(f"highway-env's defaults are not what the task assumes: {wrong}")
        idle = next(k for k, name in world.action_type.actions.items() if name == "IDLE")

        def run() -> Iterator[tuple[int, int] | None]:
            seed = 0
            while True:
                env.reset(seed=seed)
                seed += 1
                yield None  # the reset is not timed
                over = False
                while not over:
                    *_, terminated, truncated, _ = env.step(idle)
                    over = terminated or truncated
                    yield len(world.road.vehicles) * TICK_RATE, 1

        return _timed(run(), "highway-env", "python", 1, seconds)


def clock(device: str) -> float:
    """CPU seconds of this process; of a GPU, seconds when it has done all it was given."""
    if torch.device(device).type == "cpu":
        return time.process_time()
    torch.accelerator.synchronize(device)
    return time.perf_counter()


def _timed(steps: Iterator[tuple[int, int] | None], part: str, backend: str, worlds: int, seconds: float, device: str = "cpu") -> Rate:
    """Add up what `steps` yields until `seconds` CPU seconds have passed. What leads to a None, and the first step, is not timed."""
    warm = False
    agent_steps, decisions, spent = 0, 0, 0.0
    while spent < seconds:
        begin = clock(device)
        counted = next(steps)
        took = clock(device) - begin
        if counted is None:
            continue
        if not warm:
            warm = True
            continue
        agent_steps, decisions, spent = agent_steps + counted[0], decisions + counted[1], spent + took
    return Rate(part=part, backend=backend, worlds=worlds, agent_steps=agent_steps, decisions=decisions, seconds=spent, device=device)


def machine(*packages: str) -> dict[str, str]:
    """Processor, system and versions of `packages` (default: those that matter for driving), for the record."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    found = {"processor": model, "system": f"{platform.system()} {platform.machine()}", "python": platform.python_version()}
    for name in packages or ("torch", "numpy", "gymnasium", "highway-env"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "vector instructions": torch.backends.cpu.get_cpu_capability(), **_card()}


def _card() -> dict[str, str]:
    return {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
