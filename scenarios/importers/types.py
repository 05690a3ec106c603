"""What an importer returns."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.episode import Goal
from scenarios.importers.report import ImportReport
from scenarios.network import RoadNetwork
from scenarios.serialize import Recording

__all__ = ["EgoStart", "ImportFileError", "Imported"]


class ImportFileError(ValueError):
    """A file that cannot be imported at all; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class EgoStart:
    """Where the ego is at time 0: its pose, and its place on a lane if it is on one."""

    x: float  # m
    y: float
    yaw: float  # rad
    speed: float  # m/s
    lane: str | None = None
    s: float = 0.0  # m along the lane
    d: float = 0.0  # m left of it


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A scenario from somewhere else, ready to be written."""

    source: str  # file name
    title: str  # where it comes from, for people
    duration: float  # s
    network: RoadNetwork
    recording: Recording
    ego: EgoStart
    goal: Goal
    report: ImportReport
