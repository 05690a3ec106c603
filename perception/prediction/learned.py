"""The learned predictor: what every track sees, one network, forecasts in the ego frame.

Most rows of `Tracks` are empty, so the network is only given those that are there.

Shapes: B worlds, T tracks of each, N tracks that are there, in all worlds, K modes, S steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from perception.prediction.base import MODES, STEPS, WALKERS, covariances, horizon
from perception.prediction.history import History
from perception.prediction.network import Network, Paths
from perception.prediction.views import Frame, Views, views_of
from perception.states import map_tensors
from perception.storage import Stored, find, fit, load
from perception.types import MANOEUVRES, Forecasts, Roads, Tracks

__all__ = ["KIND", "Learned", "load_network", "stored_network"]

KIND = "predictor"  # of the stored network
ROWS = 64  # tracks the network takes at once: also the fastest, for what it computes stays in the cache


class Seen(NamedTuple):
    """What tracks see, one row each."""

    views: Views  # (N, ...)
    frame: Frame  # (N,) of the track in the ego frame
    walks: Tensor  # (N,) bool


class Told(NamedTuple):
    """What the network makes of it: the fields of `Forecasts`, one row a track."""

    mean: Tensor  # (N, K, S, 2)
    covariance: Tensor  # (N, K, S, 2, 2)
    probability: Tensor  # (N, K)
    manoeuvre: Tensor  # (N, len(MANOEUVRES))


class Learned:
    """Forecasts of a trained network.

    Tracks are taken in blocks of ROWS, the last one filled up, since matrix products differ in the last bits between sizes: a world's
    forecasts do not depend on how many others there are. Rows without a track are told to be anywhere. The network follows its inputs to
    their device.
    """

    name = "learned"

    def __init__(self, network: Network, *, compile: bool = False) -> None:
        self.network = network.eval()
        self._device = next(network.parameters()).device
        self._tell: Callable[[Seen], Told] = self._forecasts
        if compile:  # half a minute when first used, then a third faster
            self._tell = torch.compile(self._forecasts, dynamic=False)

    @classmethod
    def from_file(cls, spec: str | Path = "predictor_driving", *, device: torch.device | str = "cpu", compile: bool = False) -> Learned:
        """From a weights file or the name of a shipped network. Raises storage.WeightsError."""
        return cls(load_network(spec).to(device), compile=compile)

    @torch.no_grad()
    def predict(self, history: History, tracks: Tracks, roads: Roads) -> Forecasts:
        """See `Predictor.predict`."""
        if self._device != tracks.mean.device:
            self._device = tracks.mean.device
            self.network.to(self._device)
        there = tracks.mask.flatten().nonzero().squeeze(1)  # (N,) of B T rows
        views, frame = views_of(history, tracks, roads, there)
        seen = _filled(Seen(views, frame, (tracks.kind == WALKERS).flatten()[there]))
        told = _joined([self._tell(map_tensors(_part(i, ROWS), seen)) for i in range(0, len(seen.walks), ROWS)])
        return _spread(map_tensors(_part(0, len(there)), told), there, tracks)

    def _forecasts(self, seen: Seen) -> Told:
        """Forecasts of one block of tracks."""
        paths = self.network.calibrated(self.network(seen.views), seen.walks, seen.views.velocity)
        mean, covariance = _in_ego_frame(paths, seen.frame)
        return Told(mean, covariance, torch.softmax(paths.logits, dim=-1), torch.softmax(paths.manoeuvre, dim=-1))


def _in_ego_frame(paths: Paths, frame: Frame) -> tuple[Tensor, Tensor]:
    """Means and covariances of paths (N, K, S), each in its own frame, in the ego frame."""
    x, y, c, s = (part[:, None, None] for part in frame)
    px, py = paths.mean.unbind(-1)
    mean = torch.stack([x + px * c - py * s, y + px * s + py * c], dim=-1)
    sx, sy = paths.deviation.unbind(-1)
    a, d = sx * sx, sy * sy
    b = paths.correlation * sx * sy
    # R C R^T with R the turn by (c, s)
    xx, yy = a * c * c - 2.0 * b * c * s + d * s * s, a * s * s + 2.0 * b * c * s + d * c * c
    return mean, covariances(xx, (a - d) * c * s + b * (c * c - s * s), yy)


def _spread(told: Told, there: Tensor, tracks: Tracks) -> Forecasts:
    """What is told of the rows `there` (N,) in its place; of the other rows nothing: at the ego, within a metre, equally likely."""
    shape = tracks.kind.shape
    real = told.mean.new_zeros(1)
    nothing = Told(
        mean=real.expand(MODES, STEPS, 2),
        covariance=torch.eye(2, device=real.device).expand(MODES, STEPS, 2, 2),
        probability=(real + 1.0 / MODES).expand(MODES),
        manoeuvre=(real + 1.0 / len(MANOEUVRES)).expand(len(MANOEUVRES)),
    )

    def rows(value: Tensor, blank: Tensor) -> Tensor:
        full = blank.expand(shape.numel(), *blank.shape).clone()
        return full.index_copy_(0, there, value).view(*shape, *blank.shape)

    return Forecasts(horizon(told.mean), *map_tensors(rows, told, nothing), mask=tracks.mask)


def _filled(seen: Seen) -> Seen:
    """Filled up with zeros to whole blocks of ROWS, one at least."""
    count = len(seen.walks)
    more = max(ROWS, -(-count // ROWS) * ROWS) - count
    return map_tensors(lambda value: torch.cat([value, value.new_zeros(more, *value.shape[1:])]), seen)


def _joined(parts: list[Told]) -> Told:
    """Rows of several as one."""
    return parts[0] if len(parts) == 1 else map_tensors(lambda *values: torch.cat(values), *parts)


def _part(first: int, count: int) -> Callable[[Tensor], Tensor]:
    return lambda value: value[first : first + count]


def stored_network(network: Network, name: str) -> Stored:
    """The network as it is kept in a file."""
    tensors: dict[str, Tensor] = {key: value.detach().clone() for key, value in network.state_dict().items()}
    return Stored(kind=KIND, name=name, spec={"network": "agents-and-lanes", "version": 1}, tensors=tensors)


def load_network(spec: str | Path) -> Network:
    """Raises storage.WeightsError with what is wrong."""
    network = Network()
    fit(network, load(find(spec, kind=KIND), kind=KIND))
    return network
