"""What a robot policy was made for, as data: the task, what it is told, and the task's options. And which come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from agents.policies.images import Strict
from agents.policies.shipped import shipped_in

__all__ = ["ROBOT_WEIGHTS", "Option", "RobotSpec", "shipped_tasks"]

ROBOT_WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "robots"  # <task>.safetensors + <task>.json

Option = str | Annotated[float, Field(allow_inf_nan=False)]


class RobotSpec(Strict):
    """The task of `envs.robots` that a policy was trained on. Options are those that decide what it is told and what its actions mean."""

    task: Annotated[str, Field(min_length=1, max_length=64)]
    observation: Literal["truth", "visible", "noisy", "perceived"] = "truth"
    options: dict[str, Option] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Options are left out where there are none."""
        return {name: value for name, value in handler(self).items() if name != "options" or value}


def shipped_tasks() -> list[str]:
    """Robot tasks for which a trained policy comes with the package."""
    return shipped_in(ROBOT_WEIGHTS)
