"""Atari games from the command line: chance and the script for Pong are judged, networks trained, and filmed. Needs the extra `atari`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ale_py")

from agents.arcade.film import film
from agents.arcade.policies import load_arcade_policy
from agents.arcade.pong import PongExpert
from agents.cli import run
from agents.evaluation.report import arcade_sheet, markdown, rows
from agents.evaluation.rollout_arcade import rollout_arcade
from agents.films import film_page
from agents.gate.plan import plan_from
from agents.learning.config import TrainConfigError, config_from
from agents.policies.base import PolicyError
from agents.policies.pins import arcade_weights
from agents.studies.tasks import plan_tasks, study_tasks
from envs.games.arcade import arcade_game
from envs.games.atari import AtariWorlds
from envs.games.atari.pong import arrival
from envs.games.options import with_options
from perception.storage import WeightsError
from scenarios import load_suite
from tests.envs.atari_play import played

SMALL = {"steps": 256, "envs": 4, "validation_episodes": 2, "evaluations": 1, "network": [8], "tensorboard": False}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes end after 40 decisions."""

    def made(config: Any, options: dict[str, Any], *, game: str) -> Any:
        return with_options(config, options if "screen" in game else {"duration": 40, **options}, game=game)

    monkeypatch.setattr("agents.arcade.told.with_options", made)


def test_the_script_returns_what_chance_lets_pass() -> None:
    """Points lost in the first 160 decisions of six episodes, by the truth and by what a perfect detector shows."""
    lost = {}
    for name in ("random", "expert", "expert@perceived,detector=oracle"):
        policy = load_arcade_policy(name, "pong")
        worlds = policy.worlds("pong", 6)
        worlds.reset(np.arange(6))
        player = policy.make(worlds)
        for _ in range(160):
            worlds.step(player.act(worlds))
        lost[name] = float(worlds.metrics()["lost"].mean())
    assert lost["random"] > 2.0
    assert lost["expert"] < 0.5 * lost["random"]
    assert lost["expert@perceived,detector=oracle"] < 0.7 * lost["random"]


def test_where_and_when_a_ball_is_due() -> None:
    """As foretold half a second before: within the ball's height, with walls on the way, and to two frames."""
    worlds = AtariWorlds(8)
    player, told, off = PongExpert(worlds), dict[int, tuple[float, float, int]](), []
    for number in range(160):
        comes, due, v = arrival(worlds.objects())
        ball = worlds.objects().position[:, 0]
        for world in range(8):
            if not bool(comes[world]):
                told.pop(world, None)
            elif float(due[world]) > 0.5:
                told[world] = (float(due[world]), float(v[world]), number)
            elif world in told and float(ball[world, 0]) >= 136.0:
                then, place, since = told.pop(world)
                off.append((place - float(v[world]), (then - (number - since) / 15 - float(due[world])) * 60.0))
        worlds.step(player.act(worlds))
    places, frames = np.abs(np.array(off)).T
    assert len(off) > 12
    assert np.quantile(places, 0.8) < 4.0
    assert np.quantile(frames, 0.8) < 2.5


@pytest.mark.parametrize(("algo", "level"), [("ppo", "truth"), ("dqn", "noisy"), ("ppo", "pixels")])
def test_networks_are_trained_and_judged(algo: str, level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command line; one that was trained on another game than others are judged on is refused."""
    hyper = ["hyper.n_steps=32"] if algo == "ppo" else ["hyper.learning_starts=32", "hyper.gradient_steps=1", "hyper.buffer_size=500"]
    given = [f"{name}={json.dumps(value)}" for name, value in SMALL.items() if name not in ("steps", "envs")]
    line = ["train", "--task", "pong", "--algo", algo, "--observation", level, "--steps", "256", "--envs", "4", "--out", f"{tmp_path}/run"]
    settings = [part for value in (*hyper, *given, "robot.options.duration=40") for part in ("--set", value)]
    assert run([*line, *settings, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "finished"
    policy = load_arcade_policy(tmp_path / "run", "pong")
    assert (policy.observation, dict(policy.options)) == (level, {"duration": 40})
    with pytest.raises(PolicyError, match="trained on another pong, with duration=40"):
        rollout_arcade(policy, "pong", [0])
    with pytest.raises(PolicyError, match="trained on the arcade game 'pong', not on 'breakout'"):
        load_arcade_policy(tmp_path / "run", "breakout")
    worlds = policy.worlds("pong", 2)
    player = policy.make(worlds)
    for _ in range(3):
        worlds.step(player.act(worlds))


@pytest.mark.usefixtures("short")
def test_games_are_judged_by_their_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["eval", "random", "--task", "pong", "--task", "freeway", "--episodes", "2", "--workers", "1", "--out", str(tmp_path / "out")]
    assert run([*line, "--json"]) == 0
    pong, freeway, both = json.loads(capsys.readouterr().out)["table"]
    assert {"success", "return", "won", "lost", "share", "normalised", "seconds"} <= pong.keys()
    assert pong["seconds"]["value"] == pytest.approx(40 / 15)
    assert both["normalised"]["n"] == 4
    assert pong["ends"]["time"] == freeway["ends"]["time"] == 2
    results = rollout_arcade(load_arcade_policy("random", "breakout"), "breakout", [0, 1])
    (row,) = rows(results, arcade_sheet(["breakout"]))
    assert [*row.figures] == ["success", "return", "normalised", "lives", "seconds"]
    assert "| game | policy | episodes | success | return |" in markdown(results, title="a", sheet=arcade_sheet(["breakout"]))


@pytest.mark.usefixtures("short")
def test_the_study_and_the_gate_know_pong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(study_tasks(plan_tasks(("pong",), ("expert",), ("truth", "perceived"), detector="oracle"), episodes=2))
    assert [(row.policy, row.level) for row in found] == [("random", "-"), ("expert", "truth"), ("expert", "perceived")]
    with pytest.raises(WeightsError, match="closedloop pretrain detector --domain atari"):
        plan_tasks(("pong",), ("expert",), ("perceived",))
    assert plan_from(load_suite("atari")).tasks == ["pong"]
    (tmp_path / "exam.yaml").write_text(
        "version: 1\nname: exam\nepisodes: 2\nmetrics:\n  - {metric: share, margin: 0.1}\ntasks:\n  - {task: pong}\n"
    )
    line = ["compare", "random", "random", "--suite", str(tmp_path / "exam.yaml"), "--workers", "1", "--out", str(tmp_path / "same")]
    assert run([*line, "--json"]) in (0, 3)
    assert json.loads(capsys.readouterr().out)["pairs_identical"] == 2


def test_how_the_screen_is_seen_may_be_said_after_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    policy = load_arcade_policy("random@perceived,detector=oracle,latency=2", "pong")
    assert policy.name == "random@perceived,detector=oracle,latency=2"
    assert (policy.screen.detector, policy.screen.latency) == ("oracle", 2)
    assert arcade_weights("pong", "perceived", policy.screen) == arcade_weights("pong", "noisy") == {}
    for text, said in (
        ("detecter=a", "did you mean 'detector'"),
        ("noise=loud", "must be a number"),
        ("size=96", "for everybody"),
        ("oracle", "options are name=value"),
    ):
        with pytest.raises(PolicyError, match=said):
            load_arcade_policy(f"random@noisy,{text}", "pong")
    assert run(["eval", "random@perceived", "--task", "pong"]) == 2
    assert "closedloop pretrain detector --domain atari" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"algo": "sac"}, "sac learns continuous actions; pong is played by buttons"),
        ({"robot": {"options": {"game": "breakout"}}}, "pong is game='pong', and no other"),
        ({"robot": {"screen": {"detecter": "x"}}}, "robot.screen: no option of pong's screen 'detecter'; did you mean 'detector'"),
    ],
)
def test_runs_that_cannot_be_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(TrainConfigError, match=said):
        config_from({"task": "pong", **given})


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("game", "level"), [("pong", "perceived,detector=oracle"), ("breakout", "truth"), ("freeway", "noisy")])
def test_films_show_the_screen_and_what_is_seen(game: str, level: str) -> None:
    shot = film(load_arcade_policy(f"random@{level}", game), game, 3, size=84)
    assert (len(shot.rewards), shot.end) == (40, "time")
    assert shot.people[0].shape == (84, 128, 3) and shot.eyes[0][0].shape == (192, 320, 3)
    assert shot.notes[-1].replace(" ", "") in ("0:0", "1:0", "0")
    same = played(game, 0)
    same.reset(np.array([3]))
    np.testing.assert_array_equal(shot.people[0], same.picture(0, size=84))
    assert "data:image/jpeg" in film_page(shot)
    boxes = shot.boxes[-1, 0]
    assert (boxes[:, 2] > boxes[:, 0]).sum() >= 1  # something is there, inside the picture
    assert boxes[:, [0, 2]].max() <= 320.0 and boxes[:, [1, 3]].max() <= 192.0


def test_what_is_told_is_the_games(tmp_path: Path) -> None:
    for game in ("pong", "breakout", "freeway"):
        assert arcade_game(game).told.shape == (len(arcade_game(game).features),)
        assert arcade_game(game).shown.shape == (4, 84, 84)
