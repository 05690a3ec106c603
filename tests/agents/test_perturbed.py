"""Planted faults: what each takes away, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import scenarios
from agents.evaluation.rollout import rollout
from agents.policies.base import PolicyError, load_policy
from agents.policies.perturbed import FAULTS, perturbed
from envs.driving.bank import build_bank
from envs.driving.features_lanes import LANE_FEATURES, NO_GAP
from envs.driving.features_objects import OBJECT_FEATURES
from envs.driving.observation import Observation, observe
from envs.driving.sim import DrivingSim
from envs.driving.types import ConfigError, DrivingConfig
from scenarios.episode import Episode


def brief(name: str, seed: int, seconds: float = 4.0) -> Episode:
    return replace(scenarios.sample(scenarios.load(name), seed), duration=seconds)


class Listener:
    """Keeps what it was shown and keeps its lane."""

    name = "listener"
    needs = load_policy("constant").needs

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def act(self, observation: Observation, *, seed: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        self.seen.append(observation)
        return torch.full(observation.ego.shape[:2], 3, dtype=torch.int64)


def shown(name: str, seed: int, fault: str) -> tuple[Observation, Observation, torch.Tensor]:
    """What there is at the start of an episode, what a policy with the fault is shown of it, and its answer."""
    listener = Listener()
    policy = perturbed(listener, fault)
    config = policy.needs.config(agents=64)
    sim = DrivingSim(build_bank([scenarios.sample(scenarios.load(name), seed)], config), config, batch=1)
    whole = observe(sim.state, sim.setup, sim.maps, config)
    action = policy.act(whole, seed=sim.setup.seed, step=sim.state.step)
    return whole, listener.seen[0], action


@pytest.mark.parametrize("side", ["left", "right", "front", "rear"])
def test_a_blind_side_hides_what_is_there_and_nothing_else(side: str) -> None:
    x, y = (OBJECT_FEATURES.index(name) for name in "xy")
    hides = {
        "left": lambda o: o[y] > 0.03, "right": lambda o: o[y] < -0.03, "front": lambda o: o[x] > 0, "rear": lambda o: o[x] < 0,
    }[side]  # fmt: skip
    hidden = 0
    for seed in range(4):
        whole, seen, _ = shown("highway/hard", seed, f"blind={side}")
        there = [o for o, m in zip(whole.objects[0, 0], whole.objects_mask[0, 0], strict=True) if m]
        left = [o for o in there if not hides(o)]
        hidden += len(there) - len(left)
        assert int(seen.objects_mask.sum()) == len(left)
        assert [o.tolist() for o in seen.objects[0, 0, : len(left)]] == [o.tolist() for o in left]
        assert not seen.objects[0, 0, len(left) :].any()
        gaps = {"left": (0, "front_gap"), "right": (2, "rear_gap"), "front": (1, "front_gap"), "rear": (1, "rear_gap")}[side]
        lane = seen.lanes[0, 0, gaps[0]]
        assert float(lane[LANE_FEATURES.index(gaps[1])]) == (NO_GAP if lane[0] else 0.0)
        assert torch.equal(seen.ego, whole.ego)
        assert torch.equal(seen.rules, whole.rules)
    assert hidden > 0


@pytest.mark.parametrize(
    ("thing", "scenario", "elsewhere"),
    [("light", "signals", "lane_keep"), ("merge", "merge", "highway"), ("junction", "junction", "lane_keep")],
)
def test_what_was_forgotten_is_met_as_constant_meets_it(thing: str, scenario: str, elsewhere: str) -> None:
    assert int(shown(scenario, 1, f"forget={thing}")[2]) == 0
    assert int(shown(elsewhere, 1, f"forget={thing}")[2]) == 3


def test_a_walker_is_forgotten_where_one_is_shown() -> None:
    whole, _, action = shown("highway", 1, "blind=rear")
    policy = perturbed(Listener(), "forget=light+walker")
    objects = whole.objects.clone()
    objects[0, 0, 2, OBJECT_FEATURES.index("pedestrian")] = 1.0
    there, hidden = whole._replace(objects=objects), whole._replace(objects=objects, objects_mask=torch.zeros_like(whole.objects_mask))
    zero = torch.zeros(1, dtype=torch.int64)
    answers = [int(policy.act(each, seed=zero, step=zero)) for each in (whole, there, hidden)]
    assert answers == [int(action), 0, int(action)] == [3, 0, 3]


def test_weak_brakes_brake_less() -> None:
    """Emergency braking for a car that stands in the way: the deceleration stays below the limit, and it takes longer."""

    def hardest(spec: str) -> float:
        policy, config = load_policy(spec), load_policy(spec).needs.config(agents=16)
        sim = DrivingSim(build_bank([scenarios.sample(scenarios.load("lane_keep"), 3)], config), config, batch=1)
        least = 0.0
        for _ in range(5):
            sim.step(torch.full((1, 1, 2), -1.0))
            least = min(least, float(sim.state.accel[0, 0]))
        assert policy.needs.action == "continuous"
        return -least

    assert hardest("random") == pytest.approx(8.0)
    assert hardest("random~brake_limit=0.7") == pytest.approx(5.6)


@pytest.mark.parametrize("policy", ["constant", "idm"])
def test_a_steering_bias_pulls_to_its_side(policy: str) -> None:
    def offset(spec: str) -> float:
        config = load_policy(spec).needs.config(agents=16)
        sim = DrivingSim(build_bank([scenarios.sample(scenarios.load("lane_keep/easy"), 0)], config), config, batch=1)
        action = torch.zeros((1, 1), dtype=torch.int64) if config.action == "discrete" else torch.zeros((1, 1, 2))
        for _ in range(40):
            sim.step(action)
        return float(sim.state.d[0, 0])

    assert offset(f"{policy}~steer_bias=0.02") > offset(policy) + 0.05
    assert offset(f"{policy}~steer_bias=-0.02") < offset(policy) - 0.05


def test_no_fault_is_no_change_to_the_last_bit() -> None:
    episodes = [brief("merge", seed) for seed in range(3)]
    plain, same = (rollout(load_policy(spec), episodes, batch=3, fingerprints=True) for spec in ("merge", "merge~brake_limit=1"))
    biased = rollout(load_policy("merge~steer_bias=0.02"), episodes, batch=3, fingerprints=True)
    assert [r.fingerprint for r in same] == [r.fingerprint for r in plain] != [r.fingerprint for r in biased]
    assert not any(r.error for r in (*plain, *biased))


def test_levels_come_behind_faults() -> None:
    policy = load_policy("highway~brake_limit=0.7,blind=left@noisy,latency=2")
    assert (policy.needs.brake_limit, policy.needs.observation, policy.needs.latency) == (0.7, "noisy", 2)
    assert policy.name.endswith("~brake_limit=0.7,blind=left@noisy,latency=2")
    assert policy.bundle.sha256 == load_policy("highway").bundle.sha256  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("highway~steer_bais=0.1", "steer_bias"),
        ("highway~steer_bias", "name=value"),
        ("highway~steer_bias=much", "could not convert"),
        ("highway~steer_bias=2", "between -1 and 1"),
        ("highway~brake_limit=0", "above 0"),
        ("highway~brake_limit=nan", "above 0"),
        ("highway~blind=lefft", "left"),
        ("highway~forget=lihgt", "light"),
        ("idm~blind=left", "reads the simulator's state"),
        ("hihgway~blind=left", "highway"),
    ],
)
def test_nonsense_is_refused(spec: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        load_policy(spec)


def test_faults_are_the_ones_documented() -> None:
    import agents.policies.perturbed as module

    assert module.__doc__ is not None
    assert all(f"    {fault}=" in module.__doc__ for fault in FAULTS)


@pytest.mark.parametrize("field", [{"steer_bias": 1.5}, {"brake_limit": 0.0}, {"brake_limit": 1.1}])
def test_the_simulator_refuses_faults_that_cannot_be(field: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(field))):
        DrivingConfig(**field)  # type: ignore[arg-type]
