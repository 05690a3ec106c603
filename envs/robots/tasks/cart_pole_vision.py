"""CartPoleVision: keep a pole upright on a cart, told only where the cart and the pole's tip are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.task import Objects, Thing, box

__all__ = ["CartPoleVision"]

START = 0  # stream
SPREAD = (0.3, 0.1, 0.2, 0.2)  # m, rad, m/s, rad/s, either way: how an episode starts
RAIL = 1.0  # m, to either side
FORCE = 10.0  # N
MODEL = f"""
<mujoco model="cart_pole_vision">
  <compiler angle="radian" autolimits="true"/>
  <option timestep=".005" integrator="implicitfast"/>
  <visual>
    <quality shadowsize="2048" offsamples="4"/>
    <global offwidth="1280" offheight="960"/>
    <headlight ambient=".4 .4 .4" diffuse=".3 .3 .3" specular="0 0 0"/>
  </visual>
  <statistic extent="2" center="0 0 .3"/>
  <asset><texture type="skybox" builtin="gradient" rgb1=".84 .88 .92" rgb2=".6 .67 .74" width="64" height="384"/></asset>
  <default><geom contype="0" conaffinity="0"/></default>
  <worldbody>
    <light name="lamp" pos="0 -1.5 2.5" dir="0 .4 -1" directional="true" diffuse=".5 .5 .48" specular=".1 .1 .1"/>
    <geom name="floor" type="box" pos="0 0 -.35" size="20 20 .1" rgba=".62 .64 .66 1"/>
    <geom name="rail" type="box" pos="0 0 -.09" size="1.15 .03 .015" rgba=".35 .37 .4 1"/>
    <geom name="foot_left" type="box" pos="-1.1 0 -.175" size=".03 .12 .08" rgba=".35 .37 .4 1"/>
    <geom name="foot_right" type="box" pos="1.1 0 -.175" size=".03 .12 .08" rgba=".35 .37 .4 1"/>
    <body name="cart">
      <joint name="slide" type="slide" axis="1 0 0" damping=".1" range="-{RAIL + 0.02} {RAIL + 0.02}"/>
      <geom name="cart" type="box" size=".1 .06 .07" rgba=".2 .4 .75 1" mass="1"/>
      <site name="cart" size=".005"/>
      <body name="pole">
        <joint name="hinge" axis="0 1 0" pos="0 0 0" damping=".002"/>
        <geom name="pole" type="capsule" fromto="0 -.075 0 0 -.075 .56" size=".015" rgba=".85 .75 .55 1" mass=".15"/>
        <geom name="tip" type="sphere" pos="0 -.075 .6" size=".04" rgba=".9 .22 .18 1" mass=".05"/>
        <site name="tip" pos="0 -.075 .6" size=".005"/>
      </body>
    </body>
    <camera name="front" pos="0 -2.7 .3" xyaxes="1 0 0 0 0 1" fovy="45"/>
    <camera name="watch" pos=".5 -2.5 .75" xyaxes=".98 .2 0 -.044 .215 .976" fovy="45"/>
  </worldbody>
  <actuator><motor name="force" joint="slide" gear="{FORCE}" ctrlrange="-1 1"/></actuator>
  <sensor>
    <framelinvel name="cart_velocity" objtype="site" objname="cart"/>
    <framelinvel name="tip_velocity" objtype="site" objname="tip"/>
  </sensor>
</mujoco>"""


@dataclass(frozen=True, kw_only=True)
class CartPoleVision:
    """Keep a pole upright on a cart that runs on a rail of 2 m, for ten seconds.

    What is told is made of where two things are, the cart and the red ball at the pole's tip, both of which the camera `front` sees;
    no joint is measured.

    ### Observation
    Box (4,): place of the cart (m) and its speed (m/s), angle of the line from cart to tip (rad, 0 upright) and its rate (rad/s).

    ### Action
    1 number: the force on the cart, 1 being 10 N to the right, for 20 ms.

    ### Reward
    1 a decision, less 0.1 for being at the rail's end (in proportion) and up to 0.01 for the square of the action.

    ### Start and end
    Cart within 0.3 m of the middle, pole within 0.1 rad of upright, both moving slowly. Terminated when the pole leans more than 0.35 rad
    or the cart is beyond the rail; truncated after 500 decisions (10 s), which is success.
    """

    lean: float = 0.35  # rad, at which the episode is lost

    name = "cart_pole_vision"
    about = "keep a pole upright on a cart, told where the cart and the pole's tip are"
    duration = 500
    substeps = 4
    cameras = ("front", "watch")
    things = (
        Thing("cart", ("cart",), 0.2, plane=(1, 0.0), speed=0.3, agility=6.0),
        Thing("ball", ("tip",), 0.08, plane=(1, -0.075), speed=0.4, agility=6.0),
    )
    action_size = 1

    def __post_init__(self) -> None:
        if not SPREAD[1] < self.lean <= 1.5:
            raise ConfigError(f"lean={self.lean}: must be more than {SPREAD[1]} rad, which poles may start with, and 1.5 rad at most")

    @property
    def weights(self) -> Mapping[str, float]:
        """Three terms."""
        return {"upright": 1.0, "offset": -0.1, "effort": -0.01}

    @property
    def observation_space(self) -> spaces.Box:
        """See the class."""
        return box((1, 3.0), (1, 30.0), (1, 4.0), (1, 100.0))

    def mjcf(self) -> str:
        """Cart, pole, rail."""
        return MODEL

    def start(self, physics: Physics, rows: NDArray[np.int64], draws: Draws) -> None:
        """See the class."""
        first = draws.uniform(START, 4, -np.array(SPREAD), np.array(SPREAD))
        physics.qpos[rows], physics.qvel[rows] = first[:, :2], first[:, 2:]

    def act(self, physics: Physics, action: Floats) -> None:
        """See the class."""
        physics.ctrl[:] = action

    def locate(self, physics: Physics) -> Objects:
        """Cart and tip."""
        places = np.stack([physics.site("cart"), physics.site("tip")], axis=1)
        return Objects(places, np.stack([physics.sensor("cart_velocity"), physics.sensor("tip_velocity")], axis=1))

    @property
    def feeling_space(self) -> spaces.Box:
        """Nothing: no joint is measured."""
        return box()

    def feel(self, physics: Physics) -> Floats:
        """See `feeling_space`."""
        return np.zeros((physics.size, 0))

    def observe(self, physics: Physics, objects: Objects) -> NDArray[np.float32]:
        """See the class."""
        cart, tip = objects.position[:, 0], objects.position[:, 1]
        along, up = tip[:, 0] - cart[:, 0], tip[:, 2] - cart[:, 2]
        swing = objects.velocity[:, 1] - objects.velocity[:, 0]
        rate = (up * swing[:, 0] - along * swing[:, 2]) / np.maximum(along * along + up * up, 1e-6)
        return np.stack([cart[:, 0], objects.velocity[:, 0, 0], np.arctan2(along, up), rate], axis=1).astype(np.float32)

    def reward_terms(self, physics: Physics, action: Floats) -> dict[str, Floats]:
        """See the class."""
        up = np.where(self.failed(physics), 0.0, 1.0)
        return {"upright": up, "offset": np.abs(physics.qpos[:, 0]) / RAIL, "effort": action[:, 0] ** 2}

    def success(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) upright to the last decision; not before."""
        whole = self.duration * self.substeps * physics.model.opt.timestep
        return np.asarray((physics.time > whole - 1e-6) & ~self.failed(physics))

    def failed(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) fallen, or off the rail."""
        return np.asarray((np.abs(physics.qpos[:, 1]) > self.lean) | (np.abs(physics.qpos[:, 0]) > RAIL))
