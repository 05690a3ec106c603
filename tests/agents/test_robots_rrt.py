"""Ways for the arm that touch nothing: free at a finer resolution than they were looked for at, around a wall, and none where none is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

import mujoco

from agents.robots.rrt import Collisions, RRTConfig, plan, timed
from envs.checks import ConfigError
from envs.robots.arm import HOME, LIMITS, SPEEDS, scene
from envs.robots.kinematics import inverse
from envs.robots.physics import compile_model

WALL = """<body name="wall" pos=".45 0 .2"><geom name="wall" type="box" size=".25 .02 .2" mass="1"/></body>"""
PARTED = "".join(  # what is ahead of the arm from what is behind it, and no room to turn upright
    f'<body name="{name}" pos="{pos}"><geom name="{name}" type="box" size="{size}" mass="1"/></body>'
    for name, pos, size in (("left", "0 .65 .5", ".01 .55 .6"), ("right", "0 -.65 .5", ".01 .55 .6"), ("lid", "0 0 1.05", ".4 .4 .01"))
)


def sides(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Joints with the tool to the right and to the left of the middle, pointing down."""
    joints, off = inverse(model, np.array([[0.45, -0.25, 0.2], [0.45, 0.25, 0.2]]))
    assert off.max() < 1e-3
    return joints[0], joints[1]


@pytest.fixture(scope="module")
def walled() -> mujoco.MjModel:
    """The arm with a wall across its table."""
    return compile_model(scene("walled", WALL))


def test_around_a_wall(walled: mujoco.MjModel) -> None:
    """The straight motion is blocked by it; the way found is free between the places that were looked at too."""
    start, goal = sides(walled)
    collisions = Collisions(walled)
    assert not collisions.free(start, goal, 0.02)
    found = plan(collisions, start, goal)
    assert found.why == "found"
    assert found.path is not None
    np.testing.assert_array_equal(found.path[[0, -1]], [start, goal])
    assert (np.abs(found.path) <= LIMITS).all()
    touching = Collisions(walled, margin=0.0)
    for one, two in zip(found.path[:-1], found.path[1:], strict=True):
        assert touching.free(one, two, 0.002)
    again = plan(Collisions(walled), start, goal)
    assert again.path is not None
    np.testing.assert_array_equal(found.path, again.path)
    assert (walled.geom_margin == 0.0).all()


def test_shortcuts_make_it_shorter(walled: mujoco.MjModel) -> None:
    start, goal = sides(walled)
    paths = [plan(Collisions(walled), start, goal, RRTConfig(shortcuts=count)).path for count in (0, 150)]
    raw, cut = (float(np.sqrt(((p[1:] - p[:-1]) ** 2).sum(-1)).sum()) for p in paths if p is not None)
    assert np.sqrt(((goal - start) ** 2).sum()) <= cut < 0.9 * raw


def test_where_there_is_no_way() -> None:
    """Between walls on both sides that the arm cannot turn past; and from where it stands in something."""
    parted = compile_model(scene("parted", PARTED))
    behind = HOME + np.array([2.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    aside = HOME + np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert plan(Collisions(parted), HOME, aside).why == "found"
    found = plan(Collisions(parted), HOME, behind, RRTConfig(nodes=150))
    assert (found.path, found.why) == (None, "no way among 150 nodes")
    assert found.checks > 150
    into = plan(Collisions(parted), HOME, HOME + np.array([np.pi / 2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert (into.path, into.why) == (None, "at the goal the arm touches left")
    assert plan(Collisions(parted), HOME + np.array([-np.pi / 2, 0, 0, 0, 0, 0, 0]), HOME).why == "at the start the arm touches right"


def test_no_joint_turns_faster_than_it_can(walled: mujoco.MjModel) -> None:
    found = plan(Collisions(walled), *sides(walled))
    assert found.path is not None
    way = timed(found.path, share=0.5)
    moments = np.linspace(0.0, way.duration, 4001)
    joints = way.at(moments)
    speed = np.abs(np.diff(joints, axis=0)).max(0) / (moments[1] - moments[0])
    assert (speed <= 0.5 * SPEEDS * 1.001).all()
    assert (speed / SPEEDS).max() > 0.45
    np.testing.assert_allclose(joints[[0, -1]], found.path[[0, -1]])
    assert timed(HOME[None]).duration == 0.0


def test_nonsense_is_refused(walled: mujoco.MjModel) -> None:
    with pytest.raises(ValueError, match="goal="):
        plan(Collisions(walled), HOME, HOME + 3.0)
    with pytest.raises(ConfigError, match="resolution=0"):
        RRTConfig(resolution=0.0)
    with pytest.raises(ValueError, match="share=2"):
        timed(HOME[None], share=2.0)
