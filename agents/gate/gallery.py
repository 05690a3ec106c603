"""Replays for the report's gallery: what the player draws of both policies, cut until fifty pairs fit into one page.

What all pairs have in common is held once, what both sides of a pair have in common once per pair, and each pair is deflated: the page
inflates the one that is looked at. `page/gallery.js` is the other end.

Shapes: A agents of an episode, S decision steps of a trace. World frame, SI units.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.gate.drive import BASELINE, CANDIDATE
from agents.gate.failures import failure_of, moment_of
from agents.gate.replays import Replay
from agents.gate.report import Failure
from agents.playback.compact import compact
from agents.playback.trace import OUT_FIELDS, STATE_FIELDS, Trace

__all__ = ["BUDGET", "CUTS", "Item", "cut", "gallery"]

BUDGET = 1_600_000  # bytes of all replays of a page, as text
# s before the moment that are kept, and m from the ego within which others have to come at some time: the first that fits the budget
CUTS = ((math.inf, math.inf), (60.0, 120.0), (30.0, 100.0), (20.0, 80.0), (12.0, 60.0), (8.0, 50.0), (5.0, 40.0))
AFTER = 2.0  # s after the moment, while the other one drives on


@dataclass(frozen=True, kw_only=True)
class Item:
    """A pair to look at."""

    number: int
    title: str
    scenario: str
    seed: int
    moment: float  # s
    failure: Failure | None  # None: it did worse, but did not fail where the baseline passes
    command: str
    sides: tuple[tuple[str, str], ...]  # policy and what became of it, the baseline first


def gallery(
    replays: Sequence[Replay], failures: Sequence[Failure], names: Mapping[str, str], *, budget: int = BUDGET
) -> tuple[list[Item], dict[str, Any], list[str]]:
    """What to show: failures first, in their order, then the other pairs that got worse. names: of the policies, by role.

    Returns the items, what the player needs for all of them, and for each item base64 of deflated JSON, {"shared": ..., "sides": [...]}.
    Raises OSError, TraceError for traces that cannot be read.
    """
    by_pair = {(failure.scenario, failure.seed): failure for failure in failures}
    known = [replay for replay in replays if CANDIDATE in replay.results]
    ordered = sorted(known, key=lambda r: f.number if (f := by_pair.get((r.worse.scenario, r.worse.seed))) else math.inf)
    pairs = [[trace for role in (BASELINE, CANDIDATE) if (trace := replay.trace(role)) is not None] for replay in ordered]
    items = []
    for number, (replay, traces) in enumerate(zip(ordered, pairs, strict=True), start=1):
        failure = by_pair.get((replay.worse.scenario, replay.worse.seed))
        result = replay.results[CANDIDATE]
        what = failure_of(result.end, result.metrics)
        moment = failure.moment if failure else float(traces[-1].times[moment_of(traces[-1], what)])
        sides = tuple(
            (names[role], failure_of(r.end, r.metrics) or "no failure") for role in (BASELINE, CANDIDATE) if (r := replay.results.get(role))
        )
        title = failure.failure if failure else f"worse: {', '.join(replay.worse.metrics)}"
        items.append(
            Item(
                number=number, title=title, scenario=replay.worse.scenario, seed=replay.worse.seed, moment=moment, failure=failure,
                command=replay.worse.command, sides=sides,
            )
        )  # fmt: skip
    for before, reach in CUTS:
        drawn = [_drawn(traces, item.moment, before, reach) for traces, item in zip(pairs, items, strict=True)]
        common = _same([side for sides in drawn for side in sides])
        packed = [_packed(sides, common) for sides in drawn]
        if sum(map(len, packed)) <= budget:
            break
    return items, common, packed


def cut(trace: Trace, begin: float, end: float, reach: float) -> Trace:
    """The part of a trace between two times, with those who come within `reach` m of the ego in it. Not sealed: to be drawn only."""
    times = trace.times
    first = int(np.searchsorted(times, begin, side="right")) - 1 if begin > 0.0 else 0
    last = min(int(np.searchsorted(times, end)), trace.steps) if math.isfinite(end) else trace.steps
    first, last = max(min(first, trace.steps - 1), 0), max(last, min(first + 1, trace.steps))
    count, rows = len(trace.episode.agents), slice(first, last + 1)
    x, y, valid = (trace.states[name][rows, :count].astype(np.float64) for name in ("x", "y", "valid"))
    gap = np.where((valid > 0) & (valid[:, :1] > 0), np.hypot(x - x[:, :1], y - y[:, :1]), np.inf).min(axis=0)
    kept = np.array([i for i in range(count) if i == 0 or (math.isfinite(gap[i]) and gap[i] <= reach)])
    each = {name for name, (_, axes) in (STATE_FIELDS | OUT_FIELDS).items() if axes == ("A",)}
    states = {name: value[rows][:, kept] if name in each else value[rows] for name, value in trace.states.items()}
    outs = {name: value[first:last][:, kept] if name in each else value[first:last] for name, value in trace.outs.items()}
    episode = replace(trace.episode, agents=tuple(trace.episode.agents[i] for i in kept))
    return replace(trace, episode=episode, states=states, outs=outs, actions=trace.actions[first:last], beliefs=None)


def _drawn(traces: Sequence[Trace], moment: float, before: float, reach: float) -> list[dict[str, Any]]:
    """What the player draws of the traces of a pair, all told from one point."""
    begin, end = max(moment - before, 0.0), math.inf if math.isinf(before) else moment + AFTER
    parts = [cut(trace, begin, end, reach) for trace in traces]
    origin = np.array([round(float(parts[0].states[name][0, 0])) for name in "xy"], dtype=np.float64)
    return [compact(part, origin=origin) for part in parts]


def _same(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is equal in all."""
    if len(values) < 2:
        return {}
    return {key: value for key, value in values[0].items() if all(other.get(key) == value for other in values[1:])}


def _packed(sides: Sequence[dict[str, Any]], common: Mapping[str, Any]) -> str:
    rest = [{key: value for key, value in side.items() if key not in common} for side in sides]
    shared = _same(rest)
    value = {"shared": shared, "sides": [{key: v for key, v in side.items() if key not in shared} for side in rest]}
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(packer.compress(text) + packer.flush()).decode()
