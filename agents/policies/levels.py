"""The same policy on another level of the observation ladder: `highway@noisy`, `highway@perceived,weather=night,latency=2`.

The first four levels share one observation space, so nothing about the policy changes but what it is told of its surroundings. `pixels`
shows images instead: a policy that was trained on those stays on that level, with other options at most (`mine@pixels,weather=night`).
`forecasts=3,predictor=driving` has the traffic predicted and so shown in replays, whether or not the policy heeds it; `truth` and `visible`
then come through the tracker, as a predictor needs tracks. `tracker=imm` is the one that knows who stands, planners' default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agents.policies.base import Policy, PolicyError, PolicyNeeds, Told
from envs.driving.camera.config import CameraConfig
from envs.driving.features_objects import OBJECT_FEATURES, belief_names
from envs.driving.types import LEVELS, SAME_SPACE, DrivingConfig
from scenarios.errors import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPTIONS", "AtLevel", "at_level"]

# what may follow the level, and how it is read
OPTIONS: dict[str, type] = {
    "detector": str, "tracker": str, "predictor": str, "forecasts": int, "noise": str, "recall": float, "position": float,
    "cameras": str, "weather": str, "perceive_every": int, "latency": int, "drop": float, "view_range": float, "view_fov": float,
}  # fmt: skip


@dataclass(frozen=True)
class AtLevel:
    """A policy that is told something else. Implements `agents.policies.base.Policy`."""

    policy: Policy
    needs: PolicyNeeds
    name: str
    chosen: frozenset[str] = frozenset()  # fields of `needs` that were named

    @property
    def bundle(self) -> Any:
        """The bundle of a trained policy, None for others."""
        return getattr(self.policy, "bundle", None)

    def act(self, observation: Any, *, seed: Tensor, step: Tensor) -> Tensor:
        """As the policy itself, which sees no more forecasts than it was made for; a planner sees all of them."""
        if self.needs.forecasts > self.policy.needs.forecasts and not self.needs.scene:
            width = len(OBJECT_FEATURES) + len(belief_names(self.policy.needs.forecasts))
            seen = observation.seen if isinstance(observation, Told) else observation
            seen = seen._replace(objects=seen.objects[..., :width])
            observation = observation._replace(seen=seen) if isinstance(observation, Told) else seen
        return self.policy.act(observation, seed=seed, step=step)


def at_level(policy: Policy, text: str) -> AtLevel:
    """`policy` on the level named first in `text`, with options `name=value` after commas. Raises PolicyError."""
    level, *rest = text.split(",")
    if level not in LEVELS:
        raise PolicyError(f"no observation level {level!r}; {did_you_mean(level, LEVELS) or 'known: ' + ', '.join(LEVELS)}")
    if level != policy.needs.observation and not {level, policy.needs.observation} <= {*SAME_SPACE}:
        raise PolicyError(
            f"{policy.name!r} cannot change from {policy.needs.observation!r} to {level!r}: pixels are images, a space of its own, and the "
            f"others ({', '.join(SAME_SPACE)}) lists of objects; train a policy on it: closedloop train --observation {level}"
        )
    changes: dict[str, Any] = {"observation": level}
    if level != "noisy":  # what another level has no use for
        changes |= {"recall": DrivingConfig.recall, "position": DrivingConfig.position}
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals or key not in OPTIONS:
            hint = did_you_mean(key, OPTIONS) or "known: " + ", ".join(OPTIONS)
            raise PolicyError(f"{part!r} after the level {level!r}: options are name=value; {hint}")
        try:
            changes[key] = OPTIONS[key](value)
        except ValueError:
            raise PolicyError(f"{part!r}: {value!r} is not a number") from None
    needs = replace(policy.needs, **changes)
    if needs.forecasts < policy.needs.forecasts:
        raise PolicyError(f"{text!r}: {policy.name!r} was made for {policy.needs.forecasts} forecasts of each object; that many or more")
    try:
        needs.config(agents=8)
        CameraConfig(cameras=tuple(needs.cameras.split("+")), weather=needs.weather)
    except ValueError as error:
        raise PolicyError(f"{text!r}: {error}") from error
    return AtLevel(policy, needs, f"{policy.name}@{text}", frozenset(part.partition("=")[0] for part in rest))
