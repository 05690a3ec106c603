"""Where it goes wrong: by weather, and by what was known of the things that were run into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from agents.evaluation.stats import proportion
from agents.evaluation.struck import CAUSES, Struck
from agents.studies.arms import ANY, SWEEPS
from agents.studies.gap import Outcome, compare, figures
from envs.driving.camera.config import CONDITIONS, CameraConfig
from envs.driving.camera.weather import draw_weather

__all__ = ["BY_HIDDEN", "BY_NOTICED", "by_collision", "by_weather", "conditions", "curves"]

BY_NOTICED = ("never", "< 10 m", "10 to 20 m", "20 to 40 m", "> 40 m")
BY_HIDDEN = ("in sight throughout", "hidden up to half", "hidden more than half")


def conditions(seeds: Sequence[int], weather: str) -> dict[int, str]:
    """The weather that cameras see in the episode of each seed; drawn from the seed if `weather` is any."""
    drawn = draw_weather(torch.tensor(list(seeds), dtype=torch.int64), CameraConfig(weather=weather)).condition
    return {seed: CONDITIONS[int(which)] for seed, which in zip(seeds, drawn, strict=True)}


def by_weather(table: Sequence[Outcome], weather: dict[int, str], own: dict[str, str]) -> list[dict[str, Any]]:
    """Figures of every arm in each weather, and what they are less than with the truth on the same seeds.

    weather: by seed; own: by spec, of arms that were driven in one weather: those are left out, all their episodes are in it.
    Only cameras look through the weather, so what differs between weathers on `truth` is chance, or the episodes themselves.
    """
    by_spec, rows = {outcome.arm.spec: outcome for outcome in table}, []
    for outcome in table:
        if outcome.arm.sweep or outcome.arm.level == ANY or own.get(outcome.arm.spec, "any") != "any":
            continue
        for condition in CONDITIONS:
            mine = {key: r for key, r in outcome.found.items() if weather[key[1]] == condition}
            if not mine:
                continue
            less = compare(mine, by_spec[outcome.truth].found) if outcome.less_truth else None
            rows.append({"arm": outcome.arm, "condition": condition, "figures": figures(mine), "less_truth": less})
    return rows


def by_collision(table: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Of every arm: its collisions by cause (see `Struck`), by distance when the thing was noticed, how long it was hidden, kind."""
    rows = []
    for outcome in table:
        if outcome.arm.sweep:
            continue
        struck = [r.struck for r in outcome.found.values() if r.struck]
        total = sum(r.metrics["collision"] > 0 for r in outcome.found.values())
        errors = [s.error for s in struck if s.error is not None]
        causes, noticed, hidden = Counter(s.cause for s in struck), Counter(map(_noticed, struck)), Counter(map(_hidden, struck))
        rows.append(
            {
                "arm": outcome.arm,
                "collisions": total,
                "known": len(struck),  # those of which it is told what they were with
                "causes": {cause: causes[cause] for cause in CAUSES},
                "share": {cause: proportion(causes[cause], len(struck)) for cause in CAUSES},
                "noticed": {name: noticed[name] for name in BY_NOTICED},
                "hidden": {name: hidden[name] for name in BY_HIDDEN},
                "kinds": dict(Counter(s.kind for s in struck).most_common()),
                "error": sum(errors) / len(errors) if errors else None,
            }
        )
    return rows


def _noticed(struck: Struck) -> str:
    if struck.noticed is None:
        return BY_NOTICED[0]
    return BY_NOTICED[1 + sum(struck.noticed >= edge for edge in (10.0, 20.0, 40.0))]


def _hidden(struck: Struck) -> str:
    return BY_HIDDEN[0 if struck.hidden == 0.0 else 1 if struck.hidden <= 0.5 else 2]


def curves(table: Sequence[Outcome], base: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Sensitivity: by policy and swept option, the outcomes in order of the option's value.

    base: by spec of the arms where nothing is swept, the values of the options there.
    """
    by_spec, rows = {outcome.arm.spec: outcome for outcome in table}, []
    for spec in dict.fromkeys(o.arm.base for o in table if o.arm.sweep):
        for sweep in SWEEPS:
            points = [(o.arm.value, o) for o in table if (o.arm.base, o.arm.sweep) == (spec, sweep)]
            if points:
                points = sorted([*points, (base[spec][sweep], by_spec[spec])], key=lambda point: point[0])
                rows.append({"policy": by_spec[spec].arm.policy, "base": spec, "option": sweep, "points": points})
    return rows
