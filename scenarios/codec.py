"""Frozen dataclasses as JSON plus two flat numpy arrays, and back, exactly.

Every dataclass becomes a dict of its fields, an enum its integer, a number that JSON lacks (inf, nan) `{"float": "inf"}`. Every
numpy array is appended to the flat array of its type and leaves a reference `{"array": "numbers", "start": 12, "shape": [5, 2]}`:
    numbers  (N,) float64      flags  (K,) bool
Reading is driven by the declared types alone: nothing in the data chooses what gets built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

__all__ = ["POOLS", "Arrays", "DataError", "from_arrays", "to_arrays"]

POOLS: dict[str, type[np.generic]] = {"numbers": np.float64, "flags": np.bool_}
Arrays = dict[str, NDArray[Any]]
_T = TypeVar("_T")


class DataError(ValueError):
    """Stored data that cannot be what it claims to be. The message says where, what was found and what was expected."""


def to_arrays(value: Any) -> tuple[dict[str, Any], Arrays]:
    """A dataclass as a JSON-able header and its two arrays. Raises TypeError on a value of no known type."""
    writer = _Writer()
    header = writer.write(value)
    return header, {name: np.concatenate([np.zeros(0, dtype), *writer.parts[name]]) for name, dtype in POOLS.items()}


def from_arrays(expected: type[_T], header: Any, arrays: Mapping[str, NDArray[Any]], where: str) -> _T:
    """The inverse of `to_arrays` for a dataclass `expected`; `where` names it in messages. Raises DataError."""
    value: _T = _Reader(arrays).read(expected, header, where)
    return value


class _Writer:
    """Turns dataclasses into JSON-able values and collects their arrays."""

    def __init__(self) -> None:
        self.parts: dict[str, list[NDArray[Any]]] = {name: [] for name in POOLS}
        self.size = dict.fromkeys(POOLS, 0)

    def write(self, value: Any) -> Any:
        match value:
            case None | bool() | str():
                return value
            case np.ndarray():
                return self.reference(value)
            case IntEnum():
                return int(value)
            case np.bool_():
                return bool(value)
            case int() | np.integer():
                return int(value)
            case float() | np.floating():
                return float(value) if math.isfinite(value) else {"float": repr(float(value))}
            case tuple():
                return [self.write(item) for item in value]
            case dict():
                return {name: self.write(item) for name, item in value.items()}
            case _ if is_dataclass(value):
                return {f.name: self.write(getattr(value, f.name)) for f in fields(value)}
        raise TypeError(f"cannot store a {type(value).__name__}")

    def reference(self, value: NDArray[Any]) -> dict[str, Any]:
        name = "flags" if value.dtype == np.bool_ else "numbers"
        start = self.size[name]
        self.parts[name].append(np.ascontiguousarray(value, POOLS[name]).ravel())
        self.size[name] += value.size
        return {"array": name, "start": start, "shape": list(value.shape)}


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


class _Reader:
    """Builds a value of a declared type from JSON; nothing in the data chooses what gets built."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name, dtype in POOLS.items():
            pool = arrays.get(name)
            if not isinstance(pool, np.ndarray) or pool.ndim != 1 or pool.dtype != dtype:
                found = "missing" if pool is None else f"{getattr(pool, 'dtype', type(pool))} of shape {np.shape(pool)}"
                raise DataError(f"array {name!r}: {found}; expected one dimension of {np.dtype(dtype)}")
        self.arrays = arrays

    def read(self, expected: Any, data: Any, where: str) -> Any:
        origin = get_origin(expected)
        if hasattr(origin, "__value__"):  # NDArray[...] of numpy 2.5 on: a type alias that has yet to be looked up
            expected = origin.__value__[get_args(expected)]
            origin = get_origin(expected)
        if origin is np.ndarray:
            return self.array(get_args(get_args(expected)[1])[0], data, where)
        if origin in (Union, UnionType):
            return self.union(get_args(expected), data, where)
        if origin is tuple:
            return self.sequence(get_args(expected), data, where)
        if origin is dict:
            return {name: self.read(get_args(expected)[1], item, f"{where}.{name}") for name, item in _typed(data, dict, where).items()}
        if is_dataclass(expected):
            return self.record(expected, data, where)
        if issubclass(expected, IntEnum):
            number = _typed(data, int, where)
            if number not in expected._value2member_map_:
                raise DataError(f"{where}: {number} is no {expected.__name__}; known: {', '.join(f'{m.value} {m.name}' for m in expected)}")
            return expected(number)
        if expected is float:
            return _number(data, where)
        return _typed(data, expected, where)

    def record(self, expected: Any, data: Any, where: str) -> Any:
        known = {f.name: f for f in fields(expected)}
        unknown = set(_typed(data, dict, where)) - set(known)
        missing = {n for n, f in known.items() if n not in data and f.default is MISSING and f.default_factory is MISSING}
        if unknown or missing:
            raise DataError(f"{where}: unknown {sorted(unknown)}, missing {sorted(missing)} in a {expected.__name__}")
        hints = _hints(expected)
        return expected(**{name: self.read(hints[name], item, f"{where}.{name}") for name, item in data.items()})

    def union(self, choices: tuple[Any, ...], data: Any, where: str) -> Any:
        if data is None and NoneType in choices:
            return None
        if bool in choices and isinstance(data, bool):
            return data
        if str in choices and (isinstance(data, str) or float not in choices):
            return _typed(data, str, where)
        return self.read(next(c for c in choices if c not in (NoneType, str, bool)), data, where)

    def sequence(self, items: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
        values = _typed(data, list, where)
        if items[-1] is Ellipsis:
            return tuple(self.read(items[0], value, f"{where}[{i}]") for i, value in enumerate(values))
        if len(values) != len(items):
            raise DataError(f"{where}: {len(values)} values; expected {len(items)}")
        return tuple(self.read(item, value, f"{where}[{i}]") for i, (item, value) in enumerate(zip(items, values, strict=True)))

    def array(self, dtype: type[np.generic], data: Any, where: str) -> NDArray[Any]:
        name = "flags" if dtype is np.bool_ else "numbers"
        if not isinstance(data, dict) or set(data) != {"array", "start", "shape"} or data["array"] != name:
            raise DataError(f"{where}: expected a reference into {name!r}, found {str(data)[:80]}")
        shape = [_typed(n, int, where) for n in _typed(data["shape"], list, where)]
        start, size, pool = _typed(data["start"], int, where), math.prod(shape), self.arrays[name]
        if start < 0 or len(shape) > 2 or min(shape, default=0) < 0 or start + size > len(pool):
            raise DataError(f"{where}: shape {shape} from {start} does not fit into {name!r} of {len(pool)} values")
        return np.array(pool[start : start + size]).reshape(shape)


def _typed(data: Any, expected: type[_T], where: str) -> _T:
    if not isinstance(data, expected) or (expected is int and isinstance(data, bool)):
        raise DataError(f"{where}: expected {expected.__name__}, found {type(data).__name__} {str(data)[:80]}")
    return data


def _number(data: Any, where: str) -> float:
    if isinstance(data, dict) and data.keys() == {"float"} and data["float"] in ("inf", "-inf", "nan"):
        return float(data["float"])
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise DataError(f"{where}: expected a number, found {type(data).__name__} {str(data)[:80]}")
    try:
        return float(data)
    except OverflowError:
        raise DataError(f"{where}: the number is too large") from None
