"""Fitting the error model of robots' level `noisy` to a detector: what it says while experts act by it, in episodes never trained on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.robots.frames import PICTURED
from agents.robots.seen import fit_errors, places, watch
from envs.robots.noise_card import save_noise
from envs.robots.sight import SightConfig

__all__ = ["fit_robots_noise"]


def fit_robots_noise(
    target: str | Path,
    *,
    detector: str = "robots",
    tasks: Sequence[str] = PICTURED,
    episodes: int = 32,
    seed: int = 500_000,
    card: dict[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Watch `episodes` of each task from `seed` on, write the card to `target` (.json). Returns what was measured, a row a thing.

    progress: called with the episodes done since it was called last. Raises WeightsError for a detector that cannot be used.
    """
    begun, tables, rows, looks = time.monotonic(), {}, [], 0
    for task in tasks:
        found = watch(task, seeds=np.arange(seed, seed + episodes), sight=SightConfig(detector=detector))
        tables[task] = fit_errors(found)
        rows += places(found)
        looks += int(found.alive.sum())
        if progress is not None:
            progress(episodes)
    told = {
        "what": "error model of the robots' detector, for the observation level noisy",
        "data": f"{episodes} episodes a task of its expert acting on what it perceives, seeds {seed} up; {looks} looks",
        "seed": seed,
        **(card or {}),
        "measured": rows,
        "seconds": round(time.monotonic() - begun, 1),
        "licence": "Apache-2.0",
    }
    save_noise(target, tables, card=told)
    return {"card": str(target), "looks": looks, "measured": rows}
