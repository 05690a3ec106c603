"""PickPlace: pick a cube up and hold it at a place in the air or on the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.robots.arm import FINGERS, OPEN, scene
from envs.robots.goals import GoalTask, far_enough
from envs.robots.kinematics import DOWN
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.task import Objects, Thing, box
from envs.robots.tool import at_home, command, feeling, feeling_box

__all__ = ["HALF", "PickPlace"]

JOINT_NOISE, CUBE, GOAL, AIR = 0, 1, 2, 3  # streams
HALF = 0.02  # m, half the cube's side; the fingers open to twice that
LOW, HIGH = np.array([0.36, -0.2]), np.array([0.52, 0.2])  # m, where cubes start and goals are
LEAST = 0.1  # m, from the cube to the goal
CAMERAS = """<camera name="front" pos="1.25 0 .8" xyaxes="0 1 0 -.643 0 .766" fovy="36"/>
    <camera name="left" pos=".95 .8 .6" xyaxes="-.843 .538 0 -.243 -.381 .892" fovy="34"/>
    <camera name="watch" pos="1.45 -1.1 .95" xyaxes=".66 .75 0 -.34 .30 .89" fovy="40"/>"""
BODIES = f"""
    <body name="goal" mocap="true" pos=".5 0 .1">
      <geom name="goal" type="sphere" size=".015" rgba=".25 .7 .35 1" contype="0" conaffinity="0"/>
    </body>
    <body name="cube" pos=".42 0 {HALF}">
      <freejoint name="cube"/>
      <geom name="cube" type="box" size="{HALF} {HALF} {HALF}" rgba=".95 .6 .15 1" mass=".08" conaffinity="3" condim="4"/>
      <site name="cube" size=".005"/>
    </body>"""


@dataclass(frozen=True, kw_only=True)
class PickPlace(GoalTask):
    """Pick an orange cube of 4 cm up from the table and bring its centre to within `tolerance` of a green ball.

    ### Observation
    | key | what |
    |---|---|
    | observation (17,) | tool position (m) and velocity (m/s), how far each finger is open (m), cube place and speed, and from the tool |
    | achieved_goal (3,) | place of the cube, m |
    | desired_goal (3,) | place of the green ball, m |

    With `control="joints"` 14 numbers more behind those of the tool: the joints' angles (rad) and speeds (rad/s).
    Cube and ball are where they are believed to be, so they are perceived where other things are.

    ### Action
    `tool`: 4 numbers, the tool's displacement in x, y and z, 1 being 3 cm a decision, and the gripper, 1 open, -1 closed; the tool keeps
    pointing down. `joints`: 8 numbers, each joint's speed, 1 being its limit, and the gripper.

    ### Reward
    -1 a decision away from the goal, 0 at it (`sparse`), or minus the distance in metres (`dense`); `compute_reward` as in Reach.

    ### Start and end
    Arm at home with its gripper open; the goal 10 cm or more from the cube, on the table (one in three) or up to 25 cm above. Truncated
    after 100 decisions (4 s); success is to be at the goal then. Never terminated.
    """

    control: str = "tool"
    reward: str = "sparse"
    tolerance: float = 0.025  # m

    name = "pick_place"
    about = "pick a cube up and hold it at a place"
    duration = 100
    substeps = 10
    cameras = ("front", "left", "watch")
    things = (Thing("cube", ("cube",), 2.0 * HALF, speed=0.1, agility=1.0, fingers=FINGERS), Thing("marker", ("goal",), 0.03))

    @property
    def weights(self) -> Mapping[str, float]:
        """One term."""
        return {"goal": 1.0}

    @property
    def action_size(self) -> int:
        """4 or 8."""
        return 4 if self.control == "tool" else 8

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """See the class."""
        parts = feeling_box(self.control, (2, 0.1), (3, 5.0), (3, 50.0), (3, 5.0))
        return spaces.Dict({"observation": parts, "achieved_goal": box((3, 5.0)), "desired_goal": box((3, 5.0))})

    def mjcf(self) -> str:
        """The arm, a table, cube and ball."""
        return scene("pick_place", BODIES, cameras=CAMERAS, grasping=True)

    def start(self, physics: Physics, rows: NDArray[np.int64], draws: Draws) -> None:
        """See the class."""
        at_home(physics, rows, draws.uniform(JOINT_NOISE, 7, -0.05, 0.05))
        physics.qpos[np.ix_(rows, physics.joints(*FINGERS))] = OPEN
        physics.ctrl[rows, 7:9] = OPEN
        cube = draws.uniform(CUBE, 2, LOW, HIGH)
        places = LOW + draws.uniform(GOAL, 16).reshape(-1, 8, 2) * (HIGH - LOW)
        goal = far_enough(places, cube, LEAST)
        air = draws.uniform(AIR, 2)
        first = int(physics.joints("cube")[0])
        physics.qpos[rows, first : first + 2] = cube
        physics.mocap_pos[rows, 0, :2] = goal
        physics.mocap_pos[rows, 0, 2] = HALF + np.where(air[:, 0] < 1.0 / 3.0, 0.0, 0.25 * air[:, 1])

    def act(self, physics: Physics, action: Floats) -> None:
        """See the class."""
        seconds = self.substeps * float(physics.model.opt.timestep)
        command(physics, action[:, :-1], self.control, seconds, frame=DOWN)
        physics.ctrl[:, 7:9] = 0.5 * OPEN * (1.0 + action[:, -1:])

    def locate(self, physics: Physics) -> Objects:
        """Cube and ball."""
        first = int(physics.speeds("cube")[0])
        cube, speed = physics.site("cube"), physics.qvel[:, first : first + 3]
        goal = physics.mocap_pos[:, 0]
        return Objects(np.stack([cube, goal], axis=1), np.stack([speed, np.zeros_like(speed)], axis=1))

    @property
    def feeling_space(self) -> spaces.Box:
        """Tool position and velocity, with joints commanded their angles and speeds, how far each finger is open."""
        return feeling_box(self.control, (2, 0.1))

    def feel(self, physics: Physics) -> Floats:
        """See `feeling_space`."""
        fingers = physics.qpos[:, physics.joints(*FINGERS)]
        return np.concatenate([feeling(physics, self.control), fingers], axis=1)

    def observe(self, physics: Physics, objects: Objects) -> dict[str, NDArray[np.float32]]:
        """See the class."""
        cube, goal = objects.position[:, 0], objects.position[:, 1]
        parts = [self.feel(physics), cube, objects.velocity[:, 0], cube - physics.site("tool")]
        return self.goals(np.concatenate(parts, axis=1), cube, goal)

    def achieved(self, physics: Physics) -> tuple[Floats, Floats]:
        """Where the cube is and where it should be."""
        return physics.site("cube"), physics.mocap_pos[:, 0]
