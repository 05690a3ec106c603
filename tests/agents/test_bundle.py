"""Bundles: what Stable-Baselines3 predicts is what the restored actor does, and no damaged file gets through."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import safetensors.numpy
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.learning.algorithms import ALGORITHMS, HyperError, build_model
from agents.learning.export import bundle_from_model
from agents.policies.bundle import BundleError, PolicyBundle, load_bundle, save_bundle
from agents.policies.sb3 import BLOCK, Actor
from agents.policies.spec import ObservationSpec

SIZE = 23
CASES = [(a.name, kind) for a in ALGORITHMS.values() for kind in a.actions]


class Blank(gym.Env[Any, Any]):
    """Spaces and nothing else."""

    def __init__(self, kind: str) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (SIZE,), np.float32)
        # unequal, uneven bounds, so that clipping and scaling show
        low, high = np.array([-0.3, -2.0], np.float32), np.array([0.1, 1.5], np.float32)
        self.action_space = spaces.Discrete(5) if kind == "discrete" else spaces.Box(low, high)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(SIZE, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(SIZE, np.float32), 0.0, False, False, {}


def make(algo: str, kind: str, activation: str = "tanh") -> tuple[BaseAlgorithm, VecNormalize, PolicyBundle]:
    """A model with random weights and statistics, and its bundle."""
    rng = np.random.default_rng(3)
    worlds = VecNormalize(DummyVecEnv([lambda: Blank(kind)]), epsilon=0.01)
    hyper = {} if ALGORITHMS[algo].on_policy else {"buffer_size": 10}
    model = build_model(algo, worlds, hyper=hyper, network=(32, 24), activation=activation, schedule="constant", seed=5, device="cpu")
    with torch.no_grad():  # larger weights than fresh ones, so that actions differ and some are clipped
        for parameter in model.policy.parameters():
            parameter.mul_(2.0).add_(0.05)
    worlds.obs_rms.mean = rng.normal(size=SIZE)  # type: ignore[union-attr]
    worlds.obs_rms.var = rng.uniform(0.0, 4.0, size=SIZE)  # type: ignore[union-attr]
    bundle = bundle_from_model(
        model, name="blank", algorithm=algo, activation=activation, observation=ObservationSpec(size=SIZE), normalise=worlds
    )
    return model, worlds, bundle


def test_parameters_that_the_library_refuses_are_named() -> None:
    worlds = DummyVecEnv([lambda: Blank("discrete")])
    with pytest.raises(HyperError, match="ppo.*learning rate: -1"):
        build_model(
            "ppo", worlds, hyper={"learning_rate": -1.0}, network=(8,), activation="tanh", schedule="constant", seed=0, device="cpu"
        )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_bundle(tmp_path / "p.safetensors", make("ppo", "continuous")[2])


@pytest.mark.parametrize(("algo", "kind"), CASES)
def test_actor_equals_predict(algo: str, kind: str, tmp_path: Path) -> None:
    model, worlds, bundle = make(algo, kind)
    restored = load_bundle(save_bundle(tmp_path / "p.safetensors", bundle))
    assert restored.spec == bundle.spec
    assert restored.sha256 == bundle.sha256
    observed = np.random.default_rng(0).normal(0.0, 3.0, (BLOCK, SIZE)).astype(np.float32)
    expected, _ = model.predict(worlds.normalize_obs(observed), deterministic=True)  # type: ignore[arg-type]
    actions = Actor(restored)(torch.from_numpy(observed)).numpy()
    assert actions.dtype == expected.dtype
    np.testing.assert_array_equal(actions, expected)
    assert len(np.unique(actions, axis=0)) > 1  # it does look at what it is given


@pytest.mark.parametrize("activation", ["relu", "elu", "gelu", "silu", "leaky_relu"])
def test_every_activation(activation: str) -> None:
    model, worlds, bundle = make("ppo", "continuous", activation)
    observed = np.random.default_rng(0).normal(size=(BLOCK, SIZE)).astype(np.float32)
    expected, _ = model.predict(worlds.normalize_obs(observed), deterministic=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(Actor(bundle)(torch.from_numpy(observed)).numpy(), expected)


def test_a_row_does_not_depend_on_its_batch() -> None:
    actor = Actor(make("sac", "continuous")[2])
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(3 * BLOCK + 7, SIZE)).astype(np.float32))
    together = actor(rows)
    order = torch.from_numpy(np.random.default_rng(2).permutation(len(rows)))
    assert torch.equal(actor(rows[order]), together[order])
    for count in (1, 2, 63, 64, 65):
        assert torch.equal(actor(rows[:count]), together[:count])
    assert torch.equal(actor(rows[100:101]), together[100:101])


def test_the_argument_is_left_alone() -> None:
    actor = Actor(make("ppo", "discrete")[2])
    rows = torch.full((3, SIZE), 100.0)
    before = rows.clone()
    actor(rows)
    assert torch.equal(rows, before)


def test_card_and_run_folder(tmp_path: Path) -> None:
    bundle = make("dqn", "discrete")[2]
    path = save_bundle(tmp_path / "policy.safetensors", bundle, card={"licence": "Apache-2.0"})
    card = json.loads((tmp_path / "policy.json").read_text())
    assert card["licence"] == "Apache-2.0"
    assert card["sha256"] == bundle.sha256 == load_bundle(tmp_path).sha256  # the folder stands for its policy
    (tmp_path / "policy.json").unlink()
    assert load_bundle(path).sha256 == bundle.sha256  # the card is not needed
    with pytest.raises(ValueError, match="ends in"):
        save_bundle(tmp_path / "policy.zip", bundle)


def test_card_of_another_policy(saved: Path) -> None:
    card = json.loads(saved.with_suffix(".json").read_text())
    saved.with_suffix(".json").write_text(json.dumps(card | {"sha256": "0" * 64}))
    with pytest.raises(BundleError, match="do not belong together"):
        load_bundle(saved)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No such file"):
        load_bundle(tmp_path / "none.safetensors")
    with pytest.raises(BundleError, match="No such file"):
        load_bundle(tmp_path)


def test_every_flipped_byte_is_noticed(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    data = bytearray(saved.read_bytes())
    rng = np.random.default_rng(0)
    places = [*range(8), *rng.integers(8, len(data), 300)]
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(broken)
        with pytest.raises(BundleError):
            load_bundle(saved)


def test_every_truncation_is_noticed(saved: Path) -> None:
    data = saved.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1]:
        saved.write_bytes(data[:length])
        with pytest.raises(BundleError):
            load_bundle(saved)
    saved.write_bytes(data + b"more")
    with pytest.raises(BundleError):
        load_bundle(saved)


def test_oversized(saved: Path) -> None:
    with saved.open("r+b") as file:
        file.truncate(65 * 2**20)  # sparse: takes no space
    with pytest.raises(BundleError, match="larger than 64 MB"):
        load_bundle(saved)
    saved.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(BundleError, match="header is larger"):
        load_bundle(saved)


def test_a_pickle_is_refused(saved: Path) -> None:
    saved.write_bytes(b"\x80\x04\x95" + b"cposix\nsystem\n" * 20)
    with pytest.raises(BundleError, match="not a safetensors file"):
        load_bundle(saved)


def rewrite(path: Path, change: dict[str, Any], tensors: dict[str, Any] | None = None) -> None:
    """The bundle with its description changed at dotted keys: well-formed, but not what was written."""
    path.with_suffix(".json").unlink(missing_ok=True)
    bundle = load_bundle(path)
    spec = bundle.spec.model_dump(mode="json")
    for key, value in change.items():
        *parents, last = key.split(".")
        part = spec
        for name in parents:
            part = part[name]
        part[last] = value
    metadata = {"closedloop": json.dumps(spec), "sha256": bundle.sha256}
    path.write_bytes(safetensors.numpy.save({**bundle.tensors, **(tensors or {})}, metadata))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version"),
        ({"format": "other"}, "format"),
        ({"network.activation": "__import__('os')"}, "activation"),
        ({"network.head": "exec"}, "head"),
        ({"network.head": "argmax"}, "head"),
        ({"network.head": "values"}, "does not make continuous actions"),
        ({"network.sizes": [SIZE, 10**9, 24, 2]}, "sizes"),
        ({"network.sizes": [SIZE] + [8] * 20 + [2]}, "sizes"),
        ({"network.sizes": [SIZE, 32, 2]}, "belong to nothing"),
        ({"network.sizes": [SIZE, 33, 24, 2]}, "layers.0.weight"),
        ({"observation.size": 22}, "23 inputs but the observation has 22"),
        ({"observation.layout": {"ego": [22]}}, "do not add up"),
        ({"action.low": [0.2, -2.0]}, "below its high bound"),
        ({"action.low": [-1.0, -2.0]}, "do not match its sha256"),
        ({"name": "better"}, "do not match its sha256"),
        ({"surprise": 1}, "surprise"),
        ({"normaliser": None}, "belong to nothing: normaliser.mean"),
        ({"normaliser.epsilon": 0.0}, "normaliser.epsilon"),
    ],
)
def test_description_that_does_not_fit(saved: Path, change: dict[str, Any], message: str) -> None:
    rewrite(saved, change)
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(saved)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"layers.0.bias": np.full(32, np.nan, np.float32)}, "not finite"),
        ({"layers.0.bias": np.zeros(32, np.float64)}, "float64 of shape"),
        ({"layers.9.bias": np.zeros(32, np.float32)}, "belong to nothing"),
        ({"normaliser.variance": np.full(SIZE, -1.0)}, "negative"),
        ({"layers.0.bias": np.zeros(32, np.float32)}, "do not match its sha256"),
    ],
)
def test_tensors_that_do_not_fit(saved: Path, tensors: dict[str, Any], message: str) -> None:
    rewrite(saved, {}, tensors)
    with pytest.raises(BundleError, match=message):
        load_bundle(saved)


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"format": "x", "format": "x"}', "[" * 100_000, "no json", "null", "[]"])
def test_description_that_is_not_strict_json(saved: Path, text: str) -> None:
    tensors = load_bundle(saved).tensors
    saved.write_bytes(safetensors.numpy.save(tensors, {"closedloop": text, "sha256": "0" * 64}))
    with pytest.raises(BundleError):
        load_bundle(saved)


def test_a_safetensors_file_of_someone_else(saved: Path) -> None:
    saved.write_bytes(safetensors.numpy.save({"weight": np.zeros(3)}))
    with pytest.raises(BundleError, match="not a closedloop policy"):
        load_bundle(saved)
