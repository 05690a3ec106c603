"""Robot tasks beside Gymnasium's `Ant-v5` and `HalfCheetah-v5`: decisions a second of vectors of worlds, and of steps with a picture.

    python -m benchmarks.robots --episodes 0 --planned 0 --no-speed --peers

All rates but those of physics alone are of the clock, on the cores that this process may use: keep the machine quiet. Needs
pip install 'closedloop[bench]', for imageio, which Gymnasium's MuJoCo environments import.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from envs.robots import RobotEnv, RobotVectorEnv, SightConfig
from envs.robots.gl import NoRenderer
from envs.robots.physics import Physics

__all__ = ["OURS", "PEERS", "SIZE", "peers", "per_second"]

OURS = ("quadruped_walk", "cart_pole_vision")
PEERS = ("Ant-v5", "HalfCheetah-v5")
WORLDS, PROCESSES = 64, 2
SIZE = 84  # px, either way
PICTURED = 16  # worlds with pictures


def per_second(what: Callable[[], int], clock: Callable[[], float], seconds: float = 1.0) -> float:
    """How many a second, after a first go that does not count."""
    what()
    begun, count = clock(), 0
    while clock() - begun < seconds:
        count += what()
    return count / (clock() - begun)


def stepped(env: Any, count: int) -> int:
    """One random decision in each of `count` worlds that begin anew by themselves."""
    env.step(env.action_space.sample())
    return count


def stepped_and_shown(env: Any) -> int:
    """One random decision in one world, and its picture; a new episode where one is over."""
    *_, terminated, truncated, _ = env.step(env.action_space.sample())
    if terminated or truncated:
        env.reset()
    env.render()
    return 1


def ours(name: str, seconds: float) -> dict[str, Any]:
    """Rates of one of our tasks."""
    rates = dict[str, Any]()
    vector = RobotVectorEnv(WORLDS, name)
    vector.reset(seed=0)
    task, robots = vector.robots.task, vector.robots
    rates |= {"name": name, "degrees_of_freedom": robots.physics.model.nv, "time_steps_a_decision": task.substeps}
    rates["decisions_of_vector_env"] = per_second(partial(stepped, vector, WORLDS), time.perf_counter, seconds)
    rates["physics_steps_a_core"] = physics_rate(Physics(robots.physics.model, batch=WORLDS, threads=1), seconds)
    try:
        seeing = RobotVectorEnv(PICTURED, name, observation="pixels", sight=SightConfig(width=SIZE, height=SIZE))
        seeing.reset(seed=0)
        rates["decisions_with_pictures"] = per_second(partial(stepped, seeing, PICTURED), time.perf_counter, seconds)
        seeing.close()
        shown = RobotEnv(name, render_mode="rgb_array", size=(SIZE, SIZE))
        shown.reset(seed=0)
        rates["decisions_with_render_for_people"] = per_second(partial(stepped_and_shown, shown), time.perf_counter, seconds)
        shown.close()
    except NoRenderer as error:
        rates["decisions_with_pictures"] = str(error)
    return rates


def physics_rate(physics: Physics, seconds: float) -> float:
    """Time steps a second of CPU time, under random controls that are drawn anew every five."""
    rng, (low, high) = np.random.default_rng(0), physics.model.actuator_ctrlrange.T

    def advance() -> int:
        physics.ctrl[:] = rng.uniform(low, high, physics.ctrl.shape)
        physics.step(5)
        return 5 * physics.size

    return per_second(advance, time.process_time, seconds)


def theirs(name: str, seconds: float) -> dict[str, Any]:
    """Rates of one of Gymnasium's environments: in processes of their own, alone with pictures, and its model in our batches."""
    single: Any = gymnasium.make(name, render_mode="rgb_array", width=SIZE, height=SIZE)
    single.reset(seed=0)
    inner = single.unwrapped
    rates: dict[str, Any] = {"name": name, "degrees_of_freedom": inner.model.nv, "time_steps_a_decision": inner.frame_skip}
    vector: Any = gymnasium.vector.AsyncVectorEnv([partial(gymnasium.make, name)] * PROCESSES)
    try:
        vector.reset(seed=0)
        rates["decisions_of_async_vector_env"] = per_second(partial(stepped, vector, PROCESSES), time.perf_counter, seconds)
    finally:
        vector.close()
    rates["decisions_with_pictures"] = per_second(partial(stepped_and_shown, single), time.perf_counter, seconds)
    rates["physics_steps_a_core_in_our_batches"] = physics_rate(Physics(inner.model, batch=WORLDS, threads=1), seconds)
    single.close()
    return rates


def peers(seconds: float = 2.0) -> dict[str, Any]:
    """All rates, and ratios of ours to theirs. Says why there are none where Gymnasium's environments cannot be had."""
    own = {name: ours(name, seconds) for name in OURS}
    try:
        other = {name: theirs(name, seconds) for name in PEERS}
    except (ModuleNotFoundError, gymnasium.error.Error) as error:
        return {"ours": list(own.values()), "theirs": f"{type(error).__name__}: {error}"}
    ratios = [
        {
            "ours": mine,
            "theirs": name,
            "decisions": own[mine]["decisions_of_vector_env"] / row["decisions_of_async_vector_env"],
            "with_pictures": _ratio(own[mine]["decisions_with_pictures"], row["decisions_with_pictures"]),
        }
        for name, row in other.items()
        for mine in OURS
    ]
    about = {"worlds": WORLDS, "processes": PROCESSES, "pixels": SIZE}
    return about | {"ours": list(own.values()), "theirs": list(other.values()), "ratios": ratios}


def _ratio(mine: Any, other: float) -> float | None:
    """None where there were no pictures."""
    return float(np.float64(mine) / other) if isinstance(mine, float) else None
