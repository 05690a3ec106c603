"""Episodes of robots to watch: what is filmed is what happened, and the page plays it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

from agents.cli import run
from agents.evaluation.rollout_robots import rollout_robots
from agents.films import Film, film_page, strides
from agents.playback.video import encode_video
from agents.robots.film import EYE, film, sighted
from agents.robots.policies import load_robot_policy
from envs.robots import Robots, task_named
from envs.robots.perceived import Perceiving

pytestmark = pytest.mark.usefixtures("opengl")


@pytest.fixture(scope="module")
def shot(opengl: None) -> Film:
    """The expert reaches."""
    return film(load_robot_policy("expert", "reach"), "reach", 4, size=(160, 120))


def test_a_film_is_the_episode_that_is_judged(shot: Film) -> None:
    (result,) = rollout_robots(load_robot_policy("expert", "reach"), "reach", [4])
    assert (shot.end, shot.total) == (result.end, pytest.approx(result.metrics["return"]))
    assert shot.success.mean() == pytest.approx(result.metrics["at_goal"])
    assert shot.actions.shape == (50, 3)
    assert len(shot.people) == len(shot.eyes) == 51
    assert shot.people[0].shape == (120, 160, 3)
    assert {view.shape for views in shot.eyes for view in views} == {(EYE, EYE, 3)}
    np.testing.assert_allclose(shot.rewards, sum(shot.terms.values()))


def test_boxes_are_around_what_is_red(shot: Film) -> None:
    for view, (u0, v0, u1, v1) in zip(shot.eyes[0], shot.boxes[0, :, 0], strict=True):
        assert u1 > u0
        inside = view[int(v0) : int(np.ceil(v1)), int(u0) : int(np.ceil(u1))].astype(int)
        middle = inside[inside.shape[0] // 2, inside.shape[1] // 2]
        assert middle[0] > middle[1] + 40  # the ball


@pytest.mark.parametrize("level", ["noisy", "perceived"])
def test_boxes_are_around_what_was_sighted(level: str, shot: Film) -> None:
    """Near what is there where the sightings are good, and wherever they say it is."""
    seen = film(load_robot_policy(f"expert@{level}", "reach"), "reach", 4, size=(160, 120))
    there, said = (0.5 * (each.boxes[0, :, 0, :2] + each.boxes[0, :, 0, 2:]) for each in (shot, seen))
    assert 0.0 < np.abs(there - said).max() < 6.0
    wide = seen.boxes[0, :, 0, 2] - seen.boxes[0, :, 0, 0]
    assert np.abs(wide / (shot.boxes[0, :, 0, 2] - shot.boxes[0, :, 0, 0]) - 1.0).max() < 0.4
    robots = Robots(task_named("reach"), batch=1, observation="noisy")
    assert isinstance(robots.sight, Perceiving)
    assert robots.sight.seen is not None
    robots.sight.seen.pixel[:] = (24.0, 48.0)
    robots.sight.seen.mask[0, 1] = False
    box = sighted(robots.sight, np.array([0.05]))
    assert 0.5 * (box[0, 0, :2] + box[0, 0, 2:]) == pytest.approx([42.0, 84.0])
    assert not box[1].any()
    assert "Boxes: ${film.boxed}" in film_page(seen)
    assert '"boxed":"sighted, by the' in film_page(seen).replace(": ", ":")


def test_the_page_has_everything_and_loads_nothing(shot: Film) -> None:
    page = film_page(shot)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data = json.loads(found[1])
    assert (data["task"], data["policy"], data["seed"], data["end"]) == ("reach", "expert", 4, "done")
    assert len(data["people"]) == len(data["eyes"]) == len(data["boxes"]) == len(data["moments"]) == 51
    assert [curve["name"] for curve in data["curves"]] == ["reward", "action 1", "action 2", "action 3"]
    assert all(len(curve["values"]) == 50 for curve in data["curves"])
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in data["people"])
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="http', page)


@pytest.mark.parametrize(("moments", "shown"), [(1, [0]), (3, [0, 1, 2]), (6, [0, 2, 4, 5]), (7, [0, 2, 4, 6])])
def test_long_films_are_thinned_out_but_for_their_ends(moments: int, shown: list[int]) -> None:
    assert strides(moments, 4) == shown
    with pytest.raises(ValueError, match="moments=0"):
        strides(0, 4)


def test_play_writes_page_and_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="the extra `video` is not installed")
    out, video = tmp_path / "reach.html", tmp_path / "reach.mp4"
    assert run(["play", "reach", "--policy", "random", "--seed", "2", "-o", str(out), "--video", str(video), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["policy"], said["seed"], said["end"], said["return"]) == ("random", 2, "time", -50.0)
    assert "random" in out.read_text()
    assert video.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["play", "reach", "--against", "mcts"], "--against: not for tasks"),
        (["play", "reach", "--no-verify"], "--no-verify: not for tasks"),
        (["play", "reach", "--policy", "exprt"], "did you mean 'expert'?"),
        (["play", "reach", "--video", "reach.avi"], "videos are written as .mp4 or .webm"),
        (["play", "some.trace", "--policy", "expert"], "--policy: is for tasks"),
    ],
)
def test_misuse(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_where_nothing_renders_what_to_install_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from envs.robots.gl import NoRenderer

    def none(*_: object, **__: object) -> None:
        raise NoRenderer("no OpenGL here: install libosmesa6")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("envs.robots.camera.offscreen", none)
    assert run(["play", "reach", "--policy", "expert"]) == 2
    assert capsys.readouterr().err == "closedloop: no OpenGL here: install libosmesa6\n"


def test_videos_that_cannot_be_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra `video` is not installed")
    with pytest.raises(ValueError, match="both must be even"):
        encode_video(tmp_path / "a.mp4", [np.zeros((4, 5, 3), np.uint8)], fps=10)
    with pytest.raises(ValueError, match="frames: none"):
        encode_video(tmp_path / "a.mp4", [], fps=10)
    assert not list(tmp_path.iterdir())
