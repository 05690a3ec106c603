"""Where people in a robot's room will be, by any predictor of `perception.prediction`: what is believed of them as `Tracks` and `History`.

All is in the world's frame, which takes the place of the ego's: the base is the ego in it. Decisions come at 10 Hz, pasts as predictors
know them at 5 Hz: every second belief is told, counted back from now, so that every decision has a past that ends now.

Shapes: B worlds, P people, L decisions remembered, K modes, T moments ahead.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.robots.driving import Foreseen
from envs.robots.physics import Floats
from envs.robots.robots import Robots
from envs.robots.room import PERSON
from perception.prediction.base import WALKERS, Predictor, at_times, no_roads
from perception.prediction.examples import tracks_from
from perception.prediction.history import PAST, History
from perception.types import Tracks

__all__ = ["EVERY", "LONG", "Forecaster", "Memory", "Now", "as_seen", "look", "none_remembered", "remember"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EVERY = 2  # decisions between the instants that predictors are told: 5 Hz, 1.4 s of past
LONG = EVERY * (PAST - 1) + 1  # L
KNEE = 0.2  # m, below which nobody's middle is: at the origin is who has never been seen
SIZE = (2.0 * PERSON, 2.0 * PERSON, 1.7)  # m
AT_REST = 1e-3  # m/s


class Now(NamedTuple):
    """What is believed at one decision."""

    people: Floats  # (B, P, 4) x, y m, vx, vy m/s
    known: Bools  # (B, P) seen at all
    base: Floats  # (B, 5) x, y m, vx, vy m/s, yaw rad


class Memory(NamedTuple):
    """All that forecasts depend on: the last beliefs of the episode, the newest last. No part is ever written to."""

    seed: Ints  # (B,) of the episode
    step: Ints  # (B,) decisions taken in it at the newest; -1: nothing is remembered
    kept: Ints  # (B,) beliefs remembered of it, at most L
    people: Floats  # (B, L, P, 4)
    known: Bools  # (B, L, P)
    base: Floats  # (B, L, 5)


def look(robots: Robots) -> Now:
    """What is believed now, on whatever level of seeing the worlds are."""
    told, physics = robots.objects(), robots.physics
    axes = physics.frame("base")
    yaw = np.arctan2(axes[:, 1, 0], axes[:, 0, 0])[:, None]
    people = np.concatenate([told.position[..., :2], told.velocity[..., :2]], axis=-1)
    base = np.concatenate([physics.site("base")[:, :2], physics.sensor("base_velocity")[:, :2], yaw], axis=1)
    return Now(people, told.position[..., 2] > KNEE, base)


def none_remembered(batch: int, people: int) -> Memory:
    """Nothing."""
    zero = np.zeros(batch, dtype=np.int64)
    known = np.zeros((batch, LONG, people), dtype=np.bool_)
    return Memory(zero, zero - 1, zero, np.zeros((batch, LONG, people, 4)), known, np.zeros((batch, LONG, 5)))


def remember(memory: Memory, now: Now, seed: Ints, step: Ints) -> Memory:
    """One belief more, of decision `step` (B,) of the episodes `seed` (B,).

    Where that is not the next decision of the episode remembered, memory begins anew; where it is the same one, it takes the place of the
    newest.
    """
    same = (memory.seed == seed) & (memory.step >= 0)
    again, goes_on = same & (memory.step == step), same & (memory.step + 1 == step)
    kept = np.where(again, memory.kept, np.where(goes_on, np.minimum(memory.kept + 1, LONG), 1))

    def pushed(past: NDArray[np.generic], newest: NDArray[np.generic]) -> NDArray[np.generic]:
        rest = np.where(again.reshape(-1, *([1] * (past.ndim - 1))), past[:, :-1], past[:, 1:])
        return np.concatenate([rest, newest[:, None]], axis=1)

    parts = (pushed(past, newest) for past, newest in zip(memory[3:], now, strict=True))
    return Memory(seed.copy(), step.copy(), kept, *parts)  # type: ignore[arg-type]


def as_seen(memory: Memory, dt: float) -> tuple[History, Tracks]:
    """Pasts, and people now, as predictors take them; float32. dt: s a decision.

    Row p is always person p as the worlds count them. Who goes looks that way; who rests looks to the base, for a direction of the room's
    own would let forecasts depend on how the room is turned.
    """
    at = slice(None, None, EVERY)  # the newest is the last one of LONG
    people, base = memory.people[:, at], memory.base[:, at]  # (B, PAST, P, 4), (B, PAST, 5)
    old = EVERY * np.arange(PAST - 1, -1, -1)  # decisions ago
    held = old < memory.kept[:, None]  # (B, PAST)
    rests = (people[..., 2:] ** 2).sum(-1) < AT_REST**2
    way = np.where(rests[..., None], base[:, :, None, :2] - people[..., :2], people[..., 2:])
    yaw = np.arctan2(way[..., 1], way[..., 0])
    past = torch.from_numpy(np.moveaxis(np.concatenate([people, yaw[..., None]], axis=-1), 1, 2)).float()  # (B, P, PAST, 5)
    x, y, vx, vy, heading = (part.contiguous() for part in past.unbind(-1))
    valid = torch.from_numpy(np.moveaxis(memory.known[:, at] & held[..., None], 1, 2)).contiguous()
    mask = valid[..., -1]
    newest = past[:, :, -1]
    tracks = tracks_from(
        torch.full(mask.shape, WALKERS), newest[..., :4].contiguous(), newest[..., 4].contiguous(),
        torch.tensor(SIZE).expand(*mask.shape, 3), mask,
    )  # fmt: skip
    history = History(
        id=tracks.id, x=x, y=y, vx=vx, vy=vy, yaw=heading, valid=valid,
        ego=torch.from_numpy(base).float(),
        ego_valid=torch.from_numpy(held),
        stamp=torch.from_numpy(-dt * old).float().expand(len(base), PAST),
    )  # fmt: skip
    return history, tracks


class Forecaster:
    """Foresees the people of a batch of worlds for who drives there (`agents.robots.driving.Foresee`).

    It remembers. `memory` is its whole state: kept, and set again beside the worlds' own, it goes on exactly.
    """

    def __init__(self, robots: Robots, predictor: Predictor) -> None:
        self.predictor = predictor
        self.memory = none_remembered(robots.batch, len(robots.task.things))

    def __call__(self, robots: Robots, times: Floats) -> Foreseen:
        """People at `times` (T,) s from now, at most 5 s, in world frame. Takes note of what is believed now."""
        now = look(robots)
        self.memory = remember(self.memory, now, robots.seeds, robots.steps)
        history, tracks = as_seen(self.memory, robots.dt)
        told = self.predictor.predict(history, tracks, no_roads(robots.batch))
        told = at_times(told, tracks, torch.from_numpy(times).float())
        return Foreseen(told.mean.double().numpy(), told.probability.double().numpy(), now.known)
