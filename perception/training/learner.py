"""What changes while the detector learns: network, moving average, optimiser, and how they are kept in a checkpoint."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perception.detectors.network import Network, NetworkSpec, split
from perception.storage import Stored, WeightsError, fit, load, save
from perception.training.feed import Batch
from perception.training.losses import Weights, loss

__all__ = ["Learner", "Recipe", "finite", "restore_checkpoint", "save_checkpoint"]

KIND = "detector-checkpoint"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How it learns. Raises ValueError on what cannot be."""

    rate: float = 3e-3  # learning rate at its highest
    decay: float = 1e-3  # of weights
    average: float = 0.998  # of the moving average, per step
    seed: int = 0
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1 or not 0 <= self.average < 1 or not 0 <= self.seed < 1000:
            raise ValueError(f"rate={self.rate}, average={self.average}, seed={self.seed}: out of range")


class Learner:
    """All that changes while a run goes."""

    def __init__(self, recipe: Recipe, classes: tuple[str, ...], **network: Any) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.network = Network(NetworkSpec(classes=classes, **network)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: Network = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(_groups(self.network, recipe.decay), lr=recipe.rate, betas=(0.9, 0.98))
        self.step, self.seconds = 0, 0.0
        self.rows: list[dict[str, float]] = []  # of validations

    def learn(self, batch: Batch, progress: float) -> dict[str, float]:
        """One step, `progress` of the run being done; the terms of the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate * _cycle(progress)
        image = batch.image.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            output = self.network(image, batch.where)
        maps = split(output.float(), batch.target.shape[1])
        terms = loss(maps, batch.things, batch.target, batch.counts)
        total = terms.total(self.recipe.weights)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        self._follow(min(self.recipe.average, (1 + self.step) / (10 + self.step)))
        return {"loss": float(total.detach())} | {name: float(value.detach()) for name, value in terms._asdict().items()}

    @torch.no_grad()
    def _follow(self, keep: float) -> None:
        own, average = self.network.state_dict(), self.average.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([average[name] for name in floats], [own[name] for name in floats], 1.0 - keep)

    def folded(self) -> Network:
        """The averaged network, ready for use."""
        return copy.deepcopy(self.average).fold()


def save_checkpoint(path: Path, state: Learner, domain: str) -> None:
    """The run's state, so that it can go on."""
    tensors: dict[str, Tensor] = {}
    tensors |= {f"network.{name}": value.clone() for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value.clone() for name, value in state.average.state_dict().items()}
    for index, value in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(entry).clone() for name, entry in value.items()}
    spec = {"step": state.step, "seconds": state.seconds, "rows": [finite(row) for row in state.rows], "domain": domain}
    save(path, Stored(kind=KIND, name="checkpoint", spec=spec, tensors=tensors))


def restore_checkpoint(path: Path, state: Learner, domain: str) -> None:
    """Put a checkpoint's state into `state`. Raises WeightsError if it does not fit."""
    stored = load(path, kind=KIND)
    try:
        state.step, state.seconds = int(stored.spec["step"]), float(stored.spec["seconds"])
        state.rows = [{key: float("nan") if v is None else float(v) for key, v in row.items()} for row in stored.spec["rows"]]
        same = stored.spec["domain"] == domain
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged: {error}") from None
    if not same:
        raise WeightsError(f"{path}: is of domain {stored.spec['domain']}, the run of {domain}")

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in stored.tensors.items() if name.startswith(prefix)}

    for network, prefix in ((state.network, "network."), (state.average, "average.")):
        fit(network, Stored(kind=KIND, name=str(path), spec={}, tensors=part(prefix)))
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in part("optimiser.").items():
        index, _, key = name.partition(".")
        entries.setdefault(int(index), {})[key] = value
    try:
        state.optimiser.load_state_dict({"state": entries, "param_groups": state.optimiser.state_dict()["param_groups"]})
    except (ValueError, KeyError, RuntimeError) as error:
        raise WeightsError(f"{path}: the optimiser's state does not fit: {error}") from None


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights of convolutions decay, biases and normalisations do not."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    return [{"params": weights, "weight_decay": decay}, {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0}]


def _cycle(progress: float, *, warm: float = 0.08) -> float:
    """Share of the highest learning rate: up over `warm` of the run, down along a cosine to a thousandth."""
    if progress < warm:
        return 0.04 + 0.96 * progress / warm
    return 0.001 + 0.999 * 0.5 * (1.0 + math.cos(math.pi * min((progress - warm) / (1.0 - warm), 1.0)))


def finite(value: Any) -> Any:
    """For JSON, which has no NaN: null."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
