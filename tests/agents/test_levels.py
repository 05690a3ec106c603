"""Policies on other levels than the one they were made for: what changes is what they are told, never what they make of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

import scenarios
from agents.evaluation.rollout import rollout
from agents.policies.base import Policy, PolicyError, load_policy
from agents.policies.levels import at_level
from envs.driving.observation import Observation, shapes
from scenarios.episode import Episode


@dataclass(frozen=True)
class Witness:
    """Drives as `policy` does and keeps the widths of the objects that it was told of."""

    policy: Policy
    widths: set[int]

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def needs(self) -> object:
        return self.policy.needs

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        self.widths.add(observation.objects.shape[-1])
        return self.policy.act(observation, seed=seed, step=step)


def brief(seed: int) -> Episode:
    return replace(scenarios.sample(scenarios.load("highway/easy"), seed), duration=4.0)


def test_forecasts_that_a_policy_does_not_heed_change_nothing() -> None:
    """Traffic is predicted, for replays, and the policy drives as it did, bit by bit, told what it was made for."""
    seen: set[int] = set()
    policy = Witness(load_policy("highway"), seen)
    plain = rollout(at_level(policy, "noisy"), [brief(seed) for seed in range(6)], batch=3)  # type: ignore[arg-type]
    told = rollout(at_level(policy, "noisy,forecasts=2"), [brief(seed) for seed in range(6)], batch=3)  # type: ignore[arg-type]
    assert [(r.end, r.error, r.reward, r.metrics) for r in told] == [(r.end, r.error, r.reward, r.metrics) for r in plain]
    assert len({r.reward for r in plain}) == 6
    assert len(seen) == 1


def test_a_policy_that_heeds_forecasts_is_not_left_without() -> None:
    idm = load_policy("idm")
    needy = replace(at_level(idm, "visible,forecasts=3"), policy=at_level(idm, "visible,forecasts=3"))
    assert needy.needs.forecasts == 3
    with pytest.raises(PolicyError, match="made for 3 forecasts"):
        at_level(needy, "visible,forecasts=1")


@pytest.mark.parametrize(
    ("text", "match"), [("visble", "visible"), ("visible,forecast=2", "forecasts"), ("visible,forecasts=9", "between 0 and 6")]
)
def test_what_is_no_level_or_option_is_refused_with_a_hint(text: str, match: str) -> None:
    with pytest.raises(PolicyError, match=match):
        at_level(load_policy("idm"), text)


def test_what_is_cut_off_leaves_the_policys_own_answer() -> None:
    """The cut is a view: the policy's own answer, bit by bit."""
    policy = load_policy("highway")
    level = at_level(policy, "visible,forecasts=2")
    generator = torch.Generator().manual_seed(0)
    fields = {name: torch.randn(3, 1, *shape, generator=generator) for name, shape in shapes(level.needs.config(agents=8)).items()}
    observation = Observation(**fields)
    seed, step = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    width = shapes(policy.needs.config(agents=8))["objects"][-1]
    own = policy.act(observation._replace(objects=observation.objects[..., :width]), seed=seed, step=step)
    assert torch.equal(level.act(observation, seed=seed, step=step), own)
