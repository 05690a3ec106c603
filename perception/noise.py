"""An error model of a detector: what it would have said of a scene whose truth is known, without drawing or looking at any image.

Of every true thing it is drawn whether it is missed; if not, an error of place along and across the line of sight, of size and heading,
its class and a light's state as the detector would confuse them, and a score. False detections are added. Probabilities depend on the
group of classes, the range, and how much is hidden; how likely misses are, also on the weather.

Misses and errors of place last: they are drawn through Gaussian variables z that follow a moving average of white noise over MEMORY steps
with geometric weights, so that neighbouring steps correlate as with an autoregressive process, yet each is a function of (seed, step,
instance) alone. A thing is missed if Phi(z) < p, and of those seen, the larger Phi(z) the better the score: things fade before they vanish.

Shapes: B worlds, D things, G groups of classes, R bins of range, O bins of occlusion, K classes, Q quantiles, W weathers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perception.noise_model import QUANTILES, STATES, NoiseModel, even_noise
from perception.rng import normal, uniform
from perception.states import map_tensors
from perception.types import Detections, Labels, SensorFrame

__all__ = ["CARD", "MEMORY", "NoiseModel", "NoisyOracle", "bare_labels", "even_noise", "kernel"]

CARD = "noise_driving"
MEMORY = 10  # steps
SIGMA_MIN = 0.05  # m, of what is said about an error
BLUR, PLACE, SIZE, SHAPE, TURN, KIND, LIGHT, FALSE, FALSE_PLACE, FALSE_SHAPE, WEATHER = range(16, 27)  # streams of random numbers


class NoisyOracle:
    """A `Witness` that errs as the detector does whose error model it is given.

    weather: name of the weather in all worlds; or a function of seeds (B,) int64 that tells it as indices (B,) int64 into the names
    `conditions`; None: drawn for each by its seed, as often as the model was fitted to each. interval: s
    between steps if others than those the model was fitted to; memories are then taken to the power of the ratio. recall: share kept of
    what the model would detect; what fades first is lost first, and losses last as misses do. position: factor on the errors of place,
    and on what is said about them.
    """

    def __init__(
        self,
        model: NoiseModel,
        *,
        weather: str | Callable[[Tensor], Tensor] | None = None,
        conditions: tuple[str, ...] = (),
        interval: float | None = None,
        recall: float = 1.0,
        position: float = 1.0,
    ) -> None:
        if model.weathers == ("all",):
            weather = None  # the model knows no weather: it errs alike in all
        named = () if weather is None else (weather,) if isinstance(weather, str) else conditions
        for name in named:
            if name not in model.weathers:
                raise ValueError(f"no weather '{name}': the model knows {', '.join(model.weathers)}")
        if interval is not None and not interval > 0.0:
            raise ValueError(f"interval={interval} s: must be positive")
        if not 0.0 <= recall <= 1.0:
            raise ValueError(f"recall={recall}: must be between 0 and 1")
        if not 0.0 <= position < math.inf:
            raise ValueError(f"position={position}: must be 0 or more, and finite")
        ratio = 1.0 if interval is None else interval / model.interval
        life = max(1, round(model.false_life / ratio))
        self.model = replace(
            model,
            interval=interval or model.interval,
            miss_memory=model.miss_memory**ratio,
            place_memory=model.place_memory**ratio,
            false_life=min(life, 1000),
            along=model.along * position,
            across=model.across * position,
        )
        self.recall = recall
        self.classes = model.classes
        self._fixed = model.weathers.index(weather) if isinstance(weather, str) else None
        self._told = weather if callable(weather) else None
        self._rows = [model.weathers.index(name) for name in conditions] if self._told else []
        self._on: dict[torch.device, NoiseModel] = {}

    @classmethod
    def load(cls, card: str | Path = CARD, **options: Any) -> NoisyOracle:
        """By a card's file or the name of one that ships. Raises storage.WeightsError."""
        from perception.noise_card import load_noise

        return cls(load_noise(card), **options)

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """What the detector might have said; D true things and then as many rows as false detections may need."""
        model = self._model(labels.centre.device)
        lens = torch.stack((frame.camera.x.gather(1, labels.camera), frame.camera.y.gather(1, labels.camera)), -1)
        middle = torch.stack((frame.camera.x[:, 0], frame.camera.y[:, 0], frame.camera.yaw[:, 0]), -1)
        true = _altered(model, labels, lens, self._weather(model, seed), self.recall, seed, step)
        return _joined(true, _false(model, middle, frame.speed, labels, seed, step))

    def _weather(self, model: NoiseModel, seed: Tensor) -> Tensor:
        """(B, 1) int64."""
        if self._fixed is not None:
            return torch.full_like(seed, self._fixed).unsqueeze(1)
        if self._told is not None:
            return torch.tensor(self._rows, device=seed.device)[self._told(seed)].unsqueeze(1)
        drawn = uniform(seed, torch.zeros_like(seed), WEATHER, torch.zeros_like(seed))
        return (drawn.unsqueeze(1) >= model.weather_share.cumsum(0)[:-1]).sum(1, keepdim=True)

    def _model(self, device: torch.device) -> NoiseModel:
        if device not in self._on:
            self._on[device] = self.model.to(device)
        return self._on[device]


def kernel(memory: float) -> list[float]:
    """Weights of white noise now, one step ago, ...: squares add up to 1, neighbouring sums correlate by about `memory`."""
    raw = [memory**k for k in range(MEMORY)]
    norm = math.sqrt(sum(w * w for w in raw))
    return [w / norm for w in raw]


def _lasting(memory: float, seed: Tensor, step: Tensor, stream: int, index: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent standard normal numbers that follow their predecessors."""
    weights = [weight for weight in kernel(memory) if weight > 1e-6]
    back = torch.arange(len(weights), device=index.device).view(-1, 1, 1)
    fresh = normal(seed, step - back, stream, index)  # (steps back, B, D) each
    first, second = (weights[0] * part[0] for part in fresh)
    for k in range(1, len(weights)):  # added up in a fixed order
        first, second = first + weights[k] * fresh[0][k], second + weights[k] * fresh[1][k]
    return first, second


def _altered(model: NoiseModel, labels: Labels, lens: Tensor, weather: Tensor, recall: float, seed: Tensor, step: Tensor) -> Detections:
    seed, step = seed.unsqueeze(1), step.unsqueeze(1)
    slot = torch.arange(labels.mask.shape[1], device=labels.mask.device) + (1 << 19)
    who = torch.where(labels.source >= 0, labels.source & ((1 << 19) - 1), slot)  # (B, D)
    group = _groups(model, labels.kind)
    sight = labels.centre[..., :2] - lens
    reach = (sight[..., 0].square() + sight[..., 1].square()).sqrt().clamp(min=0.1)
    ux, uy = sight[..., 0] / reach, sight[..., 1] / reach
    near = torch.bucketize(reach, model.ranges[1:-1].contiguous())
    hidden = torch.bucketize(labels.occlusion.contiguous(), model.hidden[1:-1].contiguous())

    z, _ = _lasting(model.miss_memory, seed, step, BLUR, who)
    odds = model.miss[group, near, hidden].clamp(1e-6, 1.0 - 1e-6)
    bound = torch.special.ndtr(torch.special.ndtri(odds) + model.weather[weather])
    bound = 1.0 - recall * (1.0 - bound) if recall < 1.0 else bound
    level = torch.special.ndtr(z).clamp(max=1.0 - 1e-7)  # below 1, so that a bound of 1 keeps nothing
    luck = ((level - bound) / (1.0 - bound).clamp(min=1e-6)).clamp(0.0, 1.0)  # uniform among what is seen

    za, zc = _lasting(model.place_memory, seed, step, PLACE, who)
    wide = model.spread_hidden[hidden]
    along, across = model.along[group, near], model.across[group, near]
    sigma = torch.stack((along[..., 1] * wide * reach, across[..., 1] * wide * reach), -1)
    off_a, off_c = along[..., 0] * reach + sigma[..., 0] * za, across[..., 0] * reach + sigma[..., 1] * zc
    centre = labels.centre + torch.stack((off_a * ux - off_c * uy, off_a * uy + off_c * ux, torch.zeros_like(off_a)), -1)

    s0, s1 = normal(seed, step, SIZE, who)
    s2, turn = normal(seed, step, SHAPE, who)
    grow = model.size[group]
    size = labels.size * (grow[..., 0] + grow[..., 1] * torch.stack((s0, s1, s2), -1)).exp()
    yaw = model.yaw[group, near]
    flip = uniform(seed, step, TURN, who) < yaw[..., 1]
    told = labels.yaw + yaw[..., 0] * turn + torch.where(flip, math.pi, 0.0)
    kind = _drawn(model.kind[labels.kind], uniform(seed, step, KIND, who))
    lit = labels.light >= 0
    chances = torch.where(lit.unsqueeze(2), model.light[labels.light.clamp(min=0)], 1.0 / STATES)
    lamp = model.classes.index("light") if "light" in model.classes else -1
    return Detections(
        box=labels.box,
        camera=labels.camera,
        kind=kind,
        score=_quantile(model.score[group, near], luck),
        centre=centre,
        size=size,
        yaw=torch.remainder(told + math.pi, 2.0 * math.pi) - math.pi,
        sigma=sigma.clamp(min=SIGMA_MIN),
        light=torch.where(kind == lamp, _drawn(chances, uniform(seed, step, LIGHT, who)), -1),
        source=labels.source,
        mask=labels.mask & (level >= bound),
    )


def _false(model: NoiseModel, middle: Tensor, speed: Tensor, labels: Labels, seed: Tensor, step: Tensor) -> Detections:
    """Things that are not there. Each slot begins a new spell every `false_life` steps, with or without one, which keeps its place over
    ground while the ego goes on (straight on: spells are short)."""
    rate, life, device = model.false_rate, model.false_life, seed.device
    slots = 0 if rate == 0.0 else math.ceil(rate + 3.0 * math.sqrt(rate) + 1.0)  # beyond, a Poisson count is rarer than 1 in 100
    index = torch.arange(slots, device=device)
    phase = index * 7 % life
    count = step.unsqueeze(1) + phase  # (B, F)
    spell, age = count // life, (count % life).to(torch.float32)
    seed = seed.unsqueeze(1)
    there = uniform(seed, spell, FALSE, index) < rate / max(slots, 1)
    first, second = uniform(seed, spell, FALSE_PLACE, index), uniform(seed, spell, FALSE_PLACE, index + slots)
    pick, within = uniform(seed, spell, FALSE_PLACE, index + 2 * slots), uniform(seed, spell, FALSE_PLACE, index + 3 * slots)
    what, luck = uniform(seed, spell, FALSE_SHAPE, index), uniform(seed, spell, FALSE_SHAPE, index + slots)
    near = _drawn(model.false_range.expand(*spell.shape, -1), pick)
    reach = model.ranges[near] + (model.ranges[near + 1] - model.ranges[near]) * within
    bearing = (middle[:, 2:] + (2.0 * first - 1.0) * model.false_bearing).contiguous()
    x = middle[:, :1] + reach * bearing.cos() - speed.unsqueeze(1) * model.interval * age
    y = middle[:, 1:2] + reach * bearing.sin()
    kind = _drawn(model.false_kind.expand(*spell.shape, -1), what)
    group = _groups(model, kind)
    usual = labels.centre.new_tensor([_SIZES.get(name, _SIZES["car"]) for name in model.classes])[kind]
    sigma = torch.stack((model.along[group, near, 1] * reach, model.across[group, near, 1] * reach), -1)
    lamp = model.classes.index("light") if "light" in model.classes else -1
    state = _drawn(usual.new_full((*kind.shape, STATES), 1.0 / STATES), second)
    return Detections(
        box=usual.new_full((*kind.shape, 4), torch.nan),
        camera=torch.zeros_like(kind),
        kind=kind,
        score=_quantile(model.false_score.expand(*kind.shape, -1), luck),
        centre=torch.stack((x, y, 0.5 * usual[..., 2]), -1),
        size=usual,
        yaw=(2.0 * second - 1.0) * math.pi,
        sigma=sigma.clamp(min=SIGMA_MIN),
        light=torch.where(kind == lamp, state, -1),
        source=torch.full_like(kind, -1),
        mask=there & (x > middle[:, :1]),
    )


_SIZES = {
    "car": (4.5, 1.8, 1.5),
    "truck": (8.5, 2.5, 3.2),
    "bus": (12.0, 2.5, 3.2),
    "motorcycle": (2.2, 0.8, 1.5),
    "bicycle": (1.8, 0.6, 1.7),
    "pedestrian": (0.5, 0.5, 1.75),
    "light": (0.3, 0.3, 0.9),
}  # m; fmt: skip


def _joined(true: Detections, false: Detections) -> Detections:
    return map_tensors(lambda a, b: torch.cat((a, b.to(a.dtype)), 1), true, false)


def _groups(model: NoiseModel, kind: Tensor) -> Tensor:
    """Index of the group of every class."""
    table = [next(i for i, group in enumerate(model.groups) if name in group) for name in model.classes]
    return torch.tensor(table, device=kind.device)[kind]


def _drawn(chances: Tensor, luck: Tensor) -> Tensor:
    """An index for each row of probabilities (..., N), by luck (...) uniform in [0, 1)."""
    total = chances[..., 0]
    index = torch.zeros_like(luck, dtype=torch.int64)
    for k in range(1, chances.shape[-1]):  # added up in a fixed order
        index = index + (luck >= total)
        total = total + chances[..., k]
    return index


def _quantile(table: Tensor, luck: Tensor) -> Tensor:
    """Values (..., Q) at 0, 1/(Q-1), ..., 1, linearly in between."""
    at = luck * (QUANTILES - 1)
    low = at.floor().clamp(0, QUANTILES - 2)
    k = low.to(torch.int64).unsqueeze(-1)
    below, above = table.gather(-1, k).squeeze(-1), table.gather(-1, k + 1).squeeze(-1)
    return below + (above - below) * (at - low)


def bare_labels(
    *, kind: Tensor, centre: Tensor, size: Tensor, yaw: Tensor, velocity: Tensor, source: Tensor, mask: Tensor,
    occlusion: Tensor | None = None, light: Tensor | None = None, camera: Tensor | None = None,
) -> Labels:  # fmt: skip
    """Truth from geometry alone, (B, D, ...): boxes and truncation are NaN and 0, the images empty."""
    batch, zero = len(kind), torch.zeros_like(kind)
    empty = centre.new_zeros((batch, 0, 0, 0))
    return Labels(
        box=centre.new_full((*kind.shape, 4), torch.nan),
        camera=zero if camera is None else camera,
        kind=kind,
        centre=centre,
        size=size,
        yaw=yaw,
        velocity=velocity,
        light=zero - 1 if light is None else light,
        occlusion=torch.zeros_like(yaw) if occlusion is None else occlusion,
        truncation=torch.zeros_like(yaw),
        source=source,
        mask=mask,
        depth=empty,
        instance=empty.to(torch.int64),
        semantic=empty.to(torch.int64),
    )
