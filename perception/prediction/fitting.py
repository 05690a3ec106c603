"""Training one network on samples at hand, and calibrating it on samples held out.

Shapes: N tracks, K modes, S steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from perception.metrics.forecast import ELLIPSE_90, mahalanobis
from perception.prediction.base import covariances
from perception.prediction.loss import forecast_loss
from perception.prediction.network import Network, Paths
from perception.prediction.samples import Samples, augmented, pick
from perception.prediction.views import Views

__all__ = ["BATCH", "adapt", "calibrate", "fit_network", "paths_of"]

BATCH = 512
RATE, DECAY = 1.5e-3, 1e-4
CLIP = 1.0  # largest norm of a gradient
WARM = 100  # updates until the full rate
CHUNK = 4096
FEW = 50  # samples below which a group is left uncalibrated
TRUSTS = tuple(i / 10 for i in range(11))
FAVOURS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
SHARPENINGS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)


def fit_network(
    network: Network,
    draw: Callable[[int], Samples],
    generator: torch.Generator,
    *,
    updates: int,
    start: int = 0,
    rate: float = RATE,
    anneal: float = 0.3,
    optimiser: torch.optim.Optimizer | None = None,
) -> Iterator[tuple[int, float]]:
    """Train by AdamW under a cosine schedule; yields (updates done, loss) after each.

    draw: how many rows -> a minibatch; it may be any mix. anneal: share of the updates over which the losing modes still learn. start:
    updates already done (with `optimiser` as it was then).
    """
    optimiser = optimiser or torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=DECAY)
    network.train()
    for update in range(start, updates):
        done = update / updates
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (update + 1) / WARM) * (0.5 + 0.5 * math.cos(math.pi * done))
        batch = augmented(draw(BATCH), generator)
        relaxed = 0.0 if anneal <= 0.0 else max(0.0, 1.0 - done / anneal)
        loss = forecast_loss(network(batch.views), batch, anneal=0.6 * relaxed)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        yield update + 1, float(loss.detach())
    network.eval()


@torch.no_grad()
def paths_of(network: Network, samples: Samples) -> Paths:
    """The network's calibrated paths for all rows."""
    network.eval()
    parts = []
    for i in range(0, len(samples.target), CHUNK):
        views = Views(*(part[i : i + CHUNK] for part in samples.views))
        parts.append(network.calibrated(network(views), samples.walks[i : i + CHUNK], views.velocity))
    return Paths(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


@torch.no_grad()
def calibrate(network: Network, held_out: Samples) -> None:
    """Set `network.widen` so that the 90 % ellipse of the best mode holds 90 % of the held-out places at every step, and
    `network.sharpen` to the flattening of the probabilities with the least negative log-likelihood; for vehicles and walkers apart.
    """
    network.widen.fill_(1.0)
    network.sharpen.fill_(1.0)
    for group in (0, 1):
        rows = (held_out.walks == bool(group)).nonzero().squeeze(1)
        if len(rows) < FEW:
            continue
        samples = pick(held_out, rows)
        paths = paths_of(network, samples)
        squared, log = _distances(paths, samples)  # (N, K, S)
        known = samples.there
        distance = (paths.mean - samples.target[:, None]).norm(dim=-1) * known[:, None]
        best = distance.sum(-1).argmin(1)
        won = squared[torch.arange(len(best)), best]  # (N, S)
        for s in range(won.shape[1]):
            inside = won[known[:, s], s]
            if len(inside) >= FEW:
                network.widen[group, s] = torch.sqrt(torch.quantile(inside, 0.9) / ELLIPSE_90).clamp(0.2, 5.0)
            elif s:
                network.widen[group, s] = network.widen[group, s - 1]
        paths = paths_of(network, samples)
        _, log = _distances(paths, samples)
        losses = []
        for factor in SHARPENINGS:
            weights = torch.log_softmax(paths.logits * factor, dim=1)
            nll = -torch.logsumexp(weights[:, :, None] + log, dim=1)  # (N, S)
            losses.append(float((nll * known).sum() / known.sum()))
        network.sharpen[group] = SHARPENINGS[losses.index(min(losses))]


@torch.no_grad()
def adapt(network: Network, foreign: Samples) -> None:
    """Fit a network to a world it was not trained in, without training: six numbers a group, from samples of that world.

    `trust` such that mode 0 is nearest to the truth on average, `favour` such that the most likely mode is, then `calibrate`.
    """
    network.trust.fill_(1.0)
    network.favour.fill_(0.0)
    network.widen.fill_(1.0)
    network.sharpen.fill_(1.0)
    for group in (0, 1):
        rows = (foreign.walks == bool(group)).nonzero().squeeze(1)
        if len(rows) < FEW:
            continue
        samples = pick(foreign, rows)
        errors = []
        for trust in TRUSTS:
            network.trust[group] = trust
            errors.append(float(_averages(paths_of(network, samples), samples)[:, 0].mean()))
        network.trust[group] = TRUSTS[errors.index(min(errors))]
        paths = paths_of(network, samples)
        average, errors = _averages(paths, samples), []
        for favour in FAVOURS:
            likely = torch.cat([paths.logits[:, :1] + favour, paths.logits[:, 1:]], dim=1).argmax(1, keepdim=True)
            errors.append(float(average.gather(1, likely).mean()))
        network.favour[group] = FAVOURS[errors.index(min(errors))]
    calibrate(network, foreign)


def _averages(paths: Paths, samples: Samples) -> Tensor:
    """Mean distance of every mode over what is known, (N, K) m."""
    known = samples.there[:, None].to(paths.mean.dtype)
    average: Tensor = ((paths.mean - samples.target[:, None]).norm(dim=-1) * known).sum(-1) / known.sum(-1).clamp(min=1.0)
    return average


def _distances(paths: Paths, samples: Samples) -> tuple[Tensor, Tensor]:
    """Squared Mahalanobis distances and log densities of the truth under every mode, (N, K, S)."""
    sx, sy = paths.deviation.unbind(-1)
    covariance = covariances(sx * sx, paths.correlation * sx * sy, sy * sy)
    squared, det = mahalanobis(samples.target[:, None] - paths.mean, covariance)
    return squared, -0.5 * squared - 0.5 * torch.log(det) - math.log(2.0 * math.pi)
