"""The robots' physics, randomness, kinematics and settings, each against something that nobody here wrote, or a law."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.driving.rng import bits

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

import mujoco

from envs.robots import Diverged, Randomisation, RobotEnv, Robots, RobotVecEnv, RobotVectorEnv, task_named
from envs.robots.arm import HOME, JOINTS, LIMITS, scene
from envs.robots.goals import far_enough
from envs.robots.kinematics import DOWN, damped_step, inverse, orientation_error
from envs.robots.physics import Physics, compile_model
from envs.robots.rng import Draws, later_seeds
from envs.robots.tasks.reach import Reach, reachable


@pytest.fixture
def arm() -> mujoco.MjModel:
    """The arm on its table."""
    return compile_model(scene("arm", ""))


def test_random_words_are_those_of_the_driving_simulator() -> None:
    seeds = np.array([0, 7, 2**40 + 3, 2**62 + 12345])
    ours = Draws(seeds, step=np.array([0, 1, 2, 3])).words(17, 5)
    theirs = bits(torch.from_numpy(seeds)[:, None], torch.arange(4)[:, None], 17, torch.arange(5))
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, two.numpy())


def test_random_numbers_have_the_distribution_they_are_named_after() -> None:
    draws = Draws(np.arange(20_000))
    even, normal = draws.uniform(1, 4, -2.0, 3.0), draws.normal(2, 4)
    assert -2.0 <= even.min() < -1.99
    assert 2.99 < even.max() < 3.0
    assert even.mean() == pytest.approx(0.5, abs=0.02)
    assert (normal.mean(), normal.std()) == (pytest.approx(0.0, abs=0.02), pytest.approx(1.0, abs=0.02))
    assert np.abs(np.corrcoef(np.concatenate([even, normal], axis=1).T) - np.eye(8)).max() < 0.03
    with pytest.raises(ValueError, match="stream=4096: must be between 0 and 4095"):
        draws.words(4096, 1)


def test_later_episodes_have_seeds_of_their_own() -> None:
    world, count = (grid.ravel() for grid in np.meshgrid(np.arange(64), np.arange(1, 65)))
    seeds = later_seeds(np.full(64 * 64, 5), world, count)
    assert len(np.unique(seeds)) == 64 * 64
    assert (seeds >= 0).all()


def test_worlds_advance_as_a_loop_of_mujoco_does() -> None:
    """Every world of a batch, bit by bit, against `mj_step`."""
    robots = Robots(task_named("reach"), batch=3, threads=2)
    robots.reset(np.array([1, 2, 3]))
    data = [mujoco.MjData(robots.physics.model) for _ in range(3)]
    for world in range(3):
        robots.physics.load(world, data[world])
    rng = np.random.default_rng(0)
    for _ in range(20):
        robots.step(rng.uniform(-1, 1, (3, 3)))
        for world in range(3):
            data[world].ctrl[:] = robots.physics.ctrl[world]
            mujoco.mj_step(robots.physics.model, data[world], robots.task.substeps)
            np.testing.assert_array_equal(data[world].qpos, robots.physics.qpos[world])
            np.testing.assert_array_equal(data[world].qvel, robots.physics.qvel[world])


def test_an_undamped_arm_keeps_its_energy(arm: mujoco.MjModel) -> None:
    """Falling under its own weight for two seconds, with motors, friction, limits and contacts taken away."""
    arm.dof_damping[:] = arm.actuator_gainprm[:] = arm.actuator_biasprm[:] = arm.body_gravcomp[:] = 0.0
    arm.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT) | int(mujoco.mjtDisableBit.mjDSBL_LIMIT)
    arm.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_ENERGY)
    arm.opt.integrator, arm.opt.timestep = int(mujoco.mjtIntegrator.mjINT_RK4), 0.001
    data = mujoco.MjData(arm)
    data.qpos[:7] = HOME + 0.2
    mujoco.mj_forward(arm, data)
    start, kinetic = data.energy.sum(), []
    for _ in range(2000):
        mujoco.mj_step(arm, data)
        kinetic.append(data.energy[1])
    mujoco.mj_forward(arm, data)
    assert max(kinetic) > 10.0  # J: it did move
    assert abs(data.energy.sum() - start) < 1e-3 * max(kinetic)


def test_inverse_kinematics_against_forward_kinematics(arm: mujoco.MjModel) -> None:
    """From places and frames that joints were chosen for, to joints that give these places and frames, within limits."""
    goals = Physics(arm, batch=64)
    columns = goals.joints(*JOINTS)
    goals.qpos[:, columns] = np.clip(HOME + Draws(np.arange(64)).uniform(0, 7, -0.5, 0.5), 0.05 - LIMITS, LIMITS - 0.05)
    goals.forward()
    places, frames = goals.site("tool").copy(), goals.frame("tool").copy()
    joints, off = inverse(arm, places, wanted=frames, rounds=200)
    check = mujoco.MjData(arm)
    for world in range(64):
        check.qpos[columns] = joints[world]
        mujoco.mj_kinematics(arm, check)
        assert np.abs(check.site("tool").xpos - places[world]).max() < 1e-6
        assert np.abs(check.site("tool").xmat.reshape(3, 3) - frames[world]).max() < 1e-6
    assert off.max() < 1e-6
    assert (np.abs(joints) <= LIMITS).all()


def test_inverse_kinematics_says_how_far_off_it_stayed(arm: mujoco.MjModel) -> None:
    joints, off = inverse(arm, np.array([[0.4, 0.1, 0.3], [3.0, 0.0, 0.0]]), wanted=None)
    assert off[0] < 1e-3
    assert 1.5 < off[1] < 2.5
    assert (np.abs(joints) <= LIMITS).all()


def test_a_damped_step_stays_within_limits() -> None:
    """Joints at their limits, pulled every way: no step leaves the limits, and away from them it is the least-squares one."""
    draws = Draws(np.arange(200))
    joints = np.clip(draws.uniform(0, 7, -1.5, 1.5), -1.0, 1.0) * (LIMITS - 0.01)
    jacobian, error = draws.uniform(1, 42, -0.5, 0.5).reshape(-1, 6, 7), draws.uniform(2, 6, -1.0, 1.0)
    step = damped_step(jacobian, error, joints)
    assert (np.abs(joints + step) <= LIMITS).all()
    free = damped_step(jacobian, 1e-3 * error, np.zeros((200, 7)), damping=1e-4, centring=0.0)
    best = np.stack([np.linalg.lstsq(j, 1e-3 * e, rcond=None)[0] for j, e in zip(jacobian, error, strict=True)])
    worst = np.linalg.cond(jacobian) < 50.0  # damping gives up singular directions, and is meant to
    np.testing.assert_allclose(free[worst], best[worst], atol=1e-5)


def test_the_orientation_error_is_the_rotation_vector_for_small_angles() -> None:
    angle = 0.01
    turned = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]]) @ DOWN
    np.testing.assert_allclose(orientation_error(DOWN[None], turned[None])[0], [0.0, 0.0, angle], atol=1e-5)


def test_goals_of_reach_can_be_reached() -> None:
    task = Reach()
    corners = reachable(np.stack(np.meshgrid([0.0, 0.5, 1.0], [0.0, 0.5, 1.0], [0.0, 0.5, 1.0]), axis=-1).reshape(-1, 3))
    _, off = inverse(compile_model(task.mjcf()), corners, wanted=None, rounds=200)
    assert off.max() < 2e-3


@pytest.mark.parametrize("reward", ["sparse", "dense"])
def test_rewards_of_any_goal_are_those_of_the_environment(reward: str) -> None:
    """What hindsight replay computes from stored observations is what the environment gave, and it takes a batch."""
    env = RobotVecEnv("reach", num_envs=16, reward=reward)
    observation = env.reset()
    for k in range(45):
        wish = (observation["desired_goal"] - observation["achieved_goal"]) / 0.03
        observation, given, _, _ = env.step(np.clip(wish, -1, 1))
        (computed, *_) = env.env_method("compute_reward", observation["achieved_goal"], observation["desired_goal"], [{}] * 16, indices=[0])
        np.testing.assert_array_equal(computed, given)
        assert k < 44 or (given == 0.0).any() or reward == "dense"
    assert not hasattr(RobotEnv("cart_pole_vision"), "compute_reward")


def test_randomisation_is_a_function_of_the_episode_and_leaves_alone_what_is_not_asked_for() -> None:
    everything = Randomisation(mass=0.2, friction=0.2, gain=0.2, delay=0.02, colour=0.1, light=0.2, camera_position=0.05, camera_angle=0.1)
    fields = {
        "mass": "body_mass",
        "friction": "geom_friction",
        "gain": "actuator_gainprm",
        "delay": "actuator_delay",
        "colour": "geom_rgba",
        "light": "light_pos",
        "camera_position": "cam_pos",
        "camera_angle": "cam_quat",
    }
    task = task_named("reach")
    whole = Robots(task, batch=3, randomisation=everything)
    whole.reset(np.array([1, 2, 1]))
    for name, field in fields.items():
        alone = Robots(task, batch=3, randomisation=Randomisation(**{name: getattr(everything, name)}))
        alone.reset(np.array([1, 2, 1]))
        values = alone.physics.batch.expanded(field)
        assert values is not None
        np.testing.assert_array_equal(values, whole.physics.batch.expanded(field))
        np.testing.assert_array_equal(values[0], values[2])
        assert not np.array_equal(values[0], values[1])
        others = [other for other in fields.values() if other != field]
        assert all(alone.physics.batch.expanded(other) is None for other in others)
    mass = whole.physics.batch.expanded("body_mass")
    assert mass is not None
    heavy = whole.physics.model.body_mass > 0.0
    ratio = mass[:, heavy] / whole.physics.model.body_mass[heavy]
    assert 0.8 <= ratio.min() < 0.9 < 1.1 < ratio.max() <= 1.2
    assert Robots(task, batch=1).physics.batch.expanded("body_mass") is None


def test_a_delay_is_a_delay() -> None:
    """A cart that is told late moves late, by the delay of its episode; and no delay at all is the model as it is."""
    model = compile_model(task_named("cart_pole_vision").mjcf(), delay=0.05)
    physics, plain = Physics(model, batch=2), Physics(compile_model(task_named("cart_pole_vision").mjcf()), batch=1)
    physics.own("actuator_delay")[:, 0] = 0.0, 0.05
    physics.ctrl[:] = plain.ctrl[:] = 1.0
    speeds = []
    for _ in range(14):
        physics.step(1)
        plain.step(1)
        speeds.append(physics.qvel[:, 0].copy())
        assert physics.qvel[0, 0] == plain.qvel[0, 0]
    first = (np.array(speeds) > 0).argmax(0)
    assert first.tolist() == [0, 10]  # 0.05 s of 5 ms each


@pytest.mark.parametrize("name", ["reach", "push_cube"])
def test_late_commands_begin_with_those_that_hold_the_arm(name: str) -> None:
    """Whatever the delay, an arm that is told to keep still does from the start."""
    moved = {}
    for delay in (0.0, 0.03):
        robots = Robots(task_named(name), batch=20, randomisation=Randomisation(delay=delay))
        robots.reset(np.arange(20))
        start, farthest = robots.physics.qpos[:, robots.physics.joints(*JOINTS)].copy(), 0.0
        for _ in range(10):
            robots.physics.step(1)
            farthest = max(farthest, float(np.abs(robots.physics.qpos[:, robots.physics.joints(*JOINTS)] - start).max()))
        moved[delay] = farthest
    assert moved[0.03] < 1e-3  # rad
    assert moved[0.03] == pytest.approx(moved[0.0], abs=1e-4)


HIDDEN = "import sys; sys.modules['mujoco'] = None; import gymnasium as gym; import envs; "  # as if it were not installed


@pytest.mark.parametrize(
    "code",
    [
        "gym.make('closedloop/Reach-v0')",
        "gym.make_vec('closedloop/Reach-v0', num_envs=2)",
        "from envs.robots import RobotVecEnv",
        "from envs.robots import Robots",
        "from envs.robots import task_named; task_named('reach')",
        "from agents.robots import expert_for",
    ],
)
def test_without_mujoco_it_is_said_what_to_install(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", HIDDEN + code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == "ModuleNotFoundError: robot tasks need MuJoCo 4: pip install 'closedloop[robots]'"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RobotEnv("reech"), "no robot task 'reech'; did you mean 'reach'"),
        (lambda: RobotEnv("reach", controll="joints"), "no option of reach 'controll'; did you mean 'control'"),
        (lambda: RobotEnv("reach", control="joint"), "no control 'joint'; did you mean 'joints'"),
        (lambda: RobotEnv("reach", reward="spares"), "no reward 'spares'; did you mean 'sparse'"),
        (lambda: RobotEnv("reach", tolerance=1.0), "tolerance=1.0: must be between 0 and 0.1 m"),
        (lambda: RobotEnv(Reach(), tolerance=0.01), "options tolerance beside a task that is ready"),
        (lambda: RobotEnv("reach", render_mode="human"), "render_mode='human'"),
        (lambda: RobotVectorEnv(0, "reach"), "batch=0"),
        (lambda: Randomisation(mass=1.0), "mass=1.0: must be 0 or more, and 0.9 at most"),
        (lambda: Randomisation(delay=-1.0), "delay=-1.0: must be 0 or more"),
        (lambda: Randomisation(delay=float("inf")), "delay=inf: must be 0 or more, and 1 at most"),
        (lambda: Randomisation(light=float("nan")), "light=nan: must be 0 or more, and 1 at most"),
        (lambda: Reach(least=5.0), "least=5.0: must be between the tolerance, 0.025 m, and 0.3 m"),
        (lambda: Reach(least=0.0), "least=0.0: must be between the tolerance"),
        (
            lambda: RobotEnv("cart_pole_vision", lean=-1),
            "lean=-1: must be more than 0.1 rad, which poles may start with, and 1.5 rad at most",
        ),
        (lambda: RobotEnv("cart_pole_vision", lean=float("nan")), "lean=nan: must be more than 0.1 rad"),
        (lambda: RobotVectorEnv(2, "reach").reset(seed=[1, 2, 3]), "seeds of shape (3,) for 2 worlds"),
        (lambda: RobotVectorEnv(2, "reach").step(np.zeros((3, 3))), "actions of shape (3, 3) for 2 worlds: reach takes (2, 3)"),
        (lambda: RobotVecEnv("reach", num_envs=1).step(np.full((1, 3), np.nan)), "an action is not finite"),
        (lambda: _wrong_state(), "a state of 2 worlds"),
    ],
)
def test_errors_say_what_was_meant(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def _wrong_state() -> None:
    RobotVecEnv("reach", num_envs=3).set_state(RobotVecEnv("reach", num_envs=2).get_state())


def test_of_several_options_that_do_not_exist_the_first_is_named() -> None:
    for first in ("zeal", "alpha"):
        with pytest.raises(ValueError, match=f"no option of reach '{first}'"):
            task_named("reach", **dict.fromkeys((first, "other", "mode", "fast", "slow"), 1))


@pytest.mark.parametrize(
    ("here", "message"),
    [
        (lambda: Robots(task_named("reach"), batch=2), "a state with randomisation Randomisation(mass=0.2"),
        (lambda: Robots(task_named("reach", tolerance=0.03), batch=2, randomisation=Randomisation(mass=0.2)), "a state with task Reach("),
        (lambda: Robots(task_named("push_cube"), batch=2, randomisation=Randomisation(mass=0.2)), "a state with task Reach("),
    ],
)
def test_a_state_of_other_worlds_is_refused(here: Callable[[], Robots], message: str) -> None:
    saved = Robots(task_named("reach"), batch=2, randomisation=Randomisation(mass=0.2)).get_state()
    with pytest.raises(ValueError, match=re.escape(message)):
        here().set_state(saved)


def test_the_next_reset_is_a_part_of_the_state_too() -> None:
    one, two = (RobotVecEnv("reach", num_envs=2, seed=seed) for seed in (7, 70))
    one.reset(), two.reset()
    two.set_state(one.get_state())
    np.testing.assert_array_equal(one.reset()["observation"], two.reset()["observation"])


def test_a_simulation_that_diverges_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """NaN is not farther than the tolerance, so that without a look it would count as being at the goal."""
    monkeypatch.chdir(tmp_path)  # where MuJoCo would write a file
    monkeypatch.setattr("envs.robots.engine._told", set())
    robots = Robots(task_named("reach"), batch=3, threads=2)
    robots.reset(np.array([5, 6, 7]))
    robots.step(np.zeros((3, 3)))
    robots.physics.qvel[1, 0] = 1e12
    with pytest.raises(Diverged, match="^reach diverged in 1 of 3 worlds: episode 6 at decision 2$"):
        robots.step(np.zeros((3, 3)))
    assert list(tmp_path.iterdir()) == []
    assert len([record for record in caplog.records if "QVEL" in record.message]) == 1
    robots.reset(np.array([5, 6, 7]))
    assert robots.step(np.zeros((3, 3))).reward.tolist() == [-1.0, -1.0, -1.0]


def test_videos_are_as_fast_as_the_world() -> None:
    shells = RobotEnv("ball_catch"), RobotVectorEnv(1, "ball_catch"), RobotVecEnv("ball_catch", num_envs=1)
    assert [env.metadata["render_fps"] for env in shells] == [50, 50, 50]


def test_places_are_the_first_that_is_far_enough_or_the_farthest() -> None:
    places = np.array([[[0.1, 0.0], [0.0, 0.5], [0.9, 0.0]], [[0.1, 0.0], [0.0, 0.19], [0.15, 0.0]]])
    assert far_enough(places, np.zeros((2, 2)), 0.2).tolist() == [[0.0, 0.5], [0.0, 0.19]]


def test_an_episode_without_a_place_far_enough_does_not_start_done() -> None:
    """Of the eight places that are drawn for the goal of this one all are near the cube, the first within the tolerance."""
    robots = Robots(task_named("pick_place"), batch=1)
    robots.reset(np.array([139_082]))
    cube, goal = robots.task.achieved(robots.physics)  # type: ignore[attr-defined]
    assert not robots.task.success(robots.physics)[0]
    assert np.abs(cube - goal).max() > 0.05


def test_the_ball_is_where_its_velocity_takes_it() -> None:
    """VisualServo: place and velocity that are told are of one moment, so places follow from the mean of two velocities."""
    robots = Robots(task_named("visual_servo"), batch=5)
    robots.reset(np.arange(5))
    before = robots.objects()
    for _ in range(20):
        robots.step(np.zeros((5, 3)))
        now = robots.objects()
        way = 0.5 * (before.velocity + now.velocity) * robots.dt  # wrong by jerk x dt^3 / 12: 0.02 mm
        np.testing.assert_allclose(now.position - before.position, way, atol=5e-5)
        before = now


def test_a_state_with_other_physics_is_refused() -> None:
    robots = Robots(task_named("reach"), batch=2)
    saved = robots.get_state()
    with pytest.raises(ValueError, match="a state of shape"):
        robots.set_state(replace(saved, physics=saved.physics[:, :-1]))


def test_actions_beyond_one_are_cut_off() -> None:
    one, two = RobotVecEnv("reach", num_envs=2), RobotVecEnv("reach", num_envs=2)
    one.reset(), two.reset()
    first, *_ = one.step(np.full((2, 3), 5.0))
    second, *_ = two.step(np.full((2, 3), 1.0))
    np.testing.assert_array_equal(first["observation"], second["observation"])
