"""Rolling out: every episode exactly once, whatever its company, whatever breaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.evaluation.rollout import EpisodeResult, TraceRule, plain_name, rollout
from agents.playback.trace import Trace
from agents.playback.verify import verify
from agents.policies.base import Policy, PolicyError, PolicyNeeds
from agents.policies.baselines import Constant, Idm, Random
from envs.driving.observation import Observation, flatten
from scenarios.episode import AgentSpec, Driver, Episode, Goal, Role
from scenarios.kinds import KIND_SPECS, Kind
from scenarios.roads.highway import HighwayRoad

CAR = KIND_SPECS[Kind.CAR]
NETWORK = HighwayRoad(lanes=2, length=600.0).build()


def car(role: Role, *, s: float, speed: float, lane: int = 0) -> AgentSpec:
    size = {"length": CAR.length, "width": CAR.width, "wheelbase": CAR.wheelbase}
    return AgentSpec(role=role, lane=f"main.{lane}", s=s, speed=speed, driver=Driver(desired_speed=25.0), **size)


def episode(
    seed: int, *, others: tuple[AgentSpec, ...] | None = None, speed: float = 20.0, duration: float = 6.0, goal: Goal | None = None
) -> Episode:
    rng = np.random.default_rng(seed)
    if others is None:
        others = tuple(car(Role.IDM, s=80.0 + 30.0 * k, speed=float(rng.uniform(10.0, 20.0)), lane=k % 2) for k in range(6))
    agents = (car(Role.LEARNER, s=40.0, speed=speed), *others)
    return Episode(
        scenario="test/road",
        seed=seed,
        duration=duration,
        network=NETWORK,
        network_key="two lanes",
        agents=agents,
        goal=goal or Goal(destination="through"),
    )


class Linear:
    """A matrix product, as a network has: what rounds differently at different batch sizes."""

    name = "linear"
    needs = PolicyNeeds(action="continuous")

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        flat = flatten(observation)
        weights = torch.sin(torch.arange(flat.shape[-1] * 2, dtype=torch.float32)).view(-1, 2) * 0.02
        return torch.tanh(flat @ weights)


class Faulty(Linear):
    """Does something wrong for some seeds, from 1 s on."""

    name = "faulty"

    def __init__(self, seeds: tuple[int, ...], fault: str) -> None:
        self.seeds, self.fault = seeds, fault

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        action = super().act(observation, seed=seed, step=step)
        now = torch.isin(seed, torch.tensor(self.seeds)) & (step >= 10)
        if self.fault == "raise" and now.any():
            raise RuntimeError("the weights are gone")
        value = {"nan": torch.nan, "inf": torch.inf}.get(self.fault, 0.0)
        return torch.where(now[:, None, None], value, action)


@pytest.mark.parametrize("policy", [Random(), Idm(), Linear()], ids=lambda p: p.name)
def test_a_result_depends_on_neither_order_nor_company(policy: Policy) -> None:
    episodes = [episode(seed, duration=3.0) for seed in range(5)]
    together = rollout(policy, episodes, batch=4)
    assert [(r.policy, r.scenario, r.seed) for r in together] == [(policy.name, "test/road", seed) for seed in range(5)]
    assert not any(r.error for r in together)
    assert rollout(policy, episodes[::-1], batch=4) == together[::-1]
    assert [rollout(policy, [e], batch=4)[0] for e in episodes[3:]] == together[3:]


def test_scenarios_with_other_ticks_and_sizes_mix() -> None:
    crowd = tuple(car(Role.IDM, s=60.0 + 15.0 * k, speed=10.0, lane=k % 2) for k in range(20))
    episodes = [episode(0), replace(episode(1), dt=0.05), episode(2, others=crowd), replace(episode(3), scenario="other")]
    assert rollout(Idm(), episodes, batch=2) == [rollout(Idm(), [e], batch=2)[0] for e in episodes]


def test_collision_comes_when_it_must() -> None:
    wall = (car(Role.STATIC, s=100.0, speed=0.0),)
    (result,) = rollout(Constant(), [episode(0, others=wall)], batch=2)
    assert result.end == "collision"
    assert result.failed
    assert result.metrics["collision"] == result.metrics["collision_at_fault"] == 1.0
    # 60 m between centres, less one car length, at 20 m/s; found at the next tick, noticed at the end of the decision
    touch = (60.0 - CAR.length) / 20.0
    assert touch <= result.metrics["duration"] <= touch + 0.2 + 1e-6


@pytest.mark.parametrize(
    ("made", "end", "success"),
    [
        (episode(0, others=(), duration=60.0), "arrived", 1.0),
        (episode(0, others=(), duration=3.0), "time", 0.0),
        (episode(0, others=(), duration=3.0, goal=Goal()), "arrived", 1.0),  # lasting until the end is the goal
    ],
    ids=["destination", "too slow", "lasting"],
)
def test_ends(made: Episode, end: str, success: float) -> None:
    (result,) = rollout(Constant(), [made], batch=1)
    assert (result.end, result.metrics["success"]) == (end, success)


@pytest.mark.parametrize("fault", ["nan", "inf"])
def test_actions_that_are_not_finite_cost_their_episode_alone(fault: str) -> None:
    episodes = [episode(seed) for seed in range(6)]
    results = rollout(Faulty((1, 4), fault), episodes, batch=3)
    assert [r.end == "error" for r in results] == [False, True, False, False, True, False]
    assert results[1].error == "the policy's action is not finite at tick 10"
    assert results[1].metrics == {}
    sound = rollout(Linear(), episodes, batch=3)
    assert [r.metrics for r in results if not r.error] == [r.metrics for r in sound if r.seed not in (1, 4)]


def test_an_exception_loses_no_episode() -> None:
    told: list[EpisodeResult] = []
    results = rollout(Faulty((1,), "raise"), [episode(seed) for seed in range(8)], batch=3, progress=told.append)
    assert [r.seed for r in results] == list(range(8))
    broken = [r.seed for r in results if r.error]
    assert broken == [0, 1, 2]  # what ran beside it
    assert {r.error for r in results if r.error} == {"RuntimeError: the weights are gone"}
    assert sorted(r.seed for r in told) == list(range(8))


def test_an_episode_that_cannot_be_built_is_an_error() -> None:
    nowhere = replace(episode(5), agents=(replace(episode(5).agents[0], lane="no.such"),))
    (result,) = rollout(Idm(), [nowhere], batch=2)
    assert result.end == "error"
    assert "no.such" in result.error


class Flat(Linear):
    name = "flat"

    def act(self, observation: Observation, *, seed: Tensor, step: Tensor) -> Tensor:
        return super().act(observation, seed=seed, step=step)[:, 0]


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(PolicyError, match=r"'flat' returned actions of shape \(2, 2\); continuous actions are \(2, 1, 2\)"):
        rollout(Flat(), [episode(0)], batch=2)
    with pytest.raises(ValueError, match="batch=0"):
        rollout(Idm(), [episode(0)], batch=0)


def test_traces_are_written_and_verify(tmp_path: Path) -> None:
    rule = TraceRule(folder=tmp_path, chosen=frozenset({("test/road", 1), ("test/road", 2)}), policy="idm", scenario="road")
    results = rollout(Idm(), [episode(seed) for seed in range(4)], batch=3, traces=rule)
    assert [bool(r.trace) for r in results] == [False, True, True, False]
    for result in results[1:3]:
        trace = Trace.load(result.trace)
        assert trace.metrics == pytest.approx(result.metrics)
        assert trace.command == f"closedloop eval idm --scenario road --seed {result.seed} --episodes 1 --traces all"
        assert verify(trace).exact
    assert results == [
        replace(r, trace=results[i].trace) for i, r in enumerate(rollout(Idm(), [episode(seed) for seed in range(4)], batch=3))
    ]


def test_failures_only(tmp_path: Path) -> None:
    wall = (car(Role.STATIC, s=100.0, speed=0.0),)
    episodes = [episode(0, others=wall), episode(1, others=(), duration=60.0)]
    results = rollout(Constant(), episodes, batch=2, traces=TraceRule(folder=tmp_path, failures_only=True))
    assert [Path(r.trace).name if r.trace else "" for r in results] == ["test-road-0.trace", ""]
    assert sorted(p.name for p in tmp_path.rglob("*.trace")) == ["test-road-0.trace"]


def test_names_become_file_names() -> None:
    assert plain_name("../../etc/passwd") == "-..-etc-passwd"
    assert plain_name("merge/hard") == "merge-hard"
    assert plain_name("..") == "unnamed"


@pytest.mark.parametrize(("dt", "ticks"), [(0.1, 4), (0.2, 2), (0.04, 10), (0.5, 1)])
def test_a_policy_decides_as_often_as_it_was_trained_to_whatever_the_tick(dt: float, ticks: int) -> None:
    config = PolicyNeeds(ticks_per_step=4).config(agents=16, dt=dt)
    assert (config.dt, config.ticks_per_step) == (dt, ticks)


def test_the_command_of_a_compiled_episode_compiles_too(tmp_path: Path) -> None:
    rule = TraceRule(folder=tmp_path, policy="idm", scenario="merge", compile=True)
    assert rule.again(episode(3)).endswith("--compile")
    assert "--compile" not in replace(rule, compile=False).again(episode(3))


@pytest.mark.slow
def test_compiled_rollouts_agree_with_eager_ones_and_their_traces_verify(tmp_path: Path) -> None:
    """Two compilations, of some minutes together: at batch 4, and at batch 1 for the verification."""
    episodes = [episode(seed) for seed in range(4)]
    rule = TraceRule(folder=tmp_path, policy="linear", scenario="test/road")
    compiled = rollout(Linear(), episodes, batch=4, compile=True, traces=replace(rule, compile=True))
    eager = rollout(Linear(), episodes, batch=4)
    assert [r.end for r in compiled] == [r.end for r in eager]
    for one, other in zip(compiled, eager, strict=True):
        assert one.metrics["route_progress"] == pytest.approx(other.metrics["route_progress"], abs=1e-3)
    trace = Trace.load(compiled[0].trace)
    assert trace.backend == "compiled"
    found = verify(trace)
    assert found.ok and found.exact, found.reason
