"""Does a trace come out of the simulator again? Drives the recorded actions through a fresh simulation and compares.

With what it was recorded with (versions, backend, kind of device, vector instructions) every bit must match. Elsewhere floating point
may round differently, so poses are compared with a tolerance; a later difference in one decision is then still a difference. Beliefs are
compared bit by bit or not at all: a detection just above the threshold there may be just below it here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from agents.playback.beliefs import about, of_world, told
from agents.playback.recorder import made_with, snapshot
from agents.playback.storage import Array, TraceError
from agents.playback.trace import OUT_FIELDS, STATE_FIELDS, Trace
from envs.driving.bank import build_bank
from envs.driving.eyes import Eyes
from envs.driving.sim import DrivingSim
from envs.driving.types import State

__all__ = ["TOLERANCE", "Verification", "simulator", "verify"]

# Largest difference that counts as the same where rounding differs: float32 resolves 0.06 mm at 1 km, and a minute of driving adds up.
# In m, rad, m/s, m/s^2; anything not listed (flags, lanes, lights) must be equal
TOLERANCE = {"x": 0.05, "y": 0.05, "yaw": 0.01, "speed": 0.05, "accel": 0.5, "steer": 0.05, "progress": 0.1}


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What became of re-simulating a trace."""

    ok: bool
    exact: bool  # to the last bit
    first_bad_step: int | None = None  # state index from which it differs (0: the start)
    reason: str = ""  # for people
    beliefs: str = ""  # "" without beliefs, else "the same", "different", or why they were not compared


def verify(trace: Trace, *, keep: list[State] | None = None) -> Verification:
    """Re-simulate `trace` in one world and compare every step. Raises TraceError if the episode cannot be simulated at all.

    keep: gets the simulator's states, one world each, as far as they were compared; `agents.playback.sight.look_again` can use them.
    """
    sim = simulator(trace)
    here = made_with(sim)
    other = [f"{name} {getattr(trace, name)} then, {value} now" for name, value in here.items() if value != getattr(trace, name)]
    eyes, unseen = _eyes(trace, sim, other)
    exact = True
    found, expected = snapshot(sim, 0, trace.episode), {name: trace.states[name][0] for name in STATE_FIELDS}
    for k in range(trace.steps + 1):
        differing = [name for name in expected if not _equal(found[name], expected[name])]
        exact = exact and not differing
        worst = differing if not other else [name for name in differing if not _close(name, found[name], expected[name])]
        if worst:
            how = f"differs from step {k}: {', '.join(_tell(name, found[name], expected[name]) for name in worst[:3])}"
            how += f" ({'; '.join(other)})" if other else ""
            return Verification(ok=False, exact=False, first_bad_step=k, reason=how, beliefs=unseen)
        if keep is not None:
            keep.append(sim.state)
        if eyes is not None and (how := _otherwise(trace, eyes, k)):
            return Verification(ok=False, exact=False, first_bad_step=k, reason=how, beliefs="different")
        if k < trace.steps:
            out = sim.step(torch.from_numpy(trace.actions[k : k + 1].copy()).to(sim.device))
            if eyes is not None:
                eyes.look()
            found = snapshot(sim, 0, trace.episode) | {name: getattr(out, name)[0].numpy(force=True) for name in OUT_FIELDS}
            expected = {name: trace.states[name][k + 1] for name in STATE_FIELDS} | {name: trace.outs[name][k] for name in OUT_FIELDS}
    beliefs = "" if trace.beliefs is None else unseen or "the same"
    also = "" if not beliefs else ", beliefs too" if eyes is not None else f"; beliefs not compared: {unseen}"
    if exact:
        return Verification(ok=True, exact=True, reason=f"{trace.steps} steps, identical to the last bit{also}", beliefs=beliefs)
    how = f"{trace.steps} steps, the same within rounding ({'; '.join(other)}){also}"
    return Verification(ok=True, exact=False, reason=how, beliefs=beliefs)


def simulator(trace: Trace) -> DrivingSim:
    """One world at the start of the episode. Raises TraceError if it cannot be simulated."""
    device = "cuda" if trace.device == "cuda" and torch.cuda.is_available() else "cpu"
    try:
        bank = build_bank([trace.episode], trace.config)
    except (ValueError, KeyError) as error:
        raise TraceError(f"its episode cannot be simulated: {error}") from error
    return DrivingSim(bank, trace.config, batch=1, device=device, compile=trace.backend == "compiled")


def _eyes(trace: Trace, sim: DrivingSim, other: list[str]) -> tuple[Eyes | None, str]:
    """The eyes that saw, or why there are none."""
    if trace.beliefs is None:
        return None, ""
    if other:
        return None, "; ".join(other)
    try:
        eyes = Eyes(sim)
    except (ValueError, OSError, ImportError) as error:
        return None, str(error)
    now, then = about(eyes), trace.beliefs.about
    for stage in ("detector", "predictor"):
        if getattr(now, stage) != getattr(then, stage):
            return None, f"the {stage} has other weights now"
    if now.backend != then.backend:
        return None, f"the detector ran by {then.backend or 'what was not noted'} then, by {now.backend or 'nothing'} now"
    return (eyes, "") if now == then else (None, "the perception stack has other sizes now")


def _otherwise(trace: Trace, eyes: Eyes, k: int) -> str:
    """How what is believed differs from what was believed at state k; "": not at all."""
    assert trace.beliefs is not None
    found = of_world(told(eyes), 0)
    differing = [name for name, value in found.items() if not _equal(value, trace.beliefs.arrays[name][k])]
    if not differing:
        return ""
    return f"beliefs differ from step {k}: {', '.join(_tell(name, found[name], trace.beliefs.arrays[name][k]) for name in differing[:3])}"


def _equal(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _close(name: str, a: Array, b: Array) -> bool:
    tolerance = TOLERANCE.get(name, 0.0)
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    gap = np.abs(a.astype(np.float64) - b)
    return bool((np.minimum(gap, np.abs(2 * np.pi - gap)) if name == "yaw" else gap).max(initial=0.0) <= tolerance)


def _tell(name: str, found: Array, expected: Array) -> str:
    if found.dtype.kind == "f" and found.shape == expected.shape:
        gap = np.abs(found.astype(np.float64) - expected)
        return f"{name} by up to {np.nanmax(gap, initial=0.0):.3g}"
    return name
