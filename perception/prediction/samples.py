"""Examples as the network learns from them: one row per track with a known future, in the track's own frame.

Shapes: N tracks, P past instants, S steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from perception.prediction.base import WALKERS
from perception.prediction.examples import Examples
from perception.prediction.history import PAST
from perception.prediction.views import INSTANT, Views, views_of

__all__ = ["Samples", "augmented", "joined", "pick", "samples_of"]

NO_ROADS = 0.3  # share of training samples that see no lanes
ALONE = 0.1  # share that see nobody else
SHORT = 0.4  # share whose past is cut to a random length


class Samples(NamedTuple):
    """Rows to learn from."""

    views: Views  # (N, ...)
    target: Tensor  # (N, S, 2) m, own frame
    there: Tensor  # (N, S) bool
    manoeuvre: Tensor  # (N,) int64, -1 unknown
    walks: Tensor  # (N,) bool


def samples_of(examples: Examples) -> Samples:
    """All tracks of which at least the first step is known."""
    chosen = (examples.tracks.mask & examples.there[..., 0]).flatten().nonzero().squeeze(1)
    views, frame = views_of(examples.history, examples.tracks, examples.roads, chosen)
    future = examples.future.flatten(0, 1)[chosen]  # (N, S, 2)
    dx, dy = future[..., 0] - frame.x.unsqueeze(-1), future[..., 1] - frame.y.unsqueeze(-1)
    c, s = frame.cos.unsqueeze(-1), frame.sin.unsqueeze(-1)
    return Samples(
        views=views,
        target=torch.stack([dx * c + dy * s, dy * c - dx * s], dim=-1),
        there=examples.there.flatten(0, 1)[chosen],
        manoeuvre=examples.manoeuvre.flatten()[chosen],
        walks=(examples.tracks.kind == WALKERS).flatten()[chosen],
    )


def joined(parts: Iterable[Samples]) -> Samples:
    """Rows of several sets as one."""
    all_parts = list(parts)
    views = Views(*(torch.cat(columns) for columns in zip(*(part.views for part in all_parts), strict=True)))
    rest = (torch.cat([getattr(part, name) for part in all_parts]) for name in Samples._fields[1:])
    return Samples(views, *rest)


def pick(samples: Samples, rows: Tensor) -> Samples:
    """Some rows."""
    return Samples(Views(*(part[rows] for part in samples.views)), *(part[rows] for part in samples[1:]))


def augmented(samples: Samples, generator: torch.Generator) -> Samples:
    """Samples as they may come too: without a map, alone, or with a shorter past, so that the network is of use in those cases."""
    v, n = samples.views, len(samples.target)

    def chance(share: float) -> Tensor:
        return torch.rand(n, generator=generator) < share

    roads, company = ~chance(NO_ROADS), ~chance(ALONE)
    first = torch.where(chance(SHORT), torch.randint(0, PAST - 1, (n,), generator=generator), 0)  # instants before are unknown
    kept = (torch.arange(PAST) >= first[:, None]).to(v.me.dtype).repeat_interleave(INSTANT, dim=1)  # (N, P * INSTANT)
    kept = torch.cat([kept, torch.ones(n, v.me.shape[1] - kept.shape[1])], dim=1)
    views = v._replace(
        me=v.me * kept,
        others=v.others * kept[:, None] * company[:, None, None],
        others_mask=v.others_mask & company[:, None],
        lanes=v.lanes * roads[:, None, None],
        lanes_mask=v.lanes_mask & roads[:, None],
    )
    return samples._replace(views=views)
