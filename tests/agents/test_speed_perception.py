"""`closedloop bench perception`: what it counts and writes. Never how long anything takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
import torch

from agents.commands import bench, bench_perception
from agents.evaluation import speed_perception, speed_renderer
from agents.evaluation.speed_perception import BACKENDS, PARTS, UNITS, measure
from perception.detectors import DRIVING_CLASSES
from perception.detectors.centernet import pack
from perception.detectors.decode import DecodeSpec
from perception.detectors.network import Network, NetworkSpec
from perception.storage import save


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    spec = NetworkSpec(classes=DRIVING_CLASSES, widths=(8, 8, 8, 8), blocks=(0, 0, 0, 0), neck=8, head=8)
    made = pack(Network(spec).eval().fold(), DecodeSpec(classes=DRIVING_CLASSES), name="tiny")
    return str(save(tmp_path_factory.mktemp("weights") / "tiny.safetensors", made))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small worlds, short runs."""
    for name, value in (("EPISODES", 2), ("LOOKS", 4), ("STEPS", 4), ("DRAWN", 2)):
        monkeypatch.setattr(speed_perception, name, value)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_counts_what_it_says(part: str, weights: str) -> None:
    backend = "torch" if part == "detector" else "eager"
    pace = measure(part, backend=backend, batch=2, seconds=1e-4, scenarios=("highway",), detector=weights)
    assert pace.unit == UNITS[part] and pace.count > 0 and pace.count % 2 == 0
    assert pace.per_second == pace.count / pace.seconds


def test_parts_and_backends_that_do_not_exist() -> None:
    for part, backend in (("radar", "eager"), ("tracker", "compiled"), ("camera", "onnx")):
        with pytest.raises(ValueError, match=f"part='{part}', backend='{backend}'"):
            measure(part, backend=backend, batch=1, seconds=0.1, scenarios=("highway",))
    assert set(BACKENDS) < set(PARTS) == set(bench_perception.PART_NAMES) == set(bench_perception.WHAT)


def test_resets_are_not_counted() -> None:
    counts: list[bool] = []

    def steps() -> Any:
        while True:
            for value in (True, True, False):
                counts.append(value)
                yield value

    count, spent = speed_perception._timed(steps(), 1e-5)
    assert count == sum(counts[3:]) and spent >= 1e-5


def test_mujoco_draws_the_street() -> None:
    mujoco = pytest.importorskip("mujoco")
    assert mujoco.MjModel.from_xml_string(speed_renderer.street()).ngeom == speed_renderer.BOXES + 1
    try:
        drawn = speed_renderer.measure_mujoco(width=160, height=96, seconds=0.05)
    except speed_renderer.RenderError as error:
        pytest.skip(str(error))
    assert drawn.frames > 0 and 20.0 < drawn.mean < 235.0 and drawn.backend in speed_renderer.BACKENDS


def test_a_peer_that_cannot_draw_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_renderer, "find_spec", lambda name: None)
    args = ("perception", "--part", "truth", "--scenario", "highway", "--backend", "eager", "--batch", 2, "--seconds", 0.05)
    assert bench.command.main([str(a) for a in (*args, "--out", tmp_path, "--json")], standalone_mode=False) == 0
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    (file,) = tmp_path.glob("perception-*.json")
    assert record == json.loads(file.read_text())
    assert "MuJoCo is not installed" in record["peer"]["missing"] and "MuJoCo is not installed" in printed.err
    (rate,) = record["rates"]
    assert (rate["part"], rate["batch"], rate["unit"]) == ("truth", 2, "world-steps")
    assert record["machine"]["torch"] == torch.__version__ and set(record["parts"]) == set(PARTS)


def test_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco")
    monkeypatch.setattr(speed_renderer, "BACKENDS", ("crayons",))
    with pytest.raises(speed_renderer.RenderError, match="MuJoCo cannot draw here .*crayons"):
        speed_renderer.measure_mujoco(width=160, height=96, seconds=0.05)


def test_ratios() -> None:
    paces = [
        speed_perception.Pace(part=part, backend="eager", batch=4, unit=UNITS[part], count=count, seconds=1.0)
        for part, count in (("camera", 600), ("truth", 900), ("perceived", 300))
    ]
    drawn = speed_renderer.Drawn(frames=400, seconds=2.0, wall=2.0, backend="egl", renderer="x", mean=1.0)
    ratios = [bench_perception._ratios(pace, paces, drawn) for pace in paces]
    assert ratios == [{"times_mujoco": 3.0}, {}, {"times_as_long_as_truth": 3.0}]
    assert bench_perception._ratios(paces[0], paces, None) == {"times_mujoco": None}


def test_bad_input_is_told_before_the_work(tmp_path: Path) -> None:
    from perception.storage import WeightsError
    from scenarios import ScenarioError

    with pytest.raises(WeightsError):
        bench.command.main(["perception", "--no-peer", "--part", "detector", "--detector", "nowhere"], standalone_mode=False)
    with pytest.raises(ScenarioError):
        bench.command.main(["perception", "--no-peer", "--part", "truth", "--scenario", "higway"], standalone_mode=False)
    with pytest.raises(click.UsageError):
        bench.command.main(["perception", "--part", "radar"], standalone_mode=False)
