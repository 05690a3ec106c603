"""What a policy of an arcade game was made for, as data: the game, what it is told, and the game's options. And which come with the
package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from agents.policies.images import Strict
from agents.policies.robot_spec import Option
from agents.policies.shipped import shipped_in

__all__ = ["ARCADE_WEIGHTS", "ArcadeSpec", "shipped_arcade"]

ARCADE_WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "arcade"  # <game>.safetensors + <game>.json


class ArcadeSpec(Strict):
    """The game of `envs.games.arcade` that a policy was trained on. Options are those of its configuration, and of its screen those of its
    ScreenConfig, that differ from the usual."""

    task: Annotated[str, Field(min_length=1, max_length=64)]
    observation: Literal["truth", "visible", "noisy", "perceived", "pixels"] = "truth"
    options: dict[str, Option] = Field(default_factory=dict)
    screen: dict[str, Option] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Options are left out where there are none: older files keep their sha256."""
        return {name: value for name, value in handler(self).items() if name not in ("options", "screen") or value}


def shipped_arcade() -> list[str]:
    """Arcade games for which a trained policy comes with the package."""
    return shipped_in(ARCADE_WEIGHTS)
