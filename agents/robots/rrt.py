"""RRT-Connect: ways for the arm that touch nothing (Kuffner and LaValle, "RRT-Connect: an efficient approach to single-query path
planning", ICRA 2000).

Two trees grow from start and goal in the space of the joints, in turns: one takes a step towards a random place, the other comes to meet it
as far as it is free. Collisions are MuJoCo's own, of the arm with everything else. The way found is cut short between random places on it
(Geraerts and Overmars, "Creating high-quality paths for motion planning", 2007, section 3), and then driven piece by piece along
minimum-jerk profiles, as fast as the joints may turn.

Shapes: 7 joints, N corners of a way, T moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.robots.trajectory import minimum_jerk
from envs.checks import ConfigError
from envs.robots.arm import HOME, JOINTS, LIMITS, SPEEDS
from envs.robots.engine import mujoco

__all__ = ["Collisions", "Plan", "RRTConfig", "Timed", "plan", "timed"]

Floats = NDArray[np.float64]
PEAK = 1.875  # of the speed of a minimum-jerk motion, in ways a time: 30 t^2 (1 - t)^2 at its middle


@dataclass(frozen=True, kw_only=True)
class RRTConfig:
    """How a way is looked for. Raises ConfigError on nonsense."""

    step: float = 0.35  # rad, that a tree grows by
    resolution: float = 0.02  # rad, between the places of a motion that are looked at, in its fastest joint
    nodes: int = 4000  # of both trees, after which the search gives up
    shortcuts: int = 150  # tries to cut the way short
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.resolution <= self.step <= 3.0:
            raise ConfigError(
                f"resolution={self.resolution}, step={self.step}: must be above 0, the resolution no more than the step, 3 rad"
            )
        if self.nodes < 2 or self.shortcuts < 0:
            raise ConfigError(f"nodes={self.nodes}, shortcuts={self.shortcuts}: at least 2 nodes, and no fewer than 0 shortcuts")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What came of a search."""

    path: Floats | None  # (N, 7) rad, from start to goal, straight between corners; None: none was found
    why: str  # "found", or what is in the way
    nodes: int  # of both trees
    checks: int  # poses that were looked at


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A way with times: it rests at every corner."""

    corners: Floats  # (N, 7) rad
    times: Floats  # (N,) s at which the arm is there

    @property
    def duration(self) -> float:
        """s."""
        return float(self.times[-1])

    def at(self, time: float | Floats) -> Floats:
        """(T, 7) rad at times (T,) s, or (7,) at one."""
        t = np.clip(np.asarray(time, dtype=np.float64), 0.0, self.duration)
        piece = np.clip(np.searchsorted(self.times, t, side="right") - 1, 0, max(len(self.times) - 2, 0))
        if len(self.times) == 1:
            return np.asarray(np.broadcast_to(self.corners[0], (*t.shape, 7)))
        span = np.maximum(self.times[piece + 1] - self.times[piece], 1e-9)
        part = minimum_jerk((t - self.times[piece]) / span)[..., None]
        return np.asarray(self.corners[piece] + part * (self.corners[piece + 1] - self.corners[piece]))


class Collisions:
    """Whether the arm of a model touches anything, or comes nearer to it than `margin` (m); other things stand as in `state`.

    model: with the arm's bodies by their names. state (nq,): of everything, the model's own by default. mocap (M, 3) m: likewise.
    """

    def __init__(self, model: mujoco.MjModel, *, state: Floats | None = None, mocap: Floats | None = None, margin: float = 0.01) -> None:
        self.data = mujoco.MjData(model)
        self.model, self.margin, self.count = model, margin, 0
        if state is not None:
            self.data.qpos[:] = state
        if mocap is not None:
            self.data.mocap_pos[:] = mocap
        root = model.body("base").id
        self.arm = np.array([model.body_rootid[model.geom_bodyid[geom]] == root for geom in range(model.ngeom)])
        self.columns = np.array([model.joint(name).qposadr[0] for name in JOINTS])
        self._margins = np.where(self.arm, margin, model.geom_margin)

    def touches(self, joints: Floats) -> str:
        """What the arm touches at joints (7,) rad, "" for nothing."""
        self.count += 1
        kept, self.model.geom_margin[:] = self.model.geom_margin.copy(), self._margins
        self.data.qpos[self.columns] = joints
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_collision(self.model, self.data)
        self.model.geom_margin[:] = kept
        for contact in self.data.contact:
            one, two = int(contact.geom[0]), int(contact.geom[1])
            if self.arm[one] != self.arm[two] and contact.dist < self.margin:
                return self.model.geom(two if self.arm[one] else one).name or "a thing without a name"
        return ""

    def free(self, start: Floats, end: Floats, resolution: float) -> bool:
        """Whether the straight motion from one (7,) to the other touches nothing, looked at `resolution` rad apart; `start` is not."""
        count = max(1, int(np.ceil(np.abs(end - start).max() / resolution)))
        order = np.argsort([bin(k)[::-1] for k in range(1, count + 1)], kind="stable") + 1  # far apart first: what is in the way shows soon
        return not any(self.touches(start + (end - start) * (k / count)) for k in order.tolist())


class _Tree:
    def __init__(self, root: Floats) -> None:
        self.places, self.parents, self.count = np.empty((256, 7)), [-1], 1
        self.places[0] = root

    def add(self, place: Floats, parent: int) -> int:
        if self.count == len(self.places):
            self.places = np.concatenate([self.places, np.empty_like(self.places)])
        self.places[self.count] = place
        self.parents.append(parent)
        self.count += 1
        return self.count - 1

    def nearest(self, place: Floats) -> int:
        off = self.places[: self.count] - place
        return int((off * off).sum(-1).argmin())

    def back(self, node: int) -> list[Floats]:
        """From a node to the root."""
        out = []
        while node >= 0:
            out.append(self.places[node].copy())
            node = self.parents[node]
        return out


def plan(collisions: Collisions, start: Floats, goal: Floats, config: RRTConfig | None = None) -> Plan:
    """A way for the joints from start (7,) to goal (7,) rad within their limits that touches nothing. Deterministic.

    Where there is none, `path` is None and `why` says whether start or goal touch something, or the search gave up.
    Raises ValueError for joints of another shape, or beyond their limits.
    """
    how, before = config or RRTConfig(), collisions.count
    start, goal = np.asarray(start, dtype=np.float64), np.asarray(goal, dtype=np.float64)
    for name, joints in (("start", start), ("goal", goal)):
        if joints.shape != (7,) or not (np.abs(joints) <= LIMITS).all():
            raise ValueError(
                f"{name}={np.round(joints, 3).tolist()}: must be 7 joints within {np.round(LIMITS, 3).tolist()} rad either way"
            )

    def result(path: Floats | None, why: str, nodes: int) -> Plan:
        return Plan(path=path, why=why, nodes=nodes, checks=collisions.count - before)

    for name, joints in (("start", start), ("goal", goal)):
        if thing := collisions.touches(joints):
            return result(None, f"at the {name} the arm touches {thing}", 0)
    if collisions.free(start, goal, how.resolution):
        return result(np.stack([start, goal]), "found", 2)
    rng = np.random.default_rng(how.seed)
    trees = [_Tree(start), _Tree(goal)]
    while trees[0].count + trees[1].count < how.nodes:
        aim = np.clip(HOME, -LIMITS, LIMITS) if rng.random() < 0.05 else rng.uniform(-LIMITS, LIMITS)
        new = _grow(collisions, trees[0], aim, how)
        if new >= 0:
            there = trees[0].places[new].copy()
            met = -1
            while (met := _grow(collisions, trees[1], there, how)) >= 0 and not np.array_equal(trees[1].places[met], there):
                pass
            if met >= 0:
                halves = [trees[0].back(new)[::-1], trees[1].back(met)[1:]]
                path = np.stack(halves[0] + halves[1])
                path = path if np.array_equal(path[0], start) else path[::-1]
                path = _shortened(collisions, path, how, rng)
                return result(path, "found", trees[0].count + trees[1].count)
        trees.reverse()
    return result(None, f"no way among {how.nodes} nodes", trees[0].count + trees[1].count)


def _grow(collisions: Collisions, tree: _Tree, aim: Floats, how: RRTConfig) -> int:
    """One step from the nearest place towards aim; the new node, -1 if something is in the way."""
    near = tree.nearest(aim)
    place = tree.places[near].copy()
    way = aim - place
    far = float(np.sqrt((way * way).sum()))
    new = aim if far <= how.step else place + way * (how.step / far)
    if far == 0.0:
        return near
    return tree.add(new, near) if collisions.free(place, new, how.resolution) else -1


def _shortened(collisions: Collisions, path: Floats, how: RRTConfig, rng: np.random.Generator) -> Floats:
    """Cut short between random places on the way."""
    for _ in range(how.shortcuts):
        if len(path) < 3:
            break
        lengths = np.sqrt(((path[1:] - path[:-1]) ** 2).sum(-1))
        along = np.concatenate([[0.0], np.cumsum(lengths)])
        first, last = np.sort(rng.uniform(0.0, along[-1], 2))
        i, j = (int(np.clip(np.searchsorted(along, s, side="right") - 1, 0, len(lengths) - 1)) for s in (first, last))
        if i == j:
            continue
        one = path[i] + (path[i + 1] - path[i]) * ((first - along[i]) / max(lengths[i], 1e-12))
        two = path[j] + (path[j + 1] - path[j]) * ((last - along[j]) / max(lengths[j], 1e-12))
        if collisions.free(one, two, how.resolution) and not collisions.touches(one):
            path = np.concatenate([path[: i + 1], one[None], two[None], path[j + 1 :]])
    keep = np.concatenate([[True], np.abs(path[1:] - path[:-1]).max(-1) > 1e-9])
    return np.asarray(path[keep])


def timed(path: Floats, *, share: float = 0.8) -> Timed:
    """Times for a way (N, 7): the fastest joint of each piece comes to `share` of what it can. Raises ValueError unless 0 < share <= 1."""
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share={share}: must be above 0, and 1 at most")
    need = PEAK * (np.abs(path[1:] - path[:-1]) / (share * SPEEDS)).max(-1, initial=0.0)
    return Timed(corners=np.array(path), times=np.concatenate([[0.0], np.cumsum(need)]))
