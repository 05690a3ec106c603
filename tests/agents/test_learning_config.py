"""The configuration of a run: layers of defaults, strict names and values, the command line."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from agents.commands.train import command
from agents.learning.algorithms import ALGORITHMS, check_hyper, hyper_defaults, minibatch
from agents.learning.config import (
    DEFAULTS,
    TrainConfig,
    TrainConfigError,
    command_line,
    config_from,
    parse_count,
    parse_settings,
    read_yaml,
)
from agents.learning.record import as_yaml, read_config, write_config
from agents.learning.seeds import SPAN, TRAINING, VALIDATION, seeds_for
from envs.driving.types import DrivingConfig

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = sorted(path.stem for path in DEFAULTS.glob("*.yaml") if path.stem != "base")


@pytest.mark.parametrize("algo", list(ALGORITHMS))
@pytest.mark.parametrize("family", [*FAMILIES, "unheard_of"])
def test_every_family_and_algorithm_has_valid_defaults(family: str, algo: str) -> None:
    config = TrainConfig(scenario=family, algo=algo)  # type: ignore[arg-type]  # a single name is turned into a tuple
    assert config.driving.action in ALGORITHMS[algo].actions
    assert config.scenario == (family,)


@pytest.mark.parametrize("path", sorted(DEFAULTS.glob("*.yaml")), ids=lambda p: p.stem)
def test_default_files_name_known_things_only(path: Path) -> None:
    parts = read_yaml(path)
    assert set(parts) <= {"all", *ALGORITHMS}
    for algo, values in parts.items():
        assert set(values) <= set(TrainConfig.model_fields) - {"scenario", "algo"}
        if algo != "all":
            assert check_hyper(algo, values.get("hyper", {})) == []


def test_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.yaml").write_text("all: {envs: 10, seed: 1, hyper: {gamma: 0.5}}\nppo: {envs: 20, hyper: {n_steps: 8}}\n")
    (tmp_path / "merge.yaml").write_text("all: {envs: 30, driving: {action: discrete}}\nppo: {envs: 40, hyper: {gamma: 0.6}}\n")
    monkeypatch.setattr("agents.learning.config.DEFAULTS", tmp_path)
    merge = config_from({"scenario": "merge/hard"})
    assert (merge.envs, merge.seed, merge.driving.action, merge.hyper) == (40, 1, "discrete", {"gamma": 0.6, "n_steps": 8})
    assert config_from({"scenario": "my/merge.yaml"}).envs == 40
    assert config_from({"scenario": "exit"}).envs == 20
    assert config_from({"scenario": ["merge", "merge/hard"]}).envs == 40
    assert config_from({"scenario": ["merge", "exit"]}).envs == 20  # tuned for neither
    assert config_from({"scenario": "merge", "algo": "a2c"}).envs == 30
    assert config_from({"scenario": "merge", "algo": "sac"}).driving.action == "continuous"  # it cannot choose among manoeuvres
    given = config_from({"scenario": "merge", "envs": 7, "hyper": {"gamma": 0.9}, "driving": {"nearest": 5}})
    assert (given.envs, given.hyper["gamma"], given.hyper["n_steps"], given.driving.nearest, given.driving.action) == (
        7,
        0.9,
        8,
        5,
        "discrete",
    )
    assert config_from({"scenario": "merge", "driving": DrivingConfig()}).driving == DrivingConfig()  # given whole: nothing laid under


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"step": 1}, r"step: unknown; did you mean 'steps'\?"),
        ({"algo": "poo"}, r"did you mean 'ppo'\?"),
        ({"algo": "sac", "driving": {"action": "discrete"}}, "sac learns continuous actions, not discrete"),
        ({"algo": "dqn", "driving": {"action": "continuous"}}, "dqn learns discrete actions, not continuous"),
        ({"driving": {"action": "trajectory"}}, "driving.action: ppo learns continuous or discrete"),
        ({"driving": {"nearst": 3}}, r"driving.nearst: unknown; did you mean 'nearest'\?"),
        ({"driving": {"nearest": "many"}}, "driving.nearest"),
        ({"driving": {"agents": 7}}, "agents=7"),
        ({"driving": {"learners": 2}}, "learners"),
        ({"driving": {"autopilot": True}}, "autopilot"),
        ({"hyper": {"n_step": 8}}, r"hyper.n_step: ppo has no such parameter; did you mean 'n_steps'\?"),
        ({"hyper": {"n_steps": "many"}}, "hyper.n_steps: 'many'"),
        ({"hyper": {"gamma": True}}, "hyper.gamma"),
        ({"hyper": {"policy_kwargs": {}}}, "hyper.policy_kwargs: ppo has no such parameter"),
        ({"reward": {"progres": 1.0}}, r"reward.progres: unknown; did you mean 'progress'\?"),
        ({"reward": {"progress": "much"}}, "reward.progress"),
        ({"activation": "tahn"}, "activation: 'tahn'"),
        ({"steps": 0}, "steps"),
        ({"steps": "1M"}, "steps"),
        ({"seed": -1}, "seed"),
        ({"network": []}, "network"),
        ({"scenario": []}, "scenario"),
        ({"schedule": "cosine"}, "schedule"),
    ],
)
def test_what_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainConfigError, match=message):
        config_from({"scenario": "highway", **data})


def test_all_problems_at_once_and_a_value_error_from_scripts() -> None:
    with pytest.raises(TrainConfigError) as caught:
        config_from({"scenario": "highway", "activation": "x", "hyper": {"gama": 1, "n_step": 1}})
    assert len(str(caught.value).splitlines()) == 3
    with pytest.raises(ValidationError):
        TrainConfig(scenario=("highway",), stepz=3)  # type: ignore[call-arg]
    assert issubclass(ValidationError, ValueError)


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        TrainConfig(scenario=("highway",)).steps = 3


def test_written_and_read_back(tmp_path: Path) -> None:
    config = config_from({"scenario": ["merge", "exit/hard"], "algo": "td3", "reward": {"comfort": -0.01}, "driving": {"dt": 0.2}})
    write_config(tmp_path, config)
    assert read_config(tmp_path) == config
    (tmp_path / "config.yaml").write_text(as_yaml(config).replace("steps:", "stepps:"))
    with pytest.raises(TrainConfigError, match="stepps"):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(TrainConfigError, match="not valid YAML"):
        read_config(tmp_path)


def test_seed_ranges_never_meet() -> None:
    runs = [seeds_for(run, training_episodes=SPAN, validation_episodes=SPAN) for run in (0, 1, 2, 1_000_000)]
    for seeds in runs:
        assert seeds.validation == VALIDATION >= SPAN  # beyond what is kept for judging
        assert seeds.validation + seeds.validation_episodes <= TRAINING <= seeds.training
    firsts = [s.training for s in runs]
    assert all(b - a >= SPAN for a, b in itertools.pairwise(firsts))
    for bad in ({"run": -1}, {"training_episodes": SPAN + 1}, {"validation_episodes": 0}):
        arguments = {"run": 0, "training_episodes": 1, "validation_episodes": 1, **bad}
        with pytest.raises(ValueError, match="must be between"):
            seeds_for(arguments.pop("run"), **arguments)


@pytest.mark.parametrize(("wanted", "rollout"), [(4096, 8192), (4096, 256), (100, 96), (7, 96), (5, 7), (1, 1)])
def test_minibatch_divides_the_rollout(wanted: int, rollout: int) -> None:
    size = minibatch(wanted, rollout)
    assert size == max(n for n in range(1, wanted + 1) if rollout % n == 0)


@pytest.mark.parametrize(
    ("text", "count"), [("300000", 300_000), ("500k", 500_000), ("1M", 10**6), ("2.5m", 2_500_000), ("2e6", 2 * 10**6), ("1_000", 1000)]
)
def test_counts(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "k", "many", "1.5", "0", "-3", "nan", "inf", "1e15", "1kk"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(ValueError, match="write|whole number"):
        parse_count(text)


def test_settings() -> None:
    settings = ("hyper.n_steps=64", "hyper.gamma=0.9", "driving.action=discrete", "network=[64, 64]", "compile=true")
    assert parse_settings(settings) == {
        "hyper": {"n_steps": 64, "gamma": 0.9},
        "driving": {"action": "discrete"},
        "network": [64, 64],
        "compile": True,
    }
    assert parse_settings(("algo=no",)) == {"algo": "no"}  # YAML 1.2: no is a word
    for bad in ("n_steps", "=3", "a..b=3", "a=[1"):
        with pytest.raises(TrainConfigError, match="--set"):
            parse_settings((bad,))


def test_reserved_parameters_are_not_offered() -> None:
    for algo in ALGORITHMS:
        assert not {"policy", "env", "policy_kwargs", "seed", "device"} & set(hyper_defaults(algo))
        assert ("use_sde" in hyper_defaults(algo)) == ALGORITHMS[algo].on_policy  # elsewhere it makes another actor
        assert "learning_rate" in hyper_defaults(algo)
    assert "action" in {f.name for f in fields(DrivingConfig)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--scenario"),
        (["--scenario", "highway", "--steps", "many"], "--steps"),
        (["--resume", ".", "--seed", "3"], "keeps its configuration"),
        (["--resume", ".", "--set", "envs=3"], "keeps its configuration"),
        (["--resume", "nowhere"], "nowhere"),
    ],
)
def test_command_line_misuse(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_help_imports_no_torch() -> None:
    script = "import sys, agents.commands.train, agents.learning; assert not {'torch', 'gymnasium', 'stable_baselines3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    for algo in ALGORITHMS:  # the list in the help is written out, so that showing it needs no import
        assert re.search(rf"\b{algo}\b", result.output)


@pytest.mark.parametrize(
    "given",
    [
        {"scenario": "highway"},
        {"scenario": ["merge", "merge/hard"], "algo": "sac", "seed": 3, "compile": True, "steps": 10},
        {"scenario": "merge", "envs": 8, "network": [16, 8], "hyper": {"gamma": 0.5, "train_freq": [2, "step"]}, "algo": "dqn"},
        {"scenario": "parking", "driving": {"observation": "visible"}, "reward": {"comfort": -0.5}, "schedule": "constant"},
    ],
    ids=lambda given: str(given["scenario"]),
)
def test_the_command_on_the_card_trains_the_same(given: dict[str, Any]) -> None:
    config = config_from(given)
    words = shlex.split(command_line(config))
    assert words[:2] == ["closedloop", "train"]
    shown = CliRunner().invoke(command, [*words[2:], "--dry-run", "--json"], catch_exceptions=False, standalone_mode=False)
    assert json.loads(shown.stdout) == config.as_dict()


def test_dry_run_shows_the_complete_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--scenario",
        "highway",
        "--algo",
        "ppo",
        "--steps",
        "1M",
        "--seed",
        "3",
        "--set",
        "hyper.gamma=0.9",
        "--dry-run",
        "--json",
    ]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert config_from(shown, complete=True).as_dict() == shown
    assert (shown["steps"], shown["seed"], shown["hyper"]["gamma"], shown["scenario"]) == (1_000_000, 3, 0.9, ["highway"])
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "home"])  # nothing was started
