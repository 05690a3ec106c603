"""How the learned predictor does on recordings it has not seen: each one left out in turn, the network trained on the others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from perception.metrics.forecast import figures, score
from perception.prediction.base import Predictor, at_times
from perception.prediction.datasets import UCY, mirrored, windows
from perception.prediction.examples import Examples
from perception.prediction.fitting import adapt, calibrate, fit_network
from perception.prediction.kinematic import ConstantVelocity
from perception.prediction.learned import Learned
from perception.prediction.network import Network
from perception.prediction.samples import Samples, joined, pick, samples_of

__all__ = ["REPORT", "Figures", "Recording", "evaluate_leave_one_out", "judged", "people"]

REPORT = 20  # updates between reports of progress
HELD_OUT = 20  # every 20th row of the training folds is kept for calibration
Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recording, to learn from when another is left out, and to be judged on when it is the one."""

    learn: tuple[Examples, ...]
    judge: Examples
    truth: Tensor | None = None  # (B, T, S2, 2) m at `times`; None: the examples' own futures at the forecasts' steps
    there: Tensor | None = None  # (B, T, S2) bool
    times: Tensor | None = None  # (S2,) s
    horizons: tuple[float, ...] = (3.0, 5.0)


def people(folder: str | Path) -> dict[str, Recording]:
    """The UCY scenes of a folder, judged on every window: 8 observations, 12 predicted, 0.4 s apart. Raises OSError, ValueError."""
    out = {}
    for name, file in UCY.items():
        scene = windows(Path(folder) / file)
        there = scene.judged[..., None].expand(*scene.judged.shape, len(scene.times))
        learn = (scene.examples, mirrored(scene.examples))
        out[name] = Recording(learn=learn, judge=scene.examples, truth=scene.truth, there=there, times=scene.times, horizons=(4.8,))
    return out


def judged(predictor: Predictor, recording: Recording) -> Figures:
    """Figures of a predictor on a recording."""
    given = recording.judge
    forecasts = predictor.predict(given.history, given.tracks, given.roads)
    truth, there = given.future, given.there
    if recording.times is not None and recording.truth is not None and recording.there is not None:
        forecasts, truth, there = at_times(forecasts, given.tracks, recording.times), recording.truth, recording.there
    return figures(score(forecasts, truth, there, horizons=recording.horizons))


def evaluate_leave_one_out(
    recordings: Mapping[str, Recording],
    *,
    base: Network | None = None,
    beside: Samples | None = None,
    share: float = 0.5,
    updates: int = 800,
    rate: float = 1e-3,
    seed: int = 0,
    rivals: Mapping[str, Predictor] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, dict[str, Figures]]:
    """Learn from all recordings but one, judge on that one; for each in turn.

    With updates the network is trained on the others and calibrated on rows of theirs that were kept aside. Without any (updates = 0) the
    weights of `base` stay as they are and it is only adapted (`fitting.adapt`) by the others: better where they are few.

    base: the network to start from (never trained on any of these recordings), None: from scratch. beside: other samples, simulated
    ones say, that make up `share` of every minibatch. rivals: what is judged beside "learned", default: constant velocity. progress is told
    the recording left out, and how much of all is done. Returns recording -> predictor -> figures, and under "all" their means weighted by
    the tracks that count.
    """
    rivals = {"constant_velocity": ConstantVelocity()} if rivals is None else rivals
    each = updates // REPORT + 1  # reports for each recording
    total = each * len(recordings)
    samples = {name: joined(samples_of(part) for part in recording.learn) for name, recording in recordings.items()}
    out: dict[str, dict[str, Figures]] = {}
    for fold, (name, recording) in enumerate(recordings.items()):
        if progress is not None:
            progress(name, fold * each, total)
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        others = joined([part for other, part in samples.items() if other != name])
        held = torch.arange(len(others.target)) % HELD_OUT == 0
        learn, keep = pick(others, (~held).nonzero().squeeze(1)), pick(others, held.nonzero().squeeze(1))
        network = Network() if base is None else copy.deepcopy(base)
        draw = _mix(learn, beside, share, generator)
        for update, _ in fit_network(network, draw, generator, updates=updates, rate=rate, anneal=0.3 if base is None else 0.0):
            if progress is not None and update % REPORT == 0:
                progress(name, fold * each + update // REPORT, total)
        if updates:
            calibrate(network, keep)
        else:
            adapt(network, others)
        predictors = {"learned": Learned(network), **rivals}
        out[name] = {label: judged(predictor, recording) for label, predictor in predictors.items()}
    out["all"] = {label: _mean([row[label] for row in out.values()]) for label in ("learned", *rivals)}
    if progress is not None:
        progress("all", total, total)
    return out


def _mix(learn: Samples, beside: Samples | None, share: float, generator: torch.Generator) -> Callable[[int], Samples]:
    def rows(samples: Samples, count: int) -> Samples:
        return pick(samples, torch.randint(len(samples.target), (count,), generator=generator))

    def draw(count: int) -> Samples:
        some = 0 if beside is None else round(count * share)
        return rows(learn, count) if beside is None else joined([rows(learn, count - some), rows(beside, some)])

    return draw


def _mean(rows: Sequence[Figures]) -> Figures:
    """Means over recordings, each weighted by its count at that horizon."""
    out: Figures = {}
    for name in rows[0]:
        count = "count@" + name.split("@")[1]
        total = sum(row[count] for row in rows)
        if name == count:
            out[name] = total
        else:
            out[name] = sum(row[name] * row[count] for row in rows if row[count] > 0) / total if total else float("nan")
    return out
