"""`closedloop perceive`, `pretrain` and `eval-perception`: from the command line to files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from agents.commands import eval_perception, perceive, pretrain
from agents.footage.media import MediaError, VideoFile, open_source, write_image

av = pytest.importorskip("av")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("pycocotools")


def call(command: Any, *args: object) -> int:
    """The command as the command line runs it; its exit code."""
    result = command.main([str(arg) for arg in args], standalone_mode=False)
    assert isinstance(result, int)
    return result


@pytest.fixture
def detector(tmp_path: Path) -> str:
    """A YOLOX that sees one car, whatever it is shown: in a 96 x 64 input at 10, 20, 40, 36."""
    from onnx import TensorProto, helper, numpy_helper

    output = np.zeros((1, 126, 85), np.float32)
    row = 96 + 1 * 6 + 1  # stride 16, row 1, column 1
    output[0, row, :5] = (25 / 16 - 1, 28 / 16 - 1, np.log(30 / 16), np.log(1.0), 0.9)
    output[0, row, 5 + 2] = 0.9
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(output))],
        "known",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, 64, 96))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output.shape)],
    )
    path = tmp_path / "known.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return f"onnx:{path}"


def picture(height: int = 128, width: int = 192) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 90, np.uint8)


def test_a_picture(tmp_path: Path, detector: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_image(tmp_path / "street.png", picture())
    assert call(perceive.command, file, file, "--detector", detector, "--out", tmp_path / "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "out" / "detections.json").read_text())
    first, second = told["files"]
    assert Path(first["drawn"]).name == "street.png" and Path(second["drawn"]).name == "street-2.png"
    (seen,) = first["frames"][0]["detections"]
    assert seen["class"] == "car" and seen["box"] == [20.0, 40.0, 80.0, 72.0] and seen["score"] == pytest.approx(0.81)
    # its foot is 72 - 0.55 x 128 rows below the horizon, closer than which the ground tells no distance: its height does
    assert 5 < seen["place"][0] < 15 and seen["place"][1] > 0
    drawn = cv2.imread(first["drawn"])
    assert drawn is not None and drawn.shape == (128, 192, 3)
    assert (drawn[56, 20] != 90).any() and (drawn[56, 50] == 90).all()  # an edge of the box, and its inside


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_a_video(tmp_path: Path, detector: str, suffix: str) -> None:
    with VideoFile(tmp_path / "drive.mp4", fps=10) as video:
        for _ in range(12):
            video.add(picture(129, 193))  # odd sides lose a pixel
    source = open_source(tmp_path / "drive.mp4")
    assert source.fps == 10 and [f.image.shape for f in source.frames()] == [(128, 192, 3)] * 12
    args = (tmp_path / "drive.mp4", "--detector", detector, "--out", tmp_path / "out", "--video", suffix, "--frames", 8)
    assert call(perceive.command, *args) == 0
    drawn = list(open_source(tmp_path / "out" / f"drive.{suffix}").frames())
    assert len(drawn) == 8 and int(np.abs(drawn[3].image[56, 20].astype(int) - 90).max()) > 20
    rows = json.loads((tmp_path / "out" / "detections.json").read_text())["files"][0]["frames"]
    assert [row["time"] for row in rows] == [round(0.1 * i, 3) for i in range(8)]
    assert {track["id"] for row in rows for track in row["tracks"]} == {0} and rows[-1]["tracks"][0]["class"] == "car"
    path = np.array(rows[-1]["tracks"][0]["path"])  # what stands still, as seen from a camera that does, stays there
    assert path[0, 0] == 0.5 and np.abs(path[:, 1:] - rows[-1]["tracks"][0]["place"]).max() < 1.0
    with pytest.raises(FileExistsError, match="--force"):
        call(perceive.command, *args)
    assert call(perceive.command, *args, "--force", "--predictor", "none", "--tracker", "none") == 0
    rows = json.loads((tmp_path / "out" / "detections.json").read_text())["files"][0]["frames"]
    assert all("tracks" not in row for row in rows)


def test_bad_input(tmp_path: Path, detector: str) -> None:
    out = ("--detector", detector, "--out", tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        call(perceive.command, tmp_path / "none.png", *out)
    for name, told in (("notes.txt", "neither a picture"), ("broken.png", "cannot be read"), ("broken.mp4", "cannot be read")):
        (tmp_path / name).write_text("nothing to see")
        with pytest.raises(MediaError, match=told):
            call(perceive.command, tmp_path / name, *out)
    file = write_image(tmp_path / "street.png", picture())
    with pytest.raises(ValueError, match="no such file"):
        call(perceive.command, file, "--detector", "onnx:none.onnx", "--out", tmp_path / "out")
    with pytest.raises(ValueError, match="no detector 'nowhere'"):
        call(perceive.command, file, "--detector", "nowhere", "--out", tmp_path / "out")
    with pytest.raises(ValueError, match="did you mean 'kalman'"):
        call(perceive.command, file, *out, "--tracker", "kalmann")
    with pytest.raises(ValueError, match="no predictor 'magic'"):
        call(perceive.command, file, *out, "--predictor", "magic")
    assert not (tmp_path / "out").exists()


def test_a_video_that_breaks_off_leaves_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power"), VideoFile(tmp_path / "half.mp4", fps=10) as video:
        video.add(picture())
        raise RuntimeError("power is gone")
    assert not (tmp_path / "half.mp4").exists()
    with pytest.raises(MediaError, match=r"\.mp4 or \.webm"):
        VideoFile(tmp_path / "x.gif", fps=10)


@pytest.mark.slow
def test_pretrain_and_eval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tiny run on the stream of boxes, judged by the other command, and used by the third."""
    run = tmp_path / "run"
    args = ("detector", "--domain", "boxes", "--frames", 128, "--batch", 16, "--out", run)
    assert call(pretrain.command, *args, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 128 and not run.exists()
    from perception.training import detector as training

    with pytest.MonkeyPatch.context() as patch:  # the figures of so short a run interest nobody: few frames will do
        patch.setattr(training.DetectorTraining, "__init__", _few(training.DetectorTraining.__init__))
        assert call(pretrain.command, *args, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "finished" and Path(told["weights"]).is_file()
    with pytest.raises(FileExistsError, match="--resume"):
        call(pretrain.command, *args)
    judged = ("--domain", "boxes", "--detector", told["weights"], "--backend", "torch", "--frames", 16)
    assert call(eval_perception.command, *judged, "--json", "--plot", tmp_path / "pr.png") == 0
    report = json.loads(capsys.readouterr().out)["detector"]
    assert report["frames"] == 16 and report["backend"] == "torch" and (tmp_path / "pr.png").read_bytes().startswith(b"\x89PNG")
    assert call(eval_perception.command, *judged) == 0
    assert "AP50" in capsys.readouterr().out
    file = write_image(tmp_path / "street.png", picture())
    assert call(perceive.command, file, "--detector", told["weights"], "--out", tmp_path / "out") == 0


def _few(init: Any) -> Any:
    def small(self: Any, **given: Any) -> None:
        init(self, **{**given, "validation_frames": 16, "test_frames": 16, "validate": 1})

    return small


def test_pretrain_refuses_what_cannot_be(tmp_path: Path) -> None:
    import click

    for args in (("--frames", "many"), ("--frames", "3"), ("--resume", tmp_path, "--batch", 3)):
        with pytest.raises(click.UsageError):
            call(pretrain.command, "detector", "--domain", "boxes", *args)
    with pytest.raises(ValueError, match="no domain 'boats'"):
        call(pretrain.command, "detector", "--domain", "boats")
    with pytest.raises(click.UsageError, match="did you mean"):
        call(pretrain.command, "detectr")


def test_real_footage(tmp_path: Path, shared_data: Path) -> None:
    """NanoDet-g on a dash camera's clip: both near cars in nearly every frame."""
    model = shared_data.parent / "models" / "nanodet_g.onnx"
    if not model.is_file():
        pytest.skip(f"no {model.name} beside the recordings")
    clip = shared_data / "video" / "udacity_test_video.mp4"
    assert call(perceive.command, clip, "--detector", f"onnx:{model}", "--out", tmp_path / "out", "--frames", 8) == 0
    (file,) = json.loads((tmp_path / "out" / "detections.json").read_text())["files"]
    cars = [sum(d["class"] == "car" for d in row["detections"]) for row in file["frames"]]
    assert len(cars) == 8 and sum(count >= 2 for count in cars) >= 6
    places = [d["place"][0] for row in file["frames"] for d in row["detections"]]
    assert all(5 < x < 60 for x in places)
