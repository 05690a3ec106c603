"""How often, how exactly and how fast `hybrid_astar` parks.

    python -m benchmarks.parking --scenario parking --scenario parking/hard --episodes 512

The goal is made strict: to stand within 0.2 m of the middle of the bay, along and across, and within 5 degrees of its direction. Seeds
--seed, --seed + 1, ... Prints the figures and writes them to benchmarks/results/parking-TIME.json. Plans are timed in CPU time of one
thread. Takes about two seconds of one core an episode, most of it simulation; --compile pays from some hundred episodes on.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from agents.commands.output import as_json
from agents.evaluation.rollout import BATCH, rollout
from agents.evaluation.stats import proportion
from agents.planners.base import Scene
from agents.planners.hybrid_astar import HybridAstar
from agents.planners.paths import Points
from agents.planners.policy import PlannerPolicy
from benchmarks.records import RESULTS, keep
from envs.driving.make import sample_episodes
from envs.driving.sim import DrivingSim
from envs.driving.types import Out
from scenarios.episode import Episode

NEAR, STRAIGHT, STILL = 0.2, math.radians(5.0), 0.05  # m, rad, m/s


class Timed(HybridAstar):
    """Notes what each plan took, s."""

    def points(self, scene: Scene, world: int) -> Points | None:
        """As the planner itself."""
        begun = time.process_time()
        found = super().points(scene, world)
        SPENT.append(time.process_time() - begun)
        return found


SPENT: list[float] = []


class Pose:
    """Where the ego stands when an episode is over."""

    def __init__(self, sim: DrivingSim) -> None:
        self.sim = sim

    def begin(self, worlds: Iterable[int]) -> None:
        """Nothing to note."""

    def add(self, out: Out) -> None:
        """Nothing to note."""

    def end(self, world: int) -> dict[str, float]:
        """Metres from the middle of the bay, degrees from its direction, seconds."""
        state, region = self.sim.state, self.sim.setup.region[world].tolist()
        off = math.hypot(float(state.x[world, 0]) - region[0], float(state.y[world, 0]) - region[1])
        askew = math.remainder(float(state.yaw[world, 0]) - region[5], 2.0 * math.pi)
        return {"off": off, "askew": abs(math.degrees(askew)), "time": float(state.step[world]) * self.sim.config.dt}


def strict(episode: Episode) -> Episode:
    """The same with the strict goal. Raises ValueError for an episode without a place for its goal."""
    if episode.goal.region is None:
        raise ValueError(f"{episode.scenario!r}: its goal is no place to stand at")
    size = {"length": 2.0 * NEAR, "width": 2.0 * NEAR}
    region = replace(episode.goal.region, **size, heading_tolerance=STRAIGHT, speed_min=-STILL, speed_max=STILL)
    return replace(episode, goal=replace(episode.goal, region=region))


def driven(scenario: str, episodes: int, seed: int, compiled: bool) -> dict[str, Any]:
    """The figures of one scenario."""
    SPENT.clear()
    policy = PlannerPolicy("hybrid_astar")
    policy.planner = Timed()
    chosen = [strict(episode) for episode in sample_episodes(scenario, episodes, seed)]
    results = rollout(policy, chosen, batch=min(BATCH, episodes), watch=Pose, compile=compiled)
    there = [result.watched for result in results if result.end == "arrived"]
    plans = np.array(SPENT)
    row: dict[str, Any] = {"scenario": scenario, "episodes": episodes, "first_seed": seed, "ends": dict(Counter(r.end for r in results))}
    row["success"] = asdict(proportion(sum(bool(result.metrics.get("success")) for result in results), episodes))
    row["failed_seeds"] = [result.seed for result in results if result.failed]
    for name in ("off", "askew", "time"):
        values = np.array([pose[name] for pose in there] or [math.nan])
        row[name] = {"mean": float(values.mean()), "p95": float(np.percentile(values, 95)), "max": float(values.max())}
    spent = {"median_s": float(np.median(plans)), "p95_s": float(np.percentile(plans, 95)), "max_s": float(plans.max())}
    row["plans"] = {"count": len(plans), "per_second": float(1.0 / plans.mean())} | spent
    return row


@click.command()
@click.option("--scenario", "names", multiple=True, default=("parking", "parking/hard"), show_default=True)
@click.option("--episodes", type=click.IntRange(1), default=512, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=500_000, show_default=True)
@click.option("--compile/--no-compile", "compiled", default=False)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: benchmarks/results/parking-TIME.json]")
def main(names: tuple[str, ...], episodes: int, seed: int, compiled: bool, out: Path | None) -> None:
    """See the module."""
    torch.set_num_threads(1)
    runs = []
    for name in names:
        runs.append(driven(name, episodes, seed, compiled))
        click.echo(as_json(runs[-1]))
    keep(__doc__, out or RESULTS / f"parking-{datetime.now():%Y%m%d-%H%M%S}.json", {"runs": runs})


if __name__ == "__main__":
    main()
