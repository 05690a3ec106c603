"""Policies distilled from a planner: that the network really learns what the expert does, and that training can begin with it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from agents import cli
from agents.evaluation.rollout import rollout
from agents.learning import config_from, resume, train
from agents.learning.beginning import check_beginning
from agents.learning.checkpoint import load_checkpoint
from agents.learning.config import TrainConfigError
from agents.learning.dagger import PlannerExpert, _drive, _learn, _returns
from agents.learning.record import read_config, read_progress
from agents.learning.worlds import Worlds, driving_worlds
from agents.policies.base import load_policy
from agents.policies.bundle import PolicyBundle, load_bundle, save_bundle
from agents.policies.sb3 import Actor
from agents.policies.spec import ObservationSpec
from envs.driving.make import sample_episodes

SMALL = {"episodes": 16, "validation_episodes": 4, "evaluations": 2, "tensorboard": False, "network": [32], "envs": 16}


class Points(VecEnv):
    """Points on a line of two numbers that go where they are told; the expert takes them home by a law that a network can learn."""

    def __init__(self, count: int, seed: int) -> None:
        self.first, self.render_mode = seed, None
        super().__init__(count, spaces.Box(-9.0, 9.0, (2,), np.float32), spaces.Box(-1.0, 1.0, (2,), np.float32))

    def reset(self) -> Any:
        self.rng = np.random.default_rng(self.first)
        self.at = self.rng.uniform(-2.0, 2.0, (self.num_envs, 2))
        return self.at.astype(np.float32)

    def expert(self) -> Any:
        return np.tanh(np.stack([-self.at[:, 0], self.at[:, 0] - self.at[:, 1]], axis=1)).astype(np.float32)

    def step_async(self, actions: Any) -> None:
        self.moves = actions

    def step_wait(self) -> Any:
        self.at = self.at + 0.3 * self.moves
        done = (np.abs(self.at).max(axis=1) < 0.3) | (np.abs(self.at).max(axis=1) > 4.0)
        infos: list[dict[str, Any]] = [
            {"terminal_observation": here.astype(np.float32)} if over else {} for here, over in zip(self.at, done, strict=True)
        ]
        self.at[done] = self.rng.uniform(-2.0, 2.0, (int(done.sum()), 2))
        return self.at.astype(np.float32), (0.3 * self.at[:, 0]).astype(np.float32), done, infos

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


class Timed(Points):
    """Every fourth step ends all episodes: those of odd rows because the time is over, those of even rows for good. A step is worth 1."""

    def reset(self) -> Any:
        self.steps = 0
        return super().reset()

    def step_wait(self) -> Any:
        self.at, self.steps = self.at + 0.3 * self.moves, self.steps + 1
        self.last, over = self.at.astype(np.float32), self.steps % 4 == 0
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if over:
            infos = [{"terminal_observation": self.last[k], "TimeLimit.truncated": k % 2 == 1} for k in range(self.num_envs)]
            self.at = self.rng.uniform(-2.0, 2.0, (self.num_envs, 2))
        ones = np.ones(self.num_envs, dtype=np.float32)
        return self.at.astype(np.float32), ones, np.full(self.num_envs, over), infos


def points(config: Any, done: int) -> Worlds:
    training, validation = Points(config.envs, 1), Points(4, 2)
    observation = ObservationSpec(size=2, features="", layout={"at": (2,)})
    return Worlds(training=training, validation=validation, observation=observation, expert=training.expert if config.imitate else None)


def settings(**more: Any) -> Any:
    return config_from({"scenario": ["merge"], "driving": {"action": "continuous"}, "steps": 6400, **SMALL, **more})


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "run"
    assert train(settings(imitate="pdm"), out=folder, make_worlds=points, quiet=True).status == "finished"
    return folder


def test_the_error_falls_and_the_bundle_does_what_the_expert_does(clone: Path) -> None:
    rows = [row for row in read_progress(clone / "progress.csv") if "imitation_error" in row]
    assert len(rows) >= 10
    assert rows[-1]["imitation_error"] < 0.2 * rows[0]["imitation_error"]
    assert rows[-1]["steps"] == 6400
    world = Points(256, 7)
    seen = world.reset()
    found = Actor(load_bundle(clone / "policy.safetensors"))(torch.from_numpy(seen)).numpy()
    off = np.sqrt(np.mean((found - world.expert()) ** 2))
    assert off < 0.1
    assert off < 0.2 * np.sqrt(np.mean(world.expert() ** 2))


def test_training_begins_with_the_networks_and_the_normaliser(clone: Path, tmp_path: Path) -> None:
    """A run of no updates to speak of keeps what it began with: learning rate 0."""
    hyper = {"n_steps": 4, "batch_size": 64, "n_epochs": 1, "learning_rate": 0.0}
    run = train(settings(init=str(clone), hyper=hyper, steps=64), out=tmp_path / "run", make_worlds=points, quiet=True)
    before, after = load_checkpoint(clone / "checkpoint.safetensors"), load_checkpoint(run.folder / "checkpoint.safetensors")
    for name, value in before.parameters["policy"].items():
        assert torch.equal(value, after.parameters["policy"][name]), name
    assert after.counters["num_timesteps"] == 64
    assert float(after.normaliser["observations.count"]) == pytest.approx(float(before.normaliser["observations.count"]) + 16 * 5, abs=16)
    noise = before.parameters["policy"]["log_std"]
    assert float(noise.max()) < -1.5  # little is left to explore with, from 0


def test_critics_learn_too(clone: Path) -> None:
    """Its word for the start of an episode goes the way of what the clone then gets."""
    bundle, world = Actor(load_bundle(clone / "policy.safetensors")), Points(512, 9)
    checkpoint = load_checkpoint(clone / "checkpoint.safetensors")
    seen = world.reset()
    mean, variance = (checkpoint.normaliser[f"observations.{name}"].numpy() for name in ("mean", "variance"))
    x = torch.from_numpy(((seen - mean) / np.sqrt(variance + 0.01)).astype(np.float32))
    layers = checkpoint.parameters["policy"]
    hidden = torch.tanh(x @ layers["mlp_extractor.value_net.0.weight"].T + layers["mlp_extractor.value_net.0.bias"])
    value = (hidden @ layers["value_net.weight"].T + layers["value_net.bias"])[:, 0].numpy()
    got, alive = np.zeros(512), np.ones(512)
    for t in range(40):
        _, reward, done, _ = world.step(bundle(torch.from_numpy(seen)).numpy())
        got, alive, seen = got + alive * 0.98**t * reward, alive * ~done, world.at.astype(np.float32)
    assert np.corrcoef(value, got)[0, 1] > 0.8


def test_beyond_a_timeout_stands_what_the_critic_expects() -> None:
    """Terminated is not truncated: beyond an end there is nothing, beyond a timeout the critic's word."""
    inner = Timed(6, 1)
    worlds = VecNormalize(inner, norm_reward=False, gamma=0.9)
    learner = PPO("MlpPolicy", worlds, gamma=0.9, seed=3, device="cpu")
    worlds.reset()
    states, labels = {"": np.empty((4, 6, 2), np.float32)}, np.empty((4, 6, 2), np.float32)
    found = _drive(learner, worlds, inner.expert, states, labels, led=True, stop=lambda: False)
    assert found is not None
    rewards, dones = found
    assert np.array_equal(dones, np.arange(4)[:, None] == np.full((4, 6), 3))
    with torch.no_grad():
        worth = learner.policy.predict_values(torch.as_tensor(worlds.normalize_obs(inner.last)))[:, 0].numpy()
    assert np.abs(worth[1::2]).max() > 0.1  # or nothing would be seen
    beyond = np.where(np.arange(6) % 2 == 1, 0.9 * worth, 0.0)
    assert rewards == pytest.approx(1.0 + np.where(dones, beyond, 0.0), abs=1e-6)
    policy: Any = learner.policy
    assert _returns(policy, worlds, rewards, dones, 0.9)[0] == pytest.approx(1.0 + 0.9 + 0.81 + 0.729 * (1.0 + beyond), abs=1e-5)


class Pictured(Points):
    """The points as bright dots in a picture, and numbers beside it that tell nothing."""

    def __init__(self, count: int, seed: int) -> None:
        super().__init__(count, seed)
        parts: dict[str, Any] = {"image": spaces.Box(0, 255, (3, 36, 36), np.uint8), "state": spaces.Box(-1.0, 1.0, (1,), np.float32)}
        self.observation_space = spaces.Dict(parts)

    def reset(self) -> Any:
        super().reset()
        columns, rows = (np.clip(18 + 4 * self.at, 1, 34).astype(int)).T
        image = np.zeros((self.num_envs, 3, 36, 36), np.uint8)
        for k in range(self.num_envs):
            image[k, :, rows[k] - 1 : rows[k] + 2, columns[k] - 1 : columns[k] + 2] = 255
        return {"image": image, "state": np.zeros((self.num_envs, 1), np.float32)}


def test_pictures_are_learned_from_and_the_critic_has_no_say_in_what_is_seen() -> None:
    worlds = VecNormalize(Pictured(256, 1), norm_reward=False, norm_obs_keys=["state"])
    labels = worlds.venv.expert() if worlds.reset() else None  # type: ignore[attr-defined]
    seen: Any = worlds.get_original_obs()
    learned = []
    for returns in (np.zeros(256, np.float32), np.linspace(-5.0, 5.0, 256, dtype=np.float32)):
        learner = PPO("MultiInputPolicy", worlds, seed=3, device="cpu")
        assert labels is not None
        rng = np.random.default_rng(0)
        losses = [_learn(learner.policy, worlds, seen, labels, returns, rng) for _ in range(12)]
        assert losses[-1] < 0.2 * losses[0]
        learned.append(learner.policy.state_dict())
    for name, value in learned[0].items():
        assert torch.equal(value, learned[1][name]) != name.startswith(("value_net", "mlp_extractor.value_net")), name


@pytest.fixture
def driver(brief: str, tmp_path: Path) -> Path:
    """A run in the simulator."""
    folder = tmp_path / "driver"
    words = [part for key, value in {**SMALL, "envs": 4, "episodes": 4}.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    assert cli.run(["train", "--scenario", brief, "--imitate", "idm_mobil", "--steps", "80", "--out", str(folder), *words, "--json"]) == 0
    return folder


def test_a_planner_is_imitated_in_the_simulator(brief: str, driver: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads((driver / "result.json").read_text())["status"] == "finished"
    capsys.readouterr()
    policy = load_policy(str(driver))
    assert (policy.needs.action, policy.needs.ticks_per_step) == ("continuous", 2)
    (result,) = rollout(policy, sample_episodes(brief, 1, 5), batch=1)
    assert not result.error
    assert cli.run(["train", "--init", str(driver), "--steps", "1M", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["imitate"], told["init"], told["network"]) == ("", str(driver), [32])
    assert (told["driving"]["ticks_per_step"], told["scenario"], told["hyper"]["gamma"]) == (2, [brief], 0.99)


def test_networks_begin_only_as_what_they_are(driver: Path, clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["train", "--init", str(driver), "--steps", "80", "--dry-run"]
    for words, said in (
        (["--set", "activation=relu"], "activation: relu; the policy in"),
        (["--set", "normalise_observations=false"], "normalise_observations: False"),
        (["--set", "network=[16]"], "network: [16]"),
        (["--algo", "a2c"], "algo: a2c"),
        (["--action", "discrete"], "driving.action: discrete"),
        (["--action", "plan"], "planner: a planner's wishes"),
        (["--set", "driving.nearest=3"], "numbers, not the"),
        (["--set", "init_sha256='0123'"], "init_sha256: 0123; the checkpoint in"),
    ):
        assert cli.run([*base, *words]) == 2, words
        assert said in capsys.readouterr().err
    with pytest.raises(TrainConfigError, match="not the 2 "):
        check_beginning(settings(init=str(clone)))
    older = tmp_path / "older"
    shutil.copytree(driver, older)
    bundle = load_bundle(driver / "final.safetensors")
    renamed = bundle.spec.observation.model_copy(update={"features": "0" * 64})
    save_bundle(
        older / "final.safetensors", PolicyBundle(spec=bundle.spec.model_copy(update={"observation": renamed}), tensors=bundle.tensors)
    )
    assert cli.run(["train", "--init", str(older), "--steps", "80", "--dry-run"]) == 2
    assert "mean something else" in capsys.readouterr().err


def test_cards_say_what_was_learned_from(clone: Path, tmp_path: Path) -> None:
    first = json.loads((clone / "final.json").read_text())
    assert first["data"].endswith("what the planner pdm would do in every state, nothing else")
    hyper = {"n_steps": 4, "batch_size": 64, "n_epochs": 1}
    run = train(settings(init=str(clone), hyper=hyper, steps=64), out=tmp_path / "run", make_worlds=points, quiet=True)
    sha256 = hashlib.sha256((clone / "checkpoint.safetensors").read_bytes()).hexdigest()
    card = json.loads((run.folder / "final.json").read_text())
    for part in (str(clone), sha256, first["data"], first["command"]):
        assert part in card["data"]
    assert card["config"]["init_sha256"] == read_config(run.folder).init_sha256 == sha256
    assert sha256 in card["command"]
    with pytest.raises(TrainConfigError, match="init_sha256: 00; the checkpoint in"):
        train(settings(init=str(clone), init_sha256="00"), out=tmp_path / "other", make_worlds=points, quiet=True)
    assert not (tmp_path / "other").exists()


def test_a_run_that_imitates_is_not_resumed(clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it has seen is gone: a network fitted to the rest alone would be another."""
    with pytest.raises(TrainConfigError, match=r"done 6400 of 12800 steps and cannot go on.*not kept.*--init"):
        resume(clone, steps=12800, make_worlds=points, quiet=True)
    assert read_config(clone).steps == 6400
    assert resume(clone, make_worlds=points, quiet=True).status == "finished"  # there is nothing left to learn
    half = tmp_path / "half"
    shutil.copytree(clone, half)
    text = (half / "config.yaml").read_text()
    (half / "config.yaml").write_text(text.replace("steps: 6400", "steps: 9600"))  # as if it had been stopped
    for words in ([], ["--dry-run"]):
        assert cli.run(["train", "--resume", str(half), *words]) == 2
        assert "done 6400 of 9600 steps" in capsys.readouterr().err


def test_the_expert_is_the_planner(brief: str) -> None:
    config = config_from({"scenario": [brief], **SMALL, "envs": 2, "episodes": 2, "imitate": "pdm", "driving": {"ticks_per_step": 2}})
    worlds = driving_worlds(config, 0)
    worlds.training.reset()
    assert isinstance(worlds.expert, PlannerExpert)
    actions = worlds.expert()
    assert actions.shape == (2, 2)
    assert np.abs(actions).max() <= 1.0
    policy, sim = load_policy("pdm"), worlds.expert.worlds.worlds.sim
    same = policy.act(worlds.expert.scenes(None), seed=sim.setup.seed, step=sim.state.step)
    assert np.array_equal(actions, same[:, 0].numpy())


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for change, rule in (
        ({"imitate": "pdmm"}, "did you mean 'pdm'"),
        ({"imitate": "pdm", "algo": "sac"}, "sac cannot go on"),
        ({"imitate": "pdm", "driving": {"action": "discrete"}}, "continuous actions"),
        ({"imitate": "pdm", "planner": "pdm"}, "leave one of the two out"),
    ):
        with pytest.raises(TrainConfigError, match=rule):
            settings(**change)
    (tmp_path / "empty").mkdir()
    for words, said in (
        (["--scenario", "merge", "--imitate", "pdm", "--action", "discrete"], "continuous actions"),
        (["--init", str(tmp_path / "empty")], "config.yaml"),
    ):
        assert cli.run(["train", *words, "--dry-run"]) == 2
        assert said in capsys.readouterr().err
