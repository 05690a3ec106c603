"""VisualServo: keep a moving ball in the middle of the picture of a camera in the arm's hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.arm import scene
from envs.robots.kinematics import DOWN
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.task import Objects, Thing, box
from envs.robots.tool import TOOL_STEP, at_home, move_tool

__all__ = ["DISTANCE", "VisualServo"]

JOINT_NOISE, CENTRE, WAVE, PHASE = 0, 1, 2, 3  # streams
DISTANCE = 0.2  # m, from the lens to the ball
BALL = 0.025  # m, radius
ASIDE, DEPTH = 0.025, 0.05  # m, how far off the ball may be across the line of sight and along it: 7 degrees
LATE, SHARE = 50, 0.9  # of the last 50 decisions nine tenths
MEMORY = 10  # numbers remembered: centre, amplitude, phase (3 each), decisions it was in the middle
HAND = """
                    <geom name="housing" type="box" pos="0 0 .06" size=".03 .045 .03" rgba=".16 .17 .19 1" mass=".3" contype="2"/>
                    <geom name="glass" type="cylinder" pos="0 0 .098" size=".02 .008" rgba=".1 .35 .45 1" mass=".02" contype="2"/>
                    <camera name="wrist" pos="0 0 .12" xyaxes="1 0 0 0 -1 0" fovy="75"/>
                    <site name="tool" pos="0 0 .12" size=".005"/>"""
BODIES = f"""
    <body name="ball" mocap="true" pos=".43 0 .05">
      <geom name="ball" size="{BALL}" rgba=".95 .3 .2 1" contype="0" conaffinity="0"/>
    </body>"""
CAMERAS = """<camera name="watch" pos="1.35 -1.05 .9" xyaxes=".66 .75 0 -.34 .30 .89" fovy="40"/>"""


@dataclass(frozen=True, kw_only=True)
class VisualServo:
    """A ball floats about over the table. Keep the camera in the arm's hand above it: the ball in the middle of the picture, 20 cm away.

    ### Observation
    Box (12,): place (m) of the ball in the camera's axes (right, down, away) less where it should be, and its velocity over the table in
    the same axes (m/s); place and velocity of the camera (m, m/s, world frame). The ball is where it is believed to be, so it is
    perceived where other things are.

    ### Action
    3 numbers: the camera's displacement in x, y and z, 1 being 3 cm a decision of 40 ms; it keeps looking down.

    ### Reward
    1 a decision with the ball in the middle (2.5 cm across, 5 cm along the line of sight), less 2 for each metre it is off.

    ### Start and end
    Arm at home +- 0.05 rad, the ball up to 20 cm aside and moving along waves of `speed` times 0.2 Hz to 0.5 Hz. Truncated after 100
    decisions (4 s); success is to have had the ball in the middle before nine tenths of the last 50. Never terminated.
    """

    speed: float = 1.0  # of the ball, in proportion

    name = "visual_servo"
    about = "keep a moving ball in the middle of the picture of a camera in the hand"
    duration = 100
    substeps = 10
    cameras = ("wrist", "watch")
    things = (Thing("ball", ("ball",), 2.0 * BALL, speed=0.3, agility=0.7),)
    action_size = 3

    def __post_init__(self) -> None:
        if not 0.0 <= self.speed <= 2.0:
            raise ConfigError(f"speed={self.speed}: must be 0 to 2; faster balls outrun the arm")

    @property
    def weights(self) -> Mapping[str, float]:
        """Two terms."""
        return {"centred": 1.0, "distance": -2.0}

    @property
    def observation_space(self) -> spaces.Box:
        """See the class."""
        return box((3, 3.0), (3, 10.0), (3, 3.0), (3, 20.0))

    def mjcf(self) -> str:
        """The arm with a camera in its hand, a table and a ball."""
        return scene("visual_servo", BODIES, hand=HAND, fingers=False, cameras=CAMERAS, memory=MEMORY)

    def start(self, physics: Physics, rows: NDArray[np.int64], draws: Draws) -> None:
        """See the class."""
        at_home(physics, rows, draws.uniform(JOINT_NOISE, 7, -0.05, 0.05))
        side = np.where(draws.uniform(CENTRE, 4)[:, 3:] < 0.5, -1.0, 1.0)  # to one side, so that keeping still is not enough
        centre = draws.uniform(CENTRE, 3, np.array([0.4, 0.06, 0.04]), np.array([0.46, 0.1, 0.06]))
        centre[:, 1:2] *= side
        physics.userdata[rows, :3] = centre
        physics.userdata[rows, 3:6] = draws.uniform(WAVE, 3, np.array([0.05, 0.05, 0.0]), np.array([0.08, 0.08, 0.015]))
        physics.userdata[rows, 6:9] = draws.uniform(PHASE, 3, 0.0, 2.0 * math.pi)
        physics.userdata[rows, 9] = 0.0
        physics.mocap_pos[rows, 0] = self._path(physics)[0][rows]

    def _path(self, physics: Physics, later: float = 0.0) -> tuple[Floats, Floats]:
        """Place (B, 3) m and velocity (B, 3) m/s of the ball by the clock, or some seconds later."""
        centre, size, phase = physics.userdata[:, :3], physics.userdata[:, 3:6], physics.userdata[:, 6:9]
        rate = 2.0 * math.pi * self.speed * (0.2 + 0.3 * phase[:, ::-1] / (2.0 * math.pi))  # rad/s, of each axis another
        angle = phase + rate * (physics.time[:, None] + later)
        return centre + size * np.sin(angle), size * rate * np.cos(angle)

    def act(self, physics: Physics, action: Floats) -> None:
        """See the class."""
        late = physics.time > (self.duration - LATE - 0.5) * self.substeps * physics.model.opt.timestep
        physics.userdata[:, 9] += late & self.centred(physics)
        seconds = self.substeps * float(physics.model.opt.timestep)
        move_tool(physics, action * TOOL_STEP, seconds, frame=DOWN)
        physics.mocap_pos[:, 0] = self._path(physics, seconds)[0]  # where it is when the decision is over

    def locate(self, physics: Physics) -> Objects:
        """The ball, where it is drawn."""
        return Objects(physics.mocap_pos.copy(), self._path(physics)[1][:, None])

    @property
    def feeling_space(self) -> spaces.Box:
        """Camera position and velocity."""
        return box((3, 3.0), (3, 20.0))

    def feel(self, physics: Physics) -> Floats:
        """See `feeling_space`."""
        return np.concatenate([physics.site("tool"), physics.sensor("tool_velocity")], axis=1)

    def observe(self, physics: Physics, objects: Objects) -> NDArray[np.float32]:
        """See the class."""
        eye, axes = physics.site("tool"), physics.frame("tool")  # columns: right, down, away, as the camera is mounted
        off = _turned(axes, objects.position[:, 0] - eye) - np.array([0.0, 0.0, DISTANCE])
        parts = [off, _turned(axes, objects.velocity[:, 0]), eye, physics.sensor("tool_velocity")]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def off(self, physics: Physics) -> Floats:
        """(B, 3) m, where the ball is in the camera's axes less where it should be."""
        place = _turned(physics.frame("tool"), physics.mocap_pos[:, 0] - physics.site("tool"))
        return np.asarray(place - np.array([0.0, 0.0, DISTANCE]))

    def centred(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) whether the ball is in the middle now."""
        off = self.off(physics)
        return np.asarray((np.sqrt((off[:, :2] * off[:, :2]).sum(-1)) < ASIDE) & (np.abs(off[:, 2]) < DEPTH))

    def reward_terms(self, physics: Physics, action: Floats) -> dict[str, Floats]:
        """See the class."""
        off = self.off(physics)
        return {"centred": np.where(self.centred(physics), 1.0, 0.0), "distance": np.sqrt((off * off).sum(-1))}

    def success(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) whether it was in the middle for long enough."""
        return np.asarray(physics.userdata[:, 9] >= SHARE * LATE)

    def failed(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) never."""
        return np.zeros(physics.size, dtype=np.bool_)


def _turned(axes: Floats, vector: Floats) -> Floats:
    """(B, 3): a vector (B, 3) in axes (B, 3, 3), its columns."""
    return np.asarray((axes * vector[:, :, None]).sum(1))
