"""Networks trained with Stable-Baselines3, run without it: the actor of a bundle in plain torch.

The outputs equal those of the SB3 model's `predict(deterministic=True)` bit for bit, at the same number of rows. Rows are computed in
blocks of a fixed size, the last one padded, because matrix products round differently at different batch sizes: so what one row gets
depends neither on the other rows nor on how many there are, nor on the number of threads.

Shapes: B worlds, N learners, R = B * N rows, F observation size, C action components.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.policies.base import Policy, PolicyError, PolicyNeeds
from agents.policies.bundle import PolicyBundle, load_bundle
from agents.policies.images import look
from agents.policies.spec import ObservationSpec
from envs.driving.types import DrivingConfig

if TYPE_CHECKING:
    from envs.driving.observation import Observation
    from envs.driving.pixels import PixelObservation

__all__ = ["BLOCK", "Actor", "SB3Policy", "load_bundle_policy", "observation_spec"]

BLOCK = 64  # rows computed together
# by the names in bundle.ACTIVATIONS; nothing else can be asked for
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "leaky_relu": functional.leaky_relu,
}


class Actor(nn.Module):
    """Observation (R, F) -> action (R, C) float32 within its bounds, or (R,) int64."""

    def __init__(self, bundle: PolicyBundle) -> None:
        super().__init__()
        spec = bundle.spec
        tensors = {name: torch.from_numpy(value.copy()) for name, value in bundle.tensors.items()}
        self.head, self.quantiles, self.count = spec.network.head, spec.network.quantiles, spec.action.count
        self.activation = _ACTIVATIONS[spec.network.activation]
        self.layers = len(spec.network.sizes) - 1
        self.image = spec.network.image
        for name, value in tensors.items():
            if name.startswith("image."):
                self.register_buffer(name.replace(".", "_"), value)
        for i in range(self.layers):
            self.register_buffer(f"weight_{i}", tensors[f"layers.{i}.weight"])
            self.register_buffer(f"bias_{i}", tensors[f"layers.{i}.bias"])
        self.register_buffer("low", torch.tensor(spec.action.low, dtype=torch.float32))
        self.register_buffer("high", torch.tensor(spec.action.high, dtype=torch.float32))
        self.normaliser = spec.normaliser
        if spec.normaliser is not None:
            self.register_buffer("mean", tensors["normaliser.mean"])
            self.register_buffer("scale", torch.sqrt(tensors["normaliser.variance"] + spec.normaliser.epsilon))

    @torch.no_grad()
    def forward(self, rows: Tensor, images: Tensor | None = None) -> Tensor:
        """All rows in blocks of BLOCK, the last one padded with zeros. images (R, 3 C, H, W) uint8: for a policy that takes them."""
        count = rows.shape[0]
        rest = -count % BLOCK
        parts = torch.split(functional.pad(rows, (0, 0, 0, rest)), BLOCK)
        if images is None:
            return torch.cat([self.block(part) for part in parts])[:count]
        seen = torch.split(functional.pad(images, (0, 0, 0, 0, 0, 0, 0, rest)), BLOCK)
        return torch.cat([self.block(part, image) for part, image in zip(parts, seen, strict=True)])[:count]

    @torch.no_grad()
    def block(self, rows: Tensor, images: Tensor | None = None) -> Tensor:
        """The rows in one go, whatever their number."""
        x = self.normalise(rows)
        if self.image is not None and images is not None:
            x = torch.cat([look(self.image, lambda name: self.get_buffer(name.replace(".", "_")), images), x], dim=1)
        for i in range(self.layers):
            x = functional.linear(x, self.get_buffer(f"weight_{i}"), self.get_buffer(f"bias_{i}"))
            if i < self.layers - 1:
                x = self.activation(x)
        return self.choose(x)

    def normalise(self, rows: Tensor) -> Tensor:
        """clip((x - mean) / sqrt(variance + epsilon)), in float64 as during training."""
        if self.normaliser is None:
            return rows
        limit = self.normaliser.limit
        return ((rows.double() - self.get_buffer("mean")) / self.get_buffer("scale")).clamp(-limit, limit).float()

    def choose(self, x: Tensor) -> Tensor:
        """Outputs of the network -> action; the operations and their order are SB3's, so that rounding agrees."""
        low, high = self.get_buffer("low"), self.get_buffer("high")
        if self.head == "clip":
            return x.clamp(low, high)
        if self.head == "squash":
            return low + (0.5 * (torch.tanh(x) + 1.0) * (high - low))
        if self.head == "categorical":  # of the probabilities: where two round to the same, the first is taken
            return torch.softmax(x - x.logsumexp(dim=-1, keepdim=True), dim=-1).argmax(dim=1)
        if self.head == "quantiles":
            x = x.view(-1, self.quantiles, self.count).mean(dim=1)
        return x.argmax(dim=1)


class SB3Policy:
    """A trained policy that drives. Implements `agents.policies.base.Policy`."""

    def __init__(self, bundle: PolicyBundle, *, device: str | torch.device = "cpu") -> None:
        """Raises PolicyError if the bundle was not made for driving, or for observations of another layout than this version's."""
        spec = bundle.spec
        if spec.driving is None:
            raise PolicyError(f"policy {spec.name!r} was not trained in the driving simulator")
        made_for = spec.driving.model_dump()
        self.bundle = bundle
        self.name = spec.name
        self.needs = PolicyNeeds(**made_for)
        self.actor = Actor(bundle).to(device)
        self.device = torch.device(device)
        config = self.needs.config(agents=8)
        made_now = observation_spec(config)
        if spec.network.image is not None:
            from envs.driving.pixels import image_shape

            if spec.network.image.shape != image_shape(config):
                raise PolicyError(
                    f"policy {spec.name!r} was trained on images of {spec.network.image.shape}; this version makes {image_shape(config)}"
                )
        if spec.observation != made_now:
            raise PolicyError(
                f"policy {spec.name!r} was trained on observations {_show(spec.observation)}; this version makes {_show(made_now)}: "
                f"train it again, or use the version that made it (closedloop {spec.versions.get('closedloop', 'unknown')})"
            )

    def act(self, observation: Observation | PixelObservation, *, seed: Tensor, step: Tensor) -> Tensor:
        """The most likely action of each learner: (B, N, 2) float32 or (B, N) int64. `seed` and `step` are not used."""
        from envs.driving.observation import flatten
        from envs.driving.pixels import PixelObservation, state_vector

        images = None
        if isinstance(observation, PixelObservation):
            flat, images = state_vector(observation), observation.image.flatten(0, 1)
        else:
            flat = flatten(observation)  # (B, N, F)
        worlds, learners, size = flat.shape
        if flat.device != self.device:  # it follows what it is shown
            self.actor, self.device = self.actor.to(flat.device), flat.device
        action: Tensor = self.actor(flat.reshape(-1, size), images)
        return action.reshape(worlds, learners, *action.shape[1:])


def observation_spec(config: DrivingConfig) -> ObservationSpec:
    """What the flat observation of this version is made of, for `config`; at the level `pixels` what comes beside the images."""
    from envs.driving import observation as o

    if config.observation == "pixels":
        from envs.driving.pixels import STATE_PARTS, state_size

        known = (o.EGO_FEATURES, o.ROUTE_AHEAD, o.ROUTE_FEATURES, o.GOAL_FEATURES)
        parts = {name: o.shapes(config)[name] for name in STATE_PARTS}
        return ObservationSpec(size=state_size(config), features=hashlib.sha256(repr(known).encode()).hexdigest(), layout=parts)
    names = (o.EGO_FEATURES, o.OBJECT_FEATURES, o.ROUTE_AHEAD, o.ROUTE_FEATURES, o.LANE_FEATURES, o.RULE_FEATURES, o.GOAL_FEATURES)
    layout = {name: shape for name, shape in o.shapes(config).items() if name != "objects_mask"}  # which `flatten` leaves out
    return ObservationSpec(size=o.flat_size(config), features=hashlib.sha256(repr(names).encode()).hexdigest(), layout=layout)


def load_bundle_policy(path: str | Path) -> Policy:
    """The policy in a bundle or run folder. Raises BundleError if it is damaged, PolicyError if it does not fit."""
    policy = SB3Policy(load_bundle(path))
    if policy.bundle.spec.planner:
        from agents.policies.planned import PlannedPolicy

        return PlannedPolicy(policy)
    return policy


def _show(spec: ObservationSpec) -> str:
    parts = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in spec.layout.items())
    return f"of {spec.size} numbers ({parts or 'no parts'}; features {spec.features[:8] or 'unnamed'})"
