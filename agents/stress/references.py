"""References: who else drives an episode that a policy failed in. What none of them survives counts as unavoidable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agents.policies.base import Policy, load_policy, shipped_names
from scenarios import Episode, Scenario

__all__ = ["CAREFUL", "Reference", "default_references", "load_reference"]

CAREFUL = "careful-idm"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A policy, and how it changes an episode before it drives it."""

    name: str
    policy: Policy
    prepare: Callable[[Episode], Episode]


def default_references(policy: str, scenario: Scenario) -> tuple[str, ...]:
    """Names of the usual references: IDM and MOBIL; for that baseline itself a careful IDM, and the policy shipped for the family."""
    if policy != "idm":
        return ("idm",)
    return (CAREFUL, scenario.name) if scenario.name in shipped_names() else (CAREFUL,)


def load_reference(name: str) -> Reference:
    """A reference by name: `careful-idm`, or whatever `load_policy` takes. Raises PolicyError, BundleError."""
    if name == CAREFUL:
        return Reference(name=name, policy=load_policy("idm"), prepare=_careful)
    return Reference(name=name, policy=load_policy(name), prepare=_same)


def _same(episode: Episode) -> Episode:
    return episode


def _careful(episode: Episode) -> Episode:
    """The ego's driver keeps half as much distance again, drives a tenth slower and asks for more room before it changes lanes."""
    ego = episode.agents[0]
    if ego.driver is None:
        return episode
    d = ego.driver
    careful = replace(
        d, desired_speed=0.9 * d.desired_speed, speed_factor=0.9 * d.speed_factor, headway=1.5 * d.headway, min_gap=1.5 * d.min_gap,
        safe_decel=0.6 * d.safe_decel, change_threshold=1.5 * d.change_threshold,
    )  # fmt: skip
    return replace(episode, agents=(replace(ego, driver=careful), *episode.agents[1:]))
