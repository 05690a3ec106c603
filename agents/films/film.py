"""One episode of a task on film: what people see, what the policy sees with boxes around the things, and curves.

Shapes: T decisions, so T + 1 moments; C cameras, K boxes, H x W pixels, n numbers of an action, P points of a way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Film"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Film:
    """An episode. Pictures are RGB."""

    task: str
    about: str  # what is to be done
    policy: str
    observation: str  # level that the policy was on
    seed: int
    end: str  # done, time, failed; of games won, lost, time
    dt: float  # s a decision
    things: tuple[str, ...]  # what a box is around: of the k-th, or of the number that it names
    cameras: tuple[str, ...]  # C, of the policy
    boxed: str  # what the boxes are around
    people: list[NDArray[np.uint8]] = field(repr=False)  # T + 1 of (H, W, 3)
    eyes: list[list[NDArray[np.uint8]]] = field(repr=False)  # T + 1 of C of (H, W, 3), one size
    boxes: Floats = field(repr=False)  # (T + 1, C, K, 4) px u0, v0, u1, v1; 0: nothing; (..., 6): thing's number and score besides
    rewards: Floats = field(repr=False)  # (T,)
    terms: dict[str, Floats] = field(repr=False)  # (T,) each, weighted, or whatever else is to be drawn
    actions: Floats = field(repr=False)  # (T, n)
    success: NDArray[np.bool_] = field(repr=False)  # (T,) at each moment
    # T + 1 of (P, 2) px in the picture for people: where something is believed to be, and where it is expected then
    ways: list[Floats] = field(default_factory=list, repr=False)
    notes: list[str] = field(default_factory=list, repr=False)  # T + 1, beside the clock
    zoom: int = 2  # at which the policy's pictures are shown
    most: int = 260  # moments on a page, so that it stays a few megabytes

    @property
    def total(self) -> float:
        """The return."""
        return float(self.rewards.sum())
