"""Training in the driving simulator from the command line, and what comes out of it judged the way `closedloop eval` judges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import scenarios
from agents.commands.train import command
from agents.evaluation.rollout import rollout
from agents.learning.record import read_config
from agents.learning.seeds import SPAN, TRAINING, VALIDATION
from agents.learning.worlds import driving_spec, driving_worlds
from agents.policies.base import Policy, PolicyError, load_policy
from agents.policies.bundle import PolicyBundle, load_bundle, save_bundle
from agents.policies.sb3 import SB3Policy, observation_spec
from envs.driving.bank import build_bank
from envs.driving.make import sample_episodes
from envs.driving.observation import flatten, observe
from envs.driving.sim import DrivingSim

SCENARIO = """
version: 1
name: dash
duration: 4 s
maps: 2
max_agents: 8
road: {kind: highway, lanes: 2, length: {uniform: [150 m, 180 m]}}
ego: {lane: main.0, s: 40 m, speed: 25 m/s, goal: {destination: through}}
traffic:
  - fill: {lanes: [main.0, main.1], count: 2, begin: 60 m, end: 130 m, speed: 12 m/s}
"""
SETTINGS = [
    *("hyper.n_steps=10", "hyper.batch_size=40", "hyper.n_epochs=1", "network=[16]", "episodes=16", "validation_episodes=12"),
    *("evaluations=1", "tensorboard=false", "driving.action=discrete", "driving.ticks_per_step=4"),
]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scenarios") / "dash.yaml"
    path.write_text(SCENARIO)
    return str(path)


@pytest.fixture(scope="module")
def folder(scenario: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 160 decisions."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    arguments = ["--scenario", scenario, "--steps", "160", "--envs", "8", "--out", str(folder), "--json", *settings]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0
    told = json.loads(result.stdout)
    assert (told["status"], told["steps"], told["folder"]) == ("finished", 160, str(folder))
    return folder


def test_the_policy_is_found_and_drives(folder: Path, scenario: str) -> None:
    policy = load_policy(folder)
    assert isinstance(policy, SB3Policy)
    assert isinstance(policy, Policy)
    assert (policy.needs.action, policy.needs.ticks_per_step) == ("discrete", 4)
    episodes = sample_episodes(scenario, 3, 0)
    config = policy.needs.config(agents=8)
    sim = DrivingSim(build_bank(episodes, config), config, batch=3)
    seen = observe(sim.state, sim.setup, sim.maps, config)
    action = policy.act(seen, seed=sim.setup.seed, step=sim.state.step)
    assert (action.shape, action.dtype) == ((3, 1), torch.int64)
    assert torch.equal(action[:, 0], policy.actor(flatten(seen)[:, 0]))
    sim.step(action)


def test_validation_agrees_with_the_judge(folder: Path, scenario: str) -> None:
    """The figures in the card are those of rolling out the same episodes as `closedloop eval` does."""
    card = json.loads((folder / "final.json").read_text())["validation"]
    results = rollout(load_policy(folder / "final.safetensors"), sample_episodes(scenario, 12, VALIDATION), batch=5)
    assert card["episodes"] == len(results) == 12
    for name in ("success", "collision"):
        assert card[name]["value"] == pytest.approx(sum(r.metrics[name] for r in results) / 12)
    decisions = [r.metrics["duration"] / 0.4 for r in results]
    assert card["length"] == pytest.approx(sum(decisions) / 12, abs=0.5)  # the last decision may be cut short by the end


def test_training_validation_and_judging_see_different_episodes(folder: Path) -> None:
    worlds = driving_worlds(read_config(folder), 0)
    training = {e.seed for e in worlds.training.get_attr("worlds")[0].episodes}
    validation = {e.seed for e in worlds.validation.get_attr("worlds")[0].episodes}
    assert min(validation) == VALIDATION
    assert max(validation) < TRAINING <= min(training)
    for name in scenarios.suite_names():
        for entry in scenarios.load_suite(name).entries:
            assert entry.seed + entry.episodes <= SPAN  # where judging ends and validation begins


def test_reward_weights_reach_the_worlds(folder: Path) -> None:
    config = read_config(folder)
    worlds = driving_worlds(config.model_copy(update={"reward": {"comfort": -0.5}}), 0)
    for env in (worlds.training, worlds.validation):
        assert env.get_attr("worlds")[0].weights.comfort == -0.5
    assert worlds.observation == observation_spec(config.driving)
    assert worlds.driving == driving_spec(config)


def test_a_policy_for_other_observations_is_refused(folder: Path, tmp_path: Path) -> None:
    bundle = load_bundle(folder)
    renamed = bundle.spec.observation.model_copy(update={"features": "0" * 64})
    old = PolicyBundle(spec=bundle.spec.model_copy(update={"observation": renamed}), tensors=bundle.tensors)
    with pytest.raises(PolicyError, match="train it again, or use the version that made it"):
        load_policy(save_bundle(tmp_path / "old.safetensors", old))
    foreign = PolicyBundle(spec=bundle.spec.model_copy(update={"driving": None}), tensors=bundle.tensors)
    with pytest.raises(PolicyError, match="not trained in the driving simulator"):
        load_policy(save_bundle(tmp_path / "foreign.safetensors", foreign))


def test_resume_from_the_command_line(folder: Path) -> None:
    result = CliRunner().invoke(command, ["--resume", str(folder), "--steps", "240"], catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0
    assert "finished after 240 steps" in result.stdout
    assert "closedloop eval" in result.stderr
    assert load_bundle(folder / "final.safetensors").spec.training.steps == 240


def test_an_unknown_scenario_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(scenarios.ScenarioError, match="did you mean 'highway'"):
        CliRunner().invoke(command, ["--scenario", "higway", "--out", str(tmp_path / "run")], catch_exceptions=False, standalone_mode=False)
    assert not (tmp_path / "run").exists()
