"""Replays show what a planner had in mind: planned again, the same to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.evaluation.rollout import TraceRule, rollout
from agents.playback.page import page
from agents.playback.plans import SHOWN, Thought, compact_thoughts, plan_again, planner_of
from agents.playback.trace import Trace
from agents.policies.base import load_policy
from scenarios import load, sample


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    folder, episode = tmp_path_factory.mktemp("traces"), replace(sample(load("merge/easy"), 2000), duration=5.0)
    names = ("pdm", "shield:pdm@noisy", "random")
    return {name: Trace.load(rollout(load_policy(name), [episode], batch=1, traces=TraceRule(folder=folder))[0].trace) for name in names}


@pytest.fixture(scope="module")
def planned(traces: dict[str, Trace]) -> dict[str, list[Thought]]:
    found = {name: plan_again(traces[name]) for name in ("pdm", "shield:pdm@noisy")}
    return {name: thoughts for name, thoughts in found.items() if thoughts}


def test_the_plans_are_those_that_were_driven(traces: dict[str, Trace], planned: dict[str, list[Thought]]) -> None:
    assert len(planned) == 2
    for name, thoughts in planned.items():
        trace = traces[name]
        assert len(thoughts) == trace.steps
        overridden = np.zeros(trace.steps, bool) if trace.shield is None else trace.shield > 0
        assert all(thought.same for thought, other in zip(thoughts, overridden, strict=True) if not other)
        for k in (0, trace.steps // 2):
            thought = thoughts[k]
            start = np.array([trace.states["x"][k, 0], trace.states["y"][k, 0]])
            np.testing.assert_allclose(thought.chosen[0], start, atol=1e-3)
            assert len(thought.candidates) <= SHOWN and set(thought.dear) <= set(range(10)) and thought.dear[-1] == 0
            assert any(np.array_equal(thought.chosen, candidate) for candidate in thought.candidates)  # the cheapest is among them
            assert thought.total == pytest.approx(sum(thought.costs.values()), rel=1e-5)
            assert all(0.05 <= probability <= 1.0 for probability, _ in thought.futures)


@pytest.mark.slow
def test_a_path_that_is_followed_is_shown_to_its_end(tmp_path: Path) -> None:
    episode = sample(load("parking"), 2000)
    (result,) = rollout(load_policy("hybrid_astar"), [episode], batch=1, traces=TraceRule(folder=tmp_path))
    trace = Trace.load(result.trace)
    thoughts = plan_again(trace)
    assert result.end == "arrived" and thoughts is not None and len(thoughts) == trace.steps
    assert all(thought.same for thought in thoughts)
    goal = episode.goal.region
    assert goal is not None
    for thought in thoughts:
        np.testing.assert_allclose(thought.chosen[-1], (goal.x, goal.y), atol=0.2)  # it leads into the bay
        gaps = np.hypot(*np.diff(thought.chosen, axis=0).T)
        assert gaps.max() < 1.6 and gaps[1:].sum() <= 1.1 * thought.total + 0.1  # the middle drives wider bends than the rear axle
    driven = np.stack([trace.states["x"][:, 0], trace.states["y"][:, 0]], axis=-1)
    first = thoughts[0].chosen
    off = np.hypot(*(driven[:, None] - first[None]).transpose(2, 0, 1)).min(axis=1)
    assert off.max() < 0.6  # and that is what was driven
    assert thoughts[-1].total < 1.0 < thoughts[0].total


def test_the_player_is_told_in_centimetres(traces: dict[str, Trace], planned: dict[str, list[Thought]]) -> None:
    trace, thoughts = traces["pdm"], planned["pdm"]
    told = compact_thoughts(trace, thoughts)
    assert told["same"] and len(told["steps"]) == trace.steps and told["terms"][0] == "progress"
    assert len(told["steps"][0]["costs"]) == 1 + len(told["terms"])
    with_plans, without = page(trace, thoughts=thoughts), page(trace)
    assert '"thoughts":{' in with_plans and '"thoughts":null' in without
    assert len(with_plans) < len(without) + 4000 * trace.steps


def test_where_no_planner_drove_or_it_is_not_known_there_are_none(traces: dict[str, Trace]) -> None:
    assert plan_again(traces["random"]) is None
    assert plan_again(replace(traces["pdm"], policy="mine", command="")) is None
    assert plan_again(replace(traces["pdm"], policy_hash="0" * 64)) is None
    assert planner_of(load_policy("shield:random")) is None
    found = planner_of(load_policy("shield:lattice~brake_limit=0.9@visible"))
    assert found is not None and found.name == "lattice"
