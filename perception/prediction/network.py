"""The learned predictor's network: a small transformer over what one track sees.

One track's past is a vector of WIDE numbers; the others and the lane pieces nearby are tokens of NARROW ones. The track attends to the
tokens, then K queries, one per mode, attend to them again and each is decoded to a path: a residual to constant velocity.
After VectorNet (Gao et al., CVPR 2020) for the tokens and MTR (Shi et al., NeurIPS 2022) for the queries, at a hundredth of the size.

Shapes: N tracks (flattened worlds and rows), M + L tokens, K modes, S steps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from perception.prediction.base import MODES, STEP, STEPS
from perception.prediction.history import PAST
from perception.prediction.views import INSTANT, POINTS, STATIC, Views
from perception.types import MANOEUVRES

__all__ = ["Network", "Paths"]

WIDE, NARROW, HEADS = 128, 48, 4
AGENT, LANE = PAST * INSTANT + STATIC, POINTS * 4 + 5


class Paths(NamedTuple):
    """What the network says, in each track's own frame."""

    mean: Tensor  # (N, K, S, 2) m
    deviation: Tensor  # (N, K, S, 2) m, standard deviations along x and y
    correlation: Tensor  # (N, K, S) of the two
    logits: Tensor  # (N, K) of the modes
    manoeuvre: Tensor  # (N, len(MANOEUVRES)) logits


class _Encoder(nn.Sequential):
    """Two layers."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())


class _Attention(nn.Module):
    """Queries (N, Q, dim) attend to keys and values (N, X, NARROW) given ready made."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.ask = nn.Linear(dim, NARROW)
        self.give = nn.Linear(NARROW, dim)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, masked: Tensor) -> Tensor:
        """masked (N, 1, 1, X): 0 or a large negative number."""
        n, q = x.shape[:2]
        asked = self.ask(self.norm(x)).view(n, q, HEADS, NARROW // HEADS).transpose(1, 2)  # (N, H, Q, d)
        weights = torch.softmax(asked @ keys * (NARROW // HEADS) ** -0.5 + masked, dim=-1)
        found: Tensor = self.give((weights @ values).transpose(1, 2).reshape(n, q, NARROW))
        return x + found


class _Feed(nn.Module):
    """The feed-forward half of a transformer layer."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out


class Network(nn.Module):
    """Views of tracks to paths."""

    def __init__(self) -> None:
        super().__init__()
        self.me = _Encoder(AGENT, WIDE)
        self.other = _Encoder(AGENT, NARROW)
        self.lane = _Encoder(LANE, NARROW)
        self.nothing = nn.Parameter(torch.zeros(NARROW))  # a token that is always there
        self.keys = nn.Linear(NARROW, 2 * NARROW)  # shared by both rounds of attention
        self.context, self.think = _Attention(WIDE), _Feed(WIDE)
        self.split = nn.Linear(WIDE, MODES * NARROW)
        self.mode = nn.Parameter(0.5 * torch.randn(MODES, NARROW))
        self.look, self.rethink = _Attention(NARROW), _Feed(NARROW)
        self.paths = nn.Sequential(nn.LayerNorm(NARROW), nn.Linear(NARROW, 2 * NARROW), nn.ReLU(), nn.Linear(2 * NARROW, STEPS * 5 + 1))
        self.manoeuvre = nn.Linear(WIDE, len(MANOEUVRES))
        last = self.paths[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        # set after training on data held out (`fitting.calibrate`, `fitting.adapt`), for [vehicles, walkers]:
        self.widen: Tensor  # factors on the deviations at every step
        self.sharpen: Tensor  # factor on the logits
        self.trust: Tensor  # share of mode 0's departure from constant velocity that is believed
        self.favour: Tensor  # added to the logit of mode 0
        self.register_buffer("widen", torch.ones(2, STEPS))
        self.register_buffer("sharpen", torch.ones(2))
        self.register_buffer("trust", torch.ones(2))
        self.register_buffer("favour", torch.zeros(2))

    def forward(self, views: Views) -> Paths:
        """Views flattened to (N, ...)."""
        n = views.me.shape[0]
        tokens = torch.cat([self.other(views.others), self.lane(views.lanes), self.nothing.expand(n, 1, -1)], dim=1)  # (N, X, NARROW)
        there = torch.cat([views.others_mask, views.lanes_mask, views.others_mask.new_ones(n, 1)], dim=1)
        masked = torch.where(there, 0.0, -1e9)[:, None, None, :]
        keys, values = self.keys(tokens).view(n, -1, 2, HEADS, NARROW // HEADS).permute(2, 0, 3, 1, 4)  # (N, H, X, d)
        keys = keys.transpose(-1, -2)
        h = self.think(self.context(self.me(views.me).unsqueeze(1), keys, values, masked))  # (N, 1, WIDE)
        modes = self.split(h).view(n, MODES, NARROW) + self.mode
        modes = self.rethink(self.look(modes, keys, values, masked))
        raw = self.paths(modes)  # (N, K, S * 5 + 1)
        return self._decode(raw, views.velocity, self.manoeuvre(h.squeeze(1)))

    def calibrated(self, paths: Paths, walks: Tensor, velocity: Tensor) -> Paths:
        """Paths with the calibration applied; walks (N,) bool, velocity (N, 2) as in Views."""
        group = walks.to(torch.int64)
        time = torch.arange(1, STEPS + 1, device=velocity.device, dtype=velocity.dtype) * STEP
        straight = velocity[:, None, :] * time[:, None]  # (N, S, 2)
        central = straight + self.trust[group][:, None, None] * (paths.mean[:, 0] - straight)
        logits = torch.cat([paths.logits[:, :1] + self.favour[group][:, None], paths.logits[:, 1:]], dim=1)
        return paths._replace(
            mean=torch.cat([central.unsqueeze(1), paths.mean[:, 1:]], dim=1),
            deviation=paths.deviation * self.widen[group][:, None, :, None],
            logits=logits * self.sharpen[group][:, None],
        )

    def _decode(self, raw: Tensor, velocity: Tensor, manoeuvre: Tensor) -> Paths:
        shape = raw.shape[:2]
        time = torch.arange(1, STEPS + 1, device=raw.device, dtype=raw.dtype) * STEP  # (S,)
        speed = torch.sqrt((velocity * velocity).sum(-1) + 1e-6)
        scale = (1.0 + 0.2 * speed)[:, None, None, None]  # m/s that one unit of output changes the velocity by
        change = raw[..., : STEPS * 2].view(*shape, STEPS, 2) * scale
        mean = velocity[:, None, None, :] * time[:, None] + change.cumsum(2) * STEP
        growth = (0.1 + 0.2 * time)[:, None] * scale  # (N, 1, S, 1)
        deviation = growth * torch.exp(raw[..., STEPS * 2 : STEPS * 4].view(*shape, STEPS, 2).clamp(-4.0, 4.0))
        correlation = 0.95 * torch.tanh(raw[..., STEPS * 4 : STEPS * 5])
        return Paths(mean, deviation, correlation, raw[..., -1], manoeuvre)
