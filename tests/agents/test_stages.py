"""`closedloop eval-perception`, the stages tracker and predictor: figures of stacks whose quality is known, and the page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click
import pytest
import torch

from agents.commands import eval_perception
from agents.evaluation import stages, stages_report
from envs.driving.camera import DrivingStream
from envs.driving.recorded_futures import found_in
from perception.detectors.centernet import pack
from perception.detectors.decode import DecodeSpec
from perception.detectors.network import Network, NetworkSpec
from perception.oracle import Oracle
from perception.prediction.datasets import UCY
from perception.storage import save
from perception.types import Detections, Labels, SensorFrame

pytest.importorskip("trackeval")


class Half(Oracle):
    """An oracle that tells nothing of every other thing."""

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: torch.Tensor, step: torch.Tensor) -> Detections:
        found = super().observe(frame, labels, seed=seed, step=step)
        return found._replace(mask=found.mask & (found.source % 2 == 0))


@pytest.fixture(scope="module")
def stream() -> DrivingStream:
    return DrivingStream(scenario=("highway/hard", "merge/hard"), worlds=2, seconds=1)


@pytest.fixture(scope="module")
def tracked(stream: DrivingStream) -> dict[str, Any]:
    told: list[tuple[str, int, int]] = []
    sees = {"oracle": Oracle(), "half": Half()}
    found = stages.tracker_figures(stream, sees, seed=3, sequences=2, length=12, tell=lambda *row: told.append(row))
    assert told == [("tracker", 0, 2), ("tracker", 2, 2)]
    return found


def test_a_tracker_fed_by_the_oracle_beats_one_fed_by_half_of_it(tracked: dict[str, Any]) -> None:
    for similarity in ("image", "ground"):
        whole, half = tracked["oracle"][similarity], tracked["half"][similarity]
        assert whole["labels"] == half["labels"] > 20 and whole["sequences"] == 2
        assert whole["hota"] > 0.75 and whole["mota"] > 0.7  # tracks begin at their second sighting
        assert half["tracked"] < 0.9 * whole["tracked"] and half["assa"] > 0.7
        assert half["deta"] == pytest.approx(half["tracked"] / half["labels"], abs=0.02)


@pytest.mark.slow
def test_only_as_many_sequences_count_as_asked_for(stream: DrivingStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "WORLDS", 2)
    one, three = (
        stages.tracker_figures(stream, {"oracle": Oracle()}, seed=3, sequences=n, length=4)["oracle"]["image"]["labels"] for n in (1, 3)
    )
    two, four = (
        stages.tracker_figures(stream, {"oracle": Oracle()}, seed=3, sequences=n, length=4)["oracle"]["image"]["labels"] for n in (2, 4)
    )
    assert 0 < two <= three <= four and two < four  # a world may show nothing that counts
    assert 0 < one <= two


def test_gains_are_against_constant_velocity() -> None:
    rows = {"mine": {"minADE@3": 1.0, "ADE@3": 3.0, "nll@3": 0.0}, "constant_velocity": {"minADE@3": 4.0, "ADE@3": 4.0, "nll@3": 1.0}}
    assert stages.gains(rows) == {"mine": {"minADE@3": 0.75, "ADE@3": 0.25}}
    nobody = {name: dict.fromkeys(row, math.nan) for name, row in rows.items()}
    assert all(math.isnan(value) for value in stages.gains(nobody)["mine"].values())


def people(folder: Path) -> None:
    """Three scenes of people who walk along circles, each of another size."""
    folder.mkdir()
    for k, file in enumerate(UCY.values()):
        lines = []
        for who in range(6):
            radius, start = 3.0 + k + 0.5 * who, 1.1 * who
            for i in range(36):
                angle = start + 0.4 * i * 1.3 / radius
                lines.append(f"{10 * i}\t{who}\t{radius * math.cos(angle):.3f}\t{radius * math.sin(angle):.3f}")
        (folder / file).write_text("\n".join(lines))


@pytest.mark.slow
def test_predictors_on_simulated_traffic_and_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one easy family and made-up scenes: all predictors stand in the tables, the page and the JSON."""
    from envs.driving import futures, pretrain_futures

    monkeypatch.setattr(futures, "families", lambda: ("highway",))
    monkeypatch.setattr(pretrain_futures, "families", lambda: ("highway",))
    monkeypatch.setattr(pretrain_futures.held_out, "__kwdefaults__", {"seed": 0, "worlds": 1, "scenes": 12})
    people(tmp_path / "trajectories")
    args = ("--stage", "predictor", "--recorded", tmp_path, "--updates", 40, "--out", tmp_path / "out", "--json")
    assert eval_perception.command.main([str(a) for a in args], standalone_mode=False) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "out" / "figures.json").read_text())
    traffic = told["predictor"]["traffic"]
    simulated, walkers = traffic["simulated traffic"], traffic["recorded people"]
    assert list(simulated["rows"]) == ["predictor_driving", "predictor_driving without map", *stages.KINEMATIC]
    assert simulated["gains"]["predictor_driving"]["minADE@5"] > 0.3
    assert set(walkers["rows"]) == {"learned", *stages.KINEMATIC} and set(walkers["recordings"]) == set(UCY)
    assert walkers["rows"]["learned"]["count@4.8"] == sum(one["rows"]["ctrv"]["count@4.8"] for one in walkers["recordings"].values()) > 0
    assert walkers["gains"]["learned"]["minADE@4.8"] > 0.2  # they turn, and constant velocity does not
    page = (tmp_path / "out" / "figures.html").read_text()
    assert "minADE6" in page and "recorded people at 4.8 s" in page and page.count("data:image/png") == 1


def test_what_cannot_be_judged_is_told(tmp_path: Path) -> None:
    def call(*args: object) -> None:
        eval_perception.command.main([str(arg) for arg in args], standalone_mode=False)

    with pytest.raises(click.UsageError, match="--stage tracker: the domain 'boxes' has no sequences"):
        call("--domain", "boxes", "--stage", "tracker")
    with pytest.raises(click.UsageError, match="--stage predictor: no predictor is for the domain 'boxes'"):
        call("--domain", "boxes", "--stage", "predictor")
    with pytest.raises(click.UsageError, match="the oracle is no detector"):
        call("--stage", "detector", "--detector", "oracle")
    with pytest.raises(FileNotFoundError, match="neither two files USA"):
        call("--stage", "predictor", "--recorded", tmp_path)
    (tmp_path / "USA_one.xml").touch()
    with pytest.raises(FileNotFoundError):  # one recording cannot be left out of itself
        found_in(tmp_path)
    (tmp_path / "USA_two.xml").touch()
    assert found_in(tmp_path) == {"traffic": tmp_path}


def test_tracker_from_the_command_line(
    tmp_path: Path, stream: DrivingStream, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an untrained detector: the oracle does better."""
    torch.manual_seed(0)
    network = Network(NetworkSpec(classes=stream.classes)).eval().fold()
    file = save(tmp_path / "raw.safetensors", pack(network, DecodeSpec(classes=stream.classes), name="raw"))
    monkeypatch.setattr("perception.training.stream.open_stream", lambda name: stream)
    args = ("--stage", "tracker", "--detector", file, "--backend", "torch", "--sequences", 1, "--length", 4, "--out", tmp_path / "out")
    assert eval_perception.command.main([str(a) for a in args], standalone_mode=False) == 0
    assert "HOTA" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "figures.json").read_text())["tracker"]["detectors"]
    assert found["oracle"]["image"]["hota"] > 0.5 > (found[str(file)]["image"]["hota"] or 0.0)


def test_tables_say_where_nothing_counts() -> None:
    rows = {
        name: dict.fromkeys((f"{key}@5" for key in (*stages_report.PREDICTOR, "count")), math.nan) for name in ("a", "constant_velocity")
    }
    rows = {name: {**row, "count@5": 0.0} for name, row in rows.items()}
    (table,) = stages_report.tables({"predictor": {"traffic": {"empty": {"rows": rows, "gains": stages.gains(rows)}}}})
    assert table.title == "empty at 5 s: 0 tracks" and set(table.rows[0][1:]) == {"-"}
