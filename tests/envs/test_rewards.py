"""The reward terms and their sum."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose

from envs.driving.rewards import RewardWeights, reward_terms, total
from envs.driving.types import Out
from scenarios.kinds import Kind

CAR = Kind.CAR


def out(learners: int = 1, **values: Any) -> Out:
    """An uneventful step of one world, with some fields set."""
    no = torch.zeros(1, learners, dtype=torch.bool)
    real = torch.zeros(1, learners)
    fixed = {"progress": real, "haste": real, "truncated": no[:, 0], "touched": torch.zeros(1, 8, dtype=torch.bool)}
    blank = {name: fixed.get(name, no) for name in Out._fields}
    return Out(**{**blank, **{name: torch.full_like(blank[name], value) for name, value in values.items()}})


def test_every_weight_has_its_term(scene: Any) -> None:
    state, setup, _, _ = scene([(CAR, 0, 0, 0, 10)])
    terms = reward_terms(out(), state, setup)
    assert set(terms) == {f.name for f in fields(RewardWeights)}
    for name, term in terms.items():
        assert term.shape == (1, 1), name
        assert term.dtype == torch.float32, name


def test_a_perfect_episode_earns_two(scene: Any) -> None:
    """The whole route in 100 steps is worth 1, and arriving another 1."""
    state, setup, _, _ = scene([(CAR, 0, 0, 0, 10)])
    setup = setup._replace(route_length=torch.full_like(setup.x, 250.0))
    weights = RewardWeights()
    earned = sum(float(total(reward_terms(out(progress=2.5, arrived=k == 99), state, setup), weights)) for k in range(100))
    assert_allclose(earned, 2.0, rtol=1e-5)


@pytest.mark.parametrize("name", ["collision", "off_road", "wrong_way", "lost", "red_light", "stop_sign"])
def test_infractions_cost_their_weight(scene: Any, name: str) -> None:
    state, setup, _, _ = scene([(CAR, 0, 0, 0, 10)])
    terms = reward_terms(out(**{name: True}), state, setup)
    assert {k: float(v) for k, v in terms.items() if float(v) != 0.0} == {name: 1.0}
    assert float(total(terms, RewardWeights())) == getattr(RewardWeights(), name) < 0.0
    assert float(total(terms, RewardWeights(**{name: -7.0}))) == -7.0


def test_comfort_measures_the_excess(scene: Any) -> None:
    """Braking at 6.05 exceeds 4.05 by 2; 10 m/s at curvature 0.0589 is 5.89 m/s^2 sideways, 1 beyond 4.89."""
    state, setup, _, _ = scene([(CAR, 0, 0, 0, 10)])
    state = state._replace(accel=state.accel - 6.05, steer=torch.atan(setup.wheelbase * 0.0589))
    assert_allclose(float(reward_terms(out(), state, setup)["comfort"]), 3.0, rtol=1e-4)
    assert float(total(reward_terms(out(), state, setup), RewardWeights())) == 0.0  # off by default


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="collision"):
        RewardWeights(collision=value)


def test_a_missing_term_is_an_error(scene: Any) -> None:
    state, setup, _, _ = scene([(CAR, 0, 0, 0, 10)])
    terms = reward_terms(out(), state, setup)
    del terms["lost"]
    with pytest.raises(KeyError, match="lost"):
        total(terms, RewardWeights())
