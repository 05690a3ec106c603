"""Boards as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["LETTERS", "grid_text", "point_name"]

LETTERS = "ABCDEFGHJKLMNOPQRST"  # without I, as on boards of Go, where it would be read as J


def point_name(action: int, columns: int, rows: int) -> str:
    """A point by its column's letter and its row's number, counted from the bottom: D4."""
    return f"{LETTERS[action % columns]}{rows - action // columns}"


def grid_text(planes: NDArray[np.int8], player: int, *, columns: str | None = None, rows: Sequence[int] | None = ()) -> str:
    """planes (2, rows, columns): stones of `player`, of the other. X is player 0, O player 1, a dot an empty point.

    columns: a sign above each; default letters. rows: a number before each; () counts from the bottom, None writes none.
    """
    first, second = (planes[0], planes[1]) if player == 0 else (planes[1], planes[0])
    height, width = first.shape
    numbers = range(height, 0, -1) if rows == () else rows
    signs = np.where(first > 0, "X", np.where(second > 0, "O", "."))
    margin = "" if numbers is None else "  "
    lines = [("" if numbers is None else f"{list(numbers)[r]:2d}") + " " + " ".join(signs[r]) for r in range(height)]
    return "\n".join([*lines, f"{margin} {' '.join(columns or LETTERS[:width])}"])
