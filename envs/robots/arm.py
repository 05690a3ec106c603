"""The arm: seven joints and a parallel gripper, of capsules and boxes, as text of MuJoCo's format.

Its joints alternate as those of a human arm do: shoulder (turn, bend, turn), elbow (bend), wrist (turn, bend, turn). Limits of angle and
speed are of the order of the KUKA LBR iiwa 14 (its data sheet: 170, 120, 170, 120, 170, 120, 175 degrees; 85 to 135 degrees/s). Lengths, in
metres: base to shoulder 0.31, upper arm 0.32, forearm 0.30, wrist to tool 0.20. Gravity is compensated for, as such arms do themselves.
"""

from __future__ import annotations

import math

import numpy as np

from envs.robots.physics import Floats

__all__ = ["FINGERS", "HOME", "JOINTS", "LIMITS", "OPEN", "SPEEDS", "arm", "scene"]

JOINTS = tuple(f"joint{k}" for k in range(1, 8))
FINGERS = ("finger_left", "finger_right")
HOME: Floats = np.array([0.0, 0.5, 0.0, 1.6, 0.0, math.pi - 2.1, 0.0])  # rad: the tool points down, 0.41 m ahead and 0.24 m up
LIMITS: Floats = np.radians([170.0, 120.0, 170.0, 120.0, 170.0, 120.0, 175.0])  # rad, either way
SPEEDS: Floats = np.radians([85.0, 85.0, 100.0, 75.0, 130.0, 135.0, 135.0])  # rad/s
OPEN = 0.04  # m, of each finger

GRIPPER = """
                    <geom name="palm" type="box" pos="0 0 .055" size=".022 .085 .02" rgba=".25 .27 .3 1" mass=".5"/>
                    <site name="tool" pos="0 0 .12" size=".005"/>
                    <body name="finger_left" pos="0 0 .075" gravcomp="1">
                      <joint name="finger_left" type="slide" axis="0 1 0" range="0 .04" damping="5" armature=".1"/>
                      <geom class="tip" pos="0 .008 .03"/>
                    </body>
                    <body name="finger_right" pos="0 0 .075" gravcomp="1">
                      <joint name="finger_right" type="slide" axis="0 -1 0" range="0 .04" damping="5" armature=".1"/>
                      <geom class="tip" pos="0 -.008 .03"/>
                    </body>"""
DEFAULTS = """
  <default>
    <default class="link"><geom type="capsule" rgba=".93 .94 .95 1" contype="2" conaffinity="1"/></default>
    <default class="hub"><geom type="cylinder" rgba=".28 .45 .68 1" contype="0" conaffinity="0" mass="0"/></default>
    <default class="tip">
      <geom type="box" size=".012 .008 .035" rgba=".16 .17 .19 1" contype="2" conaffinity="1" friction="1.2 .02 .001" mass=".05"/>
    </default>
  </default>"""


def arm(hand: str = GRIPPER) -> str:
    """The arm's body, standing at the origin, with another hand if wanted; it has to bring a site `tool`."""
    low, high = -LIMITS, LIMITS

    def joint(k: int, axis: str) -> str:
        # armature: what motor and gear add, as seen at the joint; it also lets the time step be long
        name, limits = f'name="joint{k}" axis="{axis}"', f'range="{low[k - 1]} {high[k - 1]}"'
        return f'<joint {name} {limits} armature="{ARMATURE[k - 1]}" damping="{DAMPING[k - 1]}"/>'

    return f"""
    <body name="base" gravcomp="1">
      <geom class="hub" size=".09 .07" pos="0 0 .07" rgba=".28 .3 .33 1"/>
      <body name="link1" pos="0 0 .14" gravcomp="1">
        {joint(1, "0 0 1")}
        <geom class="link" size=".065" fromto="0 0 .02 0 0 .15" mass="4"/>
        <body name="link2" pos="0 0 .17" gravcomp="1">
          {joint(2, "0 1 0")}
          <geom class="hub" size=".07" fromto="0 -.075 0 0 .075 0"/>
          <geom class="link" size=".055" fromto="0 0 .03 0 0 .14" mass="3.5"/>
          <body name="link3" pos="0 0 .16" gravcomp="1">
            {joint(3, "0 0 1")}
            <geom class="link" size=".05" fromto="0 0 .03 0 0 .14" mass="3"/>
            <body name="link4" pos="0 0 .16" gravcomp="1">
              {joint(4, "0 1 0")}
              <geom class="hub" size=".058" fromto="0 -.065 0 0 .065 0"/>
              <geom class="link" size=".046" fromto="0 0 .03 0 0 .13" mass="2.5"/>
              <body name="link5" pos="0 0 .15" gravcomp="1">
                {joint(5, "0 0 1")}
                <geom class="link" size=".042" fromto="0 0 .03 0 0 .12" mass="1.7"/>
                <body name="link6" pos="0 0 .15" gravcomp="1">
                  {joint(6, "0 1 0")}
                  <geom class="hub" size=".046" fromto="0 -.055 0 0 .055 0"/>
                  <geom class="link" size=".04" fromto="0 0 0 0 0 .03" mass="1.2"/>
                  <body name="link7" pos="0 0 .08" gravcomp="1">
                    {joint(7, "0 0 1")}
                    <geom class="link" size=".034" fromto="0 0 .01 0 0 .025" rgba=".28 .3 .33 1" mass=".4"/>{hand}
                  </body>
                </body>
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>"""


ARMATURE = (0.3, 0.3, 0.2, 0.2, 0.05, 0.05, 0.02)  # kg m^2
DAMPING = (2.0, 2.0, 1.5, 1.5, 0.5, 0.5, 0.3)  # N m s/rad
STIFFNESS = (2000, 2000, 1500, 1500, 500, 500, 200)  # N m/rad
TORQUE = (320, 320, 176, 176, 110, 40, 40)  # N m, iiwa 14


def servos(fingers: bool = True) -> str:
    """Position servos of the joints, critically damped, and of the gripper."""
    joints = [
        f'<position name="joint{k + 1}" joint="joint{k + 1}" kp="{STIFFNESS[k]}" dampratio="1" forcerange="-{TORQUE[k]} {TORQUE[k]}"/>'
        for k in range(7)
    ]
    grip = [f'<position name="{name}" joint="{name}" kp="400" dampratio="1" forcerange="-30 30"/>' for name in FINGERS]
    return "\n    ".join(joints + (grip if fingers else []))


def scene(
    name: str,
    bodies: str = "",
    *,
    hand: str = GRIPPER,
    fingers: bool = True,
    cameras: str = "",
    sensors: str = "",
    timestep: float = 0.004,
    memory: int = 0,
    grasping: bool = False,
) -> str:
    """A whole model: the arm on a table, lights, and what a task adds.

    The floor is a box: a plane is cut into thousands of triangles, which is five times the rest of a small picture in software.

    hand: see `arm`; fingers: whether it has those of the gripper. timestep: s. memory: numbers of `userdata`.
    grasping: friction by MuJoCo's finer and dearer model, so that what is held does not creep out of the fingers.
    """
    friction = ' cone="elliptic" impratio="20"' if grasping else ""
    return f"""
<mujoco model="{name}">
  <compiler angle="radian" autolimits="true"/>
  <size nuserdata="{memory}"/>
  <option timestep="{timestep}" integrator="implicitfast"{friction}/>
  <visual>
    <quality shadowsize="2048" offsamples="4"/>
    <global offwidth="1280" offheight="960"/>
    <headlight ambient=".35 .35 .35" diffuse=".25 .25 .25" specular="0 0 0"/>
    <map znear=".02" zfar="20"/>
  </visual>
  <statistic extent="1.5" center=".3 0 .3"/>
  <asset><texture type="skybox" builtin="gradient" rgb1=".78 .84 .9" rgb2=".5 .58 .66" width="64" height="384"/></asset>{DEFAULTS}
  <worldbody>
    <light name="lamp" pos=".3 -1 2.2" dir="0 .4 -1" directional="true" diffuse=".55 .55 .52" specular=".1 .1 .1"/>
    <geom name="floor" type="box" pos="0 0 -.8" size="20 20 .1" rgba=".55 .58 .6 1" contype="0" conaffinity="0"/>
    <geom name="table" type="box" pos=".35 0 -.02" size=".6 .6 .02" rgba=".82 .74 .62 1" friction=".8 .01 .001"/>
    <geom name="stand" type="box" pos=".35 0 -.37" size=".5 .5 .33" rgba=".5 .46 .42 1" contype="0" conaffinity="0"/>{arm(hand)}{bodies}
    {cameras}
  </worldbody>
  <actuator>
    {servos(fingers)}
  </actuator>
  <sensor>
    <framelinvel name="tool_velocity" objtype="site" objname="tool"/>
    {sensors}
  </sensor>
</mujoco>"""
