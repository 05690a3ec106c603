"""The learned predictor: views of all tracks, one network, forecasts in the ego frame.

Shapes: B worlds, T tracks, N = B T, K modes, S steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from perception.prediction.base import WALKERS, covariances, horizon
from perception.prediction.history import History
from perception.prediction.network import Network, Paths
from perception.prediction.views import Views, frames, views_of
from perception.storage import Stored, find, fit, load
from perception.types import Forecasts, Roads, Tracks

__all__ = ["KIND", "Learned", "flat_views", "forecasts_from", "load_network", "stored_network"]

G = TypeVar("G", History, Tracks, Roads)
KIND = "predictor"  # of the stored network
BLOCK = 16  # worlds the network takes at once: also the fastest, for what it computes stays in the cache


class Learned:
    """Forecasts of a trained network.

    Worlds are taken in blocks of BLOCK, the last one padded, since matrix products differ in the last bits between sizes: a world's
    forecasts do not depend on how many others there are. The network follows its inputs to their device.
    """

    name = "learned"

    def __init__(self, network: Network, *, compile: bool = False) -> None:
        self.network = network.eval()
        self._device = next(network.parameters()).device
        self._block: Callable[[History, Tracks, Roads], Forecasts] = self._forecasts
        if compile:  # half a minute when first used, then a third faster
            self._block = torch.compile(self._forecasts, dynamic=False)

    @classmethod
    def from_file(cls, spec: str | Path = "predictor_driving", *, device: torch.device | str = "cpu", compile: bool = False) -> Learned:
        """From a weights file or the name of a shipped network. Raises storage.WeightsError."""
        return cls(load_network(spec).to(device), compile=compile)

    @torch.no_grad()
    def predict(self, history: History, tracks: Tracks, roads: Roads) -> Forecasts:
        """See `Predictor.predict`."""
        batch = tracks.kind.shape[0]
        if self._device != tracks.mean.device:
            self._device = tracks.mean.device
            self.network.to(self._device)
        parts = []
        for i in range(0, batch, BLOCK):
            # the last block is filled up with its first world
            rows = torch.arange(i, i + BLOCK, device=tracks.mean.device)
            rows = torch.where(rows < batch, rows, i)
            parts.append(self._block(_worlds(history, rows), _worlds(tracks, rows), _worlds(roads, rows)))
        joined = (torch.cat(columns)[:batch] for columns in zip(*(part[1:] for part in parts), strict=True))
        return Forecasts(parts[0].time, *joined)

    def _forecasts(self, history: History, tracks: Tracks, roads: Roads) -> Forecasts:
        """Forecasts of one block of worlds."""
        views = flat_views(views_of(history, tracks, roads))
        paths = self.network.calibrated(self.network(views), (tracks.kind == WALKERS).flatten(), views.velocity)
        return forecasts_from(paths, tracks)


def _worlds(group: G, rows: Tensor) -> G:
    """Some worlds of a batch."""
    return type(group)(*(column[rows] for column in group))


def flat_views(views: Views) -> Views:
    """(B, T, ...) -> (B T, ...)."""
    return Views(*(part.flatten(0, 1) for part in views))


def forecasts_from(paths: Paths, tracks: Tracks) -> Forecasts:
    """Paths of all tracks (N, ...), each in its own frame, as forecasts in the ego frame."""
    shape = tracks.kind.shape

    def rows(flat: Tensor) -> Tensor:
        """(N, ...) -> (B, T, ...)."""
        return flat.view(*shape, *flat.shape[1:])

    frame = frames(tracks)
    x, y, c, s = (part[..., None, None] for part in frame)  # (B, T, 1, 1)
    px, py = rows(paths.mean).unbind(-1)  # (B, T, K, S)
    mean = torch.stack([x + px * c - py * s, y + px * s + py * c], dim=-1)
    sx, sy = rows(paths.deviation).unbind(-1)
    a, d = sx * sx, sy * sy
    b = rows(paths.correlation) * sx * sy
    # R C R^T with R the turn by (c, s)
    xx, yy = a * c * c - 2.0 * b * c * s + d * s * s, a * s * s + 2.0 * b * c * s + d * c * c
    xy = (a - d) * c * s + b * (c * c - s * s)
    return Forecasts(
        time=horizon(mean),
        mean=mean,
        covariance=covariances(xx, xy, yy),
        probability=rows(torch.softmax(paths.logits, dim=-1)),
        manoeuvre=rows(torch.softmax(paths.manoeuvre, dim=-1)),
        mask=tracks.mask,
    )


def stored_network(network: Network, name: str) -> Stored:
    """The network as it is kept in a file."""
    tensors: dict[str, Tensor] = {key: value.detach().clone() for key, value in network.state_dict().items()}
    return Stored(kind=KIND, name=name, spec={"network": "agents-and-lanes", "version": 1}, tensors=tensors)


def load_network(spec: str | Path) -> Network:
    """Raises storage.WeightsError with what is wrong."""
    network = Network()
    fit(network, load(find(spec, kind=KIND), kind=KIND))
    return network
