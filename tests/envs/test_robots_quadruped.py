"""The quadruped: its legs' kinematics, what it feels of its own motion, what counts as following a command, and rough ground."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

import mujoco

from agents.robots import expert_for
from envs.checks import ConfigError
from envs.robots import RobotEnv, Robots, task_named
from envs.robots.physics import Floats, Physics
from envs.robots.quadruped import HOME, JOINTS, LEGS, ROOTS, STANDING, leg_angles
from envs.robots.tasks.quadruped_walk import SPAN, QuadrupedWalk, body, command_of

RNG = np.random.default_rng(0)


def worlds(batch: int, **options: Any) -> Robots:
    robots = Robots(task_named("quadruped_walk", **options), batch=batch, threads=1)
    robots.reset(np.arange(batch))
    return robots


def test_the_legs_inverse_kinematics_undo_mujocos_forward_kinematics() -> None:
    robots = worlds(64)
    physics = robots.physics
    low, high = np.tile([-0.6, 0.0, -2.4], 4), np.tile([0.6, 1.6, -0.9], 4)
    angles = RNG.uniform(low, high, (64, 12))
    physics.qpos[:] = np.concatenate([np.tile([0.0, 0, 1, 1, 0, 0, 0], (64, 1)), angles], axis=1)
    physics.forward()
    feet = np.stack([physics.site(f"{leg}_foot") for leg in LEGS], axis=1) - np.array([0.0, 0.0, 1.0])
    feet[..., :2] -= ROOTS
    np.testing.assert_allclose(leg_angles(feet), angles, atol=1e-9)


def test_places_out_of_reach_are_reached_for() -> None:
    """The leg points there, as long as it may be."""
    far = np.tile([0.3, 0.08, -0.6], (1, 4, 1)) * np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]] * 2)
    angles = leg_angles(far).reshape(4, 3)
    np.testing.assert_allclose(angles[:, 2], -0.7)
    np.testing.assert_allclose(angles[:, 1] + 0.5 * angles[:, 2], -np.arctan2(0.3, 0.6), atol=1e-9)


def test_standing_is_as_high_as_said() -> None:
    robots = worlds(1)
    robots.physics.qpos[:] = np.concatenate([[0.0, 0.0, STANDING, 1.0, 0.0, 0.0, 0.0], HOME])
    robots.physics.forward()
    soles = [robots.physics.site(f"{leg}_foot")[0, 2] - 0.023 for leg in LEGS]
    np.testing.assert_allclose(soles, 0.0, atol=1e-9)
    assert robots.physics.model.body_mass.sum() == pytest.approx(12.6, abs=0.3)
    assert [robots.physics.model.actuator(k).name for k in range(12)] == list(JOINTS)


def test_what_it_feels_of_its_motion_is_what_mujoco_says() -> None:
    robots = worlds(20)
    physics = robots.physics
    turns = RNG.standard_normal((20, 4))
    physics.qpos[:, 3:7] = turns / np.sqrt((turns**2).sum(1, keepdims=True))
    physics.qvel[:] = RNG.standard_normal(physics.qvel.shape)
    physics.forward()
    found, frame = body(physics), physics.frame("trunk")
    np.testing.assert_allclose(found.up, frame[:, 2], atol=1e-12)
    ahead = frame[:, :2, 0] / np.sqrt((frame[:, :2, 0] ** 2).sum(1, keepdims=True))
    np.testing.assert_allclose(np.stack([np.cos(found.heading), np.sin(found.heading)], axis=1), ahead, atol=1e-12)
    data, speed = mujoco.MjData(physics.model), np.zeros(6)
    for world in range(20):
        physics.load(world, data)
        mujoco.mj_forward(physics.model, data)
        mujoco.mj_objectVelocity(physics.model, data, mujoco.mjtObj.mjOBJ_XBODY, physics.model.body("trunk").id, speed, 0)
        np.testing.assert_allclose(found.velocity[world, 0], ahead[world] @ speed[3:5], atol=1e-9)
        np.testing.assert_allclose(found.velocity[world, 1], ahead[world, 0] * speed[4] - ahead[world, 1] * speed[3], atol=1e-9)
        np.testing.assert_allclose(found.rise[world], speed[5], atol=1e-9)
        np.testing.assert_allclose(frame[world] @ found.rates[world], speed[:3], atol=1e-9)


def test_how_far_the_heading_is_off_is_the_short_way_round() -> None:
    robots = worlds(8)
    robots.physics.userdata[:, 4] += np.linspace(-7.0, 7.0, 8)
    off = command_of(robots.physics)[2]
    np.testing.assert_allclose(np.sin(off - np.linspace(-7.0, 7.0, 8)), 0.0, atol=1e-9)
    assert (np.abs(off) <= np.pi).all()


def told(*, speed: float, off: float, turned: float, up: bool = True, time: float = 20.0) -> bool:
    """Whether an episode with a mean error of speed `off` and a mean turning rate `turned`, 0.1 being wanted, is a success."""
    task = QuadrupedWalk()
    pose: Floats = np.array([[0.0, 0.0, 0.3 if up else 0.1, 1.0, 0.0, 0.0, 0.0]])
    memory = np.array([[speed, 0.1, off * 1000.0, turned * 1000.0, 0.0, 1000.0]])
    option = SimpleNamespace(opt=SimpleNamespace(timestep=0.005))
    physics: Any = SimpleNamespace(qpos=pose, userdata=memory, time=np.array([time]), model=option)
    return bool(task.success(physics)[0])


def test_success_is_following_to_the_end() -> None:
    assert told(speed=0.5, off=0.099, turned=0.1)
    assert not told(speed=0.5, off=0.101, turned=0.1), "20 % of 0.5 m/s are 0.1 m/s"
    assert told(speed=1.0, off=0.199, turned=0.19)
    assert not told(speed=1.0, off=0.199, turned=0.21)
    assert not told(speed=1.0, off=0.1, turned=0.1, up=False)
    assert not told(speed=1.0, off=0.1, turned=0.1, time=19.98)


def test_account_is_kept_of_the_speed() -> None:
    """Who stands still is off by the whole command, and does not succeed though it never falls."""
    robots = worlds(4)
    for _ in range(100):
        step = robots.step(np.zeros((4, 12)))
    memory = robots.physics.userdata
    np.testing.assert_allclose(memory[:, 2] / memory[:, 5], memory[:, 0], rtol=0.05)
    assert (memory[:, 5] == 100.0).all()
    assert not step.terminated.any()


def test_the_trot_is_the_same_in_a_mirror() -> None:
    """Left and right exchanged, at the same moment of the other pair's step: the same angles, hips the other way round."""
    one, other = worlds(6), worlds(6)
    exchange = np.array([3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8])
    sign = np.tile([-1.0, 1.0, 1.0], 4)
    for _ in range(30):
        one.step(expert_for(one).act(one))
    here, there = one.physics, other.physics
    there.qpos[:], there.qvel[:], there.userdata[:] = here.qpos, here.qvel, here.userdata
    there.time[:] = here.time + 0.2  # half a turn of the clock of 2.5 Hz
    there.qpos[:, [1, 4, 6]] *= -1.0
    there.qvel[:, [1, 3, 5]] *= -1.0
    there.userdata[:, [1, 4]] *= -1.0
    there.userdata[:, 4] -= there.userdata[:, 1] * 0.2  # so that the heading is off as far
    for part in ("qpos", "qvel"):
        first = 7 if part == "qpos" else 6
        joints = getattr(there, part)[:, first:]
        joints[:] = joints[:, exchange] * sign
    there.forward()
    np.testing.assert_allclose(expert_for(other).act(other), expert_for(one).act(one)[:, exchange] * sign, atol=1e-9)


def successes(robots: Robots) -> float:
    expert = expert_for(robots)
    fallen = np.zeros(robots.batch, dtype=bool)
    for _ in range(robots.task.duration):
        step = robots.step(expert.act(robots))
        fallen |= step.terminated
    return float((step.success & ~fallen).mean())


def test_the_trot_bears_rough_ground() -> None:
    assert successes(worlds(32, ground="rough")) >= 0.9


def test_rough_ground_is_rough_and_no_foot_starts_in_it() -> None:
    robots = worlds(100, ground="rough")
    model, data = robots.physics.model, mujoco.MjData(robots.physics.model)
    heights = model.hfield_data * model.hfield_size[0, 2]
    assert heights.max() - heights.min() == pytest.approx(0.05)
    for world in range(100):
        robots.physics.load(world, data)
        mujoco.mj_forward(model, data)
        assert min((float(contact.dist) for contact in data.contact), default=0.0) > -1e-3


def test_no_level_of_seeing_changes_what_is_felt() -> None:
    plain, noisy = worlds(3), Robots(QuadrupedWalk(), batch=3, observation="noisy")
    noisy.reset(np.arange(3))
    np.testing.assert_array_equal(plain.observe(), noisy.observe())
    assert noisy.sight is None


def test_unknown_ground_is_refused() -> None:
    with pytest.raises(ConfigError, match="no ground 'ruff'"):
        RobotEnv("quadruped_walk", ground="ruff")


def test_actions_are_angles_about_the_standing_pose() -> None:
    robots = worlds(2)
    action = RNG.uniform(-1, 1, (2, 12))
    robots.step(action)
    physics: Physics = robots.physics
    np.testing.assert_allclose(physics.ctrl, HOME + SPAN * action)
    low, high = physics.model.actuator_ctrlrange.T
    assert (low < HOME).all()
    assert (high > HOME).all()
