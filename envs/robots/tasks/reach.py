"""Reach: bring the tool of the arm to a point in space and keep it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.arm import scene
from envs.robots.goals import GoalTask, far_enough
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.task import Objects, Thing, box
from envs.robots.tool import at_home, command, feeling, feeling_box

__all__ = ["Reach"]

JOINT_NOISE, GOAL = 0, 1  # streams
TRIES = 8  # places drawn for a goal; the first that is far enough from the tool is taken, or the farthest
MOST = 0.3  # m: what may be asked for as far enough; there are such places all around
CAMERAS = """<camera name="front" pos="1.35 0 .75" xyaxes="0 1 0 -.45 0 .89" fovy="50"/>
    <camera name="left" pos=".45 1.25 .55" xyaxes="-1 0 0 0 -.28 .96" fovy="45"/>
    <camera name="watch" pos="1.25 -1.15 1.0" xyaxes=".66 .75 0 -.40 .35 .85" fovy="42"/>"""
BALL = """
    <body name="goal" mocap="true" pos=".4 0 .3"><geom name="goal" size="{size}" rgba=".95 .25 .2 1" contype="0" conaffinity="0"/></body>"""


@dataclass(frozen=True, kw_only=True)
class Reach(GoalTask):
    """Bring the tool, the point between the finger tips, to within `tolerance` of the centre of a red ball that hangs in the air.

    ### Observation
    | key | what |
    |---|---|
    | observation (6,) | tool position (m) and velocity (m/s) |
    | achieved_goal (3,) | tool position, m |
    | desired_goal (3,) | the ball, m; from where it is believed to be, so it is perceived where other things are |

    With `control="joints"` 14 numbers more behind those of the tool: the joints' angles (rad) and speeds (rad/s).

    ### Action
    `tool`: 3 numbers, the tool's displacement in x, y and z, 1 being 3 cm a decision; damped least squares make joint angles of it.
    `joints`: 7 numbers, each joint's speed, 1 being its limit. Servos then hold these angles for 40 ms.

    ### Reward
    -1 a decision away from the goal, 0 at it (`sparse`), or minus the distance in metres (`dense`). `compute_reward` says it for any
    goal, as hindsight experience replay needs.

    ### Start and end
    Joints at home +- 0.1 rad; the ball 10 cm or more from the tool, in a part of a sphere around the shoulder that the arm reaches.
    Truncated after 50 decisions (2 s); success is to be at the goal then. Never terminated.
    """

    control: str = "tool"
    reward: str = "sparse"
    tolerance: float = 0.025  # m, also the ball's radius: success is to hold the tool in the ball
    least: float = 0.1  # m, from the tool to a new goal

    name = "reach"
    feels_goal = True
    about = "bring the tool to a point and keep it there"
    duration = 50
    substeps = 10
    cameras = ("front", "left", "watch")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tolerance <= self.least <= MOST:
            raise ConfigError(f"least={self.least}: must be between the tolerance, {self.tolerance} m, and {MOST} m")

    @property
    def weights(self) -> Mapping[str, float]:
        """One term."""
        return {"goal": 1.0}

    @property
    def things(self) -> tuple[Thing, ...]:
        """The ball."""
        return (Thing("ball", ("goal",), 2.0 * self.tolerance),)

    @property
    def action_size(self) -> int:
        """3 or 7."""
        return 3 if self.control == "tool" else 7

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """See the class."""
        return spaces.Dict({"observation": self.feeling_space, "achieved_goal": box((3, 2.0)), "desired_goal": box((3, 2.0))})

    def mjcf(self) -> str:
        """The arm, a table and the ball."""
        return scene("reach", BALL.format(size=self.tolerance), cameras=CAMERAS)

    def start(self, physics: Physics, rows: NDArray[np.int64], draws: Draws) -> None:
        """See the class."""
        at_home(physics, rows, draws.uniform(JOINT_NOISE, 7, -0.1, 0.1))
        physics.forward(rows)
        places = reachable(draws.uniform(GOAL, 3 * TRIES).reshape(-1, TRIES, 3))
        physics.mocap_pos[rows, 0] = far_enough(places, physics.site("tool")[rows], self.least)

    def act(self, physics: Physics, action: Floats) -> None:
        """See the class."""
        seconds = self.substeps * float(physics.model.opt.timestep)
        command(physics, action, self.control, seconds)

    def locate(self, physics: Physics) -> Objects:
        """The ball, which does not move."""
        return Objects(physics.mocap_pos.copy(), np.zeros_like(physics.mocap_pos))

    @property
    def feeling_space(self) -> spaces.Box:
        """Tool position and velocity; with joints commanded, their angles and speeds."""
        return feeling_box(self.control)

    def feel(self, physics: Physics) -> Floats:
        """See `feeling_space`."""
        return feeling(physics, self.control)

    def observe(self, physics: Physics, objects: Objects) -> dict[str, NDArray[np.float32]]:
        """See the class."""
        return self.goals(self.feel(physics), physics.site("tool"), objects.position[:, 0])

    def achieved(self, physics: Physics) -> tuple[Floats, Floats]:
        """Where the tool is and where it should be."""
        return physics.site("tool"), physics.mocap_pos[:, 0]


def reachable(unit: Floats) -> Floats:
    """Points (..., 3) m from numbers (..., 3) in [0, 1): 0.35 m to 0.6 m from the axis, 60 degrees to either side, 0.1 m to 0.5 m up."""
    radius, side = 0.35 + 0.25 * unit[..., 0], np.radians(120.0) * (unit[..., 1] - 0.5)
    return np.stack([radius * np.cos(side), radius * np.sin(side), 0.1 + 0.4 * unit[..., 2]], axis=-1)
