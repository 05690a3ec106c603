"""A quadruped of twelve joints, of capsules and boxes, as text of MuJoCo's format, and the kinematics of its legs.

Lengths, masses, ranges and largest torques are of the order of the Unitree Go1 (its published description: trunk 5.2 kg; a hip 0.68 kg, a
thigh 1.0 kg, a shank 0.2 kg; links of 0.213 m; 23.7 N m at hips and thighs, 35.5 N m at knees). Joints of a leg: `hip` swings it
sideways, `thigh` and `knee` in its plane.

Shapes: B worlds, L = 4 legs in the order of `LEGS`. Trunk's frame: x ahead, y left, z up.
"""

from __future__ import annotations

import numpy as np

from envs.robots.physics import Floats

__all__ = ["HOME", "JOINTS", "KP", "KV", "LEGS", "ROOTS", "STANDING", "leg_angles", "quadruped"]

LEGS = ("front_left", "front_right", "rear_left", "rear_right")
JOINTS = tuple(f"{leg}_{joint}" for leg in LEGS for joint in ("hip", "thigh", "knee"))
AHEAD, ASIDE = 0.1881, 0.04675  # m, of a hip's axis from the middle of the trunk
ARM, LINK, FOOT = 0.08, 0.213, 0.023  # m: from a hip's axis to its leg's plane, a thigh or a shank, radius of a foot
SIDES: Floats = np.array([1.0, -1.0, 1.0, -1.0])  # (L,) left is 1
ROOTS: Floats = np.array([[AHEAD, ASIDE], [AHEAD, -ASIDE], [-AHEAD, ASIDE], [-AHEAD, -ASIDE]])  # (L, 2) m, where legs begin
HOME: Floats = np.tile([0.0, 0.85, -1.7], 4)  # rad: feet below their hips
STANDING = 2.0 * LINK * float(np.cos(0.85)) + FOOT  # m, height of the trunk's middle at HOME
KP, KV = 100.0, 2.5  # N m/rad and N m s/rad, of the servos


def _leg(number: int) -> str:
    """One leg as a body of the trunk."""
    name, side, (x, y) = LEGS[number], SIDES[number], ROOTS[number]
    swing = f'<joint name="{name}_hip" class="leg" axis="1 0 0" range="-.86 .86"/>'
    thigh = f'<joint name="{name}_thigh" class="leg" axis="0 1 0" range="-.68 3.4"/>'
    knee = f'<joint name="{name}_knee" class="leg" axis="0 1 0" range="-2.8 -.7"/>'
    return f"""
      <body name="{name}_hip" pos="{x} {y} 0">
        {swing}
        <geom class="hub" type="cylinder" fromto="-.035 0 0 .035 0 0" size=".044"/>
        <geom class="hub" type="cylinder" fromto="0 {side * 0.03} 0 0 {side * 0.105} 0" size=".042" mass=".68" rgba=".23 .25 .28 1"/>
        <body name="{name}_thigh" pos="0 {side * ARM} 0">
          {thigh}
          <geom class="limb" fromto="0 0 -.03 0 0 -{LINK}" size=".022" mass="1.0"/>
          <geom class="hub" type="cylinder" fromto="0 -.026 -{LINK} 0 .026 -{LINK}" size=".026" rgba=".95 .55 .15 1"/>
          <body name="{name}_knee" pos="0 0 -{LINK}">
            {knee}
            <geom class="limb" fromto="0 0 -.02 0 0 -.19" size=".014" mass=".14" rgba=".23 .25 .28 1"/>
            <geom name="{name}_foot" class="foot" pos="0 0 -{LINK}"/>
            <site name="{name}_foot" pos="0 0 -{LINK}" size=".005"/>
          </body>
        </body>
      </body>"""


def quadruped(cameras: str = "") -> str:
    """The robot's body with a free joint, standing at the origin; `cameras` are elements inside its trunk."""
    legs = "".join(_leg(number) for number in range(4))
    return f"""
    <body name="trunk" pos="0 0 {STANDING}">
      <freejoint name="trunk"/>
      <geom name="trunk" class="limb" type="box" size=".19 .055 .05" mass="4.6" rgba=".93 .94 .95 1"/>
      <geom class="hub" type="box" pos=".01 0 .055" size=".13 .045 .012" rgba=".2 .42 .75 1"/>
      <geom name="head" class="limb" type="box" pos=".245 0 .03" size=".055 .05 .035" mass=".5" rgba=".23 .25 .28 1"/>
      <geom class="hub" type="sphere" pos=".296 .024 .035" size=".013" rgba=".55 .85 1 1"/>
      <geom class="hub" type="sphere" pos=".296 -.024 .035" size=".013" rgba=".55 .85 1 1"/>
      <site name="trunk" size=".005"/>
      {cameras}{legs}
    </body>"""


DEFAULTS = """
  <default>
    <default class="leg"><joint damping=".1" armature=".01" frictionloss=".1"/></default>
    <default class="limb"><geom type="capsule" contype="0" conaffinity="1" rgba=".93 .94 .95 1"/></default>
    <default class="hub"><geom contype="0" conaffinity="0" mass="0" rgba=".55 .58 .62 1"/></default>
    <default class="foot"><geom size=".023" contype="0" conaffinity="1" mass=".06" friction=".9 .02 .01" rgba=".12 .12 .13 1"/></default>
  </default>"""


def servos() -> str:
    """Position servos of all joints, in the order of `JOINTS`."""
    rows = []
    for joint in JOINTS:
        low, high, most = {"hip": (-0.86, 0.86, 23.7), "thigh": (-0.68, 3.4, 23.7), "knee": (-2.8, -0.7, 35.5)}[joint.rpartition("_")[2]]
        limits = f'ctrlrange="{low} {high}" forcerange="-{most} {most}"'
        rows.append(f'<position name="{joint}" joint="{joint}" kp="{KP:g}" kv="{KV:g}" {limits}/>')
    return "\n    ".join(rows)


def leg_angles(feet: Floats) -> Floats:
    """(B, 12) rad, angles of `JOINTS` that bring the feet to (B, L, 3) m, seen from where their legs begin, knees behind.

    A place out of reach is taken as the farthest, or nearest, in its direction. Closed form: y and z give the hip's angle, since the leg's
    plane is `ARM` aside of its axis; the law of cosines gives the knee's.
    """
    x, y, z = feet[..., 0], feet[..., 1], feet[..., 2]
    arm = SIDES * ARM
    down = np.sqrt(np.maximum(y * y + z * z - ARM * ARM, 0.1 * LINK * LINK))  # m, of the foot below the hip, in the leg's plane
    hip = np.arctan2(z, y) - np.arctan2(-down, arm)
    hip = np.arctan2(np.sin(hip), np.cos(hip))
    bend = np.clip((x * x + down * down) / (2.0 * LINK * LINK) - 1.0, np.cos(2.8), np.cos(0.7))
    knee = -np.arccos(bend)
    thigh = np.arctan2(-x, down) - 0.5 * knee
    return np.stack([hip, thigh, knee], axis=-1).reshape(len(feet), 12)
