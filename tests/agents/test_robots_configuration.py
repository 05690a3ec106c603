"""What networks of robot tasks are told, and the configuration of their training."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

from agents.cli import run
from agents.learning import TrainConfig, TrainConfigError, config_from
from agents.learning.algorithms import ALGORITHMS
from agents.learning.config import DEFAULTS, command_line, read_yaml
from agents.learning.config_pictures import picture_problems
from agents.learning.goals import GoalExtractor
from agents.learning.robots import FlatVecEnv
from agents.robots.told import UNIT, flat, flat_space, layout, told_spec
from envs.checks import ConfigError
from envs.robots import TASKS, Robots, RobotVecEnv, SightConfig, task_named
from envs.robots.goals import GoalTask
from envs.robots.sight import picture_space
from envs.robots.task import Objects

CONTINUOUS = [name for name, algorithm in ALGORITHMS.items() if "continuous" in algorithm.actions]


# ---------------------------------------------------------------- what a network is told


@pytest.mark.parametrize("name", TASKS)
def test_what_is_told_of_a_task(name: str) -> None:
    task = task_named(name)
    robots = Robots(task, batch=3)
    told = flat(robots.observe())
    space, spec = flat_space(task.observation_space), told_spec(task)
    assert told.dtype == np.float32
    assert told.shape == (3, spec.size) == (3, sum(shape[0] for shape in layout(task.observation_space).values()))
    assert all(space.contains(row) for row in told)
    assert spec.features not in {told_spec(task_named(other)).features for other in TASKS if other != name}


def test_the_way_is_from_what_is_achieved_to_what_is_desired() -> None:
    robots = Robots(task_named("reach"), batch=2)
    seen = robots.observe()
    assert isinstance(seen, dict)
    np.testing.assert_allclose(flat(seen)[:, 6:], (seen["desired_goal"] - seen["achieved_goal"]) / UNIT, rtol=1e-6)
    in_torch = GoalExtractor(robots.observation_space)({key: torch.from_numpy(part) for key, part in seen.items()})
    np.testing.assert_array_equal(in_torch.numpy(), flat(seen))


def test_pictures_are_no_vector_but_what_is_felt_beside_them_is() -> None:
    task = task_named("push_cube")
    one, two = (picture_space(task, SightConfig(frames=frames)) for frames in (1, 2))
    with pytest.raises(ConfigError, match="these are pictures, and no vector"):
        flat_space(one)
    felt = told_spec(task, one)
    assert (felt.size, felt.layout) == (6, {"state": (6,)})
    assert len({felt.features, told_spec(task, two).features, told_spec(task).features}) == 3
    alone = told_spec(task_named("cart_pole_vision"), picture_space(task_named("cart_pole_vision"), SightConfig()))
    assert (alone.size, alone.layout) == (0, {})


def test_flat_worlds_are_the_worlds() -> None:
    one, other = FlatVecEnv(RobotVecEnv("reach", num_envs=3, seed=5)), RobotVecEnv("reach", num_envs=3, seed=5)
    np.testing.assert_array_equal(one.reset(), flat(other.reset()))
    for _ in range(51):  # beyond the end of the episodes
        action = np.full((3, 3), 0.1, dtype=np.float32)
        (told, reward, done, infos), (seen, same, over, theirs) = one.step(action), other.step(action)
        np.testing.assert_array_equal(told, flat(seen))
        np.testing.assert_array_equal((reward, done), (same, over))
        if done.any():
            last = {key: value[None] for key, value in theirs[0]["terminal_observation"].items()}
            np.testing.assert_array_equal(infos[0]["terminal_observation"], flat(last)[0])
            return
    raise AssertionError("no episode ended")


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize("algo", CONTINUOUS)
@pytest.mark.parametrize("name", TASKS)
def test_every_task_and_algorithm_has_valid_defaults(name: str, algo: str) -> None:
    config = TrainConfig(task=name, algo=algo)
    assert config.title == f"{name}-{algo}"
    assert config_from(config.as_dict(), complete=True) == config
    assert command_line(config).startswith(f"closedloop train --task {name} --algo {algo} --steps ")


@pytest.mark.parametrize("path", sorted((DEFAULTS / "robots").glob("*.yaml")), ids=lambda p: p.stem)
def test_default_files_name_known_things_only(path: Path) -> None:
    assert path.stem in (*TASKS, "base", "pixels")
    assert set(read_yaml(path)) <= {"all", "pixels", *CONTINUOUS}


@pytest.mark.parametrize("algo", CONTINUOUS)
@pytest.mark.parametrize("name", [*TASKS, "rally"])
def test_pictures_have_defaults_of_their_own(name: str, algo: str) -> None:
    given = {"task": name, "algo": algo, "robot": {"observation": "pixels"}}
    config = config_from(given)
    assert (config.envs, config.robot.hindsight) == (16, 0)
    assert config.hyper.get("buffer_size", 0) <= 50_000
    goals = name in TASKS and isinstance(task_named(name), GoalTask)  # which nobody makes up: hits and misses alone would teach nothing
    assert config.robot.options == ({"reward": "dense"} if goals else config_from({"task": name, "algo": algo}).robot.options)
    told = command_line(config)
    assert "--observation pixels" in told
    assert "buffer_size" not in told
    assert config_from({**given, "envs": 8}).envs == 8


def test_pictures_that_would_not_find_room_are_refused() -> None:
    """Bytes are the picture's size by how many are kept, of a machine with 16 GB."""
    found = partial(picture_problems, steps=100_000, envs=16, imitate="", hyper={}, memory=16 * 10**9)
    assert not found((6, 84, 84), imitate="expert", on_policy=True)  # 4.2 GB
    (said,) = found((12, 84, 84), imitate="expert", on_policy=True)
    assert "steps: 100000; imitation keeps every picture, 8.5 GB here, and this machine has 16.0 GB" in said
    (said,) = found((6, 84, 84), on_policy=False, hyper={"buffer_size": 100_000})
    assert "hyper.buffer_size: 100000; its pictures are 8.5 GB" in said
    assert not found((6, 84, 84), on_policy=True, hyper={"n_steps": 128})
    (said,) = found((6, 84, 84), on_policy=True, hyper={"n_steps": 4096})
    assert "hyper.n_steps: 4096 in 16 worlds; their pictures are 11.1 GB" in said
    (said,) = found((96, 84, 84), on_policy=True, hyper={"n_steps": 16})
    assert "robot.frames: 96 channels in all" in said
    with pytest.raises(TrainConfigError, match=r"robot\.frames: 96 channels"):
        config_from({"task": "diff_drive_nav", "robot": {"observation": "pixels", "frames": 8}})


def test_domains_do_not_show_in_each_other() -> None:
    driving, robots = TrainConfig(scenario="merge").as_dict(), TrainConfig(task="reach").as_dict()
    assert not {"task", "robot"} & set(driving)
    assert not {"scenario", "driving", "planner", "reward", "compile", "episodes"} & set(robots)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"task": "raech"}, "task: no robot task 'raech'; did you mean 'reach'?"),
        ({"task": "reach", "scenario": "merge"}, "scenario: is about driving"),
        ({"task": "reach", "driving": {"observation": "noisy"}}, "driving: is about driving"),
        ({"task": "reach", "algo": "dqn"}, "learns discrete actions"),
        ({"task": "reach", "robot": {"observation": "pixles"}}, "robot.observation: no level 'pixles'; did you mean 'pixels'?"),
        ({"task": "reach", "algo": "sac", "robot": {"observation": "pixels", "hindsight": 2}}, "in pictures goals cannot be changed"),
        ({"task": "reach", "robot": {"frames": 2}}, "robot.frames: 2; on 'truth' no pictures are shown"),
        ({"task": "reach", "robot": {"observation": "pixels", "frames": 9}}, "less than or equal to 8"),
        ({"task": "reach", "robot": {"obsevation": "truth"}}, "did you mean 'observation'?"),
        ({"task": "reach", "robot": {"options": {"contrl": "joints"}}}, "did you mean 'control'?"),
        ({"task": "reach", "robot": {"options": {"control": "joint"}}}, "did you mean 'joints'?"),
        ({"task": "reach", "robot": {"randomisation": {"mas": 0.1}}}, "robot.randomisation.mas: unknown; did you mean 'mass'?"),
        ({"task": "reach", "robot": {"randomisation": {"mass": -1.0}}}, "robot.randomisation: "),
        ({"task": "reach", "robot": {"hindsight": 4}}, "ppo has no replay buffer"),
        ({"task": "reach", "algo": "sac", "envs": 64}, "learning_starts: 2000; with 64 worlds the first episodes, in which goals"),
        ({"task": "ball_catch", "algo": "sac", "robot": {"hindsight": 4}}, "ball_catch has no goals"),
        ({"task": "push_cube", "algo": "sac", "robot": {"observation": "noisy"}}, "goals made up would mix the two; train on 'truth'"),
        ({"task": "reach", "imitate": "pdm"}, "'pdm' cannot be imitated on a robot task"),
        ({"task": "reach", "algo": "sac", "imitate": "expert"}, "cannot go on from a distilled policy"),
        ({"scenario": "merge", "robot": {"hindsight": 1}}, "robot: is about a robot's task"),
        ({}, "scenario: expected at least one scenario, or a robot task"),
    ],
)
def test_what_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainConfigError) as refused:
        config_from(data)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--task", "reach", "--scenario", "merge"], "a task has no --scenario"),
        (["train", "--task", "reach", "--compile"], "a task has no"),
        (["train", "--task", "reach", "--device", "cuda"], "tasks run on the cpu"),
        (["train", "--game", "connect_four", "--task", "reach"], "a board game has no"),
        (["eval", "expert", "--task", "reach", "--scenario", "merge"], "of robots and arcade games --task NAME"),
        (["eval", "expert", "--task", "reach", "--task", "reach"], "a task is named twice"),
        (["eval", "expert", "--task", "raech"], "did you mean 'reach'?"),
        (["eval", "exprt", "--task", "reach"], "did you mean 'expert'?"),
        (["eval", "expert@visble", "--task", "reach"], "did you mean 'visible'?"),
        (["eval", "expert", "--task", "reach", "--traces", "all"], "no traces are left"),
        (["eval", "highway", "--task", "reach"], "no policy 'highway' of robots"),
        (["compare", "expert", "random", "--suite", "robots", "--unit", "seed"], "are for suites of scenarios"),
    ],
)
def test_command_line_misuse(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert run([*arguments, *out]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_dry_run_shows_the_complete_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--task", "push_cube", "--algo", "sac", "--observation", "visible", "--set", "robot.options.where=anywhere"]
    assert run([*arguments, "--dry-run", "--json"]) == 2
    assert "robot.hindsight: 4; on 'visible' what push_cube has achieved" in capsys.readouterr().err
    arguments += ["--set", "robot.hindsight=0"]
    assert run([*arguments, "--dry-run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    robot = {"observation": "visible", "frames": 1, "options": {"where": "anywhere"}, "randomisation": {}, "screen": {}, "hindsight": 0}
    assert shown["robot"] == robot


def test_by_hindsight_one_learns_below_the_truth_what_one_feels() -> None:
    assert config_from({"task": "reach", "algo": "sac", "robot": {"observation": "noisy"}}).robot.hindsight == 4
    for name in ("reach", "push_cube", "pick_place"):  # who feels its goal does not look at things for it
        robots = Robots(task_named(name), batch=1)
        objects, task = robots.objects(), robots.task
        assert isinstance(task, GoalTask)
        before, after = (task.observe(robots.physics, Objects(objects.position + off, objects.velocity)) for off in (0.0, 0.1))
        assert isinstance(before, dict)
        assert isinstance(after, dict)
        assert task.feels_goal == bool((before["achieved_goal"] == after["achieved_goal"]).all())
