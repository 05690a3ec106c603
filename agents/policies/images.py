"""Policies that look at images: the convolutions before their perceptron, as a description and as what they compute.

Shapes: R rows, C cameras, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImageSpec", "Strict", "Width", "look", "rows_of"]

Width = Annotated[int, Field(ge=1, le=8192)]
_Side = Annotated[int, Field(ge=1, le=64)]


class Strict(BaseModel):
    """A part of a description: frozen, of exactly the types that it names, and nothing besides."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ImageSpec(Strict):
    """Convolutions that make numbers of an image, each followed by a ReLU, then a linear layer with a ReLU, as NatureCNN of SB3 does.

    Pixels are divided by 255. The numbers come before the rest of the observation.
    """

    shape: tuple[Width, Width, Width]  # channels, height, width
    convolutions: tuple[tuple[Width, _Side, _Side], ...] = Field(min_length=1, max_length=8)  # channels made, side of the kernel, stride
    features: Width

    @model_validator(mode="after")
    def _check(self) -> ImageSpec:
        if min(self.sides) < 1:
            raise ValueError(f"an image of {self.shape[1]} x {self.shape[2]} is too small for its convolutions")
        return self

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width after the convolutions, 0 or less if nothing is left."""
        height, width = self.shape[1:]
        for _, side, stride in self.convolutions:
            height, width = (height - side) // stride + 1, (width - side) // stride + 1
        return height, width

    def shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Name -> (shape, dtype) of its tensors."""
        wanted: dict[str, tuple[tuple[int, ...], str]] = {}
        inputs = self.shape[0]
        for i, (outputs, side, _) in enumerate(self.convolutions):
            wanted[f"image.{i}.weight"] = ((outputs, inputs, side, side), "float32")
            wanted[f"image.{i}.bias"] = ((outputs,), "float32")
            inputs = outputs
        height, width = self.sides
        wanted["image.linear.weight"] = ((self.features, inputs * height * width), "float32")
        wanted["image.linear.bias"] = ((self.features,), "float32")
        return wanted


def look(spec: ImageSpec, tensor: Callable[[str], Tensor], images: Tensor) -> Tensor:
    """Images (R, 3 C, H, W) uint8 -> what the convolutions make of them (R, features). tensor: gives one of `spec.shapes()` by name."""
    from torch.nn import functional

    x = images.float() / 255.0
    for i, (_, _, stride) in enumerate(spec.convolutions):
        x = functional.relu(functional.conv2d(x, tensor(f"image.{i}.weight"), tensor(f"image.{i}.bias"), stride=stride))
    return functional.relu(functional.linear(x.flatten(1), tensor("image.linear.weight"), tensor("image.linear.bias")))


def rows_of(observation: Any) -> tuple[Tensor, Tensor | None]:
    """What a network takes of an observation of R rows: numbers (R, F), and pictures (R, 3 C, H, W) uint8 where it has an `image`. Beside
    them stand the numbers of its `state`, or none, F = 0."""
    import torch

    if not isinstance(observation, dict):
        return torch.from_numpy(observation), None
    images = torch.from_numpy(observation["image"])
    return torch.from_numpy(observation["state"]) if "state" in observation else torch.zeros(len(images), 0), images
