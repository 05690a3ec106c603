"""Weights at rest: what is read is what was written, and anything else is refused with a reason."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from perception import storage
from perception.detectors.centernet import CenterNet, pack, unpack
from perception.detectors.decode import DecodeSpec
from perception.detectors.network import Network, NetworkSpec
from perception.noise_card import load_noise
from perception.storage import Stored, WeightsError, fit, load, save, shipped

CLASSES = ("car", "light")


def stored(**spec: Any) -> Stored:
    network = Network(NetworkSpec(classes=CLASSES), norm=False)
    made = pack(network, DecodeSpec(classes=CLASSES, score_bias=0.25), name="mine")
    return Stored(kind=made.kind, name=made.name, spec={**made.spec, **spec}, tensors=made.tensors)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "mine.safetensors", stored(), card={"licence": "Apache-2.0"})


def test_round_trip(file: Path) -> None:
    back = load(file, kind="detector")
    network, spec = unpack(back)
    assert spec == DecodeSpec(classes=CLASSES, score_bias=0.25) and network.spec == NetworkSpec(classes=CLASSES)
    card = json.loads(file.with_suffix(".json").read_text())
    assert card["sha256"] == back.sha256 and card["licence"] == "Apache-2.0" and card["kind"] == "detector"
    detector = CenterNet.load(file, backend="torch", threshold=0.7, slots=5)
    assert detector.classes == CLASSES and detector.sha256 == back.sha256
    assert (detector.spec.threshold, detector.spec.slots, detector.spec.score_bias) == (0.7, 5, 0.25)


@pytest.mark.parametrize("where", [3, 200, -1])
def test_every_damaged_byte_is_noticed(file: Path, where: int) -> None:
    data = bytearray(file.read_bytes())
    data[where] ^= 0x40
    file.write_bytes(data)
    with pytest.raises(WeightsError, match=r"mine\.safetensors"):
        load(file)


@pytest.mark.parametrize("data", [b"", b"1234567", b"\xff" * 64, b"{}" * 100, pickle.dumps({"a": 1}), b"PK\x03\x04" + bytes(100)])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        load(path)


def test_truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(WeightsError):
        load(file)


def test_a_safetensors_file_of_others(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(2)}))
    with pytest.raises(WeightsError, match="not one of closedloop"):
        load(path)


def test_a_card_of_other_weights(file: Path) -> None:
    card = file.with_suffix(".json")
    card.write_text(card.read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(WeightsError, match="do not belong together"):
        load(file)
    card.write_text('{"sha256": NaN}')
    with pytest.raises(WeightsError, match="NaN"):
        load(file)


def test_another_kind(file: Path) -> None:
    with pytest.raises(WeightsError, match="holds a detector, not a predictor"):
        load(file, kind="predictor")


@pytest.mark.parametrize(
    "spec",
    [
        {"network": {"classes": ["car"]}},
        {"network": {"classes": ["car", "light"], "neck": 16}},
        {"network": {"classes": ["car", "light"], "depth": 3}},
        {"network": 3},
        {"decode": {"slots": -1}},
    ],
)
def test_a_description_that_does_not_fit(tmp_path: Path, spec: dict[str, Any]) -> None:
    path = save(tmp_path / "x.safetensors", stored(**spec))
    with pytest.raises(WeightsError):
        unpack(load(path))


def test_tensors_that_do_not_fit() -> None:
    network = Network(NetworkSpec(classes=CLASSES), norm=False)
    whole = {name: value.clone() for name, value in network.state_dict().items()}
    first = next(iter(whole))
    cases: list[tuple[dict[str, torch.Tensor], str]] = [
        ({k: v for k, v in whole.items() if k != first}, "missing"),
        ({**whole, "more": torch.zeros(1)}, "belong to nothing"),
        ({**whole, first: whole[first].double()}, "expected torch.float32"),
    ]
    for tensors, told in cases:
        with pytest.raises(WeightsError, match=told):
            fit(network, Stored(kind="detector", name="x", spec={}, tensors=tensors))
    with pytest.raises(WeightsError, match="not finite"):
        Stored(kind="detector", name="x", spec={}, tensors={**whole, first: whole[first] * float("nan")})


def test_names_that_do_not_exist() -> None:
    with pytest.raises(WeightsError, match="no detector 'nowhere'"):
        CenterNet.load("nowhere")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        load(tmp_path / "none.safetensors")


def test_a_failed_write_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = file.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(storage.os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        save(file, stored())
    assert file.read_bytes() == old and [p.name for p in file.parent.iterdir() if p.suffix == ".tmp"] == []


def test_the_error_model_that_ships_is_of_the_detector_that_ships() -> None:
    card = storage.read_card(storage.WEIGHTS / "noise_driving.json")
    assert {"command", "counts", "licence", "sha256"} <= card.keys()
    assert card["detector_sha256"] == storage.read_card(storage.WEIGHTS / "detector_driving.json")["sha256"]
    assert load_noise().weathers == ("clear", "fog", "rain", "night")


@pytest.mark.parametrize("name", [*shipped("detector"), *shipped("predictor")])
def test_what_ships_is_whole(name: str) -> None:
    there = load(storage.WEIGHTS / f"{name}.safetensors")
    card = storage.read_card(storage.WEIGHTS / f"{name}.json")
    assert there.name == name and {"command", "metrics", "licence", "sha256"} <= card.keys()
