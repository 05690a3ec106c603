"""Stages by name: `oracle`, `noisy`, shipped or trained networks, and anybody's own by "package.module:attribute".

make_pipeline("detector_driving", "kalman", "predictor_driving")
make_pipeline("oracle", predictor="ctrv")
make_pipeline("their_package.vision:Detector")
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from perception.detectors import make_detector as make_network
from perception.pipeline import Pipeline, PipelineConfig
from perception.stages import Detector, Predictor, Tracker, Witness
from perception.storage import find, load, shipped

__all__ = [
    "StageError",
    "detector_names",
    "make_detector",
    "make_pipeline",
    "make_predictor",
    "make_tracker",
    "predictor_names",
    "tracker_names",
    "weights_sha256",
]

ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
FILE = re.compile(r".*(\.safetensors|[/\\].*)$")


class StageError(ValueError):
    """There is no such stage, or it cannot do what is asked of it. The message says which and what there is."""


def _oracle(**options: Any) -> Witness:
    from perception.oracle import Oracle

    return Oracle(**options)


def _noisy(**options: Any) -> Witness:
    from perception.noise import NoisyOracle

    return NoisyOracle.load(**options)


def _kalman(**options: Any) -> Tracker:
    from perception.tracking import KalmanTracker, TrackerConfig

    return KalmanTracker(TrackerConfig(**options))


def _imm(**options: Any) -> Tracker:
    from perception.tracking import KalmanTracker, TrackerConfig

    # at crossing/hard the detector gave a child that ran out 0.4 to 0.9 at its first sight, and a second one came too late for the brakes
    return KalmanTracker(TrackerConfig(**{"standing": True, "walkers": (0.4, 0.4), **options}))


def _constant_velocity() -> Predictor:
    from perception.prediction.kinematic import ConstantVelocity

    return ConstantVelocity()


def _ctrv() -> Predictor:
    from perception.prediction.kinematic import TurnRate

    return TurnRate()


def _idm_along_lane() -> Predictor:
    from perception.prediction.lane_following import LaneFollowing

    return LaneFollowing()


DETECTORS: dict[str, Callable[..., Any]] = {"oracle": _oracle, "noisy": _noisy}
TRACKERS: dict[str, Callable[..., Any]] = {"kalman": _kalman, "imm": _imm}
PREDICTORS: dict[str, Callable[..., Any]] = {"constant_velocity": _constant_velocity, "ctrv": _ctrv, "idm_along_lane": _idm_along_lane}


def detector_names() -> list[str]:
    """Of the detectors that ship; besides, "onnx:FILE", files of weights and "package.module:attribute"."""
    return [*DETECTORS, *shipped("detector")]


def tracker_names() -> list[str]:
    """Of the trackers that ship."""
    return [*TRACKERS]


def predictor_names() -> list[str]:
    """Of the predictors that ship."""
    return [*PREDICTORS, *shipped("predictor")]


def make_detector(spec: str, **options: Any) -> Detector | Witness:
    """A detector by name. Raises StageError, or the ValueError of a file that cannot be used."""
    if spec in DETECTORS:
        return cast(Witness, _built("detector", spec, DETECTORS[spec], options))
    if spec.startswith("onnx:") or FILE.fullmatch(spec) or {spec, f"detector_{spec}"} & {*shipped("detector")}:
        return make_network(spec, **options)
    stage = _entry("detector", spec, detector_names(), options)
    if not isinstance(stage, (Detector, Witness)):
        raise StageError(f"detector '{spec}' needs `classes` and `__call__(frame)` or `observe(frame, labels, seed, step)`")
    return stage


def make_tracker(spec: str, **options: Any) -> Tracker:
    """A tracker by name. Raises StageError."""
    if spec in TRACKERS:
        return cast(Tracker, _built("tracker", spec, TRACKERS[spec], options))
    stage = _entry("tracker", spec, tracker_names(), options)
    if not isinstance(stage, Tracker):
        raise StageError(f"tracker '{spec}' needs `name`, `initial`, `update` and `read`")
    return stage


def make_predictor(spec: str, **options: Any) -> Predictor:
    """A predictor by name. Raises StageError, or the ValueError of a file that cannot be used."""
    if spec in PREDICTORS:
        return cast(Predictor, _built("predictor", spec, PREDICTORS[spec], options))
    if FILE.fullmatch(spec) or {spec, f"predictor_{spec}"} & {*shipped("predictor")}:
        from perception.prediction.learned import Learned

        return Learned.from_file(spec, **options)
    stage = _entry("predictor", spec, predictor_names(), options)
    if not hasattr(stage, "predict"):
        raise StageError(f"predictor '{spec}' needs `predict(history, tracks, roads)`")
    return cast(Predictor, stage)


def make_pipeline(
    detector: str | Detector | Witness,
    tracker: str | Tracker = "kalman",
    predictor: str | Predictor | None = "constant_velocity",
    config: PipelineConfig | None = None,
) -> Pipeline:
    """A pipeline of stages, each by name or as it is. A tracker that ships is told the detector's classes."""
    sees = make_detector(detector) if isinstance(detector, str) else detector
    if isinstance(tracker, str):
        tracker = make_tracker(tracker, **({"classes": sees.classes} if tracker in TRACKERS else {}))
    return Pipeline(sees, tracker, make_predictor(predictor) if isinstance(predictor, str) else predictor, config)


def weights_sha256(stage: str, spec: str) -> str:
    """What pins the weights that a detector, a predictor or a noise model called `spec` runs on; "" for one that has none of its own.

    stage: "detector", "predictor" or "noise". That of the stored weights and their description; of an ONNX file, of all its bytes. Raises
    the ValueError of a file that cannot be used, OSError for one that cannot be read.
    """
    if stage == "noise":
        from perception.noise_card import noise_sha256

        return noise_sha256(spec)
    if stage == "detector" and spec.startswith("onnx:"):
        return hashlib.sha256(Path(spec.removeprefix("onnx:")).read_bytes()).hexdigest()
    if spec in (DETECTORS if stage == "detector" else PREDICTORS):
        return ""
    if FILE.fullmatch(spec) or {spec, f"{stage}_{spec}"} & {*shipped(stage)}:
        return load(find(spec, kind=stage), kind=stage).sha256
    return ""


def _entry(what: str, spec: str, known: list[str], options: dict[str, Any]) -> object:
    """The stage that "package.module:attribute" makes: what the attribute returns when called, or itself if it is no class or function."""
    if not ENTRY.fullmatch(spec):
        close = difflib.get_close_matches(spec.lower(), known, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise StageError(f"no {what} '{spec}': {hint}Known: {', '.join(known)}; or one of your own as 'package.module:attribute'")
    module, _, attribute = spec.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise StageError(f"{what} '{spec}': module '{module}' cannot be imported: {error}") from error
    except AttributeError:
        raise StageError(f"{what} '{spec}': module '{module}' has no '{attribute}'") from None
    if isinstance(made, type) or (callable(made) and not isinstance(made, (Detector, Witness, Tracker)) and not hasattr(made, "predict")):
        return _built(what, spec, made, options)
    if options:
        raise StageError(f"{what} '{spec}' is ready made and takes no options ({', '.join(options)})")
    return cast(object, made)


def _built(what: str, spec: str, make: Callable[..., Any], options: dict[str, Any]) -> Any:
    try:
        return make(**options)
    except TypeError as error:
        raise StageError(f"{what} '{spec}': {error}") from error
