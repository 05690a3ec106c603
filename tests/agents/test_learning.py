"""Training end to end on a small world of our own, so that the trainer is tested apart from the simulator."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from agents.learning import RunResult, TrainConfig, TrainingCrashed, config_from, resume, train
from agents.learning.algorithms import ALGORITHMS
from agents.learning.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from agents.learning.config import TrainConfigError
from agents.learning.curves import draw_curves
from agents.learning.meter import EpisodeMeter
from agents.learning.progress import Console
from agents.learning.record import COLUMNS, read_progress
from agents.learning.validate import validate
from agents.learning.worlds import Worlds
from agents.policies.bundle import load_bundle
from agents.policies.sb3 import Actor
from agents.policies.spec import ObservationSpec

ARRIVED, FALLEN, LIMIT = 0.2, 1.5, 25


class PointWorlds(VecEnv):
    """B points in the plane that should go to the origin and not over the edge. Observation (B, 2): where they are."""

    def __init__(self, count: int, kind: str, seed: int) -> None:
        space = spaces.Discrete(4) if kind == "discrete" else spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.first, self.render_mode, self.calls = seed, None, 0
        super().__init__(count, spaces.Box(-2.0, 2.0, (2,), np.float32), space)

    def reset(self) -> Any:
        self.rng = np.random.default_rng(self.first)
        self.at = self.rng.uniform(-1.0, 1.0, (self.num_envs, 2))
        self.time = np.zeros(self.num_envs, dtype=np.int64)
        return self.at.astype(np.float32)

    def step_async(self, actions: Any) -> None:
        self.moves = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])[actions] if actions.ndim == 1 else actions

    def step_wait(self) -> Any:
        before = np.linalg.norm(self.at, axis=1)
        self.at = self.at + 0.2 * self.moves
        self.time += 1
        distance = np.linalg.norm(self.at, axis=1)
        success, fallen = distance < ARRIVED, distance > FALLEN
        late = self.time >= LIMIT
        done = success | fallen | late
        reward = (before - distance) + 1.0 * success - 1.0 * fallen
        seen = self.at.astype(np.float32)
        infos: list[dict[str, Any]] = [{}] * self.num_envs
        for row in np.flatnonzero(done):
            truncated = bool(late[row] and not success[row] and not fallen[row])
            infos[row] = {"terminal_observation": seen[row].copy(), "TimeLimit.truncated": truncated}
            infos[row] |= {"is_success": bool(success[row]), "collision": bool(fallen[row])}
        self.at[done] = self.rng.uniform(-1.0, 1.0, (int(done.sum()), 2))
        self.time[done] = 0
        return self.at.astype(np.float32), reward.astype(np.float32), done, infos

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs

    def seed(self, seed: int | None = None) -> Any:
        raise AssertionError("the algorithm must not choose the episodes' seeds")


def point_worlds(config: TrainConfig, done: int) -> Worlds:
    kind, seeds = config.driving.action, config.seeds
    return Worlds(
        training=PointWorlds(config.envs, kind, seeds.training),
        validation=PointWorlds(seeds.validation_episodes, kind, seeds.validation),
        observation=ObservationSpec(size=2),
    )


def short(algo: str = "ppo", **over: Any) -> TrainConfig:
    """A run of about a second."""
    on_policy = ALGORITHMS[algo].on_policy
    hyper: dict[str, Any] = {"n_steps": 16}
    if not on_policy:
        hyper = {"buffer_size": 5000, "learning_starts": 200, "batch_size": 32, "train_freq": 4, "gradient_steps": 1}
    data = {
        "scenario": "highway",
        "algo": algo,
        "steps": 1000,
        "envs": 16,
        "validation_episodes": 32,
        "evaluations": 2,
        "network": [16, 16],
    }
    return config_from({**data, "hyper": hyper, "driving": {"action": ALGORITHMS[algo].actions[0]}, "compile": False, **over})


def run(folder: Path, config: TrainConfig) -> RunResult:
    return train(config, out=folder, make_worlds=point_worlds, quiet=True)


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_every_algorithm_trains_saves_and_resumes(algo: str, tmp_path: Path) -> None:
    result = run(tmp_path / "run", short(algo))
    assert (result.status, result.steps >= 1000) == ("finished", True)
    bundle = load_bundle(result.final)
    assert bundle.spec.algorithm == algo
    assert bundle.spec.training.steps == result.steps
    assert result.last is not None
    # what the card claims is what the file does
    figures = validate(Actor(bundle), PointWorlds(40, short(algo).driving.action, 1_000_000), episodes=32)
    assert figures is not None
    assert figures.as_dict() == result.last

    again = resume(tmp_path / "run", steps=1500, make_worlds=point_worlds, quiet=True)
    assert again.status == "finished"
    assert 1500 <= again.steps < 1500 + 16 * 16
    steps = [row["steps"] for row in read_progress(tmp_path / "run" / "progress.csv")]
    assert steps == sorted(set(steps))
    assert steps[-1] == again.steps


def test_ppo_learns(tmp_path: Path) -> None:
    config = short("ppo", steps=24_000, envs=32, driving={"action": "discrete"}, hyper={"n_steps": 32, "batch_size": 256}, evaluations=4)
    result = run(tmp_path / "run", config)
    assert result.best is not None
    assert result.best["success"]["value"] > 0.9  # random walks arrive in about a fifth of the episodes
    assert result.best["success"]["low"] > 0.75
    assert result.best["collision"]["value"] < 0.1


def test_the_run_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = short("ppo", steps=3000, evaluations=3)
    result = run(folder, config)
    assert {p.name for p in folder.iterdir()} >= {
        *("config.yaml", "seeds.json", "versions.json", "git.json", "progress.csv", "curves.png", "result.json", "tensorboard"),
        *("policy.safetensors", "policy.json", "final.safetensors", "final.json", "checkpoint.safetensors"),
    }
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]  # no temporary file left
    assert json.loads((folder / "result.json").read_text()) == result.as_dict()
    assert json.loads((folder / "seeds.json").read_text())["training"] == 2_000_000
    assert json.loads((folder / "versions.json").read_text())["torch"] == torch.__version__
    assert (folder / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert list((folder / "tensorboard").glob("events.*"))
    with (folder / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    validated = [row for row in rows if row["val_success"]]
    assert len(validated) >= 3
    for row in validated:
        assert float(row["val_success_low"]) <= float(row["val_success"]) <= float(row["val_success_high"])
    # the best is the best of those validated, and its card says so
    score = [(float(r["val_success"]), float(r["val_reward"]), int(float(r["steps"]))) for r in validated]
    assert load_bundle(folder).spec.training.steps == max(score)[2]
    assert json.loads((folder / "policy.json").read_text())["validation"] == result.best


def test_same_seed_same_policy(tmp_path: Path) -> None:
    hashes = [load_bundle(run(tmp_path / name, short(steps=1000, seed=seed)).final).sha256 for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_a_taken_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        run(tmp_path, short())
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves(tmp_path: Path, number: signal.Signals) -> None:
    class Interrupted(PointWorlds):
        def step_wait(self) -> Any:
            self.calls += 1
            if self.calls == 30:
                os.kill(os.getpid(), number)
            return super().step_wait()

    def worlds(config: TrainConfig, done: int) -> Worlds:
        made = point_worlds(config, done)
        return Worlds(training=Interrupted(16, "continuous", 0), validation=made.validation, observation=made.observation)

    before = signal.getsignal(number)
    result = train(short(steps=100_000), out=tmp_path / "run", make_worlds=worlds, quiet=True)
    assert signal.getsignal(number) is before
    assert (result.status, result.steps) == ("interrupted", 30 * 16)
    assert load_bundle(result.policy).spec.training.steps == 480
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert checkpoint.counters["num_timesteps"] == 480
    again = resume(tmp_path / "run", steps=1000, make_worlds=point_worlds, quiet=True)
    assert again.status == "finished"


def test_a_crash_leaves_whole_files(tmp_path: Path) -> None:
    class Breaking(PointWorlds):
        def step_wait(self) -> Any:
            self.calls += 1
            if self.calls == 100:
                raise ValueError("the world broke")
            return super().step_wait()

    def worlds(config: TrainConfig, done: int) -> Worlds:
        made = point_worlds(config, done)
        return Worlds(training=Breaking(16, "continuous", 0), validation=made.validation, observation=made.observation)

    with pytest.raises(TrainingCrashed, match="the world broke"):
        train(short(steps=4000, evaluations=8), out=tmp_path / "run", make_worlds=worlds, quiet=True)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "crashed"
    load_bundle(tmp_path / "run")
    again = resume(tmp_path / "run", make_worlds=point_worlds, quiet=True)
    assert (again.status, again.steps >= 4000) == ("finished", True)


def test_a_total_that_is_done_already_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "run", short(steps=300))
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(ValueError, match=r"steps=100: the run in .* has done \d+ already"):
        resume(tmp_path / "run", steps=100, make_worlds=point_worlds, quiet=True)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_it_runs_outside_the_main_thread(tmp_path: Path) -> None:
    results: list[RunResult] = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path / "run", short(steps=300))))
    thread.start()
    thread.join()
    assert results[0].status == "finished"


@pytest.mark.parametrize("algo", ["ppo", "sac", "td3", "dqn"])
def test_checkpoint_restores_everything(algo: str, tmp_path: Path) -> None:
    """A run that resumes and stops at once holds what was saved: parameters, optimisers, statistics."""
    folder = tmp_path / "run"
    run(folder, short(algo))
    first = load_checkpoint(folder / "checkpoint.safetensors")
    resume(folder, make_worlds=point_worlds, quiet=True)
    second = load_checkpoint(folder / "checkpoint.safetensors")

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, torch.Tensor):
            return bool(torch.equal(a, b))
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
        return bool(a == b)

    assert any("optimizer" in name for name in first.parameters)
    assert same(first.parameters, second.parameters)
    assert same(first.variables, second.variables)
    assert (len(first.variables) > 0) == (algo == "sac")
    assert same(first.normaliser, second.normaliser)
    assert first.counters == second.counters
    assert first.notes["best"] == second.notes["best"]


def test_damaged_checkpoint(tmp_path: Path) -> None:
    run(tmp_path, short(steps=300))
    path = tmp_path / "checkpoint.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        resume(tmp_path, make_worlds=point_worlds, quiet=True)
    path.write_bytes((tmp_path / "policy.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="no checkpoint"):
        resume(tmp_path, make_worlds=point_worlds, quiet=True)
    path.unlink()
    with pytest.raises(CheckpointError):
        resume(tmp_path, make_worlds=point_worlds, quiet=True)
    with pytest.raises(TrainConfigError, match=r"config\.yaml"):
        resume(tmp_path / "elsewhere", make_worlds=point_worlds, quiet=True)


@pytest.mark.parametrize(
    "change",
    [
        {"counters": {"num_timesteps": -1}},
        {"counters": {"policy": "x"}},
        {"notes": {}},
        {"notes": []},
        {"normaliser": {"returns.mean": 1.0}},
    ],
)
def test_checkpoint_with_wrong_contents(tmp_path: Path, change: dict[str, Any]) -> None:
    run(tmp_path, short(steps=300))
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, dataclasses.replace(load_checkpoint(path), **change))
    with pytest.raises(CheckpointError, match="damaged"):
        resume(tmp_path, make_worlds=point_worlds, quiet=True)


def test_checkpoint_names_set_nothing_on_the_model(tmp_path: Path) -> None:
    run(tmp_path, short("sac", steps=300))
    path = tmp_path / "checkpoint.safetensors"
    good = load_checkpoint(path)
    odd = dataclasses.replace(good, counters={**good.counters, "gamma": 0}, variables={**good.variables, "policy": torch.zeros(1)})
    save_checkpoint(path, odd)
    assert resume(tmp_path, make_worlds=point_worlds, quiet=True).status == "finished"
    assert set(load_checkpoint(path).variables) == {"log_ent_coef"}


def test_checkpoint_of_another_network(tmp_path: Path) -> None:
    run(tmp_path / "a", short(steps=300))
    run(tmp_path / "b", short(steps=300, network=[8]))
    (tmp_path / "a" / "checkpoint.safetensors").replace(tmp_path / "b" / "checkpoint.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        resume(tmp_path / "b", make_worlds=point_worlds, quiet=True)


def test_validation_counts_each_first_episode_once() -> None:
    """Against a plain loop over single points."""
    target = torch.tensor([[1.0, 0.0]])
    figures = validate(lambda rows, images: -rows.clamp(-1, 1) + 0 * target, PointWorlds(60, "continuous", 7), episodes=50)
    assert figures is not None
    starts = np.random.default_rng(7).uniform(-1.0, 1.0, (60, 2))[:50]
    rewards, lengths = [], []
    for start in starts:
        at, reward, length = start, 0.0, 0
        while np.linalg.norm(at) >= ARRIVED:
            new = at - 0.2 * at.astype(np.float32)
            reward += np.linalg.norm(at) - np.linalg.norm(new)
            at, length = new, length + 1
            if length == LIMIT:
                break
        rewards.append(reward + 1.0 if length else 1.0)
        lengths.append(length)
    assert figures.success is not None
    assert figures.success.value == 1.0
    assert figures.episodes == figures.success.n == 50
    moved = np.array(lengths) > 0  # points that start at the goal move once and have arrived
    assert figures.length == pytest.approx(np.where(moved, lengths, 1).mean())
    assert figures.reward == pytest.approx(np.array(rewards).mean(), abs=0.02)


def test_observation_statistics_are_in_the_bundle(tmp_path: Path) -> None:
    bundle = load_bundle(run(tmp_path / "run", short(steps=3000)).final)
    assert np.abs(bundle.tensors["normaliser.mean"]).max() < 0.5  # the points lie around the origin
    assert 0.05 < bundle.tensors["normaliser.variance"].min() < 1.0
    plain = load_bundle(run(tmp_path / "plain", short(steps=300, normalise_observations=False)).final)
    assert plain.spec.normaliser is None


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = train(short(steps=300, scenario=["merge/hard", "highway"]), make_worlds=point_worlds, quiet=True)
    assert result.folder.parent == Path("runs")
    assert result.folder.name.startswith("merge-hard+highway-ppo-")
    assert load_bundle(result.folder).spec.name == "merge-hard+highway-ppo"


class Screen(io.StringIO):
    """A stream that claims to be a terminal, or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    told = {}
    for terminal in (True, False):
        screen = Screen(terminal)
        console = Console(2000, done=500, stream=screen)
        console.say("hello")
        console.advance(1000, "success 0.50")
        console.advance(2000, "success 0.75")
        console.close()
        told[terminal] = screen.getvalue()
    assert "\r" in told[True]
    assert "100%" in told[True]
    assert "\r" not in told[False]
    lines = told[False].splitlines()
    assert lines[0] == "hello"
    assert lines[-1].startswith("2k / 2k steps")
    assert "success 0.75" in lines[-1]
    quiet = Screen(False)
    Console(10, stream=quiet, quiet=True).say("hello")
    assert quiet.getvalue() == ""


def test_the_meter_against_a_plain_loop() -> None:
    worlds, meter = PointWorlds(8, "discrete", 3), EpisodeMeter(PointWorlds(8, "discrete", 3))
    rng = np.random.default_rng(0)
    worlds.reset()
    meter.reset()
    running, ended = [[0.0, 0] for _ in range(8)], []
    for _ in range(200):
        actions = rng.integers(0, 4, 8)
        _, rewards, dones, _ = worlds.step(actions)
        meter.step(actions)
        for row in range(8):
            running[row] = [running[row][0] + rewards[row], running[row][1] + 1]
            if dones[row]:
                ended.append(running[row])
                running[row] = [0.0, 0]
    figures = meter.figures()
    assert len(meter.ended) == len(ended) > 50
    assert figures["reward"] == pytest.approx(np.mean([r for r, _ in ended]), abs=1e-6)
    assert figures["length"] == pytest.approx(np.mean([n for _, n in ended]))
    assert 0.0 <= figures["success"] + figures["collision"] <= 1.0


def test_curves_of_an_empty_and_of_a_partial_run(tmp_path: Path) -> None:
    draw_curves(tmp_path / "none.png", [], title="nothing yet")
    draw_curves(tmp_path / "some.png", [{"steps": 5.0}, {"steps": 9.0, "val_reward": 1.0, "best": 1.0}], title="little")
    for name in ("none.png", "some.png"):
        assert (tmp_path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
