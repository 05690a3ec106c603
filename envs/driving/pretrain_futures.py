"""The recipe of the shipped behaviour predictor: which simulated traffic it learns from, and on which it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from envs.driving.futures import TEST_SEED, TRAIN_SEED, VALIDATION_SEED, families, stream
from perception.prediction.examples import Examples
from perception.prediction.training import Pretraining, Progress, pretrain

__all__ = ["calibrating", "held_out", "pretrain_driving"]

WORLDS, SCENES, ROUNDS = 12, 960, 1  # episodes of each family run together, scenes drawn from each, how often
RESTLESS = 0.5  # share of the worlds whose drivers keep changing the speed they want
TEST_WORLDS, TEST_SCENES = 6, 120
TRACKED = 0.25  # share of the pasts to calibrate by that are as a tracker sees them: exact ones are foreseen better
DATA = (
    "{worlds} episodes of each of {families} scenarios of the library driven by its traffic model, seeds {seed} up; "
    "calibrated by {few} of each, seeds {validation} up, with calm drivers; nothing else"
)


def held_out(
    names: Sequence[str] | None = None, *, seed: int = 0, worlds: int = TEST_WORLDS, scenes: int = TEST_SCENES
) -> Iterator[Examples]:
    """Simulated traffic to be judged on, in which nothing is disturbed: episodes from TEST_SEED + seed on, never trained on.

    One batch for each scenario (default: every family, easy and hard) and each of three lengths of the past.
    """
    return stream(names or families(), seed=TEST_SEED + seed, worlds=worlds, scenes=scenes, noise=0.0, restless=0.0)


def calibrating(names: Sequence[str] | None = None, *, worlds: int = TEST_WORLDS, scenes: int = TEST_SCENES) -> Iterator[Examples]:
    """Traffic to fit ellipses and probabilities to: calm drivers, a quarter of the pasts as a tracker sees them, seeds of its own."""
    return stream(names or families(), seed=VALIDATION_SEED, worlds=worlds, scenes=scenes, noise=TRACKED, restless=0.0)


def pretrain_driving(
    target: str | Path,
    *,
    config: Pretraining | None = None,
    worlds: int = WORLDS,
    scenes: int = SCENES,
    rounds: int = ROUNDS,
    names: tuple[str, ...] | None = None,
    command: str = "",
    progress: Callable[[Progress], None] | None = None,
    resume: bool = False,
) -> Path:
    """Pretrain the predictor on simulated traffic and judge it on episodes it has not seen; writes `target` and its card.

    names: scenarios, all families by default. The other arguments as in `perception.prediction.training.pretrain`.
    """
    chosen = names or families()
    learn = stream(chosen, seed=TRAIN_SEED, worlds=worlds, scenes=scenes, rounds=rounds, restless=RESTLESS)
    few, some = min(worlds, TEST_WORLDS), min(scenes, TEST_SCENES)
    calm = calibrating(chosen, worlds=few, scenes=some)
    test = held_out(chosen, worlds=few, scenes=some)
    data = DATA.format(worlds=worlds * rounds, families=len(chosen), seed=TRAIN_SEED, few=few, validation=VALIDATION_SEED)
    batches = 3 * len(chosen) * rounds
    return pretrain(
        learn, test, target, config=config, calibration=calm, batches=batches, command=command, data=data, progress=progress, resume=resume
    )
