"""Policies that look at images: the rebuilt actor does what Stable-Baselines3 predicts, and training makes files that can be rebuilt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gymnasium import spaces
from pydantic import ValidationError
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.commands.train import command
from agents.evaluation.rollout import rollout
from agents.learning.algorithms import ALGORITHMS, build_model
from agents.learning.checkpoint import load_checkpoint
from agents.learning.export import bundle_from_model
from agents.policies.base import PolicyError, load_policy
from agents.policies.bundle import PolicyBundle, load_bundle, save_bundle
from agents.policies.images import ImageSpec
from agents.policies.sb3 import BLOCK, Actor, SB3Policy
from agents.policies.spec import ObservationSpec
from envs.driving.make import sample_episodes

SIZE, IMAGE = 11, (6, 40, 44)
CASES = [(a.name, a.actions[-1]) for a in ALGORITHMS.values()]
SCENARIO = """
version: 1
name: blink
duration: 1 s
maps: 1
max_agents: 8
road: {kind: highway, lanes: 2, length: 300 m}
ego: {lane: main.0, s: 40 m, speed: 15 m/s}
traffic:
  - fill: {lanes: [main.0, main.1], count: 2, begin: 60 m, end: 130 m, speed: 12 m/s}
"""


class Blank(gym.Env[Any, Any]):
    """Spaces and nothing else."""

    def __init__(self, kind: str) -> None:
        image = spaces.Box(0, 255, IMAGE, np.uint8)
        self.observation_space = spaces.Dict({"image": image, "state": spaces.Box(-np.inf, np.inf, (SIZE,), np.float32)})
        low, high = np.array([-0.3, -2.0], np.float32), np.array([0.1, 1.5], np.float32)
        self.action_space = spaces.Discrete(5) if kind == "discrete" else spaces.Box(low, high)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return {"image": np.zeros(IMAGE, np.uint8), "state": np.zeros(SIZE, np.float32)}, {}


def make(algo: str, kind: str) -> tuple[BaseAlgorithm, VecNormalize, PolicyBundle]:
    """A model with random weights and statistics, and its bundle."""
    rng = np.random.default_rng(3)
    worlds = VecNormalize(DummyVecEnv([lambda: Blank(kind)]), epsilon=0.01, norm_obs_keys=["state"])
    hyper = {} if ALGORITHMS[algo].on_policy else {"buffer_size": 4}
    model = build_model(algo, worlds, hyper=hyper, network=(16,), activation="tanh", schedule="constant", seed=5, device="cpu")
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.mul_(2.0).add_(0.01)
    worlds.obs_rms["state"].mean, worlds.obs_rms["state"].var = rng.normal(size=SIZE), rng.uniform(0.0, 4.0, size=SIZE)  # type: ignore[index]
    seen = ObservationSpec(size=SIZE)
    return model, worlds, bundle_from_model(model, name="b", algorithm=algo, activation="tanh", observation=seen, normalise=worlds)


def observed(rows: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (rows, *IMAGE), dtype=np.uint8)
    return {"image": image, "state": rng.normal(0.0, 3.0, (rows, SIZE)).astype(np.float32)}


@pytest.mark.parametrize(("algo", "kind"), CASES)
def test_actor_equals_predict(algo: str, kind: str, tmp_path: Path) -> None:
    model, worlds, bundle = make(algo, kind)
    restored = load_bundle(save_bundle(tmp_path / "p.safetensors", bundle))
    assert restored.spec == bundle.spec
    assert restored.sha256 == bundle.sha256
    seen = observed(BLOCK)
    expected, _ = model.predict(worlds.normalize_obs(seen), deterministic=True)  # type: ignore[arg-type]
    actor = Actor(restored)
    actions = actor(torch.from_numpy(seen["state"]), torch.from_numpy(seen["image"])).numpy()
    np.testing.assert_array_equal(actions, expected)
    blind = actor(torch.from_numpy(seen["state"]), torch.zeros((BLOCK, *IMAGE), dtype=torch.uint8)).numpy()
    assert (actor.block(torch.from_numpy(seen["state"]), torch.from_numpy(seen["image"])).numpy() == actions).all()
    if kind == "continuous":
        assert (blind != actions).any()  # it does look


def test_a_row_does_not_depend_on_its_batch() -> None:
    actor, seen = Actor(make("ppo", "continuous")[2]), observed(BLOCK + 9, 1)
    rows, images = torch.from_numpy(seen["state"]), torch.from_numpy(seen["image"])
    together = actor(rows, images)
    for count in (1, 63, 65):
        assert torch.equal(actor(rows[:count], images[:count]), together[:count])


def test_what_does_not_fit_is_refused() -> None:
    bundle = make("ppo", "discrete")[2]
    assert bundle.spec.network.image is not None
    with pytest.raises(ValidationError, match="too small for its convolutions"):
        ImageSpec(shape=(3, 20, 20), convolutions=((8, 8, 4), (8, 8, 4)), features=4)
    told = bundle.spec.model_dump()
    with pytest.raises(ValidationError, match="the network takes 267 inputs but the observation has 11"):
        type(bundle.spec).model_validate({**told, "network": {**told["network"], "image": None}})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of 16 decisions with the level `pixels`, and its scenario."""
    folder = tmp_path_factory.mktemp("pixels")
    (folder / "blink.yaml").write_text(SCENARIO)
    settings = ("hyper.n_steps=4", "hyper.batch_size=8", "hyper.n_epochs=1", "network=[8]", "episodes=2", "validation_episodes=2")
    words = [part for each in (*settings, "evaluations=1", "tensorboard=false", "driving.action=discrete") for part in ("--set", each)]
    arguments = ["--scenario", str(folder / "blink.yaml"), "--observation", "pixels", "--steps", "16", "--envs", "2", "--json", *words]
    result = CliRunner().invoke(command, [*arguments, "--out", str(folder / "run")], catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0
    assert json.loads(result.stdout)["status"] == "finished"
    return folder / "run", str(folder / "blink.yaml")


def test_training_makes_a_policy_that_drives_by_what_it_sees(run: tuple[Path, str]) -> None:
    folder, scenario = run
    policy = load_policy(folder)
    assert isinstance(policy, SB3Policy)
    assert policy.needs.observation == "pixels"
    assert policy.bundle.spec.network.image == ImageSpec(
        shape=(3, 96, 160), convolutions=((32, 8, 4), (64, 4, 2), (64, 3, 1)), features=256
    )
    assert load_checkpoint(folder / "checkpoint.safetensors").normaliser["observations.mean"].shape == (
        policy.bundle.spec.observation.size,
    )
    found = rollout(policy, sample_episodes(scenario, 2, 5), batch=2, account=True)
    assert [r.error for r in found] == ["", ""]
    assert all(r.reward is not None and r.struck is None for r in found)


def test_levels_of_another_space_are_refused(run: tuple[Path, str]) -> None:
    night = load_policy(f"{run[0]}@pixels,weather=night,cameras=rear")
    assert (night.needs.weather, night.needs.cameras) == ("night", "rear")
    with pytest.raises(PolicyError, match="cannot change from 'pixels' to 'truth'"):
        load_policy(f"{run[0]}@truth")
    with pytest.raises(
        PolicyError, match=r"cannot change from 'truth' to 'pixels': pixels are images.*closedloop train --observation pixels"
    ):
        load_policy("highway@pixels")
    with pytest.raises(PolicyError, match="no weather 'nihgt'; did you mean 'night'"):
        load_policy("highway@perceived,weather=nihgt")


def test_options_of_the_error_model(run: tuple[Path, str]) -> None:
    needs = load_policy("highway@noisy,recall=0.8,position=2.0,noise=mine.json").needs
    assert (needs.recall, needs.position, needs.noise) == (0.8, 2.0, "mine.json")
    for text, rule in (
        ("noisy,recall=1.5", "recall=1.5"),
        ("noisy,position=-1", "position=-1"),
        ("visible,recall=0.5", "only observation"),
    ):
        with pytest.raises(PolicyError, match=rule):
            load_policy(f"highway@{text}")
