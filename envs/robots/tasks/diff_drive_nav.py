"""DiffDriveNav: a base on two wheels drives through people to a goal, told what its lidar says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.room import BASE, BEAMS, HALF, HALVES, OBSTACLES, PERSON, TRACK, WHEEL, distance, model, scan, walk
from envs.robots.task import Objects, Thing, box
from envs.robots.way import further, left

__all__ = ["FORWARD", "NEAR", "TURN", "DiffDriveNav"]

PLACE, AIM, PILLARS, CROWD, PACE, NEXT = 0, 1, 2, 3, 4, 10  # streams; NEXT and on: a person's next target
TRIES = 32
FORWARD, TURN, BACK = 0.8, 2.0, 0.5  # m/s and rad/s of a full command; backwards half as fast
NEAR = 0.3  # m from the goal: there
FARTHEST, TOLD, SECTORS = 6.0, 3, 32  # m: where an unknown person is told to be; people told of; directions that the lidar is told in
FELT = ((3, 16.0), (2, 16.0), (1, 32.0), (2, 4.0), (SECTORS, 2.1))  # limits of what is told of goal, way, wheels and lidar
PATIENCE = 8.0  # s, after which a person has another target
WIDEST = float(np.sqrt((HALVES * HALVES).sum(-1)).max())


@dataclass(frozen=True, kw_only=True)
class DiffDriveNav:
    """A base on two wheels and castors in a room of 8 m by 8 m with five obstacles and six walking people: get to the green disc.

    ### Observation
    Box (52,): goal, ahead and to the left (2, m) and its distance (m); from a planner on the map of the room, who knows nothing of people,
    the place 1 m further along the way to the goal, ahead and to the left (2, m), and how far it still is along it (m); speeds of the
    wheels (2, m/s over ground); the lidar, how close in each of 32 directions the nearest is, from the one ahead to the left: radius of the
    base by distance, 1 where it would touch; of the three nearest people place and velocity, ahead and to the left (m, m/s), people whom
    nobody has seen being 6 m ahead at rest. The lidar's 192 rays are off by 1 cm.

    The way (`envs.robots.way`) goes round the obstacles and keeps clear of them where there is room: a metre of it counts for more close to
    walls and obstacles, right beside them for 2.5 m.

    ### Action
    2 numbers: speed, 1 being 0.8 m/s, backwards at most 0.4 m/s; turning, 1 being 2 rad/s to the left; for 0.1 s.

    ### Reward
    1 for each metre nearer to the goal along the way, 5 for being there, -5 for touching anybody or anything, -0.01 a decision.

    ### Start and end
    The goal is 4 m away or more, people are 1.5 m away or more. They walk from place to place at 0.4 m/s to 0.9 m/s, around each other,
    obstacles and, by `care`, the base. Terminated at the goal, within 0.3 m, which is success, and when the base touches; truncated
    after 400 decisions (40 s).
    """

    people: int = 6
    care: float = 1.0  # how much people keep clear of the base, 0: not at all

    name = "diff_drive_nav"
    about = "drive a base on two wheels through walking people to a goal, by lidar"
    duration = 400
    substeps = 10
    cameras = ("front", "left", "back", "right", "watch")
    action_size = 2

    def __post_init__(self) -> None:
        if not TOLD <= self.people <= 10:
            raise ConfigError(f"people={self.people}: must be {TOLD} to 10")
        if not 0.0 <= self.care <= 1.0:
            raise ConfigError(f"care={self.care}: must be 0 to 1")

    @property
    def things(self) -> tuple[Thing, ...]:
        """The people."""
        return tuple(
            Thing("person", (f"person{k}", f"head{k}"), 2.0 * PERSON, plane=(2, 0.85), speed=0.8, agility=2.0) for k in range(self.people)
        )

    @property
    def weights(self) -> Mapping[str, float]:
        """Four terms."""
        return {"progress": 1.0, "arrived": 5.0, "touched": -5.0, "time": -0.01}

    @property
    def observation_space(self) -> spaces.Box:
        """See the class."""
        return box(*FELT, *((2, 16.0), (2, 5.0)) * TOLD)

    def mjcf(self) -> str:
        """Room, obstacles, people, base."""
        return model(self.name, self.people, 3 + 6 * self.people)

    def start(self, physics: Physics, rows: NDArray[np.int64], draws: Draws) -> None:
        """See the class."""
        n, count = len(rows), len(OBSTACLES)
        base = draws.uniform(PLACE, 3, np.array([-3.2, -3.2, -math.pi]), np.array([3.2, 3.2, math.pi]))
        goals = draws.uniform(AIM, 2 * TRIES, -3.3, 3.3).reshape(n, TRIES, 2)
        goal = _first(goals, _far(goals, base[:, None, :2]) - 4.0)
        places = np.full((n, count, 2), 1e3)
        tries = draws.uniform(PILLARS, 2 * TRIES * count, -1.0, 1.0).reshape(n, count, TRIES, 2)
        radius = np.sqrt((HALVES * HALVES).sum(-1))
        for k in range(count):  # each leaves a way of 0.9 m round it, so that there is one to everywhere
            spots = tries[:, k] * (HALF - 0.9 - radius[k])
            room = np.minimum(_far(spots, base[:, None, :2]) - radius[k] - 0.7, _far(spots, goal[:, None]) - radius[k] - 0.8)
            others = _far(spots[:, :, None], places[:, None]) - radius - radius[k] - 0.9
            places[:, k] = _first(spots, np.minimum(room, others.min(-1)))
        people = np.full((n, self.people, 2), 1e3)
        tries = draws.uniform(CROWD, 2 * TRIES * self.people, -3.5, 3.5).reshape(n, self.people, TRIES, 2)
        for k in range(self.people):
            spots = tries[:, k]
            room = np.minimum(_far(spots, base[:, None, :2]) - 1.5, distance(spots, places) - PERSON - 0.1)
            others = _far(spots[:, :, None], people[:, None]).min(-1) - 2.0 * PERSON - 0.3
            people[:, k] = _first(spots, np.minimum(room, others))
        physics.qpos[rows, :2] = base[:, :2]
        physics.qpos[rows, 2:3] = 0.0
        physics.qpos[rows, 3:7] = np.stack([np.cos(base[:, 2] / 2), *np.zeros((2, n)), np.sin(base[:, 2] / 2)], axis=1)
        physics.mocap_pos[rows, :count, :2] = places
        physics.mocap_pos[rows, count:-1, :2] = people
        physics.mocap_pos[rows, -1, :2] = goal
        physics.userdata[rows] = 0.0
        physics.userdata[rows, 1], physics.userdata[rows, 2] = draws.seeds >> 32, draws.seeds & 0xFFFFFFFF
        memory = self._memory(physics)
        memory[rows, :, 4] = draws.uniform(PACE, self.people, 0.4, 0.9)
        for k in range(self.people):
            memory[rows, k, 2:4] = Draws(draws.seeds).uniform(NEXT + k, 2, -3.5, 3.5)

    def _memory(self, physics: Physics) -> Floats:
        """(B, P, 6), a view: velocity, target, pace, and the time at which the target was chosen."""
        return physics.userdata[:, 3:].reshape(physics.size, self.people, 6)

    def _seeds(self, physics: Physics) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of the episodes (B,), and decisions taken in them (B,)."""
        high, low = (physics.userdata[:, k].astype(np.int64) for k in (1, 2))
        return (high << 32) | low, np.rint(physics.time / (self.substeps * physics.model.opt.timestep)).astype(np.int64)

    def act(self, physics: Physics, action: Floats) -> None:
        """See the class."""
        dt = self.substeps * float(physics.model.opt.timestep)
        self._walk(physics, dt)
        physics.userdata[:, 0] = self.left(physics)
        speed, turn = FORWARD * np.maximum(action[:, 0], -BACK), TURN * action[:, 1]
        physics.ctrl[:] = np.stack([speed - 0.5 * TRACK * turn, speed + 0.5 * TRACK * turn], axis=1) / WHEEL

    def _walk(self, physics: Physics, dt: float) -> None:
        """People are where they are at the decision's end."""
        memory, count = self._memory(physics), len(OBSTACLES)
        people = physics.mocap_pos[:, count:-1, :2]
        seeds, steps = self._seeds(physics)
        there = _far(people, memory[:, :, 2:4]) < 0.4
        bored = physics.time[:, None] - memory[:, :, 5] > PATIENCE
        for k in range(self.people):
            fresh = Draws(seeds, steps + 1).uniform(NEXT + k, 2, -3.5, 3.5)
            new = there[:, k] | bored[:, k]
            memory[:, k, 2:4] = np.where(new[:, None], fresh, memory[:, k, 2:4])
            memory[:, k, 5] = np.where(new, physics.time, memory[:, k, 5])
        base = physics.site("base")[:, :2]
        moved, velocity = walk(people, memory[:, :, :2], memory[:, :, 2:4], memory[:, :, 4], self.places(physics), base, self.care, dt)
        physics.mocap_pos[:, count:-1, :2] = moved
        memory[:, :, :2] = velocity

    def places(self, physics: Physics) -> Floats:
        """(B, O, 2) m of the obstacles."""
        return np.array(physics.mocap_pos[:, : len(OBSTACLES), :2])

    def goal(self, physics: Physics) -> Floats:
        """(B, 2) m."""
        return np.array(physics.mocap_pos[:, -1, :2])

    def distance(self, physics: Physics) -> Floats:
        """(B,) m from the base to the goal."""
        return _far(self.goal(physics), physics.site("base")[:, :2])

    def left(self, physics: Physics) -> Floats:
        """(B,) m of way to the goal round the obstacles."""
        return left(self.places(physics), self.goal(physics), physics.site("base")[:, :2])

    def locate(self, physics: Physics) -> Objects:
        """The people."""
        velocity = self._memory(physics)[:, :, :2]
        return Objects(
            np.array(physics.mocap_pos[:, len(OBSTACLES) : -1]), np.concatenate([velocity, np.zeros_like(velocity[..., :1])], axis=-1)
        )

    @property
    def feeling_space(self) -> spaces.Box:
        """Goal, way, wheels, lidar."""
        return box(*FELT)

    def scan(self, physics: Physics, rows: NDArray[np.int64]) -> Floats:
        """(n, BEAMS) m, see `envs.robots.room.scan`."""
        seeds, steps = self._seeds(physics)
        return scan(physics, rows, seeds[rows], steps[rows])

    def known(self, physics: Physics, rows: NDArray[np.int64], points: Floats) -> Floats:
        """(n, Q) m from points (n, Q, 2) to walls and obstacles."""
        return distance(points, self.places(physics)[rows])

    def feel(self, physics: Physics) -> Floats:
        """See `feeling_space`."""
        base, axes = physics.site("base")[:, :2], physics.frame("base")[:, :2, :2]
        rays = np.roll(self.scan(physics, np.arange(physics.size)), BEAMS // SECTORS // 2, axis=1)
        near = BASE / np.maximum(rays.reshape(physics.size, SECTORS, -1).min(-1), 0.5 * BASE)
        wheels = WHEEL * physics.qvel[:, physics.speeds("wheel_left", "wheel_right")]
        goal = self.goal(physics)
        way = further(self.places(physics), goal, base)
        where = (_turned(axes, goal - base), self.distance(physics)[:, None], _turned(axes, way - base), self.left(physics)[:, None])
        return np.concatenate([*where, wheels, near], axis=1)

    def observe(self, physics: Physics, objects: Objects) -> NDArray[np.float32]:
        """See the class."""
        base, axes = physics.site("base")[:, None, :2], physics.frame("base")[:, None, :2, :2]
        unknown = (objects.position[..., 2] < 0.2)[..., None]  # nobody has seen them: they are at the origin
        place = np.where(unknown, np.array([FARTHEST, 0.0]), _turned(axes, objects.position[..., :2] - base))
        speed = np.where(unknown, 0.0, _turned(axes, objects.velocity[..., :2]))
        order = np.argsort((place * place).sum(-1), axis=1, kind="stable")[:, :TOLD, None]
        both = np.concatenate([np.take_along_axis(place, order, 1), np.take_along_axis(speed, order, 1)], axis=-1)
        space = self.observation_space
        told = np.concatenate([self.feel(physics), both.reshape(physics.size, -1)], axis=1)
        return np.asarray(np.clip(told, space.low, space.high), dtype=np.float32)

    def reward_terms(self, physics: Physics, action: Floats) -> dict[str, Floats]:
        """See the class."""
        touched = self.failed(physics)
        return {
            "progress": physics.userdata[:, 0] - self.left(physics),
            "arrived": np.where(self.success(physics) & ~touched, 1.0, 0.0),
            "touched": np.where(touched, 1.0, 0.0),
            "time": np.ones(physics.size),
        }

    def success(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) at the goal."""
        return np.asarray(self.distance(physics) < NEAR)

    def finished(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) the same: then there is no more to do."""
        return self.success(physics)

    def failed(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) touching somebody or something."""
        base = physics.site("base")[:, None, :2]
        people = _far(physics.mocap_pos[:, len(OBSTACLES) : -1, :2], base).min(-1) - PERSON
        return np.asarray(np.minimum(people, distance(base, self.places(physics))[:, 0]) < BASE)


def _far(one: Floats, other: Floats) -> Floats:
    """(...) m between places (..., 2)."""
    return np.asarray(np.sqrt(((one - other) ** 2).sum(-1)))


def _first(spots: Floats, margin: Floats) -> Floats:
    """(n, 2): the first of spots (n, T, 2) whose margin (n, T) is above 0, or the one with the largest."""
    chosen = np.where((margin > 0.0).any(1), (margin > 0.0).argmax(1), margin.argmax(1))
    return np.take_along_axis(spots, chosen[:, None, None], 1)[:, 0]


def _turned(axes: Floats, vector: Floats) -> Floats:
    """(..., 2): a vector (..., 2) in axes (..., 2, 2), its columns."""
    return np.asarray((axes * vector[..., :, None]).sum(-2))
