"""Arcade games from the command line: experts and chance are judged, networks trained, judged and gone on with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agents import cli
from agents.arcade.policies import load_arcade_policy
from agents.evaluation.domains import are_arcade
from agents.evaluation.rollout_arcade import rollout_arcade
from agents.learning.config import TrainConfigError, config_from
from agents.policies.base import PolicyError
from agents.policies.pins import arcade_weights
from envs.checks import ConfigError

LINES = [
    ["eval", "random", "--task", "pong"],
    ["train", "--task", "pong", "--steps", "64"],
    ["play", "pong", "--policy", "random"],
    ["study", "perception", "--task", "pong", "--level", "truth"],
    ["compare", "random", "expert", "--suite", "atari"],
]
SMALL = {"task": "rally", "steps": 256, "envs": 4, "validation_episodes": 2, "evaluations": 1, "network": [8], "tensorboard": False}
SHORT = {"points": 1, "duration": 100}


def test_the_expert_wins_and_chance_loses() -> None:
    """On the same episodes, all of them; and again to the same bits in another batch."""
    expert, chance = (rollout_arcade(load_arcade_policy(name, "rally"), "rally", range(2)) for name in ("expert", "random"))
    assert [r.end for r in expert] == ["won"] * 2
    assert [r.end for r in chance] == ["lost"] * 2
    assert all(r.metrics["return"] == r.metrics["won"] - r.metrics["lost"] == r.reward for r in expert + chance)
    assert all(r.metrics["won"] == 11.0 for r in expert)
    (alone,) = rollout_arcade(load_arcade_policy("random", "rally"), "rally", [1])
    assert alone == chance[1]


def test_levels_and_names_that_do_not_exist_are_told() -> None:
    assert load_arcade_policy("expert@noisy", "rally").observation == "noisy"
    for name, said in (
        ("expert@thruth", "did you mean 'truth'"),
        ("exprt", "did you mean 'expert'"),
        ("expert@pixels", "it takes numbers"),
    ):
        with pytest.raises(PolicyError, match=said):
            load_arcade_policy(name, "rally")
    assert are_arcade(["rally"])
    assert not are_arcade(["reach"])
    with pytest.raises(ConfigError, match="have no figures in common"):
        are_arcade(["rally", "reach"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"algo": "sac", "robot": {"options": {"action": "discrete"}}}, "sac learns continuous actions"),
        ({"robot": {"observation": "pixles"}}, "no level 'pixles'; did you mean 'pixels'"),
        ({"robot": {"observation": "pixels", "frames": 2}}, "robot.frames: 2; games show the last four"),
        ({"robot": {"options": {"pionts": 3.0}}}, "did you mean 'points'"),
        ({"robot": {"hindsight": 4}}, "robot.hindsight: arcade games have none"),
        ({"imitate": "expert"}, "cannot be imitated"),
        ({"planner": "pdm"}, "is about driving"),
    ],
)
def test_runs_that_cannot_be_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(TrainConfigError, match=said):
        config_from({"task": "rally", **given})


@pytest.mark.parametrize(
    ("algo", "level"),
    [("ppo", "truth"), ("sac", "truth"), ("ppo", "noisy"), ("ppo", "pixels"), pytest.param("dqn", "pixels", marks=pytest.mark.slow)],
)
def test_networks_are_trained_and_judged(algo: str, level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Discrete and continuous, of numbers and of pictures. One that was trained on another game than others are judged on is refused."""
    from agents.learning.trainer import train

    hyper = {"n_steps": 32} if algo == "ppo" else {"learning_starts": 32, "gradient_steps": 1, "buffer_size": 500}
    action = {"action": "continuous"} if algo == "sac" else {}
    config = config_from({**SMALL, "algo": algo, "hyper": hyper, "robot": {"observation": level, "options": {**SHORT, **action}}})
    result = train(config, out=tmp_path / "run")
    assert result.status == "finished"
    with pytest.raises(PolicyError, match="trained on another rally, with .*points=1 in place of 11"):
        rollout_arcade(load_arcade_policy(tmp_path / "run", "rally"), "rally", [0])
    policy = load_arcade_policy(tmp_path / "run", "rally")
    assert policy.observation == level
    assert dict(policy.perception) == arcade_weights("rally", level)  # pinned: the error model is a part of who learned by it
    assert bool(policy.perception) == (level == "noisy")
    if level == "pixels":
        assert load_arcade_policy(f"{tmp_path}/run@pixels", "rally").observation == "pixels"
        with pytest.raises(PolicyError, match="stays on 'pixels'"):
            load_arcade_policy(f"{tmp_path}/run@truth", "rally")
    worlds = policy.worlds("rally", 3)
    player = policy.make(worlds)
    for _ in range(5):
        worlds.step(player.act(worlds))
    card = json.loads((tmp_path / "run" / "policy.json").read_text())
    assert "episodes of the arcade game rally" in card["data"]
    assert cli.run(["eval", str(tmp_path / "run"), "--task", "rally", "--out", str(tmp_path / "eval")]) == 2
    assert "cannot be judged beside others" in capsys.readouterr().err


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_without_ale_py_one_line_says_what_to_install(
    line: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    monkeypatch.chdir(tmp_path)
    assert cli.run(line) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1] == "closedloop: this needs the extra 'atari': pip install 'closedloop[atari]'"
    assert len(told) == 1
    assert not [*tmp_path.iterdir()]
