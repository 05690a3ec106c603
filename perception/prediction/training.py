"""Pretraining the learned predictor on any labelled stream, and judging it.

A stream yields `Examples` for ever or for a while; this module knows nothing of where they come from. The run can be stopped and resumed:
its state lies in one safetensors file beside the result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.metrics.forecast import figures, score
from perception.prediction.base import STEP, STEPS, WALKERS, Predictor, no_roads
from perception.prediction.examples import Examples, take
from perception.prediction.fitting import BATCH, calibrate, fit_network
from perception.prediction.kinematic import ConstantVelocity
from perception.prediction.learned import KIND, Learned, stored_network
from perception.prediction.network import Network
from perception.prediction.samples import Samples, joined, pick, samples_of
from perception.storage import Stored, WeightsError, load, save

__all__ = ["Progress", "Pretraining", "fit_spread", "judge", "moving", "pretrain", "samples_to_judge"]

STILL = 0.5  # m, whoever moves less over what is known of the future stands: easy for anybody, so weighed little and not judged
STILL_SHARE = 0.1  # weight of a standing track when minibatches are drawn
HELD_OUT = 0.08  # share of the scenes of the stream kept for calibration
CHUNK = 256  # scenes turned into samples or forecasts at once
REPORT = 100  # updates between progress reports
SAVE = 500  # updates between checkpoints
QUANTILE = 1.9  # sigma that hold 90 % of a coordinate's errors: between 1.645 (one coordinate) and 2.146 (two equal ones together)
Curve = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How to pretrain. Raises ValueError on nonsense."""

    updates: int = 6000
    seed: int = 0
    people: float = 0.25  # share of each minibatch from `extra` streams, where there are some

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise ValueError(f"updates={self.updates}: must be at least 1")
        if not 0.0 <= self.people < 1.0:
            raise ValueError(f"people={self.people}: must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a callback is told."""

    stage: str  # "data" | "fit" | "calibrate" | "judge"
    done: int
    total: int  # 0: not known
    seconds: float
    note: str = ""


def pretrain(
    stream: Iterable[Examples],
    test: Iterable[Examples],
    target: str | Path,
    *,
    config: Pretraining | None = None,
    extra: Iterable[Examples] = (),
    calibration: Iterable[Examples] | None = None,
    batches: int = 0,
    command: str = "",
    data: str = "",
    progress: Callable[[Progress], None] | None = None,
    resume: bool = False,
) -> Path:
    """Train on `stream` (finite; `batches` long, for the progress alone), judge on `test`, write weights and card.

    target: the .safetensors to write; the card goes beside it, the state of the run to `<name>.state.safetensors` until it is finished.
    extra: more examples, of people say, that get their own share of every minibatch. calibration: what the ellipses and the probabilities
    are fitted to, None: the tails of `stream` and `extra` that are not learned from. command, data: for the card. resume: go on from the
    state, if there is one; the minibatches after that are others than without the break. Returns `target`.
    Raises storage.WeightsError for a broken state, ValueError for an empty stream.
    """
    config, target = config or Pretraining(), Path(target)
    state = target.with_suffix(".state.safetensors")
    begun = time.monotonic()

    def tell(stage: str, done: int, total: int, note: str = "") -> None:
        if progress is not None:
            progress(Progress(stage=stage, done=done, total=total, seconds=time.monotonic() - begun, note=note))

    torch.manual_seed(config.seed)
    network, generator = Network(), torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    start, before = _restore(state, network, optimiser) if resume and state.exists() else (0, 0.0)
    pool, held = _collect(stream, generator, lambda i: tell("data", i, batches))
    others, others_held = _collect(extra, generator, lambda i: None) if extra else (None, None)
    draw = _drawer(pool, others, config.people, generator)
    generator.manual_seed(config.seed + 1 + start)
    total_loss = 0.0
    for update, loss in fit_network(network, draw, generator, updates=config.updates, start=start, optimiser=optimiser):
        total_loss += loss
        if update % REPORT == 0:
            tell("fit", update, config.updates, f"loss {total_loss / REPORT:.4f}")
            total_loss = 0.0
        if update % SAVE == 0 and update < config.updates:
            _keep(state, network, optimiser, update, before + time.monotonic() - begun)
    tell("calibrate", 0, 1)
    if calibration is None:
        calibrate(network, held if others_held is None else joined([held, others_held]))
    else:
        calibrate(network, samples_to_judge(calibration))
    tell("judge", 0, 1)
    judged = _report(network, test)
    card = {
        "what": "behaviour predictor: agents-and-lanes transformer, 6 modes over 5 s",
        "data": data,
        "command": command,
        "seed": config.seed,
        "config": asdict(config),
        "samples": len(pool.target) + (0 if others is None else len(others.target)),
        "batch": BATCH,
        "parameters": sum(p.numel() for p in network.parameters()),
        "metrics": judged,
        "seconds": round(before + time.monotonic() - begun, 1),
        "versions": {"torch": torch.__version__},
        "licence": "Apache-2.0",
    }
    save(target, stored_network(network, target.stem), card=card)
    state.unlink(missing_ok=True)
    tell("judge", 1, 1)
    return target


def _collect(stream: Iterable[Examples], generator: torch.Generator, tell: Callable[[int], None]) -> tuple[Samples, Samples]:
    """Samples to learn from and to calibrate by. Calibration takes whole batches' tails, so that neighbouring instants stay together."""
    learn, keep = [], []
    for i, examples in enumerate(stream):
        count = len(examples.future)
        first = count - max(1, round(count * HELD_OUT))
        learn += [samples_of(take(examples, torch.arange(a, min(a + CHUNK, first)))) for a in range(0, first, CHUNK)]
        keep.append(samples_of(take(examples, torch.arange(first, count))))
        tell(i + 1)
    if not learn:
        raise ValueError("the stream is empty: nothing to learn from")
    return joined(learn), joined(keep)


def samples_to_judge(examples: Iterable[Examples]) -> Samples:
    """Samples of all that moves: what `judge` counts. Raises ValueError for no examples."""
    parts = [samples_of(part) for given in examples for part in _chunks(moving(given))]
    if not parts:
        raise ValueError("no examples: nothing to calibrate by")
    return joined(parts)


def _chunks(examples: Examples) -> Iterator[Examples]:
    """The scenes, CHUNK at a time."""
    for first in range(0, len(examples.future), CHUNK):
        yield take(examples, torch.arange(first, min(first + CHUNK, len(examples.future))))


def _drawer(pool: Samples, others: Samples | None, share: float, generator: torch.Generator) -> Callable[[int], Samples]:
    """Minibatches: the standing seldom, and a fixed share of `others`."""
    far = (pool.target.norm(dim=-1) * pool.there).amax(-1)
    odds = torch.where(far < STILL, STILL_SHARE, 1.0).cumsum(0)

    def draw(count: int) -> Samples:
        some = 0 if others is None else round(count * share)
        point = torch.rand(count - some, generator=generator) * odds[-1]
        chosen = pick(pool, torch.searchsorted(odds, point).clamp(max=len(odds) - 1))
        if others is None or not some:
            return chosen
        return joined([chosen, pick(others, torch.randint(len(others.target), (some,), generator=generator))])

    return draw


def moving(examples: Examples) -> Examples:
    """Examples in which only those who move in what is known of their future are judged."""
    far = ((examples.future - examples.tracks.mean[..., None, :2]).norm(dim=-1) * examples.there).amax(-1)
    return examples._replace(there=examples.there & (far > STILL).unsqueeze(-1))


def judge(predictor: Predictor, examples: Iterable[Examples], *, with_roads: bool = True) -> dict[str, float]:
    """Figures (`metrics.forecast.figures`) of a predictor at 3 and 5 s over all that moves."""
    parts = []
    for given in examples:
        for part in _chunks(moving(given)):
            roads = part.roads if with_roads else no_roads(len(part.future))
            parts.append(score(predictor.predict(part.history, part.tracks, roads), part.future, part.there))
    if not parts:
        return {}
    return figures({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _report(network: Network, test: Iterable[Examples]) -> dict[str, Any]:
    """Figures for the card."""
    examples = list(test)
    rows = {
        "learned": judge(Learned(network), examples),
        "learned without map": judge(Learned(network), examples, with_roads=False),
        "constant_velocity": judge(ConstantVelocity(), examples),
    }
    rounded = {name: {key: round(value, 4) for key, value in row.items() if math.isfinite(value)} for name, row in rows.items()}
    right, labelled = 0, 0
    for part in examples:
        said = Learned(network).predict(part.history, part.tracks, part.roads).manoeuvre.argmax(-1)
        known = part.tracks.mask & (part.manoeuvre >= 0)
        right, labelled = right + int(((said == part.manoeuvre) & known).sum()), labelled + int(known.sum())
    return {**rounded, **({"manoeuvre_accuracy": round(right / labelled, 4)} if labelled else {})}


def fit_spread(predictor: Predictor, examples: Iterable[Examples]) -> dict[str, tuple[Curve, Curve]]:
    """Constants for `kinematic.SPREAD`: for vehicles and walkers (along, across), each a curve s0 + s1 t + s2 t^2.

    A coordinate's error is within QUANTILE sigma in 90 % of the cases; the factor makes the ellipse of the two hold about as many. The
    errors are those of the mode nearest to the truth, along its motion and across.
    """
    errors: dict[str, list[list[Tensor]]] = {"vehicle": [], "walker": []}
    for given in examples:
        part = moving(given)
        forecasts = predictor.predict(part.history, part.tracks, part.roads)
        offset = part.future[:, :, None] - forecasts.mean  # (B, T, K, S, 2)
        known = part.there & part.tracks.mask.unsqueeze(-1)
        best = (offset.norm(dim=-1) * known[:, :, None]).sum(-1).argmin(2)[..., None, None, None]
        offset = offset.gather(2, best.expand(*best.shape[:2], 1, *offset.shape[3:])).squeeze(2)
        start = part.tracks.mean[..., None, None, :2].expand(*forecasts.mean.shape[:3], 1, 2)
        stride = torch.cat([start, forecasts.mean], dim=3).diff(dim=3)  # the motion of every step
        stride = stride.gather(2, best.expand(*best.shape[:2], 1, *stride.shape[3:])).squeeze(2)
        c, s = (stride / stride.norm(dim=-1, keepdim=True).clamp(min=1e-6)).unbind(-1)
        x, y = offset.unbind(-1)
        parts = torch.stack([(x * c + y * s).abs(), (y * c - x * s).abs()])  # (2, B, T, S)
        for name, group in (("walker", part.tracks.kind == WALKERS), ("vehicle", part.tracks.kind != WALKERS)):
            chosen = known & group.unsqueeze(-1)
            errors[name].append([parts[..., k][:, chosen[..., k]] for k in range(STEPS)])
    return {name: _curves([torch.cat([part[s] for part in found], dim=1) for s in range(STEPS)]) for name, found in errors.items()}


def _curves(errors: list[Tensor]) -> tuple[Curve, Curve]:
    """Curves through the 90 % quantiles of errors, per step (2, n), by least squares of the relative difference."""
    sigma = torch.stack([torch.quantile(step, 0.9, dim=1) / QUANTILE for step in errors]).clamp(min=0.02)  # (S, 2)
    time = torch.arange(1, STEPS + 1) * STEP
    basis = torch.stack([torch.ones_like(time), time, time**2], dim=-1)
    along, across = (torch.linalg.lstsq(basis / sigma[:, i : i + 1], torch.ones(STEPS, 1)).solution[:, 0].tolist() for i in (0, 1))
    return (along[0], along[1], along[2]), (across[0], across[1], across[2])


def _keep(path: Path, network: Network, optimiser: torch.optim.Optimizer, update: int, seconds: float) -> None:
    """The state of a run as tensors: weights, and AdamW's two moments in the order of the parameters."""
    tensors = {f"network.{key}": value.detach().clone() for key, value in network.state_dict().items()}
    for i, parameter in enumerate(network.parameters()):
        moments: Mapping[str, Tensor] = optimiser.state[parameter]
        tensors |= {f"optimiser.{i}.{name}": moments[name].detach().clone() for name in ("step", "exp_avg", "exp_avg_sq")}
    save(path, Stored(kind=f"{KIND}-state", name=path.stem, spec={"update": update, "seconds": seconds}, tensors=tensors))


def _restore(path: Path, network: Network, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
    """Put a run's state back; returns the updates done and the seconds they took. Raises storage.WeightsError."""
    stored = load(path, kind=f"{KIND}-state")
    try:
        network.load_state_dict({key[8:]: value for key, value in stored.tensors.items() if key.startswith("network.")})
        for i, parameter in enumerate(network.parameters()):
            optimiser.state[parameter] = {name: stored.tensors[f"optimiser.{i}.{name}"] for name in ("step", "exp_avg", "exp_avg_sq")}
        return int(stored.spec["update"]), float(stored.spec["seconds"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: no state of this version's predictor: {error}") from None
