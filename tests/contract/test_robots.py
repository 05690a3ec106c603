"""Every robot task: the checkers of the libraries, and what is true of all of them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import envs

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

import mujoco

from agents.evaluation.rollout_robots import rollout_robots
from agents.policies.robot_spec import ROBOT_WEIGHTS, shipped_tasks
from agents.robots import EXPERTS, expert_for
from agents.robots.frames import PICTURED
from agents.robots.policies import load_robot_policy
from agents.robots.seen import watch
from envs.robots import TASKS, Randomisation, RobotEnv, Robots, RobotVecEnv, RobotVectorEnv, SightConfig, robot_id, task_named
from envs.robots.camera import Camera
from envs.robots.sight import Sight

EPISODES = 64
ALL = Randomisation(
    mass=0.1, friction=0.2, gain=0.1, delay=0.01, colour=0.1, light=0.2, camera_position=0.02, camera_angle=0.02
)  # everything differs a little


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> str:
    """Every task."""
    return str(request.param)


@pytest.fixture(params=PICTURED)
def pictured(request: pytest.FixtureRequest) -> str:
    """Every task in which there is something to be seen."""
    return str(request.param)


needs_renderer = pytest.mark.usefixtures("opengl")


def flat(arrays: Any) -> NDArray[np.float32]:
    return np.concatenate([arrays[name] for name in sorted(arrays)], axis=1) if isinstance(arrays, dict) else arrays


def one(observation: Any) -> NDArray[np.float32]:
    """The observation of one world as a vector, in the order of `flat`."""
    return np.concatenate([observation[name] for name in sorted(observation)]) if isinstance(observation, dict) else observation


def actions(robots: Robots) -> NDArray[np.float64]:
    """Random actions, a function of (episode, decision) alone."""
    pairs = zip(robots.seeds.tolist(), robots.steps.tolist(), strict=True)
    return np.stack([np.random.default_rng(pair).uniform(-1, 1, robots.task.action_size) for pair in pairs])


def fingerprints(name: str, seeds: list[int], steps: int, **options: Any) -> list[str]:
    """A hash for each world over its observations, rewards and states; ended episodes go on with the next."""
    robots = Robots(task_named(name), batch=len(seeds), **options)
    robots.reset(np.array(seeds))
    hashes = [hashlib.sha256() for _ in seeds]
    for _ in range(steps):
        step = robots.step(actions(robots))
        for parts in (robots.physics.get_state(), flat(robots.observe()), step.reward, step.terminated, step.success):
            for world, fingerprint in enumerate(hashes):
                fingerprint.update(np.ascontiguousarray(parts[world]).tobytes())
        robots.reset_where(step.terminated)  # `later_seeds` depends on the row, so only rows in the same place are compared after this
    return [fingerprint.hexdigest() for fingerprint in hashes]


def test_gymnasium_checker(task: str) -> None:
    check_env(gymnasium.make(robot_id(task)).unwrapped, skip_render_check=True)
    check_env(RobotEnv(task, randomisation=ALL), skip_render_check=True)


@needs_renderer
def test_gymnasium_checker_with_pictures(task: str) -> None:
    check_env(gymnasium.make(robot_id(task), render_mode="rgb_array", size=(64, 48)).unwrapped)


@pytest.mark.filterwarnings("ignore::UserWarning")  # it warns of goal-conditioned environments that they are goal-conditioned
def test_stable_baselines_checker(task: str) -> None:
    sb3_check_env(RobotEnv(task))


def test_ids_are_registered(task: str) -> None:
    assert robot_id(task) in [entry.id for entry in envs.entries()]
    env = gymnasium.make(f"envs:{robot_id(task)}")
    observation, info = env.reset(seed=5)
    assert info == {"seed": 5}
    assert env.observation_space.contains(observation)
    several = gymnasium.make_vec(robot_id(task), num_envs=3)
    assert isinstance(several, RobotVectorEnv)
    assert several.num_envs == 3


def test_a_task_says_what_it_is(task: str) -> None:
    made = task_named(task)
    model = Robots(made, batch=1).physics.model
    assert made.name == task
    assert made.about
    for camera in made.cameras:
        assert model.camera(camera).id >= 0
    for thing in made.things:
        assert [model.geom(name).id for name in thing.geoms]
    assert (model.geom_type != int(mujoco.mjtGeom.mjGEOM_MESH)).all(), "meshes render slowly in software"
    assert len(made.mjcf()) < 20_000


def test_the_same_whatever_the_threads_and_the_batch(task: str) -> None:
    """Bit by bit, with everything randomised."""
    seeds = [3, 4, 5, 6, 7, 8, 9]
    whole = fingerprints(task, seeds, 25, threads=1, randomisation=ALL)
    assert len(set(whole)) == len(seeds)
    assert fingerprints(task, seeds, 25, threads=2, randomisation=ALL) == whole
    assert fingerprints(task, seeds[:3], 25, threads=1, randomisation=ALL) == whole[:3]
    assert fingerprints(task, seeds[:1], 25, threads=1, randomisation=ALL) == whole[:1]


def test_the_same_in_another_process() -> None:
    here = [print_ for task in TASKS for print_ in fingerprints(task, [11, 12], 10)]
    root, folder = Path(__file__).parents[2], Path(__file__).parent
    code = (
        f"import sys; sys.path[:0] = [{str(root)!r}, {str(folder)!r}]; from test_robots import TASKS, fingerprints; "
        "print(*[one for task in TASKS for one in fingerprints(task, [11, 12], 10)])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root).stdout
    assert out.split() == here


def test_a_state_is_continued_exactly(task: str) -> None:
    """Warm starts of the solver, randomised models and counts of episodes included; in the same worlds and in new ones."""

    def drive(env: RobotVecEnv, pushes: NDArray[Any]) -> list[NDArray[Any]]:
        seen: list[NDArray[Any]] = []
        for push in pushes:
            observation, reward, done, _ = env.step(push)
            seen += [flat(observation), reward, done, env.robots.physics.get_state(), env.robots.seeds.copy()]
        return seen

    made = task_named(task)
    pushes = np.random.default_rng(0).uniform(-1, 1, (40, 3, made.action_size))
    env = RobotVecEnv(task, num_envs=3, randomisation=ALL)
    env.reset()
    env.robots.steps[:] = made.duration - 20  # so that episodes end on the way
    drive(env, pushes[:13])
    saved = env.get_state()
    first = drive(env, pushes[13:])
    env.set_state(saved)
    other = RobotVecEnv(task, num_envs=3, randomisation=ALL, seed=77)
    other.reset()
    other.set_state(saved)
    assert any(part.dtype == bool and part.any() for part in first)
    for again in (drive(env, pushes[13:]), drive(other, pushes[13:])):
        for one, two in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, two)


def test_no_episode_starts_in_touch_or_done(task: str) -> None:
    robots = Robots(task_named(task), batch=200, randomisation=Randomisation(mass=0.1))
    robots.reset(np.arange(200))
    assert not robots.task.success(robots.physics).any()
    assert not robots.task.failed(robots.physics).any()
    data = mujoco.MjData(robots.physics.model)
    for world in range(200):
        model = robots.physics.load(world, data)
        mujoco.mj_forward(model, data)
        deepest = min((float(contact.dist) for contact in data.contact), default=0.0)
        assert deepest > -1e-3, f"episode {world}: {deepest} m deep"
    starts = flat(robots.observe())
    assert len(np.unique(starts, axis=0)) == 200


@pytest.mark.parametrize("who", ["expert", "chance"])
def test_observations_are_in_their_space(task: str, who: str) -> None:
    """Under the expert every number of them varies too; chance does not come to all there is."""
    env = RobotVectorEnv(16, task)
    observation, _ = env.reset(seed=0)
    act, seen = expert_for(env.robots).act if who == "expert" else actions, [flat(observation)]
    for _ in range(60):
        observation, *_ = env.step(act(env.robots))
        assert env.observation_space.contains(observation)
        seen.append(flat(observation))
    if who == "expert":
        spread = np.concatenate(seen).std(0)
        assert (spread > 1e-4).all(), f"numbers that do not vary: {np.flatnonzero(spread <= 1e-4)}"


def test_what_is_returned_is_never_written_to_again(task: str) -> None:
    env = RobotVecEnv(task, num_envs=2)
    first = flat(env.reset())
    kept = first.copy()
    second, reward, *_ = env.step(np.ones((2, env.action_space.shape[0])))
    copies = flat(second).copy(), reward.copy()
    env.step(-np.ones((2, env.action_space.shape[0])))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(flat(second), copies[0])
    np.testing.assert_array_equal(reward, copies[1])


def test_the_reward_is_the_sum_of_its_terms(task: str) -> None:
    env = RobotEnv(task)
    env.reset(seed=1)
    _, reward, _, _, info = env.step(env.action_space.sample())
    assert reward == pytest.approx(sum(weight * info["reward_terms"][name] for name, weight in env.task.weights.items()), abs=1e-12)


def test_vector_env(task: str) -> None:
    """World k starts episode seed + k, as an environment of its own would; resets come the step after the end."""
    env = RobotVectorEnv(3, task)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    first, info = env.reset(seed=9)
    assert info["seed"].tolist() == [9, 10, 11]
    alone, _ = RobotEnv(task).reset(seed=10)
    np.testing.assert_array_equal(flat(first)[1], one(alone))
    env.robots.steps[1] = env.task.duration - 1
    still = np.zeros((3, env.task.action_size))
    _, _, terminated, truncated, info = env.step(still)
    assert truncated.tolist() == [False, True, False]
    assert not terminated.any()
    assert info["_metrics"].tolist() == [False, True, False]
    assert info["metrics"]["_success"].tolist() == [False, True, False]
    _, reward, terminated, truncated, info = env.step(still)
    assert reward[1] == 0.0
    assert not (terminated | truncated).any()
    assert info["_seed"].tolist() == [False, True, False]
    assert env.robots.steps.tolist() == [2, 0, 2]


def test_vec_env(task: str) -> None:
    """The end of an episode as Stable-Baselines3 wants to hear of it."""
    env = RobotVecEnv(task, num_envs=2, seed=4)
    env.reset()
    env.robots.steps[0] = env.task.duration - 1
    observation, reward, done, infos = env.step(np.zeros((2, env.task.action_size)))
    assert (reward.dtype, reward.shape, done.tolist()) == (np.float32, (2,), [True, False])
    assert infos[1] == {}
    assert infos[0]["TimeLimit.truncated"] is True
    assert infos[0]["seed"] == 4
    assert infos[0]["episode"]["l"] == env.task.duration
    assert env.observation_space.contains(infos[0]["terminal_observation"])
    assert not np.array_equal(one(infos[0]["terminal_observation"]), flat(observation)[0])
    again, _ = RobotEnv(task).reset(seed=int(env.robots.seeds[0]))
    np.testing.assert_array_equal(flat(observation)[0], one(again))


def successes(task: str, act: Any, episodes: int, **options: Any) -> float:
    robots = Robots(task_named(task), batch=episodes, **options)
    robots.reset(np.arange(episodes))
    done, won = np.zeros(episodes, dtype=bool), np.zeros(episodes, dtype=bool)
    policy = act(robots)
    while not done.all():
        step = robots.step(policy(robots))
        ended = (step.terminated | step.truncated) & ~done
        won, done = won | (ended & step.success), done | ended
    return float(won.mean())


def test_the_expert_does_it_and_chance_does_not(task: str) -> None:
    assert set(EXPERTS) == set(TASKS)
    assert successes(task, lambda robots: expert_for(robots).act, EPISODES) >= 0.95
    assert successes(task, lambda _: actions, EPISODES) <= 0.2


LONG = ("diff_drive_nav", "quadruped_walk")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in shipped_tasks()])
def test_trained_policies_that_are_shipped_do_it(name: str, request: pytest.FixtureRequest) -> None:
    """On episodes that training never draws; their cards say how they were made."""
    card = json.loads((ROBOT_WEIGHTS / f"{name}.json").read_text())
    task = card["robot"]["task"]
    if card["robot"]["observation"] == "pixels":
        request.getfixturevalue("opengl")
        assert name == f"{task}_pixels"
    else:
        assert name == task
        assert load_robot_policy("trained", task).sha256 == card["sha256"]
    assert card["command"].startswith(f"closedloop train --task {task} ")
    assert card["data"].startswith(f"episodes of the robot task {task}")
    results = rollout_robots(load_robot_policy(name, task), task, range(500_000, 500_000 + EPISODES))
    assert np.mean([result.metrics["success"] for result in results]) >= 0.9


@needs_renderer
def test_cameras_see_what_labels_name(task: str) -> None:
    """Each thing is seen in the first picture of some episode, and every camera's picture shows something."""
    robots = Robots(task_named(task), batch=6)
    robots.reset(np.arange(6))
    made = robots.task
    seen = np.zeros(len(made.things), dtype=bool)
    with Camera(robots.physics, width=96, height=72, things=made.things) as camera:
        for world in range(6):
            for name in made.cameras:
                assert camera.picture(world, name).std() > 5.0
                seen |= camera.boxes(world, name).seen
    assert seen.all()


@needs_renderer
@pytest.mark.parametrize("observation", ["visible", "noisy", "perceived", "pixels"])
def test_levels_of_seeing_pass_the_checkers(task: str, observation: str) -> None:
    env = RobotEnv(task, observation=observation, sight=SightConfig(width=40, height=36))
    check_env(env, skip_render_check=True)
    if observation != "pixels":
        assert env.observation_space == RobotEnv(task).observation_space
    else:
        sb3_check_env(env)
    env.close()


@needs_renderer
@pytest.mark.parametrize("observation", ["noisy", "perceived"])
def test_what_is_believed_is_the_same_in_any_batch_and_a_part_of_the_state(pictured: str, observation: str) -> None:
    """Bit by bit, with the model randomised and sightings that come late, through ends of episodes."""
    seeds, sight = [3, 4, 5], SightConfig(width=48, height=48, latency=2)
    options: dict[str, Any] = {"observation": observation, "sight": sight, "randomisation": ALL}
    whole = fingerprints(pictured, seeds, 6, threads=2, **options)
    assert len(set(whole)) == len(seeds)
    assert fingerprints(pictured, seeds[:1], 6, threads=1, **options) == whole[:1]
    pushes = np.random.default_rng(0).uniform(-1, 1, (8, 2, task_named(pictured).action_size))
    env = RobotVecEnv(pictured, num_envs=2, **options)
    env.reset()
    env.robots.steps[1] = env.robots.task.duration - 5
    for push in pushes[:3]:
        env.step(push)
    saved = env.get_state()
    first = [flat(env.step(push)[0]) for push in pushes[3:]]
    env.set_state(saved)
    np.testing.assert_array_equal(first, [flat(env.step(push)[0]) for push in pushes[3:]])
    prompt = RobotVecEnv(pictured, num_envs=2, observation=observation, randomisation=ALL)
    with pytest.raises(ValueError, match="a belief of level"):
        prompt.set_state(saved)
    for each in (env, prompt):
        each.close()


@needs_renderer
def test_what_is_perceived_is_near_the_truth(pictured: str) -> None:
    """While an expert acts by it: of what is seen, half within 1.5 cm."""
    seeds = np.arange(2 if task_named(pictured).duration < 200 else 1)
    found = watch(pictured, seeds=seeds)
    seen = found.alive[..., None] & found.seen
    assert seen.mean() > 0.4
    assert np.median(found.off[seen]) < 0.015
    assert (found.off[seen] > 0.0).all()
    noisy = watch(pictured, seeds=seeds, level="noisy")
    assert np.median(noisy.off[noisy.alive[..., None] & noisy.seen]) < 0.02


@needs_renderer
def test_what_is_visible_is_the_truth_where_nothing_hides(pictured: str) -> None:
    """The same policy does as well on it, and the belief is a part of the state that is saved."""
    pair = [RobotVecEnv(pictured, num_envs=2, observation=level) for level in ("truth", "visible")]
    truth, visible = (env.robots for env in pair)
    expert = expert_for(truth)
    for env in pair:
        env.reset()
    agreed = 0
    for _ in range(12 if len(truth.task.things) < 4 else 100):  # several people are seldom all in sight
        act = expert.act(truth)
        for env in pair:
            env.step(act)
        assert isinstance(visible.sight, Sight)
        everything = visible.sight.belief.seen.all(1)
        np.testing.assert_array_equal(flat(truth.observe())[everything], flat(visible.observe())[everything])
        agreed += int(everything.sum())
    assert agreed > 6
    saved = visible.get_state()
    first = [flat(pair[1].step(np.ones((2, truth.task.action_size)))[0]) for _ in range(3)]
    visible.set_state(saved)
    again = [flat(pair[1].step(np.ones((2, truth.task.action_size)))[0]) for _ in range(3)]
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ValueError, match="a state with a belief: worlds here are told 'truth'"):
        truth.set_state(saved)
    pair[1].close()
