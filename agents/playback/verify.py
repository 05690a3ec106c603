"""Does a trace come out of the simulator again? Drives the recorded actions through a fresh simulation and compares.

With what it was recorded with (versions, backend, kind of device, vector instructions) every bit must match. Elsewhere floating point
may round differently, so poses are compared with a tolerance; a later difference in one decision is then still a difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from agents.playback.storage import Array, TraceError
from agents.playback.trace import OUT_FIELDS, STATE_FIELDS, Trace, made_with, snapshot
from envs.driving.bank import build_bank
from envs.driving.sim import DrivingSim

__all__ = ["TOLERANCE", "Verification", "verify"]

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


def verify(trace: Trace) -> Verification:
    """Re-simulate `trace` in one world and compare every step. Raises TraceError if the episode cannot be simulated at all."""
    device = "cuda" if trace.device == "cuda" and torch.cuda.is_available() else "cpu"
    try:
        bank = build_bank([trace.episode], trace.config)
    except (ValueError, KeyError) as error:
        raise TraceError(f"its episode cannot be simulated: {error}") from error
    sim = DrivingSim(bank, trace.config, batch=1, device=device, compile=trace.backend == "compiled")
    here = made_with(sim)
    other = [f"{name} {getattr(trace, name)} then, {value} now" for name, value in here.items() if value != getattr(trace, name)]
    exact = True
    found, expected = snapshot(sim, 0, trace.episode), {name: trace.states[name][0] for name in STATE_FIELDS}
    for k in range(trace.steps + 1):
        differing = [name for name in expected if not _equal(found[name], expected[name])]
        exact = exact and not differing
        worst = differing if not other else [name for name in differing if not _close(name, found[name], expected[name])]
        if worst:
            how = f"differs from step {k}: {', '.join(_tell(name, found[name], expected[name]) for name in worst[:3])}"
            return Verification(ok=False, exact=False, first_bad_step=k, reason=how + (f" ({'; '.join(other)})" if other else ""))
        if k < trace.steps:
            out = sim.step(torch.from_numpy(trace.actions[k : k + 1].copy()).to(device))
            found = snapshot(sim, 0, trace.episode) | {name: getattr(out, name)[0].numpy(force=True) for name in OUT_FIELDS}
            expected = {name: trace.states[name][k + 1] for name in STATE_FIELDS} | {name: trace.outs[name][k] for name in OUT_FIELDS}
    if exact:
        return Verification(ok=True, exact=True, reason=f"{trace.steps} steps, identical to the last bit")
    return Verification(ok=True, exact=False, reason=f"{trace.steps} steps, the same within rounding ({'; '.join(other)})")


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
        return f"{name} by up to {np.abs(found.astype(np.float64) - expected).max(initial=0.0):.3g}"
    return name
