"""QuadrupedWalk: a quadruped walks at a commanded speed and turns at a commanded rate, on flat or rough ground."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import ConfigError, unknown
from envs.robots.physics import Floats, Physics
from envs.robots.quadruped import DEFAULTS, HOME, KP, KV, STANDING, quadruped, servos
from envs.robots.rng import Draws
from envs.robots.task import Objects, Thing, box

__all__ = ["FREQUENCY", "SPAN", "Body", "QuadrupedWalk", "body", "command_of", "phase_of"]

COMMAND, POSE = 0, 1  # streams
SPEED, TURN = (0.5, 1.0), 0.2  # m/s, rad/s either way: what is commanded
FREQUENCY = 2.5  # Hz of the clock that is told: two steps of each leg in 0.8 s, as of a trotting dog of this size
SPAN: Floats = np.tile([0.45, 0.8, 0.8], 4)  # rad: what an action of 1 is away from HOME
LEAST_UP, LOWEST = 0.6, 0.12  # a trunk that leans more than 53 degrees, or whose middle is lower (m), has fallen
WITHIN, TURN_WITHIN = 0.2, 0.1  # part of the commanded speed; rad/s
GROUNDS = ("flat", "rough")
CELLS, CELL, BUMP = 70, 0.4, 0.05  # of the rough ground, each way; m; m from its lowest to its highest place
BACK = 8.0  # m: on rough ground episodes start this far from the middle, which they walk towards
SPEED_SUM, TURN_SUM, HEADING, COUNT = 2, 3, 4, 5  # of userdata, after the command's two numbers
HEAD = '<camera name="head" pos=".3 0 .05" xyaxes="0 -1 0 .35 0 .94" fovy="70"/>'
WATCH = '<camera name="watch" mode="trackcom" pos="1.1 -1.2 .46" xyaxes=".74 .68 0 -.22 .24 .95" fovy="33"/>'
LAMP = '<light name="lamp" mode="trackcom" pos="-.4 -.8 2" dir=".2 .4 -1" directional="true" diffuse=".5 .5 .48" specular=".1 .1 .1"/>'


class Body(NamedTuple):
    """The trunk's motion as the robot feels it."""

    up: Floats  # (B, 3) the world's z axis in the trunk's frame
    velocity: Floats  # (B, 2) m/s ahead and to the left, level
    rise: Floats  # (B,) m/s up
    rates: Floats  # (B, 3) rad/s about the trunk's axes
    heading: Floats  # (B,) rad from the world's x axis


def body(physics: Physics) -> Body:
    """Of all worlds, from the free joint."""
    w, x, y, z = np.moveaxis(physics.qpos[:, 3:7], 1, 0)
    up = np.stack([2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)], axis=1)
    heading = np.arctan2(2.0 * (x * y + w * z), 1.0 - 2.0 * (y * y + z * z))
    ahead, aside = np.cos(heading), np.sin(heading)
    vx, vy, vz = np.moveaxis(physics.qvel[:, :3], 1, 0)
    velocity = np.stack([ahead * vx + aside * vy, ahead * vy - aside * vx], axis=1)
    return Body(up, velocity, vz, physics.qvel[:, 3:6], heading)


def command_of(physics: Physics) -> tuple[Floats, Floats, Floats]:
    """(B,) each: the speed (m/s) and the turning rate (rad/s) that are wanted, and how far off the heading is (rad, left is positive)."""
    speed, turn = physics.userdata[:, 0], physics.userdata[:, 1]
    off = physics.userdata[:, HEADING] + turn * physics.time - body(physics).heading
    return speed, turn, np.arctan2(np.sin(off), np.cos(off))


def phase_of(physics: Physics) -> Floats:
    """(B,) turns of the clock, from 0 at the start."""
    return physics.time * FREQUENCY


def bumps() -> NDArray[np.int64]:
    """(CELLS, CELLS) 0..9: heights of the rough ground in ninths of BUMP, rows along y and columns along x; the same always."""
    return np.asarray(np.random.Generator(np.random.Philox(key=[6, 0])).integers(0, 10, (CELLS, CELLS)))


@dataclass(frozen=True, kw_only=True)
class QuadrupedWalk:
    """Walk for twenty seconds as fast as commanded, turning as commanded. Nothing has to be seen: all levels but `pixels` are the same.

    ### Observation
    Box (38,): up in the trunk's frame (3), velocity ahead and to the left (m/s), rates about the trunk's axes (rad/s, 3), angles of the
    twelve joints from the standing pose (rad) and their speeds (rad/s), the commanded speed (m/s) and turning rate (rad/s), how far the
    heading is off what it should be by now (rad), the trunk's speed upwards (m/s), sine and cosine of a clock of 2.5 Hz.

    ### Action
    12 numbers: angles that the joints' servos hold for 20 ms, from the standing pose; 1 is 0.45 rad at hips, 0.8 rad at thighs and knees.

    ### Reward
    1 a decision for the commanded speed and 0.5 for the commanded heading, each falling off as a bell with the error (0.25 m/s, 0.25 rad);
    less the squares of sideways and upward speed, of leaning and of rolling and pitching, and the servos' power (W / 1000); -10 for a fall.

    ### Start and end
    At rest, standing, joints +- 0.05 rad, any heading. Commands, constant over an episode: 0.5 to 1.0 m/s, turning up to 0.2 rad/s either
    way. Terminated on a fall: the trunk leans 53 degrees or is lower than 12 cm. Truncated after 1000 decisions (20 s), with success if on
    average over the episode, its start included, the speed was off by no more than 20 % of the command (mean absolute error of the
    momentary speed along the heading), and the mean turning rate by no more than 0.1 rad/s.

    `ground="rough"`: bumps up to 5 cm high, 40 cm apart.
    """

    ground: str = "flat"

    name = "quadruped_walk"
    about = "walk on four legs at a commanded speed for twenty seconds"
    duration = 1000
    substeps = 4
    cameras = ("head", "watch")
    things: tuple[Thing, ...] = ()
    action_size = 12

    def __post_init__(self) -> None:
        if self.ground not in GROUNDS:
            raise ConfigError(unknown("ground", self.ground, list(GROUNDS)))

    @property
    def weights(self) -> Mapping[str, float]:
        """Eight terms."""
        return {
            "speed": 1.0, "heading": 0.5, "sideways": -1.0, "bounce": -0.5, "lean": -1.0, "rocking": -0.02, "power": -1.0, "fall": -10.0,
        }  # fmt: skip

    @property
    def observation_space(self) -> spaces.Box:
        """See the class."""
        return box((3, 1.1), (2, 20.0), (3, 100.0), (12, 4.0), (12, 200.0), (2, 2.0), (1, 3.2), (1, 20.0), (2, 1.1))

    def mjcf(self) -> str:
        """Robot and ground."""
        rough = self.ground == "rough"
        heights = " ".join(str(value) for value in bumps()[::-1].ravel()) if rough else ""
        half = 0.5 * CELL * (CELLS - 1)
        field = f'<hfield name="bumps" nrow="{CELLS}" ncol="{CELLS}" size="{half:g} {half:g} {BUMP} .2" elevation="{heights}"/>'
        surface = '<geom name="bumps" type="hfield" hfield="bumps" material="ground"/>'
        return f"""
<mujoco model="quadruped_walk">
  <compiler angle="radian" autolimits="true"/>
  <size nuserdata="6"/>
  <option timestep=".005" integrator="implicitfast" iterations="30"/>
  <visual>
    <quality shadowsize="2048" offsamples="4"/>
    <global offwidth="1280" offheight="960"/>
    <headlight ambient=".4 .4 .4" diffuse=".3 .3 .3" specular="0 0 0"/>
  </visual>
  <statistic extent="2" center="0 0 .3"/>
  <asset>
    <texture type="skybox" builtin="gradient" rgb1=".84 .88 .92" rgb2=".6 .67 .74" width="64" height="384"/>
    <texture name="tiles" type="2d" builtin="checker" rgb1=".62 .66 .62" rgb2=".52 .57 .53" width="128" height="128"/>
    <material name="ground" texture="tiles" texrepeat="{"35 35" if rough else "1 1"}" texuniform="{"false" if rough else "true"}"/>
    {field if rough else ""}
  </asset>{DEFAULTS}
  <worldbody>
    <geom name="floor" type="plane" size="60 60 1" pos="0 0 {-0.001 if rough else 0}" material="ground"/>
    {surface if rough else ""}
    {quadruped(LAMP + HEAD + WATCH)}
  </worldbody>
  <actuator>
    {servos()}
  </actuator>
</mujoco>"""

    def start(self, physics: Physics, rows: NDArray[np.int64], draws: Draws) -> None:
        """See the class."""
        wanted = draws.uniform(COMMAND, 3, np.array([SPEED[0], -TURN, -np.pi]), np.array([SPEED[1], TURN, np.pi]))
        speed, turn, heading = np.moveaxis(wanted, 1, 0)
        rough = self.ground == "rough"
        x, y = (-BACK * np.cos(heading), -BACK * np.sin(heading)) if rough else (np.zeros(len(rows)), np.zeros(len(rows)))
        physics.qpos[rows, 0], physics.qpos[rows, 1] = x, y
        physics.qpos[rows, 2] = STANDING + 0.01 + (highest(x, y) if rough else 0.0)  # feet are up to 10 mm lower in a pose that is off
        physics.qpos[rows, 3], physics.qpos[rows, 6] = np.cos(0.5 * heading), np.sin(0.5 * heading)
        physics.qpos[rows, 7:] = HOME + draws.uniform(POSE, 12, -0.05, 0.05)
        physics.ctrl[rows] = HOME
        physics.userdata[rows] = np.stack([speed, turn, 0.0 * speed, 0.0 * speed, heading, 0.0 * speed], axis=1)

    def act(self, physics: Physics, action: Floats) -> None:
        """See the class. Also keeps account of how the commands are followed."""
        now, memory = body(physics), physics.userdata
        memory[:, SPEED_SUM] += np.abs(now.velocity[:, 0] - memory[:, 0])
        memory[:, TURN_SUM] += now.rates[:, 2]
        memory[:, COUNT] += 1.0
        physics.ctrl[:] = HOME + SPAN * action

    def locate(self, physics: Physics) -> Objects:
        """Nothing."""
        return Objects(np.zeros((physics.size, 0, 3)), np.zeros((physics.size, 0, 3)))

    @property
    def feeling_space(self) -> spaces.Box:
        """All that is told."""
        return self.observation_space

    def feel(self, physics: Physics) -> Floats:
        """See the class."""
        now, (speed, turn, off), turns = body(physics), command_of(physics), 2.0 * np.pi * phase_of(physics)
        single = np.stack([speed, turn, off, now.rise, np.sin(turns), np.cos(turns)], axis=1)
        joints = physics.qpos[:, 7:] - HOME
        return np.concatenate([now.up, now.velocity, now.rates, joints, physics.qvel[:, 6:], single], axis=1)

    def observe(self, physics: Physics, objects: Objects) -> NDArray[np.float32]:
        """See the class."""
        return self.feel(physics).astype(np.float32)

    def reward_terms(self, physics: Physics, action: Floats) -> dict[str, Floats]:
        """See the class."""
        now, (speed, _, off) = body(physics), command_of(physics)
        motion = physics.qvel[:, 6:]
        torque = KP * (physics.ctrl - physics.qpos[:, 7:]) - KV * motion
        return {
            "speed": np.exp(-(((now.velocity[:, 0] - speed) / 0.25) ** 2)),
            "heading": np.exp(-((off / 0.25) ** 2)),
            "sideways": now.velocity[:, 1] ** 2,
            "bounce": now.rise**2,
            "lean": now.up[:, 0] ** 2 + now.up[:, 1] ** 2,
            "rocking": now.rates[:, 0] ** 2 + now.rates[:, 1] ** 2,
            "power": np.minimum(np.abs(torque * motion).sum(1) / 1000.0, 1.0),
            "fall": self.failed(physics).astype(np.float64),
        }

    def success(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) at the end of the time, not before: upright, and commands followed."""
        memory, count = physics.userdata, np.maximum(physics.userdata[:, COUNT], 1.0)
        kept = memory[:, SPEED_SUM] / count <= WITHIN * memory[:, 0]
        turned = np.abs(memory[:, TURN_SUM] / count - memory[:, 1]) <= TURN_WITHIN
        over = physics.time > self.duration * self.substeps * physics.model.opt.timestep - 1e-6
        return np.asarray(over & kept & turned & ~self.failed(physics))

    def failed(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) fallen."""
        x, y = physics.qpos[:, 4], physics.qpos[:, 5]
        return np.asarray((1.0 - 2.0 * (x * x + y * y) < LEAST_UP) | (physics.qpos[:, 2] < LOWEST))


def highest(x: Floats, y: Floats) -> Floats:
    """(n,) m: the highest bump that is within a robot's length of places (n,)."""
    column, row = ((np.rint(part / CELL + 0.5 * (CELLS - 1))).astype(np.int64) for part in (x, y))
    near = [bumps()[np.clip(row + i, 0, CELLS - 1), np.clip(column + k, 0, CELLS - 1)] for i in (-1, 0, 1) for k in (-1, 0, 1)]
    return np.asarray(np.max(near, axis=0) * (BUMP / 9.0))
