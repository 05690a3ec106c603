"""From what cameras say of things to where they are: an extended Kalman filter a thing, in space.

A camera tells two pixels and, as a thing's size is known, a distance; a known plane tells one coordinate. One camera, a pair of them and a
plane thus need no code of their own: all that is told is weighed by how sure it is (Bar-Shalom, Li and Kirubarajan, "Estimation with
Applications to Tracking and Navigation", 2001, chapters 6 and 10). Things move at constant velocity, disturbed by accelerations of their
`agility`, or fall. All numbers are computed one by one, never by matrix products: the same bits in any batch.

Shapes: n worlds, K things, C cameras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.robots.physics import Floats
from envs.robots.task import Thing

__all__ = ["GRAVITY", "Eyes", "Hold", "Sightings", "Tracks", "Tracker", "projected"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

PLACE, VELOCITY = slice(0, 3), slice(3, 6)  # of the state
GRAVITY = 9.81  # m/s^2, MuJoCo's default
AROUND = 0.3  # m, standard deviation of where a thing is, before what is first seen of it is weighed
ON_PLANE = 0.001  # m, likewise of what is known to be on a plane, off it
USUAL, GATE = 9.0, 100.0  # squared deviations (2 degrees of freedom) up to which a sighting counts in full, and beyond which it does not
FALL_GATE = 20.0  # of what falls, likewise: it does as it must until it touches something, and then at once does not
PATIENCE, STILL_PATIENCE = 3, 25  # looks in a row with all sightings beyond the gate, after which a filter begins anew; what never moves
GRASP, GRASP_SPEED = 0.007, 0.05  # m and m/s, deviations of what is held from the tool
GRASP_REACH = 0.03  # m from the tool, within which something must be believed to be held
HELD = 8.0  # m/s^2, agility of what is held: the arm's
COAST = 0.1  # s, that a thing nobody sees is believed to go on as it went; then it is taken to rest where it was last seen
ROUNDS = 2  # of the iterated filter: linearised where the round before ended
FIRST_ROUNDS = 4  # the same at a first sight


class Eyes(NamedTuple):
    """Where cameras are, and what their pictures are like. A point appears as `envs.robots.camera.Lens` says."""

    position: Floats  # (n, C, 3) m
    axes: Floats  # (n, C, 3, 3): right, down, forward as columns
    focal: Floats  # (C,) px
    size: tuple[int, int]  # px, width and height


class Sightings(NamedTuple):
    """What cameras say of things at one moment, and how sure they are."""

    mask: Bools  # (n, C, K) whether a camera says anything
    pixel: Floats  # (n, C, K, 2) u, v of the middle
    depth: Floats  # (n, C, K) m along the optical axis
    pixel_sigma: Floats  # (n, C, K) px, standard deviation
    depth_sigma: Floats  # (n, C, K) m


class Hold(NamedTuple):
    """What the hand feels."""

    mask: Bools  # (n, K) whether it grasps something of the thing's size
    place: Floats  # (n, 3) m, of the tool
    velocity: Floats  # (n, 3) m/s


class Tracks(NamedTuple):
    """What is believed of things: all that a filter remembers."""

    mean: Floats  # (n, K, 6) place m and velocity m/s
    covariance: Floats  # (n, K, 6, 6)
    rest: Floats  # (n, K, 3) m, where it was last seen
    known: Bools  # (n, K) whether it was ever seen
    unseen: Ints  # (n, K) looks since it was last seen
    misfit: Ints  # (n, K) looks in a row at which it was not where it was expected

    def at(self, rows: Ints) -> Tracks:
        """Of some worlds."""
        return Tracks._make(part[rows] for part in self)

    @staticmethod
    def none(worlds: int, things: int) -> Tracks:
        """Nothing is known."""
        shape = (worlds, things)
        zero = np.zeros(shape, dtype=np.int64)
        return Tracks(
            np.zeros((*shape, 6)), np.zeros((*shape, 6, 6)), np.zeros((*shape, 3)), np.zeros(shape, dtype=np.bool_), zero, zero.copy()
        )


class Tracker:
    """The filter of a task's things. dt: s between looks."""

    def __init__(self, things: Sequence[Thing], dt: float) -> None:
        self.things, self.dt = tuple(things), dt
        self.agility = np.array([thing.agility for thing in things])  # (K,)
        self.speed = np.array([thing.speed for thing in things])
        self.falls = np.array([thing.falls for thing in things])
        self.moves = self.speed > 0.0
        self.on_plane = np.array([thing.plane is not None for thing in things])
        self.axis = np.array([thing.plane[0] if thing.plane else 0 for thing in things])
        self.level = np.array([thing.plane[1] if thing.plane else 0.0 for thing in things])
        self.coast = max(1, round(COAST / dt))  # looks

    def update(self, tracks: Tracks, eyes: Eyes, seen: Sightings, hold: Hold) -> Tracks:
        """One look later."""
        away = tracks.mean[..., :3] - hold.place[:, None]
        held = hold.mask & tracks.known & ((away * away).sum(-1) < GRASP_REACH**2)  # (n, K)
        ahead = self._predicted(tracks, held)
        off = _distance(ahead, eyes, seen)
        fits = seen.mask & (tracks.known[:, None] & (off < np.where(self.falls, FALL_GATE, GATE)))
        doubt = np.sqrt(np.where(fits & ~self.falls, np.maximum(off / USUAL, 1.0), 1.0))  # (n, C, K)
        seen = seen._replace(pixel_sigma=seen.pixel_sigma * doubt, depth_sigma=seen.depth_sigma * doubt)
        lost = (tracks.misfit >= np.where(self.moves, PATIENCE, STILL_PATIENCE) - 1) & seen.mask.any(1) & ~fits.any(1) & ~held
        begin = (~tracks.known | lost) & seen.mask.any(1)  # (n, K)
        first = self._begun(eyes, seen)
        mean = np.where(begin[..., None], first[0], ahead.mean)
        covariance = np.where(begin[..., None, None], first[1], ahead.covariance)
        used = np.where(begin[:, None], seen.mask, fits)
        mean, covariance = self._told(mean, covariance, eyes, seen._replace(mask=used), FIRST_ROUNDS if begin.any() else ROUNDS, begin)
        _go_along(mean, covariance, hold, held)
        found = used.any(1) | held
        known, unseen = tracks.known | found, np.where(found, 0, tracks.unseen + 1)
        given_up = known & (unseen > self.coast) & self.moves
        mean[given_up, 3:] = 0.0
        mean[..., :3] = np.where(given_up[..., None], tracks.rest, mean[..., :3])
        covariance = np.where(given_up[..., None, None], self._prior(), covariance)
        misfit = np.where(found | ~seen.mask.any(1), np.where(found, 0, tracks.misfit), tracks.misfit + 1)
        rest = np.where(found[..., None], mean[..., :3], tracks.rest)
        blank = known[..., None]
        return Tracks(np.where(blank, mean, 0.0), np.where(blank[..., None], covariance, 0.0), rest, known, unseen, misfit)

    def ahead(self, tracks: Tracks, seconds: float | Floats) -> tuple[Floats, Floats]:
        """Place (n, K, 3) and velocity (n, K, 3) that many seconds, or (n,), later; what is no longer seen stays where it is."""
        after = np.reshape(np.asarray(seconds, dtype=np.float64), (-1, 1))
        place, velocity = tracks.mean[..., :3].copy(), tracks.mean[..., 3:].copy()
        pull = np.where(self.falls & (tracks.unseen <= self.coast) & tracks.known, -GRAVITY, 0.0)
        place += velocity * after[..., None]
        place[..., 2] += 0.5 * pull * after**2
        velocity[..., 2] += pull * after
        return place, velocity

    def _predicted(self, tracks: Tracks, held: Bools) -> Tracks:
        """x' = x + v dt (+ g dt^2 / 2); P' = F P F' + Q, Q that of an acceleration that lasts for dt (chapter 6.3.2)."""
        dt, p = self.dt, tracks.covariance
        place, velocity = self.ahead(tracks, dt)
        a, b, d = p[..., :3, :3], p[..., :3, 3:], p[..., 3:, 3:]
        drive = (np.where(held, HELD, self.agility) ** 2)[..., None, None] * np.eye(3)  # (n, K, 3, 3)
        b_new = b + dt * d + 0.5 * dt**3 * drive
        out = np.empty_like(p)
        out[..., :3, :3] = a + dt * (b + np.swapaxes(b, -1, -2)) + dt**2 * d + 0.25 * dt**4 * drive
        out[..., :3, 3:], out[..., 3:, :3] = b_new, np.swapaxes(b_new, -1, -2)
        out[..., 3:, 3:] = d + dt**2 * drive
        return tracks._replace(mean=np.concatenate([place, velocity], axis=-1), covariance=out)

    def _prior(self) -> Floats:
        """(K, 6, 6)."""
        out = np.zeros((len(self.things), 6, 6))
        for k, speed in enumerate(self.speed):
            np.fill_diagonal(out[k], [AROUND**2] * 3 + [speed**2] * 3)
        return out

    def _begun(self, eyes: Eyes, seen: Sightings) -> tuple[Floats, Floats]:
        """Mean (n, K, 6) and covariance (n, K, 6, 6) to begin with: by the surest camera's pixel and distance, at rest."""
        best = np.where(seen.mask, -seen.depth_sigma, -np.inf).argmax(1)[:, None]  # (n, 1, K)
        pixel = np.take_along_axis(seen.pixel, best[..., None], 1)[:, 0]  # (n, K, 2)
        depth = np.take_along_axis(seen.depth, best, 1)[:, 0]
        row = np.arange(len(pixel))[:, None]
        axes, position = eyes.axes[row, best[:, 0]], eyes.position[row, best[:, 0]]  # (n, K, 3, 3), (n, K, 3)
        focal = eyes.focal[best[:, 0]]
        across = (pixel - 0.5 * np.array(eyes.size, dtype=np.float64)) * (depth / focal)[..., None]
        local = np.concatenate([across, depth[..., None]], axis=-1)
        place = position + (axes * local[..., None, :]).sum(-1)
        return np.concatenate([place, np.zeros_like(place)], axis=-1), np.broadcast_to(self._prior(), (*depth.shape, 6, 6))

    def _told(
        self, mean: Floats, covariance: Floats, eyes: Eyes, seen: Sightings, rounds: int, first: Bools
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """The iterated update: every measurement's line is drawn where the round before ended (chapter 10.5.2)."""
        at, result = mean, covariance
        for turn in range(rounds):
            x, p = mean.copy(), covariance.copy()
            back = at[..., :3]
            for camera in range(eyes.position.shape[1]):
                use = seen.mask[:, camera]  # (n, K)
                where, lines = projected(back, eyes, camera)  # (n, K, 3) u, v, depth and (n, K, 3, 3) their derivatives
                sigma = seen.pixel_sigma[:, camera]
                far = use & (first | self.moves)  # errors of distance last: of what stays where it is they would not average out
                told = (seen.pixel[:, camera, :, 0], seen.pixel[:, camera, :, 1], seen.depth[:, camera])
                weights = ((sigma, use), (sigma, use), (seen.depth_sigma[:, camera], far))
                for number, (value, (spread, counts)) in enumerate(zip(told, weights, strict=True)):
                    _weigh(x, p, lines[..., number, :], value - where[..., number], back, spread, counts)
            line = np.zeros_like(back)
            np.put_along_axis(line, np.broadcast_to(self.axis[:, None], (*back.shape[:2], 1)), 1.0, -1)
            off = self.level - (line * back).sum(-1)
            _weigh(x, p, line, off, back, np.full(off.shape, ON_PLANE), self.on_plane & seen.mask.any(1))
            again = (first | (turn < ROUNDS))[..., None]  # the further rounds are for first sights: what others are must not depend on them
            at, result = np.where(again, x, at), np.where(again[..., None], p, result)
        return at.copy(), result


def _go_along(mean: Floats, covariance: Floats, hold: Hold, held: Bools) -> None:
    """What is held is where the tool is, and moves as it does; in place."""
    for part, told, sigma in ((PLACE, hold.place, GRASP), (VELOCITY, hold.velocity, GRASP_SPEED)):
        for axis in range(3):
            back = np.broadcast_to(told[:, None], (*held.shape, 3))
            line = np.broadcast_to(np.eye(3)[axis], back.shape)
            _weigh(mean, covariance, line, np.zeros(held.shape), back, np.full(held.shape, sigma), held, part)


def _weigh(
    x: Floats, p: Floats, line: Floats, off: Floats, back: Floats, sigma: Floats, use: Bools, part: slice = PLACE
) -> None:  # fmt: skip
    """One number told of the place, or the velocity, in place: off = told - line' (place - back); line (n, K, 3), x (n, K, 6)."""
    spread = (p[..., part] * line[..., None, :]).sum(-1)  # (n, K, 6): P h
    variance = (line * spread[..., part]).sum(-1) + sigma * sigma
    gain = np.where(use, 1.0, 0.0)[..., None] * spread / variance[..., None]
    x += gain * (off - (line * (x[..., part] - back)).sum(-1))[..., None]
    p -= gain[..., :, None] * spread[..., None, :]


def projected(place: Floats, eyes: Eyes, camera: int) -> tuple[Floats, Floats]:
    """u px, v px and depth m (n, K, 3) of places (n, K, 3), and (n, K, 3, 3) how they change with the place."""
    axes, focal = eyes.axes[:, camera], eyes.focal[camera]
    local = ((place - eyes.position[:, camera, None])[..., None] * axes[:, None]).sum(-2)  # (n, K, 3): right, down, forward
    depth = np.maximum(local[..., 2], 0.01)
    slope = local[..., :2] / depth[..., None]
    right, down, ahead = (np.broadcast_to(axes[:, None, :, k], place.shape) for k in range(3))
    scale = (focal / depth)[..., None]
    lines = np.stack([scale * (right - slope[..., :1] * ahead), scale * (down - slope[..., 1:] * ahead), ahead], axis=-2)
    return np.concatenate([0.5 * np.array(eyes.size, dtype=np.float64) + focal * slope, depth[..., None]], axis=-1), lines


def _distance(tracks: Tracks, eyes: Eyes, seen: Sightings) -> Floats:
    """(n, C, K) squared deviations between where things were expected in the pictures and where they are."""
    out = np.zeros(seen.mask.shape)
    for camera in range(seen.mask.shape[1]):
        where, lines = projected(tracks.mean[..., :3], eyes, camera)
        off = seen.pixel[:, camera] - where[..., :2]
        p = tracks.covariance[..., :3, :3]
        spread = [(p * lines[..., k, None, :]).sum(-1) for k in (0, 1)]  # P h
        noise = seen.pixel_sigma[:, camera] ** 2
        uu, vv = ((lines[..., k, :] * spread[k]).sum(-1) + noise for k in (0, 1))
        uv = (lines[..., 0, :] * spread[1]).sum(-1)
        area = np.maximum(uu * vv - uv * uv, 1e-12)
        out[:, camera] = (off[..., 0] ** 2 * vv - 2.0 * off[..., 0] * off[..., 1] * uv + off[..., 1] ** 2 * uu) / area
    return out
