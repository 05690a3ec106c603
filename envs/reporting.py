"""How vector environments report figures of some of their worlds. No torch in here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["masked"]


def masked(values: dict[str, NDArray[Any]], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """As Gymnasium's vector environments do: 0 where there is nothing, and a mask `_name` beside each."""
    return {name: np.where(mask, value, 0) for name, value in values.items()} | {f"_{name}": mask.copy() for name in values}
