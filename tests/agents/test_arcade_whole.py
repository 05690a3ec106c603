"""What arcade games have as robot tasks have it: policies that ship, pins, the gate, the study, films. Matches here are of two points."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from agents.arcade.film import film
from agents.arcade.film_rally import sighted, way
from agents.arcade.policies import load_arcade_policy
from agents.cli import cli, run
from agents.evaluation.domains import changed_task_weights, duration_of
from agents.evaluation.rollout_arcade import rollout_arcade
from agents.films import Film, film_page
from agents.gate.plan import plan_from, task_identity
from agents.policies.arcade_spec import ARCADE_WEIGHTS, shipped_arcade
from agents.policies.base import PolicyError
from agents.policies.pins import arcade_weights_changed
from agents.studies.tasks import plan_tasks, study_tasks
from envs.checks import ConfigError
from envs.games.arcade import ARCADE
from envs.games.options import with_options
from envs.games.rally.looking import Looking
from envs.games.rally.raster import boxes
from envs.games.rally.worlds import RallyWorlds
from perception.storage import WEIGHTS, read_card
from scenarios import ScenarioError, load_suite

SUITE = "version: 1\nname: exam\nepisodes: 12\nmetrics:\n  - {metric: share, margin: 0.1}\ntasks:\n"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two points win."""
    of_points(monkeypatch, 2)


def of_points(monkeypatch: pytest.MonkeyPatch, points: int) -> None:
    def made(config: Any, options: dict[str, Any], *, game: str) -> Any:
        return with_options(config, {"points": points, **options} if game == "rally" else options, game=game)

    monkeypatch.setattr("agents.arcade.told.with_options", made)


@pytest.mark.parametrize("game", shipped_arcade())
def test_trained_policies_that_ship_win(game: str) -> None:
    """On episodes that training never draws; their cards say how they were made, and lists name them."""
    card = json.loads((ARCADE_WEIGHTS / f"{game}.json").read_text())
    assert card["arcade"]["task"] == game
    assert card["command"].startswith(f"closedloop train --task {game} ")
    assert card["data"].startswith(f"episodes of the arcade game {game}")
    results = rollout_arcade(load_arcade_policy("trained", game), game, range(500_000, 500_004))
    assert np.mean([result.metrics["share"] for result in results]) > 0.8
    assert load_arcade_policy(game, game).sha256 == load_arcade_policy("trained", game).sha256 == card["sha256"]
    told = json.loads(CliRunner().invoke(cli, ["list", "policies", "arcade", "--json"]).output)
    assert game in [row["name"] for row in told["policies"]]
    assert "trained" in told["arcade"][list(ARCADE).index(game)]["policies"]


def test_a_game_without_one_has_no_trained_policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("agents.arcade.policies.ARCADE_WEIGHTS", tmp_path)
    with pytest.raises(PolicyError, match="no trained policy of 'rally' comes with this version; of these: none"):
        load_arcade_policy("trained", "rally")
    with pytest.raises(PolicyError, match="did you mean 'trained'"):
        load_arcade_policy("traned", "rally")


def test_what_is_seen_through_is_a_part_of_who_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {stage: read_card(WEIGHTS / f"{stage}_games.json")["sha256"] for stage in ("detector", "noise")}
    assert task_identity("expert@perceived", ["rally"])["perception"] == {"detector": ours["detector"]}
    assert task_identity("expert@noisy", ["rally"])["perception"] == {"noise": ours["noise"]}
    assert "perception" not in task_identity("expert", ["rally"])
    learned = replace(load_arcade_policy("expert@perceived", "rally"), perception={"detector": ours["detector"]})
    assert arcade_weights_changed(learned, "rally") == ""
    other = replace(learned, perception={"detector": "0" * 64})
    assert "expert@perceived was trained with the detector with sha256 0000000000000000..." in arcade_weights_changed(other, "rally")
    assert arcade_weights_changed(replace(other, observation="truth"), "rally") == ""
    monkeypatch.setattr("agents.arcade.policies.load_arcade_policy", lambda spec, task: other)
    assert len(changed_task_weights(["a", "b"], ["rally"])) == 1


@pytest.mark.usefixtures("short")
def test_games_go_through_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "exam.yaml").write_text(SUITE + "  - {task: rally}\n")
    like = ["--suite", str(tmp_path / "exam.yaml"), "--workers", "1"]
    assert run(["compare", "expert", "random", *like, "--out", str(tmp_path / "worse")]) == 1
    assert "closedloop play rally --policy random --seed" in capsys.readouterr().out
    assert json.loads((tmp_path / "worse" / "report.json").read_text())["verdict"] == "regression"
    assert run(["compare", "random", "random", *like, "--out", str(tmp_path / "same"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs_identical"] == 12


def test_suites_of_games_are_checked(tmp_path: Path) -> None:
    plan = plan_from(load_suite("arcade"))
    assert plan.tasks == ["rally"]
    assert plan.strata[0].duration == duration_of("rally") == 120.0
    (tmp_path / "exam.yaml").write_text(SUITE + "  - {task: rallye}\n")
    with pytest.raises(ScenarioError, match="did you mean 'rally'"):
        plan_from(load_suite(str(tmp_path / "exam.yaml")))
    pytest.importorskip("mujoco", reason="the extra `robots` is not installed")
    (tmp_path / "exam.yaml").write_text(SUITE + "  - {task: rally}\n  - {task: reach}\n")
    with pytest.raises(ConfigError, match="have no figures in common"):
        plan_from(load_suite(str(tmp_path / "exam.yaml")))


@pytest.mark.usefixtures("short")
def test_the_study_compares_levels_on_the_same_episodes(tmp_path: Path) -> None:
    rows = list(study_tasks(plan_tasks(("rally",), ("expert",), ("visible", "truth")), episodes=6))
    assert [(row.policy, row.level) for row in rows] == [("random", "-"), ("expert", "truth"), ("expert", "visible")]
    assert rows[2].gap is not None
    assert rows[2].gap.value == 0.0  # nothing hides anything
    line = ["study", "perception", "--task", "rally", "--level", "noisy", "--noise", "robts", "--out", str(tmp_path / "out")]
    assert run(line) == 2


@pytest.fixture(scope="module")
def shot() -> Film:
    """The expert plays for a while by the truth."""
    return film(replace(load_arcade_policy("expert", "rally"), options={"points": 1}), "rally", 3, size=96)


def test_a_film_is_the_episode_that_is_judged(shot: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    of_points(monkeypatch, 1)
    (result,) = rollout_arcade(load_arcade_policy("expert", "rally"), "rally", [3])
    assert (shot.end, shot.total, len(shot.rewards)) == (result.end, result.reward, round(result.metrics["seconds"] / shot.dt))
    assert shot.notes[0] == "0 : 0"
    assert shot.notes[-1] == "{won:.0f} : {lost:.0f}".format(**result.metrics)
    assert len(shot.people) == len(shot.eyes) == len(shot.ways) == len(shot.boxes) == len(shot.rewards) + 1
    assert float(shot.terms["ball off by"].max()) == 0.0


def test_boxes_and_ways_are_where_things_are() -> None:
    """By the truth what is there; of a detector what it said; and the way leads to where the ball will be."""
    worlds = RallyWorlds(1, observation="perceived")
    for _ in range(14):
        worlds.step(np.array([1]))
    assert isinstance(worlds.eye, Looking)
    found, true = sighted(worlds.eye), boxes(worlds.state, worlds.config, 96)[0].numpy()
    for kind, box in zip((0, 1, 1), true, strict=True):
        off = [np.abs(row[:4] - box).max() for row in found if row[5] > 0.0 and row[4] == kind]
        assert min(off) < 2.0
    told = RallyWorlds(1)
    for _ in range(14):
        told.step(np.array([1]))

    def drawn() -> list[float]:
        x, y = told.state.ball[0].tolist()
        return [(x + 1.05) * 100.0, (1.17 - y) * 100.0]

    path = way(told.objects(), 210)
    assert path[0].tolist() == pytest.approx(drawn(), abs=1e-3)
    for point in path[2:12:2]:
        told.step(np.array([1]))
        assert point.tolist() == pytest.approx(drawn(), abs=1e-2)


def test_the_page_has_everything_and_loads_nothing(shot: Film) -> None:
    page = film_page(shot)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data = json.loads(found[1])
    assert (data["task"], data["policy"], data["seed"], data["end"]) == ("rally", "expert", 3, shot.end)
    count = len(data["moments"])
    assert count == len(data["people"]) == len(data["eyes"]) == len(data["boxes"]) == len(data["ways"]) == len(data["notes"])
    assert [curve["name"] for curve in data["curves"]] == ["reward", "points ahead", "ball off by", "ball's speed", "action 1"]
    assert (data["size"], data["zoom"], data["shape"]) == (96, 4, [96, 96])
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="http', page)


@pytest.mark.usefixtures("short")
def test_play_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["play", "rally", "--policy", "random", "--seed", "2", "-o", str(tmp_path / "a.html"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["policy"], said["end"]) == ("random", "lost")
    assert "random" in (tmp_path / "a.html").read_text()
    assert run(["play", "rally", "--policy", "exprt"]) == 2
    assert "did you mean 'expert'" in capsys.readouterr().err


def test_an_error_model_is_fitted_on_the_command_line(tmp_path: Path) -> None:
    """To the detector that ships; worlds take it."""
    line = ["pretrain", "noise", "--domain", "games", "--sequences", "1", "--out", str(tmp_path / "fit"), "--json"]
    told = CliRunner().invoke(cli, line)
    assert told.exit_code == 0, told.output
    card = read_card(tmp_path / "fit" / "noise_games.json")
    assert card["counts"]["things"] == 3 * card["counts"]["frames"] == 3 * 32 * 30
    assert card["detector_sha256"] == read_card(WEIGHTS / "detector_games.json")["sha256"]
    assert card["counts"]["found"] > 0.8 * card["counts"]["things"]
