"""A room with a base on wheels in it, obstacles that stay and people who walk: its model, its distances, how people walk, and the lidar.

Shapes: B worlds, n rows of them, O obstacles, P people, Q points, R rays. Metres, world frame, the room's middle at the origin.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws

__all__ = ["BASE", "BEAMS", "HALF", "OBSTACLES", "PERSON", "RANGE", "clearance", "distance", "model", "scan", "walk"]

HALF = 4.0  # m, from the middle of the room to its walls
BASE, WHEEL, TRACK = 0.22, 0.08, 0.34  # m: radius of the base, of its wheels, and how far apart these are
PERSON = 0.25  # m, radius
EYE, RANGE, BEAMS = 0.3, 8.0, 192  # m over the floor; m it sees; rays around, the first one ahead, the others to the left of it
GRAIN = 0.01  # m, deviation of a distance that the lidar tells
SCAN = 900  # stream
# half extents in x and y (m) of what is round (equal) or a box
OBSTACLES: tuple[tuple[str, float, float], ...] = (
    ("round", 0.3, 0.3), ("round", 0.42, 0.42), ("box", 0.3, 0.55), ("box", 0.55, 0.25), ("box", 0.35, 0.35),
)  # fmt: skip
HALVES: Floats = np.array([part[1:] for part in OBSTACLES])  # (O, 2)
ROUND: NDArray[np.bool_] = np.array([part[0] == "round" for part in OBSTACLES])
SHIRTS = (".85 .35 .25", ".25 .5 .8", ".9 .7 .2", ".35 .65 .4", ".6 .4 .7", ".3 .65 .7")
LOOKS = (".62 .48 .34", ".5 .55 .6", ".7 .58 .42", ".58 .5 .44", ".45 .52 .5")


def distance(points: Floats, places: Floats) -> Floats:
    """(n, Q) m from points (n, Q, 2) to the nearest wall or obstacle (n, O, 2), negative inside."""
    return np.asarray(_gaps(points, places).min(-1))


def clearance(points: Floats, places: Floats) -> tuple[Floats, Floats]:
    """Distances (n, Q) m of points (n, Q, 2) to the nearest wall or obstacle (n, O, 2), negative inside, and ways out (n, Q, 2)."""
    gap = _gaps(points, places)
    nearest = gap.argmin(-1)
    thing = np.minimum(nearest, len(HALVES) - 1)  # (n, Q)
    off = points - np.take_along_axis(places, thing[..., None], 1)
    q = np.abs(off) - HALVES[thing]
    outside = np.maximum(q, 0.0)
    inner = np.where((q[..., 0] > q[..., 1])[..., None], np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    length = _length(outside)[..., None]
    out_box = np.where(off < 0.0, -1.0, 1.0) * np.where(length > 0.0, outside / np.maximum(length, 1e-9), inner)
    out = np.where(ROUND[thing][..., None], off / np.maximum(_length(off), 1e-9)[..., None], out_box)
    inward = np.where(points < 0.0, 1.0, -1.0)
    wall = np.where((nearest - len(HALVES))[..., None] == np.arange(2), inward, 0.0)
    return np.take_along_axis(gap, nearest[..., None], -1)[..., 0], np.where((nearest < len(HALVES))[..., None], out, wall)


def _gaps(points: Floats, places: Floats) -> Floats:
    """(n, Q, O + 2) m from points (n, Q, 2) to each obstacle (n, O, 2), and to the walls across x and y."""
    off = points[:, :, None] - places[:, None]
    q = np.abs(off) - HALVES
    box = _length(np.maximum(q, 0.0)) + np.minimum(np.maximum(q[..., 0], q[..., 1]), 0.0)
    return np.concatenate([np.where(ROUND, _length(off) - HALVES[:, 0], box), HALF - np.abs(points)], axis=2)


def _length(vector: Floats) -> Floats:
    """(...) of (..., 2)."""
    x, y = vector[..., 0], vector[..., 1]
    return np.asarray(np.sqrt(x * x + y * y))


def walk(
    people: Floats, velocity: Floats, target: Floats, pace: Floats, places: Floats, base: Floats, care: float, dt: float
) -> tuple[Floats, Floats]:
    """Where people (n, P, 2) with velocities (n, P, 2) are dt seconds later, and how fast: each goes to its target at its pace (n, P).

    What is near pushes them aside, as in Helbing and Molnar, "Social force model for pedestrian dynamics", 1995: obstacles at places
    (n, O, 2), each other, and by `care` the base at (n, 2).
    """
    way = target - people
    far = np.sqrt((way * way).sum(-1, keepdims=True))
    ahead = way / np.maximum(far, 1e-6)
    wish = ahead * np.minimum(pace[..., None], 1.5 * far)
    gap, out = clearance(people, places)
    wish = wish + _aside(ahead, out) * np.exp(-np.maximum(gap - PERSON, 0.0) / 0.2)[..., None]
    off = people[:, :, None] - people[:, None]
    between = np.sqrt((off * off).sum(-1)) + 1e3 * np.eye(people.shape[1])
    push = np.exp(-np.maximum(between - 2.0 * PERSON, 0.0) / 0.25)[..., None] * off / between[..., None]
    wish = wish + push.sum(2)
    from_base = people - base[:, None]
    away = np.sqrt((from_base * from_base).sum(-1, keepdims=True))
    wish = wish + care * _aside(ahead, from_base / np.maximum(away, 1e-6)) * np.exp(-np.maximum(away - PERSON - BASE, 0.0) / 0.3)
    speed = np.sqrt((wish * wish).sum(-1, keepdims=True))
    wish = wish * np.minimum(1.0, 1.2 * pace[..., None] / np.maximum(speed, 1e-6))
    moved = people + dt * (velocity + 0.4 * (wish - velocity))
    gap, out = clearance(moved, places)
    moved = moved + np.maximum(PERSON - gap, 0.0)[..., None] * out
    return moved, (moved - people) / dt


def _aside(ahead: Floats, out: Floats) -> Floats:
    """Away from something, (n, P, 2), and round it on the side that is nearer to the way ahead."""
    turn = np.stack([-out[..., 1], out[..., 0]], axis=-1)
    side = np.where((turn * ahead).sum(-1, keepdims=True) < 0.0, -1.0, 1.0)
    facing = np.maximum(-(out * ahead).sum(-1, keepdims=True), 0.0)
    return np.asarray(out + 0.8 * facing * side * turn)


def scan(physics: Physics, rows: NDArray[np.int64], seeds: NDArray[np.int64], steps: NDArray[np.int64]) -> Floats:
    """(n, BEAMS) m from the middle of the base to what the rays of its lidar meet, with its errors, in worlds `rows`; RANGE: nothing."""
    angle = 2.0 * math.pi * np.arange(BEAMS) / BEAMS
    local = np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # (R, 2)
    axes = physics.frame("base")[rows][:, :2, :2]
    flat = (axes[:, None] * local[:, None, :]).sum(-1)  # (n, R, 2), by the base's yaw
    way = np.concatenate([flat, np.zeros((*flat.shape[:2], 1))], axis=-1)
    start = physics.site("base")[rows] * np.array([1.0, 1.0, 0.0]) + np.array([0.0, 0.0, EYE])
    far = physics.ranges(np.broadcast_to(start[:, None], way.shape), way, rows, exclude="base")
    grain = GRAIN * Draws(seeds, steps).normal(SCAN, BEAMS)
    return np.where((far < 0.0) | (far > RANGE), RANGE, np.clip(far + grain, 0.0, RANGE))


def model(name: str, people: int, memory: int) -> str:
    """MuJoCo's text: walls, floor, obstacles, people, the base with its wheels and cameras all around."""

    def obstacle(k: int) -> str:
        kind, x, y = OBSTACLES[k]
        size = f'type="cylinder" size="{x} .45"' if kind == "round" else f'type="box" size="{x} {y} .45"'
        return f'<body name="obstacle{k}" mocap="true" pos="0 0 .45"><geom name="obstacle{k}" {size} rgba="{LOOKS[k]} 1"/></body>'

    def person(k: int) -> str:
        shirt = SHIRTS[k % len(SHIRTS)]
        return f"""<body name="person{k}" mocap="true" pos="0 0 .85">
      <geom name="person{k}" type="capsule" fromto="0 0 -.6 0 0 .35" size="{PERSON}" rgba="{shirt} 1"/>
      <geom name="head{k}" size=".13" pos="0 0 .72" rgba=".88 .7 .58 1"/>
    </body>"""

    def wall(k: int) -> str:
        x, y = ((1, 0), (-1, 0), (0, 1), (0, -1))[k]
        at, half = HALF + 0.05, HALF + 0.1
        size = f".05 {half} .4" if x else f"{half} .05 .4"
        return f'<geom name="wall{k}" type="box" pos="{x * at} {y * at} .4" size="{size}" rgba=".86 .85 .82 1"/>'

    def wheel(side: str, y: float) -> str:
        return f"""<body name="wheel_{side}" pos="0 {y} {WHEEL}">
        <joint name="wheel_{side}" axis="0 1 0" damping=".01" armature=".005"/>
        <geom name="tyre_{side}" class="rolls" size="{WHEEL}" mass=".6" friction="1 .005 .0001"/>
        <geom name="rim_{side}" type="cylinder" size="{WHEEL} .02" euler="1.5708 0 0" rgba=".12 .12 .13 1" mass="0"/>
        <geom name="spoke_{side}" type="box" size=".055 .023 .012" rgba=".7 .72 .75 1" mass="0"/>
      </body>"""

    def camera(name: str, x: int, y: int) -> str:
        return f'<camera name="{name}" pos="{0.08 * x} {0.08 * y} .36" xyaxes="{y} {-x} 0 0 0 1" fovy="104"/>'

    parts = "\n    ".join([*map(wall, range(4)), *map(obstacle, range(len(OBSTACLES))), *map(person, range(people))])
    eyes = "\n      ".join(camera(*each) for each in (("front", 1, 0), ("left", 0, 1), ("back", -1, 0), ("right", 0, -1)))
    tiles = "\n    ".join(
        f'<geom name="tile{k}" type="box" pos="{x} {y} -.006" size="{HALF / 4} {HALF / 4} .01" rgba=".68 .66 .63 1"/>'
        for k, (x, y) in enumerate((2 * i - 3, 2 * j - 3) for i in range(4) for j in range(4) if (i + j) % 2)
    )
    return f"""
<mujoco model="{name}">
  <compiler angle="radian" autolimits="true"/>
  <size nuserdata="{memory}"/>
  <option timestep=".01" integrator="implicitfast"/>
  <visual>
    <quality shadowsize="2048" offsamples="4"/>
    <global offwidth="1280" offheight="960"/>
    <headlight ambient=".4 .4 .4" diffuse=".25 .25 .25" specular="0 0 0"/>
    <map znear=".01" zfar="8" shadowclip="2"/>
  </visual>
  <statistic extent="4" center="0 0 .3"/>
  <asset><texture type="skybox" builtin="gradient" rgb1=".84 .88 .92" rgb2=".6 .67 .74" width="64" height="384"/></asset>
  <default>
    <geom contype="0" conaffinity="0"/>
    <default class="rolls"><geom contype="1" conaffinity="0" group="3" rgba="0 0 0 0"/></default>
  </default>
  <worldbody>
    <light name="lamp" pos="-.5 -2 6" dir=".1 .4 -1" directional="true" diffuse=".5 .5 .48" specular=".05 .05 .05"/>
    <geom name="ground" type="plane" size="0 0 1" contype="0" conaffinity="1" group="3" rgba="0 0 0 0"/>
    <geom name="floor" type="box" pos="0 0 -.011" size="{HALF} {HALF} .01" rgba=".74 .72 .69 1"/>
    {tiles}
    {parts}
    <body name="goal" mocap="true" pos="0 0 .002"><geom name="goal" type="cylinder" size=".3 .004" rgba=".15 .65 .4 1"/></body>
    <body name="base">
      <freejoint name="base"/>
      <site name="base" size=".005"/>
      <geom name="trunk" type="cylinder" pos="0 0 .16" size="{BASE} .08" rgba=".2 .24 .3 1" mass="10"/>
      <geom name="rim" type="cylinder" pos="0 0 .235" size=".19 .012" rgba=".25 .55 .85 1" mass=".2"/>
      <geom name="lidar" type="cylinder" pos="0 0 .29" size=".06 .045" rgba=".1 .1 .11 1" mass=".3"/>
      <geom name="nose" type="box" pos=".17 0 .252" size=".03 .06 .008" rgba=".95 .8 .25 1" mass=".05"/>
      <geom name="castor_back" class="rolls" pos="-.15 0 .04" size=".04" mass=".1" friction=".001 .0001 .0001" priority="1"/>
      <geom name="castor_front" class="rolls" pos=".15 0 .042" size=".04" mass=".1" friction=".001 .0001 .0001" priority="1"/>
      {wheel("left", TRACK / 2)}
      {wheel("right", -TRACK / 2)}
      {eyes}
    </body>
    <camera name="watch" pos="0 -6.2 7.6" xyaxes="1 0 0 0 .78 .626" fovy="48"/>
  </worldbody>
  <actuator>
    <velocity name="left" joint="wheel_left" kv="1.2" forcerange="-3 3"/>
    <velocity name="right" joint="wheel_right" kv="1.2" forcerange="-3 3"/>
  </actuator>
  <sensor>
    <framelinvel name="base_velocity" objtype="site" objname="base"/>
    <frameangvel name="base_turning" objtype="site" objname="base"/>
  </sensor>
</mujoco>"""
