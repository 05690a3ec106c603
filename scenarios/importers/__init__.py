"""Scenarios from elsewhere: recorded traffic turned into a scenario file and its sidecar.

    from scenarios.importers import import_file
    written = import_file("USA_US101-3_1_T-1.xml", "imported", mode="log")
    scenarios.load(written.scenario)                     # and written.scenario + "/reactive"

A new format is one module with a function `path -> Imported` and one line in IMPORTERS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.importers.recorded import RecordedCollision, recorded_agents, recorded_collisions
    from scenarios.importers.types import Imported
    from scenarios.importers.write import Written, import_file, read_file, write_imported

__all__ = [
    "IMPORTERS", "Imported", "RecordedCollision", "Written", "import_file", "read_file", "recorded_agents", "recorded_collisions",
    "write_imported",
]  # fmt: skip

# format: (mark near the beginning of its files, module, function)
IMPORTERS: dict[str, tuple[bytes, str, str]] = {
    "CommonRoad": (b"<commonRoad", "scenarios.importers.commonroad", "import_commonroad"),
}

_HOMES = {
    "types": ("Imported",),
    "recorded": ("RecordedCollision", "recorded_agents", "recorded_collisions"),
    "write": ("Written", "import_file", "read_file", "write_imported"),
}
_HOME = {name: module for module, exported in _HOMES.items() for name in exported}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'scenarios.importers' has no attribute '{name}'")
    return getattr(import_module(f"scenarios.importers.{_HOME[name]}"), name)
