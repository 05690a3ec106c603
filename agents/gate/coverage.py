"""Which part of what a scenario can draw was driven, and where the candidate fails: every drawn parameter in bins.

A parameter is called by its path in the file ("road.ramp_length"), as in `Episode.drawn`. Those of single vehicles of a flow are not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scenarios import ScenarioError, load, sample
from scenarios.distributions import Choice, Distribution, Integer
from scenarios.quantities import QuantityModel

__all__ = ["BINS", "MOST", "Bin", "Parameter", "coverage", "distributions"]

BINS = 8
MOST = 400  # episodes of a stratum that are drawn again for this


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One of the parts that a parameter's range is cut into."""

    label: str
    tried: int  # episodes
    failed: int  # of them, where the candidate failed


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a stratum."""

    path: str
    bins: tuple[Bin, ...]


def coverage(spec: str, outcomes: Mapping[int, bool]) -> list[Parameter]:
    """The parameters of a stratum. outcomes: by seed, whether the candidate failed; the first `MOST` count."""
    scenario = load(spec)
    found = dict(distributions(scenario.model))
    counts: dict[str, list[list[int]]] = {path: [[0, 0] for _ in _labels(drawn)] for path, drawn in found.items()}
    seen: set[str] = set()
    for seed in sorted(outcomes)[:MOST]:
        try:
            values = sample(scenario, seed).drawn
        except ScenarioError:  # cannot be laid out: it was lost, which the report says
            continue
        for path, value in values.items():
            k = _bin(found[path], value) if path in found else None
            if k is not None:
                counts[path][k][0] += 1
                counts[path][k][1] += outcomes[seed]
                seen.add(path)
    return [
        Parameter(
            path=path,
            bins=tuple(
                Bin(label=label, tried=tried, failed=failed) for label, (tried, failed) in zip(_labels(drawn), counts[path], strict=True)
            ),
        )
        for path, drawn in found.items()
        if path in seen
    ]


def distributions(model: QuantityModel, path: str = "") -> Iterator[tuple[str, Distribution]]:
    """Path and distribution of everything in a model that is drawn, as `QuantityModel.resolve` calls it."""
    for name in type(model).model_fields:
        yield from _within(getattr(model, name), f"{path}.{name}" if path else name)


def _within(value: Any, path: str) -> Iterator[tuple[str, Distribution]]:
    if isinstance(value, Distribution):
        yield path, value
    elif isinstance(value, QuantityModel):
        yield from distributions(value, path)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _within(item, f"{path}[{i}]")


def _labels(drawn: Distribution) -> list[str]:
    values = _values(drawn)
    if values is not None:
        return [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    edges = [drawn.low + (drawn.high - drawn.low) * i / BINS for i in range(BINS + 1)]
    return [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)]


def _values(drawn: Distribution) -> Sequence[Any] | None:
    """What there is to choose from, where that is little."""
    if isinstance(drawn, Choice):
        return list(dict.fromkeys(drawn.values))
    if isinstance(drawn, Integer) and drawn.high - drawn.low < BINS:
        return list(range(int(drawn.low), int(drawn.high) + 1))
    return None


def _bin(drawn: Distribution, value: bool | float | str) -> int | None:
    values = _values(drawn)
    if values is not None:
        return values.index(value) if value in values else None
    if isinstance(value, str) or drawn.high <= drawn.low:
        return 0 if value == drawn.low else None
    return min(max(int((value - drawn.low) / (drawn.high - drawn.low) * BINS), 0), BINS - 1)
