"""Trackers: what turns `Detections` into `Tracks`."""

from __future__ import annotations

from perception.tracking.assignment import assign
from perception.tracking.config import KindModel, TrackerConfig
from perception.tracking.state import TrackerState, empty_tracks, extrapolate, initial_state
from perception.tracking.tracker import KalmanTracker, track

__all__ = [
    "KalmanTracker",
    "KindModel",
    "TrackerConfig",
    "TrackerState",
    "assign",
    "empty_tracks",
    "extrapolate",
    "initial_state",
    "track",
]
