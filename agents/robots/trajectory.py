"""Minimum-jerk motion as feedback: Flash and Hogan, "The coordination of arm movements", 1985."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["minimum_jerk", "share_of_rest"]

Floats = NDArray[np.float64]


def minimum_jerk(part: Any) -> Floats:
    """How far along a motion is, 0 to 1, when a `part` 0 to 1 of its time is over: 10 t^3 - 15 t^4 + 6 t^5. At rest at both ends."""
    t = np.clip(part, 0.0, 1.0)
    return np.asarray(t * t * t * (10.0 - 15.0 * t + 6.0 * t * t))


def share_of_rest(step: Any, steps: int) -> Floats:
    """Which share of the way that is left to make in decision `step` (from 0) of a motion of `steps` decisions; 1 when its time is over.

    (s(k + 1) - s(k)) / (1 - s(k)): along the motion it gives exactly that motion; pushed off it, the hand comes back by itself. So a
    controller needs to know where it is and what time it is, but not where it began.
    """
    done, next_ = minimum_jerk(np.asarray(step) / steps), minimum_jerk((np.asarray(step) + 1.0) / steps)
    return np.where(done < 1.0, (next_ - done) / np.maximum(1.0 - done, 1e-9), 1.0)
