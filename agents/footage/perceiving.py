"""A perception stack on footage: one frame in, the frame drawn on and what was seen out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.footage.draw import LIGHTS, draw_detections, draw_forecasts, draw_tracks
from agents.footage.media import Frame
from perception.detectors.ground import level_camera, place
from perception.prediction.base import no_roads
from perception.prediction.history import History, empty_history, update_history
from perception.registry import make_detector, make_predictor, make_tracker, tracker_names
from perception.stages import Detector, Predictor, Tracker, Witness
from perception.types import Camera, Detections, Forecasts, SensorFrame, Tracks

__all__ = ["AssumedCamera", "Stack", "make_stack"]

THRESHOLD = 0.4  # least score of what is drawn and told
FAINT = 0.1  # least score of what may continue a track
OURS = (160, 96)  # px, width and height our own detectors see best


@dataclass(frozen=True, kw_only=True)
class AssumedCamera:
    """What is assumed of a camera of which nothing is known. Degrees across, share of the image's height, m."""

    field_of_view: float
    horizon: float
    above_ground: float

    def of(self, width: int, height: int) -> Camera:
        """The camera of images of that size."""
        angle = math.radians(self.field_of_view)
        return level_camera(width, height, field_of_view=angle, horizon=self.horizon, above_ground=self.above_ground)


class Stack:
    """Detector, and in videos tracker and predictor, with their state."""

    def __init__(
        self,
        detector: Detector,
        *,
        camera: AssumedCamera,
        speed: float,
        native: bool,
        threshold: float,
        tracker: Tracker | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        self.detector, self.camera, self.speed, self.native, self.threshold = detector, camera, speed, native, threshold
        self.tracker, self.predictor = tracker, predictor
        self.begin(follow=False)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.detector.classes

    def begin(self, *, follow: bool) -> None:
        """A new picture or video: what was followed is forgotten. follow: whether frames belong together."""
        self._follow = follow and self.tracker is not None
        self._before: float | None = None
        if self._follow:
            assert self.tracker is not None
            self._state = self.tracker.initial(1)
            self._history: History | None = None

    def step(self, frame: Frame) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """The frame drawn on, and what was seen in it, ready for JSON."""
        height, width = frame.image.shape[:2]
        camera = self.camera.of(width, height)
        found = place(self._see(frame, camera), camera, self.classes, height=height)
        shown = found._replace(mask=found.mask & (found.score >= self.threshold))
        told = {"time": round(frame.time, 3), "detections": [_told(shown, row, self.classes) for row in _rows(shown.mask)]}
        drawn = frame.image.copy()
        if not self._follow:
            draw_detections(drawn, shown, self.classes)
            return drawn, told
        tracks, forecasts = self._followed(found, _sensor(frame.image, camera, frame.time, self.speed, self._before))
        self._before = frame.time
        told["tracks"] = [_told_track(tracks, forecasts, row, self.classes) for row in _rows(tracks.mask)]
        draw_detections(drawn, shown, self.classes)
        if forecasts is not None:
            draw_forecasts(drawn, tracks, forecasts, camera)
        draw_tracks(drawn, tracks)
        return drawn, told

    def _followed(self, found: Detections, sensor: SensorFrame) -> tuple[Tracks, Forecasts | None]:
        assert self.tracker is not None
        self._state = self.tracker.update(self._state, found, sensor, torch.ones(1, dtype=torch.bool))
        tracks = self.tracker.read(self._state, torch.zeros(1, 3), torch.zeros(1))
        history = self._history or empty_history(1, tracks.id.shape[1])
        self._history = update_history(history, tracks, sensor.motion, sensor.time, sensor.speed)
        if self.predictor is None:
            return tracks, None
        return tracks, self.predictor.predict(self._history, tracks, no_roads(1))

    def _see(self, frame: Frame, camera: Camera) -> Detections:
        if self.native:  # what was trained on small pictures wants small pictures
            small = np.asarray(cv2.resize(frame.image, OURS, interpolation=cv2.INTER_AREA), np.uint8)
            height, width = frame.image.shape[:2]
            found = self.detector(_sensor(small, self.camera.of(*OURS), frame.time, self.speed, None))
            scale = found.box.new_tensor([width / OURS[0], height / OURS[1]] * 2)
            return found._replace(box=found.box * scale)
        return self.detector(_sensor(frame.image, camera, frame.time, self.speed, None))


def make_stack(
    detector: str,
    *,
    tracker: str,
    predictor: str,
    layout: str | None,
    threshold: float | None,
    camera: AssumedCamera,
    speed: float,
) -> Stack:
    """The stack as named on the command line. Raises ValueErrors that say what is wrong."""
    foreign = detector.startswith("onnx:")
    shown = THRESHOLD if threshold is None else threshold
    own = ":" in detector and not foreign  # "package.module:attribute", made as it likes
    options: dict[str, Any] = {} if own else {"threshold": min(shown, FAINT)}
    if layout is not None:
        if not foreign:
            raise StackError("--layout is for ONNX files: --detector onnx:FILE")
        options["layout"] = layout
    seeing = None if detector in ("oracle", "noisy") else make_detector(detector, **options)
    if seeing is None or isinstance(seeing, Witness):
        raise StackError(f"--detector {detector}: it must be told the truth, which nobody knows of real footage")
    # what begins a track on footage is what is drawn: detectors of others are not calibrated as ours are
    thresholds = {"classes": seeing.classes, "high": shown, "low": min(shown, FAINT), "sure": max(shown, 0.95)}
    return Stack(
        seeing,
        camera=camera,
        speed=speed,
        native=not foreign,
        threshold=shown,
        tracker=None if tracker == "none" else make_tracker(tracker, **(thresholds if tracker in tracker_names() else {})),
        predictor=None if "none" in (tracker, predictor) else make_predictor(predictor),
    )


class StackError(ValueError):
    """A stack that cannot be. The message says why."""


def _sensor(image: NDArray[np.uint8], camera: Camera, time: float, speed: float, before: float | None) -> SensorFrame:
    """before: time of the frame before; the camera is taken to go straight on at `speed`."""
    ahead = 0.0 if before is None else speed * (time - before)
    return SensorFrame(
        image=torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None, None],
        camera=camera,
        time=torch.tensor([time]),
        speed=torch.tensor([speed]),
        yaw_rate=torch.zeros(1),
        motion=torch.tensor([[ahead, 0.0, 0.0]]),
    )


def _rows(mask: Tensor) -> list[int]:
    rows: list[int] = torch.nonzero(mask[0])[:, 0].tolist()
    return rows


def _told(found: Detections, row: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """One detection for JSON: px, m in the frame of the camera's foot, x ahead, y left."""
    return {
        "class": classes[int(found.kind[0, row])],
        "score": round(float(found.score[0, row]), 4),
        "box": [round(v, 1) for v in found.box[0, row].tolist()],
        "place": [round(v, 2) for v in found.centre[0, row].tolist()],
        "place_sigma": [round(v, 2) for v in found.sigma[0, row].tolist()],
    } | ({"light": LIGHTS[int(found.light[0, row])]} if found.light[0, row] >= 0 else {})


def _told_track(tracks: Tracks, forecasts: Forecasts | None, row: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """One track for JSON; the path is that of the likeliest mode."""
    told = {
        "id": int(tracks.id[0, row]),
        "class": classes[int(tracks.kind[0, row])],
        "score": round(float(tracks.score[0, row]), 4),
        "place": [round(v, 2) for v in tracks.mean[0, row, :2].tolist()],
        "velocity": [round(v, 2) for v in tracks.mean[0, row, 2:].tolist()],
        "unseen": int(tracks.unseen[0, row]),
    }
    if forecasts is not None:
        best = int(forecasts.probability[0, row].argmax())
        path = torch.cat((forecasts.time[:, None], forecasts.mean[0, row, best]), -1)
        told["path"] = [[round(v, 2) for v in point] for point in path.tolist()]
    return told
