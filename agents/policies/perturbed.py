"""A policy with a known fault, to see what a gate or a stress test makes of it: `highway~steer_bias=0.02`, `merge~blind=left`.

A level of the observation ladder comes behind: `highway~brake_limit=0.7@perceived,latency=2`. The faults, joined by commas:

    steer_bias=S    the wheels stand off by S times the widest steering angle, left positive; works for every policy
    brake_limit=F   the brakes give F times their strongest; works for every policy
    blind=SIDE      objects with their centres there are not shown: left or right (more than 1.5 m beside the ego's axis), front or rear;
                    nor are the gaps in the neighbour lane on that side, or those ahead or behind in all three lanes
    forget=THING    keeps lane and speed, as `constant` does, wherever there is a THING: light (one governs the next stop line),
                    walker (among the objects), junction (an area to give way or to go first in), merge (the own lane ends)

`forget` is what a policy looks like that a family of scenarios was left out of the training of. Several: `forget=light+junction`.
Shapes: B worlds, N learners, K objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from agents.policies.base import Policy, PolicyError, PolicyNeeds
from envs.driving.features import POSITION
from envs.driving.features_lanes import LANE_FEATURES, NO_GAP, RULE_FEATURES
from envs.driving.features_objects import OBJECT_FEATURES
from scenarios.errors import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from envs.driving.observation import Observation

__all__ = ["FAULTS", "SIDES", "THINGS", "Perturbed", "perturbed"]

FAULTS = ("steer_bias", "brake_limit", "blind", "forget")
SIDES = ("left", "right", "front", "rear")
THINGS = ("light", "walker", "junction", "merge")
BESIDE = 1.5 / POSITION  # 1.5 m: what is in the ego's own lane stays in view
NEVER = 0.99  # squashed distances from here on mean that there is none: two kilometres
_X, _Y, _WALKER = (OBJECT_FEATURES.index(name) for name in ("x", "y", "pedestrian"))
_RULE = {name: i for i, name in enumerate(RULE_FEATURES)}
_LANE = {name: i for i, name in enumerate(LANE_FEATURES)}
_FREE = {"front_gap": NO_GAP, "front_speed": 0.0, "rear_gap": NO_GAP, "rear_speed": 0.0}  # what is told of a lane without anybody in it


@dataclass(frozen=True)
class Perturbed:
    """A policy with faults. Implements `agents.policies.base.Policy`; the faults of wheels and brakes are in `needs`."""

    policy: Policy
    needs: PolicyNeeds
    name: str
    blind: str = ""
    forget: tuple[str, ...] = ()

    @property
    def bundle(self) -> Any:
        """The bundle of a trained policy, None for others."""
        return getattr(self.policy, "bundle", None)

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        """As the policy itself on what it is shown, and the action that changes nothing where it has forgotten what to do."""
        lost = torch.stack([_meets(observation, thing) for thing in self.forget]).any(0) if self.forget else None
        action = self.policy.act(_half_blind(observation, self.blind) if self.blind else observation, seed=seed, step=step)
        if lost is None:
            return action
        return torch.where(lost.view(*lost.shape, *[1] * (action.dim() - 2)), torch.zeros_like(action), action)


def perturbed(policy: Policy, text: str) -> Perturbed:
    """`policy` with the faults `name=value` in `text`, joined by commas (module docstring). Raises PolicyError."""
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key not in FAULTS:
            raise PolicyError(f"{part!r} after '~': faults are name=value; {did_you_mean(key, FAULTS) or 'known: ' + ', '.join(FAULTS)}")
        given[key] = value
    forget = tuple(given["forget"].split("+")) if "forget" in given else ()
    for name, values, known in (("blind", (given["blind"],) if "blind" in given else (), SIDES), ("forget", forget, THINGS)):
        for value in values:
            if value not in known:
                raise PolicyError(f"{name}={value!r}: {did_you_mean(value, known) or 'known: ' + ', '.join(known)}")
    needs = policy.needs
    if ("blind" in given or forget) and needs.autopilot:
        raise PolicyError(f"{text!r}: {policy.name!r} reads the simulator's state, so what it is shown, or answers, does not matter")
    if ("blind" in given or forget) and (needs.scene or needs.told):
        raise PolicyError(f"{text!r}: {policy.name!r} has a planner, which is told tracks and a map; faults of wheels and brakes fit")
    if ("blind" in given or forget) and needs.observation == "pixels":
        raise PolicyError(f"{text!r}: {policy.name!r} is shown pixels, in which nothing can be left out; faults of wheels and brakes fit")
    if forget and needs.action == "trajectory":
        raise PolicyError(f"{text!r}: {policy.name!r} returns trajectories, and none of them means to keep lane and speed")
    try:
        numbers = {name: float(given[name]) for name in ("steer_bias", "brake_limit") if name in given}
        needs = replace(needs, **numbers)  # type: ignore[arg-type]
        needs.config(agents=8)
    except ValueError as error:
        raise PolicyError(f"{text!r}: {error}") from error
    return Perturbed(policy, needs, f"{policy.name}~{text}", given.get("blind", ""), forget)


def _meets(observation: Observation, thing: str) -> Tensor:
    """(B, N) bool: whether there is a `thing` before the learner."""
    rules = observation.rules
    if thing == "light":
        return rules[..., _RULE["light_none"]] == 0.0
    if thing == "walker":
        return ((observation.objects[..., _WALKER] > 0.0) & (observation.objects_mask > 0.0)).any(-1)
    if thing == "merge":
        return observation.lanes[..., 1, _LANE["blocked"]] < NEVER
    near = torch.stack([rules[..., _RULE[name]] < NEVER for name in ("yield_in", "priority_in")]).any(0)
    return near | (rules[..., _RULE["inside"]] > 0.0)


def _half_blind(observation: Observation, side: str) -> Observation:
    """Without the objects on one side, the others closed up, and without the gaps in the lanes there."""
    x, y = observation.objects[..., _X], observation.objects[..., _Y]
    hidden = {"left": y > BESIDE, "right": y < -BESIDE, "front": x > 0.0, "rear": x < 0.0}[side]
    keeps = (observation.objects_mask > 0.0) & ~hidden  # (B, N, K)
    order = torch.argsort((~keeps).to(torch.int64), dim=-1, stable=True)
    keeps = torch.gather(keeps, -1, order)
    objects = torch.gather(observation.objects, 2, order.unsqueeze(-1).expand_as(observation.objects))
    lanes = observation.lanes.clone()
    where, names = {
        "left": (slice(0, 1), tuple(_FREE)), "right": (slice(2, 3), tuple(_FREE)), "front": (slice(0, 3), ("front_gap", "front_speed")),
        "rear": (slice(0, 3), ("rear_gap", "rear_speed")),
    }[side]  # fmt: skip
    for name in names:
        there = lanes[..., where, _LANE["exists"]] > 0.0
        lanes[..., where, _LANE[name]] = torch.where(there, _FREE[name], lanes[..., where, _LANE[name]])
    mask = keeps.to(observation.objects_mask.dtype)
    return observation._replace(objects=objects * mask.unsqueeze(-1), objects_mask=mask, lanes=lanes)
