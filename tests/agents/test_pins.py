"""Policies and the perception weights they were trained to see through: noted in the bundle, and told when others are in their place."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import scenarios
from agents.commands.eval_ import command as evaluate
from agents.commands.train import command as train
from agents.evaluation.suite import changed_weights
from agents.gate.plan import identity, plan_from
from agents.gate.run import Order
from agents.policies.base import WEIGHTS, PolicyError, load_policy
from agents.policies.bundle import PolicyBundle, load_bundle, save_bundle
from agents.policies.pins import PerceptionChanged, perception_weights, weights_changed
from envs.driving.types import DrivingConfig
from perception import storage
from perception.noise import even_noise
from perception.noise_card import noise_sha256, save_noise
from perception.registry import weights_sha256
from perception.storage import Stored, WeightsError, load, read_card, save

POLICY, DETECTOR = "highway_perceived", "detector_driving"


def altered(path: Path) -> str:
    """A detector that is not quite the one that ships, at `path`; its sha256."""
    ours = load(storage.find(DETECTOR, kind="detector"))
    name, first = next(iter(ours.tensors.items()))
    other = Stored(kind=ours.kind, name=ours.name, spec=ours.spec, tensors={**ours.tensors, name: first + 0.001})
    save(path, other, card={})
    return other.sha256


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another detector ships under the same name; its sha256."""
    sha256 = altered(tmp_path / "weights" / f"{DETECTOR}.safetensors")
    monkeypatch.setattr(storage, "WEIGHTS", tmp_path / "weights")
    return sha256


def test_weights_are_known_by_their_sha256(tmp_path: Path) -> None:
    for stage, name in (("detector", DETECTOR), ("detector", "driving"), ("predictor", "predictor_driving"), ("noise", "noise_driving")):
        full = name if "_" in name else f"{stage}_{name}"
        assert weights_sha256(stage, name) == read_card(storage.WEIGHTS / f"{full}.json")["sha256"]
    for stage, name in (("detector", "oracle"), ("predictor", "ctrv"), ("detector", "their.package:Detector")):
        assert weights_sha256(stage, name) == ""
    (tmp_path / "theirs.onnx").write_bytes(b"abc")  # of FIPS 180-2, appendix B.1
    assert weights_sha256("detector", f"onnx:{tmp_path / 'theirs.onnx'}").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")
    save_noise(tmp_path / "mine.json", even_noise(miss=0.2))
    assert weights_sha256("noise", str(tmp_path / "mine.json")) == noise_sha256(tmp_path / "mine.json") != noise_sha256("noise_driving")
    with pytest.raises(WeightsError):
        weights_sha256("detector", str(tmp_path / "none.safetensors"))


def test_a_level_is_pinned_to_what_it_sees_through() -> None:
    assert perception_weights(DrivingConfig(observation="truth")) == {}
    assert set(perception_weights(DrivingConfig(observation="perceived"))) == {"detector"}
    assert set(perception_weights(DrivingConfig(observation="noisy", forecasts=2, predictor="predictor_driving"))) == {"noise", "predictor"}
    assert set(perception_weights(DrivingConfig(observation="visible", forecasts=2))) == set()  # constant velocity has no weights


def test_the_policy_that_ships_names_the_detector_that_ships() -> None:
    assert load_bundle(WEIGHTS / f"{POLICY}.safetensors").spec.perception == {"detector": weights_sha256("detector", DETECTOR)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_policy(POLICY)
        load_policy(POLICY, changed="refuse")


def test_other_weights_under_the_same_name_are_told_of(others: str, tmp_path: Path) -> None:
    pinned = load_bundle(WEIGHTS / f"{POLICY}.safetensors").spec.perception["detector"]
    with pytest.warns(PerceptionChanged) as told:
        policy = load_policy(POLICY)
    (says,) = (str(each.message) for each in told)
    assert pinned[:16] in says and others[:16] in says and pinned != others
    assert f"{POLICY}@perceived,detector=..." in says
    with pytest.raises(PolicyError, match="was trained with the detector"):
        load_policy(POLICY, changed="refuse")
    assert load_policy(POLICY, changed="ignore").needs == policy.needs
    with pytest.warns(PerceptionChanged, match="weather=night was trained with"):
        load_policy(f"{POLICY}@perceived,weather=night")
    altered_once_more = tmp_path / "mine.safetensors"
    altered(altered_once_more)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_policy(f"{POLICY}@perceived,detector={altered_once_more}")  # on purpose
        load_policy(f"{POLICY}@perceived,detector={DETECTOR}")
        load_policy(f"{POLICY}@truth")  # it does not look through a detector there
        load_policy("highway@perceived")  # and was not trained with one


def test_a_bundle_without_pins_keeps_its_hash_and_one_with_them_is_sealed(tmp_path: Path) -> None:
    older = load_bundle(WEIGHTS / "highway.safetensors")  # was written before bundles named weights, and still fits its hash
    assert "perception" not in older.spec.model_dump(mode="json")
    bundle = load_bundle(WEIGHTS / f"{POLICY}.safetensors")
    again = load_bundle(save_bundle(tmp_path / "again.safetensors", bundle))
    assert (again.spec, again.sha256) == (bundle.spec, bundle.sha256)
    bare = PolicyBundle(spec=bundle.spec.model_copy(update={"perception": {}}), tensors=bundle.tensors)
    assert bare.sha256 != bundle.sha256
    assert weights_changed(load_policy(save_bundle(tmp_path / "bare.safetensors", bare))) == ""


def test_the_judge_and_the_gate_tell_of_it(others: str, brief: str, mini: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [POLICY, "--scenario", f"{brief}/easy", "--episodes", "1", "--workers", "1", "--out", str(out)]
    result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0
    (says,) = changed_weights([POLICY, "idm"])
    assert f"warning: {says}" in result.stderr
    assert says in json.loads((out / "results.json").read_text())["warnings"]
    assert says in (out / "report.md").read_text()
    plan = plan_from(scenarios.load_suite(mini))
    assert says in Order(plan=plan, candidate=POLICY, baseline="idm").warnings
    assert identity(POLICY)["perception"] == {"detector": others}  # another run than with the detector it was trained with


def test_training_pins_what_it_saw_through_and_goes_on_with_nothing_else(brief: str, tmp_path: Path) -> None:
    card, folder = tmp_path / "mine.json", tmp_path / "run"
    save_noise(card, even_noise(miss=0.2))
    settings = [
        *("hyper.n_steps=5", "hyper.batch_size=20", "hyper.n_epochs=1", "network=[8]", "episodes=4", "validation_episodes=2"),
        *("evaluations=1", "tensorboard=false", 'driving.observation="noisy"', f'driving.noise="{card}"'),
    ]
    arguments = ["--scenario", brief, "--steps", "40", "--envs", "4", "--out", str(folder)]
    for setting in settings:
        arguments += ["--set", setting]
    assert CliRunner().invoke(train, arguments, catch_exceptions=False, standalone_mode=False).return_value == 0
    pinned = {"noise": noise_sha256(card)}
    assert load_bundle(folder).spec.perception == pinned
    assert json.loads((folder / "policy.json").read_text())["perception"] == pinned
    save_noise(card, even_noise(miss=0.4))
    with pytest.warns(PerceptionChanged, match="the noise"):
        load_policy(folder)
    with pytest.raises(ValueError, match=f"began with perception weights noise {pinned['noise'][:16]}"):
        CliRunner().invoke(train, ["--resume", str(folder), "--steps", "80"], catch_exceptions=False, standalone_mode=False)
