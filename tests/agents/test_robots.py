"""Experts and what they are made of."""

from __future__ import annotations

import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

import mujoco

from agents.robots import expert_for
from agents.robots.frames import PICTURED
from agents.robots.lqr import gain, linear_model
from agents.robots.sampling import SamplingConfig, SamplingPlanner, choose, interpolated
from agents.robots.trajectory import minimum_jerk, share_of_rest
from benchmarks import robots as speed
from envs.robots import TASKS, Randomisation, Robots, task_named
from envs.robots.gl import Renderer
from envs.robots.physics import compile_model
from envs.robots.task import Objects
from envs.robots.tasks.ball_catch import HEIGHT, landing


def success(
    name: str, *, episodes: int = 60, randomisation: Randomisation | None = None, observation: str = "truth", **options: Any
) -> float:
    """Share of episodes that the expert does."""
    robots = Robots(task_named(name, **options), batch=episodes, randomisation=randomisation, observation=observation)
    robots.reset(np.arange(1000, 1000 + episodes))
    expert, done, won = expert_for(robots), np.zeros(episodes, dtype=bool), np.zeros(episodes, dtype=bool)
    while not done.all():
        step = robots.step(expert.act(robots))
        ended = (step.terminated | step.truncated) & ~done
        won, done = won | (ended & step.success), done | ended
    return float(won.mean())


def test_minimum_jerk_has_no_speed_and_no_acceleration_at_its_ends_and_the_least_jerk() -> None:
    """Against neighbours with the same ends: any admissible change of the path costs jerk."""
    t = np.linspace(0.0, 1.0, 2001)
    path = minimum_jerk(t)
    slope = np.gradient(path, t)
    assert (path[0], path[-1]) == (0.0, 1.0)
    assert np.abs([slope[0], slope[-1]]).max() < 1e-4
    assert slope.max() == pytest.approx(1.875, abs=1e-3)  # Flash and Hogan: 15/8 of the mean speed
    cost = (np.diff(path, 3) ** 2).sum()
    for k in (1, 2, 3):
        bump = 0.05 * (t * (1.0 - t)) ** 3 * np.sin(k * np.pi * t)  # leaves ends, speeds and accelerations there alone
        assert (np.diff(path + bump, 3) ** 2).sum() > cost


def test_sharing_out_what_is_left_gives_the_motion_and_comes_back_to_it() -> None:
    place, steps = 0.0, 20
    for k in range(steps):
        assert place == pytest.approx(float(minimum_jerk(k / steps)), abs=1e-9)
        place += float(share_of_rest(k, steps)) * (1.0 - place)
    assert place == pytest.approx(1.0)
    place = 0.0
    for k in range(steps):
        place += float(share_of_rest(k, steps)) * (1.0 - place) + (0.1 if k == 9 else 0.0)  # a push
    assert place == pytest.approx(1.0, abs=1e-6)


def test_the_linear_model_is_that_of_the_physics() -> None:
    task = task_named("cart_pole_vision")
    model = compile_model(task.mjcf())
    a, b = linear_model(model, task.substeps)
    data, start, push = mujoco.MjData(model), np.array([0.01, -0.004, 0.02, 0.01]), np.array([0.02])
    data.qpos[:], data.qvel[:], data.ctrl[:] = start[:2], start[2:], push
    mujoco.mj_step(model, data, task.substeps)
    np.testing.assert_allclose(np.concatenate([data.qpos, data.qvel]), a @ start + b @ push, atol=1e-6)


def test_the_regulator_holds_what_falls_by_itself() -> None:
    task = task_named("cart_pole_vision")
    a, b = linear_model(compile_model(task.mjcf()), task.substeps)
    k = gain(a, b, np.eye(4), np.eye(1))
    assert np.abs(np.linalg.eigvals(a)).max() > 1.01
    assert np.abs(np.linalg.eigvals(a - b @ k)).max() < 0.999
    cost = _cost(a, b, k)
    rng = np.random.default_rng(0)
    for _ in range(20):  # no neighbour is better
        assert _cost(a, b, k * (1.0 + 0.02 * rng.normal(size=k.shape))) > cost


def _cost(a: Any, b: Any, k: Any) -> float:
    """Sum over 3000 decisions of x'x + u'u from four starts."""
    x, total = np.eye(4), 0.0
    for _ in range(3000):
        u = -k @ x
        total += float((x * x).sum() + (u * u).sum())
        x = a @ x + b @ u
    return total


def test_balls_come_down_where_they_are_said_to() -> None:
    robots = Robots(task_named("ball_catch"), batch=40)
    robots.reset(np.arange(40))
    ball = robots.objects()
    place, after = landing(ball.position[:, 0], ball.velocity[:, 0], HEIGHT)
    assert ((after > 0.69) & (after < 0.91)).all()
    model = robots.physics.model
    for world in range(40):
        data = mujoco.MjData(model)
        robots.physics.load(world, data)
        data.qpos[:7] = 2.5  # the arm out of the way
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
        mujoco.mj_step(model, data, round(after[world] / model.opt.timestep))
        mujoco.mj_kinematics(model, data)
        assert np.abs(data.site("ball").xpos - [*place[world], HEIGHT]).max() < 0.02


def test_a_ball_that_never_is_so_high_lands_where_it_is() -> None:
    place, after = landing(np.array([[1.0, 2.0, 0.1]]), np.array([[1.0, 0.0, 0.5]]), 0.5)
    assert (place.tolist(), after.tolist()) == ([[1.0, 2.0]], [0.0])


def test_what_is_told_of_cart_and_pole_is_what_the_joints_say() -> None:
    """The observation is made of two places and two velocities; the joints' angles and speeds are not looked at."""
    robots = Robots(task_named("cart_pole_vision"), batch=50)
    robots.reset(np.arange(50))
    for _ in range(5):
        robots.step(np.random.default_rng(1).uniform(-1, 1, (50, 1)))
    physics = robots.physics
    told = np.stack([physics.qpos[:, 0], physics.qvel[:, 0], physics.qpos[:, 1], physics.qvel[:, 1]], axis=1)
    np.testing.assert_allclose(robots.observe(), told, atol=1e-5)


@pytest.mark.parametrize("name", ["reach", "push_cube", "pick_place"])
def test_experts_can_command_joints_too(name: str) -> None:
    assert success(name, control="joints") >= 0.95


def test_the_cube_is_pushed_anywhere() -> None:
    assert success("push_cube", where="anywhere") >= 0.8


def test_experts_bear_with_models_that_are_a_little_off() -> None:
    off = Randomisation(mass=0.2, friction=0.2, gain=0.2, delay=0.008)
    for name in ("reach", "pick_place", "ball_catch", "cart_pole_vision"):
        assert success(name, randomisation=off) >= 0.9, name


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize("name", list(TASKS))
def test_experts_do_with_what_cameras_see(name: str) -> None:
    """Little of what they need is hidden for long."""
    assert success(name, episodes=10, observation="visible") >= 0.9


@pytest.mark.parametrize("name", PICTURED)
def test_experts_know_of_things_only_what_is_believed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told that everything is at the origin, at rest, none does its task: it does not look at the truth."""

    def blind(robots: Robots) -> Objects:
        nothing = np.zeros((robots.batch, len(robots.task.things), 3))
        return Objects(nothing, nothing)

    monkeypatch.setattr(Robots, "objects", blind)
    lucky = {"diff_drive_nav": 0.75}.get(name, 0.2)  # people keep clear, in part, of who is blind
    assert success(name, episodes=20) <= lucky


@pytest.mark.parametrize(("software", "clock"), [(True, time.process_time), (False, time.perf_counter)])
def test_pictures_of_a_graphics_card_are_counted_by_the_clock(software: bool, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's time says nothing of a card's work."""
    clocks: list[Any] = []

    def kept(what: Any, by: Any) -> float:
        clocks.append(by)
        return 1.0

    monkeypatch.setattr(speed, "describe", lambda: Renderer("egl", "some renderer", software))
    monkeypatch.setattr(speed, "Camera", lambda *_, **__: nullcontext(SimpleNamespace(picture=None, labels=None)))
    monkeypatch.setattr(speed, "per_second", kept)
    told = speed.pictures(Robots(task_named("reach"), batch=1))
    assert clocks == [clock] * 3
    assert told["seconds"] == ("cpu" if software else "clock")


def planned(name: str, config: SamplingConfig, seeds: list[int], decisions: int | None = None) -> tuple[float, Any]:
    """Share of episodes that sampling does, and its actions."""
    robots = Robots(task_named(name), batch=len(seeds))
    robots.reset(np.array(seeds))
    planner, actions = SamplingPlanner(robots, config), []
    for _ in range(decisions or robots.task.duration):
        actions.append(planner.act(robots))
        step = robots.step(actions[-1])
    return float(step.success.mean()), np.stack(actions)


def test_sampling_reaches_without_having_learned() -> None:
    assert planned("reach", SamplingConfig(horizon=8, knots=2, noise=1.0), list(range(8)))[0] >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("name", "temperature"), [("reach", 0.0), ("reach", 0.02), ("ball_catch", 0.0)])
def test_sampling_does_tasks_without_having_learned(name: str, temperature: float) -> None:
    assert planned(name, SamplingConfig(temperature=temperature), list(range(30)))[0] >= 0.95


def test_to_arrive_early_costs_a_plan_nothing() -> None:
    """A task that ends when it is done: decisions that a plan does without are no loss, unless the episode was lost."""
    robots = Robots(task_named("diff_drive_nav"), batch=2)
    robots.reset(np.arange(2))
    model, places = robots.physics.model, robots.physics.mocap_pos
    disc, base = int(model.body("goal").mocapid[0]), int(model.joint("base").qposadr[0])
    robots.physics.qpos[:, base : base + 2] = places[:, disc, :2] - [0.8, 0.0]
    robots.physics.qpos[:, base + 3 : base + 7] = 1.0, 0.0, 0.0, 0.0
    places[:, np.arange(places.shape[1]) != disc, 1] += 50.0  # everybody else is away
    robots.physics.forward(np.arange(2))
    planner, won = SamplingPlanner(robots, SamplingConfig()), np.zeros(2, dtype=bool)
    for _ in range(20):
        won |= robots.step(planner.act(robots)).success
    assert won.all()


def test_a_sampled_plan_is_the_same_in_any_batch_and_touches_nothing() -> None:
    config = SamplingConfig(samples=5, horizon=4)
    together, alone = planned("ball_catch", config, [4, 5, 6], 6)[1], planned("ball_catch", config, [4], 6)[1]
    np.testing.assert_array_equal(together[:, :1], alone)
    robots = Robots(task_named("reach"), batch=2)
    before = robots.get_state()
    SamplingPlanner(robots, config).act(robots)
    np.testing.assert_array_equal(robots.physics.get_state(), before.physics)


def test_what_sampling_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="samples=2: must be 3 or more"):
        SamplingConfig(samples=2)
    with pytest.raises(ValueError, match=r"delay=0\.01: a sampling planner"):
        SamplingPlanner(Robots(task_named("reach"), batch=1, randomisation=Randomisation(delay=0.01)))


def test_plans_are_linear_between_knots_and_stay_at_the_last() -> None:
    plans = np.array([0.0, 1.0, 3.0]).reshape(1, 1, 3, 1)
    assert interpolated(plans, np.array([0.0, 0.5, 1.0, 1.5, 2.0, 9.0])).ravel().tolist() == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_candidates_are_averaged_by_their_return_or_the_best_is_taken() -> None:
    candidates = np.array([0.0, 1.0]).reshape(1, 2, 1, 1)
    returns = np.log(np.array([[1.0, 3.0]]))
    assert choose(candidates, returns, 1.0).item() == pytest.approx(0.75)
    assert choose(candidates, returns, 0.0).item() == 1.0
