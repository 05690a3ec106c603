"""How well robots see: what the detector says of things beside the truth, and how far off is what is believed of them.

Episodes are an expert's who acts by what it perceives. Shapes: T looks, B worlds, C cameras, K things.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from agents.robots.experts import Expert, expert_for
from envs.robots.hidden import SHOWN, shown
from envs.robots.perceived import Perceiving
from envs.robots.physics import Floats
from envs.robots.registry import task_named
from envs.robots.robots import Robots
from envs.robots.sight import SightConfig
from envs.robots.task import Objects, Scanned
from envs.robots.tracking import projected

__all__ = ["Watched", "fit_errors", "places", "play", "watch", "whose"]

Bools = NDArray[np.bool_]
ERRORS = ("bias", "sigma", "memory")
FEW = 10  # sightings or looks below which nothing is measured on them
WRONG = 4.0  # px from the thing, and half of what it measures in the picture: a sighting beyond is of something else


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What was seen and believed in episodes of a task."""

    task: str
    cameras: tuple[str, ...]
    things: tuple[str, ...]
    alive: Bools  # (T, B) whether the episode goes on
    inside: Bools  # (T, B, C, K) whether the thing is within the picture, hidden or not
    shown: NDArray[np.int64]  # (T, B, C, K) how much of it can be seen, as of `envs.robots.hidden`
    mask: Bools  # (T, B, C, K) whether the detector says anything
    error: Floats  # (T, B, C, K, 3) of u px, v px and the distance's logarithm
    wide: Floats  # (T, B, C, K) px that the thing measures
    said: Floats  # (T, B, C, K, 2) what the detector says of its errors: px, and share of the distance
    seen: Bools  # (T, B, K) whether some camera's sighting was made use of
    known: Bools  # (T, B, K) whether it was ever
    off: Floats  # (T, B, K) m between where it is and where it is believed to be
    speed_off: Floats  # (T, B, K) m/s of its velocity
    success: Bools  # (B,)
    returns: Floats  # (B,)


def play(
    robots: Robots, seeds: NDArray[np.int64], make: Callable[[Robots], Expert] = expert_for, look: Callable[[Bools], None] | None = None
) -> tuple[Bools, Floats]:
    """One episode in every world: success (B,) and return (B,). look: called at each decision with the worlds whose episode goes on."""
    robots.reset(seeds)
    alive, won, returns = np.ones(robots.batch, dtype=np.bool_), np.zeros(robots.batch, dtype=np.bool_), np.zeros(robots.batch)
    player = make(robots)
    while alive.any():
        if look is not None:
            look(alive)
        step = robots.step(player.act(robots))
        over = (step.terminated | step.truncated) & alive
        won |= over & step.success
        returns[over] = robots.returns[over]
        alive &= ~over
    return won, returns


def watch(task: str, *, seeds: NDArray[np.int64], sight: SightConfig | None = None, level: str = "perceived") -> Watched:
    """Let a task's expert act on what it perceives, and look over its shoulder."""
    robots = Robots(task_named(task), batch=len(seeds), observation=level, sight=sight)
    notes: list[tuple[Any, ...]] = []
    everywhere = np.arange(robots.batch)
    named = np.broadcast_to(np.arange(len(robots.task.things)), (robots.batch, len(robots.task.things)))

    def look(alive: Bools) -> None:
        sight = robots.sight
        assert isinstance(sight, Perceiving) and sight.seen is not None
        found, eyes, seen = robots.task.locate(robots.physics), sight.eyes(everywhere), sight.seen
        believed, tracks = sight.objects(), sight.belief.tracks
        order = whose(found.position, believed.position, tracks.known) if isinstance(robots.task, Scanned) else named
        truth = Objects._make(np.take_along_axis(part, order[..., None], 1) for part in found)
        place = np.stack([projected(truth.position, eyes, camera)[0] for camera in range(len(sight.names))], axis=1)
        inside = ((place[..., :2] >= 0) & (place[..., :2] < np.array(eyes.size))).all(-1) & (place[..., 2] > 0.02)
        far = np.log(np.maximum(seen.depth, 1e-3) / np.maximum(place[..., 2], 1e-3))
        off, speed = (np.sqrt(((a - b) ** 2).sum(-1)) for a, b in zip(believed, truth, strict=True))
        wide = sight.focal[:, None] * np.array([thing.size for thing in robots.task.things]) / np.maximum(place[..., 2], 0.02)
        said = np.stack([seen.pixel_sigma, seen.depth_sigma / np.maximum(seen.depth, 1e-3)], axis=-1)
        error = np.concatenate([seen.pixel - place[..., :2], far[..., None]], axis=-1)
        free = shown(robots.physics, robots.task.things, found.position, eyes, everywhere)
        free = np.take_along_axis(free, order[:, None], 2)
        notes.append((alive.copy(), inside, free, seen.mask.copy(), error, wide, said, tracks.unseen == 0, tracks.known.copy(), off, speed))

    try:
        success, returns = play(robots, seeds, look=look)
    finally:
        robots.close()
    names = ("alive", "inside", "shown", "mask", "error", "wide", "said", "seen", "known", "off", "speed_off")
    told: dict[str, Any] = {name: np.stack(parts) for name, parts in zip(names, zip(*notes, strict=True), strict=True)}
    things = tuple(thing.geoms[0] for thing in robots.task.things)
    return Watched(task=task, cameras=robots.task.cameras[:-1], things=things, success=success, returns=returns, **told)


def whose(truth: Floats, believed: Floats, known: Bools) -> NDArray[np.int64]:
    """(B, K) which thing at truth (B, K, 3) each belief is of, where a lidar cannot tell who is who: the least distances in sum."""
    far = np.where(known[..., None], np.sqrt(((believed[:, :, None] - truth[:, None]) ** 2).sum(-1)), 0.0)
    return np.stack([linear_sum_assignment(cost)[1] for cost in far])


def places(found: Watched) -> list[dict[str, Any]]:
    """For each thing: error of place (mean, 95 %; cm) while it is seen and ever since, of velocity, of sightings."""
    rows = []
    for k, thing in enumerate(found.things):
        known = found.alive & found.known[..., k]
        now = known & found.seen[..., k]
        told = found.alive[..., None] & found.inside[..., k] & found.mask[..., k] & ~_wrong(found)[..., k]
        rows.append(
            {
                "task": found.task,
                "thing": thing,
                "seen": float(now.sum() / found.alive.sum()),
                "cm": _figures(100.0 * found.off[now][:, k] if now.any() else np.zeros(0)),
                "cm_ever": _figures(100.0 * found.off[known][:, k] if known.any() else np.zeros(0)),
                "speed": _figures(found.speed_off[now][:, k] if now.any() else np.zeros(0)),
                "px": float(np.sqrt((found.error[..., k, :2][told] ** 2).mean())) if told.any() else None,
                "depth": float(found.error[..., k, 2][told].std()) if told.any() else None,
            }
        )
    return rows


def fit_errors(found: Watched) -> dict[str, list[dict[str, Any]]]:
    """The tables of `envs.robots.noise` for a task: camera -> one a thing -> how much is shown of it -> figures.

    What was seen right fewer than 10 times while `hidden` is taken to be missed always. The others take what they have too few looks for
    from all of that camera's looks at that thing while it was not hidden, and are missed always too if those are too few.
    """
    return {
        camera: [
            {name: _fitted(found, c, k, found.shown[:, :, c, k] == number, hidden=number == 0) for number, name in enumerate(SHOWN)}
            for k in range(len(found.things))
        ]
        for c, camera in enumerate(found.cameras)
    }


def _fitted(found: Watched, c: int, k: int, which: Bools, *, hidden: bool) -> dict[str, Any]:
    """What a camera says of a thing at the looks (T, B) of `which`."""
    wrong = _wrong(found)[:, :, c, k]
    due = found.alive & found.inside[:, :, c, k]  # (T, B)
    told = due & found.mask[:, :, c, k]
    every = which if hidden else found.shown[:, :, c, k] > 0  # what else it may be measured on: what hides for long would last too long
    right = _enough(told & ~wrong & which, told & ~wrong & every)  # of errors
    looks = int((due & which).sum())
    if np.count_nonzero(right) < FEW:
        return {"lost": 1.0, "lasting": 1.0, "wrong": 0.0, **{name: [0.0] * 3 for name in ERRORS}, "said": [1.0, 1.0], "looks": looks}
    now, anywhere = (due & which)[1:] & due[:-1], (due & every)[1:] & due[:-1]
    error = found.error[:, :, c, k]  # (T, B, 3)
    bias, sigma = error[right].mean(0), error[right].std(0)
    both = right[1:] & right[:-1]
    first, then = (error[:-1] - bias)[both], (error[1:] - bias)[both]
    memory = (first * then).mean(0) / np.maximum(sigma**2, 1e-12) if both.any() else np.zeros(3)
    row = {
        "lost": _share(~told[1:], _enough(now & told[:-1], anywhere & told[:-1])),
        "lasting": _share(~told[1:], _enough(now & ~told[:-1], anywhere & ~told[:-1])),
        "wrong": _share(wrong, _enough(told & which, told & every)),
        "bias": bias,
        "sigma": sigma,
        "memory": np.clip(memory, 0.0, 0.95),
        "said": np.median(found.said[:, :, c, k][right], axis=0),
    }
    return {name: np.round(value, 5).tolist() for name, value in row.items()} | {"looks": looks}


def _enough(own: Bools, others: Bools) -> Bools:
    """A row's own looks, or those of all rows where there are too few."""
    return own if np.count_nonzero(own) >= FEW else others


def _wrong(found: Watched) -> Bools:
    """(T, B, C, K) sightings of something else."""
    away = np.sqrt((found.error[..., :2] ** 2).sum(-1))
    return np.asarray(found.mask & (away > np.maximum(WRONG, 0.5 * found.wide)))


def _figures(values: Floats) -> dict[str, float | None]:
    if not len(values):
        return {"mean": None, "p95": None}
    return {"mean": float(values.mean()), "p95": float(np.quantile(values, 0.95))}


def _share(what: Bools, of: Bools) -> float:
    """1/2 more of each than there were, so that what never happened is not impossible."""
    return float((np.count_nonzero(what & of) + 0.5) / (np.count_nonzero(of) + 1.0))
