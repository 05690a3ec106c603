"""Fingerprints: the same for the same episode whatever runs beside it, other for anything that went differently."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.evaluation.rollout import TraceRule, rollout
from agents.playback.fingerprint import fingerprint
from agents.playback.trace import Trace
from agents.policies.base import load_policy
from scenarios import load, sample


def test_it_is_that_of_the_trace(brief: str, tmp_path: Path) -> None:
    episodes = [sample(load(brief), seed) for seed in range(3)]
    for name in ("random", "idm", "highway"):
        results = rollout(load_policy(name), episodes, traces=TraceRule(folder=tmp_path / name), fingerprints=True)
        assert [fingerprint(Trace.load(r.trace)) for r in results] == [r.fingerprint for r in results]
        assert len({r.fingerprint for r in results}) == 3


def test_it_depends_on_the_episode_alone(brief: str) -> None:
    episodes = [sample(load(brief), seed) for seed in range(7)]
    together = rollout(load_policy("highway"), episodes, batch=3, fingerprints=True)
    backwards = rollout(load_policy("highway"), episodes[::-1], batch=3, fingerprints=True)
    assert [r.fingerprint for r in together] == [r.fingerprint for r in backwards[::-1]]
    assert [r.fingerprint for r in rollout(load_policy("idm"), episodes[:1], fingerprints=True)] != [together[0].fingerprint]


def test_it_is_not_taken_unasked(brief: str) -> None:
    (result,) = rollout(load_policy("idm"), [sample(load(brief), 0)])
    assert result.fingerprint == ""


@pytest.mark.parametrize("what", ["action", "state", "out", "metrics"])
def test_any_difference_shows(highway_trace: Trace, what: str) -> None:
    before, changed = fingerprint(highway_trace), highway_trace
    if what == "action":
        actions = highway_trace.actions.copy()
        actions[50, 0, 0] = np.nextafter(actions[50, 0, 0], np.float32(1.0))
        changed = replace(changed, actions=actions)
    elif what == "state":
        states = {name: value.copy() for name, value in highway_trace.states.items()}
        states["y"][-1, 19] = np.nextafter(states["y"][-1, 19], np.float32(9e9))
        changed = replace(changed, states=states)
    elif what == "out":
        outs = {name: value.copy() for name, value in highway_trace.outs.items()}
        outs["red_light"][3, 0] ^= True
        changed = replace(changed, outs=outs)
    else:
        changed = replace(changed, metrics={**highway_trace.metrics, "comfort": 0.5})
    assert fingerprint(changed) != before


def test_who_drove_and_empty_slots_do_not_matter(highway_trace: Trace) -> None:
    states = {name: value.copy() for name, value in highway_trace.states.items()}
    states["x"][:, 20:] = 7.0  # the episode has 20 agents
    changed = replace(highway_trace, states=states, policy="other", closedloop="9", command="")
    assert fingerprint(changed) == fingerprint(highway_trace)
