"""The levels `visible` and `perceived` of tasks whose things a lidar finds.

`perceived`: the scan less what the map tells of; what is left falls into clusters, each the near side of somebody as wide as people are
taken for. They are told as sightings by four eyes that look ahead, left, back and right, so that tracking is as with cameras
(`envs.robots.tracking`). Who is who nobody can tell: a cluster belongs to the track that is nearest, as far as there is one near enough.

Shapes: n worlds, K things, C eyes, R rays, m points of a cluster.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from envs.robots.perceived import Perceiving
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.sight import Belief, Sight, SightConfig
from envs.robots.task import Scanned, Task
from envs.robots.tracking import Eyes, Sightings, projected

__all__ = ["Lidar", "LineOfSight", "clusters", "middle"]

OFF_MAP = 0.1  # m from all that the map tells of: something else
JUMP = 0.25  # m between neighbouring rays' ends: another thing begins
FAR = 7.5  # m, beyond which nothing is looked for
GATE = 0.6  # m, and how far things go between looks besides: a cluster farther from a track is of something else
SIGMA = 0.02  # m, of a thing's place, with many rays on it; with one ray three times as much
ROUNDS = 6  # of Gauss and Newton


def clusters(points: Floats, use: NDArray[np.bool_]) -> list[Floats]:
    """Runs (m, 2) of neighbouring points (R, 2) in use (R,), around the whole circle, each a thing."""
    count = len(points)
    if not use.any():
        return []
    step = points - np.roll(points, 1, axis=0)
    begins = use & (~np.roll(use, 1) | ((step * step).sum(-1) > JUMP * JUMP))
    if not begins.any():
        return [points[use]]
    first = int(begins.argmax())
    order = (first + np.arange(count)) % count
    number = np.cumsum(begins[order])
    return [points[order][use[order] & (number == k)] for k in range(1, int(number[-1]) + 1)]


def middle(points: Floats, eye: Floats, radius: float) -> Floats:
    """(2,) m, of a disc of `radius` whose near side points (m, 2) are on, seen from eye (2,): least squares by Gauss and Newton."""
    way = points.mean(0) - eye
    away = way / max(float(np.sqrt((way * way).sum())), 1e-6)
    at: Floats = points.mean(0) + 0.8 * radius * away
    for _ in range(ROUNDS):
        off = at - points
        far = np.maximum(np.sqrt((off * off).sum(-1)), 1e-6)
        lines, left = off / far[:, None], far - radius
        a = 0.03 * len(points) + 0.03  # keeps it on the line of sight where few points tell nothing across
        side = np.array([-away[1], away[0]])
        drift = float(((at - points.mean(0)) * side).sum())
        h00 = float((lines[:, 0] ** 2).sum() + a * side[0] ** 2)
        h01 = float((lines[:, 0] * lines[:, 1]).sum() + a * side[0] * side[1])
        h11 = float((lines[:, 1] ** 2).sum() + a * side[1] ** 2)
        g0, g1 = (float((lines[:, k] * left).sum() + a * drift * side[k]) for k in (0, 1))
        det = max(h00 * h11 - h01 * h01, 1e-9)
        at = at - np.array([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0]) / det
    return at


class Lidar(Perceiving):
    """What a lidar tells, in place of cameras and a detector."""

    task: Task

    def _begin(self, config: SightConfig, noisy: bool) -> None:
        """No detector, no renderer, and of errors no more than the scan's own."""

    def sight(self, rows: NDArray[np.int64], eyes: Eyes, draws: Draws) -> Sightings:
        """See `Perceiving.sight`."""
        assert isinstance(self.task, Scanned)
        n, count = len(rows), len(self.task.things)
        found = [self._found(world) for world in self._points(rows)]  # of each world (m, 3): place and deviation
        place, sigma, told = np.zeros((n, count, 3)), np.ones((n, count)), np.zeros((n, count), dtype=np.bool_)
        place[..., 2] = [thing.plane[1] if thing.plane else 0.0 for thing in self.task.things]
        before = self.belief.tracks.at(rows)
        late = self.dt * np.minimum(before.unseen + 1, 3)
        ahead = before.mean[..., :2] + before.mean[..., 3:5] * late[..., None]
        for world, seen in enumerate(found):
            for thing, cluster in self._whose(seen, ahead[world], before.known[world], before.unseen[world]):
                place[world, thing, :2], sigma[world, thing], told[world, thing] = seen[cluster, :2], seen[cluster, 2], True
        local = np.stack([projected(place, eyes, camera)[0] for camera in range(len(self.names))], axis=1)  # (n, C, K, 3)
        off = np.abs(local[..., 0] - 0.5 * eyes.size[0]) / eyes.focal[:, None]
        facing = np.where(self._in_front(place, eyes), off, np.inf).argmin(1)  # (n, K) the eye that looks there
        mask = told[:, None] & (np.arange(len(self.names))[:, None] == facing[:, None])
        away = np.maximum(local[..., 2], 0.2)
        return Sightings(mask, local[..., :2], local[..., 2], sigma[:, None] * eyes.focal[:, None] / away, sigma[:, None] + 0.0 * away)

    def _in_front(self, place: Floats, eyes: Eyes) -> NDArray[np.bool_]:
        """(n, C, K)."""
        way = place[:, None] - eyes.position[:, :, None]
        return np.asarray((way * eyes.axes[..., 2][:, :, None]).sum(-1) > 0.0)

    def _points(self, rows: NDArray[np.int64]) -> list[tuple[Floats, NDArray[np.bool_], Floats]]:
        """Of each world where its rays end (R, 2), which of them are on something unknown (R,), and where they come from (2,)."""
        assert isinstance(self.task, Scanned)
        far = self.task.scan(self.physics, rows)  # (n, R)
        angle = 2.0 * np.pi * np.arange(far.shape[1]) / far.shape[1]
        local = far[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        axes, eye = self.physics.frame("base")[rows][:, :2, :2], self.physics.site("base")[rows, :2]
        points = eye[:, None] + (axes[:, None] * local[:, :, None, :]).sum(-1)
        use = (far < FAR) & (self.task.known(self.physics, rows, points) > OFF_MAP)
        return list(zip(points, use, eye, strict=True))

    def _found(self, world: tuple[Floats, NDArray[np.bool_], Floats]) -> Floats:
        """(m, 3): middles of clusters and their deviations, m."""
        points, use, eye = world
        radius = 0.5 * self.task.things[0].size
        told = [(*middle(part, eye, radius), SIGMA * (1.0 + 2.0 / len(part))) for part in clusters(points, use)]
        return np.array(told).reshape(-1, 3)

    def _whose(
        self, seen: Floats, ahead: Floats, known: NDArray[np.bool_], unseen: NDArray[np.int64]
    ) -> list[tuple[int, int]]:  # fmt: skip
        """Pairs of thing and cluster: the nearest within the gate, then whom nobody knows yet, then who was lost for longest."""
        if not len(seen):
            return []
        off = ahead[:, None] - seen[:, :2]
        far = np.sqrt((off * off).sum(-1))  # (K, m)
        gate = GATE + self.dt * np.minimum(unseen, 10)[:, None]
        cost = np.where(known[:, None] & (far < gate), far, 1e3)
        pairs = [(int(k), int(m)) for k, m in zip(*linear_sum_assignment(cost), strict=True) if cost[k, m] < 1e3]
        left = [m for m in range(len(seen)) if m not in {m for _, m in pairs}]
        taken = {k for k, _ in pairs}
        free = [k for k in range(len(known)) if k not in taken and (not known[k] or unseen[k] > 2)]
        free.sort(key=lambda k: (bool(known[k]), -int(unseen[k]), k))
        left.sort(key=lambda m: float(seen[m, 2]))
        return pairs + list(zip(free, left, strict=False))


class LineOfSight(Sight):
    """The truth about whom a straight line reaches from the lidar; of others, the place where they were last seen, at rest."""

    def __init__(self, physics: Physics, task: Task, config: SightConfig) -> None:
        self.physics, self.task, self.config = physics, task, config
        shape = (physics.size, len(task.things))
        self.belief = Belief(np.zeros((*shape, 3)), np.zeros((*shape, 3)), np.zeros(shape, dtype=np.bool_))

    def look(self, rows: NDArray[np.int64], draws: Draws) -> None:
        """See what there is to be seen in these worlds now."""
        from envs.robots.hidden import shown

        truth = self.task.locate(self.physics)
        eye = self.physics.site("base")[rows]
        place = truth.position[rows]
        way = place - eye[:, None]  # (n, K, 3)
        size = np.maximum(np.sqrt((way[..., :2] ** 2).sum(-1, keepdims=True)), 1e-6)
        ahead = np.concatenate([way[..., :2] / size, np.zeros_like(size)], axis=-1)
        seen = np.zeros(place.shape[:2], dtype=np.bool_)
        up = np.array([0.0, 0.0, 0.3])
        for k in range(place.shape[1]):  # a level eye that looks at each
            right = np.stack([ahead[:, k, 1], -ahead[:, k, 0], np.zeros(len(rows))], axis=-1)
            axes = np.stack([right, np.broadcast_to([0.0, 0.0, -1.0], right.shape), ahead[:, k]], axis=-1)
            at = (eye * np.array([1.0, 1.0, 0.0]) + up + 0.1 * ahead[:, k])[:, None]
            eyes = Eyes(at, axes[:, None], np.ones(1), (1, 1))
            level = place[:, k : k + 1] * np.array([1.0, 1.0, 0.0]) + up
            seen[:, k] = shown(self.physics, self.task.things[k : k + 1], level, eyes, rows)[:, 0, 0] > 0
        self.belief.seen[rows] = seen
        now = seen[..., None]
        self.belief.position[rows] = np.where(now, place, self.belief.position[rows])
        self.belief.velocity[rows] = np.where(now, truth.velocity[rows], 0.0)

    def close(self) -> None:
        """There is no renderer."""
