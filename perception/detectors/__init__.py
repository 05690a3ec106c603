"""Detectors: what turns a `SensorFrame` into `Detections`."""

from __future__ import annotations

from typing import Protocol

from perception.types import Detections, SensorFrame

__all__ = ["DRIVING_CLASSES", "Detector", "make_detector"]

DRIVING_CLASSES = ("car", "truck", "bus", "motorcycle", "bicycle", "pedestrian", "light")


class Detector(Protocol):
    """Sees. `classes` names what `Detections.kind` counts."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def __call__(self, frame: SensorFrame) -> Detections: ...


def make_detector(spec: str, **options: object) -> Detector:
    """A detector by its spec: the name of shipped weights ("detector_driving"), a weights file, or "onnx:FILE" for an ONNX model of others.

    options: as of `CenterNet.load` or `OnnxFile`. Raises WeightsError, OnnxFileError (both ValueErrors) with what is wrong.
    """
    if spec.startswith("onnx:"):
        from perception.detectors.onnx_file import OnnxFile

        return OnnxFile(spec.removeprefix("onnx:"), **options)  # type: ignore[arg-type]
    from perception.detectors.centernet import CenterNet

    return CenterNet.load(spec, **options)  # type: ignore[arg-type]
