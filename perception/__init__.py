"""Seeing: what turns sensor frames into detections, tracks and forecasts.

    types       SensorFrame -> Detections -> Tracks -> Forecasts, and the Labels they are judged by
    pipeline    the stages one after another, with rate, delay and losses; `registry` makes them by name
    detectors   the learned detector and its backends, and ONNX detectors of others; `oracle` and `noise` tell the truth, or nearly
    tracking    a batched Kalman tracker
    prediction  kinematic, lane-following and learned predictors
    metrics     average precision, HOTA, minADE and the like
    training    how the networks are trained, on any labelled stream

It knows no environment and no scenario: `envs` passes it frames and gets typed batches back.
"""

from __future__ import annotations

__all__: list[str] = []
