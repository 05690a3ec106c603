"""The start-up check on import names: the four packages are top-level and generic, so another package of the same name can shadow one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = ["PACKAGES", "intruders", "package_folders"]

PACKAGES = ("agents", "envs", "perception", "scenarios")


def package_folders() -> dict[str, Path | None]:
    """Where Python would import each of the four packages from, without importing it; None: not found, or no package."""
    folders: dict[str, Path | None] = {}
    for name in PACKAGES:
        spec = find_spec(name)
        folders[name] = Path(spec.origin).resolve().parent if spec and spec.origin and spec.submodule_search_locations else None
    return folders


def intruders(folders: dict[str, Path | None] | None = None) -> list[str]:
    """What is wrong with where the packages come from, a sentence each; empty when all four lie side by side beside this file's."""
    folders = package_folders() if folders is None else folders
    home = Path(__file__).resolve().parents[1]
    problems = []
    for name, folder in folders.items():
        if folder is None:
            problems.append(f"the package '{name}' of closedloop cannot be imported: expected it at {home / name}")
        elif folder.parent != home:
            problems.append(
                f"'import {name}' finds {folder}, which is not closedloop's: its '{name}' is at {home / name}. "
                f"Remove the other one, or run from a folder that has no '{name}'"
            )
    return problems
