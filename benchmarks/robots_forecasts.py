"""People among robots: how well predictors foresee them, and what that is worth to who drives between them.

    python -m benchmarks.robots_forecasts                       # half an hour of one core
    python -m benchmarks.robots_forecasts --episodes 0          # the predictors alone

Forecasts are judged on fresh episodes of `diff_drive_nav` (`agents.robots.futures.held_out`), pasts as believed, futures true, over 2 s;
the intervals (95 %) are of a bootstrap over episodes, since people and moments of one are alike. Driving: success over the episodes
--seed, --seed + 1, ... with intervals (Wilson), and the difference to the expert in the same ones (Newcombe). Writes
benchmarks/results/robots-forecasts-DATE.json.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from agents.commands.output import as_json
from agents.evaluation.speed import machine
from agents.evaluation.stats import mean_interval, paired_difference, proportion
from agents.robots.futures import CONDITIONS, INSTANTS, TEST_SEED, TEST_WORLDS, held_out
from agents.robots.players import PREDICTOR, player_named
from agents.robots.seen import play
from envs.robots import Robots, task_named
from perception.metrics.forecast import score
from perception.prediction.base import STEP, Predictor, at_times
from perception.prediction.kinematic import ConstantVelocity
from perception.prediction.learned import Learned
from perception.prediction.training import moving
from scenarios.files import write_atomic

TASK, AHEAD = "diff_drive_nav", 2.0
FIGURES = (
    "minADE",
    "minFDE",
    "ADE",
    "FDE",
    "nll",
    "likely",
)  # of six futures the nearest; the likeliest; see `perception.metrics.forecast`
PLAYERS = ("expert", "expert_forecasts")
WORLDS = 25  # at once: a batch lasts as long as its longest episode
ROWS = {"learned": PREDICTOR, "learned_driving": "predictor_driving"}


def foreseen(worlds: int) -> list[dict[str, Any]]:
    """A row for each condition and predictor."""
    predictors: dict[str, Predictor] = {"constant_velocity": ConstantVelocity()}
    predictors |= {name: Learned.from_file(file) for name, file in ROWS.items()}
    rows, steps = [], round(AHEAD / STEP)
    times = STEP * torch.arange(1, steps + 1)
    for (level, care), examples in zip(CONDITIONS, held_out(worlds=worlds), strict=True):
        given = moving(examples)
        episode = np.repeat(np.arange(worlds), INSTANTS)[:, None] + np.zeros(given.tracks.mask.shape[1:], dtype=np.int64)
        counts = (given.tracks.mask & given.there[..., :steps].all(-1)).numpy()
        for name, predictor in predictors.items():
            told = at_times(predictor.predict(given.history, given.tracks, given.roads), given.tracks, times)
            found = score(told, given.future[..., :steps, :], given.there[..., :steps], horizons=(AHEAD,))
            row: dict[str, Any] = {"level": level, "care": care, "predictor": name, "episodes": worlds, "people": int(counts.sum())}
            row |= {key: over_episodes(found[f"{key}@{AHEAD:g}"], episode[counts]) for key in FIGURES}
            rows.append(row)
            click.echo(as_json(row))
    return rows


def over_episodes(values: np.ndarray[Any, np.dtype[np.float64]], episode: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, Any]:
    """Mean of the episodes' means, with its interval."""
    return mean_interval([[values[episode == k].mean() for k in np.unique(episode)]]).as_dict()


def driven(who: str, level: str, care: float, episodes: int, seed: int) -> tuple[dict[str, Any], list[bool]]:
    """Success of a player, and in which episodes."""
    won: list[bool] = []
    begun = time.process_time()
    for first in range(seed, seed + episodes, WORLDS):
        seeds = np.arange(first, min(first + WORLDS, seed + episodes))
        robots = Robots(task_named(TASK, care=care), batch=len(seeds), threads=1, observation=level)
        won += play(robots, seeds, player_named(who))[0].tolist()
        robots.close()
    row = {"who": who, "level": level, "care": care, "episodes": episodes, "first_seed": seed}
    lost = [seed + k for k, well in enumerate(won) if not well]
    return row | {"success": asdict(proportion(sum(won), episodes)), "failed_seeds": lost, "cpu_s": time.process_time() - begun}, won


@click.command()
@click.option("--episodes", type=click.IntRange(0), default=200, show_default=True, help="Of driving, each; 0: none.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first.")
@click.option("--worlds", type=click.IntRange(0), default=TEST_WORLDS, show_default=True, help="Episodes to judge forecasts on; 0: none.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: benchmarks/results/robots-forecasts-DATE.json]")
def main(episodes: int, seed: int, worlds: int, out: Path | None) -> None:
    """See the module."""
    torch.set_num_threads(1)
    forecasts = foreseen(worlds) if worlds else []
    driving: list[dict[str, Any]] = []
    for level, care in CONDITIONS if episodes else ():
        rows, won = zip(*(driven(who, level, care, episodes, seed) for who in PLAYERS), strict=True)
        driving += rows
        driving[-1]["less_expert"] = asdict(paired_difference(won[1], won[0]))
        for row in rows:
            click.echo(as_json({key: value for key, value in row.items() if key != "failed_seeds"}))
    about: dict[str, Any] = {"what": (__doc__ or "").splitlines()[0], "date": str(date.today())}
    about |= {"machine": machine("mujoco", "torch", "numpy"), "forecast_episodes_from": TEST_SEED, "ahead_s": AHEAD}
    path = out or Path("benchmarks") / "results" / f"robots-forecasts-{date.today()}.json"
    write_atomic(path, as_json(about | {"forecasts": forecasts, "driving": driving}) + "\n")
    click.echo(f"written: {path}")


if __name__ == "__main__":
    main()
