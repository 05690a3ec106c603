"""The yardsticks: scenarios that ask for something are failed by those who look at nobody, and passed by the traffic model."""

from __future__ import annotations

import numpy as np
import pytest

from agents.evaluation.rollout import rollout
from agents.policies.baselines import Constant, Idm
from envs.driving.make import sample_episodes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["highway", "highway/hard"])
def test_a_motorway_is_not_passed_by_staying_in_lane_at_the_same_speed(name: str) -> None:
    episodes = sample_episodes(name, 32, 0)
    constant, idm = (np.mean([r.metrics["success"] for r in rollout(policy, episodes)]) for policy in (Constant(), Idm()))
    assert constant < 0.75  # measured: docs/policies.md
    assert idm == 1.0
