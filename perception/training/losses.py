"""How far the detector's network is from its targets. Every term is a mean over the things taught.

Shapes as in `targets`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, smooth_l1_loss

from perception.detectors.network import BINS, FINE, Maps, coarse, over_parts, read
from perception.training.targets import Objects, cells

__all__ = ["Terms", "Weights", "loss"]

FADE = 4.0  # beta of "Objects as Points", equation 1: how fast the punishment fades near a middle
SPREAD_LOW, SPREAD_HIGH = -5.0, 3.0  # log; bounds of the learned spreads


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Of the terms in the sum."""

    heat: float = 1.0
    box: float = 1.5
    depth: float = 0.6
    dims: float = 0.5
    heading: float = 1.5
    centre: float = 0.3
    light: float = 0.3


class Terms(NamedTuple):
    """Scalars."""

    heat: Tensor
    box: Tensor
    depth: Tensor
    dims: Tensor
    heading: Tensor
    centre: Tensor
    light: Tensor

    def total(self, weights: Weights) -> Tensor:
        """The weighted sum."""
        terms = self._asdict()
        return torch.stack([terms[name] * weight for name, weight in vars(weights).items()]).sum()


def loss(maps: Maps, things: Objects, target: Tensor, counts: Tensor) -> Terms:
    """maps float32; target (N, K, h, w) and counts (N, h, w) from `targets.heat`."""
    height, width = target.shape[-2:]
    cell, weight = cells(things, height, width)

    def at(values: Tensor) -> Tensor:  # (N, Q, h, w) or (N, Q, g, f) -> (N, D, M, Q)
        return read(values, cell.flatten(1), width).reshape(*cell.shape, -1)

    number = things.learn.sum().clamp(min=1).to(target.dtype)
    share = weight / weight.sum().clamp(min=1.0)
    solid = weight * things.learn_3d[..., None]
    share_3d = solid / solid.sum().clamp(min=1.0)
    middle, of_cell = _middle(cell, width), FINE * _middle(coarse(cell, width), width // FINE)  # (N, D, M, 2)
    return Terms(
        heat=_focal(over_parts(maps.kind) + maps.part, target, counts) / number,
        box=(_box(middle, at(maps.offset), at(maps.size), things.box[:, :, None]) * share).sum(),
        depth=(_laplace(at(maps.depth)[..., 0] - things.depth[..., None], at(maps.depth_spread)[..., 0]) * share_3d).sum(),
        dims=((at(maps.dims) - things.dims[:, :, None]).abs().mean(-1) * share).sum(),
        heading=(_heading(at(maps.heading), things.heading[..., None]) * share).sum(),
        centre=(_centre(of_cell + at(maps.centre) - things.centre[:, :, None], at(maps.side_spread)[..., 0]) * share_3d).sum(),
        light=_light(at(maps.light), things.light, weight),
    )


def _middle(place: Tensor, columns: int) -> Tensor:
    return torch.stack((place % columns, torch.div(place, columns, rounding_mode="floor")), -1) + 0.5


def _focal(logit: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """-(1 - p)^2 log p at middles, -(1 - y)^4 p^2 log(1 - p) elsewhere ("Objects as Points", equation 1), summed."""
    p = logit.sigmoid()
    middle = (target > 0.999).to(logit.dtype)
    hit = (1.0 - p).square() * logsigmoid(logit) * middle
    miss = (1.0 - target).pow(FADE) * p.square() * logsigmoid(-logit) * (1.0 - middle) * counts[:, None]
    return -(hit + miss).sum()


def _box(middle: Tensor, offset: Tensor, size: Tensor, box: Tensor) -> Tensor:
    """1 - GIoU (Rezatofighi et al. 2019) plus the distance of middle and log size, which leads where boxes do not meet."""
    box = box.expand(*offset.shape[:-1], 4)
    wanted_size = (box[..., 2:] - box[..., :2]).clamp(min=0.1)
    wanted_middle = 0.5 * (box[..., 2:] + box[..., :2])
    centre, half = middle + offset, 0.5 * size.clamp(-4.0, 5.0).exp()
    low, high = centre - half, centre + half
    common = (torch.minimum(high, box[..., 2:]) - torch.maximum(low, box[..., :2])).clamp(min=0).prod(-1)
    union = (high - low).prod(-1) + wanted_size.prod(-1) - common
    around = (torch.maximum(high, box[..., 2:]) - torch.minimum(low, box[..., :2])).prod(-1)
    giou = common / union.clamp(min=1e-6) - (around - union) / around.clamp(min=1e-6)
    apart = smooth_l1_loss(centre / wanted_size, wanted_middle / wanted_size, reduction="none", beta=0.1).mean(-1)
    grown = smooth_l1_loss(size, wanted_size.log(), reduction="none", beta=0.1).mean(-1)
    result: Tensor = 1.0 - giou + 0.5 * (apart + grown)
    return result


def _laplace(error: Tensor, spread: Tensor) -> Tensor:
    """Negative log likelihood under a Laplace distribution with log standard deviation `spread`, up to a constant."""
    spread = spread.clamp(SPREAD_LOW, SPREAD_HIGH)
    return math.sqrt(2.0) * error.abs() * (-spread).exp() + spread


def _centre(error: Tensor, spread: Tensor) -> Tensor:
    return _laplace(error[..., 0], spread) + error[..., 1].abs()


def _heading(logits: Tensor, angle: Tensor) -> Tensor:
    """Cross entropy with the two bins on either side of the angle, each the more wanted the nearer it is."""
    place = torch.remainder(angle * (BINS / (2.0 * math.pi)), BINS)  # (N, D, 1)
    apart = (torch.arange(BINS, device=place.device) - place[..., None]).abs()
    wanted = (1.0 - torch.minimum(apart, BINS - apart)).clamp(min=0.0)  # (N, D, 1, BINS)
    return -(wanted * logits.log_softmax(-1)).sum(-1)


def _light(logits: Tensor, light: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy over the things that are lights."""
    lit = weight * (light >= 0)[..., None]
    wanted = light.clamp(min=0)[..., None].expand(-1, -1, logits.shape[2])
    each = cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none").view_as(lit)
    return (each * lit).sum() / lit.sum().clamp(min=1.0)
