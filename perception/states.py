"""Explicit state: nested NamedTuples of tensors whose first dimension is worlds. Moving, saving, loading, resetting them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["from_arrays", "map_tensors", "move", "select", "tensors", "to_arrays"]

S = TypeVar("S")


def map_tensors(function: Callable[..., Tensor], first: S, *others: Any) -> S:
    """`function` of the tensors at the same place of states of the same type; a part that is None stays so.

    Raises TypeError for anything but NamedTuples of tensors.
    """
    if first is None:
        if any(other is not None for other in others):
            raise TypeError("a part of a state is None in one and not in another")
        return first
    if isinstance(first, Tensor):
        return cast(S, function(first, *others))
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return cast(S, type(first)(*(map_tensors(function, *parts) for parts in zip(first, *others, strict=True))))
    raise TypeError(f"a state consists of NamedTuples of tensors, not of {type(first).__name__}")


def tensors(state: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors with their dotted names: ("tracker.target.x", ...). A part that is None has none."""
    if state is None:
        return
    if isinstance(state, Tensor):
        yield prefix, state
        return
    if not hasattr(state, "_fields"):
        raise TypeError(f"{prefix or 'state'}: a state consists of NamedTuples of tensors, not of {type(state).__name__}")
    for name, value in zip(state._fields, state, strict=True):
        yield from tensors(value, f"{prefix}.{name}" if prefix else name)


def move(state: S, device: torch.device | str) -> S:
    """The state on another device."""
    return map_tensors(lambda tensor: tensor.to(device), state)


def select(mask: Tensor, new: S, old: S) -> S:
    """`new` in the worlds of mask (B,) bool, `old` in the others."""
    return map_tensors(lambda a, b: torch.where(mask.view(-1, *(1,) * (a.dim() - 1)), a, b), new, old)


def to_arrays(state: Any) -> dict[str, NDArray[Any]]:
    """The state as named arrays, for files."""
    return {name: value.detach().cpu().numpy().copy() for name, value in tensors(state)}


def from_arrays(like: S, arrays: Mapping[str, NDArray[Any]]) -> S:
    """What `to_arrays` gave as a state again, on the device of `like`, whose types and shapes it must have.

    Raises ValueError naming the arrays that are missing, unknown, or of another shape or type.
    """
    wanted = dict(tensors(like))
    if missing := sorted(wanted.keys() - arrays.keys()):
        raise ValueError(f"arrays are missing: {', '.join(missing[:5])}")
    if unknown := sorted(arrays.keys() - wanted.keys()):
        raise ValueError(f"arrays that belong to nothing: {', '.join(unknown[:5])}")
    for name, value in wanted.items():
        given, expected = np.asarray(arrays[name]), value.detach().cpu().numpy()
        if given.shape != expected.shape or given.dtype != expected.dtype:
            raise ValueError(f"{name}: {given.dtype} of shape {given.shape}; expected {expected.dtype} of shape {expected.shape}")
    order = iter(wanted)
    return map_tensors(lambda tensor: torch.from_numpy(np.array(arrays[next(order)])).to(tensor.device), like)
