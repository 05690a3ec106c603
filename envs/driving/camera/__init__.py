"""The driving camera: batched pictures of the simulated worlds, with exact labels, on any device. Names are imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.driving.camera.config import CameraConfig
    from envs.driving.camera.labelling import labels
    from envs.driving.camera.rendering import Rendered, believed_camera, render, sensor_frame
    from envs.driving.camera.scenery import SceneryTables, build_scenery
    from envs.driving.camera.sheet import contact_sheet
    from envs.driving.camera.stream import DrivingStream
    from envs.driving.camera.weather import Weather, draw_weather

__all__ = [
    "CameraConfig",
    "DrivingStream",
    "Rendered",
    "SceneryTables",
    "Weather",
    "believed_camera",
    "build_scenery",
    "contact_sheet",
    "draw_weather",
    "labels",
    "render",
    "sensor_frame",
]

_HOME = {
    "CameraConfig": "config",
    "DrivingStream": "stream",
    "Rendered": "rendering",
    "SceneryTables": "scenery",
    "Weather": "weather",
    "believed_camera": "rendering",
    "build_scenery": "scenery",
    "contact_sheet": "sheet",
    "draw_weather": "weather",
    "labels": "labelling",
    "render": "rendering",
    "sensor_frame": "rendering",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
