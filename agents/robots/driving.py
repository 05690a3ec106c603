"""The expert of `diff_drive_nav`: the way round obstacles by search, and a drive among people by looking ahead.

The way: `envs.robots.way`. The drive: the dynamic window (Fox, Burgard and Thrun, "The dynamic window approach to collision avoidance",
1997), of some pairs of speed and turn that the base can reach. People go on at constant velocity, or as a predictor says
(`agents.robots.forecasting`): then what is lost by a drive is that of each of a person's futures, weighted by how likely it is.

Shapes: B worlds, O obstacles, P people, K candidates, M futures of a person, T times ahead, Q points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from envs.robots.robots import Robots
from envs.robots.room import BASE, PERSON
from envs.robots.tasks.diff_drive_nav import FORWARD, NEAR, TURN, DiffDriveNav
from envs.robots.way import SIDE, between, ways

__all__ = ["DiffDriveExpert", "Foresee", "Foreseen", "straight_on"]

Floats = NDArray[np.float64]

KEEP = 0.06  # m, between the base and what stands
SPEEDS = (-0.25, 0.0, 0.2, 0.4, 0.6, 0.8)  # m/s
TURNS = (-2.0, -1.2, -0.7, -0.35, 0.0, 0.35, 0.7, 1.2, 2.0)  # rad/s
PULL, TWIST = 3.0, 10.0  # m/s^2 and rad/s^2: how fast the base takes up speed and turn
AHEAD, STEP = 2.0, 0.2  # s looked ahead, and between moments
NOSE = 0.4  # m before the end of the look ahead, where the way is asked for too: it says which way to face
SPACE, SHY = 0.12, 0.25  # m kept from people, and m beyond it in which they are shunned
SURE, FADE = 1.6, 0.5  # how much they are, in m of way a second; 1/s, by which what is later counts less

BLUR = 0.15  # m of way: the mean of candidates is taken, each by the exponential of its score in these, as in MPPI


class Foreseen(NamedTuple):
    """Where people will be."""

    place: Floats  # (B, P, M, T, 2) m, world frame
    chance: Floats  # (B, P, M) of each future, adds up to 1
    known: NDArray[np.bool_]  # (B, P) who is there; what is told of others means nothing


Foresee = Callable[[Robots, Floats], Foreseen]  # worlds, and times (T,) s from now


def straight_on(robots: Robots, times: Floats) -> Foreseen:
    """One future: everybody goes on at constant velocity."""
    people = robots.objects()
    later = people.position[:, :, None, :2] + people.velocity[:, :, None, :2] * times[:, None]  # (B, P, T, 2)
    return Foreseen(later[:, :, None], np.ones((*later.shape[:2], 1)), people.position[..., 2] > 0.2)


class DiffDriveExpert:
    """Searches the way on the map of the room, and looks two seconds ahead to drive along it past the people that it knows of.

    foresee: where those will be. It is asked once a decision, so it may remember.
    """

    def __init__(self, robots: Robots, foresee: Foresee = straight_on) -> None:
        self.task, self.foresee = cast(DiffDriveNav, robots.task), foresee
        self.map = np.full((robots.batch, 12), np.nan)  # what the fields are of
        self.field, self.room = np.zeros((2, robots.batch, SIDE, SIDE))
        pairs = np.array([(v, w) for v in SPEEDS for w in TURNS if abs(v) + 0.2 * abs(w) < 1.0])
        self.speed, self.turn = pairs.T  # (K,)
        self.times: Floats = np.asarray(STEP * np.arange(1, round(AHEAD / STEP) + 1), dtype=np.float64)

    def act(self, robots: Robots) -> Floats:
        """See the class."""
        physics, task = robots.physics, self.task
        places, goal = task.places(physics), task.goal(physics)
        self._search(places, goal)
        x, y, yaw = self._roll(robots)  # (B, K, T)
        moments = x.shape[2]
        room = between(self.room, x, y) - KEEP
        beside, above = x - goal[:, :1, None], y - goal[:, 1:, None]
        arrived = np.maximum.accumulate(beside * beside + above * above < (NEAR - 0.05) ** 2, axis=-1)
        open_ = np.where(arrived, 0.0, 1.0)
        hit = 40.0 * (np.minimum(room, 0.0) * open_).min(-1) - 20.0 * ((room < 0.0) & ~arrived).any(-1)
        worst, shun = self._company(self.foresee(robots, self.times), x, y, open_)
        end = between(self.field, x[..., -1], y[..., -1]) * open_[..., -1]
        middle = between(self.field, x[..., moments // 2], y[..., moments // 2]) * open_[..., moments // 2]
        nose = between(self.field, x[..., -1] + NOSE * np.cos(yaw[..., -1]), y[..., -1] + NOSE * np.sin(yaw[..., -1])) * open_[..., -1]
        score = hit + 60.0 * worst - SURE * shun - end - 0.5 * middle - 1.0 * nose - 0.3 * STEP * open_.sum(-1)
        weight = np.exp((score - score.max(1, keepdims=True)) / BLUR)
        weight /= weight.sum(1, keepdims=True)
        return np.stack([(weight * self.speed).sum(1) / FORWARD, (weight * self.turn).sum(1) / TURN], axis=1)

    def _company(self, people: Foreseen, x: Floats, y: Floats, open_: Floats) -> tuple[Floats, Floats]:
        """What candidates at x, y (B, K, T) lose by people, as long as they are under way, open_ (B, K, T): (B, K) each.

        How far they get into somebody's space, m, at worst; and how long they are near people, s. Of each person the mean over futures.
        """
        worst, shun = np.zeros((2, *x.shape[:2]))
        fade = np.exp(-FADE * self.times)
        for k in range(people.known.shape[1]):
            one = people.known[:, k, None, None] * open_
            deep, near = np.zeros((2, *x.shape[:2]))
            for mode in np.flatnonzero(people.chance[:, k].any(0)).tolist():
                chance, at = people.chance[:, k, mode, None], people.place[:, k, mode, None]  # (B, 1), (B, 1, T, 2)
                beside, above = x - at[..., 0], y - at[..., 1]
                gap = np.sqrt(beside * beside + above * above) - BASE - PERSON - SPACE
                deep = deep + chance * (np.minimum(gap, 0.0) * one * fade).min(-1)
                near = near + chance * (np.exp(-np.maximum(gap, 0.0) / SHY) * one * fade).sum(-1)
            worst, shun = np.minimum(worst, deep), shun + near * STEP
        return worst, shun

    def _search(self, places: Floats, goal: Floats) -> None:
        """Fields of the worlds whose map is another than it was."""
        told = np.concatenate([places.reshape(len(places), -1), goal], axis=1)
        for world in np.flatnonzero((told != self.map).any(1)).tolist():
            self.field[world], self.room[world] = ways(places[world], goal[world])
        self.map = told

    def _roll(self, robots: Robots) -> tuple[Floats, Floats, Floats]:
        """Where the candidates lead: x, y, yaw (B, K, T)."""
        physics = robots.physics
        base, axes = physics.site("base"), physics.frame("base")
        velocity, turning = physics.sensor("base_velocity"), physics.sensor("base_turning")
        v = (velocity * axes[:, :, 0]).sum(-1)[:, None] + 0.0 * self.speed
        w = turning[:, 2:3] + 0.0 * self.turn
        yaw = np.arctan2(axes[:, 1, 0], axes[:, 0, 0])[:, None] + 0.0 * self.turn
        x, y = base[:, :1] + 0.0 * self.speed, base[:, 1:2] + 0.0 * self.speed
        out = []
        for _ in self.times:
            v = v + np.clip(self.speed - v, -PULL * STEP, PULL * STEP)
            w = w + np.clip(self.turn - w, -TWIST * STEP, TWIST * STEP)
            x, y = x + STEP * v * np.cos(yaw + 0.5 * STEP * w), y + STEP * v * np.sin(yaw + 0.5 * STEP * w)
            yaw = yaw + STEP * w
            out.append((x, y, yaw))
        x, y, yaw = (np.stack(part, axis=-1) for part in zip(*out, strict=True))
        return x, y, yaw
