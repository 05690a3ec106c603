"""How good forecasts are, from per-track scores to a table.

At a horizon of h seconds, a track counts if its future is known at every step up to h. With d_k(t) the distance in metres of mode k's mean
from the truth at step t, p_k its probability and k* the most likely mode:

    minADE   min_k of the mean of d_k over the steps up to h        ADE, FDE   the same of k* alone
    minFDE   min_k d_k(h)                                           miss       minFDE > 2 m
    brier    minFDE + (1 - p_k)^2, k the mode of minFDE (Argoverse 2's brier-minFDE)
    nll      mean over the steps of -ln sum_k p_k N(truth; mean_k, covariance_k)
    ellipse  share of steps at which the truth lies in the 90 % ellipse of the mode nearest to it over the steps up to h (mode-conditional:
             given that this is what happened, is its uncertainty right)
    likely   the same with the ellipse of k*
    region   share of steps at which the truth lies in the smallest region that holds 90 % of the whole mixture (highest-density region)

Shapes: N tracks (flattened), K modes, S steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perception.types import Forecasts

__all__ = ["ELLIPSE_90", "MISS", "figures", "mahalanobis", "mixture_level", "score", "table"]

MISS = 2.0  # m
ELLIPSE_90 = 4.605170  # 90 % quantile of chi-squared with 2 degrees of freedom: -2 ln 0.1
GOLDEN = 0.6180339887498949
SAMPLES = 48  # points per mode that stand for its Gaussian in `mixture_level`
CHUNK = 2048  # tracks at once
Scores = dict[str, NDArray[np.float64]]


def mahalanobis(offset: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Squared Mahalanobis length of offset (..., 2) under covariance (..., 2, 2), and the covariance's determinant."""
    a, b, c = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    det = (a * c - b * b).clamp(min=1e-12)
    x, y = offset.unbind(-1)
    return (c * x * x - 2.0 * b * x * y + a * y * y) / det, det


def _log_density(offset: Tensor, covariance: Tensor) -> Tensor:
    squared, det = mahalanobis(offset, covariance)
    return -0.5 * squared - 0.5 * torch.log(det) - math.log(2.0 * math.pi)


def _gaussian_points(count: int, like: Tensor) -> Tensor:
    """(count, 2) points spread like a standard normal: radii at its quantiles, angles by the golden ratio (no randomness)."""
    radius = [math.sqrt(-2.0 * math.log(1.0 - (i + 0.5) / count)) for i in range(count)]
    angle = [2.0 * math.pi * (i * GOLDEN % 1.0) for i in range(count)]
    return like.new_tensor([[r * math.cos(a), r * math.sin(a)] for r, a in zip(radius, angle, strict=True)])


def mixture_level(mean: Tensor, covariance: Tensor, probability: Tensor, truth: Tensor) -> Tensor:
    """Share of the mixture that is denser than it is at the truth, 0..1: at most 0.9 inside the 90 % highest-density region.

    mean (N, K, S, 2), covariance (N, K, S, 2, 2), probability (N, K), truth (N, S, 2). Returns (N, S).
    """
    weights = probability.clamp(min=1e-12).log()[:, :, None]
    at_truth = torch.logsumexp(weights + _log_density(truth[:, None] - mean, covariance), dim=1)  # (N, S)
    points = _gaussian_points(SAMPLES, mean)
    low = torch.linalg.cholesky(covariance + 1e-9 * torch.eye(2, dtype=mean.dtype, device=mean.device))
    drawn = mean[..., None, :] + torch.einsum("nksij,gj->nksgi", low, points)  # (N, K, S, G, 2)
    density = torch.stack(
        [
            weights[:, j, :, None, None] + _log_density(drawn - mean[:, None, j, :, None], covariance[:, None, j, :, None])
            for j in range(mean.shape[1])
        ]
    ).logsumexp(0)
    denser = (density > at_truth[:, None, :, None]).to(mean.dtype).mean(-1)  # (N, K, S)
    return (denser * probability[:, :, None]).sum(1)


def score(forecasts: Forecasts, truth: Tensor, there: Tensor, *, horizons: Sequence[float] = (3.0, 5.0)) -> Scores:
    """Scores of every track at every horizon, `name@h` -> (N,) float64, NaN where the track does not count.

    truth (B, T, S, 2) and there (B, T, S) at `forecasts.time`. Scores of several batches may be concatenated. Raises ValueError for a
    horizon that is no step.
    """
    steps = {}
    for h in horizons:
        at = (forecasts.time - h).abs()
        if float(at.min()) > 1e-4:
            raise ValueError(f"horizon {h} s is no step of the forecasts ({[round(float(t), 3) for t in forecasts.time]})")
        steps[h] = int(at.argmin()) + 1
    flat = (forecasts.mask.unsqueeze(-1) & there).flatten(0, 1)  # (B T, S)
    rows = flat[:, : min(steps.values())].all(1).nonzero().squeeze(1)
    mean, covariance = forecasts.mean.flatten(0, 1)[rows].double(), forecasts.covariance.flatten(0, 1)[rows].double()
    probability = forecasts.probability.flatten(0, 1)[rows].double()
    truth, known = truth.flatten(0, 1)[rows].double(), flat[rows]
    everything = (mean, covariance, probability, truth, known)
    parts = [_score([column[i : i + CHUNK] for column in everything], steps) for i in range(0, max(1, len(rows)), CHUNK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _score(columns: Sequence[Tensor], steps: Mapping[float, int]) -> Scores:
    """Scores of some tracks: mean (N, K, S, 2), covariance, probability (N, K), truth (N, S, 2), known (N, S)."""
    mean, covariance, probability, truth, known = columns
    row = torch.arange(len(mean))
    truth = torch.where(known.unsqueeze(-1), truth, 0.0)
    distance = (mean - truth[:, None]).norm(dim=-1)  # (N, K, S)
    squared, _ = mahalanobis(truth[:, None] - mean, covariance)
    inside = (squared <= ELLIPSE_90).double()  # (N, K, S)
    log = probability.log()[:, :, None] + _log_density(truth[:, None] - mean, covariance)
    nll = -torch.logsumexp(log, dim=1)  # (N, S)
    region = (mixture_level(mean, covariance, probability, truth) <= 0.9).double()
    likely = probability.argmax(1)
    out: Scores = {}
    for h, n in steps.items():
        counts = known[:, :n].all(1)
        average, final = distance[..., :n].mean(-1), distance[..., n - 1]
        best, last = average.argmin(1), final.argmin(1)
        values = {
            "minADE": average[row, best],
            "minFDE": final[row, last],
            "ADE": average[row, likely],
            "FDE": final[row, likely],
            "miss": (final[row, last] > MISS).double(),
            "brier": final[row, last] + (1.0 - probability[row, last]) ** 2,
            "nll": nll[:, :n].mean(1),
            "ellipse": inside[row, best, :n].mean(1),
            "likely": inside[row, likely, :n].mean(1),
            "region": region[:, :n].mean(1),
        }
        out |= {f"{name}@{h:g}": torch.where(counts, value, torch.nan).numpy() for name, value in values.items()}
    return out


def figures(scores: Scores) -> dict[str, float]:
    """Means over the tracks that count, and how many there are: `name@h`, `count@h`. NaN where none counts."""
    out = {name: float(np.nanmean(values)) if np.isfinite(values).any() else math.nan for name, values in scores.items()}
    for name, values in scores.items():
        if name.startswith("minADE@"):
            out["count@" + name.split("@")[1]] = float(np.isfinite(values).sum())
    return out


def table(rows: Mapping[str, Mapping[str, float]], *, horizon: float) -> str:
    """Figures of several predictors at one horizon as lines of text."""
    names = ("count", "minADE", "minFDE", "ADE", "FDE", "miss", "brier", "nll", "ellipse", "likely", "region")
    width = max((len(name) for name in rows), default=0)
    lines = [" " * width + "".join(f"{name:>9}" for name in names)]
    for label, row in rows.items():
        cells = (row.get(f"{name}@{horizon:g}", math.nan) for name in names)
        lines.append(f"{label:<{width}}" + "".join(f"{cell:>9.0f}" if i == 0 else f"{cell:>9.3f}" for i, cell in enumerate(cells)))
    return "\n".join(lines)
