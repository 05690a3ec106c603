"""Somebody else's detectors: layouts, letterboxing, suppression; made-up models with known answers, and a real one on real pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from perception.detectors import make_detector
from perception.detectors.coco import COCO, TO_DRIVING
from perception.detectors.layouts import LayoutError, detect_layout, nanodet, yolox
from perception.detectors.onnx_file import OnnxFile, OnnxFileError, letterbox, suppress
from perception.types import Camera, SensorFrame

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
Array = NDArray[np.float32]
SIZE = (64, 96)  # height, width of the made-up models' input
CELLS = [(8, row, column) for row in range(8) for column in range(12)]
CELLS += [(16, row, column) for row in range(4) for column in range(6)] + [(32, row, column) for row in range(2) for column in range(3)]


def model(path: Path, outputs: dict[str, Array], *, shape: tuple[Any, ...] = (1, 3, *SIZE), kind: int | None = None) -> Path:
    """An ONNX file that answers `outputs` whatever it is shown."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value)) for name, value in outputs.items()]
    graph = helper.make_graph(
        nodes,
        "known",
        [helper.make_tensor_value_info("images", kind or TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in outputs.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def yolox_output(things: list[tuple[str, tuple[float, float, float, float], float, float]], *, in_pixels: bool = False) -> Array:
    """(1, P, 85) in which each thing (name, box in input px, objectness, class score) is said by the cell of its middle at stride 16."""
    output = np.zeros((1, len(CELLS), 85), np.float32)
    for row, (stride, v, u) in enumerate(CELLS):
        if in_pixels:
            output[0, row, :4] = (u * stride, v * stride, stride, stride)
    for name, (u0, v0, u1, v1), objectness, score in things:
        u, v, width, height = (u0 + u1) / 2, (v0 + v1) / 2, u1 - u0, v1 - v0
        row = CELLS.index((16, int(v // 16), int(u // 16)))
        said = (u, v, width, height) if in_pixels else (u / 16 - u // 16, v / 16 - v // 16, np.log(width / 16), np.log(height / 16))
        output[0, row, :4], output[0, row, 4], output[0, row, 5 + COCO.index(name)] = said, objectness, score
    return output


@pytest.mark.parametrize("in_pixels", [False, True])
def test_yolox_with_known_answers(tmp_path: Path, in_pixels: bool) -> None:
    things = [
        ("car", (10.0, 20.0, 40.0, 36.0), 0.9, 0.8),
        ("person", (60.0, 18.0, 66.0, 40.0), 0.95, 0.9),
        ("dog", (5.0, 40.0, 30.0, 60.0), 1.0, 1.0),
    ]
    file = model(tmp_path / "yolox.onnx", {"output": yolox_output(things, in_pixels=in_pixels)})
    detector = OnnxFile(file)
    assert detector.layout.name == "yolox" and "car" in detector.classes
    image = np.zeros((128, 192, 3), np.uint8)  # twice the input: every box comes back twice as large
    box, score, kind = detector.see(image)
    assert [detector.classes[k] for k in kind] == ["pedestrian", "car"]
    np.testing.assert_allclose(box, np.array([[60, 18, 66, 40], [10, 20, 40, 36]]) * 2.0, atol=1e-3)
    np.testing.assert_allclose(score, [0.95 * 0.9, 0.9 * 0.8], rtol=1e-5)
    everything = OnnxFile(file, keep=None)
    assert everything.classes == COCO and [COCO[k] for k in everything.see(image)[2]] == ["dog", "person", "car"]
    wide = np.zeros((32, 96, 3), np.uint8)  # YOLOX puts the image into the upper left corner: boxes below it are clipped
    assert float(detector.see(wide)[0][:, 3].max()) <= 32.0


def nanodet_sides(count: int, bins: int, said: dict[int, tuple[float, float, float, float]]) -> Array:
    """(1, P, 4 bins) logits whose expectations are the distances, in strides, that `said` gives for a row."""
    sides = np.zeros((1, count, 4, bins), np.float32)
    for row, distances in said.items():
        for side, distance in enumerate(distances):
            low = int(distance)
            share = distance - low
            sides[0, row, side] = -30.0
            sides[0, row, side, low] = np.log(max(1.0 - share, 1e-9))
            sides[0, row, side, min(low + 1, bins - 1)] = np.log(max(share, 1e-9)) if share else -30.0
    return sides.reshape(1, count, 4 * bins)


@pytest.mark.parametrize("swapped", [False, True])
def test_nanodet_with_known_answers(tmp_path: Path, swapped: bool) -> None:
    outputs: dict[str, Array] = {}
    for stride in (32, 16, 8):
        rows, columns = SIZE[0] // stride, SIZE[1] // stride
        scores = np.zeros((1, rows * columns, 80), np.float32)
        said: dict[int, tuple[float, float, float, float]] = {}
        if stride == 16:  # cell (row 1, column 2): middle (40, 24)
            scores[0, 1 * columns + 2, COCO.index("truck")] = 0.7
            said[1 * columns + 2] = (1.5, 0.5, 2.0, 1.25)
        pair = {f"cls{stride}": scores, f"dis{stride}": nanodet_sides(rows * columns, 11, said)}
        outputs |= dict(reversed(pair.items())) if swapped else pair
    detector = OnnxFile(model(tmp_path / "nanodet.onnx", outputs))
    assert detector.layout.name == "nanodet"
    box, score, kind = detector.see(np.zeros((64, 96, 3), np.uint8))
    assert [detector.classes[k] for k in kind] == ["truck"]
    np.testing.assert_allclose(box, [[40 - 24, 24 - 8, 40 + 32, 24 + 20]], atol=1e-3)
    np.testing.assert_allclose(score, [0.7], rtol=1e-5)
    # an image half as high lies in the middle of the input: v is counted from its own upper edge
    box, _, _ = detector.see(np.zeros((32, 96, 3), np.uint8))
    np.testing.assert_allclose(box, [[16, 0, 72, 28]], atol=1e-3)


def test_nanodet_plus() -> None:
    cells = sum(-(-SIZE[0] // s) * -(-SIZE[1] // s) for s in (8, 16, 32, 64))
    output = np.zeros((1, cells, 80 + 32), np.float32)
    row = 96 + 1 * 6 + 2  # stride 16, row 1, column 2: in NanoDet-Plus its reference is (32, 16)
    output[0, row, COCO.index("bus")] = 0.8
    output[0, :, 80:] = nanodet_sides(cells, 8, {row: (1.0, 0.5, 2.0, 1.0)})[0]
    assert detect_layout([output.shape], SIZE, 80) == "nanodet"
    boxes, scores = nanodet([output], SIZE, 80)
    np.testing.assert_allclose(boxes[row], [16, 8, 64, 32], atol=1e-3)
    assert scores.shape == (cells, 80) and int(scores[row].argmax()) == COCO.index("bus")


def test_layouts_are_told_by_their_shapes() -> None:
    split = [(1, 6, 80), (1, 6, 44), (1, 24, 80), (1, 24, 44), (1, 96, 80), (1, 96, 44)]
    assert detect_layout(split, SIZE, 80) == "nanodet"
    assert detect_layout([(1, 126, 85)], SIZE, 80) == "yolox" and detect_layout([(1, 126, 8)], SIZE, 3) == "yolox"
    for shapes in ([(1, 100, 85)], [(1, 126, 80)], [(1, 25200, 85)], [(3, 4)], [(1, 6, 80), (1, 6, 45)]):
        with pytest.raises(LayoutError, match="neither NanoDet's nor YOLOX's"):
            detect_layout(shapes, SIZE, 80)
    with pytest.raises(LayoutError, match="100 cells"):
        yolox([np.zeros((1, 100, 85), np.float32)], SIZE, 80)


def test_files_that_are_no_detectors(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(OnnxFileError, match=r"text\.onnx: onnxruntime cannot load it"):
        OnnxFile(tmp_path / "text.onnx")
    with pytest.raises(OnnxFileError, match="no such file"):
        make_detector(f"onnx:{tmp_path / 'none.onnx'}")
    with pytest.raises(OnnxFileError, match="neither"):
        OnnxFile(model(tmp_path / "other.onnx", {"y": np.zeros((1, 10), np.float32)}))
    good = {"output": yolox_output([])}
    with pytest.raises(OnnxFileError, match="expected one input"):
        OnnxFile(model(tmp_path / "flat.onnx", good, shape=(1, 3)))
    with pytest.raises(OnnxFileError, match="expected one input"):
        OnnxFile(model(tmp_path / "grey.onnx", good, shape=(1, 1, *SIZE)))
    with pytest.raises(OnnxFileError, match="no layout 'ssd'"):
        OnnxFile(model(tmp_path / "good.onnx", good), layout="ssd")
    with pytest.raises(OnnxFileError, match="neither"):
        OnnxFile(tmp_path / "good.onnx", names=("a", "b"))


def test_as_a_stage_it_says_what_it_does_not_know(tmp_path: Path) -> None:
    things = [("traffic light", (10.0, 20.0, 20.0, 36.0), 0.9, 0.8)]
    detector = OnnxFile(model(tmp_path / "yolox.onnx", {"output": yolox_output(things)}), slots=4)
    one = torch.ones(2, 3)
    frame = SensorFrame(torch.zeros(2, 3, 3, *SIZE, dtype=torch.uint8), Camera(*(one,) * 7), one[:, 0], one[:, 0], one[:, 0], one)
    found = detector(frame)
    assert found.mask.tolist() == [[True, True, True, False]] * 2 and found.camera[0, :3].tolist() == [0, 1, 2]
    assert detector.classes[int(found.kind[0, 0])] == "light" and (found.light == -1).all()
    assert found.centre.isnan().all() and found.sigma.isnan().all() and found.yaw.isnan().all()


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (100, 30), (64, 96), (10, 10)])
@pytest.mark.parametrize("centred", [True, False])
def test_letterboxing_keeps_shapes(height: int, width: int, centred: bool) -> None:
    image = np.full((height, width, 3), 255, np.uint8)
    fitted, scale, (left, top) = letterbox(image, SIZE, centred=centred, padding=7)
    rows, columns = np.nonzero((fitted > 7).all(-1))
    assert fitted.shape == (*SIZE, 3) and (rows.min(), columns.min()) == (top, left)
    assert abs(rows.max() + 1 - top - height * scale) <= 1 and abs(columns.max() + 1 - left - width * scale) <= 1
    assert centred or (left, top) == (0, 0)


def test_suppression_against_opencv() -> None:
    import cv2

    rng = np.random.default_rng(0)
    low = rng.uniform(0, 60, (80, 2))
    boxes = np.concatenate((low, low + rng.uniform(5, 40, (80, 2))), 1).astype(np.float32)
    score = rng.uniform(0.1, 1.0, 80).astype(np.float32)
    as_sizes = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)
    theirs = cv2.dnn.NMSBoxes(as_sizes.tolist(), score.tolist(), 0.0, 0.4)
    assert suppress(boxes, score, np.zeros(80, np.int64), 0.4).tolist() == np.asarray(theirs).ravel().tolist()
    assert len(suppress(boxes, score, np.arange(80), 0.4)) == 80  # of different classes, all stay


def test_names_of_classes() -> None:
    assert len(COCO) == 80 and set(TO_DRIVING) <= set(COCO)


def test_a_real_model_on_real_pictures(shared_data: Path) -> None:
    """NanoDet-g finds both near cars in a dash camera's still, where a person sees them, and nothing else that sure."""
    import cv2

    file = shared_data.parent / "models" / "nanodet_g.onnx"
    if not file.is_file():
        pytest.skip(f"no {file.name} beside the recordings")
    detector = OnnxFile(file)
    assert detector.layout.name == "nanodet"
    picture = cv2.imread(str(shared_data / "images" / "udacity_veh_test1.jpg"))
    assert picture is not None
    box, score, kind = detector.see(np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8))
    assert [detector.classes[k] for k in kind] == ["car", "car"] and float(score.min()) > 0.55
    by_place = box[box[:, 0].argsort()]
    # the black and the white car, outlined by hand
    np.testing.assert_allclose(by_place, [[815, 408, 944, 495], [1046, 404, 1275, 512]], atol=12)
