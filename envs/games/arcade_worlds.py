"""What a batch of any arcade game is to the shells.

Shapes: B worlds, P players who are rewarded; the first is the one whom the shells of one player serve.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LEVELS", "ArcadeStep", "ArcadeWorlds", "Bools", "Ints"]

LEVELS = ("truth", "visible", "noisy", "perceived", "pixels")
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class ArcadeStep(Protocol):
    """What one decision brings."""

    @property
    def reward(self) -> Tensor: ...  # (B, P)

    @property
    def terminated(self) -> Tensor: ...  # (B,) bool

    @property
    def truncated(self) -> Tensor: ...  # (B,) bool


class ArcadeWorlds(Protocol):
    """B games, advanced together. An episode is one number, its seed."""

    batch: int
    config: Any  # a frozen dataclass
    observation: str  # level of the ladder
    dt: float  # s, a decision
    observation_space: spaces.Box  # of one world
    action_space: spaces.Space[Any]
    key: Ints  # (B,) what later episodes are drawn from

    @property
    def seeds(self) -> Ints: ...  # (B,) of the episodes running

    @property
    def steps(self) -> Ints: ...  # (B,) decisions taken in them

    def reset(self, seeds: Ints, *, key: Ints | None = None) -> None: ...

    def reset_where(self, mask: Bools) -> None: ...

    def command(self, action: Any) -> Tensor:
        """Actions as the game takes them. Raises ValueError for what is none."""
        ...

    def step(self, action: Any) -> ArcadeStep: ...

    def tensor(self) -> Tensor: ...  # what the player is told

    def observe(self) -> NDArray[Any]: ...  # the same as a fresh array

    def traced(self) -> NDArray[Any]: ...  # (B, n) what the last decision has come to, for fingerprints of episodes

    def metrics(self) -> dict[str, NDArray[np.floating[Any]]]: ...  # (B,) each; success and return among them

    def pictures(self, rows: Tensor | None = None, *, size: int = ...) -> NDArray[np.uint8]: ...  # for people

    def get_state(self) -> Any: ...

    def set_state(self, saved: Any) -> None: ...
