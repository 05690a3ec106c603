"""What a robot policy was made for, as data: the task, what it is told, and the task's options. And which come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from agents.policies.images import Strict
from agents.policies.shipped import shipped_in

__all__ = ["ROBOT_WEIGHTS", "Option", "RobotSpec", "shipped_tasks"]

ROBOT_WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "robots"  # <task>.safetensors + <task>.json, <task>_pixels.*

Option = str | Annotated[float, Field(allow_inf_nan=False)]


class RobotSpec(Strict):
    """The task of `envs.robots` that a policy was trained on. Options are those that decide what it is told and what its actions mean."""

    task: Annotated[str, Field(min_length=1, max_length=64)]
    observation: Literal["truth", "visible", "noisy", "perceived", "pixels"] = "truth"
    options: dict[str, Option] = Field(default_factory=dict)
    frames: Annotated[int, Field(ge=1, le=8)] = 1  # of pixels: pictures of each camera

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Options are left out where there are none, and frames where there is one: older files keep their sha256."""
        return {name: value for name, value in handler(self).items() if value != {"options": {}, "frames": 1}.get(name)}


def shipped_tasks() -> list[str]:
    """Robot tasks for which a trained policy comes with the package, and `<task>_pixels` for one that is shown pictures."""
    return shipped_in(ROBOT_WEIGHTS)
