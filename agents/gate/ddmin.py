"""Delta debugging: the smallest part of a list that still fails, by Zeller & Hildebrandt, "Simplifying and isolating failure-inducing
input", IEEE Transactions on Software Engineering 28(2), 2002.

A search is a generator: it yields lists of trials in the order in which it would like them to fail, and is sent the index of the first
one that does, or None. So whoever runs the trials can run all of a list at once, and those of several searches together.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import TypeVar

__all__ = ["Search", "ddmin"]

T = TypeVar("T")
Trial = TypeVar("Trial")
Found = TypeVar("Found")
Search = Generator[Sequence[Trial], int | None, Found]


def ddmin(items: Sequence[T]) -> Search[tuple[T, ...], tuple[T, ...]]:
    """A part of `items`, which as a whole fail, that fails and of which no single item can be left out ("1-minimal").

    Figure 4 of the paper. The empty part is tried first, and subsets and complements of one granularity together, subsets first: that is
    fewer rounds for a few more trials. At most n^2 + 3 n trials for n items, about 4 k log2 n where k of them are to blame.
    """
    left, parts, first = tuple(items), 2, [()] if items else []
    while left:
        parts = min(parts, len(left))
        chunks = _split(left, parts) if len(left) > 1 else []
        rests = [tuple(item for other in chunks if other is not chunk for item in other) for chunk in chunks] if parts > 2 else []
        trials: list[tuple[T, ...]] = [*first, *chunks, *rests]
        some = (yield trials) if trials else None
        if some is not None:
            subset = some < len(first) + len(chunks)
            left, parts = trials[some], 2 if subset else max(parts - 1, 2)
        elif parts < len(left):
            parts = 2 * parts
        else:
            break
        first = []
    return left


def _split(items: tuple[T, ...], parts: int) -> list[tuple[T, ...]]:
    """`parts` pieces of nearly equal size, none empty."""
    edges = [len(items) * i // parts for i in range(parts + 1)]
    return [items[a:b] for a, b in pairwise(edges)]
