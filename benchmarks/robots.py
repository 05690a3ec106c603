"""Robot tasks: what experts, chance and planning without learning reach, and how fast physics and cameras are.

    python -m benchmarks.robots                       # everything: some minutes of one core
    python -m benchmarks.robots --no-speed --episodes 500 --planned 0

Success is over the episodes --seed, --seed + 1, ... with 95 % intervals (Wilson). Speed is measured in one thread, in seconds of CPU
time (pictures of a graphics card: of the clock), beside what one has without us on the same model: a single environment in Gymnasium's
`AsyncVectorEnv` (in seconds of the clock, two processes), and pictures of MuJoCo's usual quality. Writes
benchmarks/results/robots-DATE.json.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import click
import gymnasium
import numpy as np
from numpy.typing import NDArray

from agents.commands.output import as_json
from agents.evaluation.speed import machine
from agents.evaluation.stats import proportion
from agents.robots import expert_for
from agents.robots.sampling import SamplingPlanner
from benchmarks.robots_peers import peers, per_second, stepped
from envs.robots import TASKS, RobotEnv, Robots, RobotVectorEnv, task_named
from envs.robots.camera import Camera
from envs.robots.gl import NoRenderer, describe
from envs.robots.rng import Draws
from scenarios.files import write_atomic

STREAM = 3500  # of the counter-based generator: random actions
SIZE = 84  # px, either way
WORLDS = 32
PLANNED = ("reach", "ball_catch")

Act = Callable[[Robots], NDArray[np.float64]]


def chance(robots: Robots) -> NDArray[np.float64]:
    """Actions that know nothing."""
    return Draws(robots.seeds, robots.steps).uniform(STREAM, robots.task.action_size, -1.0, 1.0)


def judged(name: str, who: str, make: Callable[[Robots], Act], episodes: int, seed: int, **options: Any) -> dict[str, Any]:
    """Success of an actor over whole episodes."""
    robots = Robots(task_named(name, **options), batch=episodes, threads=1)
    robots.reset(seed + np.arange(episodes))
    act, begun = make(robots), time.process_time()
    done, won, decisions = np.zeros(episodes, dtype=bool), np.zeros(episodes, dtype=bool), 0
    while not done.all():
        decisions += episodes
        step = robots.step(act(robots))
        ended = (step.terminated | step.truncated) & ~done
        won, done = won | (ended & step.success), done | ended
    spent = time.process_time() - begun
    row = {"task": name, "options": options, "who": who, "episodes": episodes, "first_seed": seed}
    return row | {
        "success": asdict(proportion(int(won.sum()), episodes)),
        "failed_seeds": (seed + np.flatnonzero(~won)).tolist()[:50],
        "cpu_s_a_decision": spent / decisions,
    }


def speeds(name: str) -> dict[str, Any]:
    """Rates of one task."""
    task, cpu = task_named(name), time.process_time
    robots = Robots(task, batch=WORLDS, threads=1)
    rates: dict[str, Any] = {"task": name, "worlds": WORLDS, "time_steps_a_decision": task.substeps}

    def physics() -> int:
        robots.physics.step(task.substeps)
        return WORLDS * task.substeps

    rates["physics_steps"] = per_second(physics, cpu)
    vector = RobotVectorEnv(WORLDS, name, threads=1)
    vector.reset(seed=0)
    rates["decisions_of_the_vector_environment"] = per_second(partial(stepped, vector, WORLDS), cpu)
    several = RobotVectorEnv(WORLDS, name)
    several.reset(seed=0)
    rates["decisions_of_the_vector_environment_all_cores"] = per_second(partial(stepped, several, WORLDS), time.perf_counter)
    peer = gymnasium.vector.AsyncVectorEnv([partial(RobotEnv, name)] * 2, autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP)
    try:
        peer.reset(seed=0)
        rates["decisions_of_async_vector_env_2_processes"] = per_second(partial(stepped, peer, 2), time.perf_counter)
    finally:
        peer.close()
    try:
        rates["pictures"] = pictures(robots)
    except NoRenderer as error:
        rates["pictures"] = str(error)
    return rates


def pictures(robots: Robots) -> dict[str, Any]:
    """Pictures a second of 84 x 84 pixels. By CPU time, which counts all threads, if a CPU renders; by the clock if a card does."""
    name, found, world = robots.task.cameras[0], describe(), iter(range(10**9))
    clock = time.process_time if found.software else time.perf_counter
    rates: dict[str, Any] = {"renderer": found.name, "seconds": "cpu" if found.software else "clock", "camera": name}

    def shown(what: Callable[[int, str], Any]) -> int:
        what(next(world) % WORLDS, name)
        return 1

    with Camera(robots.physics, width=SIZE, height=SIZE, things=robots.task.things) as camera:
        rates["plain"] = per_second(partial(shown, camera.picture), clock)
        rates["labels"] = per_second(partial(shown, camera.labels), clock)
    with Camera(robots.physics, width=SIZE, height=SIZE, fine=True) as camera:
        rates["with_shadows_and_smooth_edges"] = per_second(partial(shown, camera.picture), clock)
    return rates


@click.command()
@click.option("--episodes", type=click.IntRange(0), default=500, show_default=True, help="Of experts and of chance; 0: none.")
@click.option("--planned", type=click.IntRange(0), default=100, show_default=True, help="Of planning by sampling; 0: none.")
@click.option("--seed", type=click.IntRange(0), default=500_000, show_default=True)
@click.option("--speed/--no-speed", default=True, show_default=True)
@click.option(
    "--peers/--no-peers", "beside", default=False, help="Beside Gymnasium's Ant-v5 and HalfCheetah-v5: benchmarks/robots_peers.py."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: benchmarks/results/robots-DATE.json]")
def main(episodes: int, planned: int, seed: int, speed: bool, beside: bool, out: Path | None) -> None:
    """See the module."""
    quality: list[dict[str, Any]] = []
    expert: Callable[[Robots], Act] = lambda robots: expert_for(robots).act  # noqa: E731
    sampling: Callable[[Robots], Act] = lambda robots: SamplingPlanner(robots, threads=1).act  # noqa: E731
    runs: list[tuple[str, str, Callable[[Robots], Act], int, dict[str, Any]]] = []
    for name in TASKS:
        runs += [(name, "expert", expert, episodes, {}), (name, "chance", lambda _: chance, episodes, {})]
    runs += [("push_cube", "expert", expert, episodes, {"where": "anywhere"})]
    runs += [(name, "sampling", sampling, planned, {}) for name in PLANNED]
    for name, who, make, count, options in runs:
        if count:
            quality.append(judged(name, who, make, count, seed, **options))
            click.echo(as_json({k: v for k, v in quality[-1].items() if k != "failed_seeds"}))
    rates = [speeds(name) for name in TASKS] if speed else []
    for row in rates:
        click.echo(as_json(row))
    others = peers() if beside else None
    if others:
        click.echo(as_json(others))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    about = {
        "what": (__doc__ or "").splitlines()[0],
        "date": str(date.today()),
        "machine": machine("mujoco", "gymnasium", "numpy"),
        "cores": cores,
    }
    path = out or Path("benchmarks") / "results" / f"robots-{date.today()}.json"
    write_atomic(path, as_json(about | {"quality": quality, "speed": rates, "peers": others}) + "\n")
    click.echo(f"written: {path}")


if __name__ == "__main__":
    main()
