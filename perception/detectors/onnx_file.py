"""Somebody else's detector from an ONNX file, as a `Detector`: letterboxing, decoding, suppression of doubles.

It sees in two dimensions: centre, size, yaw and sigma are NaN, and the state of lights is unknown (-1, as for what is no light).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from perception.detectors import DRIVING_CLASSES
from perception.detectors.coco import COCO, TO_DRIVING
from perception.detectors.layouts import LAYOUTS, Layout, LayoutError, detect_layout
from perception.types import Detections, SensorFrame

__all__ = ["OnnxFile", "OnnxFileError", "letterbox", "suppress"]

SIZE_FREE = 416  # px, side of the input where the model leaves it open
Array = NDArray[np.float32]


class OnnxFileError(ValueError):
    """A file is no detector that can be used. The message says why."""


class OnnxFile:
    """A detector from an ONNX file. `classes` names what `Detections.kind` counts.

    layout: "nanodet" or "yolox"; by default told from the shapes of the outputs. names: of the model's classes. keep: model's name ->
    name among DRIVING_CLASSES, other classes being dropped; None keeps all under the model's names. slots: detections a frame.
    overlap: IoU with a better one of the same class from which a detection goes.
    Raises OnnxFileError, ModuleNotFoundError without onnxruntime.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        layout: str | None = None,
        names: Sequence[str] = COCO,
        keep: Mapping[str, str] | None = TO_DRIVING,
        threshold: float = 0.4,
        overlap: float = 0.6,
        slots: int = 32,
        threads: int = 1,
    ) -> None:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        if layout is not None and layout not in LAYOUTS:
            raise OnnxFileError(f"no layout '{layout}'; known: {', '.join(LAYOUTS)}")
        if not Path(path).is_file():
            raise OnnxFileError(f"{path}: no such file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 4
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base but Exception
            raise OnnxFileError(f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from None
        self.path, self.names, self.threshold, self.overlap, self.slots = Path(path), tuple(names), threshold, overlap, slots
        self.classes = tuple(names) if keep is None else DRIVING_CLASSES
        told = dict(zip(names, names, strict=True)) if keep is None else keep
        self._kind = np.array([self.classes.index(told[name]) if told.get(name) in self.classes else -1 for name in self.names], np.int64)
        self._size = self._input_size()
        self.layout: Layout = self._layout(layout)
        self._mean, self._deviation = np.array(self.layout.mean, np.float32), np.array(self.layout.deviation, np.float32)

    def __call__(self, frame: SensorFrame) -> Detections:
        """What is seen in each image, best first."""
        batch, cameras = frame.image.shape[:2]
        image = frame.image.permute(0, 1, 3, 4, 2).cpu().numpy()
        rows = [[(c, *self.see(image[b, c])) for c in range(cameras)] for b in range(batch)]
        return self._detections(rows, frame.image.device)

    def see(self, image: NDArray[np.uint8]) -> tuple[Array, Array, NDArray[np.int64]]:
        """One image (H, W, 3) RGB -> boxes (P, 4) px of that image, scores (P,) and kinds (P,), best first."""
        fitted, scale, (left, top) = letterbox(image, self._size, centred=self.layout.centred, padding=self.layout.padding)
        bgr = fitted[..., ::-1].astype(np.float32)
        pixels = ((bgr - self._mean) / self._deviation).astype(np.float32)
        try:
            boxes, scores = self.layout.decode(self._run(pixels.transpose(2, 0, 1)[None]), self._size, len(self.names))
        except LayoutError as error:
            raise OnnxFileError(f"{self.path}: {error}") from None
        scores = np.where(self._kind >= 0, scores, 0.0)
        best = scores.argmax(1)
        score = scores[np.arange(len(best)), best]
        good = np.flatnonzero(score >= self.threshold)
        boxes, score, kind = boxes[good], score[good], self._kind[best[good]]
        kept = suppress(boxes, score, kind, self.overlap)[: self.slots]
        limit = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        boxes = np.clip((boxes[kept] - np.array([left, top, left, top], np.float32)) / scale, 0, limit).astype(np.float32)
        return boxes, score[kept].astype(np.float32), kind[kept]

    def _run(self, pixels: Array) -> list[Array]:
        outputs = self.session.run(None, {self.session.get_inputs()[0].name: np.ascontiguousarray(pixels, np.float32)})
        return [np.asarray(output, np.float32) for output in outputs]

    def _input_size(self) -> tuple[int, int]:
        """(H, W) of the input."""
        inputs = self.session.get_inputs()
        shape = inputs[0].shape
        channels = shape[1] if len(shape) == 4 else None
        if len(inputs) != 1 or len(shape) != 4 or inputs[0].type != "tensor(float)" or (isinstance(channels, int) and channels != 3):
            told = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise OnnxFileError(f"{self.path}: expected one input (1, 3, height, width) of floats, it has {told}")
        height, width = (side if isinstance(side, int) else SIZE_FREE for side in shape[2:])
        return height, width

    def _layout(self, name: str | None) -> Layout:
        if name is None:
            outputs = self._run(np.zeros((1, 3, *self._size), np.float32))  # declared shapes may be symbolic, real ones are not
            try:
                name = detect_layout([output.shape for output in outputs], self._size, len(self.names))
            except LayoutError as error:
                raise OnnxFileError(f"{self.path}: {error}") from None
        return LAYOUTS[name]

    def _detections(self, rows: list[list[tuple[int, Array, Array, NDArray[np.int64]]]], device: torch.device) -> Detections:
        batch, slots = len(rows), self.slots
        box, score = np.zeros((batch, slots, 4), np.float32), np.zeros((batch, slots), np.float32)
        camera, kind = np.zeros((batch, slots), np.int64), np.zeros((batch, slots), np.int64)
        mask = np.zeros((batch, slots), np.bool_)
        for b, parts in enumerate(rows):
            scores = np.concatenate([part[2] for part in parts])
            order = np.argsort(-scores, kind="stable")[:slots]
            n = len(order)
            box[b, :n] = np.concatenate([part[1] for part in parts])[order]
            score[b, :n], mask[b, :n] = scores[order], True
            kind[b, :n] = np.concatenate([part[3] for part in parts])[order]
            camera[b, :n] = np.concatenate([np.full(len(part[2]), part[0]) for part in parts])[order]
        unknown = np.full((batch, slots, 3), np.nan, np.float32)
        nothing = np.full((batch, slots), -1, np.int64)
        fields = (box, camera, kind, score, unknown, unknown, unknown[..., 0], unknown[..., :2], nothing, nothing, mask)
        return Detections(*(torch.from_numpy(field.copy()).to(device) for field in fields))


def letterbox(
    image: NDArray[np.uint8], size: tuple[int, int], *, centred: bool, padding: float
) -> tuple[NDArray[np.uint8], float, tuple[int, int]]:
    """`image` (H, W, 3) made to fit `size` (height, width) without being squeezed, the rest filled with `padding`.

    Returns the picture, the scale, and where the image's upper left corner is (left, top): u_there = u scale + left.
    """
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    top, left = ((size[0] - height) // 2, (size[1] - width) // 2) if centred else (0, 0)
    fitted = np.full((*size, 3), padding, np.uint8)
    fitted[top : top + height, left : left + width] = cv2.resize(
        np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return fitted, scale, (left, top)


def suppress(boxes: Array, score: Array, kind: NDArray[np.int64], overlap: float) -> NDArray[np.int64]:
    """Greedy suppression of doubles class by class; rows that stay, best first."""
    kept: list[int] = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-score, kind="stable")
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(int(first))
        low, high = np.maximum(boxes[first, :2], boxes[rest, :2]), np.minimum(boxes[first, 2:], boxes[rest, 2:])
        common = np.clip(high - low, 0, None).prod(-1)
        iou = common / np.maximum(area[first] + area[rest] - common, 1e-9)
        order = rest[(iou <= overlap) | (kind[rest] != kind[first])]
    return np.array(kept, np.int64)
