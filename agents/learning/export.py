"""From a Stable-Baselines3 model to a bundle: the layers of its actor, found by the algorithm's own names, and the normaliser."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from agents import __version__
from agents.learning.algorithms import Algorithm, find_algorithm
from agents.policies.bundle import PolicyBundle
from agents.policies.images import ImageSpec
from agents.policies.pins import perception_weights
from agents.policies.spec import (
    ActionSpec,
    ArcadeSpec,
    BundleSpec,
    DrivingSpec,
    NetworkSpec,
    NormaliserSpec,
    ObservationSpec,
    RobotSpec,
    Stage,
    TrainingSpec,
)

__all__ = ["bundle_from_model", "versions"]

_LIBRARIES = ("torch", "stable-baselines3", "sb3-contrib", "gymnasium", "numpy", "safetensors")


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that a policy's numbers depend on."""
    found = {"closedloop": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def bundle_from_model(
    model: BaseAlgorithm,
    *,
    name: str,
    algorithm: str,
    activation: str,
    observation: ObservationSpec,
    normalise: VecNormalize | None = None,
    driving: DrivingSpec | None = None,
    robot: RobotSpec | None = None,
    arcade: ArcadeSpec | None = None,
    planner: str = "",
    perception: Mapping[Stage, str] | None = None,
    training: TrainingSpec | None = None,
) -> PolicyBundle:
    """The actor of `model` as a bundle; the model is copied from, not changed.

    planner: which planner its actions tell what to aim at, "": they are the simulator's. normalise: the wrapper whose statistics the
    observations were normalised with. perception: sha256 of the weights it was trained to see through; None: those that the stages which
    `driving` names have now. Raises ValueError if the policy is no plain multilayer
    perceptron, or one behind the convolutions that Stable-Baselines3 puts before images; BundleError if its weights are not finite (the
    training has diverged).
    """
    found = find_algorithm(algorithm)
    action = _action(model.action_space)
    head = found.heads[found.actions.index(action.kind)]
    layers = _linears(model.policy, found)
    tensors: dict[str, NDArray[Any]] = {}
    for i, layer in enumerate(layers):
        tensors[f"layers.{i}.weight"] = layer.weight.detach().cpu().numpy().copy()
        tensors[f"layers.{i}.bias"] = layer.bias.detach().cpu().numpy().copy()
    image, convolutions = _image(model, found)
    tensors |= convolutions
    spec_of_normaliser = None
    if normalise is not None and normalise.norm_obs:
        statistics = normalise.obs_rms["state"] if isinstance(normalise.obs_rms, dict) else normalise.obs_rms
        assert isinstance(statistics, RunningMeanStd)
        tensors["normaliser.mean"] = np.array(statistics.mean, dtype=np.float64)
        tensors["normaliser.variance"] = np.array(statistics.var, dtype=np.float64)
        spec_of_normaliser = NormaliserSpec(epsilon=float(normalise.epsilon), limit=float(normalise.clip_obs))
    spec = BundleSpec(
        name=name,
        algorithm=algorithm,
        network=NetworkSpec(
            sizes=(layers[0].in_features, *(layer.out_features for layer in layers)),
            activation=activation,  # type: ignore[arg-type]  # checked by the model
            head=head,  # type: ignore[arg-type]
            quantiles=int(getattr(model, "n_quantiles", 1)) if head == "quantiles" else 1,
            image=image,
        ),
        action=action,
        observation=observation,
        normaliser=spec_of_normaliser,
        driving=driving,
        robot=robot,
        arcade=arcade,
        planner=planner,  # type: ignore[arg-type]  # checked by the model
        perception=dict((perception_weights(driving) if driving else {}) if perception is None else perception),
        training=training or TrainingSpec(),
        versions=versions(),
    )
    return PolicyBundle(spec=spec, tensors=tensors)


def _linears(policy: nn.Module, algorithm: Algorithm) -> list[nn.Linear]:
    """The linear layers of the actor in order. Raises ValueError if there is anything between them but activations."""
    found: list[nn.Linear] = []
    for path in algorithm.actor:
        module = policy.get_submodule(path)
        for part in module if isinstance(module, nn.Sequential) else (module,):
            if isinstance(part, nn.Linear):
                found.append(part)
            elif any(True for _ in part.parameters()):
                raise ValueError(f"{algorithm.name}: a {type(part).__name__} in {path} is no part of a multilayer perceptron")
    return found


def _image(model: BaseAlgorithm, algorithm: Algorithm) -> tuple[ImageSpec | None, dict[str, NDArray[Any]]]:
    """The convolutions before the actor of a policy that takes images (`CombinedExtractor`, `NatureCNN`), and their weights."""
    if not isinstance(model.observation_space, spaces.Dict) or "image" not in model.observation_space.spaces:
        return None, {}
    owner = algorithm.actor[0].rpartition(".")[0] if not algorithm.on_policy else ""
    extractor = model.policy.get_submodule(f"{owner}.features_extractor" if owner else "pi_features_extractor")
    if not isinstance(extractor, CombinedExtractor) or list(extractor.extractors) not in (["image", "state"], ["image"]):
        raise ValueError(f"{algorithm.name}: {type(extractor).__name__} does not take an image and, if anything, a vector called 'state'")
    network = extractor.extractors["image"]
    assert isinstance(network, NatureCNN)
    convolutions = [part for part in network.cnn if isinstance(part, nn.Conv2d)]
    last = network.linear[0]
    assert isinstance(last, nn.Linear)
    tensors: dict[str, NDArray[Any]] = {}
    named: dict[str, nn.Conv2d | nn.Linear] = {str(i): layer for i, layer in enumerate(convolutions)} | {"linear": last}
    for name, layer in named.items():
        assert layer.bias is not None
        tensors[f"image.{name}.weight"] = layer.weight.detach().cpu().numpy().copy()
        tensors[f"image.{name}.bias"] = layer.bias.detach().cpu().numpy().copy()
    shape = model.observation_space["image"].shape
    assert shape is not None
    spec = ImageSpec(
        shape=(shape[0], shape[1], shape[2]),
        convolutions=tuple((layer.out_channels, layer.kernel_size[0], layer.stride[0]) for layer in convolutions),
        features=last.out_features,
    )
    return spec, tensors


def _action(space: spaces.Space[Any]) -> ActionSpec:
    if isinstance(space, spaces.Discrete):
        return ActionSpec(kind="discrete", count=int(space.n))
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return ActionSpec(kind="continuous", low=tuple(map(float, space.low)), high=tuple(map(float, space.high)))
    raise ValueError(f"action space {space}: a policy can be stored for Discrete or one-dimensional Box only")
