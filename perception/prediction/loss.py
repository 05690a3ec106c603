"""What the predictor's network is trained to minimise.

Shapes: N tracks, K modes, S steps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from perception.prediction.network import Paths
from perception.prediction.samples import Samples

__all__ = ["forecast_loss"]

CENTRAL = 0.5  # weight of mode 0 being right for everybody: the expectation, beside which the others spread out
SPREAD = 0.05  # weight of the Gaussians' likelihood
CHOICE = 0.5  # weight of the probabilities
SOFT = 0.35  # of the mean distance: modes nearly as good as the best count as right too
MANOEUVRE = 0.1  # weight of the manoeuvre


def forecast_loss(paths: Paths, samples: Samples, *, anneal: float) -> Tensor:
    """Winner-takes-all (Lee et al. 2016; relaxed as in Makansi et al., CVPR 2019: the others' share fades with `anneal` from 1 to 0).

    Distances are divided by the scale of the track's speed, so that the slow count as much as the fast:
        a_k = mean distance of mode k;  loss = sum_k w_k a_k + CENTRAL a_0 + SPREAD nll(best) + CHOICE ce(p, softmax(-a / SOFT mean a))
    """
    there = samples.there.to(paths.mean.dtype)
    count = there.sum(1).clamp(min=1.0)
    scale = 1.0 + 0.2 * samples.views.velocity.norm(dim=-1)
    offset = samples.target[:, None] - paths.mean  # (N, K, S, 2)
    distance = torch.sqrt((offset * offset).sum(-1) + 1e-6) * there[:, None]
    average = distance.sum(-1) / (count * scale)[:, None]  # (N, K)
    row, best = torch.arange(len(average), device=average.device), average.argmin(1)
    share = torch.nn.functional.one_hot(best, average.shape[1]).to(average.dtype)
    if anneal > 0.0:
        share = (1.0 - anneal) * share + anneal / average.shape[1]
    winner = (share * average).sum(1)
    # Gaussian of the best mode around a mean held fixed: the spread must not be bought with worse means, nor pull at them
    z = (offset[row, best].detach()) / paths.deviation[row, best]  # (N, S, 2)
    rho = paths.correlation[row, best]
    free = 1.0 - rho * rho
    squared = (z[..., 0] ** 2 - 2.0 * rho * z[..., 0] * z[..., 1] + z[..., 1] ** 2) / free
    nll = 0.5 * squared + 0.5 * torch.log(free) + torch.log(paths.deviation[row, best]).sum(-1)
    nll = ((nll.clamp(max=50.0)) * there).sum(1) / count
    near = average.detach()
    wanted = torch.softmax(-near / (SOFT * near.mean(1, keepdim=True) + 0.01), dim=1)
    choice = -(wanted * torch.log_softmax(paths.logits, dim=1)).sum(1)
    loss = (winner + CENTRAL * average[:, 0] + SPREAD * nll + CHOICE * choice).mean()
    labelled = samples.manoeuvre >= 0
    told = cross_entropy(paths.manoeuvre, samples.manoeuvre.clamp(min=0), reduction="none") * labelled
    total: Tensor = loss + MANOEUVRE * told.sum() / labelled.sum().clamp(min=1)
    return total
