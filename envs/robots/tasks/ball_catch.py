"""BallCatch: be with a cup where a thrown ball comes down, in time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.arm import scene
from envs.robots.goals import far_enough
from envs.robots.kinematics import DOWN
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws
from envs.robots.task import Objects, Thing, box
from envs.robots.tool import TOOL_STEP, at_home, move_tool

__all__ = ["GRAVITY", "HEIGHT", "BallCatch", "landing"]

JOINT_NOISE, THROW, PLACE = 0, 1, 2  # streams
TRIES = 8  # places drawn for a throw to come down at; the first that is far enough from the cup is taken, or the farthest
LEAST = 0.1  # m, so that keeping still catches nothing
GRAVITY = 9.81  # m/s^2, MuJoCo's default
HEIGHT = 0.3  # m above the table, where the cup waits
RADIUS, DEPTH, BALL = 0.065, 0.09, 0.03  # m: of the cup inside, of the ball
LOST = 0.12  # m: a ball this low is not in the cup any more
WALLS = "".join(
    f'<geom class="cup" pos="{-0.14 + (RADIUS + 0.004) * math.cos(a):.4f} {(RADIUS + 0.004) * math.sin(a):.4f} .055" '
    f'euler="0 0 {a:.4f}" size=".004 .0295 {DEPTH / 2}"/>'
    for a in (k * math.pi / 4 for k in range(8))
)
HAND = f"""
                    <geom name="bracket" class="link" size=".016" fromto="0 0 .04 -.07 0 .07" rgba=".28 .3 .33 1" mass=".2"/>
                    <geom class="cup" name="bottom" type="cylinder" pos="-.14 0 .105" size="{RADIUS + 0.008} .008"/>
                    {WALLS}
                    <site name="tool" pos="-.14 0 .06" size=".005"/>"""
CUP = '<default class="cup"><geom type="box" rgba=".2 .6 .55 1" contype="2" conaffinity="1" mass=".03" solref=".01 1.5"/></default>'
BODIES = f"""
    <body name="ball" pos="2 0 1">
      <freejoint name="ball"/>
      <geom name="ball" size="{BALL}" rgba=".95 .3 .2 1" mass=".05" conaffinity="3" solref=".01 1.5" condim="4" friction=".8 .02 .002"/>
      <site name="ball" size=".005"/>
    </body>"""
CAMERAS = """<camera name="side" pos="1.1 -2.6 .9" xyaxes="1 0 0 0 .08 1" fovy="48"/>
    <camera name="behind" pos="-1.1 0 1.3" xyaxes="0 -1 0 .27 0 .96" fovy="60"/>
    <camera name="watch" pos="2.1 -2.9 1.35" xyaxes=".93 .37 0 -.08 .2 .97" fovy="48"/>"""


@dataclass(frozen=True, kw_only=True)
class BallCatch:
    """A ball is thrown at the arm from two metres away; catch it in the cup that the arm holds, and keep it.

    ### Observation
    Box (12,): place (m) and velocity (m/s) of the cup and of the ball. The ball is where it is believed to be, so it is perceived where
    other things are.

    ### Action
    3 numbers: the cup's displacement in x, y and z, 1 being 3 cm a decision of 20 ms; the cup stays upright.

    ### Reward
    1 a decision with the ball in the cup; before, minus the distance (m, horizontally) between the cup and where the ball will come down
    to it; -10 for losing the ball.

    ### Start and end
    Arm at home +- 0.05 rad. The throw comes down 30 cm above the table within 0.2 m x 0.5 m, 10 cm or more from the cup, after 0.7 s to
    0.9 s. Terminated when the ball is below the cup; truncated after 75 decisions (1.5 s), with success if the ball is in the cup then.
    """

    spread: float = 0.25  # m to either side, of where balls come down

    name = "ball_catch"
    about = "catch a thrown ball in a cup"
    duration = 75
    substeps = 10
    cameras = ("side", "behind", "watch")
    things = (Thing("ball", ("ball",), 2.0 * BALL, speed=5.0, agility=0.5, falls=True),)
    action_size = 3

    def __post_init__(self) -> None:
        if not 0.15 <= self.spread <= 0.3:
            raise ConfigError(f"spread={self.spread}: must be 0.15 to 0.3 m, which is what the arm can reach in time")

    @property
    def weights(self) -> Mapping[str, float]:
        """Three terms."""
        return {"caught": 1.0, "distance": -1.0, "lost": -10.0}

    @property
    def observation_space(self) -> spaces.Box:
        """See the class."""
        return box((3, 5.0), (3, 50.0), (3, 20.0), (3, 100.0))

    def mjcf(self) -> str:
        """The arm with a cup, a table and a ball."""
        text = scene("ball_catch", BODIES, hand=HAND, fingers=False, cameras=CAMERAS, timestep=0.002)
        return text.replace("<default>\n", f"<default>\n    {CUP}\n", 1)

    def start(self, physics: Physics, rows: NDArray[np.int64], draws: Draws) -> None:
        """See the class."""
        at_home(physics, rows, draws.uniform(JOINT_NOISE, 7, -0.05, 0.05))
        low, high = np.array([1.8, -0.4, 0.6, 0.7]), np.array([2.2, 0.4, 1.0, 0.9])  # from x, y, z, m; after, s
        throw = draws.uniform(THROW, 4, low, high)
        start, after = throw[:, :3], throw[:, 3:]
        physics.forward(rows)
        cup = physics.site("tool")[rows, :2]
        corner, size = np.array([0.44, -self.spread]), np.array([0.2, 2.0 * self.spread])
        places = corner + draws.uniform(PLACE, 2 * TRIES).reshape(-1, TRIES, 2) * size
        end = far_enough(places, cup, LEAST)
        across = (end - start[:, :2]) / after
        up = (HEIGHT - start[:, 2:]) / after + 0.5 * GRAVITY * after
        place, speed = int(physics.joints("ball")[0]), int(physics.speeds("ball")[0])
        physics.qpos[rows, place : place + 3] = start
        physics.qvel[rows, speed : speed + 3] = np.concatenate([across, up], axis=1)

    def act(self, physics: Physics, action: Floats) -> None:
        """See the class."""
        move_tool(physics, action * TOOL_STEP, self.substeps * float(physics.model.opt.timestep), frame=DOWN)

    def locate(self, physics: Physics) -> Objects:
        """The ball."""
        first = int(physics.speeds("ball")[0])
        return Objects(physics.site("ball")[:, None].copy(), physics.qvel[:, None, first : first + 3].copy())

    @property
    def feeling_space(self) -> spaces.Box:
        """Cup position and velocity."""
        return box((3, 5.0), (3, 50.0))

    def feel(self, physics: Physics) -> Floats:
        """See `feeling_space`."""
        return np.concatenate([physics.site("tool"), physics.sensor("tool_velocity")], axis=1)

    def observe(self, physics: Physics, objects: Objects) -> NDArray[np.float32]:
        """See the class."""
        parts = [physics.site("tool"), physics.sensor("tool_velocity"), objects.position[:, 0], objects.velocity[:, 0]]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def reward_terms(self, physics: Physics, action: Floats) -> dict[str, Floats]:
        """See the class."""
        ball, caught = self.locate(physics), self.caught(physics)
        cup = physics.site("tool")
        off = landing(ball.position[:, 0], ball.velocity[:, 0], cup[:, 2])[0] - cup[:, :2]
        away = np.where(caught, 0.0, np.minimum(np.sqrt((off * off).sum(-1)), 1.0))
        return {"caught": np.where(caught, 1.0, 0.0), "distance": away, "lost": np.where(self.failed(physics), 1.0, 0.0)}

    def caught(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) whether the ball's centre is inside the cup."""
        off = physics.site("ball") - physics.site("tool")
        within = np.sqrt((off[:, :2] * off[:, :2]).sum(-1)) < RADIUS
        return np.asarray(within & (np.abs(off[:, 2]) < DEPTH / 2))

    def success(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) the ball is in the cup now."""
        return self.caught(physics)

    def failed(self, physics: Physics) -> NDArray[np.bool_]:
        """(B,) the ball is too low to be in the cup."""
        return np.asarray((physics.site("ball")[:, 2] < LOST) & ~self.caught(physics))


def landing(place: Floats, velocity: Floats, height: Floats | float) -> tuple[Floats, Floats]:
    """Where (n, 2) m and in how many seconds (n,) a ball that flies freely from `place` (n, 3) comes down to `height` m.

    Where it is now, and 0, if it never is so high.
    """
    rise = velocity[:, 2] ** 2 + 2.0 * GRAVITY * (place[:, 2] - height)
    after = np.maximum((velocity[:, 2] + np.sqrt(np.maximum(rise, 0.0))) / GRAVITY, 0.0)
    after = np.where(rise < 0.0, 0.0, after)
    return place[:, :2] + velocity[:, :2] * after[:, None], after
