"""Where people in the rooms of `diff_drive_nav` went: the labelled stream on which predictors are trained and judged, and the recipe of the
predictor that ships.

Pasts are what is believed, on a level of seeing, by a base whose expert drives among them; futures are the truth.
Shapes: T decisions, B worlds, P people, N scenes, S steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agents.robots.experts import expert_for
from agents.robots.forecasting import LONG, Memory, Now, as_seen, look
from agents.robots.seen import whose
from envs.robots.physics import Floats
from envs.robots.registry import task_named
from envs.robots.robots import Robots
from perception.prediction.base import STEP, STEPS, no_roads
from perception.prediction.examples import Examples
from perception.prediction.training import Pretraining, Progress, pretrain

__all__ = ["CONDITIONS", "TEST_SEED", "TRAIN_SEED", "Run", "cut_out", "held_out", "pretrain_robots", "simulate", "stream"]

Ints = NDArray[np.int64]

TASK = "diff_drive_nav"
TRAIN_SEED, TEST_SEED = 2_700_000, 900_000  # first seeds of the episodes; no two sets meet
CONDITIONS = tuple((level, care) for level in ("truth", "perceived") for care in (1.0, 0.0))
WORLDS, INSTANTS, TEST_WORLDS = 64, 25, 24  # episodes of each condition, scenes cut out of each
LOOKED, STEP_DECISIONS = 200, 5  # decisions that scenes are cut out of, 20 s; decisions between the steps of a future
GATE = 1.0  # m from the truth, beyond which nobody can say whom a belief is of
DATA = (
    "{worlds} episodes of diff_drive_nav driven by its expert for each of {conditions}, seeds {seed} up, no two conditions the same ones; "
    "pasts as believed, futures true; calibrated by those of each that were not learned from; nothing else"
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Worlds watched from the beginning of their episodes on, past arrival or touching: people walk on."""

    people: Floats  # (T, B, P, 4) as believed, see `forecasting.Now`
    known: NDArray[np.bool_]  # (T, B, P)
    base: Floats  # (T, B, 5)
    truth: Floats  # (T, B, P, 2) m
    dt: float  # s a decision


def simulate(seeds: Sequence[int], *, level: str, care: float = 1.0, decisions: int) -> Run:
    """Let the expert drive on a level, and look over its shoulder until `decisions` have all of their future. Raises as `Robots`."""
    robots = Robots(task_named(TASK, care=care), batch=len(seeds), threads=1, observation=level)
    robots.reset(np.array(seeds, dtype=np.int64))
    expert, told, truth = expert_for(robots), list[Now](), list[Floats]()
    try:
        for decision in range(decisions + STEPS * STEP_DECISIONS):
            if decision:
                robots.step(expert.act(robots))
            told.append(look(robots))
            truth.append(robots.task.locate(robots.physics).position[..., :2])
    finally:
        robots.close()
    people, known, base = (np.stack(parts) for parts in zip(*told, strict=True))
    assert round(STEP / robots.dt) == STEP_DECISIONS
    return Run(people=people, known=known, base=base, truth=np.stack(truth), dt=robots.dt)


def cut_out(run: Run, world: Ints, decision: Ints) -> Examples:
    """Scenes (N,) of a run: pasts as a `Forecaster` would remember them then. Whose belief is of nobody has no future."""
    at = np.maximum(decision[:, None] + np.arange(1 - LONG, 1), 0)  # (N, L); those before the beginning are not counted
    past = (part[at, world[:, None]] for part in (run.people, run.known, run.base))
    history, tracks = as_seen(Memory(world, decision, np.minimum(decision + 1, LONG), *past), run.dt)
    believed, known, truth = run.people[decision, world, :, :2], run.known[decision, world], run.truth[decision, world]
    who = whose(truth, believed, known)  # (N, P)
    near = np.sqrt(((believed - np.take_along_axis(truth, who[..., None], 1)) ** 2).sum(-1)) < GATE
    later = decision[:, None] + STEP_DECISIONS * np.arange(1, STEPS + 1)  # (N, S)
    future = run.truth[later[:, None], world[:, None, None], who[..., None]]  # (N, P, S, 2)
    there = np.broadcast_to((known & near)[..., None], future.shape[:3])
    nothing = torch.full(known.shape, -1)
    return Examples(history, tracks, no_roads(len(world)), torch.from_numpy(future).float(), torch.from_numpy(there.copy()), nothing)


def stream(*, seed: int, worlds: int, instants: int = INSTANTS, conditions: Sequence[tuple[str, float]] = CONDITIONS) -> Iterator[Examples]:
    """Scenes of `worlds` fresh episodes for each condition (level of seeing, care), `instants` of each, evenly over 20 s.

    Episodes are `seed` and on, world after world, so that the tail of a batch is of others than its beginning.
    """
    decision = np.linspace(0, LOOKED - 1, instants).round().astype(np.int64)
    for number, (level, care) in enumerate(conditions):
        run = simulate(range(seed + number * worlds, seed + (number + 1) * worlds), level=level, care=care, decisions=LOOKED)
        yield cut_out(run, np.repeat(np.arange(worlds), instants), np.tile(decision, worlds))


def held_out(*, worlds: int = TEST_WORLDS, conditions: Sequence[tuple[str, float]] = CONDITIONS) -> Iterator[Examples]:
    """Scenes to be judged on, one batch for each condition: episodes from TEST_SEED on, never trained on."""
    return stream(seed=TEST_SEED, worlds=worlds, conditions=conditions)


def pretrain_robots(
    target: str | Path,
    *,
    config: Pretraining | None = None,
    worlds: int = WORLDS,
    test_worlds: int = TEST_WORLDS,
    command: str = "",
    progress: Callable[[Progress], None] | None = None,
    resume: bool = False,
) -> Path:
    """Pretrain the predictor on people in robots' rooms and judge it on episodes it has not seen; writes `target` and its card.

    The arguments are those of `perception.prediction.training.pretrain`.
    """
    told = ", ".join(f"{level} with care {care:g}" for level, care in CONDITIONS)
    return pretrain(
        stream(seed=TRAIN_SEED, worlds=worlds), held_out(worlds=min(worlds, test_worlds)), target, config=config,
        batches=len(CONDITIONS), command=command, data=DATA.format(worlds=worlds, conditions=told, seed=TRAIN_SEED),
        progress=progress, resume=resume,
    )  # fmt: skip
