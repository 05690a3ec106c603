"""Robot tasks in the commands that train, judge and compare."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

from agents.cli import run
from agents.evaluation.domains import changed_task_weights
from agents.evaluation.rollout_robots import rollout_robots
from agents.evaluation.suite import Plan, judge
from agents.gate.plan import plan_from, task_identity
from agents.gate.run import seconds
from agents.learning import TrainConfig, config_from, resume, train
from agents.learning.checkpoint import load_checkpoint
from agents.learning.config import read_yaml
from agents.learning.robots import Teacher, robot_worlds
from agents.policies.base import PolicyError
from agents.policies.bundle import load_bundle
from agents.robots import expert_for
from agents.robots.policies import RobotPolicy, check_fits, load_robot_policy
from agents.robots.told import flat
from envs.checks import ConfigError
from envs.robots import Robots, task_named
from envs.robots.robots import Diverged
from perception.storage import WEIGHTS, read_card
from scenarios import ScenarioError, load_suite

TINY = {"envs": 8, "validation_episodes": 8, "evaluations": 1, "tensorboard": False, "network": [16]}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned from the expert of cart and pole, which is a linear function of what is told."""
    folder = tmp_path_factory.mktemp("clone") / "run"
    given = {"task": "cart_pole_vision", "imitate": "expert", "steps": 4000, "envs": 16, "validation_episodes": 16, "evaluations": 2}
    train(config_from({**given, "tensorboard": False}), out=folder, quiet=True)
    return folder


# ---------------------------------------------------------------- training


def test_the_expert_is_imitated_until_the_network_does_it_too(clone: Path) -> None:
    card = json.loads((clone / "policy.json").read_text())
    assert card["validation"]["success"]["value"] == 1.0
    assert "what the scripted expert would do" in card["data"]
    assert "episodes of the robot task cart_pole_vision" in card["data"]
    assert card["robot"] == {"task": "cart_pole_vision", "observation": "truth"}
    fresh = rollout_robots(load_robot_policy(clone, "cart_pole_vision"), "cart_pole_vision", range(16))
    assert [r.end for r in fresh] == ["done"] * 16


def test_the_command_on_the_card_trains_the_same(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = json.loads((clone / "policy.json").read_text())["command"]
    assert run([*shlex.split(command)[1:], "--dry-run", "--json"]) == 0
    shown, kept = json.loads(capsys.readouterr().out), read_yaml(clone / "config.yaml")
    assert shown["imitate"] == "expert"
    assert config_from(shown, complete=True) == config_from(kept, complete=True)


@pytest.mark.parametrize("algo", ["sac", "ppo"])
def test_goals_are_learned_saved_and_gone_on_with(algo: str, tmp_path: Path) -> None:
    hyper = {"learning_starts": 420} if algo == "sac" else {"n_steps": 32}
    config = config_from({"task": "reach", "algo": algo, "steps": 512, "hyper": hyper, **TINY})
    assert config.robot.hindsight == (4 if algo == "sac" else 0)
    first = train(config, out=tmp_path / "run", quiet=True)
    assert first.steps == 512
    assert (tmp_path / "run" / "curves.png").exists()
    bundle = load_bundle(tmp_path / "run")
    assert bundle.spec.network.sizes == (9, 16, 3)
    assert bundle.spec.observation.layout == {"observation": (6,), "way": (3,)}
    assert (bundle.spec.normaliser is None) == (algo == "sac")
    again = resume(tmp_path / "run", steps=768, quiet=True)
    assert again.steps == load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").counters["num_timesteps"] == 768
    results = rollout_robots(load_robot_policy(tmp_path / "run", "reach"), "reach", [0, 1])
    assert [r.error for r in results] == ["", ""]


def test_what_was_learned_by_hindsight_acts_as_the_model_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle is told one vector; the model three parts with goals."""
    from agents.learning.run import Run
    from agents.policies.sb3 import Actor

    kept: list[Run] = []
    finish = Run.finish
    monkeypatch.setattr(Run, "finish", lambda self: kept.append(self) or finish(self))  # type: ignore[func-returns-value]
    config = config_from({"task": "reach", "algo": "sac", "steps": 512, "hyper": {"learning_starts": 420}, **TINY})
    train(config, out=tmp_path / "run", quiet=True)
    robots = Robots(task_named("reach"), batch=64)
    seen = robots.observe()
    wanted, _ = kept[0].learner.predict(seen, deterministic=True)  # type: ignore[arg-type]
    actor = Actor(load_bundle(tmp_path / "run" / "final.safetensors"))
    np.testing.assert_allclose(actor(torch.from_numpy(flat(seen))).numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("task", ["push_cube", "cart_pole_vision"])
def test_pictures_are_learned_from(
    task: str, tmp_path: Path, opengl: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two cameras' pictures and what the robot feels, or of pictures alone: the bundle acts as the model does."""
    from agents.learning.run import Run

    kept: list[Run] = []
    finish = Run.finish
    monkeypatch.setattr(Run, "finish", lambda self: kept.append(self) or finish(self))  # type: ignore[func-returns-value]
    robot = {"observation": "pixels", "frames": 2}
    given = {"task": task, "imitate": "expert", "steps": 32, "robot": robot, **TINY, "validation_episodes": 1}
    monkeypatch.setattr(type(task_named(task)), "duration", 6)
    train(config_from(given), out=tmp_path / "run", quiet=True)
    bundle = load_bundle(tmp_path / "run" / "final.safetensors")
    assert bundle.spec.robot is not None
    assert (bundle.spec.robot.observation, bundle.spec.robot.frames) == ("pixels", 2)
    policy = load_robot_policy(tmp_path / "run" / "final.safetensors", task)
    robots = policy.worlds(task, 8)
    seen: Any = robots.observe()
    assert seen["image"].shape == (8, {"push_cube": 12, "cart_pole_vision": 6}[task], 84, 84)
    normalised: Any = kept[0].normalise.normalize_obs(seen)
    wanted, _ = kept[0].learner.predict(normalised, deterministic=True)
    np.testing.assert_allclose(policy.make(robots).act(robots), wanted, atol=1e-5)
    begin = ["train", "--init", str(tmp_path / "run"), "--steps", "16", "--dry-run"]
    assert run(begin) == 0
    assert run([*begin, "--set", "robot.frames=1"]) == 2
    assert run([*begin, "--set", "robot.frames=1", "--observation", "truth"]) == 2
    said = capsys.readouterr().err
    assert "robot.frames: 1; the policy in" in said
    assert "robot.observation: truth; the policy in" in said
    assert load_robot_policy(f"{tmp_path}/run@pixels", task).observation == "pixels"
    with pytest.raises(PolicyError, match="no observation level 'pixles'; did you mean 'pixels'"):
        load_robot_policy(f"{tmp_path}/run@pixles", task)
    with pytest.raises(PolicyError, match="stays on 'pixels'"):
        load_robot_policy(f"{tmp_path}/run@truth", task)
    assert [r.error for r in rollout_robots(policy, task, [0, 1])] == ["", ""]


@pytest.mark.slow
def test_reaching_is_learned_from_hits_and_misses_alone(tmp_path: Path) -> None:
    config = config_from({"task": "reach", "algo": "sac", "steps": 10_000, "validation_episodes": 64, "evaluations": 1})
    result = train(config_from({**config.as_dict(), "tensorboard": False}, complete=True), out=tmp_path / "run", quiet=True)
    assert result.last is not None
    assert result.last["success"]["value"] >= 0.9


def test_rewards_go_on_from_what_was_imitated(clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--init", str(clone), "--steps", "512", "--out", str(tmp_path / "on"), "--envs", "8", "--json"]
    small = ["--set", "hyper.n_steps=32", "--set", "hyper.learning_rate=1.0e-5", "--set", "validation_episodes=8", "--set", "evaluations=1"]
    assert run([*arguments, *small]) == 0
    assert json.loads(capsys.readouterr().out)["best"]["success"]["value"] == 1.0
    assert run(["train", "--init", str(clone), "--task", "reach", "--dry-run"]) == 2
    assert "task: reach; the policy in" in capsys.readouterr().err


def test_who_is_imitated_is_told_the_truth_whatever_the_network_is_told(opengl: None) -> None:
    told = {level: Robots(task_named("cart_pole_vision"), batch=4, observation=level) for level in ("truth", "visible")}
    hidden = told["visible"]
    assert hidden.sight is not None
    hidden.sight.belief.position[:] += 0.1  # a mistake that the network would see, and the teacher must not
    taught = Teacher(hidden, "expert")()
    np.testing.assert_array_equal(taught, Teacher(told["truth"], "expert")())
    assert np.abs(taught - expert_for(hidden).act(hidden)).max() > 0.01
    assert hidden.sight is not None


def test_training_validation_and_judging_see_different_episodes() -> None:
    worlds = robot_worlds(TrainConfig(task="reach", envs=4, validation_episodes=4), 0)
    seeds = {}
    for name, env in (("training", worlds.training), ("validation", worlds.validation)):
        env.reset()
        seeds[name] = set(env.get_attr("robots")[0].seeds.tolist())
    assert min(seeds["validation"]) == 1_000_000
    assert min(seeds["training"]) == 2_000_000


# ---------------------------------------------------------------- judging


def test_an_episode_does_not_depend_on_its_company(clone: Path) -> None:
    policy = load_robot_policy(clone, "cart_pole_vision")
    together = rollout_robots(policy, "cart_pole_vision", range(5))
    apart = rollout_robots(policy, "cart_pole_vision", [3, 1], batch=1)
    assert apart == [together[3], together[1]]


def test_policies_can_be_told_what_cameras_see(opengl: None) -> None:
    assert load_robot_policy("expert@visible", "reach").observation == "visible"
    results = rollout_robots(load_robot_policy("expert@visible", "cart_pole_vision"), "cart_pole_vision", [0], name="seer")
    assert [(r.policy, r.end) for r in results] == [("seer", "done")]


def test_who_blows_up_is_lost_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Robots.step

    def broken(self: Robots, action: Any) -> Any:
        if 7 in self.seeds and int(self.steps[0]) == 3:
            raise Diverged("reach diverged in episode 7")
        return step(self, action)

    monkeypatch.setattr(Robots, "step", broken)
    results = rollout_robots(load_robot_policy("expert", "reach"), "reach", [6, 7, 8])
    assert [(r.seed, r.end) for r in results] == [(6, "done"), (7, "error"), (8, "done")]
    assert "episode 7" in results[1].error


def test_what_cannot_act_is_lost_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def act(self, robots: Robots) -> Any:
            return np.full((robots.batch, robots.task.action_size), np.nan)

    monkeypatch.setattr("agents.robots.policies.PLAYERS", {"expert": lambda robots: Silent()})
    results = judge(["expert"], Plan(entries=(("task:reach", (0, 1)),)))
    assert [(r.end, "not finite" in r.error) for r in results] == [("error", True)] * 2


def test_ends_and_figures() -> None:
    results = rollout_robots(load_robot_policy("random", "cart_pole_vision"), "cart_pole_vision", range(4))
    for result in results:
        assert result.end == "failed"
        assert result.metrics["success"] == result.metrics["at_goal"] == 0.0
        assert result.metrics["lasted"] == pytest.approx(result.metrics["seconds"] / 10.0)
        assert result.reward == result.metrics["return"]
    assert len({r.fingerprint for r in results}) == 4


def test_eval_writes_what_there_was(clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "expert", "random", str(clone), "--task", "cart_pole_vision", "--episodes", "6", "--workers", "1", "--json"]
    assert run([*arguments, "--out", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((tmp_path / "results.json").read_text())
    table = {row["policy"]: row for row in shown["table"]}
    assert {name: row["success"]["value"] for name, row in table.items()} == {"expert": 1.0, "random": 0.0, "cart_pole_vision-ppo": 1.0}
    assert table["random"]["ends"]["failed"] == 6
    page = (tmp_path / "report.md").read_text()
    assert "| task | policy | episodes | success | return | lasted | at goal |" in page
    assert "docs/robots.md" in page


def test_policies_of_other_tasks_are_refused(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="was trained on the robot task 'cart_pole_vision', not on 'reach'"):
        load_robot_policy(clone, "reach")
    shutil.copytree(clone, tmp_path / "cart_pole_vision")
    assert load_robot_policy(tmp_path / "{task}", "cart_pole_vision").sha256 == load_bundle(clone).sha256
    with pytest.raises(PolicyError, match="neither a known name nor an existing path"):
        load_robot_policy(tmp_path / "{task}", "reach")
    with pytest.raises(ConfigError, match="did you mean 'reach'"):
        load_robot_policy("expert", "raech")


def test_what_a_network_was_told_has_to_be_what_it_is_told(clone: Path) -> None:
    policy = load_robot_policy(clone, "cart_pole_vision")
    with pytest.raises(PolicyError, match="was trained on the robot task"):
        policy.make(Robots(task_named("reach"), batch=1))
    assert isinstance(replace(policy, observation="truth"), RobotPolicy)


def test_a_policy_does_not_choose_its_exam() -> None:
    """How it commands the robot is its own affair; what is to be done is not."""
    easy = replace(load_robot_policy("expert", "reach"), options={"tolerance": 0.09, "control": "joints"})
    message = r"trained on another reach, with tolerance=0.09 in place of 0.025: it cannot be judged"
    with pytest.raises(PolicyError, match=message):
        check_fits(easy, "reach")
    with pytest.raises(PolicyError, match=message):
        rollout_robots(easy, "reach", [0])
    check_fits(easy, "reach", judged=False)  # to watch it
    for fair in ({"control": "joints"}, {"tolerance": 0.025}, {}):
        check_fits(replace(easy, options=fair), "reach")


@pytest.mark.parametrize("level", ["visible", "noisy", "perceived"])
def test_who_acts_on_the_truth_is_not_called_otherwise(level: str) -> None:
    with pytest.raises(PolicyError, match=f"sampling@{level}: sampling tries out candidates on copies of the true state"):
        load_robot_policy(f"sampling@{level}", "reach")
    assert load_robot_policy("sampling@truth", "reach").observation == "truth"


# ---------------------------------------------------------------- the gate


SUITE = "version: 1\nname: exam\nepisodes: 12\nmetrics: [{metric: success, margin: 0.1}, {metric: lasted, margin: 0.1}]\ntasks:\n"


def exam(folder: Path, tasks: str) -> str:
    (folder / "exam.yaml").write_text(SUITE + tasks)
    return str(folder / "exam.yaml")


def test_robots_go_through_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = exam(tmp_path, "  - {task: reach}\n  - {task: cart_pole_vision}\n")
    like = ["--suite", suite, "--workers", "1"]
    assert run(["compare", "expert", "random", *like, "--out", str(tmp_path / "worse")]) == 1
    assert "closedloop play reach --policy random --seed" in capsys.readouterr().out
    report = json.loads((tmp_path / "worse" / "report.json").read_text())
    assert (report["verdict"], report["candidate"]["name"]) == ("regression", "random")
    page = (tmp_path / "worse" / "report.html").read_text()
    assert "Pairs that got worse" in page
    assert "closedloop play cart_pole_vision --policy random --seed" in page
    assert run(["compare", "expert", "expert", *like, "--out", str(tmp_path / "same"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs_identical"] == 24


def test_a_baseline_of_robots_is_kept(tmp_path: Path) -> None:
    suite, kept = exam(tmp_path, "  - {task: reach}\n"), str(tmp_path / "kept.json")
    like = ["--suite", suite, "--baseline", kept, "--workers", "1"]
    assert run(["compare", "expert", *like, "--update-baseline", "the first", "--out", str(tmp_path / "a")]) == 0
    assert run(["compare", "expert", *like, "--out", str(tmp_path / "b")]) == 0
    assert run(["compare", "random", *like, "--out", str(tmp_path / "c")]) == 1


def test_suites_name_tasks_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="did you mean 'reach'"):
        plan_from(load_suite(exam(tmp_path, "  - {task: raech}\n")))


def test_the_same_task_may_be_there_again_with_other_seeds(tmp_path: Path) -> None:
    suite = exam(tmp_path, "  - {task: cart_pole_vision, family: a}\n  - {task: cart_pole_vision, family: b, seed: 500}\n")
    plan = plan_from(load_suite(suite))
    assert [stratum.seeds[0] for stratum in plan.strata] == [0, 500]
    assert seconds(plan, ["random"], 1, compile=False) > 0.0


def test_what_is_seen_through_is_a_part_of_who_acts(opengl: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that --resume and kept baselines notice another detector or error model under the same name."""
    from agents.policies.pins import robot_weights_changed

    ours = {stage: read_card(WEIGHTS / f"{stage}_robots.json")["sha256"] for stage in ("detector", "noise")}
    assert task_identity("expert@perceived", ["reach"])["perception"] == {"detector": ours["detector"]}
    assert task_identity("expert@noisy", ["reach"])["perception"] == {"noise": ours["noise"]}
    assert "perception" not in task_identity("expert", ["reach"])
    learned = replace(load_robot_policy("expert@perceived", "reach"), perception={"detector": ours["detector"]})
    assert robot_weights_changed(learned) == ""
    other = replace(learned, perception={"detector": "0" * 64})
    assert "expert@perceived was trained with the detector with sha256 0000000000000000..." in robot_weights_changed(other)
    assert robot_weights_changed(replace(other, observation="truth")) == ""
    monkeypatch.setattr("agents.robots.policies.load_robot_policy", lambda spec, task: other)
    assert len(changed_task_weights(["a", "b"], ["reach"])) == 1


def test_a_bundle_notes_what_it_was_trained_to_see_through(tmp_path: Path) -> None:
    given = {"task": "cart_pole_vision", "steps": 256, "hyper": {"n_steps": 32}, "robot": {"observation": "noisy"}, **TINY}
    train(config_from(given), out=tmp_path / "run", quiet=True)
    noted = read_card(WEIGHTS / "noise_robots.json")["sha256"]
    assert load_robot_policy(tmp_path / "run", "cart_pole_vision").perception == {"noise": noted}
