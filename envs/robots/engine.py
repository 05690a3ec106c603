"""MuJoCo, or what to install where it is missing. All modules here take it from this one.

Its warnings go to Python's `logging` (logger `mujoco`), each kind once a process, unless the user has a handler of his own. By default
MuJoCo prints them and writes a file MUJOCO_LOG.TXT into the folder one happens to be in.
"""

from __future__ import annotations

import logging

try:
    import mujoco
    from mujoco.batch import Batch
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "mujoco":
        raise
    raise ModuleNotFoundError("robot tasks need MuJoCo 4: pip install 'closedloop[robots]'", name="mujoco") from error

__all__ = ["Batch", "mujoco"]

_told: set[str] = set()


def _log(message: str) -> None:
    """Pass a warning on; what differs between two of a kind is behind " at " and " Time ="."""
    kind = message.partition(" Time =")[0].partition(" at ")[0].strip()
    if kind not in _told:
        _told.add(kind)
        logging.getLogger("mujoco").warning("%s", message.strip())


if mujoco.get_mju_user_warning() is None:
    mujoco.set_mju_user_warning(_log)
