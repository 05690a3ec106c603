"""PushCube: push a cube on the table to a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import ConfigError, unknown
from envs.robots.arm import scene
from envs.robots.goals import GoalTask, far_enough
from envs.robots.kinematics import DOWN
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.task import Objects, Thing, box
from envs.robots.tool import at_home, command, feeling, feeling_box

__all__ = ["HALF", "PushCube"]

JOINT_NOISE, CUBE, GOAL = 0, 1, 2  # streams
HALF = 0.025  # m, half the cube's side
WHERE = ("ahead", "anywhere")
LOW, HIGH = np.array([0.4, -0.15]), np.array([0.44, 0.15])  # m, where the cube starts: the arm cannot fold enough to get behind nearer ones
FAR_LOW, FAR_HIGH = np.array([0.42, -0.22]), np.array([0.56, 0.22])  # m, where goals are that are anywhere
CAMERAS = """<camera name="front" pos="1.25 0 .8" xyaxes="0 1 0 -.716 0 .698" fovy="36"/>
    <camera name="left" pos=".48 1.0 .75" xyaxes="-1 0 0 0 -.59 .81" fovy="27"/>
    <camera name="watch" pos="1.5 -1.15 1.0" xyaxes=".66 .75 0 -.34 .30 .89" fovy="40"/>"""
BODIES = f"""
    <body name="goal" mocap="true" pos=".5 0 .0015">
      <geom name="goal" type="cylinder" size=".04 .0015" rgba=".25 .7 .35 1" contype="0" conaffinity="0"/>
    </body>
    <body name="cube" pos=".42 0 {HALF}">
      <freejoint name="cube"/>
      <geom name="cube" type="box" size="{HALF} {HALF} {HALF}" rgba=".95 .6 .15 1" mass=".1" conaffinity="3" friction=".6 .01 .001"/>
      <site name="cube" size=".005"/>
    </body>"""


@dataclass(frozen=True, kw_only=True)
class PushCube(GoalTask):
    """Push an orange cube of 5 cm over the table until its centre is within `tolerance` of that of a green disc.

    ### Observation
    | key | what |
    |---|---|
    | observation (12,) | tool position (m) and velocity (m/s); of the cube x, y (m), speed (m/s), and place relative to the tool (m) |
    | achieved_goal (2,) | x, y of the cube, m |
    | desired_goal (2,) | x, y of the disc, m |

    With `control="joints"` 14 numbers more behind those of the tool: the joints' angles (rad) and speeds (rad/s).
    Cube and disc are where they are believed to be, so they are perceived where other things are.

    ### Action
    `tool`: 3 numbers, the tool's displacement in x, y and z, 1 being 3 cm a decision; it keeps pointing down. `joints`: 7 numbers, each
    joint's speed, 1 being its limit. The gripper stays closed.

    ### Reward
    -1 a decision away from the goal, 0 at it (`sparse`), or minus the distance in metres (`dense`); `compute_reward` as in Reach.

    ### Start and end
    Arm at home; the cube in front of it; the disc 10 cm to 15 cm straight ahead of the cube (`where="ahead"`), or anywhere within reach
    and at least 10 cm away. Truncated after 75 decisions (3 s); success is to be at the goal then. Never terminated.
    """

    control: str = "tool"
    reward: str = "sparse"
    tolerance: float = 0.03  # m
    where: str = "ahead"

    name = "push_cube"
    about = "push a cube on the table to a place"
    duration = 75
    substeps = 10
    cameras = ("front", "left", "watch")
    things = (
        Thing("cube", ("cube",), 2.0 * HALF, plane=(2, HALF), speed=0.1, agility=2.0),
        Thing("disc", ("goal",), 0.08, plane=(2, 0.0015)),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.where not in WHERE:
            raise ConfigError(unknown("place for the goal: where =", self.where, WHERE))

    @property
    def weights(self) -> Mapping[str, float]:
        """One term."""
        return {"goal": 1.0}

    @property
    def action_size(self) -> int:
        """3 or 7."""
        return 3 if self.control == "tool" else 7

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """See the class."""
        parts = feeling_box(self.control, (2, 5.0), (2, 50.0), (2, 5.0))
        return spaces.Dict({"observation": parts, "achieved_goal": box((2, 5.0)), "desired_goal": box((2, 5.0))})

    def mjcf(self) -> str:
        """The arm, a table, cube and disc."""
        return scene("push_cube", BODIES, cameras=CAMERAS)

    def start(self, physics: Physics, rows: NDArray[np.int64], draws: Draws) -> None:
        """See the class."""
        at_home(physics, rows, draws.uniform(JOINT_NOISE, 7, -0.05, 0.05))
        cube = draws.uniform(CUBE, 2, LOW, HIGH)
        if self.where == "ahead":
            goal = cube + draws.uniform(GOAL, 1, 0.1, 0.15) * np.array([1.0, 0.0])
        else:
            places = FAR_LOW + draws.uniform(GOAL, 16).reshape(-1, 8, 2) * (FAR_HIGH - FAR_LOW)
            goal = far_enough(places, cube, 0.1)
        first = int(physics.joints("cube")[0])
        physics.qpos[rows, first : first + 2] = cube
        physics.mocap_pos[rows, 0, :2] = goal

    def act(self, physics: Physics, action: Floats) -> None:
        """See the class."""
        seconds = self.substeps * float(physics.model.opt.timestep)
        command(physics, action, self.control, seconds, frame=DOWN)

    def locate(self, physics: Physics) -> Objects:
        """Cube and disc."""
        first = int(physics.speeds("cube")[0])
        cube, speed = physics.site("cube"), physics.qvel[:, first : first + 3]
        disc = physics.mocap_pos[:, 0]
        return Objects(np.stack([cube, disc], axis=1), np.stack([speed, np.zeros_like(speed)], axis=1))

    @property
    def feeling_space(self) -> spaces.Box:
        """Tool position and velocity; with joints commanded, their angles and speeds."""
        return feeling_box(self.control)

    def feel(self, physics: Physics) -> Floats:
        """See `feeling_space`."""
        return feeling(physics, self.control)

    def observe(self, physics: Physics, objects: Objects) -> dict[str, NDArray[np.float32]]:
        """See the class."""
        tool, cube, goal = physics.site("tool"), objects.position[:, 0, :2], objects.position[:, 1, :2]
        parts = [self.feel(physics), cube, objects.velocity[:, 0, :2], cube - tool[:, :2]]
        return self.goals(np.concatenate(parts, axis=1), cube, goal)

    def achieved(self, physics: Physics) -> tuple[Floats, Floats]:
        """Where the cube is and where it should be."""
        return physics.site("cube")[:, :2], physics.mocap_pos[:, 0, :2]
