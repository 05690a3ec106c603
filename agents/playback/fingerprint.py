"""What happened in an episode as one SHA-256, made while it runs and without keeping it.

Two episodes with the same fingerprint went the same way to the last bit: every action, the motion of everybody, what each step told, how
it ended and its metrics. Who drove, with which weights and which version is left out, unlike in a trace's own chain: so a fingerprint says
whether anything changed on the road. Lights are left out too; they follow from the step.

Shapes: B worlds, A agent slots. Slots beyond the episode's own agents are not read, so padding does not matter.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from agents.playback.storage import Array
from agents.playback.trace import ACTIONS, OUT_FIELDS, STATE_FIELDS, Trace

if TYPE_CHECKING:
    from torch import Tensor

    from envs.driving.sim import DrivingSim
    from envs.driving.types import Out

__all__ = ["Fingerprints", "fingerprint"]

_STATES = tuple(name for name in STATE_FIELDS if name != "lights")
_AGENTS = frozenset(name for name, (_, axes) in (STATE_FIELDS | OUT_FIELDS).items() if axes == ("A",))


class Fingerprints:
    """Follows every world of a simulator: `begin` after a reset, `add` after each step, `end` when an episode is over."""

    def __init__(self, sim: DrivingSim) -> None:
        self.sim = sim
        self.action = np.dtype(ACTIONS[sim.config.action][0])
        self.running: dict[int, tuple[hashlib._Hash, int]] = {}  # world -> digest so far, number of agents

    def begin(self, worlds: Iterable[int]) -> None:
        """These worlds stand at the start of an episode."""
        states = self._states()
        for world in worlds:
            agents = len(self.sim.bank.episodes[int(self.sim.rows[world])].agents)
            self.running[world] = (hashlib.sha256(_row(states, _STATES, world, agents)), agents)

    def add(self, action: Tensor, out: Out) -> None:
        """One decision step: `action` (B, N, ...) as it was given to `sim.step`, and the `out` that came back."""
        actions = np.ascontiguousarray(action.numpy(force=True), self.action)
        states, outs = self._states(), {name: getattr(out, name).numpy(force=True) for name in OUT_FIELDS}
        for world, (digest, agents) in self.running.items():
            digest.update(actions[world].tobytes() + _row(states, _STATES, world, agents) + _row(outs, tuple(OUT_FIELDS), world, agents))

    def end(self, world: int, metrics: Mapping[str, float]) -> str:
        """The fingerprint of the episode that has ended in a world, in hex. metrics: its final figures."""
        return _closed(self.running.pop(world)[0], metrics)

    def _states(self) -> dict[str, Array]:
        return {name: getattr(self.sim.state, name).numpy(force=True) for name in _STATES}


def fingerprint(trace: Trace) -> str:
    """The same of a recorded episode."""
    agents = len(trace.episode.agents)
    digest = hashlib.sha256(_row(trace.states, _STATES, 0, agents))
    for k in range(trace.steps):
        action = np.ascontiguousarray(trace.actions[k]).tobytes()
        digest.update(action + _row(trace.states, _STATES, k + 1, agents) + _row(trace.outs, tuple(OUT_FIELDS), k, agents))
    return _closed(digest, trace.metrics)


def _row(arrays: Mapping[str, Array], names: tuple[str, ...], row: int, agents: int) -> bytes:
    """One row of each array, without the slots that the episode does not have."""
    return b"".join((arrays[n][row, :agents] if n in _AGENTS else arrays[n][row]).tobytes() for n in names)


def _closed(digest: hashlib._Hash, metrics: Mapping[str, float]) -> str:
    for name in sorted(metrics):
        digest.update(name.encode() + struct.pack("<d", metrics[name]))
    return digest.hexdigest()
