"""`closedloop list` and `closedloop bench`: complete, countable, machine-readable."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

import scenarios
from agents import cli
from agents.commands.list_ import LISTS
from agents.commands.output import print_table
from agents.evaluation import speed
from agents.policies.arcade_spec import shipped_arcade
from agents.policies.base import policy_names
from agents.policies.robot_spec import shipped_tasks
from envs import entries
from envs.games import GAMES
from envs.games.arcade import ARCADE
from envs.robots import TASKS
from scenarios.roads import ROADS


def test_list_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", "--json"]) == 0
    found = {kind: [row["name"] for row in rows] for kind, rows in json.loads(capsys.readouterr().out).items()}
    assert found == {
        "scenarios": scenarios.names(),
        "suites": scenarios.suite_names(),
        "policies": [*policy_names(), *shipped_tasks(), *shipped_arcade()],
        "envs": [entry.id for entry in entries()],
        "roads": list(ROADS),
        "games": list(GAMES),
        "arcade": [*ARCADE],
        "robots": list(TASKS),
    }


@pytest.mark.parametrize("kind", list(LISTS))
def test_list_shows_one_kind(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", kind]) == 0
    shown = capsys.readouterr().out
    for row in LISTS[kind]():
        assert row["name"] in shown
        assert row.get("description", " ") != ""


def test_without_mujoco_the_list_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets and all: they are not Rich's markup."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "mujoco" else find(name, *rest))
    assert cli.run(["list", "robots"]) == 0
    assert capsys.readouterr().out.count("needs pip install 'closedloop[robots]'") == len(TASKS)


def test_without_ale_py_the_list_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ale_py" else find(name, *rest))
    assert cli.run(["list", "arcade", "--json"]) == 0
    extra = [name for name, entry in ARCADE.items() if entry.extra == "atari"]
    assert capsys.readouterr().out.count("needs pip install 'closedloop[atari]'") == len(extra) == 3


def test_tables_print_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("a [b]", ["c [dim]", "d"], [["[e]", "f[/e]"]])
    assert capsys.readouterr().out.split() == ["a", "[b]", "c", "[dim]", "d", "[e]", "f[/e]"]


def test_list_refuses_other_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", "planners"]) == 2
    assert "scenarios" in capsys.readouterr().err


def test_the_benchmark_drives_what_it_says() -> None:
    episode = speed.highway_episode(3)
    assert len(episode.agents) == 51
    assert len(episode.network.lanes) == 4
    assert episode.dt == pytest.approx(1.0 / 15.0)
    assert episode.agents != speed.highway_episode(4).agents
    with pytest.raises(ValueError, match="part='half'"):
        speed.measure_ours("half", worlds=1, compiled=False, seconds=0.1)


@pytest.mark.parametrize("part", speed.PARTS)
def test_agent_steps_are_counted(part: str) -> None:
    rate = speed.measure_ours(part, worlds=2, compiled=False, seconds=0.01)
    ticks = 1 if part == "full15" else 15
    assert rate.decisions > 0
    assert rate.agent_steps == rate.decisions * 51 * ticks
    assert rate.agent_steps_per_second == rate.agent_steps / rate.seconds


def test_peer_is_counted_alike() -> None:
    pytest.importorskip("highway_env", reason="the extra `bench` is not installed")
    rate = speed.measure_peer(seconds=0.01)
    assert rate.agent_steps == rate.decisions * 51 * 15


def test_bench_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", "driving", "--backend", "eager", "--batch", "1", "--seconds", "0.05", "--no-peer", "--out", str(tmp_path), "--json"]
    assert cli.run(argv) == 0
    shown = json.loads(capsys.readouterr().out)
    (file,) = tmp_path.glob("driving-*.json")
    assert json.loads(file.read_text()) == shown
    assert [(r["part"], r["worlds"], r["times_highway_env"]) for r in shown["rates"]] == [(part, 1, None) for part in speed.PARTS]
    assert {"processor", "torch", "highway-env"} <= shown["machine"].keys()


def test_bench_without_its_peer_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "highway_env", None)
    assert cli.run(["bench", "driving"]) == 2
    shown = capsys.readouterr().err
    assert "pip install 'closedloop[bench]'" in shown
    assert "--no-peer" in shown


@pytest.mark.parametrize(("name", "hint"), [("drivng", "did you mean 'driving'?"), ("soccer", "known: driving")])
def test_bench_knows_what_was_meant(name: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", name]) == 2
    assert f"no benchmark '{name}'; {hint}" in capsys.readouterr().err


def test_a_file_of_another_format_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "road.xodr").write_text("<OpenDRIVE/>")
    assert cli.run(["import", str(tmp_path / "road.xodr"), "--out", str(tmp_path / "out")]) == 2
    assert "not a file of a known format; known: CommonRoad" in capsys.readouterr().err


def test_training_that_cannot_begin_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fine.yaml").write_text(
        "version: 1\nname: fine\nduration: 2 s\ndt: 0.05\nroad: {kind: highway, lanes: 2, length: 300 m}\n"
        "ego: {lane: main.0, s: 20 m, speed: 15 m/s}\n"
    )
    out = ["--out", str(tmp_path / "run"), "--steps", "10"]
    assert cli.run(["train", "--scenario", "highway", "--scenario", str(tmp_path / "fine.yaml"), *out]) == 2
    assert "different ticks cannot be trained on together: highway 0.1 s" in capsys.readouterr().err
    assert cli.run(["train", "--scenario", "highway", "--set", "episodes=2000000", *out]) == 2
    assert "episodes=2000000: must be between 1 and 1000000" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "rule"), [("driving.agents=8", "agents=8"), ("driving.dt=0.05", "dt=0.05"), ("driving.latency=-1", "latency=-1")]
)
def test_settings_of_the_simulator_that_cannot_be_are_bad_input(
    setting: str, rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [part for name in ("episodes", "envs", "validation_episodes") for part in ("--set", f"{name}=2")]
    assert cli.run(["train", "--scenario", "highway", "--steps", "100", *few, "--set", setting, "--out", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert rule in shown
    assert "bug" not in shown
