"""What is known of a trained policy besides its weights: a description of a fixed schema, which is data and nothing else.

Sizes of a multilayer perceptron, an activation and an output head chosen from tables, the action and observation it was made for, and the
perception weights it saw through. Fields that came later are left out of the JSON where they hold their default, so that older files
keep their sha256.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from agents.policies.arcade_spec import ArcadeSpec
from agents.policies.images import ImageSpec, Strict, Width
from agents.policies.robot_spec import RobotSpec
from envs.driving.types import DrivingConfig

__all__ = [
    "ACTIVATIONS", "HEADS", "ActionSpec", "ArcadeSpec", "BundleSpec", "DrivingSpec", "NetworkSpec", "NormaliserSpec", "ObservationSpec",
    "RobotSpec", "Stage", "TrainingSpec",
]  # fmt: skip

ACTIVATIONS = ("tanh", "relu", "elu", "gelu", "silu", "leaky_relu")
HEADS = ("clip", "squash", "categorical", "values", "quantiles")
_ACTIVATION = Literal["tanh", "relu", "elu", "gelu", "silu", "leaky_relu"]
_HEAD = Literal["clip", "squash", "categorical", "values", "quantiles"]
Stage = Literal["detector", "predictor", "noise"]  # of a perception stack, as the fields of `DrivingConfig` are called
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class NetworkSpec(Strict):
    """A multilayer perceptron and what its outputs mean.

    `clip`: the outputs are the action, clipped to its bounds (PPO, A2C, TRPO). `squash`: tanh, then scaled to the bounds (SAC, TQC, TD3,
    DDPG). `categorical`: logits, the most likely is taken (PPO, A2C, TRPO). `values`: action values, the best is taken (DQN).
    `quantiles`: (quantiles, actions) values, the best mean is taken (QR-DQN).
    """

    sizes: tuple[Width, ...] = Field(min_length=2, max_length=10)  # inputs, hidden layers, outputs
    activation: _ACTIVATION  # after every layer but the last
    head: _HEAD
    quantiles: Annotated[int, Field(ge=1, le=1024)] = 1
    image: ImageSpec | None = None

    @model_serializer(mode="wrap")
    def _without_image(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Images came later: those without keep their sha256."""
        return {name: value for name, value in handler(self).items() if name != "image" or value is not None}


class ActionSpec(Strict):
    """The action space: bounds of each component, or the number of choices."""

    kind: Literal["continuous", "discrete"]
    low: tuple[_Finite, ...] = ()
    high: tuple[_Finite, ...] = ()
    count: Annotated[int, Field(ge=0, le=1024)] = 0

    @model_validator(mode="after")
    def _check(self) -> ActionSpec:
        if self.kind == "discrete" and (self.count < 1 or self.low or self.high):
            raise ValueError("a discrete action has a count of at least 1 and no bounds")
        if self.kind == "continuous":
            if self.count or not self.low or len(self.low) != len(self.high):
                raise ValueError("a continuous action has equally many low and high bounds and no count")
            if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
                raise ValueError("every low bound must be below its high bound")
        return self


class ObservationSpec(Strict):
    """The flat observation (what is no image): its size and, in order, the parts it is made of with their shapes (none: one unnamed)."""

    size: Annotated[int, Field(ge=0, le=8192)]  # 0: there is nothing but images
    features: str = ""  # sha256 over the names of all features in order: what each number means
    layout: dict[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(default_factory=dict)


class NormaliserSpec(Strict):
    """Inputs are clip((x - mean) / sqrt(variance + epsilon), -limit, limit), computed in float64 and rounded to float32."""

    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DrivingSpec(Strict):
    """The fields of `DrivingConfig` that the policy was made for."""

    action: Literal["continuous", "discrete"]
    observation: Literal["truth", "visible", "noisy", "perceived", "pixels"]
    ticks_per_step: Annotated[int, Field(ge=1)]
    dt: Annotated[float, Field(gt=0, allow_inf_nan=False)]  # s
    nearest: Annotated[int, Field(ge=0)]
    view_range: Annotated[float, Field(gt=0, allow_inf_nan=False)]  # m
    view_fov: Annotated[float, Field(gt=0, allow_inf_nan=False)]  # rad
    forecasts: Annotated[int, Field(ge=0, le=6)] = 0
    detector: str = DrivingConfig.detector
    tracker: str = DrivingConfig.tracker
    predictor: str = DrivingConfig.predictor
    noise: str = DrivingConfig.noise
    recall: Annotated[float, Field(ge=0, le=1)] = 1.0
    position: Annotated[float, Field(ge=0, le=100)] = 1.0
    cameras: str = DrivingConfig.cameras
    weather: str = DrivingConfig.weather
    perceive_every: Annotated[int, Field(ge=1)] = 1
    latency: Annotated[int, Field(ge=0)] = 0
    drop: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields with a default came later: they are named where they differ from it, so that older files keep their sha256."""
        fields = type(self).model_fields
        return {name: value for name, value in handler(self).items() if fields[name].is_required() or value != fields[name].default}


class TrainingSpec(Strict):
    """Where the policy comes from."""

    scenarios: tuple[str, ...] = ()
    steps: Annotated[int, Field(ge=0)] = 0
    seed: int = 0


class BundleSpec(Strict):
    """Everything about a policy but its weights."""

    format: Literal["closedloop-policy"] = "closedloop-policy"
    version: Literal[1] = 1
    name: str
    algorithm: str
    network: NetworkSpec
    action: ActionSpec
    observation: ObservationSpec
    normaliser: NormaliserSpec | None = None
    driving: DrivingSpec | None = None
    robot: RobotSpec | None = None
    arcade: ArcadeSpec | None = None
    planner: Literal["", "lattice", "pdm", "mppi"] = ""  # which its actions tell what to aim at (`agents.planners.wish`); "": none
    perception: dict[Stage, _Sha256] = Field(default_factory=dict)  # the weights it saw through while it was trained
    training: TrainingSpec = TrainingSpec()
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> BundleSpec:
        inputs, outputs = self.network.sizes[0], self.network.sizes[-1]
        image = self.network.image
        given = self.observation.size + (image.features if image else 0)
        if inputs != given:
            raise ValueError(f"the network takes {inputs} inputs but the observation has {given}")
        made_for = self.driving or self.robot or self.arcade
        if made_for is not None and (made_for.observation == "pixels") != (image is not None):
            raise ValueError(f"observation {made_for.observation!r} does not go with a network {'with' if image else 'without'} images")
        if self.observation.layout and sum(int(np.prod(shape)) for shape in self.observation.layout.values()) != self.observation.size:
            raise ValueError(f"the parts of the observation do not add up to {self.observation.size}")
        continuous = self.action.kind == "continuous"
        if continuous != (self.network.head in ("clip", "squash")):
            raise ValueError(f"head {self.network.head!r} does not make {self.action.kind} actions")
        wanted = len(self.action.low) if continuous else self.action.count * self.network.quantiles
        if outputs != wanted or (self.network.quantiles > 1 and self.network.head != "quantiles"):
            raise ValueError(f"the network has {outputs} outputs where the action needs {wanted}")
        if self.driving is not None and self.driving.action != self.action.kind:
            raise ValueError(f"the action is {self.action.kind} but the simulator's is {self.driving.action}")
        if self.planner and (self.driving is None or len(self.action.low) != 3):
            raise ValueError("what tells a planner what to aim at drives, by three numbers from -1 to 1")
        if self.perception and made_for is None:
            raise ValueError("perception weights belong to a policy that drives, moves a robot or plays an arcade game")
        if self.robot is not None and (self.driving is not None or not continuous):
            raise ValueError("a policy of a robot task acts by numbers, and does not drive")
        if self.arcade is not None and (self.driving is not None or self.robot is not None):
            raise ValueError("a policy of an arcade game neither drives nor moves a robot")
        return self

    @model_serializer(mode="wrap")
    def _without_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Perception weights, planners, robots and arcade games came later: descriptions without any keep their sha256."""
        return {name: value for name, value in handler(self).items() if name not in ("perception", "planner", "robot", "arcade") or value}

    def shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Name -> (shape, dtype) of every tensor the bundle must hold, no more and no less."""
        wanted: dict[str, tuple[tuple[int, ...], str]] = {}
        for i, (inputs, outputs) in enumerate(zip(self.network.sizes[:-1], self.network.sizes[1:], strict=True)):
            wanted[f"layers.{i}.weight"] = ((outputs, inputs), "float32")
            wanted[f"layers.{i}.bias"] = ((outputs,), "float32")
        if self.network.image is not None:
            wanted |= self.network.image.shapes()
        if self.normaliser is not None:
            wanted["normaliser.mean"] = wanted["normaliser.variance"] = ((self.observation.size,), "float64")
        return wanted
