"""What a policy of an arcade game was made for, as data: the game, what it is told, and the game's options."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from agents.policies.images import Strict
from agents.policies.robot_spec import Option

__all__ = ["ArcadeSpec"]


class ArcadeSpec(Strict):
    """The game of `envs.games.arcade` that a policy was trained on. Options are those of its configuration that differ from the usual."""

    task: Annotated[str, Field(min_length=1, max_length=64)]
    observation: Literal["truth", "visible", "noisy", "perceived", "pixels"] = "truth"
    options: dict[str, Option] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Options are left out where there are none."""
        return {name: value for name, value in handler(self).items() if name != "options" or value}
