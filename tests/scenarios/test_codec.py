"""Dataclasses as JSON and arrays, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import TypeAliasType

from scenarios.codec import DataError, from_arrays, to_arrays

S = TypeVar("S", bound=np.generic)
Alias = TypeAliasType("Alias", np.ndarray[Any, np.dtype[S]], type_params=(S,))  # what NDArray is from numpy 2.5 on


@dataclass(frozen=True)
class Plain:
    points: NDArray[np.float64]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Named:
    points: Alias[np.float64]
    counts: tuple[int, ...]


@pytest.mark.parametrize("kind", [Plain, Named])
def test_arrays_come_back_however_numpy_spells_their_type(kind: Any) -> None:
    header, arrays = to_arrays(kind(np.array([[1.5, np.nan], [-0.0, 2.0]]), (3, 1)))
    back = from_arrays(kind, header, arrays, "it")
    np.testing.assert_array_equal(back.points, [[1.5, np.nan], [-0.0, 2.0]])
    assert back.counts == (3, 1)
    with pytest.raises(DataError, match=r"it\.points"):
        from_arrays(kind, {**header, "points": 3}, arrays, "it")
